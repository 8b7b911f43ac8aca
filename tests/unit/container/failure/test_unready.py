"""From a console, a status and a list of jobs to one sentence."""

from __future__ import annotations

import pytest

from postroj.container.boot import launch
from postroj.container.boot.readiness import NETWORK_UP
from postroj.container.failure import causes, unready
from postroj.container.failure.unready import Job
from postroj.errors import GuestError
from tests.support.fake_guest import FakeGuest


class Stub(FakeGuest):
    """A guest whose PID 1 has a name; whatever it is asked, it has just ended."""

    def __init__(self, name: str) -> None:
        super().__init__(lambda argv: GuestError("the guest ended meanwhile"))
        self._init = name

    def init(self) -> str:
        return self._init


JOBS = """\
JOB UNIT                                 TYPE  STATE
57  x.service                            start running
1   multi-user.target                    start waiting
58  dev-vdb.device                       start running
9   old.service                          stop  running

4 jobs listed.
"""
CONSOLE = "\x1b[0;1;31mfirst\x1b[0m\r\n[***   ] Job x.service/start running (2s / no limit)\nlast\n"


def test_running_jobs() -> None:
    assert unready.running(JOBS) == [
        Job(unit="x.service", kind="start"),
        Job(unit="dev-vdb.device", kind="start"),
        Job(unit="old.service", kind="stop"),
    ]
    assert unready.running("No jobs running.\n") == []


def test_begun_reads_times_of_units() -> None:
    shown = (
        "InactiveExitTimestampMonotonic=2500000\nId=x.service\n\n"
        "Id=dev-vdb.device\nInactiveExitTimestampMonotonic=0\n\nId=odd\n\njunk"
    )
    assert unready.begun(shown) == {
        "x.service": 2.5,
        "dev-vdb.device": 0,
    }


def test_waiting_names_the_blocking_jobs() -> None:
    jobs = unready.running(JOBS)
    assert unready.waiting(jobs[:1], {}, 0) == "it waits for 'x.service' (start)"
    since = {"x.service": 2.5, "dev-vdb.device": 0, "old.service": 1}
    assert unready.waiting(jobs, since, 9.7) == (
        "it waits for 'x.service' (start, for 7 s), 'dev-vdb.device' (start), 'old.service' (stop)"
    )
    assert unready.waiting([*jobs, *jobs], {}, 0).endswith("'old.service' (stop) and 3 more")


def test_tail_of_a_console_has_no_progress_lines() -> None:
    """Progress lines would take all of its space."""
    assert unready.tail(CONSOLE) == "first\nlast"
    older = "\x1bM\x1b[K[ ***  ] A start job is running for x.service (2s / no limit)\n"
    assert unready.tail(f"a\n{older * 30}") == "a"


@pytest.mark.parametrize(
    ("status", "console", "message"),
    [
        (None, "", "the guest ended before it was ready"),
        (0, "No space left on device", "the guest shut down before it was ready"),
        (3, CONSOLE, "the guest ended before it was ready, with status 3"),
        (137, "", f"the guest ended before it was ready: {causes.KILLED.sentence}"),
        (
            255,
            "\x1b[1mFailed to allocate manager object: Too many open files\x1b[0m",
            "the guest ended before it was ready: this host has no inotify instance left, which all"
            " of its containers share",
        ),
    ],
)
def test_ended_with_a_status_or_a_known_cause(
    status: int | None, console: str, message: str
) -> None:
    error = unready.ended(None, status, console)
    assert error.message == message
    assert error.hint
    assert "\x1b" not in error.evidence


def test_ended_in_a_stage_of_the_launch_script() -> None:
    error = unready.ended(launch.MOUNT_IMAGE, None, "")
    assert (error.message, error.hint) == (launch.MOUNT_IMAGE.failure, launch.MOUNT_IMAGE.hint)
    text = "mount: /x/lower0: failed to setup loop device for /cache/i.squashfs."
    error = unready.ended(launch.MOUNT_IMAGE, None, text)
    assert error.message == "the image could not be mounted: this host provides no loop device"
    assert "modprobe loop" in error.hint
    assert error.evidence == text


@pytest.mark.parametrize(
    ("guest", "missing", "why"),
    [
        (Stub("systemd"), {NETWORK_UP}, ": its private network is not up"),
        (None, {"READY"}, ": systemd-nspawn has not started its init"),
        (Stub("systemd-shutdow"), {"READY"}, ": it is still shutting down"),
        (Stub("busybox"), {"READY"}, ": its init is 'busybox', and only systemd reports when"),
        (Stub("systemd"), {"READY"}, ": its systemd has given up"),
        (Stub(""), {"READY"}, ": its systemd has given up"),
    ],
)
def test_late_names_what_the_guest_waits_for(
    guest: Stub | None, missing: set[str], why: str
) -> None:
    error = unready.late(guest, 60, missing, "Freezing execution.\n")
    assert error.message.startswith(f"the guest was not ready within 60 s{why}")
    assert error.evidence == "Freezing execution."
    assert error.hint


def test_late_without_any_explanation() -> None:
    error = unready.late(Stub("systemd"), 60, {"READY"}, "")
    assert error.message == "the guest was not ready within 60 s"


def test_unusable_guest_that_shuts_down_at_once() -> None:
    error = unready.unusable(Stub("systemd"), "stopping", "Powering off.")
    assert error.message == "the guest shuts down as soon as it has booted"
