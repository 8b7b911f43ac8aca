"""Programs of another architecture: qemu-user, registered with the kernel while tests need it."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.image.emulation import BINFMT

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = Path("/usr/lib/binfmt.d")


@contextmanager
def registered(name: str) -> Iterator[None]:
    """Have the kernel run programs through `qemu-NAME`; the host is as it was afterwards.

    What is registered may be in use: the kernel keeps the interpreter for those that run.
    """
    with ExitStack() as stack:
        if not (BINFMT / "register").exists():
            subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True)
            stack.callback(partial(subprocess.run, ["umount", BINFMT], check=True))
        entry = BINFMT / f"qemu-{name}"
        if not entry.exists():
            rule = (RULES / entry.name).with_suffix(".conf").read_text().strip()
            (BINFMT / "register").write_text(rule)
            stack.callback(entry.write_text, "-1")
        yield
