"""apt and dpkg: Debian, Ubuntu and their family."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from postroj.model import Outcome
from postroj.probe.managers.base import Blame, PackageFacts
from postroj.process import last_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNREACHABLE = re.compile(
    r"Temporary failure resolving|Could not resolve|Could not connect|Unable to connect|"
    r"Connection (?:failed|timed out|refused)|Failed to fetch|Unable to fetch some archives"
)
EXPIRED = re.compile(r"Release file for \S+ is (?:expired|not valid yet)")
UNSIGNED = re.compile(r"is not signed|NO_PUBKEY|EXPKEYSIG|BADSIG")
NO_SPACE = re.compile(r"No space left on device|You don't have enough free space")
UNMET = re.compile(
    r"^ (?P<name>\S+) : (?:Pre)?Depends: (?P<need>.+?)"
    r"(?: but (?P<why>.+)| which is a virtual package.*)?$",
    re.MULTILINE,
)
NO_PACKAGE = re.compile(
    r"is not a Debian format archive|Invalid archive|could not locate member|"
    r"unexpected end of (?:file|input)|(?:lzma|zstd|gzip) error|corrupted filesystem tarfile|"
    r"uses unknown compression"
)
ARCHITECTURE = re.compile(r"package architecture \((\S+)\) does not match system \((\S+)\)")
OVERWRITE = re.compile(r"trying to overwrite '(.+)', which is also in package (\S+)")
IN_ARCHIVE = re.compile(r"dpkg: error processing (?:archive|package) (\S+) ")
SCRIPT = re.compile(
    r"(?:installed|new|old) (?P<name>\S+) package (?P<script>\S+) script subprocess "
    r"(?:returned error exit status (?P<status>\d+)|was killed by signal \((?P<signal>[^)]+)\))"
)
UNDER_WAY = re.compile(
    r"^(?:Setting up|Preparing to unpack|Unpacking|Processing triggers for) (?P<what>\S+)",
    re.MULTILINE,
)


class Apt:
    """The commands and the failures of apt-get and dpkg, as `base.PackageManager` asks."""

    environment: Mapping[str, str] = MappingProxyType(
        {
            "DEBIAN_FRONTEND": "noninteractive",
            "DEBIAN_PRIORITY": "critical",
            "UCF_FORCE_CONFFOLD": "1",
            "LC_ALL": "C.UTF-8",
        }
    )

    def refresh(self) -> list[str]:
        """Fetch the package lists, no translations; one that cannot be had is a failure."""
        options = ["APT::Update::Error-Mode=any", "Acquire::Languages=none"]
        return ["apt-get", "--quiet", *(f"--option={o}" for o in options), "update"]

    def install(self, paths: Sequence[str]) -> list[str]:
        """Install package files as `apt install ./foo.deb` does, recommended packages too."""
        options = ["Dpkg::Use-Pty=0", "Dpkg::Options::=--force-confdef"]
        options += ["Dpkg::Options::=--force-confold", "DPkg::Lock::Timeout=60"]
        return [
            "apt-get",
            "--quiet",
            "--yes",
            *(f"--option={o}" for o in options),
            "install",
            *paths,
        ]

    def describe(self, path: str) -> list[str]:
        """Print what a package file says of itself."""
        return ["dpkg-deb", "--field", path, "Package", "Version", "Architecture"]

    def facts(self, text: str) -> PackageFacts:
        """Read what `describe` printed."""
        pairs = (line.partition(":") for line in text.splitlines())
        fields = {name: value.strip() for name, _, value in pairs}
        return PackageFacts(
            name=fields.get("Package", ""),
            version=fields.get("Version", ""),
            architecture=fields.get("Architecture", ""),
        )

    def architectures(self) -> list[str]:
        """Print the architectures that can be installed."""
        return [
            "sh",
            "-c",
            "echo all; dpkg --print-architecture; dpkg --print-foreign-architectures",
        ]

    def blame(self, output: str, names: Sequence[str]) -> Blame:
        """Say why a command failed; `names` are the packages under test."""
        text = plain(output)
        evidence = last_lines(text)
        return (
            _blame_us(text, evidence)
            or _blame_dependencies(text)
            or _blame_files(text, evidence)
            or _blame_script(text, names)
            or (
                Blame(outcome=Outcome.FAIL, sentence="dpkg refused the package", evidence=evidence)
                if "Sub-process /usr/bin/dpkg returned an error code" in text
                else Blame(outcome=Outcome.ERROR, sentence="apt-get failed", evidence=evidence)
            )
        )

    def blame_timeout(self, output: str, names: Sequence[str], seconds: float) -> Blame:
        """Say what was going on when the time was over; before dpkg runs, the network is slow."""
        text = plain(output)
        found = list(UNDER_WAY.finditer(text))
        if not found:
            return Blame(
                outcome=Outcome.ERROR,
                sentence=f"apt-get did not end within {seconds:g} s",
                evidence=last_lines(text),
                hint="is the mirror slow? `--timeout` gives it more time",
            )
        phase = found[-1].group(0).removesuffix("...").strip()
        phase = phase[0].lower() + phase[1:]
        ours = any(name in phase for name in names)
        return Blame(
            outcome=Outcome.FAIL if ours else Outcome.ERROR,
            sentence=f"the installation hung for {seconds:g} s while {phase}",
            evidence=last_lines(text[found[-1].start() :]),
            hint="`--timeout` gives it more time",
        )


def plain(output: str) -> str:
    """Return apt's output without what its progress lines had overwritten."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in output.split("\n"))


def _blame_us(text: str, evidence: str) -> Blame | None:
    """Network, mirror or disk: the package was not judged."""
    if EXPIRED.search(text):
        return Blame(
            outcome=Outcome.ERROR,
            sentence="a Release file of the guest's mirror has expired",
            evidence=evidence,
            hint="`postroj pull --force --allow-expired NAME` makes an image that accepts it",
        )
    if UNREACHABLE.search(text):
        return Blame(
            outcome=Outcome.ERROR,
            sentence="the guest could not reach its package repositories",
            evidence=evidence,
            hint="is this host online? `postroj run -- apt-get update` tries it alone",
        )
    if NO_SPACE.search(text):
        return Blame(
            outcome=Outcome.ERROR,
            sentence="the guest's disk is full",
            evidence=evidence,
            hint="a guest writes to memory: at most half of this host's",
        )
    if UNSIGNED.search(text):
        return Blame(
            outcome=Outcome.ERROR,
            sentence="the signature of a package repository is not valid in the guest",
            evidence=evidence,
            hint="`postroj pull --force NAME` makes the image anew, with today's keys",
        )
    return None


def _blame_dependencies(text: str) -> Blame | None:
    unmet = list(UNMET.finditer(text))
    if not unmet:
        return None
    needs = [
        f"'{match['need']}'" + (f" ({match['why']})" if match["why"] else "") for match in unmet
    ]
    return Blame(
        outcome=Outcome.FAIL,
        sentence=f"'{unmet[0]['name']}' depends on {', '.join(dict.fromkeys(needs))}",
        evidence="\n".join(match.group(0).strip() for match in unmet),
        hint="several packages that need each other: give each with a `--package` of its own",
    )


def _blame_files(text: str, evidence: str) -> Blame | None:
    """Say what is wrong with the archive, or with the files in it."""
    archive = IN_ARCHIVE.search(text)
    subject = archive[1].rpartition("/")[2] if archive else "the package"
    if match := ARCHITECTURE.search(text):
        sentence = f"'{subject}' is for {match[1]}, the guest is {match[2]}"
    elif match := OVERWRITE.search(text):
        sentence = f"'{subject}' ships '{match[1]}', which is also in package '{match[2]}'"
    elif NO_PACKAGE.search(text) and not SCRIPT.search(text):
        sentence = (
            f"'{subject}' is not a complete .deb package"
            if archive
            else ("the file is not a complete .deb package")
        )
    else:
        return None
    return Blame(outcome=Outcome.FAIL, sentence=sentence, evidence=evidence)


def _blame_script(text: str, names: Sequence[str]) -> Blame | None:
    """Name the maintainer script that failed, with what it said last."""
    match = SCRIPT.search(text)
    if not match:
        return None
    name = match["name"]
    how = (
        f"ended with status {match['status']}"
        if match["status"]
        else (f"was killed by a signal ({match['signal']})")
    )
    before = text[: match.end()]
    begin = max((found.start() for found in UNDER_WAY.finditer(before)), default=0)
    ours = name.partition(":")[0] in names
    return Blame(
        outcome=Outcome.FAIL if ours else Outcome.ERROR,
        sentence=f"the {match['script']} script of '{name}' {how}"
        + ("" if ours else ", a dependency that is not under test"),
        evidence=last_lines(before[begin:]),
    )
