"""Units that had to be killed when a guest shut down."""

from __future__ import annotations

import json

from postroj.probe.ask import shutdown
from postroj.verdict import CheckKind, Outcome
from tests.support.fake_guest import FakeGuest

MESSAGES = (
    "slow.service: State 'stop-sigterm' timed out. Killing.",
    "slow.service: Killing process 109 (sh) with signal SIGKILL.",
    "slow.service: State 'final-sigterm' timed out. Killing.",
    "old.service: stop-sigterm timed out. Killing.",
    "other.service: start operation timed out. Terminating.",
    "dns: State 'stop-sigterm' timed out",
)
LINES = [json.dumps({"MESSAGE": message}) for message in MESSAGES]


def test_timed_out_names_each_unit_once() -> None:
    assert list(shutdown.timed_out([*LINES, "{cut", '{"MESSAGE":[1]}'])) == [
        "slow.service",
        "old.service",
    ]


def test_ask_fails_for_units_of_the_package_alone() -> None:
    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if argv[0] == "journalctl":
            return 0, "\n".join(LINES)
        return 0, "Id=slow.service\nTimeoutStopUSec=1min 30s"

    guest = FakeGuest(answer=answer)
    check = shutdown.ask(guest, ["slow.service"])
    assert check
    assert (check.kind, check.outcome) == (CheckKind.SYSTEM, Outcome.FAIL)
    assert check.reason == "slow.service had to be killed after 1min 30s when the guest shut down"
    assert shutdown.ask(guest, ["fine.service"]) is None
