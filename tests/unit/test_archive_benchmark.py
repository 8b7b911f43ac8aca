"""`benchmarks/archive.py`: what is drawn, what counts as a fault, what of a judgement is kept."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import archive
import archive_classes
import pytest
from archive_classes import HEADER, InvalidClassesError, Judgement, merge
from archive_draw import draw, shipped_units, version_of
from archive_table import Fault, Row, own_service, row_of, rst, summary, tsv
from docutils.core import publish_doctree

if TYPE_CHECKING:
    from pathlib import Path

RUNNING = "active (running), main PID 301"
OWN = {"a.service", "a.socket", "b.service", "c.service", "t@.service"}
NAMES = [f"p{number}" for number in range(100)]


def check(subject: str, outcome: str, **keys: object) -> dict[str, object]:
    return {
        "kind": "unit",
        "subject": subject,
        "outcome": outcome,
        "reason": RUNNING if outcome == "pass" else "a sentence\nits evidence",
        "seconds": 0.1,
        "discovered": True,
    } | keys


def step(name: str, *checks: dict[str, object], **keys: object) -> dict[str, object]:
    bad = any(one["outcome"] == "fail" for one in checks)
    outcome = "fail" if bad else "pass"
    return {"name": name, "outcome": outcome, "done": "pass", "reason": "", "checks": checks} | keys


def row(*steps: dict[str, object], **keys: object) -> Row:
    failed = any("fail" in (one["outcome"], one["done"]) for one in steps)
    probe = {"outcome": "fail" if failed else "pass", "reason": "", "steps": list(steps)}
    run = {"version": "1.0", "status": 0, "seconds": 12.4, "killed": False}
    return row_of("x", run | {"report": {"schema": 1, "probes": [probe]}} | keys, OWN)


def judgement(**keys: str) -> Judgement:
    empty = dict.fromkeys(("class_", "step", "subject", "state", "judged", "now", "note"), "")
    return Judgement(**{"package": "x"} | empty | keys)


def by_key(*judgements: Judgement) -> dict[tuple[str, str, str], Judgement]:
    return {one.key: one for one in judgements}


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("lib/systemd/system/a.service", "a.service"),
        ("usr/lib/systemd/system/a@.socket", "a@.socket"),
        ("usr/lib/systemd/system/name with spaces.timer", "name with spaces.timer"),
        ("etc/init.d/a", "a.service"),
        ("etc/init.d/a.sh", "a.service"),
    ],
)
def test_a_line_of_contents_that_names_a_unit(path: str, unit: str) -> None:
    assert shipped_units([f"{path}     net/bb,non-free/net/aa\n"]) == {"bb": {unit}, "aa": {unit}}


@pytest.mark.parametrize(
    "path",
    [
        "lib/systemd/system/a.target",
        "lib/systemd/system/a.service.d/x.conf",
        "usr/lib/systemd/user/a.service",
        "usr/share/doc/lib/systemd/system/a.service",
        "etc/init.d/folder/a",
    ],
)
def test_a_line_of_contents_that_names_nothing_to_run(path: str) -> None:
    assert shipped_units([f"{path} net/aa"]) == {}


@pytest.mark.parametrize("name", ["-oDir=x", "..", "a", "a_b", "$(id)", ""])
def test_a_line_of_contents_with_what_is_no_name_of_a_package(name: str) -> None:
    assert shipped_units([f"etc/init.d/a net/{name}"]) == {}


def test_a_seed_draws_the_same_packages_from_any_order_of_names() -> None:
    drawn = draw(NAMES, count=10, seed=1)
    assert drawn == draw(reversed(NAMES), count=10, seed=1) == sorted(drawn)
    assert drawn != draw(NAMES, count=10, seed=2)


def test_a_higher_count_only_adds_packages() -> None:
    assert set(draw(NAMES, count=10, seed=1)) < set(draw(NAMES, count=20, seed=1))
    assert draw(NAMES, count=200, seed=1) == sorted(NAMES)


def test_excluded_packages_are_replaced_by_others() -> None:
    first = draw(NAMES, count=10, seed=1)
    second = draw(NAMES, count=10, seed=1, excluded=first)
    assert len(second) == 10
    assert not set(first) & set(second)


def test_version_in_the_file_name_of_a_package() -> None:
    assert version_of("redis_5%3a7.0.15-1~deb12u10_amd64.deb") == "5:7.0.15-1~deb12u10"


def test_a_row_counts_services_and_ports_while_the_package_is_installed() -> None:
    found = row(
        step("install", check("a.service", "pass"), check("a.socket", "pass"), check("b", "skip")),
        step("start-of-tomorrow", check("b", "pass"), check("dependency.service", "pass")),
        step("reboot", check("tcp://127.0.0.1:1", "pass", kind="network")),
        step("purge", check("c.service", "pass"), check("tcp://[::]:1", "pass", kind="network")),
    )
    assert (found.services, found.ports, found.skipped) == (2, 1, 1)
    assert found.faults == ()


@pytest.mark.parametrize("unit", ["a", "a.service", "t@x.service", "t@x.y.service"])
def test_services_of_the_package(unit: str) -> None:
    assert own_service(unit, OWN)


@pytest.mark.parametrize("unit", ["a.socket", "d", "a@x.service", "t.service", "dbus.a.service"])
def test_units_that_are_no_services_of_the_package(unit: str) -> None:
    assert not own_service(unit, OWN)


def test_a_row_has_failing_checks_steps_and_the_end_of_a_probe() -> None:
    found = row(
        step(
            "install", check("a", "fail", needs="zram", why="", seconds_left=0), check("b", "pass")
        ),
        step("purge", done="fail", reason="postrm failed"),
    )
    assert found.faults == (
        Fault(
            step="install",
            subject="a",
            outcome="fail",
            sentence="a sentence / its evidence",
            more="needs=zram",
        ),
        Fault(step="purge", subject="the step itself", outcome="fail", sentence="postrm failed"),
    )
    ended = row_of("x", run({"outcome": "error", "reason": "no boot", "steps": []}), OWN)
    assert [(fault.subject, fault.sentence) for fault in ended.faults] == [("the probe", "no boot")]


def run(probe: dict[str, Any] | None, **keys: object) -> dict[str, Any]:
    report = {"probes": [probe]} if probe else None
    return {"version": "1", "status": 4, "seconds": 3, "killed": False, "report": report} | keys


def test_a_row_of_a_package_that_passed_though_nothing_ran() -> None:
    found = row(step("install", check("a", "skip", reason="a template"), check("b.timer", "pass")))
    (fault,) = found.faults
    assert (fault.subject, fault.outcome, fault.sentence) == (
        "nothing ran",
        "pass",
        "a: a template",
    )


def test_a_row_of_a_package_whose_only_service_has_exited() -> None:
    exited = check("a", "pass", reason="active (exited)")
    (fault,) = row(step("install", exited), step("reboot", exited)).faults
    assert (fault.subject, fault.sentence) == ("nothing ran", "a: active (exited)")


def test_a_row_of_a_package_of_which_only_a_dependency_runs() -> None:
    port = check("tcp://127.0.0.1:25", "pass", kind="network")
    found = row(step("install", check("a", "skip"), check("dependency.service", "pass"), port))
    assert (found.services, found.ports) == (0, 1)
    assert [fault.subject for fault in found.faults] == ["nothing ran"]


def test_a_sentence_leaves_the_journal_out() -> None:
    reason = "failed\nNov 29 19:35:50 guest a[12]: no such file\n/etc/a"
    (fault,) = row(step("install", check("a", "fail", reason=reason))).faults
    assert fault.sentence == "failed / /etc/a"


def test_a_row_without_a_report() -> None:
    found = row_of("x", run(None), OWN)
    assert found.verdict == "no report"
    assert [fault.sentence for fault in found.faults] == ["no report, exit status 4"]


def test_a_row_of_a_probe_that_was_stopped_at_its_limit() -> None:
    found = row(step("install", check("a", "pass")), killed=True, status=143, seconds=1200)
    assert [fault.sentence for fault in found.faults] == ["stopped after 1200 s, exit status 143"]


def test_the_limit_of_a_probe_is_named_before_its_interruption() -> None:
    probe = {"outcome": "error", "reason": "interrupted", "steps": []}
    found = row_of("x", run(probe, killed=True, status=143, seconds=1200), OWN)
    assert [fault.sentence for fault in found.faults] == ["stopped after 1200 s, exit status 143"]


def test_one_fault_for_each_step_and_subject() -> None:
    twice = [check("a", "fail"), check("a", "error", kind="system")]
    assert [fault.outcome for fault in row(step("install", *twice)).faults] == ["fail"]


def test_a_new_fault_waits_for_a_class_and_keeps_a_given_one() -> None:
    found = row(step("install", check("a", "fail")))
    (new,) = merge([], [found])
    assert (new.key, new.class_, new.state) == (("x", "install", "a"), "", "new")
    (judged,) = merge([replace(new, class_="false", note="see #1")], [found])
    assert (judged.class_, judged.state, judged.note) == ("false", "", "see #1")
    assert judged.judged == judged.now == "a sentence / its evidence"


def test_a_judged_fault_that_now_says_something_else() -> None:
    known = judgement(class_="true", step="install", subject="a", judged="PID 12 died", now="…")
    same = row(step("install", check("a", "fail", reason="PID 345 died")))
    assert [one.state for one in merge([known], [same])] == [""]
    other = row(step("install", check("a", "fail", reason="port closed")))
    (changed,) = merge([known], [other])
    assert (changed.state, changed.class_, changed.judged) == ("changed", "true", "PID 12 died")
    assert [one.state for one in merge([changed], [other])] == ["changed"]
    (confirmed,) = merge([replace(changed, judged="")], [other])
    assert (confirmed.state, confirmed.judged) == ("", "port closed")


def test_a_fault_that_is_gone_keeps_its_class_and_may_return() -> None:
    known = judgement(class_="false", step="install", subject="a", now="a sentence / its evidence")
    (gone,) = merge([known], [row(step("install", check("a", "pass")))])
    assert (gone.state, gone.class_, gone.now) == ("gone", "false", "")
    (back,) = merge([gone], [row(step("install", check("a", "fail")))])
    assert (back.state, back.class_) == ("", "false")


def test_a_fault_that_is_gone_unjudged_is_dropped() -> None:
    known = judgement(step="install", subject="a", state="new")
    assert merge([known], [row(step("install", check("a", "pass")))]) == []


def test_a_pattern_judges_what_has_no_class_of_its_own() -> None:
    failing = row(
        *(step(name, check("a1", "fail"), check("b", "fail")) for name in ("install", "x"))
    )
    pattern = judgement(class_="true", step="*", subject="a*")
    own = judgement(class_="false", step="x", subject="a1")
    found = by_key(*merge([pattern, own], [failing]))
    classes = {key[1:]: one.class_ for key, one in found.items()}
    assert classes == {
        ("install", "a1"): "true",
        ("install", "b"): "",
        ("x", "a1"): "false",
        ("x", "b"): "",
        ("*", "a*"): "true",
    }
    lines = archive_classes.read(archive_classes.write(found.values()))
    assert {one.key[1:] for one in lines} == classes.keys() - {("install", "a1")}


def test_a_pattern_is_gone_if_nothing_matches_it() -> None:
    pattern = judgement(class_="true", step="*", subject="a*")
    other = row(step("install", check("b", "fail")))
    assert [one.state for one in merge([pattern], [other])] == ["new", "gone"]
    assert merge([pattern], []) == [pattern]


def test_judgements_of_packages_without_a_row_stay() -> None:
    known = judgement(package="y", class_="true", step="install", subject="a")
    assert merge([known], []) == [known]


def test_classes_survive_writing_and_an_editor_that_strips_lines() -> None:
    known = [judgement(class_="true", step="purge", subject="no file left behind", judged="s")]
    text = archive_classes.write(known)
    assert archive_classes.read(text) == known
    assert archive_classes.read("\n".join(line.rstrip() for line in text.splitlines())) == known


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("flase\tx\tinstall\ta", "line 2: 'flase' is not one of true, tolerated, false"),
        ("true\tx\tinstall\ta\nfalse\tx\tinstall\ta", "line 3: x install a has a line already"),
        ("\t" * 8, "line 2: 9 columns instead of 8"),
    ],
)
def test_classes_that_cannot_be_read(line: str, message: str) -> None:
    header = "\t".join(HEADER)
    with pytest.raises(InvalidClassesError, match=message.replace(".", r"\.")):
        archive_classes.read(f"{header}\n{line}x\n" if line.isspace() else f"{header}\n{line}\n")


def test_the_table_has_a_line_for_each_fault() -> None:
    rows = [row(step("install", check("a", "fail"))), replace(row(), package="y", faults=())]
    text = tsv(rows, by_key(judgement(class_="true", step="install", subject="a")))
    head, first, second = (line.split("\t") for line in text.splitlines())
    found = dict(zip(head, first, strict=True))
    assert (found["package"], found["seconds"], found["class"]) == ("x", "12", "true")
    assert dict(zip(head, second, strict=True))["subject"] == ""


def test_output_of_a_package_cannot_break_a_table() -> None:
    hostile = "`a` *b* |c| d_ :e:`f` \\ .. g::\t\x1b[31m\n\n* h\n\u2028**"
    (fault,) = row(step("install", check("a", "fail", reason=hostile))).faults
    rows = [row(step("install", check("a", "fail", reason=hostile), reason="x"))]
    judged = by_key(judgement(step="install", subject="a"))
    assert len(tsv(rows, judged).splitlines()) == 2
    tree = publish_doctree(rst(rows, judged), settings_overrides={"halt_level": 2})
    assert fault.sentence in tree.astext()


def test_the_page_names_a_fault_of_several_steps_once() -> None:
    steps = [step(name, check("a", "fail", reason="broken")) for name in ("install", "reboot")]
    rows = [row(*steps)]
    judged = by_key(*merge([], rows))
    tree = publish_doctree(rst(rows, judged), settings_overrides={"halt_level": 2})
    assert tree.astext().count("broken") == 1
    assert "not judged install, reboot a: broken" in tree.astext()


def test_the_summary_counts_packages_and_not_checks() -> None:
    accused = row(step("install", check("a", "fail"), check("b", "fail")))
    idle = replace(row(step("install", check("a", "skip"))), package="y")
    judged = by_key(
        judgement(class_="false", step="install", subject="a"),
        judgement(class_="false", step="install", subject="b", state="changed"),
        judgement(package="y", subject="nothing ran"),
    )
    text = summary("title", [accused, idle], judged, ["z"])
    found = {line[:34].strip(): line[34:] for line in text.splitlines()[1:] if line[:34].strip()}
    assert found == {
        "packages with a report": "2",
        "verdicts": "1 fail, 1 pass",
        "failing checks": "2: 2 false",
        "packages with a false accusation": "1 (50.0%) x",
        "passed though nothing ran": "1: 1 not judged",
        "judgements": "1 changed, 0 gone",
        "without a report": "1 z",
    }


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_crew_returns_what_a_process_printed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    ended = archive.Crew().run(python(code), log, 60)
    assert ended
    assert (ended.status, ended.output, ended.killed) == (3, "out\n", False)
    assert log.read_text() == "err\n"


def test_the_crew_stops_a_process_at_its_limit_and_reads_its_last_words(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('stopped') or 143))\n"
        "time.sleep(60)"
    )
    ended = archive.Crew().run(python(code), tmp_path / "log", 1)
    assert ended
    assert (ended.status, ended.output, ended.killed) == (143, "stopped\n", True)


def test_a_stopped_crew_gives_up_what_runs_and_starts_nothing(tmp_path: Path) -> None:
    crew = archive.Crew()
    found: list[archive.Ended | None] = []
    log = tmp_path / "log"
    code = "import sys, time; print('ready', file=sys.stderr, flush=True); time.sleep(60)"
    worker = threading.Thread(target=lambda: found.append(crew.run(python(code), log, 60)))
    worker.start()
    while not (log.exists() and log.read_text()):
        time.sleep(0.01)
    crew.stop()
    worker.join(10)
    assert found == [None]
    assert crew.run(python("print()"), tmp_path / "other", 60) is None


def sample(folder: archive.Folder, *argv: str) -> archive.Sample:
    return archive.sampled(archive.arguments(["--count", "2", "--seed", "1", *argv]), folder)


def folder_of(path: Path) -> archive.Folder:
    folder = archive.Folder(path=path)
    folder.make()
    folder.contents.write_text("".join(f"etc/init.d/{name} net/{name}\n" for name in NAMES))
    return folder


def test_not_in_leaves_out_what_another_folder_drew_also_in_later_runs(tmp_path: Path) -> None:
    first = sample(folder_of(tmp_path / "first"))
    second = folder_of(tmp_path / "second")
    other = sample(second, "--not-in", str(tmp_path / "first"))
    assert len(first.packages) == len(other.packages) == 2
    assert not set(first.packages) & set(other.packages)
    assert sample(second) == other


def test_a_folder_refuses_another_seed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    sample(folder)
    with pytest.raises(SystemExit, match="has a sample of debian-bookworm with seed 1"):
        sample(folder, "--seed", "2")


def test_results_name_packages_without_a_report(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    drawn = sample(folder)
    name, missing = drawn.packages
    probe = {"outcome": "fail", "steps": [step("install", check("a", "fail"))]}
    folder.report(name).write_text(json.dumps(run(probe)))
    text = archive.write_results(drawn, folder)
    assert f"without a report                  1 {missing}\n" in text
    (judged,) = archive_classes.read(folder.classes.read_text())
    assert judged.key == (name, "install", "a")
    assert (tmp_path / "summary.txt").read_text() == text
