"""Whom a command of the package manager that ends badly is blamed on; the guest is a fake."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import CommandTimeout, GuestLost
from postroj.probe import operations
from postroj.probe.managers.apt.apt import Apt
from postroj.verdict import Outcome
from tests.support.fake_guest import Answer, FakeGuest

if TYPE_CHECKING:
    from postroj.probe.managers.base import Blame

HALFWAY = "Setting up x (1.0) ...\n"


@dataclass
class Guest(FakeGuest):
    """A guest that runs one command, on a host that may lack memory."""

    kills: tuple[int, int] = (0, 0)
    """What the kernel has killed for lack of memory before the command, and after it."""
    is_halting: bool = False

    def oom_kills(self) -> int:
        return self.kills[bool(self.ran)]

    def is_stopping(self) -> bool:
        return self.is_halting


def perform(answer: Answer, **options: Any) -> tuple[Blame | None, list[str]]:
    """Run a command; return whom to blame, and what was heard of its output."""
    heard: list[str] = []
    guest = Guest(lambda argv: answer, **options)
    blame = operations.perform(
        guest, Apt(), ["apt-get", "install", "x"], ["x"], 60, lambda argv, out: heard.append(out)
    )
    return blame, heard


def test_a_manager_that_is_killed_in_a_script_of_the_package_fails_it() -> None:
    blame, heard = perform((137, HALFWAY))
    assert blame
    assert (blame.outcome, blame.sentence) == (
        Outcome.FAIL,
        "apt-get was killed while setting up x",
    )
    assert heard == [HALFWAY.rstrip()]


def test_a_manager_that_is_killed_while_the_host_lacks_memory_is_no_failure() -> None:
    blame, _ = perform((137, HALFWAY), kills=(3, 4))
    assert blame
    assert blame.outcome is Outcome.ERROR


def test_a_kill_before_the_command_is_no_excuse() -> None:
    blame, _ = perform((137, HALFWAY), kills=(4, 4))
    assert blame and blame.outcome is Outcome.FAIL


def test_a_shutdown_in_a_script_of_the_package_fails_it() -> None:
    blame, _ = perform((100, HALFWAY), is_halting=True)
    assert blame
    assert blame.outcome is Outcome.FAIL
    assert blame.sentence == "the guest was shutting down while apt-get was setting up x"
    assert blame.evidence.endswith("what its console shows")


@pytest.mark.parametrize(
    ("output", "outcome"), [(HALFWAY, Outcome.FAIL), ("Reading package lists...", Outcome.ERROR)]
)
def test_a_guest_that_is_lost_is_blamed_on_what_happened_then(
    output: str, outcome: Outcome
) -> None:
    lost = GuestLost("the guest shut down", evidence="panic", output=output)
    blame, heard = perform(lost)
    assert blame
    assert blame.outcome is outcome
    assert blame.sentence.startswith("the guest shut down")
    assert heard == [f"{output}\nthe guest shut down"]


@pytest.mark.parametrize(("silence", "outcome"), [(59.0, Outcome.FAIL), (20.0, Outcome.ERROR)])
def test_a_manager_that_ran_out_of_time_while_it_was_at_work_is_no_failure(
    silence: float, outcome: Outcome
) -> None:
    blame, _ = perform(CommandTimeout(("apt-get",), 60, HALFWAY, silence=silence))
    assert blame
    assert blame.outcome is outcome
    assert "apt-get" in blame.sentence
    assert "setting up x" in blame.sentence
    assert "--timeout" in blame.hint
