"""Record what dnf and zypper say: `python -m tests.data.rpm.record LAYERS dnf-bookworm [CASE]...`.

LAYERS is a folder for the tools (`tests/support/toolbox.py`). Every file here is the output of a
real operation in a real guest, with the repository's address replaced;
`tests/unit/probe/managers/test_rpm.py` reads all.
"""

from __future__ import annotations

import hashlib
import http.server
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postroj.model import NetworkMode
from postroj.probe.managers.rpm.dnf import Dnf
from postroj.probe.managers.rpm.zypper import Zypper
from postroj.probe.package.package_file import GUEST_DIR
from tests.data.recorder import Case, Recorded, Repository, read, run, scrub, write
from tests.support import pgp, rpms, toolbox

if TYPE_CHECKING:
    from postroj.probe.managers.base import PackageManager

HERE = Path(__file__).parent
DNF5 = (*toolbox.TOOLS, "dnf5", "createrepo-c")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A package manager in an image."""

    manager: PackageManager
    image: str
    tools: tuple[str, ...] = toolbox.TOOLS
    before: str = ":"


TOOLS = {
    "dnf-bookworm": Tool(manager=Dnf(), image="debian-bookworm"),
    "dnf-sid": Tool(manager=Dnf(), image="debian-sid", tools=DNF5),
    "dnf5-sid": Tool(manager=Dnf(), image="debian-sid", tools=DNF5, before="rm /usr/bin/dnf"),
    "zypper-bookworm": Tool(manager=Zypper(), image="debian-bookworm"),
    "zypper-sid": Tool(manager=Zypper(), image="debian-sid", tools=DNF5),
}

RPM = f"rpm --install --nodeps --nosignature {GUEST_DIR}"
BASE = f"{RPM}/base-1.0-1.noarch.rpm --justdb"
TMPFS = "mkdir -p {0}; mount -t tmpfs -o size={1} tmpfs {0}"
PROTECTED = (
    "mkdir -p /etc/dnf/protected.d; printf 'good\\nabove\\n' > /etc/dnf/protected.d/tests.conf"
)
CHANGED = "echo changed >> /etc/configured.conf"

SECOND = (
    "for d in /etc/yum.repos.d /etc/zypp/repos.d; do"
    " sed 's,^.tests.$,[second],;s,name=tests,name=second,;s,/good$,/not-found,' "
    "$d/tests.repo >$d/second.repo || rm $d/second.repo; done 2>/dev/null"
)
"""Adds a repository that cannot be reached."""
WITHOUT = "echo beginning; surely-not-there --quickly; echo going on"

CASES = {
    # the package is to blame
    "unmet": Case(packages="unmet"),
    "unmet-several": Case(packages="unmet-several"),
    "unmet-indirect": Case(packages="above unmet"),
    "unmet-file": Case(packages="unmet-file"),
    "unmet-library": Case(packages="unmet-library"),
    "wrong-version": Case(packages="wrong-version"),
    "dependency-is-unmet": Case(packages="needs-uninstallable"),
    "conflicts": Case(packages="conflicts", before=f"{RPM}/good-1.0-1.noarch.rpm"),
    "conflicts-each-other": Case(packages="conflicts-a good"),
    "pre": Case(packages="bad-pre"),
    "post": Case(packages="bad-post"),
    "posttrans": Case(packages="bad-posttrans"),
    "post-killed": Case(packages="killed"),
    "post-of-two": Case(packages="above-bad-post bad-post"),
    "post-fetches": Case(packages="fetches"),
    "preun": Case(
        packages="bad-preun", operation="remove", before=f"{RPM}/bad-preun-1.0-1.noarch.rpm"
    ),
    "postun": Case(
        packages="bad-postun", operation="remove", before=f"{RPM}/bad-postun-1.0-1.noarch.rpm"
    ),
    "preun-on-upgrade": Case(
        packages="bad-preun-2.0", operation="upgrade", before=f"{RPM}/bad-preun-1.0-1.noarch.rpm"
    ),
    "trigger": Case(packages="trips", before=f"{RPM}/bad-trigger-1.0-1.noarch.rpm"),
    "file-trigger": Case(packages="trips", before=f"{RPM}/bad-file-trigger-1.0-1.noarch.rpm"),
    "overwrites": Case(packages="overwrites-a", before=f"{RPM}/overwrites-b-1.0-1.noarch.rpm"),
    "overwrites-each-other": Case(packages="overwrites-a overwrites-b"),
    "overwrites-directory": Case(packages="overwrites-a", before="mkdir -p /usr/share/same/x"),
    "foreign": Case(packages="foreign"),
    "corrupt": Case(packages="corrupt"),
    "corrupt-header": Case(packages="corrupt-header"),
    "cut": Case(packages="cut"),
    "lua-pre": Case(packages="lua-pre"),
    "lua-post": Case(packages="lua-post"),
    "missing-user": Case(packages="missing-user"),
    "missing-group": Case(packages="missing-group"),
    "missing-command": Case(packages="missing-command"),
    "missing-command-bash": Case(packages="missing-command-bash"),
    "missing-path": Case(packages="missing-path"),
    "trigger-of-its-own": Case(packages="own-trigger", before=f"{RPM}/trips-1.0-1.noarch.rpm"),
    "trigger-names-its-file": Case(
        packages="trips", before=f"{RPM}/picky-trigger-1.0-1.noarch.rpm"
    ),
    # ours
    "signed-by-a-stranger": Case(
        packages="needs-stranger",
        repository="package-unsigned",
    ),
    "signed-with-another-key": Case(packages="needs-stranger", repository="package-other-key"),
    "repository-skipped": Case(operation="refresh", before=SECOND),
    "removes-protected": Case(
        packages="good",
        operation="remove",
        before=f"{RPM}/good-1.0-1.noarch.rpm; {PROTECTED}",
    ),
    "removes-what-protected-needs": Case(
        packages="innocent",
        operation="remove",
        before=f"{RPM}/innocent-1.0-1.noarch.rpm; {RPM}/above-1.0-1.noarch.rpm; {PROTECTED}",
    ),
    "dependency-pre": Case(packages="needs-bad-pre"),
    "downgrade-by-install": Case(packages="twice-1.0", before=f"{RPM}/twice-2.0-1.noarch.rpm"),
    "same-by-install": Case(packages="twice-1.0", before=f"{RPM}/twice-1.0-1.noarch.rpm"),
    "downgrade-of-newer": Case(
        packages="twice-2.0", operation="downgrade", before=f"{RPM}/twice-1.0-1.noarch.rpm"
    ),
    "full-disk": Case(packages="large", before=TMPFS.format("/opt/large", "1m")),
    "full-cache": Case(
        packages="needs-large",
        before="; ".join(
            TMPFS.format(f"/var/cache/{name}", "200k") for name in ("dnf", "libdnf5", "zypp")
        ),
    ),
    "no-network": Case(operation="refresh", repository="named", network=NetworkMode.NONE),
    "refused": Case(operation="refresh", repository="refused"),
    "not-found": Case(operation="refresh", repository="not-found"),
    "unavailable": Case(operation="refresh", repository="unavailable"),
    "index-altered": Case(operation="refresh", repository="index-altered"),
    "index-cut": Case(operation="refresh", repository="index-cut"),
    "index-hangs": Case(operation="refresh", repository="index-hangs", timeout=4),
    "index-unsigned": Case(operation="refresh", repository="index-unsigned"),
    "package-altered": Case(packages="needs-good", repository="package-altered"),
    "package-cut": Case(packages="needs-good", repository="package-cut"),
    "package-gone": Case(packages="needs-good", repository="package-gone"),
    "package-hangs": Case(packages="needs-good", repository="package-hangs", timeout=4),
    "package-unsigned": Case(packages="needs-good", repository="package-unsigned"),
    "refused-later": Case(packages="needs-good", repository="refused"),
    "signature-demanded": Case(
        packages="innocent", before="echo '%_pkgverify_level signature' >> /etc/rpm/macros"
    ),
    "signature-of-a-stranger": Case(
        packages="stranger", before="echo '%_pkgverify_level signature' >> /etc/rpm/macros"
    ),
    "memory": Case(packages="innocent", wrap="ulimit -v 45000;"),
    "no-candidate": Case(packages="surely-not-there", operation="download"),
    "no-tool": Case(packages="innocent", before="rm -f /usr/bin/dnf* /usr/bin/zypper"),
    "lock": Case(packages="innocent", timeout=6),
    # whose it is depends on what hangs
    "pre-hangs": Case(packages="sleepy-pre", timeout=5),
    "post-hangs": Case(packages="sleepy-post", timeout=5),
    "posttrans-hangs": Case(packages="sleepy-posttrans", timeout=5),
    "post-hangs-of-two": Case(packages="above-sleepy-post sleepy-post", timeout=5),
    "dependency-hangs": Case(packages="needs-sleepy-post", timeout=5),
    "dependency-pre-hangs": Case(packages="needs-sleepy-pre", timeout=5),
    "preun-hangs": Case(
        packages="sleepy-preun",
        operation="remove",
        before=f"{RPM}/sleepy-preun-1.0-1.noarch.rpm",
        timeout=5,
    ),
    # nobody's
    "installs": Case(packages="needs-good"),
    "two": Case(packages="above innocent"),
    "reinstalls": Case(
        packages="twice-1.0", operation="reinstall", before=f"{RPM}/twice-1.0-1.noarch.rpm"
    ),
    "upgrades": Case(
        packages="configured-2.0",
        operation="upgrade",
        before=f"{RPM}/configured-1.0-1.noarch.rpm; {CHANGED}",
    ),
    "downgrades": Case(
        packages="twice-1.0", operation="downgrade", before=f"{RPM}/twice-2.0-1.noarch.rpm"
    ),
    "removes": Case(
        packages="configured",
        operation="remove",
        before=f"{RPM}/configured-1.0-1.noarch.rpm; {CHANGED}",
    ),
    "removes-what-is-needed": Case(
        packages="good",
        operation="remove",
        before=f"{RPM}/good-1.0-1.noarch.rpm; {RPM}/needs-good-1.0-1.noarch.rpm",
    ),
    "refreshes": Case(operation="refresh"),
    "downloads": Case(packages="good", operation="download"),
    "dependency-post": Case(packages="needs-bad-post"),
    "dependency-lua-post": Case(packages="needs-lua-post"),
    "dependency-missing-user": Case(packages="needs-missing-user"),
    "dependency-missing-command": Case(packages="needs-missing-command"),
    "installs-with-a-skipped-repository": Case(packages="innocent", before=SECOND),
    "reinstalls-with-scripts": Case(
        packages="tells-1.0", operation="reinstall", before=f"{RPM}/tells-1.0-1.noarch.rpm"
    ),
    "upgrades-with-scripts": Case(
        packages="tells-2.0", operation="upgrade", before=f"{RPM}/tells-1.0-1.noarch.rpm"
    ),
}


def build_all(folder: Path) -> None:
    """Build every package of the cases, in `folder`; those of the repository below `repo`."""
    repo = folder / "repo"
    repo.mkdir()

    def build(name: str, *requires: str, where: Path = folder, **options: object) -> Path:
        tags = "".join(f"Requires: {need}\n" for need in requires)
        more = str(options.pop("tags", ""))
        return rpms.build(where, name, tags=tags + more, **options)  # type: ignore[arg-type]

    provides = [
        "/bin/sh",
        "/bin/bash",
        "/usr/bin/sh",
        "/sbin/ldconfig",
        "system-release = 1",
        "glibc = 2",
    ]
    build("base", tags="".join(f"Provides: {word}\n" for word in provides))
    noise = "".join(hashlib.sha256(str(i).encode()).hexdigest() for i in range(40000))
    for where in (folder, repo):
        build("good", files={"/usr/share/good/data": "x"}, where=where)
        build(
            "bad-pre",
            scripts={"pre": "echo looking; echo not on this machine >&2; exit 4"},
            where=where,
        )
        build(
            "bad-post",
            scripts={"post": "echo configuring; echo no frobnicator >&2; exit 3"},
            where=where,
        )
        build("sleepy-pre", scripts={"pre": "echo zzz; sleep 1000"}, where=where)
        build("sleepy-post", scripts={"post": "echo zzz; sleep 1000"}, where=where)
        build("large", files={"/opt/large/data": noise}, where=where)
        lua = "print('looking'); error('no frobnicator')"
        build("lua-post", scripts={"post -p <lua>": lua}, where=where)
        files = {"/usr/share/missing-user": "x"}
        build("missing-user", files=files, owner="nobody-here,-", where=where)
        build("missing-command", scripts={"post": f"{WITHOUT}\nexit 0"}, where=where)
    stranger = build("stranger", where=repo)
    sign(stranger, folder)
    shutil.copy(stranger, folder)
    build("uninstallable", "surely-not-there", where=repo)
    rpms.repository(repo)
    build("innocent")
    build("unmet", "surely-not-there >= 2")
    build("unmet-several", "no-such-one", "no-such-two >= 3")
    build("above", "innocent")
    build("unmet-file", "/usr/bin/surely-not-there")
    build("unmet-library", "libsurely.so.9()(64bit)")
    build("wrong-version", "good >= 99")
    for name in (
        "good",
        "uninstallable",
        "bad-pre",
        "bad-post",
        "sleepy-post",
        "sleepy-pre",
        "large",
        "lua-post",
        "missing-user",
        "missing-command",
        "stranger",
    ):
        build(f"needs-{name}", name)
    build("conflicts", tags="Conflicts: good\n")
    build("conflicts-a", tags="Conflicts: good\n")
    build("bad-posttrans", scripts={"posttrans": "echo at last; exit 5"})
    build("killed", scripts={"post": "echo dying; kill -9 $$"})
    for name in ("bad-post", "sleepy-post"):
        build(f"above-{name}", name)
    said = "Failed to fetch the license: Could not resolve host, the key is not signed"
    build("fetches", scripts={"post": f"echo '{said}' >&2; echo 'No space left' ; exit 1"})
    for version in ("1.0", "2.0"):
        script = {"preun": "echo not now >&2; exit 6"} if version == "1.0" else {}
        build("bad-preun", version=version, scripts=script)
        build("twice", version=version, files={"/usr/share/twice": version})
        build(
            "configured",
            version=version,
            config={"/etc/configured.conf": version},
            files={"/usr/share/configured": version},
        )
    build("bad-postun", scripts={"postun": "echo too late >&2; exit 8"})
    build("sleepy-preun", scripts={"preun": "echo zzz; sleep 1000"})
    build("sleepy-posttrans", scripts={"posttrans": "echo zzz; sleep 1000"})
    build("bad-trigger", scripts={"triggerin -- trips": "echo pulled >&2; exit 7"})
    build(
        "bad-file-trigger",
        scripts={"transfiletriggerin -- /usr/share/tripwire": "echo pulled >&2; exit 7"},
    )
    build("trips", files={"/usr/share/tripwire/x": "x"})
    said = "echo /usr/share/tripwire/x is not valid >&2; exit 7"
    build("picky-trigger", scripts={"triggerin -- trips": said})
    build("own-trigger", scripts={"triggerin -- trips": "echo pulled >&2; exit 7"})
    build("lua-pre", scripts={"pre -p <lua>": "print('looking'); error('not on this machine')"})
    build(
        "missing-group",
        files={"/usr/share/missing-group": "x"},
        owner="-,nobody-here",
    )
    build("missing-command-bash", scripts={"post -p /bin/bash": f"{WITHOUT}\nexit 0"})
    build("missing-path", scripts={"post": "/usr/bin/surely-not-there --quickly\nexit 0"})
    names = ("pretrans", "pre", "post", "preun", "postun", "posttrans")
    for version in ("1.0", "2.0"):
        scripts = {name: f"echo {name} of {version} with $1" for name in names}
        build("tells", version=version, scripts=scripts)
    build("overwrites-a", files={"/usr/share/same": "a"})
    build("overwrites-b", files={"/usr/share/same": "b"})
    build("foreign", architecture="s390x")
    for name in ("corrupt", "corrupt-header", "cut"):
        spoil(build(name, files={"/usr/share/noise": noise}), name)


def sign(package: Path, folder: Path) -> None:
    """Sign a package with a key that no guest knows; leave another key in `folder`."""
    with pgp.gpg() as tool:
        stranger, other = tool.key("stranger"), tool.key("other")
        defines = {"_gpg_name": stranger, "__gpg": str(shutil.which("gpg"))}
        argv = ["rpmsign", "--addsign", *(f"--define={key} {defines[key]}" for key in defines)]
        env = os.environ | {"GNUPGHOME": str(tool.home)}
        subprocess.run([*argv, str(package)], check=True, env=env, capture_output=True)
        key = tool.export(other, armour=True)
    (folder / "other.asc").write_bytes(key)


def spoil(path: Path, how: str) -> None:
    """Flip bytes in the middle, in the header, or cut off the end."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if how == "cut":
        del content[middle:]
    elif how == "corrupt":
        content[middle : middle + 64] = bytes(64)
    else:
        position = content.rindex(b"Made by the tests")
        content[position : position + 8] = b"!" * 8
    path.write_bytes(content)


def repo_file(kind: str, port: int) -> str:
    """Return what dnf and zypper read of a repository."""
    bases = {"refused": "http://127.0.0.1:9/good", "named": "http://mirror.example/good"}
    lines = ["[tests]", "name=tests", "enabled=1", "autorefresh=0"]
    lines.append(f"baseurl={bases.get(kind, f'http://127.0.0.1:{port}/{kind}')}")
    lines.append(f"gpgcheck={int(kind in ('package-unsigned', 'package-other-key'))}")
    if kind == "package-other-key":
        lines.append(f"gpgkey=file://{GUEST_DIR}/other.asc")
    lines.append(f"repo_gpgcheck={int(kind == 'index-unsigned')}")
    return "\n".join(lines)


def argv_of(manager: PackageManager, case: Case, folder: Path) -> list[str]:
    """Return the command line of a case."""
    names = case.packages.split()
    match case.operation:
        case "refresh":
            return manager.refresh()
        case "remove":
            return manager.remove(names)
        case "download":
            return manager.download(names[0], "/srv")
        case operation:
            found = [
                next(
                    path
                    for path in sorted(folder.glob("*.rpm"))
                    if path.name.startswith(f"{name}-") and path.name[len(name) + 1].isdigit()
                )
                for name in names
            ]
            paths = [f"{GUEST_DIR}/{path.name}" for path in found]
            method = getattr(manager, operation)
            argv: list[str] = method(paths)
            return argv


def record(tool: str, name: str, layers: Path, folder: Path, port: int) -> Recorded:
    """Record a case."""
    case, made = CASES[name], TOOLS[tool]
    manager = made.manager
    stack = toolbox.stack(made.image, layers / f"{made.image}.squashfs", made.tools)
    lines = ["set -e", made.before, BASE]
    if case.repository:
        where = "/etc/zypp/repos.d" if isinstance(manager, Zypper) else "/etc/yum.repos.d"
        lines.append(f"cat > {where}/tests.repo <<'END'\n{repo_file(case.repository, port)}\nEND")
        if case.operation != "refresh":
            reachable = "127.0.0.1:[0-9]*/[^/]*"
            lines += [
                f"cp {where}/tests.repo /tmp/; "
                f"sed -i 's,{reachable},127.0.0.1:{port}/good,;s/check=1/check=0/' "
                f"{where}/tests.repo",
                shlex.join(manager.refresh()) + " >/dev/null 2>&1",
                f"cp /tmp/tests.repo {where}/",
            ]
    env = dict(manager.environment)
    if name == "lock":
        env["ZYPP_LOCK_TIMEOUT"] = "1"
        other = manager.install([f"{GUEST_DIR}/sleepy-pre-1.0-1.noarch.rpm"])
        lines.append(f"{shlex.join(other)} >/dev/null 2>&1 & sleep 2")
    lines.append(case.before or ":")
    return run(stack, folder, case, "\n".join(lines), argv_of(manager, case, folder), env)


def main() -> None:
    layers, tool, *wanted = sys.argv[1:]
    target = HERE / tool
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build_all(folder)
        Repository.folder = folder / "repo"
        Repository.index, Repository.suffixes = "primary", (".rpm",)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in wanted or CASES:
            began = time.monotonic()
            recorded = record(tool, name, Path(layers), folder, server.server_port)
            write(target / f"{name}.txt", scrub(recorded, server.server_port))
            assert read(target / f"{name}.txt").status == recorded.status
            last = recorded.output.splitlines()[-1:] or [""]
            seconds = time.monotonic() - began
            print(f"{tool} {name}: {seconds:.1f} s: {recorded.status} {last[0][:90]}", flush=True)
        Repository.over.set()
        server.shutdown()


if __name__ == "__main__":
    main()
