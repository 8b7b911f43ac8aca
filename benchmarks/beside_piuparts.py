"""Test packages that each have one fault with piuparts and with postroj; print what each found.

    sudo .venv/bin/python benchmarks/beside_piuparts.py --base base.tar [--out DIR] [NAME|FILE]...

The packages are built in DIR; a FILE is a package of yours. `--base` is an archive of a minimal
Debian 13 for piuparts, as `mmdebstrap --variant=minbase --include=eatmydata,debfoster trixie
base.tar` makes it; `--piuparts` is its command, which has to find DIR under the same path.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import debs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

IMAGE = "debian-trixie"
POSTROJ = (sys.executable, "-m", "postroj", "test", "--image", IMAGE, "--no-project", "--json")
SCRIPT = "#!/bin/sh\nset -e\n"
UNIT = "/usr/lib/systemd/system/{name}.service"
ENABLED = """\
if [ "$1" = configure ]; then
	if deb-systemd-helper --quiet was-enabled {unit}; then
		deb-systemd-helper enable {unit} >/dev/null || true
	else
		deb-systemd-helper update-state {unit} >/dev/null || true
	fi
fi
"""
STARTED = """\
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload >/dev/null || true
	deb-systemd-invoke restart {unit} >/dev/null || true
fi
"""
STOPPED = """\
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	deb-systemd-invoke stop {unit} >/dev/null || true
fi
"""
GONE = """\
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
	systemctl --system daemon-reload >/dev/null || true
fi
if [ "$1" = purge ]; then
	deb-systemd-helper purge {unit} >/dev/null || true
fi
"""
"""The maintainer scripts that dh_installsystemd writes."""
RETURNING = "x-again"
"""The case whose fault piuparts finds only with another option."""
FINDING = re.compile(r"ERROR: (?:FAIL: |WARN: )?(.*)\n((?:  .*\n|\n)*)")
SUMS = ("piuparts run ends", "Installation and purging test", "Running adequate resulted")
SERVICE = """\
[Unit]
Description={name}
[Service]
ExecStart={command}
{more}
[Install]
WantedBy=multi-user.target
"""
SOUND = "/bin/sleep infinity"


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a package consists of."""

    files: Mapping[str, str | bytes] = field(default_factory=dict)
    scripts: Mapping[str, str] = field(default_factory=dict)
    depends: str = ""
    links: Sequence[tuple[str, str]] = ()
    """Symbolic links: path and target."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A package with a fault."""

    name: str
    what: str
    content: Content
    older: Content | None = None
    """The version before, in a repository that both tools upgrade from."""


def service(
    name: str,
    command: str = SOUND,
    more: str = "",
    *,
    enabled: str = ENABLED,
    started: str = STARTED,
    stopped: str = STOPPED,
) -> Content:
    """Return the content of a package with one service, sound apart from the arguments."""
    unit = f"{name}.service"
    return Content(
        files={UNIT.format(name=name): SERVICE.format(name=name, command=command, more=more)},
        scripts={
            "postinst": SCRIPT + (enabled + started).format(unit=unit),
            "prerm": SCRIPT + stopped.format(unit=unit),
            "postrm": SCRIPT + GONE.format(unit=unit),
        },
    )


def scripts(**texts: str) -> Content:
    """Return the content of a package with maintainer scripts and nothing else."""
    return Content(scripts={name: SCRIPT + text for name, text in texts.items()})


CONFFILE = {"/etc/x-conf.conf": "a = 1\n", "DEBIAN/conffiles": "/etc/x-conf.conf\n"}

CASES = (
    Case(name="x-sound", what="no fault: a service", content=service("x-sound")),
    Case(
        name="x-left",
        what="a file stays after the purge",
        content=scripts(postinst="mkdir -p /var/lib/x-left; date >/var/lib/x-left/state\n"),
    ),
    Case(
        name="x-purge",
        what="the purge fails",
        content=scripts(postrm='[ "$1" != purge ] || exit 1\n'),
    ),
    Case(
        name="x-remove",
        what="the removal fails",
        content=scripts(prerm='[ "$1" != remove ] || exit 1\n'),
    ),
    Case(
        name="x-needs",
        what="the purge calls a program of a dependency, which may be gone",
        content=Content(
            depends="ucf", scripts={"postrm": SCRIPT + '[ "$1" != purge ] || ucf --purge /etc/x\n'}
        ),
    ),
    Case(
        name=RETURNING,
        what="the installation after a removal fails",
        content=scripts(
            postinst="mkdir /var/lib/x-again\n",
            postrm='[ "$1" != purge ] || rm -rf /var/lib/x-again\n',
        ),
    ),
    Case(
        name="x-asks",
        what="the installation reads an answer from the terminal",
        content=scripts(postinst='read -r answer; [ "$answer" ]\n'),
    ),
    Case(
        name="x-lacks",
        what="a maintainer script calls a program of a package that it does not depend on",
        content=scripts(postinst='[ "$1" != configure ] || openssl version\n'),
    ),
    Case(
        name="x-dangling",
        what="a symbolic link to a file that nothing ships",
        content=Content(links=(("/usr/share/x-dangling/data", "missing"),)),
    ),
    Case(
        name="x-circular",
        what="two symbolic links that point to each other",
        content=Content(links=(("/usr/share/x-circular/a", "b"), ("/usr/share/x-circular/b", "a"))),
    ),
    Case(
        name="x-process",
        what="a process that the installation started outlives the purge",
        content=scripts(
            postinst='[ "$1" != configure ] || setsid sleep 1234 >/dev/null 2>&1 </dev/null &\n'
        ),
    ),
    Case(
        name="x-conf",
        what="the installation changes a conffile",
        content=Content(
            files=CONFFILE, scripts={"postinst": SCRIPT + "echo b = 2 >>/etc/x-conf.conf\n"}
        ),
    ),
    Case(
        name="x-taking",
        what="the installation deletes a file of another package",
        content=scripts(postinst="rm -f /etc/issue.net\n"),
    ),
    Case(
        name="x-divert",
        what="a diversion stays after the purge",
        content=scripts(
            postinst="dpkg-divert --package x-divert --add --rename --divert "
            "/usr/bin/tac.x /usr/bin/tac\n"
        ),
    ),
    Case(
        name="x-alternative",
        what="an alternative stays after the purge",
        content=Content(
            files={"/usr/lib/x-alternative/bin/pager": "#!/bin/sh\ncat\n"},
            scripts={
                "postinst": SCRIPT
                + "update-alternatives --install /usr/bin/pager pager "
                + "/usr/lib/x-alternative/bin/pager 1\n"
            },
        ),
    ),
    Case(
        name="x-user",
        what="a user stays after the purge",
        content=Content(
            depends="adduser",
            scripts={"postinst": SCRIPT + "adduser --system --quiet x-user\n"},
        ),
    ),
    Case(
        name="x-usrlocal",
        what="files in /usr/local",
        content=Content(files={"/usr/local/bin/x-usrlocal": "#!/bin/sh\n"}),
    ),
    Case(
        name="x-upgrade",
        what="the upgrade fails",
        content=scripts(preinst='[ "$1" != upgrade ] || exit 1\n'),
        older=Content(),
    ),
    Case(
        name="x-obsolete",
        what="the upgrade leaves a conffile that the package no longer ships",
        content=Content(),
        older=Content(
            files={"/etc/x-obsolete.conf": "a\n", "DEBIAN/conffiles": "/etc/x-obsolete.conf\n"}
        ),
    ),
    Case(
        name="x-overwrites",
        what="the upgrade overwrites a configuration file that was edited",
        content=Content(files={"/etc/x-overwrites.conf": "# settings\na = 2\n"}),
        older=Content(files={"/etc/x-overwrites.conf": "# settings\na = 1\n"}),
    ),
    Case(
        name="x-absent",
        what="the service has a program that is not there",
        content=service("x-absent", "/usr/sbin/x-absent"),
    ),
    Case(
        name="x-crash",
        what="the service ends with an error after a second",
        content=service("x-crash", "/bin/sh -c 'sleep 1; exit 3'"),
    ),
    Case(
        name="x-sandbox",
        what="the service may not write its own state",
        content=service(
            "x-sandbox",
            "/bin/sh -c 'mkdir -p /var/lib/x-sandbox && exec sleep infinity'",
            "ProtectSystem=strict",
        ),
    ),
    Case(
        name="x-boot",
        what="the service is started but not enabled, so a reboot loses it",
        content=service(
            "x-boot", enabled="", started=STARTED.replace("deb-systemd-invoke", "systemctl")
        ),
    ),
    Case(
        name="x-stays",
        what="the removal does not stop the service",
        content=service("x-stays", stopped=""),
    ),
    Case(
        name="x-rude",
        what="the service ends with an error when it is stopped",
        content=service("x-rude", "/bin/sh -c 'trap \"exit 1\" TERM; while :; do sleep 0.1; done'"),
    ),
    Case(
        name="x-stale",
        what="the upgrade does not restart the service",
        content=service("x-stale", "/bin/sleep 7654", started=""),
        older=service("x-stale"),
    ),
)


def build(folder: Path, case: Case, content: Content, version: str) -> Path:
    """Build one version of the package of a case."""
    tree = folder / f"{case.name}-{version}-tree"
    for path, target in content.links:
        link = tree / path.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    return debs.build(
        folder,
        case.name,
        version=version,
        depends=content.depends,
        files={"/usr/share/doc/" + case.name + "/copyright": "public domain\n", **content.files},
        scripts=content.scripts,
    )


def ask_piuparts(words: Sequence[str], base: Path, package: Path, older: Path | None) -> str:
    """Return what piuparts reports about a package; '' if nothing."""
    argv = [*words, "--basetgz", str(base), "--distribution", "trixie"]
    argv += ["--scriptsdir", "/etc/piuparts/scripts", "--warn-on-others"]
    argv += ["--install-remove-install"] if package.name.startswith(RETURNING) else []
    if older:
        index = subprocess.run(
            ["apt-ftparchive", "packages", "."], cwd=older.parent, check=True, capture_output=True
        )
        (older.parent / "Packages").write_bytes(index.stdout)
        repository = f"deb [trusted=yes] file://{older.parent} ./"
        argv += ["--bindmount", str(older.parent), "--extra-repo", repository]
    else:
        argv += ["--no-upgrade-test"]
    done = subprocess.run(
        [*argv, str(package)], capture_output=True, text=True, check=False, timeout=600
    )
    text = done.stdout + done.stderr
    package.with_suffix(".piuparts").write_text(
        f"{shlex.join(argv)}\n{text}\nexit {done.returncode}\n"
    )
    found = (_shortened(*match.groups()) for match in FINDING.finditer(text))
    return f"{done.returncode}: " + " | ".join(line for line in dict.fromkeys(found) if line)


def _shortened(sentence: str, details: str) -> str:
    """Return what piuparts found in one line; '' if the sentence only sums up."""
    lines = [line.strip() for line in details.splitlines() if line.strip()]
    if sentence.startswith(SUMS):
        return ""
    if sentence.startswith("Command failed"):
        return next((line for line in lines if "returned error" in line), sentence)
    return f"{sentence} {', '.join(lines[:3])}".strip()


def ask_postroj(package: Path, older: Path | None) -> str:
    """Return what postroj reports about a package; '' if nothing."""
    argv = [*POSTROJ, "--steps", "all", str(package)]
    argv += ["--upgrade-from", str(older)] if older else []
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900)
    package.with_suffix(".postroj").write_text(done.stdout + done.stderr)
    [probe] = json.loads(done.stdout)["probes"]
    return f"{done.returncode}: " + " | ".join(_failures(probe["steps"]))


def _failures(steps: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for step in steps:
        told = [(step["done"], step["reason"])]
        told += [(one["outcome"], f"{one['subject']}: {one['reason']}") for one in step["checks"]]
        for outcome, reason in told:
            if outcome not in ("pass", "skip"):
                yield f"{step['name']}: {reason.partition(chr(10))[0]}"


def main() -> None:
    """Test the cases, one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--piuparts", default="piuparts")
    parser.add_argument("--out", type=Path, default=Path("piuparts"))
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    words, base = shlex.split(given.piuparts), given.base.resolve()
    for file in (Path(name).resolve() for name in given.names if name.endswith(".deb")):
        print(file.name)
        print("   piuparts ", ask_piuparts(words, base, file, None))
        print("   postroj  ", ask_postroj(file, None), flush=True)
    for case in CASES:
        if given.names and case.name not in given.names:
            continue
        folder = given.out.resolve() / case.name
        (folder / "older").mkdir(parents=True, exist_ok=True)
        older = build(folder / "older", case, case.older, "1.0") if case.older else None
        package = build(folder, case, case.content, "2.0")
        print(f"{case.name}: {case.what}")
        print("   piuparts ", ask_piuparts(words, base, package, older))
        print("   postroj  ", ask_postroj(package, older), flush=True)


if __name__ == "__main__":
    main()
