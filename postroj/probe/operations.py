"""Run the package manager of a guest: its questions, its commands, and whom to blame.

Every step of a probe consists of these operations.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from postroj.errors import CommandTimeout, GuestError, GuestLost
from postroj.probe.managers.base import Blame
from postroj.probe.managers.causes import KILLED
from postroj.process import last_lines
from postroj.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from postroj.container.guest import Guest, OwnGuest
    from postroj.probe.managers.base import PackageFacts, PackageManager, Query
    from postroj.probe.package.package_file import PackageFile
    from postroj.process import Completed

Answer = TypeVar("Answer")

STATUSES = range(256)
ANSWERS = range(100)
"""Exit statuses of a working package manager: rpm counts the packages that are not installed."""
PATIENCE = 30.0
"""Seconds for a question, which needs no network."""
HANG = 0.5
"""Share of its time in which a command that hangs has printed nothing."""

BELOW = "`~` sorts below everything: 1.0~rc1 comes before 1.0"
CONSOLE = 64 << 10
"""Bytes of a console whose last lines are evidence."""
WHOLE = 16 << 20
"""Bytes of an answer that is useful only as a whole: a package may list 100000 files."""


def ask(guest: Guest, query: Query[Answer]) -> Answer:
    """Ask the package manager a question; if the command fails, its empty output is the answer."""
    return query.read(whole(guest, query.argv, ok=STATUSES, timeout=PATIENCE).text)


def whole(
    guest: Guest,
    argv: Sequence[str],
    *,
    ok: Collection[int] = (0,),
    timeout: float,
    stdin: bytes = b"",
) -> Completed:
    """Run a command whose output is useful only as a whole.

    :raises GuestError: if it prints more than `WHOLE`.
    """
    done = guest.run(argv, ok=ok, timeout=timeout, stdin=stdin, limit=WHOLE)
    if done.is_cut:
        message = f"'{argv[0]}' printed more than {WHOLE >> 20} MiB in the guest"
        raise GuestError(message)
    return done


def perform(
    guest: OwnGuest,
    manager: PackageManager,
    argv: Sequence[str],
    names: Sequence[str],
    timeout: float,
    hear: Callable[[Sequence[str], str], None] = lambda argv, output: None,
    note: Callable[[str], None] = lambda sentence: None,
) -> Blame | None:
    """Run a command of the package manager; return whom to blame if it fails.

    `names` are the packages under test, `timeout` is in seconds, `hear` receives the output, `note`
    the sentence of a failure that is nobody's, after which the manager has gone on.
    """
    starved = guest.oom_kills()
    try:
        env, secrets = dict(manager.environment), guest.proxies
        done = guest.run(argv, ok=STATUSES, timeout=timeout, env=env, secrets=secrets)
    except CommandTimeout as error:
        output = error.output
        hear(argv, f"{output}\n{error.message}")
        blame: Blame | None = manager.blame_timeout(output, names, error.seconds)
        if blame and blame.outcome is Outcome.FAIL and error.silence < HANG * error.seconds:
            blame = _at_work(blame, error)
    except GuestLost as error:
        hear(argv, f"{error.output}\n{error.message}")
        moment = manager.blame_timeout(error.output, names, 0)
        link = f"{moment.tool} was "
        return _broken_off(moment, error.message, link=link, console=error.evidence)
    else:
        hear(argv, done.output)
        if done.status == 0:
            blame = manager.blame(0, done.output, names)
            return _settle(guest, manager, blame, names, note)
        output, blame = done.output, manager.blame(done.status, done.output, names)
        if done.status == KILLED and guest.oom_kills() == starved:
            moment = manager.blame_timeout(output, names, 0)
            blame = _broken_off(moment, f"{moment.tool} was killed")
    if how := _interruption(guest):
        moment = manager.blame_timeout(output, names, 0)
        console = last_lines(guest.console(CONSOLE))
        return _broken_off(moment, how, link=f"{moment.tool} was ", console=console)
    return _settle(guest, manager, blame, names, note)


def _at_work(moment: Blame, error: CommandTimeout) -> Blame:
    """Blame nobody for a command that was still at work when its time was over."""
    sentence = (
        f"{moment.tool} did not end within {error.seconds:g} s; its last output,"
        f" while {moment.action}, was {error.silence:.0f} s old"
    )
    return replace(moment, outcome=Outcome.ERROR, sentence=sentence)


UNPROVED = "nothing shows that the package is to blame"


def _settle(
    guest: Guest,
    manager: PackageManager,
    blame: Blame | None,
    names: Sequence[str],
    note: Callable[[str], None],
) -> Blame | None:
    """Decide who is to blame for a trigger or hook; return None if nobody is."""
    if blame is None or not blame.trigger:
        return blame
    query = manager.trigger_owner(blame.trigger)
    owner = ask(guest, query) if query else ""
    if owner and owner in names:
        return replace(blame, outcome=Outcome.FAIL)
    for name in names:
        paths = ask(guest, manager.files(name)).files
        folders = {path.rpartition("/")[0] for path in paths}
        for path in paths:
            if path not in folders and _is_named(path, blame.evidence):
                sentence = f"{blame.sentence}; its output names '{path}' of '{name}'"
                return replace(blame, outcome=Outcome.FAIL, sentence=sentence)
    blame = replace(blame, sentence=f"{blame.sentence}; {UNPROVED}")
    if blame.outcome is Outcome.PASS:
        note(blame.sentence)
        return None
    return blame


def _is_named(path: str, text: str) -> bool:
    """Return whether a text names a file, by its path or, with a suffix, by its name alone."""
    name = path.rpartition("/")[2]
    words = [path, *([name] if "." in name[1:] else [])]
    return any(re.search(rf"(?<![\w./-]){re.escape(word)}(?![\w/-])", text) for word in words)


def _interruption(guest: Guest) -> str:
    """Describe what happened to a guest in which a command failed; '' if it still runs."""
    try:
        return "the guest was shutting down" if guest.is_stopping() else ""
    except GuestLost as error:
        return error.message


def _broken_off(moment: Blame, event: str, *, link: str = "", console: str = "") -> Blame:
    """Blame for an event whatever a time-out at the same moment would blame.

    `link` joins the event to the tool's action at that moment.
    """
    sentence = f"{event} while {link}{moment.action}" if moment.action else event
    evidence = "\n".join(part for part in (moment.evidence, console) if part)
    return replace(moment, sentence=sentence, evidence=evidence, hint="")


def inspect(
    guest: Guest,
    manager: PackageManager,
    packages: Sequence[PackageFile],
) -> tuple[PackageFacts, ...] | Blame:
    """Read the packages' metadata inside the guest, because archives are not trusted."""
    possible = ask(guest, manager.architectures())
    found: list[PackageFacts] = []
    for package in packages:
        query = manager.describe(package.guest_path)
        done = guest.run(query.argv, ok=STATUSES, timeout=PATIENCE)
        fact = query.read(done.text)
        if done.status or not fact.name:
            sentence = f"'{package.name}' is not a complete package"
            return Blame(outcome=Outcome.FAIL, sentence=sentence, evidence=last_lines(done.output))
        if fact.architecture not in possible:
            sentence = f"'{package.name}' is for {fact.architecture}, the guest is {possible[0]}"
            return Blame(outcome=Outcome.FAIL, sentence=sentence, evidence="")
        found.append(fact)
    return tuple(found)


def missing(guest: Guest, manager: PackageManager, wanted: Sequence[PackageFacts]) -> Blame | None:
    """Name a package that is not installed in the wanted version.

    dnf and zypper succeed even if they find nothing to do.
    """
    query = manager.installed(_names(wanted))
    there = {fact.name: fact for fact in query.read(_answer(guest, query.argv))}
    for fact in wanted:
        found = there.get(fact.name)
        if found is None or found.version != fact.version:
            has = f"the guest has {found.version}" if found else "the guest does not have it"
            sentence = f"'{fact.name}' {fact.version} was not installed: {has}"
            return Blame(outcome=Outcome.ERROR, sentence=sentence, evidence="")
    return None


def _answer(guest: Guest, argv: Sequence[str]) -> str:
    """Ask a question that the package manager answered before the step.

    :raises CommandError: if the step has broken the package manager.
    """
    return guest.run(argv, ok=ANSWERS, timeout=PATIENCE).text


def lower(
    guest: Guest,
    manager: PackageManager,
    tested: Sequence[PackageFacts],
    older: Sequence[PackageFacts],
) -> Blame | None:
    """Blame a package whose version sorts below the older one: nobody is offered it."""
    known = {fact.name: fact.version for fact in older}
    for fact in tested:
        version = known.get(fact.name)
        query = manager.is_lower(fact.version, version) if version else None
        if query and ask(guest, query):
            sentence = (
                f"'{fact.name}' {fact.version} sorts below {version}, the older version: "
                "nobody who has that one gets the new one"
            )
            return Blame(outcome=Outcome.FAIL, sentence=sentence, evidence="", hint=BELOW)
    return None


def remaining(
    guest: Guest, manager: PackageManager, unwanted: Sequence[PackageFacts]
) -> Blame | None:
    """Name a package that is still installed after its removal."""
    query = manager.installed(_names(unwanted))
    for fact in query.read(_answer(guest, query.argv)):
        sentence = f"'{fact.name}' {fact.version} is still installed"
        return Blame(outcome=Outcome.ERROR, sentence=sentence, evidence="")
    return None


def bring(
    guest: OwnGuest, manager: PackageManager, name: str, folder: str, timeout: float
) -> str | Blame:
    """Download a package by name, unless it is in the folder already; return its path.

    The `folder` is made in the guest. Dependencies may be downloaded to it as well.
    """
    guest.run(["mkdir", "-p", folder], timeout=PATIENCE)
    if path := _brought(guest, manager, name, folder):
        return path
    if found := perform(guest, manager, manager.download(name, folder), [name], timeout):
        return found
    if path := _brought(guest, manager, name, folder):
        return path
    sentence = f"the guest's repositories have no package '{name}'"
    return Blame(outcome=Outcome.ERROR, sentence=sentence, evidence="")


def _brought(guest: Guest, manager: PackageManager, name: str, folder: str) -> str:
    """Return the path of the package with this name in a folder; '' if there is none."""
    paths = guest.run(["find", folder, "-maxdepth", "1", "-type", "f"], timeout=PATIENCE).text
    for path in sorted(paths.splitlines()):
        if ask(guest, manager.describe(path)).name == name:
            return path
    return ""


def _names(facts: Sequence[PackageFacts]) -> list[str]:
    return [fact.name for fact in facts]
