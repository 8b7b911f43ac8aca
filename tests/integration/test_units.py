"""Verdicts on units, asked of a real manager: one guest, one unit for each way to be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from postroj.probe.ask import journal, units
from postroj.probe.ask.checks import NEW_FAILURES, Manners, ask_all
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.question import Question
from postroj.probe.ask.recheck import Recheck
from postroj.verdict import CheckKind, Outcome

if TYPE_CHECKING:
    from postroj.container.start import StartedGuest

SETTLE = 1.0

GOOD = {
    "plain": ("ExecStart=sleep infinity", "active (running)"),
    "slow": ("Type=oneshot\nRemainAfterExit=yes\nExecStart=sleep 1.5", "active (exited)"),
    "late": ("ExecStartPre=sleep 1.5\nExecStart=sleep infinity", "active (running)"),
    "works": ("Type=oneshot\nExecStart=true", "inactive (dead), has done its work"),
    "notify": (
        "Type=notify\nNotifyAccess=all\n"
        "ExecStart=sh -c 'sleep 1; systemd-notify --ready; sleep 99'",
        "active (running)",
    ),
    "recovers": (
        "Restart=always\nRestartSec=100ms\n"
        "ExecStart=sh -c 'test -e /run/was-here || { touch /run/was-here; exit 1; }; sleep 99'",
        "restarted once",
    ),
}

BAD = {
    "fails": ("ExecStart=sh -c 'echo my last words; exit 3'", "failed (result 'exit-code')"),
    "dies": ("ExecStart=sh -c 'kill -SEGV $$$$'", "by signal 11"),
    "loops": ("Restart=always\nRestartSec=2\nExecStart=sh -c 'sleep 0.1; exit 4'", "crash loop"),
    "bursts": ("Restart=always\nRestartSec=20ms\nExecStart=false", "given up after 5 restarts"),
    "ends": ("ExecStart=true", "inactive (dead), it has ended by itself"),
    "stuck": ("ExecStartPre=sleep infinity\nExecStart=true", "still activating (start-pre)"),
}


@pytest.fixture(scope="module", autouse=True)
def started(guest: StartedGuest) -> None:
    """Start all of them, without waiting."""
    files = {name: text for name, (text, _) in (GOOD | BAD).items()}
    script = ""
    for name, text in files.items():
        unit = f"[Unit]\nStartLimitIntervalSec=10\n[Service]\n{text}\n"
        script += f"cat > /etc/systemd/system/{name}.service <<'END'\n{unit}END\n"
    unit = "[Unit]\nConditionPathExists=/no/such/thing\n[Service]\nExecStart=sleep infinity\n"
    script += "cat > /etc/systemd/system/conditional.service <<'END'\n"
    # a unit that nothing wants is forgotten as soon as its condition was not met
    script += f"{unit}[Install]\nWantedBy=multi-user.target\nEND\n"
    script += "ln -s /dev/null /etc/systemd/system/hidden.service\n"
    script += "systemctl daemon-reload\n"
    script += "systemctl enable --quiet conditional\n"
    script += f"systemctl start --no-block {' '.join(files)} conditional\n"
    guest.run(["sh", "-ec", script])


def ask(guest: StartedGuest, name: str, timeout: float = 6) -> tuple[Outcome, str]:
    return units.check(guest, name, settle=SETTLE, deadline=Deadline(timeout))


@pytest.mark.parametrize("name", GOOD)
def test_check_unit_passes_one_that_stays_up(guest: StartedGuest, name: str) -> None:
    outcome, reason = ask(guest, name)
    assert (outcome, GOOD[name][1] in reason) == (Outcome.PASS, True), reason


@pytest.mark.parametrize("name", BAD)
def test_check_unit_fails_one_that_is_not_up_and_says_why(guest: StartedGuest, name: str) -> None:
    outcome, reason = ask(guest, name, timeout=6)
    assert (outcome, BAD[name][1] in reason) == (Outcome.FAIL, True), reason


def test_check_unit_skips_one_whose_condition_does_not_hold(guest: StartedGuest) -> None:
    """Unless somebody asks for it: then it must be up."""
    outcome, reason = ask(guest, "conditional")
    assert outcome is Outcome.SKIP
    assert reason.endswith("a condition is not met: ConditionPathExists=/no/such/thing")
    question = Question(kind=CheckKind.UNIT, subject="conditional")
    (answer, _) = ask_all(guest, [question], Manners(timeout=5, settle=0), guest.failed_units())
    assert (answer.outcome, answer.reason) == (Outcome.FAIL, reason)


def test_check_unit_skips_a_socket_bound_to_one_whose_condition_does_not_hold(
    guest: StartedGuest,
) -> None:
    """As those of sssd; one that only requires it comes up."""
    for name, how in (("bound", "BindsTo"), ("needy", "Requires")):
        unit = f"{how}=conditional.service\nAfter=conditional.service\n"
        text = f"[Unit]\n{unit}[Socket]\nListenStream=/run/{name}.sock\nService=plain.service\n"
        guest.run(["sh", "-c", f'printf %s "$1" >/run/systemd/system/{name}.socket', "sh", text])
    script = "systemctl daemon-reload; systemctl stop plain; systemctl start bound.socket"
    guest.run(["sh", "-c", script], ok=range(256))
    outcome, reason = ask(guest, "bound.socket")
    end = "as conditional.service is not up, because a condition is not met"
    assert outcome is Outcome.SKIP, reason
    assert reason.startswith(f"inactive (dead), not started, {end}: ConditionPathExists=/no/such")
    guest.run(["systemctl", "start", "needy.socket"])
    assert ask(guest, "needy.socket")[0] is Outcome.PASS
    guest.run(["systemctl", "stop", "needy.socket"])


def test_check_unit_ends_its_reason_with_the_journal(guest: StartedGuest) -> None:
    assert "my last words" in ask(guest, "fails")[1]


def test_check_unit_shows_at_most_twenty_lines_of_the_journal(guest: StartedGuest) -> None:
    script = "systemd-run --quiet --wait --unit=chatty sh -c 'seq 1 500; exit 1'"
    guest.run(["sh", "-c", script], ok=range(256))
    lines = journal.last(guest, "chatty.service").splitlines()
    assert len(lines) == journal.LINES


def test_check_unit_shows_what_systemd_logged_about_the_unit(guest: StartedGuest) -> None:
    """As systemd's own children do that have ended before journald asks for their unit."""
    script = (
        'printf "MESSAGE=last words\\nUNIT=gone.service\\n" | logger --journald\n'
        "systemd-run --quiet --wait --unit=gone true\n"
        "journalctl --sync"
    )
    guest.run(["sh", "-c", script])
    assert "last words" in journal.last(guest, "gone.service")


def test_check_unit_fails_masked_and_missing_ones_at_once(guest: StartedGuest) -> None:
    began = time.monotonic()
    assert ask(guest, "hidden") == (Outcome.FAIL, "the unit is masked")
    assert ask(guest, "nowhere") == (Outcome.FAIL, "there is no such unit")
    assert time.monotonic() - began < 3


def test_check_unit_judges_sockets_and_timers_too(guest: StartedGuest) -> None:
    assert ask(guest, "dbus.socket")[0] is Outcome.PASS
    assert ask(guest, "systemd-tmpfiles-clean.timer")[0] is Outcome.PASS


def test_check_unit_waits_for_the_settle_time(guest: StartedGuest) -> None:
    guest.run(["systemctl", "restart", "plain"])
    began = time.monotonic()
    assert ask(guest, "plain")[0] is Outcome.PASS
    assert time.monotonic() - began >= SETTLE * 0.9


WAITS = "sh -c 'until test -e /run/go; do sleep 0.1; done; exit {}'"
LATE = {
    "tires": (f"ExecStart={WAITS.format(0)}", "it has ended"),
    "slowly": (
        f"Restart=always\nExecStart={WAITS.format(4)}",
        "it ended by itself (result 'exit-code'), ",
    ),
    "gladly": (f"Restart=always\nExecStart={WAITS.format(0)}", "crash loop: "),
    "haunts": (
        "Type=forking\nRemainAfterExit=yes\n"
        "ExecStart=sh -c '(until test -e /run/go; do sleep 0.1; done) >/dev/null 2>&1 &'",
        "none of its processes is left",
    ),
    "unfed": (
        "Type=notify\nNotifyAccess=all\nWatchdogSec=6\nRestart=always\n"
        "ExecStart=sh -c 'systemd-notify --ready; sleep 99'",
        "it did not report to its watchdog for 6 s, and was killed",
    ),
}
FED = "systemd-notify --ready; while sleep 0.5; do systemd-notify WATCHDOG=1; done"
LASTING = {
    "fed": f"Type=notify\nNotifyAccess=all\nWatchdogSec=60\nExecStart=sh -c '{FED}'",
    "lasts": "Restart=always\nExecStart=sleep 99",
    "works": "Type=oneshot\nRemainAfterExit=yes\nExecStart=true",
}


def test_recheck_fails_units_that_end_after_they_have_passed(guest: StartedGuest) -> None:
    """A command of the user may restart a unit or stop it; here it also lets others end."""
    files = {name: text for name, (text, _) in LATE.items()} | LASTING
    lines = [
        f"printf '[Service]\n%b\n' \"{text}\" >/run/systemd/system/{name}.service"
        for name, text in files.items()
    ]
    start = f"systemctl daemon-reload; systemctl start --no-block {' '.join(files)} plain late"
    guest.run(["sh", "-ec", "\n".join(["mkdir -p /run/systemd/system", *lines, start])])
    manners = Manners(timeout=20, settle=0.5)
    units = [Question(kind=CheckKind.UNIT, subject=name) for name in (*files, "plain", "late")]
    script = "systemctl restart plain; systemctl stop late; touch /run/go"
    command = Question(kind=CheckKind.COMMAND, subject=script)
    answers = ask_all(guest, [*units, command], manners, guest.failed_units())
    recheck = Recheck(guest=guest, manners=manners)
    told = list(recheck.follow(answers))
    place = next(i for i, one in enumerate(told) if one.subject == NEW_FAILURES)
    earlier, later = told[:place], told[place + 1 :]
    assert {answer.outcome for answer in earlier} == {Outcome.PASS}, earlier
    found = {answer.subject: answer for answer in later}
    assert found.keys() == LATE.keys(), later
    for name, (_, words) in LATE.items():
        assert found[name].kind is CheckKind.UNIT
        assert found[name].outcome is Outcome.FAIL
        assert found[name].reason.startswith("passed its check, but ")
        assert words in found[name].reason


def test_recheck_of_quiet_units_says_nothing_and_takes_no_time(guest: StartedGuest) -> None:
    guest.run(["systemctl", "restart", "notify"])
    manners = Manners(timeout=9, settle=1)
    question = Question(kind=CheckKind.UNIT, subject="notify")
    answers = list(ask_all(guest, [question], manners, guest.failed_units()))
    began = time.monotonic()
    recheck = Recheck(guest=guest, manners=manners)
    assert list(recheck.follow(answers)) == answers
    assert time.monotonic() - began < 3  # that of one command, on a host that has much to do


def test_failed_units_are_listed(guest: StartedGuest) -> None:
    assert {"fails.service", "dies.service"} <= set(guest.failed_units())
