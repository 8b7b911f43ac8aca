"""Record what pacman says: `python -m tests.data.pacman.record LAYERS pacman-bookworm [CASE]...`.

As `tests/data/rpm/record.py`; `tests/unit/probe/managers/test_pacman.py` reads all.
"""

from __future__ import annotations

import hashlib
import http.server
import sys
import tempfile
import threading
import time
from pathlib import Path

from postroj.model import NetworkMode
from postroj.probe.managers.pacman.pacman import Pacman
from postroj.probe.package.package_file import GUEST_DIR
from tests.data.recorder import Case, Recorded, Repository, run, scrub, write
from tests.support import pacman, toolbox

HERE = Path(__file__).parent
TOOLS = {"pacman-bookworm": "debian-bookworm", "pacman-sid": "debian-sid"}
DNF5 = (*toolbox.TOOLS, "dnf5", "createrepo-c")

INSTALL = f"pacman --upgrade --noconfirm --nodeps --nodeps {GUEST_DIR}"
TMPFS = "mkdir -p {0}; mount -t tmpfs -o size={1} tmpfs {0}"
HOLD = r"sed -i '/^.options/aHoldPkg = good above' /etc/pacman.conf"
WITHOUT = "echo beginning; surely-not-there --quickly; echo going on"
CHANGED = "echo changed >> /etc/configured.conf"

CASES = {
    # the package is to blame
    "unmet": Case(packages="unmet"),
    "unmet-several": Case(packages="unmet-several"),
    "unmet-indirect": Case(packages="above unmet"),
    "wrong-version": Case(packages="wrong-version"),
    "dependency-is-unmet": Case(packages="needs-uninstallable"),
    "conflicts": Case(packages="conflicts", before=f"{INSTALL}/good-1.0-1-any.pkg.tar.zst"),
    "conflicts-each-other": Case(packages="conflicts good"),
    "pre": Case(packages="bad-pre"),
    "post": Case(packages="bad-post"),
    "post-killed": Case(packages="killed"),
    "post-of-two": Case(packages="above-bad-post bad-post"),
    "post-fetches": Case(packages="fetches"),
    "post-syntax": Case(packages="syntax"),
    "pre-remove": Case(
        packages="bad-remove",
        operation="remove",
        before=f"{INSTALL}/bad-remove-1.0-1-any.pkg.tar.zst",
    ),
    "post-upgrade": Case(
        packages="bad-upgrade-2.0",
        operation="upgrade",
        before=f"{INSTALL}/bad-upgrade-1.0-1-any.pkg.tar.zst",
    ),
    "hook": Case(packages="trips", before=f"{INSTALL}/bad-hook-1.0-1-any.pkg.tar.zst"),
    "hook-of-package": Case(packages="bad-hook"),
    "pre-hook": Case(packages="trips", before=f"{INSTALL}/bad-pre-hook-1.0-1-any.pkg.tar.zst"),
    "hook-names-its-file": Case(
        packages="trips", before=f"{INSTALL}/picky-hook-1.0-1-any.pkg.tar.zst"
    ),
    "missing-command": Case(packages="missing-command"),
    "missing-command-bash": Case(packages="missing-command", before="ln -sf bash /bin/sh"),
    "missing-path-bash": Case(packages="missing-path", before="ln -sf bash /bin/sh"),
    "overwrites": Case(
        packages="overwrites-a", before=f"{INSTALL}/overwrites-b-1.0-1-any.pkg.tar.zst"
    ),
    "overwrites-each-other": Case(packages="overwrites-a overwrites-b"),
    "overwrites-unowned": Case(packages="overwrites-a", before="echo > /usr/share/same"),
    "foreign": Case(packages="foreign"),
    "corrupt": Case(packages="corrupt"),
    "corrupt-begin": Case(packages="corrupt-begin"),
    "cut": Case(packages="cut"),
    "no-package": Case(packages="no-package"),
    # ours
    "removes-held": Case(
        packages="good",
        operation="remove",
        before=f"{INSTALL}/good-1.0-1-any.pkg.tar.zst; {HOLD}",
    ),
    "removes-what-held-needs": Case(
        packages="innocent",
        operation="remove",
        before=f"{INSTALL}/innocent-1.0-1-any.pkg.tar.zst; "
        f"{INSTALL}/above-1.0-1-any.pkg.tar.zst; {HOLD}",
    ),
    "full-disk": Case(packages="large", before=TMPFS.format("/opt/large", "1m")),
    "full-cache": Case(
        packages="needs-large", before=TMPFS.format("/var/cache/pacman/pkg", "200k")
    ),
    "full-unchecked": Case(
        packages="large",
        before=f"{TMPFS.format('/opt/large', '1m')}; sed -i /CheckSpace/d /etc/pacman.conf",
    ),
    "no-network": Case(operation="refresh", repository="named", network=NetworkMode.NONE),
    "refused": Case(operation="refresh", repository="refused"),
    "not-found": Case(operation="refresh", repository="not-found"),
    "unavailable": Case(operation="refresh", repository="unavailable"),
    "index-altered": Case(
        packages="needs-good", before="printf ALTERED > /var/lib/pacman/sync/tests.db"
    ),
    "index-cut": Case(operation="refresh", repository="index-cut"),
    "index-hangs": Case(operation="refresh", repository="index-hangs", timeout=4),
    "index-unsigned": Case(operation="refresh", repository="index-unsigned"),
    "package-altered": Case(packages="needs-good", repository="package-altered"),
    "package-cut": Case(packages="needs-good", repository="package-cut"),
    "package-gone": Case(packages="needs-good", repository="package-gone"),
    "package-hangs": Case(packages="needs-good", repository="package-hangs", timeout=4),
    "package-unsigned": Case(packages="needs-good", repository="package-unsigned"),
    "refused-later": Case(packages="needs-good", repository="refused"),
    "memory": Case(packages="large", wrap="ulimit -v 12000;"),
    "no-candidate": Case(packages="surely-not-there", operation="download"),
    "no-tool": Case(packages="innocent", before="rm /usr/bin/pacman"),
    "lock": Case(packages="innocent", before="touch /var/lib/pacman/db.lck"),
    # whose it is depends on what hangs
    "pre-hangs": Case(packages="sleepy-pre", timeout=5),
    "post-hangs": Case(packages="sleepy-post", timeout=5),
    "post-hangs-of-two": Case(packages="above-sleepy-post sleepy-post", timeout=5),
    "dependency-hangs": Case(packages="needs-sleepy-post", timeout=5),
    "remove-hangs": Case(
        packages="sleepy-remove",
        operation="remove",
        before=f"{INSTALL}/sleepy-remove-1.0-1-any.pkg.tar.zst",
        timeout=5,
    ),
    "hook-hangs": Case(
        packages="trips", before=f"{INSTALL}/sleepy-hook-1.0-1-any.pkg.tar.zst", timeout=5
    ),
    # nobody's
    "dependency-post": Case(packages="needs-bad-post"),
    "dependency-missing-command": Case(packages="needs-missing-command"),
    "installs": Case(packages="needs-good"),
    "two": Case(packages="above innocent"),
    "reinstalls": Case(
        packages="twice-1.0",
        operation="reinstall",
        before=f"{INSTALL}/twice-1.0-1-any.pkg.tar.zst",
    ),
    "upgrades": Case(
        packages="configured-2.0",
        operation="upgrade",
        before=f"{INSTALL}/configured-1.0-1-any.pkg.tar.zst; {CHANGED}",
    ),
    "downgrades": Case(
        packages="twice-1.0",
        operation="downgrade",
        before=f"{INSTALL}/twice-2.0-1-any.pkg.tar.zst",
    ),
    "removes": Case(
        packages="configured",
        operation="remove",
        before=f"{INSTALL}/configured-1.0-1-any.pkg.tar.zst; {CHANGED}",
    ),
    "purges": Case(
        packages="configured",
        operation="purge",
        before=f"{INSTALL}/configured-1.0-1-any.pkg.tar.zst; {CHANGED}",
    ),
    "removes-what-is-needed": Case(
        packages="good",
        operation="remove",
        before=f"{INSTALL}/good-1.0-1-any.pkg.tar.zst; {INSTALL}/needs-good-1.0-1-any.pkg.tar.zst",
    ),
    "refreshes": Case(operation="refresh"),
    "downloads": Case(packages="good", operation="download"),
}

HOOK = """\
[Trigger]
Type = Path
Operation = Install
Target = usr/share/tripwire/*
[Action]
When = {when}Transaction
Exec = /bin/sh -c "{command}"
{more}
"""


def build_all(folder: Path) -> None:
    """Build every package of the cases, in `folder`; those of the repository below `repo`."""
    repo = folder / "repo"
    repo.mkdir()
    ours: list[Path] = []

    def build(name: str, *depends: str, where: Path = folder, **options: object) -> Path:
        return pacman.build(where, name, depends=depends, **options)  # type: ignore[arg-type]

    noise = "".join(hashlib.sha256(str(i).encode()).hexdigest() for i in range(40000))
    for where in (folder, repo):
        bad = "echo configuring; echo no frobnicator >&2; return 3"
        early = "echo looking; echo not on this machine >&2; return 4"
        ours = [
            build("good", files={"/usr/share/good/data": "x"}, where=where),
            build("bad-pre", scripts={"pre_install": early}, where=where),
            build("bad-post", scripts={"post_install": bad}, where=where),
            build("sleepy-pre", scripts={"pre_install": "echo zzz; sleep 1000"}, where=where),
            build("sleepy-post", scripts={"post_install": "echo zzz; sleep 1000"}, where=where),
            build("large", files={"/opt/large/data": noise}, where=where),
            build("missing-command", scripts={"post_install": WITHOUT}, where=where),
        ]
    ours.append(build("uninstallable", "surely-not-there", where=repo))
    pacman.repository(repo, "tests", ours)
    build("innocent")
    build("unmet", "surely-not-there>=2")
    build("unmet-several", "no-such-one", "no-such-two>=3")
    build("above", "innocent")
    build("wrong-version", "good>=99")
    for name in ("good", "uninstallable", "bad-post", "sleepy-post", "large", "missing-command"):
        build(f"needs-{name}", name)
    build("conflicts", more="conflict = good\n")
    build("killed", scripts={"post_install": "echo dying; kill -9 $$"})
    build("syntax", scripts={"post_install": "if true; then"})
    for name in ("bad-post", "sleepy-post"):
        build(f"above-{name}", name)
    said = "Failed to fetch the license: Could not resolve host, the key is not signed"
    build("fetches", scripts={"post_install": f"echo '{said}' >&2; echo 'No space left'; return 1"})
    build("bad-remove", scripts={"pre_remove": "echo not now >&2; return 6"})
    build("sleepy-remove", scripts={"pre_remove": "echo zzz; sleep 1000"})
    for version in ("1.0-1", "2.0-1"):
        build(
            "bad-upgrade",
            version=version,
            scripts={"post_upgrade": "echo from $2 to $1 >&2; return 6"},
        )
        build("twice", version=version, files={"/usr/share/twice": version})
        build(
            "configured",
            version=version,
            config={"/etc/configured.conf": version},
            files={"/usr/share/configured": version},
        )
    for name, when, command, more in (
        ("bad-hook", "Post", "echo pulled >&2; exit 7", ""),
        ("bad-pre-hook", "Pre", "echo pulled >&2; exit 7", "AbortOnFail"),
        (
            "picky-hook",
            "Post",
            "echo /usr/share/tripwire/x is not valid >&2; exit 7",
            "Description = Looking at wires...",
        ),
        ("sleepy-hook", "Post", "echo pulled; sleep 1000", ""),
    ):
        hook = HOOK.format(when=when, command=command, more=more)
        build(
            name,
            files={f"/usr/share/libalpm/hooks/{name}.hook": hook, "/usr/share/tripwire/y": "y"}
            if name == "bad-hook"
            else {f"/usr/share/libalpm/hooks/{name}.hook": hook},
        )
    build("missing-path", scripts={"post_install": "/usr/bin/surely-not-there; echo going on"})
    build("trips", files={"/usr/share/tripwire/x": "x"})
    build("overwrites-a", files={"/usr/share/same": "a"})
    build("overwrites-b", files={"/usr/share/same": "b"})
    build("foreign", architecture="s390x")
    for name in ("corrupt", "corrupt-begin", "cut", "no-package"):
        spoil(build(name, files={"/usr/share/noise": noise}), name)


def spoil(path: Path, how: str) -> None:
    """Flip bytes in the middle or early, cut off the end, or write something else."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    match how:
        case "cut":
            del content[middle:]
        case "corrupt":
            content[middle : middle + 64] = bytes(64)
        case "corrupt-begin":
            content[20:84] = bytes(64)
        case _:
            content[:] = b"I am text\n"
    path.write_bytes(content)


def configuration(kind: str, port: int) -> str:
    """Return what pacman reads."""
    bases = {"refused": "http://127.0.0.1:9/good", "named": "http://mirror.example/good"}
    level = {
        "package-unsigned": "PackageRequired DatabaseOptional",
        "index-unsigned": "DatabaseRequired PackageOptional",
    }.get(kind, "Never")
    return "\n".join(
        (
            "[options]",
            "Architecture = auto",
            "CheckSpace",
            "#DisableSandbox",
            "SigLevel = Required DatabaseOptional",
            "LocalFileSigLevel = Optional",
            "[tests]",
            f"SigLevel = {level}",
            f"Server = {bases.get(kind, f'http://127.0.0.1:{port}/{kind}')}",
        )
    )


def argv_of(case: Case, folder: Path) -> list[str]:
    """Return the command line of a case."""
    manager = Pacman()
    names = case.packages.split()
    match case.operation:
        case "refresh":
            return manager.refresh()
        case "remove":
            return manager.remove(names)
        case "purge":
            return manager.purge(names)
        case "download":
            return manager.download(names[0], "/srv")
        case operation:
            found = [
                next(
                    path
                    for path in sorted(folder.glob("*.pkg.tar.zst"))
                    if path.name.startswith(f"{name}-") and path.name[len(name) + 1].isdigit()
                )
                for name in names
            ]
            argv: list[str] = getattr(manager, operation)(
                [f"{GUEST_DIR}/{path.name}" for path in found]
            )
            return argv


def record(tool: str, name: str, layers: Path, folder: Path, port: int) -> Recorded:
    """Record a case."""
    case = CASES[name]
    image = TOOLS[tool]
    tools = DNF5 if image == "debian-sid" else toolbox.TOOLS
    stack = toolbox.stack(image, layers / f"{image}.squashfs", tools)

    def configure(kind: str) -> str:
        return f"cat > /etc/pacman.conf <<'END'\n{configuration(kind, port)}\nEND"

    lines = ["set -e", configure("good"), "mkdir -p /etc/pacman.d/gnupg"]
    # confined by means that a container does not have
    lines.append("pacman --help --sync | grep -q disable-sandbox && sandbox=DisableSandbox || :")
    fix = 'sed -i "s/^#DisableSandbox/$sandbox/" /etc/pacman.conf'
    lines.append(fix)
    if case.operation != "refresh":
        lines.append("pacman -Sy >&2")
    lines += [configure(case.repository), fix, case.before or ":"]
    manager = Pacman()
    argv = argv_of(case, folder)
    return run(stack, folder, case, "\n".join(lines), argv, manager.environment)


def main() -> None:
    layers, tool, *wanted = sys.argv[1:]
    target = HERE / tool
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build_all(folder)
        Repository.folder = folder / "repo"
        Repository.index, Repository.suffixes = ".db", (".pkg.tar.zst",)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in wanted or CASES:
            began = time.monotonic()
            recorded = record(tool, name, Path(layers), folder, server.server_port)
            write(target / f"{name}.txt", scrub(recorded, server.server_port))
            last = recorded.output.splitlines()[-1:] or [""]
            seconds = time.monotonic() - began
            print(f"{tool} {name}: {seconds:.1f} s: {recorded.status} {last[0][:90]}", flush=True)
        Repository.over.set()
        server.shutdown()


if __name__ == "__main__":
    main()
