"""A guest that is entered through its leader, for which any process stands in."""

from __future__ import annotations

import subprocess

import pytest

from postroj.container.enter import nsenter
from postroj.errors import GuestError
from tests.support import here


def test_run_in_a_guest_that_ends_while_it_is_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        guest = here.guest(child.pid)

        def end_and_reap(*args: object, **options: object) -> list[str]:
            child.kill()
            child.wait()
            return ["true"]

        monkeypatch.setattr(nsenter, "enter_argv", end_and_reap)
        with pytest.raises(GuestError, match="the guest ended meanwhile"):
            guest.run(["true"])
