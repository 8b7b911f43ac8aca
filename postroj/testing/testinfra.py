"""Testinfra on a guest: the connection ``postroj://NAME``, and its fixture `host`."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import testinfra
from testinfra.backend import base

from postroj.api import COMMAND
from postroj.testing.plugin import wanted


class Backend(base.BaseBackend):  # type: ignore[misc]
    """Runs the commands of testinfra by ``postroj exec``."""

    NAME = "postroj"

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.name = name
        super().__init__(name, *args, **kwargs)

    def run(self, command: str, *args: str, **kwargs: Any) -> base.CommandResult:
        """Run a command in the guest."""
        text = self.get_command(command, *args)
        done = self.run_local(f"{shlex.join(COMMAND)} exec %s -- /bin/sh -c %s", self.name, text)
        done.command = self.encode(text)
        return done


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, postroj_image: str) -> Any:
    """Return testinfra's host: a guest, with the packages under test if any are named."""
    packages = wanted(request.config).packages
    guest = request.getfixturevalue("postroj_installed" if packages else "postroj_guest")
    return testinfra.get_host(f"{Backend.NAME}://{guest.name}")
