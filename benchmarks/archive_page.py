"""Write the page of the documentation about the packages that were drawn from archives.

    .venv/bin/python benchmarks/archive_page.py SAMPLE... > docs/reference/archive.rst

Each SAMPLE is a folder that `archive.py` has filled, with judgements in its `classes.tsv`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from archive import Folder, judged_rows
from archive_table import plain, rst, summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from archive_classes import Judgement
    from archive_table import Row

AGAIN = re.compile(r"(?:as|the same)\b")
"""How the note on a fault begins that follows from another one."""
HEAD = """\
========================
Packages of the archive
========================

Packages with services that were drawn at random from the archive of an image, each probed with
``--steps all``. Nobody in this project wrote them. A person has examined every failing check in a
guest and given it a class:

true
   A maintainer of the package would accept the report of this fault.
tolerated
   The package breaks a rule that its distribution does not enforce.
false
   The package is not to blame.

``benchmarks/archive.py`` draws and probes them; ``benchmarks/archive_page.py`` writes this page.
:doc:`../explanation/benchmarks` explains both. postroj was mended while the packages of the seeds
11 and 12 were judged, and most were not probed again, so some rows have the words of an older
version. Those of seeds 13, 15 and 16 were probed once, each by the postroj of its day, and their
numbers are as they were; postroj was mended afterwards. While the packages of seed 16 were probed,
the tests of postroj ran on the same machine for ten minutes. What was missed is not counted: a
person saw that octavia-api, which passed, is restarted every 7 s. postroj sees it now.

False accusations have become fewer, 10 %, 10 % and 7 % of the packages of a seed, and 1 % was the
aim. Each seed shows kinds that the seeds before did not, as a service that wants a display, or one
that takes a random port: so a new seed can be expected to show some, too.
"""


def main() -> None:
    """Print the page."""
    print(HEAD)
    for path in map(Path, sys.argv[1:]):
        print("\n".join(_section(Folder(path=path))))


def _section(folder: Folder) -> Iterator[str]:
    sample = json.loads((folder.path / "sample.json").read_text())
    rows, judged, missing = judged_rows(sample["packages"], folder)
    title = f"{sample['image']}, seed {sample['seed']}"
    yield from (title, "=" * len(title), "", ".. code-block:: text", "")
    numbers = f"{title}: {len(sample['packages'])} of {sample['candidates']} packages with services"
    yield from (f"   {line}" for line in summary(numbers, rows, judged, missing).splitlines())
    yield from ("", "True faults", "-" * 11, "", *_true(rows, judged))
    yield from ("All packages", "-" * 12, "", rst(rows, judged))


def _true(rows: Sequence[Row], judged: Mapping[tuple[str, str, str], Judgement]) -> Iterator[str]:
    """Yield each true fault once, with its first failing check, however many steps have met it."""
    for row in rows:
        shown: dict[str, list[str]] = {}
        for fault in row.faults:
            found = judged[row.package, fault.step, fault.subject]
            if (found.class_, fault.outcome) == ("true", "fail") and not AGAIN.match(found.note):
                sentence = plain(f"{fault.subject}: {fault.sentence.partition(' / ')[0]}")
                shown.setdefault(found.note, []).append(sentence)
        if shown:
            yield f"``{row.package}`` {plain(row.version)}"
        for note, sentences in shown.items():
            yield f"   - {sentences[0]}"
            yield from ("", f"     {plain(note)}") if note else ()
            yield ""


if __name__ == "__main__":
    main()
