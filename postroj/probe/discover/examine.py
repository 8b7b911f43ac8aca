"""Examine what a package has brought and does not run: idle units, and files that others read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from postroj.probe.ask import declared
from postroj.probe.ask.question import Question
from postroj.probe.ask.unitstate import is_template
from postroj.probe.discover import existence, idle, other_files, verify
from postroj.verdict import CheckKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from postroj.container.guest import Guest
    from postroj.probe.ask.unitstate import UnitState
    from postroj.probe.discover.idle import Idle
    from postroj.probe.discover.payload import Payload
    from postroj.probe.discover.snapshot import Snapshot
    from postroj.probe.discover.verify import Verified


def examine(
    guest: Guest,
    brought: Payload,
    states: Mapping[str, UnitState],
    questions: Sequence[Question],
    after: Snapshot,
    companion: Callable[[], str],
) -> tuple[list[Question], list[str]]:
    """Examine what does not run; return all questions with the faults found, and remarks."""
    names = [q.subject for q in questions if q.skip and not q.is_dependency]
    loaded = [states[name] for name in names if name in states and states[name].load == "loaded"]
    templates = [name for name in names if is_template(name)]
    texts = (existence.text_of(guest, path) for path in brought.bus_services)
    activated = {declared.bus_service(text).unit for text in texts}
    found = (
        idle.read(guest, loaded, templates, after, activated, companion)
        if loaded or templates
        else {}
    )
    files = [state.file for state in loaded if state.file.startswith("/")]
    files += [path for path in brought.unit_files if path.rpartition("/")[2] in templates]
    verified = verify.verify(guest, files) if files else verify.Verified()
    others = other_files.check(guest, brought, after, companion)
    asked = [
        _with_faults(question, found.get(question.subject), verified) for question in questions
    ]
    asked += [
        Question(kind=CheckKind.FILE, subject=path, is_found=True, fault="\n".join(sentences))
        for path, sentences in others.faults.items()
    ]
    return asked, [*verified.warnings(files), *others.remarks]


def _with_faults(question: Question, found: Idle | None, verified: Verified) -> Question:
    if not found or not question.skip:
        return question
    if not found.faults:
        return replace(question, skip="; ".join([question.skip, *found.remarks]))
    sentence = "; ".join([*found.faults, question.skip])
    evidence = verified.about(question.subject)
    return replace(question, skip="", fault="\n".join(filter(None, (sentence, evidence))))
