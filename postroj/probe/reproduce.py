"""The command line that repeats exactly one probe."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from postroj.urls import redacted


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A command line without its image."""

    program: tuple[str, ...]
    """Its first words."""
    packages: tuple[str, ...]
    """Absolute paths or URLs."""
    options: tuple[str, ...]
    """All other options that change a probe."""
    digests: tuple[str, ...] = ()
    """One for each package, or none."""
    upgrade_from: tuple[str, ...] = ()
    """Absolute paths or URLs of older packages, or `repo`."""

    @property
    def fetches(self) -> bool:
        """Whether a package is downloaded, and may differ the next time."""
        return any("://" in package for package in self.packages)

    def command(self, image: str) -> str:
        """Return the command line for an image, quoted for a shell, without the secrets of URLs."""
        given = {
            "--package": map(_shown, self.packages),
            "--sha256": self.digests,
            "--image": (image,),
            "--upgrade-from": map(_shown, self.upgrade_from),
        }
        words = [
            word for name, values in given.items() for one in values for word in option(name, one)
        ]
        words = [*self.program, *words, *self.options]
        return shlex.join(words)


def _shown(package: str) -> str:
    return redacted(package) if "://" in package else package


def option(name: str, value: str) -> tuple[str, ...]:
    """Return an option as words, as `name=value` if the value begins with a dash."""
    return (f"{name}={value}",) if value.startswith("-") else (name, value)
