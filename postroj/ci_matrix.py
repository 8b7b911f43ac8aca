"""CI jobs that probe on many images, as text for GitHub, GitLab or another CI."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

GITHUB_LIMIT = 256
"""Maximum number of jobs in a matrix of GitHub Actions."""
TEMPLATE = ".probe"
"""GitLab job that the generated ones extend; written by the project."""


class Language(StrEnum):
    """Output formats."""

    GITHUB = "github"
    """One line, for `fromJSON` in `strategy: matrix:`."""
    GITLAB = "gitlab"
    """A child pipeline; GitLab reads YAML, and so JSON."""
    JSON = "json"
    """For any other CI."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One CI job and its images."""

    images: tuple[str, ...]
    """At least one."""

    @property
    def name(self) -> str:
        """Unique name, usable in file names."""
        first, *others = self.images
        return f"{first}-and-{len(others)}-more" if others else first


def spread(images: Sequence[str], most: int | None = None) -> list[Job]:
    """Return one job for each image, or at most `most` jobs with equal shares of the images."""
    count = min(len(images), most or len(images))
    ends = [number * len(images) // count for number in range(count + 1)]
    return [Job(images=tuple(images[begin:end])) for begin, end in pairwise(ends)]


def matrix(images: Sequence[str], language: Language, most: int | None = None) -> str:
    """Return the jobs for images in a format, at most `most` of them."""
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
    # With `parallel: matrix` the images would be part of a job's name, limited to 255 characters
    return {
        f"probe {job.name}": {"extends": TEMPLATE, "variables": _variables(job, "NAME", "IMAGES")}
        for job in jobs
    }


def _variables(job: Job, name: str, images: str) -> dict[str, str]:
    return {name: job.name, images: " ".join(job.images)}
