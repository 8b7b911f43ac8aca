"""The one command line that repeats exactly one probe of those that a command line asked for."""

from __future__ import annotations

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A command line but for its image, and for the digests of what is fetched."""

    program: tuple[str, ...]
    """The first words of it."""
    packages: tuple[str, ...]
    """Absolute paths or URLs."""
    options: tuple[str, ...]
    """Whatever else was asked for that changes a probe."""
    digests: tuple[str, ...] = ()
    """One for each package, or none."""

    @property
    def fetches(self) -> bool:
        """Whether a package may be another one the next time."""
        return any("://" in package for package in self.packages)

    def command(self, image: str) -> str:
        """Return the command line of the probe on an image, as a shell reads it."""
        packages = [word for package in self.packages for word in option("--package", package)]
        digests = [word for digest in self.digests for word in option("--sha256", digest)]
        words = [*self.program, *packages, *digests, *option("--image", image), *self.options]
        return shlex.join(words)


def option(name: str, value: str) -> tuple[str, ...]:
    """Return an option as words; a value that could be taken for an option is one with its name."""
    return (f"{name}={value}",) if value.startswith("-") else (name, value)
