"""Nothing is left, whoever is killed at whatever moment; and no package is blamed for it.

`POSTROJ_TEST_SEED` repeats a run as far as moments can be repeated, `POSTROJ_TEST_KILLS` makes it
longer.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from queue import SimpleQueue
from signal import SIGCONT, SIGHUP, SIGINT, SIGKILL, SIGSTOP, SIGTERM, Signals
from threading import Event, Thread
from typing import TYPE_CHECKING

import pytest

import postroj
from postroj import locking, paths
from postroj.container.cgroup import group
from tests.support import debs, victims
from tests.support.cli import NO_REPOSITORIES, POSTROJ, eventually
from tests.support.victims import LEADER, NSPAWN, PASTA, SCRIPT, UNSHARE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.support.victims import Process

SEED = os.environ.get("POSTROJ_TEST_SEED") or str(random.randrange(1 << 32))
KILLS = int(os.environ.get("POSTROJ_TEST_KILLS", "100"))
AT_ONCE = 4
DEADLINE = 30
"""Seconds until postroj must have ended, whatever happened to its guest."""
GONE = 5
"""Seconds until nothing may be left."""
OURS = str(Path(postroj.__file__).parent)
SIGNALS = (SIGINT, SIGTERM, SIGHUP, SIGKILL)
HEEDED = {
    UNSHARE: (SIGHUP, SIGKILL),
    SCRIPT: (SIGINT, SIGKILL),
    NSPAWN: SIGNALS,
    PASTA: (SIGTERM, SIGHUP, SIGKILL),
    LEADER: (SIGINT, SIGKILL),
}
"""Signals that end a guest. What a shell starts in its background ignores SIGINT.

The leader takes SIGINT for a wish to restart. SIGTERM and SIGHUP begin it anew, systemd(1): who
asks it something meanwhile gets no answer.
"""

EIGHT = """
import json, sys, threading
from postroj.container import rundir
from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import PostrojError
from postroj.prepare import obtain

own = threading.local()  # a guest that does not become ready has a name, too
claim = rundir.claim

def claim_noted(facts):
    own.claim = claim(facts)
    return own.claim

rundir.claim = claim_noted

def live():
    told = {"outcome": "fine", "reason": ""}
    try:
        with start_guest(GuestSpec(layers=image.layers, guests=8)) as guest:
            guest.run(["sleep", "1"])
    except PostrojError as error:
        told = {"outcome": type(error).__name__, "reason": error.message}
    print(json.dumps({"name": own.claim.path.name, **told}) + "\\n", end="", flush=True)

with obtain(sys.argv[1]) as image:
    threads = [threading.Thread(target=live) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


@dataclass
class Run:
    """A postroj of its own cache and state, what was done to it, and what came of it."""

    label: str
    argv: Sequence[str]
    folder: Path
    logs: Path
    hits: list[tuple[str, str, Signals]] = field(default_factory=list)
    """Of which guest, who, and by what."""
    names: set[str] = field(default_factory=set)
    seen: set[Process] = field(default_factory=set)
    status: int | None = None
    out: str = ""
    err: str = ""
    trouble: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start it."""
        self.said = [self.logs / f"{self.folder.name}.{end}" for end in ("out", "err")]
        with self.said[0].open("wb") as out, self.said[1].open("wb") as err:
            self.child = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.env
            )

    @property
    def env(self) -> dict[str, str]:
        """Environment of what uses its cache and state."""
        return os.environ | {
            "POSTROJ_STATE_DIR": str(self.folder / "state"),
            "POSTROJ_CACHE_DIR": str(self.folder / "cache"),
        }

    def watch(self, seconds: float) -> bool:
        """Note which guests there are, until it ends or the time is up; whether it ended."""
        end = time.monotonic() + seconds
        while self.child.poll() is None and time.monotonic() < end:
            self.names |= victims.run_directories(self.folder / "state")
            time.sleep(min(0.01, max(0, end - time.monotonic())))
        return self.child.poll() is not None

    def cast(self) -> list[tuple[str, str, Process]]:
        """Return who is there to be killed: of which guest, in which role."""
        found = []
        postroj = victims.look(self.child.pid)
        if postroj and self.child.poll() is None:
            found.append(("", victims.POSTROJ, postroj))
        for guest in victims.victims(self.child.pid):
            name = victims.guest_of(guest[UNSHARE])
            found += [(name, role, process) for role, process in guest.items()]
        self.seen.update(victims.descendants(self.child.pid))
        return found

    def strike(self, name: str, role: str, process: Process, number: Signals) -> None:
        """Kill one, and note it."""
        if victims.send(process, number):
            self.hits.append((name, role, number))

    def finish(self, *, removed: bool = True) -> None:
        """Wait for its end, and see that nothing is left.

        `removed` is whether an unharmed postroj has removed what its guest cannot remove itself.
        """
        if not self.watch(DEADLINE):
            self.trouble.append(f"it hangs: {victims.descendants(self.child.pid)}")
            self.child.kill()
        self.status = self.child.wait()
        state = self.folder / "state"
        self.names |= victims.run_directories(state)
        if not eventually(lambda: not self.traces(), GONE):
            self.trouble += [f"left: {what}" for what in self.traces()]
        if removed and not self.by(victims.POSTROJ):
            rest = [*victims.run_directories(state), *victims.groups(self.names)]
            self.trouble += [f"not removed: {what}" for what in rest]

        def swept() -> bool:
            locking.sweep(state)
            group.sweep()  # leaves a group alone that the sweep of another process has locked
            return not [*victims.run_directories(state), *victims.groups(self.names)]

        if not eventually(swept, GONE):
            rest = [*victims.run_directories(state), *victims.groups(self.names)]
            self.trouble += [f"not swept: {what}" for what in rest]
        self.out, self.err = (log.read_text(errors="replace") for log in self.said)
        # a Ctrl-C before our first line is Python's own, and so is one in a callback of an import
        own = self.err.partition("Exception ignored in: <function _get_module_lock")[0]
        if any(OURS in line and "__main__.py" not in line for line in own.splitlines()):
            self.trouble.append("a traceback")

    def traces(self) -> list[str]:
        return victims.traces(self.folder, self.names, self.seen)

    def by(self, *roles: str) -> list[Signals]:
        """Signals that these got."""
        return [number for _, role, number in self.hits if role in roles]

    def is_fatal(self, name: str = "") -> bool:
        """Whether a guest, or any, was told to end."""
        return any(
            number in HEEDED.get(role, ()) and name in ("", guest)
            for guest, role, number in self.hits
        )

    def expect(self, *, status: Sequence[int], why: str) -> None:
        """Note a wrong exit status."""
        if self.status not in status:
            self.trouble.append(f"status {self.status}, and not one of {status}: {why}")

    def __str__(self) -> str:
        lines = [f"{self.label}: {self.hits}, status {self.status}", *self.trouble]
        return "\n  ".join((*lines, *self.out.splitlines()[-40:], *self.err.splitlines()))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What all runs begin with: a package, and places with a filled cache, one for each at once.

    Guests of one image share a loop device, so those that run at once have copies of it.
    """

    image: str
    package: Path
    logs: Path
    places: SimpleQueue[Path]

    @property
    def programs(self) -> dict[str, list[str]]:
        """What is run, by name."""
        probe = (
            *("pkgprobe", "-p", str(self.package), "-i", self.image, "--settle", "0", "--json"),
            *NO_REPOSITORIES,
        )
        waits = ("run", "-i", self.image, "--", "sh", "-c", "sleep 0.7; echo end")
        return {
            "probe": [*POSTROJ, *probe],
            "run": [*POSTROJ, *waits],
            "reboot": [*POSTROJ, *probe, "--steps=install,reboot"],
        }

    @contextmanager
    def run(self, label: str, argv: Sequence[str]) -> Iterator[Run]:
        """Start a program in a place that is its own meanwhile, and see that nothing is left."""
        place = self.places.get()
        try:
            run = Run(label, argv, place, self.logs)
            run.start()
            yield run
            run.finish()
        finally:
            self.places.put(place)


@pytest.fixture(scope="module")
def stage(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Places beside the system's cache, each with the image and package lists for it."""
    store = paths.cache_dir()
    logs = tmp_path_factory.mktemp("killed")
    package = debs.build(logs, "tiny", files={"/srv/tiny": "x"})
    with tempfile.TemporaryDirectory(prefix="k-", dir=store.parent) as parent:
        first, *others = [Path(parent) / str(number) for number in range(AT_ONCE)]
        (first / "cache" / "images").mkdir(parents=True)
        for path in (store / "images").glob(f"{image}-*"):
            shutil.copy2(path, first / "cache" / "images")
        stage = Stage(image=image, package=package, logs=logs, places=SimpleQueue())
        stage.places.put(first)
        with stage.run("warm", stage.programs["probe"]) as run:
            run.watch(120)
        assert run.status == 0, run
        for place in others:
            shutil.copytree(first / "cache", place / "cache")
            stage.places.put(place)
        yield stage


def lengths(stage: Stage) -> dict[str, float]:
    """Seconds that each program takes while others run, unharmed."""

    def length(program: str) -> float:
        began = time.monotonic()
        with stage.run(program, stage.programs[program]) as run:
            run.watch(DEADLINE)
            seconds = time.monotonic() - began
        assert run.status == 0 and not run.trouble, run
        return seconds

    names = [*stage.programs]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(names, pool.map(length, names), strict=True))


def harm(
    stage: Stage,
    number: int,
    seconds: dict[str, float],
    programs: Sequence[str] = ("probe", "run", "run"),
) -> Run:
    """Run a program, and kill some of its processes at once at some moment."""
    dice = random.Random(f"{SEED}-{number}")
    program = dice.choice(programs)
    begin = 0.5 if program == "reboot" else 0  # about when the package is installed
    moment = dice.uniform(begin, 1.1) * seconds[program]
    label = f"{number} {program} after {moment:.3f} s"
    with stage.run(label, stage.programs[program]) as run:
        run.watch(moment)
        there = run.cast()
        for name, role, process in dice.sample(there, min(len(there), dice.choice((1, 1, 2, 3)))):
            run.strike(name, role, process, dice.choice(SIGNALS))
            if role == victims.POSTROJ and dice.random() < 0.3:  # an impatient Ctrl-C
                time.sleep(dice.uniform(0, 0.1))
                run.strike(name, role, process, SIGINT)
    judge(run, program)
    return run


def judge(run: Run, program: str) -> None:
    """See that the exit status tells what happened."""
    if numbers := run.by(victims.POSTROJ):
        told = {status for number in numbers for status in (128 + number, -number)}
        if "init_import_site" in run.err or "runpy" in run.err:  # a Ctrl-C at the start of Python
            told.add(1)
        run.expect(status=[0, 4, 125, *told], why="postroj was killed")
    elif program == "run":
        ended = "end\n" in run.out
        lost = [0, 125] if run.is_fatal() or run.by(LEADER) else [0]
        if SIGINT in run.by(LEADER):  # a restart ends all in the guest first
            lost.append(128 + SIGTERM)
        run.expect(status=[0] if ended else lost, why="its guest was killed")
        if run.status == 125 and run.err.count("error: ") != 1:
            run.trouble.append("not one sentence")
        if run.status == 0 and not ended:
            run.trouble.append("status 0 without an end")
    else:
        lost = [1, 4] if run.by(LEADER) else [4]
        run.expect(status=[0, *lost] if run.is_fatal() or run.by(LEADER) else [0], why="a probe")
        outcome = json.loads(run.out)["outcome"] if run.out else ""
        if {"pass": 0, "fail": 1, "error": 4}.get(outcome) != run.status:
            run.trouble.append(f"the report says '{outcome}'")


def test_run_and_pkgprobe_leave_nothing_whoever_is_killed(stage: Stage) -> None:
    print(f"POSTROJ_TEST_SEED={SEED}")
    seconds = lengths(stage)
    killed: list[tuple[str, str]] = []
    troubled: list[Run] = []
    numbers = count()

    def work() -> None:
        while len(killed) < KILLS * 0.7 or {role for role, _ in killed} != set(victims.ROLES):
            run = harm(stage, next(numbers), seconds)
            killed.extend((role, number.name) for _, role, number in run.hits)
            if run.trouble:
                troubled.append(run)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(work) for _ in range(AT_ONCE)]:
            done.result()
    print(sorted(Counter(killed).items()))
    assert not troubled, "\n\n".join(map(str, troubled))


def test_of_eight_guests_only_those_end_whose_parts_are_killed(stage: Stage) -> None:
    print(f"POSTROJ_TEST_SEED={SEED}")
    dice = random.Random(f"{SEED}-eight")
    killed = 0
    while killed < KILLS * 0.3:
        with stage.run("eight", [sys.executable, "-c", EIGHT, stage.image]) as run:
            while run.child.poll() is None and len(run.hits) < 8:
                run.watch(dice.uniform(0, 0.6))
                there = [one for one in run.cast() if one[1] != victims.POSTROJ]
                for name, role, process in dice.sample(there, min(len(there), 2)):
                    run.strike(name, role, process, dice.choice(SIGNALS))
        killed += len(run.hits)
        run.expect(status=[0], why="the program knows how to end")
        told = {line["name"]: line for line in map(json.loads, run.out.splitlines())}
        for name, line in told.items():
            fine = {"fine", "GuestError"} if run.is_fatal(name) else {"fine"}
            if any(guest == name and role == LEADER for guest, role, _ in run.hits):
                fine |= {"GuestError", "GuestLost", "CommandError"}
            if line["outcome"] not in fine:
                run.trouble.append(f"{line}")
        if len(told) != 8:
            run.trouble.append(f"{len(told)} guests have told")
        assert not run.trouble, str(run)


def kept(run: Run, image: str, *options: str) -> str:
    """Start a guest that stays, with the cache and state of `run`; return its name."""
    argv = [*POSTROJ, "run", "--detach", "-i", image, *options]
    done = subprocess.run(argv, env=run.env, stdout=subprocess.PIPE, check=True, timeout=60)
    return done.stdout.decode().strip()


def restart(stage: Stage, number: int) -> Run:
    """Restart a kept guest, and kill at some moment some of its processes, or the command."""
    dice = random.Random(f"{SEED}-restart-{number}")
    moment = dice.uniform(0, 1.5)
    place = stage.places.get()
    run = Run(f"{number} restart after {moment:.3f} s", [], place, stage.logs)
    try:
        name = kept(run, stage.image, *dice.choice(([], ["--private-users"])))
        run.names.add(name)
        run.argv = [*POSTROJ, "restart", name]
        run.start()
        run.watch(moment)
        there = run.cast() + [(name, *who) for who in victims.of_guest(name).items()]
        run.seen.update(process for _, _, process in there)
        for _, role, process in dice.sample(there, min(len(there), dice.choice((1, 1, 2)))):
            run.strike(name, role, process, dice.choice(SIGNALS))
        run.watch(DEADLINE)
        run.seen.update(victims.of_guest(name).values())
        argv = [*POSTROJ, "exec", name, "true"]

        def is_usable() -> bool:
            return (
                subprocess.run(argv, env=run.env, capture_output=True, check=False).returncode == 0
            )

        if not run.is_fatal() and not run.by(LEADER) and not eventually(is_usable, DEADLINE):
            run.trouble.append("the guest is lost")
        argv = [*POSTROJ, "stop", "--all", "--time=0"]
        subprocess.run(argv, env=run.env, check=True)
        run.finish(removed=False)  # no command waits for the end of a kept guest
    finally:
        stage.places.put(place)
    if numbers := run.by(victims.POSTROJ):
        run.expect(
            status=[0, 4, *(told for one in numbers for told in (128 + one, -one))],
            why="the command was killed",
        )
    else:
        lost = [0, 2, 4] if run.is_fatal() or run.by(LEADER) else [0]  # 2: it was gone before
        run.expect(status=lost, why="its guest was killed")
        if run.status and run.err.count("error: ") != 1:
            run.trouble.append("not one sentence")
    return run


def test_restart_and_reboot_leave_nothing_whoever_is_killed(stage: Stage) -> None:
    print(f"POSTROJ_TEST_SEED={SEED}")
    seconds = lengths(stage)
    half = max(1, KILLS // 20)

    def reboot(number: int) -> Run:
        return harm(stage, 1000000 + number, seconds, ("reboot",))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = [*pool.map(reboot, range(half)), *pool.map(partial(restart, stage), range(half))]
    print(sorted(Counter((role, one.name) for run in runs for _, role, one in run.hits).items()))
    troubled = [run for run in runs if run.trouble]
    assert not troubled, "\n\n".join(map(str, troubled))


def waiting(stage: Stage, *options: str) -> list[str]:
    return [*POSTROJ, "run", *options, "-i", stage.image, "--", "sh", "-c", "echo begun; sleep 300"]


def begin(run: Run) -> dict[str, Process]:
    """Wait until a guest runs a command; who is who in it."""
    run.watch(0)
    assert eventually(lambda: run.cast() and "begun" in run.said[0].read_text(), DEADLINE)
    (guest,) = victims.victims(run.child.pid)
    return guest


ENDED = "the guest was ended"
PARTS = (
    (PASTA, SIGKILL, f"{ENDED}, since pasta, its network, had ended"),
    (NSPAWN, SIGKILL, ENDED),
    (NSPAWN, SIGTERM, ENDED),
    (LEADER, SIGKILL, ENDED),
    (SCRIPT, SIGKILL, ENDED),
    (UNSHARE, SIGKILL, ENDED),
)


def test_run_ends_when_any_part_of_its_guest_is_killed(stage: Stage) -> None:
    def part(what: tuple[str, Signals, str]) -> None:
        role, number, sentence = what
        with stage.run(role, waiting(stage)) as run:
            guest = begin(run)
            run.strike(victims.guest_of(guest[UNSHARE]), role, guest[role], number)
        assert (run.status, run.err.splitlines()[0]) == (125, f"error: {sentence}"), run
        assert not run.trouble, str(run)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(part, PARTS))


def test_run_private_users_ends_when_pasta_is_killed(stage: Stage) -> None:
    """Its pasta is started beside the launch script, which it ends."""
    with stage.run("users", waiting(stage, "--private-users")) as run:
        guest = begin(run)
        run.strike(victims.guest_of(guest[UNSHARE]), PASTA, guest[PASTA], SIGKILL)
    sentence = f"error: {ENDED}, since pasta, its network, had ended"
    assert (run.status, run.err.splitlines()[0]) == (125, sentence), run
    assert not run.trouble, str(run)


@pytest.mark.parametrize("number", [SIGCONT, SIGKILL])
def test_run_that_was_suspended_reports_that_its_guest_has_ended(
    stage: Stage, number: Signals
) -> None:
    with stage.run("stopped", waiting(stage)) as run:
        guest = begin(run)
        run.child.send_signal(SIGSTOP)
        name = victims.guest_of(guest[UNSHARE])
        run.strike(name, LEADER, guest[LEADER], SIGKILL)
        if number is SIGKILL:
            run.hits.append(("", victims.POSTROJ, number))
        run.child.send_signal(number)
    assert run.status == (125 if number is SIGCONT else -SIGKILL), run
    assert not run.trouble, run


def test_sweep_removes_nothing_of_guests_that_boot(stage: Stage) -> None:
    """Commands that share run directories, some of them killed, while others sweep."""
    dice = random.Random(f"{SEED}-sweep")
    over = Event()
    place = stage.places.get()

    def sweep() -> None:
        while not over.wait(0.01):
            locking.sweep(place / "state")
            group.sweep()

    sweeper = Thread(target=sweep)
    sweeper.start()
    try:
        runs = []
        for number in range(8):
            run = Run(f"{number}", stage.programs["run"], place, stage.logs / str(number))
            run.logs.mkdir()
            run.start()
            runs.append(run)
        for run in runs[::2]:
            run.watch(dice.uniform(0, 1))
            for _, _, process in run.cast()[:1]:
                run.strike("", victims.POSTROJ, process, SIGKILL)
        for run in runs:
            run.watch(DEADLINE)
    finally:
        over.set()
        sweeper.join()
        stage.places.put(place)
    for run in sorted(runs, key=lambda run: not run.hits):  # which removes what these have left
        run.finish()
        if not run.hits:
            run.expect(status=[0], why="nobody has touched it")
        assert not run.trouble, str(run)
