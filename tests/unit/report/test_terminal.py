"""What a person sees, letter by letter."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from postroj.report.screen import Screen
from postroj.report.terminal import Terminal
from postroj.report.visible import visible
from postroj.verdict import (
    CheckKind,
    CheckResult,
    Outcome,
    ProbeResult,
    Report,
    StepName,
    StepResult,
)

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x1b[0m\x08\x9b31m\x7f\u202e"


def check(
    outcome: Outcome = Outcome.PASS,
    kind: CheckKind = CheckKind.UNIT,
    subject: str = "redis.service",
    reason: str = "active (running)",
    seconds: float = 3.21,
) -> CheckResult:
    return CheckResult(kind=kind, subject=subject, outcome=outcome, reason=reason, seconds=seconds)


def probe(*checks: CheckResult, **changes: object) -> ProbeResult:
    step = StepResult(
        name=StepName.INSTALL,
        done=Outcome.PASS,
        reason="redis 7.0 (amd64)",
        seconds=12.34,
        checks=checks,
    )
    options = {
        "image": "debian-trixie",
        "package": "redis_7.0_amd64.deb",
        "steps": (step,),
        "timings": {"total": 20.0},
    }
    return ProbeResult(**(options | changes))  # type: ignore[arg-type]


def lines_of(result: ProbeResult, *, colour: bool = False, width: int = 20) -> list[str]:
    """Send a probe to a terminal as `probe.probe` does, and return its lines."""
    lines: list[str] = []
    terminal = Terminal(lines.append, colour=colour, width=width)
    terminal.begin_probe(result.image, result.package)
    for step in result.steps:
        terminal.end_step(step)
        for answer in step.checks:
            terminal.end_check(answer)
    terminal.end_probe(result)
    terminal.end_report(Report(probes=(result,)))
    return lines


def test_notes_follow_the_probe() -> None:
    lines = lines_of(probe(check(), notes=("it can go", HOSTILE)))
    assert lines[-3:-1] == [
        "          note: it can go",
        "          note: red\\x08\\x9b31m\\x7f\\u202e",
    ]


def test_passing_probe() -> None:
    url = "tcp://127.0.0.1:6379"
    network = check(kind=CheckKind.NETWORK, subject=url, reason="connected after 0.1 s", seconds=0)
    assert lines_of(probe(check(), network)) == [
        "redis_7.0_amd64.deb on debian-trixie",
        "  pass    12.3 s  install  redis 7.0 (amd64)",
        "  pass     3.2 s  unit     redis.service         active (running)",
        "  pass     0.0 s  network  tcp://127.0.0.1:6379  connected after 0.1 s",
        "PASS  1 service up, 1 port answers; 20.0 s",
    ]


def test_failed_check_shows_its_evidence() -> None:
    reason = "failed (result 'exit-code')\nNov 21 redis[7]: no configuration\n\nNov 21 end"
    assert lines_of(probe(check(Outcome.FAIL, reason=reason)))[2:] == [
        "  fail     3.2 s  unit     redis.service         failed (result 'exit-code')",
        "          | Nov 21 redis[7]: no configuration",
        "          |",
        "          | Nov 21 end",
        "FAIL  the package is to blame; 1 check failed; 20.0 s",
    ]


def test_failed_step_shows_its_hint() -> None:
    step = StepResult(
        name=StepName.INSTALL,
        done=Outcome.ERROR,
        reason="no network\nlast line",
        seconds=1,
        hint="is this host online?",
    )
    assert lines_of(probe(steps=(step,)))[1:] == [
        "  error    1.0 s  install  no network",
        "          | last line",
        "          hint: is this host online?",
        "ERROR  the package was not judged; 1 step not judged; 20.0 s",
    ]


def test_probe_without_steps_shows_its_reason() -> None:
    assert lines_of(probe(steps=(), reason="no guest\nlog", hint="try again", timings={})) == [
        "redis_7.0_amd64.deb on debian-trixie",
        "  error    0.0 s  probe    no guest",
        "          | log",
        "          hint: try again",
        "ERROR  the package was not judged; 0.0 s",
    ]


def test_kept_guest_is_named() -> None:
    assert lines_of(probe(check(), guest="postroj-0a1b2c3d"))[-2:] == [
        "  kept: postroj exec postroj-0a1b2c3d · postroj stop postroj-0a1b2c3d",
        "PASS  1 service up; 20.0 s",
    ]


def test_the_verdict_counts_checks_by_outcome() -> None:
    answers = [check(outcome) for outcome in (Outcome.PASS, Outcome.SKIP, Outcome.FAIL)]
    verdict = "FAIL  the package is to blame; 1 check failed, 1 passed, 1 skipped; 20.0 s"
    assert lines_of(probe(*answers))[-1] == verdict


def test_verdict_of_a_report_without_probes() -> None:
    lines: list[str] = []
    Terminal(lines.append, colour=False, width=3).end_report(Report(probes=()))
    assert lines == ["SKIP  nothing was tested; 0.0 s"]


@pytest.mark.parametrize("width", [5, 40, 400])
def test_long_subject_stays_on_its_line(width: int) -> None:
    subject = "https://127.0.0.1:8443/" + "x" * 60
    long = check(subject=subject, kind=CheckKind.NETWORK)
    lines = lines_of(probe(long, check(subject="a")), width=width)
    assert lines[2] == f"  pass     3.2 s  network  {subject}  active (running)"
    assert lines[3] == f"  pass     3.2 s  unit     {'a':<{min(width, 40)}}  active (running)"


def test_check_with_an_empty_reason() -> None:
    lines = lines_of(probe(check(reason="")))
    assert lines[2] == "  pass     3.2 s  unit     redis.service"


def test_outcomes_are_coloured() -> None:
    lines = lines_of(probe(check(), check(Outcome.FAIL)), colour=True)
    assert lines[2].startswith("  \x1b[32mpass \x1b[0m    3.2 s  unit ")
    assert lines[3].startswith("  \x1b[31;1mfail \x1b[0m    3.2 s  unit ")
    assert lines[-1].startswith("\x1b[31;1mFAIL\x1b[0m  the package is to blame")


def test_escape_sequences_of_a_package_are_removed() -> None:
    answer = check(Outcome.FAIL, subject=HOSTILE, reason=f"{HOSTILE}\n{HOSTILE}\rover\x85next")
    step = StepResult(
        name=StepName.INSTALL, done=Outcome.FAIL, reason=HOSTILE, seconds=0, hint=HOSTILE
    )
    for result in (
        probe(answer),
        probe(steps=(step,)),
        probe(steps=(), reason=HOSTILE, hint=HOSTILE),
        ProbeResult(image="i", package=HOSTILE),
    ):
        text = "".join(lines_of(result))
        assert text.isprintable(), ascii(text)
        assert "red" in text
        assert "owned" not in text


class Paper:
    """Collect the lines of a screen, and its current progress lines."""

    def __init__(
        self, images: list[str], jobs: int, *, live: bool = False, quiet: bool = False
    ) -> None:
        self.lines: list[str] = []
        self.below: tuple[str, ...] = ()
        self.screen = Screen(
            self.write, colour=False, width=9, busy=self.show, live=live, quiet=quiet
        )
        self.seats = self.screen.open(images, jobs)

    def write(self, line: str) -> None:
        assert not any(self.below), "what goes on is in the way"
        self.lines.append(line)

    def show(self, *lines: str) -> None:
        self.below = lines

    def begin(self, place: int) -> None:
        self.seats[place].begin_probe(f"i{place}", "p")

    def answer(self, place: int, subject: str) -> None:
        self.seats[place].end_check(check(subject=subject, reason="", seconds=0))

    def end(self, place: int, reason: str = "") -> None:
        self.seats[place].end_probe(ProbeResult(image=f"i{place}", package="p", reason=reason))

    @property
    def words(self) -> list[str]:
        """Return the subjects of checks, and the heads of probes."""
        return [line.split()[-1] for line in self.lines]


def test_screen_keeps_the_order_of_the_images() -> None:
    paper = Paper(["i0", "i1", "i2"], 3)
    paper.begin(1)
    paper.begin(0)
    assert paper.words == ["i0"]
    paper.answer(1, "b")
    paper.answer(0, "a")
    assert paper.words == ["i0", "a"]
    paper.begin(2)
    paper.end(2)
    paper.end(0)
    assert paper.words == ["i0", "a", "i1", "b"]
    paper.answer(1, "c")
    paper.end(1, reason="gone")
    assert paper.words == ["i0", "a", "i1", "b", "c", "gone", "i2"]


@pytest.mark.parametrize(("jobs", "live"), [(1, True), (1, False), (2, False)])
def test_screen_shows_a_single_probe_line_by_line(jobs: int, live: bool) -> None:
    paper = Paper(["i0", "i1"], jobs, live=live)
    paper.begin(0)
    paper.answer(0, "a")
    assert paper.words == ["i0", "a"]


def test_live_screen_shows_a_probe_when_it_ends() -> None:
    paper = Paper(["i0", "i1"], 2, live=True)
    paper.begin(0)
    paper.begin(1)
    paper.answer(0, "a")
    paper.answer(1, "b")
    assert paper.words == []
    paper.end(1)
    assert paper.words == ["i1", "b"]
    paper.end(0)
    assert paper.words == ["i1", "b", "i0", "a"]


@pytest.mark.parametrize("live", [False, True])
def test_quiet_screen_shows_only_probes_that_did_not_pass(live: bool) -> None:
    paper = Paper(["i0", "i1", "i2"], 2, live=live, quiet=True)
    for place in range(3):
        paper.begin(place)
        paper.answer(place, "abc"[place])
    assert paper.words == []
    passed = ProbeResult(image="i0", package="p", steps=probe().steps)
    paper.seats[0].end_probe(passed)
    paper.end(1, reason="gone")
    assert paper.words == ["i1", "b", "gone"]
    paper.seats[2].end_probe(replace(passed, image="i2", guest="web"))
    assert paper.lines[-1].endswith("postroj stop web")
    assert "i2" in paper.words
    paper.screen.end_report(Report(probes=(passed,)))
    assert "PASS" not in paper.lines[-1]
    paper.screen.end_report(Report(probes=(ProbeResult(image="i", package="p", reason="x"),)))
    assert paper.lines[-1].startswith("ERROR")


def brief(*results: ProbeResult) -> list[str]:
    """Return what a screen says about probes of several packages."""
    lines: list[str] = []
    screen = Screen(lines.append, colour=False, width=9)
    titles = [f"{one.package} on {one.image}" for one in results]
    for seat, one in zip(screen.open(titles, 1, brief=True), results, strict=True):
        seat.begin_probe(one.image, one.package)
        for step in one.steps:
            seat.end_step(step)
            for answer in step.checks:
                seat.end_check(answer)
        seat.end_probe(one)
    screen.end_report(Report(probes=results), 20)
    return "\n".join(lines).splitlines()


def test_brief_screen_has_a_table_and_shows_the_same_failure_once() -> None:
    bad = check(Outcome.FAIL, reason="failed, main PID 12\nboom")
    same = check(Outcome.FAIL, reason="failed, main PID 34\nboom")
    results = [
        probe(check(), image="sid", package="a"),
        probe(bad, image="sid", package="b", reproduce="postroj b sid"),
        probe(image="trixie", package="a", reason="no such image\n404"),
        probe(same, image="trixie", package="b", reproduce="postroj b trixie"),
    ]
    assert brief(*results) == [
        "  pass    20.0 s  a on sid     1 service up",
        "  fail    20.0 s  b on sid     install: unit redis.service: failed, main PID 12",
        "  error   20.0 s  a on trixie  no such image",
        "  fail    20.0 s  b on trixie  install: unit redis.service: failed, main PID 34",
        "",
        "   sid   trixie",
        "a  pass  error",
        "b  fail  fail",
        "",
        "b on sid",
        "  pass    12.3 s  install  redis 7.0 (amd64)",
        "  fail     3.2 s  unit     redis.service  failed, main PID 12",
        "          | boom",
        "  reproduce: postroj b sid",
        "a on trixie",
        "  pass    12.3 s  install  redis 7.0 (amd64)",
        "  error   20.0 s  probe    no such image",
        "          | 404",
        "b on trixie",
        "          as on sid",
        "  reproduce: postroj b trixie",
        "ERROR  2 failed, 1 not judged, 1 passed; 20.0 s",
    ]


def test_brief_screen_on_one_image_has_no_table() -> None:
    lines = brief(probe(check(), image="sid", package="a"), probe(image="sid", package="b"))
    assert [line.split()[0] for line in lines] == ["pass", "pass", "PASS"]


def test_brief_screen_shows_kept_guests_notes_and_reasons_of_skips() -> None:
    skipped = StepResult(name=StepName.INSTALL, done=Outcome.SKIP, reason="not now", seconds=0)
    lines = brief(
        probe(check(), image="sid", package="a", guest="postroj-1", notes=("remove it",)),
        replace(probe(image="sid", package="b"), steps=(skipped,)),
    )
    assert lines[1] == "  kept: postroj exec postroj-1 · postroj stop postroj-1"
    assert lines[2] == "          note: remove it"
    assert lines[3].endswith("b on sid  install: not now")


def test_live_screen_has_a_progress_line_per_running_probe() -> None:
    paper = Paper(["i0", "i1"], 2, live=True)
    paper.begin(0)
    paper.seats[0].begin_part("boot")
    paper.begin(1)
    paper.seats[1].begin_part("refresh")
    both: tuple[str, ...] = (
        "  ...    i0: booting the guest",
        "  ...    i1: fetching package lists",
    )
    assert paper.below == (*both, "  0/2 done")
    paper.answer(0, "a")
    assert paper.below == (*both, "  0/2 done")
    paper.end(0)
    assert paper.below == (*both[1:], "  1/2 done")
    paper.end(1)
    assert not any(paper.below)
    paper.screen.end_report(Report(probes=()), 3)
    assert paper.lines[-1] == "SKIP  nothing was tested; 3.0 s"


def test_progress_line_of_a_single_image_has_no_name() -> None:
    paper = Paper(["i0"], 1, live=True)
    paper.begin(0)
    paper.seats[0].begin_part("boot")
    assert paper.below == ("  ...    booting the guest",)
    paper.answer(0, "a")
    assert paper.words == ["i0", "a"]


@pytest.mark.parametrize("live", [True, False])
def test_screen_never_mixes_lines_of_threads(live: bool) -> None:
    places = range(8)
    paper = Paper([f"i{place}" for place in places], 8, live=live)

    def tell(place: int) -> None:
        paper.begin(place)
        for number in range(50):
            paper.seats[place].begin_part(str(number))
            paper.answer(place, f"{place}.{number}")
        paper.end(place)

    threads = [threading.Thread(target=tell, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blocks = [paper.words[at : at + 51] for at in range(0, 8 * 51, 51)]
    wanted = [[f"i{place}", *(f"{place}.{n}" for n in range(50))] for place in places]
    assert sorted(blocks) == wanted
    assert live or blocks == wanted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain ünï 日本 ✓", "plain ünï 日本 ✓"),
        ("a\tb", "a       b"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://mirror.example\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1bM\x1bcgone", "\\x1bcgone"),
        ("bell\x07 nul\x00 csi\x9b31m", "bell\\x07 nul\\x00 csi\\x9b31m"),
        ("cut \x1b[", "cut \\x1b["),
        ("\udcff \u202e", "\\udcff \\u202e"),
    ],
)
def test_visible_escapes_control_characters(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_bad_probe_shows_its_reproduction() -> None:
    command = "postroj pkgprobe --check-command 'a\n  b\tc'"
    assert not any("reproduce" in line for line in lines_of(probe(check(), reproduce=command)))
    for result in (
        probe(check(Outcome.FAIL), reproduce=command),
        probe(reason="no guest", reproduce=command),
    ):
        *_, line, _ = lines_of(result)
        assert line == "  reproduce: postroj pkgprobe --check-command 'a\n  b\\tc'".replace(
            "\\t", " " * 5
        )
