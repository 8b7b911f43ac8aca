"""A matrix for the runners of a CI: which images each of its jobs probes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

GITHUB_LIMIT = 256
"""Jobs that GitHub makes of a matrix; of more, it makes none."""
TEMPLATE = ".probe"
"""The job of GitLab that all others extend, and which the project writes."""


class Language(StrEnum):
    """In what a matrix is written."""

    GITHUB = "github"
    """One line, for `fromJSON` in `strategy: matrix:`."""
    GITLAB = "gitlab"
    """A child pipeline; GitLab reads YAML, and so JSON."""
    JSON = "json"
    """For whatever else."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one runner does."""

    images: tuple[str, ...]
    """At least one."""

    @property
    def name(self) -> str:
        """What tells it from the others; fit for a file name."""
        first, *others = self.images
        return f"{first}-and-{len(others)}-more" if others else first


def spread(images: Sequence[str], most: int | None = None) -> list[Job]:
    """Give each image a job, or `most` jobs as evenly many images as can be, in their order."""
    count = min(len(images), most or len(images))
    ends = [number * len(images) // count for number in range(count + 1)]
    return [Job(images=tuple(images[begin:end])) for begin, end in pairwise(ends)]


def matrix(images: Sequence[str], language: Language, most: int | None = None) -> str:
    """Return the matrix that probes on some images, with at most so many jobs."""
    match language:
        case Language.GITHUB:
            jobs = spread(images, min(most or GITHUB_LIMIT, GITHUB_LIMIT))
            return json.dumps({"include": [_variables(job, "name", "images") for job in jobs]})
        case Language.GITLAB:
            return json.dumps(_pipeline(spread(images, most)), indent=2)
        case Language.JSON:
            jobs = spread(images, most)
            return json.dumps([{"name": job.name, "images": job.images} for job in jobs], indent=2)


def _pipeline(jobs: Sequence[Job]) -> dict[str, Any]:
    # No `parallel: matrix`: there the names of a job's images would be its name, of 255
    # characters at most.
    return {
        f"probe {job.name}": {"extends": TEMPLATE, "variables": _variables(job, "NAME", "IMAGES")}
        for job in jobs
    }


def _variables(job: Job, name: str, images: str) -> dict[str, str]:
    return {name: job.name, images: " ".join(job.images)}
