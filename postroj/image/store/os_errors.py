"""Sentences for what can go wrong with the cache directory: no permission, no space."""

from __future__ import annotations

import errno
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from postroj import paths
from postroj.console import megabytes
from postroj.errors import HostError, ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def explained() -> Iterator[None]:
    """Translate an OSError below the cache directory into a sentence.

    :raises HostError: if the directory cannot be used.
    :raises ImageError: if its disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(str(error)) from None
        cache = paths.cache_dir()
        if not str(error.filename).startswith(str(cache)):
            raise
        message = f"the cache directory '{cache}' cannot be used"
        hint = "`POSTROJ_CACHE_DIR=DIR postroj ...` stores images in your own directory"
        raise HostError(message, evidence=str(error), hint=hint) from None


def disk_full(evidence: str) -> ImageError:
    """Build the error for a disk without room for an image."""
    cache = paths.cache_dir()
    free = shutil.disk_usage(cache).free
    return ImageError(
        f"no space is left in the cache directory '{cache}'",
        evidence=f"{evidence}\n{megabytes(free)} are free, building an image takes 500 MB",
        hint="`postroj remove NAME` deletes images, POSTROJ_CACHE_DIR names another directory",
    )
