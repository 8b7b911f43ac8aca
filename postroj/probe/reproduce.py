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

    @property
    def fetches(self) -> bool:
        """Whether a package is downloaded, and may differ the next time."""
        return any("://" in package for package in self.packages)

    def command(self, image: str) -> str:
        """Return the command line for an image, quoted for a shell, without the secrets of URLs."""
        shown = [redacted(one) if "://" in one else one for one in self.packages]
        packages = [word for package in shown for word in option("--package", package)]
        digests = [word for digest in self.digests for word in option("--sha256", digest)]
        words = [*self.program, *packages, *digests, *option("--image", image), *self.options]
        return shlex.join(words)


def option(name: str, value: str) -> tuple[str, ...]:
    """Return an option as words, as `name=value` if the value begins with a dash."""
    return (f"{name}={value}",) if value.startswith("-") else (name, value)
