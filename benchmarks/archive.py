"""Probe packages with services that were drawn from an archive at random.

    sudo .venv/bin/python benchmarks/archive.py --count 200 --seed 7

The folder gets a report and the output of each package, `classes.tsv` to judge failing checks in by
hand, and the results: `table.tsv`, `table.rst`, `summary.txt`. A second run goes on where the first
one stopped, and reads the classes again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archive_classes import InvalidClassesError, merge, read, write
from archive_draw import draw, shipped_units, version_of
from archive_table import row_of, rst, summary, tsv
from pairs import POSTROJ

from postroj import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archive_classes import Judgement
    from archive_table import Row

HERE = Path(__file__).parent
ROOT = HERE.parent
GRACE = 60
"""Seconds that postroj gets to take its guest down."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """Where the files of one sample are."""

    path: Path

    @property
    def contents(self) -> Path:
        """The lines of the Contents indices that name a unit or a SysV script."""
        return self.path / "index/contents"

    @property
    def classes(self) -> Path:
        """What a person edits."""
        return self.path / "classes.tsv"

    def report(self, package: str) -> Path:
        """The JSON report of a package, with what is known about the run."""
        return self.path / f"reports/{package}.json"

    def output(self, package: str) -> Path:
        """What postroj printed about a package."""
        return self.path / f"reports/{package}.txt"

    def deb(self, package: str) -> Path | None:
        """The package file, if it was downloaded."""
        return next(self.path.glob(f"debs/{package}_*.deb"), None)

    def make(self) -> None:
        """Make all folders."""
        for name in ("index", "debs", "reports"):
            (self.path / name).mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What was drawn; remembered so that a folder never mixes two samples."""

    image: str
    seed: int
    candidates: int
    """How many packages of the archive have services."""
    excluded: tuple[str, ...]
    packages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended."""

    status: int
    output: str
    seconds: float
    killed: bool
    """Whether it had to be stopped at its time limit."""


class Crew:
    """The processes that run at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False

    def run(self, argv: Sequence[str], log: Path, limit: float) -> Ended | None:
        """Run a command in a session of its own; return None if it was given up by `stop`."""
        began = time.monotonic()
        with log.open("w") as stream:
            with self._lock:
                if self._stopped:
                    return None
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=stream,
                    encoding="utf-8",
                    errors="replace",
                    start_new_session=True,
                )
                self._running.add(process)
            output, killed = "", False
            try:
                output, _ = process.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                killed = True
                output = _stop(process)
        with self._lock:
            self._running.discard(process)
            if self._stopped:
                return None
        seconds = round(time.monotonic() - began, 1)
        return Ended(status=process.returncode, output=output, seconds=seconds, killed=killed)

    def stop(self) -> None:
        """Start no more processes, and stop those that run."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _stop(process: subprocess.Popen[str]) -> str:
    process.terminate()
    try:
        return process.communicate(timeout=GRACE)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return ""


def in_guest(
    crew: Crew, image: str, script: str, folder: Path, *, log: Path, words: Sequence[str] = ()
) -> None:
    """Run a script beside this file in a guest that has a folder at `/srv`."""
    argv = [POSTROJ, "run", "--no-boot", "--image", image, "--bind", f"{folder.absolute()}:/srv"]
    text = (HERE / script).read_text()
    ended = crew.run([*argv, "--", "sh", "-c", text, "sh", *words], log, limit=3600)
    if ended is None:
        raise KeyboardInterrupt
    if ended.status:
        sys.exit(f"{script} failed:\n{log.read_text()[-2000:]}")


def probe(crew: Crew, sample: Sample, folder: Folder, package: str, limit: float) -> str:
    """Probe a package, write its report, and return a word about it."""
    deb = folder.deb(package)
    assert deb
    argv = [POSTROJ, "pkgprobe", "--no-project", "--image", sample.image, "--package", str(deb)]
    ended = crew.run([*argv, "--steps", "all", "--json"], folder.output(package), limit)
    if ended is None:
        return "interrupted"
    run = {
        "package": package,
        "version": version_of(deb.name),
        "postroj": __version__,
        "status": ended.status,
        "seconds": ended.seconds,
        "killed": ended.killed,
        "report": _parsed(ended.output),
    }
    replace(folder.report(package), json.dumps(run, indent=1))
    return f"{row_of(package, run, ()).verdict} {ended.seconds:.0f} s"


def _parsed(output: str) -> dict[str, Any] | None:
    try:
        report = json.loads(output)
    except ValueError:
        return None
    return report if isinstance(report, dict) else None


def replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def sampled(options: argparse.Namespace, folder: Folder) -> Sample:
    """Draw the packages, and remember them.

    Packages that an earlier run in this folder left out stay out.
    """
    excluded = set()
    before = folder.path / "sample.json"
    if before.exists():
        old = json.loads(before.read_text())
        if (old["image"], old["seed"]) != (options.image, options.seed):
            sys.exit(f"{folder.path} has a sample of {old['image']} with seed {old['seed']}")
        excluded.update(old["excluded"])
    for other in options.not_in:
        excluded.update(json.loads((other / "sample.json").read_text())["packages"])
    candidates = shipped_units(folder.contents.read_text().splitlines())
    drawn = draw(candidates, count=options.count, seed=options.seed, excluded=excluded)
    sample = Sample(
        image=options.image,
        seed=options.seed,
        candidates=len(candidates),
        excluded=tuple(sorted(excluded)),
        packages=tuple(drawn),
    )
    replace(before, json.dumps(asdict(sample), indent=1))
    return sample


def probe_all(
    crew: Crew, sample: Sample, folder: Folder, options: argparse.Namespace, again: Sequence[str]
) -> None:
    """Download and probe what has no report yet, and what is asked for again."""
    wanted = [p for p in sample.packages if p in again or not folder.report(p).exists()]
    missing = [package for package in wanted if not folder.deb(package)]
    if missing:
        print(f"downloading {len(missing)} packages", file=sys.stderr)
        log = folder.path / "download.txt"
        script = "archive_download.sh"
        in_guest(crew, sample.image, script, folder.path / "debs", log=log, words=missing)
    todo = [package for package in wanted if folder.deb(package)]
    done, total = len(sample.packages) - len(wanted), len(sample.packages) - len(wanted) + len(todo)
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {
            pool.submit(probe, crew, sample, folder, package, options.limit): package
            for package in todo
        }
        try:
            for future in as_completed(futures):
                done += 1
                word = future.result()
                print(f"{done}/{total} {futures[future]} {word}", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            crew.stop()
            raise


def judged_rows(
    packages: Sequence[str], folder: Folder
) -> tuple[list[Row], dict[tuple[str, str, str], Judgement], list[str]]:
    """Return the rows of packages, the judgements about them, and packages without a report."""
    rows, missing = [], []
    units = shipped_units(folder.contents.read_text().splitlines())
    for package in packages:
        path = folder.report(package)
        if path.exists():
            rows.append(row_of(package, json.loads(path.read_text()), units.get(package, ())))
        else:
            missing.append(package)
    # read late, since somebody may have edited it during the run
    judgements = merge(known_classes(folder), rows)
    return rows, {judgement.key: judgement for judgement in judgements}, missing


def write_results(sample: Sample, folder: Folder) -> str:
    """Write the table, the classes and the summary; return the summary."""
    rows, judged, missing = judged_rows(sample.packages, folder)
    title = (
        f"{sample.image}, seed {sample.seed}: {len(sample.packages)} of "
        f"{sample.candidates} packages with services"
    )
    text = summary(title, rows, judged, missing)
    replace(folder.classes, write([*judged.values()]))
    replace(folder.path / "table.tsv", tsv(rows, judged))
    replace(folder.path / "table.rst", rst(rows, judged))
    replace(folder.path / "summary.txt", text)
    return text


def known_classes(folder: Folder) -> list[Any]:
    """Return the judgements, or exit and say which line cannot be read."""
    try:
        return read(folder.classes.read_text()) if folder.classes.exists() else []
    except InvalidClassesError as error:
        sys.exit(f"{folder.classes}, {error}")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--count", type=int, required=True, help="how many packages; a higher one adds some")
    add("--seed", type=int, required=True)
    add("--image", default="debian-bookworm", help="one with apt")
    add("--out", type=Path, help="default: .cache/archive/IMAGE-SEED beside benchmarks/")
    add("--jobs", type=int, default=2, help="how many guests at once")
    add("--limit", type=float, default=1200, help="seconds for each package")
    add("--not-in", type=Path, action="append", default=[], help="leave out what this folder drew")
    add("--again", nargs="+", default=[], metavar="NAME", help="probe these once more")
    add("--table", action="store_true", help="probe nothing, write the results")
    return parser.parse_args(argv)


def main() -> None:
    """Draw, probe, and write the results."""
    options = arguments()
    # a shell ignores SIGINT for what it starts in the background
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    folder = Folder(path=options.out or ROOT / f".cache/archive/{options.image}-{options.seed}")
    folder.make()
    known_classes(folder)
    crew, status = Crew(), 0
    try:
        if not folder.contents.exists():
            print("downloading the indices of the archive", file=sys.stderr)
            log = folder.path / "index.txt"
            in_guest(crew, options.image, "archive_contents.sh", folder.path / "index", log=log)
        sample = sampled(options, folder)
        if strangers := set(options.again) - set(sample.packages):
            sys.exit(f"not in this sample: {', '.join(sorted(strangers))}")
        try:
            if not options.table:
                probe_all(crew, sample, folder, options, options.again)
        except KeyboardInterrupt:
            status = 130
        print(write_results(sample, folder), end="")
    except KeyboardInterrupt:
        crew.stop()
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
