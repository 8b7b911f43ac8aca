"""Record what apt says when it fails: `python -m tests.data.apt.record debian-sid [CASE]...`.

Every file here is the output of a real installation in a real guest, with the mirror's name and
addresses replaced. A new release is recorded by its name; all is read by
`tests/unit/probe/managers/test_apt.py`.
"""

from __future__ import annotations

import hashlib
import http.server
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from postroj.container.spec import Bind, GuestSpec
from postroj.container.start import start_guest
from postroj.errors import CommandError
from postroj.model import NetworkMode
from postroj.prepare import obtain
from postroj.probe.managers.apt.apt import Apt
from postroj.probe.package.package_file import GUEST_DIR
from tests.support import debs

HERE = Path(__file__).parent
MIRROR = "mirror.example"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One failure: what is installed, and what is wrong in the guest before."""

    packages: str = ""
    """Names of packages under test, '' to fetch the lists only."""
    operation: str = "install"
    before: str = ""
    """A script in the guest."""
    repository: str = ""
    """A kind of `Repository`, in place of the image's mirror."""
    network: NetworkMode = NetworkMode.NONE
    timeout: float = 60


UPDATE = "apt-get -qq update"
NO_DNS = (
    "echo nameserver 192.0.2.1 > /etc/resolv.conf; "
    "echo 'options timeout:1 attempts:1' >> /etc/resolv.conf"
)
SHORT = "echo 'DPkg::Lock::Timeout \"1\";' > /etc/apt/apt.conf.d/99lock"
TMPFS = "mkdir -p {0}; mount -t tmpfs -o size={1} tmpfs {0}; mkdir -p {0}/partial"
LOCK = (
    "perl -MFcntl -e 'open F, q(+>>), shift or die; "
    "$l = pack(q(s s x4 q q i x4), F_WRLCK, 0, 0, 0, 0); fcntl(F, F_SETLK, $l) or die; "
    "close STDOUT; close STDERR; sleep 1000' {} >/dev/null 2>&1 & sleep 0.5"
)
PRIVATE = NetworkMode.PRIVATE

CASES = {
    # the package is to blame
    "unmet": Case(packages="unmet"),
    "unmet-several": Case(packages="unmet-several"),
    "unmet-indirect": Case(packages="above unmet"),
    "wrong-version": Case(packages="wrong-version", before=UPDATE, network=PRIVATE),
    "unmet-predepends": Case(packages="unmet-predepends"),
    "virtual": Case(packages="virtual", before=UPDATE, network=PRIVATE),
    "virtual-none": Case(packages="virtual-none", before=UPDATE, network=PRIVATE),
    "dependency-is-unmet": Case(packages="needs-uninstallable", repository="good"),
    "conflicts-essential": Case(packages="conflicts-essential"),
    "conflicts-each-other": Case(packages="conflicts-a conflicts-b"),
    "breaks": Case(packages="breaks"),
    "preinst": Case(packages="bad-preinst"),
    "postinst": Case(packages="bad-postinst"),
    "postinst-killed": Case(packages="killed"),
    "postinst-dumped": Case(packages="dumped"),
    "postinst-no-interpreter": Case(packages="no-interpreter"),
    "postinst-not-connected": Case(packages="not-connected"),
    "postinst-fetches": Case(packages="fetches"),
    "postinst-installs": Case(packages="installs"),
    "postinst-job-failed": Case(packages="job-failed"),
    "postinst-of-two": Case(packages="above-bad-postinst bad-postinst"),
    "prerm-on-upgrade": Case(packages="new-prerm", before=f"dpkg -i {GUEST_DIR}/prerm_1.0_all.deb"),
    "trigger": Case(packages="trips", before=f"dpkg -i {GUEST_DIR}/bad-trigger_1.0_all.deb"),
    "trigger-names-its-file": Case(
        packages="trips", before=f"dpkg -i {GUEST_DIR}/picky-trigger_1.0_all.deb"
    ),
    "not-started": Case(packages="not-started"),
    "overwrites": Case(packages="overwrites"),
    "overwrites-each-other": Case(packages="overwrites-a overwrites-b"),
    "foreign": Case(packages="foreign"),
    "foreign-with-dependency": Case(packages="foreign-needs"),
    "corrupt": Case(packages="corrupt"),
    "corrupt-xz": Case(packages="corrupt-xz"),
    # ours
    "removes-essential": Case(
        packages="essential",
        operation="remove",
        before=f"dpkg -i {GUEST_DIR}/essential_1.0_all.deb",
    ),
    "removes-what-essential-needs": Case(
        packages="innocent",
        operation="remove",
        before=f"dpkg -i {GUEST_DIR}/innocent_1.0_all.deb {GUEST_DIR}/above-essential_1.0_all.deb",
    ),
    "purges-protected": Case(
        packages="protected",
        operation="purge",
        before=f"dpkg -i {GUEST_DIR}/protected_1.0_all.deb",
    ),
    "purges-forgotten": Case(packages="innocent", operation="purge"),
    "dependency-script": Case(packages="needs-bad-postinst", repository="good"),
    "downgrade": Case(packages="older", before=f"dpkg -i {GUEST_DIR}/newer_2.0_all.deb"),
    "not-configured": Case(
        packages="innocent",
        before=f"dpkg -i {GUEST_DIR}/bad-postinst_1.0_all.deb",
    ),
    "interrupted": Case(
        packages="innocent",
        before="printf 'x' > /var/lib/dpkg/updates/0001",
    ),
    "lock": Case(
        packages="innocent", before=f"{SHORT}; {LOCK.format('/var/lib/dpkg/lock-frontend')}"
    ),
    "lock-lists": Case(before=f"{SHORT}; {LOCK.format('/var/lib/apt/lists/lock')}"),
    "full-archives": Case(
        packages="needs-good",
        repository="good",
        before=f"{TMPFS.format('/var/cache/apt/archives', '4k')}; "
        "head -c 4096 /dev/zero > /var/cache/apt/archives/full",
    ),
    "full-disk": Case(packages="large", before=TMPFS.format("/opt/large", "1m")),
    "full-lists": Case(
        network=PRIVATE, before=TMPFS.format("/var/lib/apt/lists", "1m"), timeout=100
    ),
    "no-network": Case(),
    "no-network-bare": Case(packages="needs-hello"),
    "no-network-any-more": Case(
        packages="needs-hello", before=f"{UPDATE}; {NO_DNS}", network=PRIVATE
    ),
    "no-dns": Case(before=NO_DNS, network=PRIVATE),
    "refused": Case(repository="refused"),
    "not-found": Case(repository="not-found"),
    "unavailable": Case(repository="unavailable"),
    "expired": Case(repository="expired"),
    "not-yet-valid": Case(repository="future"),
    "unsigned": Case(repository="unsigned"),
    "index-altered": Case(repository="index-altered"),
    "index-cut": Case(repository="index-cut"),
    "deb-altered": Case(packages="needs-good", repository="deb-altered"),
    "deb-cut": Case(packages="needs-good", repository="deb-cut"),
    "deb-gone": Case(packages="needs-good", repository="deb-gone"),
    "index-hangs": Case(repository="index-hangs", timeout=4),
    "deb-hangs": Case(packages="needs-good", repository="deb-hangs", timeout=4),
    "lock-hangs": Case(
        packages="innocent", before=LOCK.format("/var/lib/dpkg/lock-frontend"), timeout=4
    ),
    # whose it is depends on what hangs
    "preinst-hangs": Case(packages="sleepy-preinst", timeout=5),
    "postinst-hangs": Case(packages="sleepy-postinst", timeout=5),
    "postinst-hangs-of-two": Case(packages="above-sleepy sleepy-postinst", timeout=5),
    "dependency-hangs": Case(packages="needs-sleepy", repository="good", timeout=5),
    "dependency-preinst-hangs": Case(packages="needs-sleepy-preinst", repository="good", timeout=5),
    "trigger-hangs": Case(
        packages="trips", before=f"dpkg -i {GUEST_DIR}/sleepy-trigger_1.0_all.deb", timeout=5
    ),
}


def sh(*lines: str) -> str:
    return "\n".join(("#!/bin/sh", *lines, ""))


def build_all(folder: Path) -> None:
    """Build every package of the cases."""

    def build(name: str, **options: object) -> Path:
        return debs.build(folder, name, **options)  # type: ignore[arg-type]

    build("innocent")
    build("good", files={"/usr/share/good/data": "x" * 1000}, architecture="all")
    noise = "".join(hashlib.sha256(str(i).encode()).hexdigest() for i in range(8000))
    build("large", files={"/opt/large/data": noise * 8})
    build("unmet", depends="surely-not-there (>= 2)")
    build("unmet-several", depends="libc6, no-such-one, no-such-two | no-such-three")
    build("above", depends="unmet")
    build("wrong-version", depends="libc6 (>= 99)")
    build("virtual", depends="mail-transport-agent (>= 99)")
    build("virtual-none", depends="surely-not-there:any")
    build("needs-good", depends="good")
    build("needs-hello", depends="hello")
    build("uninstallable", depends="surely-not-there")
    build("needs-uninstallable", depends="uninstallable")
    build(
        "bad-preinst",
        scripts={"preinst": sh("echo looking", "echo not on this machine >&2", "exit 4")},
    )
    build(
        "bad-postinst",
        scripts={"postinst": sh("echo configuring", "echo no frobnicator >&2", "exit 3")},
    )
    build("above-bad-postinst", depends="bad-postinst")
    build("needs-bad-postinst", depends="bad-postinst")
    build("killed", scripts={"postinst": sh("echo dying", "kill -9 $$")})
    build("dumped", scripts={"postinst": sh("ulimit -c 0", "kill -SEGV $$")})
    build("no-interpreter", scripts={"postinst": "#!/usr/bin/no-such-interpreter\n"})
    words = "Could not connect to Redis at 127.0.0.1:6379: Connection refused"
    build("not-connected", scripts={"postinst": sh(f"echo '{words}' >&2", "exit 1")})
    words = "Failed to fetch the license: Temporary failure resolving, the key is not signed"
    build("fetches", scripts={"postinst": sh(f"echo '{words}' >&2", "exit 1")})
    build("installs", scripts={"postinst": sh("set -e", "apt-get -y install hello")})
    unit = debs.SERVICE.format(name="job-failed", kind="oneshot", command="/bin/false", more="")
    start = sh("set -e", "systemctl daemon-reload", "systemctl start job-failed.service")
    build(
        "job-failed",
        files={"/lib/systemd/system/job-failed.service": unit},
        scripts={"postinst": start},
    )
    build("prerm", scripts={"prerm": sh("echo old prerm >&2", "exit 5")})
    new = sh("echo new prerm >&2", "exit 6")
    build("prerm", version="2.0", scripts={"prerm": new}).rename(folder / "new-prerm_2.0_all.deb")
    triggered = '[ "$1" = triggered ] || exit 0'
    build("bad-trigger", scripts={"postinst": sh(triggered, "echo pulled >&2", "exit 7")})
    build("sleepy-trigger", scripts={"postinst": sh(triggered, "echo pulled", "sleep 1000")})
    said = "echo /usr/share/tripwire/x is not valid >&2"
    build("picky-trigger", scripts={"postinst": sh(triggered, said, "exit 7")})
    build("trips", files={"/usr/share/tripwire/x": "x"})
    unit = debs.SERVICE.format(name="late", kind="simple", command="/bin/sleep 1000", more="")
    start = sh(
        "systemctl daemon-reload",
        "deb-systemd-invoke start late.service",
        "deb-systemd-helper enable late.service",
    )
    build(
        "not-started",
        files={"/lib/systemd/system/late.service": unit},
        scripts={"postinst": start},
    )
    build("above-essential", depends="innocent")
    build("overwrites", files={"/usr/bin/perl": "mine"})
    build("overwrites-a", files={"/usr/share/same": "a"})
    build("overwrites-b", files={"/usr/share/same": "b"})
    build("foreign", architecture="s390x")
    build("foreign-needs", architecture="s390x", depends="libc6")
    build("newer", version="2.0")
    build("newer", version="1.0").rename(folder / "older_1.0_all.deb")
    build("sleepy-preinst", scripts={"preinst": sh("echo zzz", "sleep 1000")})
    build("sleepy-postinst", scripts={"postinst": sh("echo zzz", "sleep 1000")})
    build("above-sleepy", depends="sleepy-postinst")
    build("needs-sleepy", depends="sleepy-postinst")
    build("needs-sleepy-preinst", depends="sleepy-preinst")
    for name, field in (
        ("conflicts-essential", "Conflicts: dpkg"),
        ("conflicts-a", "Conflicts: conflicts-b"),
        ("conflicts-b", "Breaks: conflicts-a"),
        ("breaks", "Breaks: dpkg (<< 99)"),
        ("unmet-predepends", "Pre-Depends: surely-not-there (>= 2)"),
        ("essential", "Essential: yes"),
        ("protected", "Protected: yes"),
    ):
        amend(build(name), "control", field)
    amend(folder / "above-essential_1.0_all.deb", "control", "Essential: yes")
    for name in ("bad-trigger", "sleepy-trigger", "picky-trigger"):
        amend(folder / f"{name}_1.0_all.deb", "triggers", "interest /usr/share/tripwire")
    for name, kind in (("corrupt", "gzip"), ("corrupt-xz", "xz")):
        corrupt(build(name, files={"/usr/share/noise": noise}), kind)


def amend(deb: Path, file: str, line: str) -> None:
    """Add a line to a file of a package's control area."""
    tree = deb.parent / f"{deb.name.partition('_')[0]}-1.0-tree"
    target = tree / "DEBIAN" / file
    before = target.read_text() if target.exists() else ""
    target.write_text(f"{before}{line}\n")
    argv = ["dpkg-deb", "--build", "--root-owner-group", "--nocheck", str(tree), str(deb)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def corrupt(deb: Path, kind: str) -> None:
    """Pack anew with a compressor that all releases know, and flip bytes in the middle."""
    tree = deb.parent / f"{deb.name.partition('_')[0]}-1.0-tree"
    argv = ["dpkg-deb", f"-Z{kind}", "--build", "--root-owner-group", str(tree), str(deb)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    content = bytearray(deb.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    deb.write_bytes(content)


class Repository(http.server.BaseHTTPRequestHandler):
    """A flat repository of all packages; the first part of the path says what is wrong with it."""

    folder: Path
    over = threading.Event()

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        _, kind, *_, name = self.path.split("/")
        if kind == "unavailable":
            self.send_error(503)
        elif kind == "not-found" or (
            name not in ("Release", "Packages") and not name.endswith(".deb")
        ):
            self.send_error(404)
        elif name == "Release":
            self.answer(self.release(kind), hang=kind == "index-hangs")
        elif name == "Packages":
            body = self.packages()
            if kind == "index-altered":
                body = body.replace(b"tests", b"TESTS")
            self.answer(body, cut=kind == "index-cut")
        elif kind == "deb-gone":
            self.send_error(404)
        else:
            body = (self.folder / name).read_bytes()
            if kind == "deb-altered":
                body = body[:-9] + b"ALTERED!!"
            self.answer(body, cut=kind == "deb-cut", hang=kind == "deb-hangs")

    do_HEAD = do_GET

    def answer(self, body: bytes, *, cut: bool = False, hang: bool = False) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut or hang else body)
        if hang:
            self.wfile.flush()
            self.over.wait(20)

    def packages(self) -> bytes:
        stanzas = []
        for deb in sorted(self.folder.glob("*_1.0_all.deb")):
            name = deb.name.partition("_")[0]
            if name.startswith(("needs", "older", "newer", "corrupt", "prerm", "new")):
                continue
            fields = (self.folder / f"{name}-1.0-tree/DEBIAN/control").read_text()
            body = deb.read_bytes()
            digest = hashlib.sha256(body).hexdigest()
            stanzas.append(
                f"{fields}Filename: ./{deb.name}\nSize: {len(body)}\nSHA256: {digest}\n\n"
            )
        return "".join(stanzas).encode()

    def release(self, kind: str) -> bytes:
        now = datetime.now(UTC)
        body = self.packages()
        shift = {"expired": timedelta(days=-30), "future": timedelta(days=30)}.get(kind)
        date = now + (shift or timedelta(days=-1))
        until = date + timedelta(days=7)
        entry = f" {hashlib.sha256(body).hexdigest()} {len(body)} Packages\n"
        head = f"Origin: tests\nDate: {format_datetime(date, True)}\n"
        return f"{head}Valid-Until: {format_datetime(until, True)}\nSHA256:\n{entry}".encode()


def record(image_name: str, name: str, case: Case, folder: Path, port: int) -> str:
    """Do it for real; what apt said."""
    before = [case.before] if case.before else []
    network = case.network
    if case.repository:
        network = NetworkMode.HOST
        trusted = "" if case.repository == "unsigned" else "[trusted=yes]"
        base = f"http://127.0.0.1:{9 if case.repository == 'refused' else port}"
        line = f"deb {trusted} {base}/{case.repository} ./"
        before.insert(0, f"echo '{line}' > /etc/apt/sources.list; rm -f /etc/apt/sources.list.d/*")
        before.insert(0, "grep -l Valid-Until /etc/apt/apt.conf.d/* | xargs -r rm")
        if case.packages:
            before.insert(2, UPDATE)
    manager = Apt()
    if case.operation != "install":
        argv = getattr(manager, case.operation)(case.packages.split())
    elif case.packages:
        files = [next(folder.glob(f"{package}_*.deb")).name for package in case.packages.split()]
        argv = manager.install([f"{GUEST_DIR}/{file}" for file in files])
        if name.startswith("lock") and case.timeout == 60:
            argv = [word.replace("Timeout=60", "Timeout=1") for word in argv]
    else:
        argv = manager.refresh()
    binds = (Bind(source=folder, target=GUEST_DIR, read_only=True),)
    with obtain(image_name) as image:
        spec = GuestSpec(layers=image.layers, network=network, binds=binds)
        with start_guest(spec) as guest:
            hosts = set(
                re.findall(
                    r"https?://([^/\s]+)",
                    guest.run(
                        [
                            "sh",
                            "-c",
                            "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || :",
                        ]
                    ).text,
                )
            )
            env = dict(manager.environment)
            if before:
                guest.run(["sh", "-c", "\n".join(before)], ok=range(256), env=env)
            try:
                done = guest.run(argv, timeout=case.timeout, env=env)
            except CommandError as error:
                output = error.output
            else:
                output = f"SUCCEEDED\n{done.output}"
    for host in sorted(hosts, key=len, reverse=True):
        output = output.replace(host, MIRROR)
    output = re.sub(rf"127\.0\.0\.1:(?:{port}|9)\b", MIRROR, output)
    return re.sub(r"\[IP: \S+ \d+\]", "[IP: 192.0.2.1 80]", output)


def main() -> None:
    image, *wanted = sys.argv[1:]
    target = HERE / image
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Repository.folder = Path(temporary)
        build_all(folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in wanted or CASES:
            began = time.monotonic()
            text = record(image, name, CASES[name], folder, server.server_port)
            (target / f"{name}.txt").write_text(text.rstrip("\n") + "\n")
            last = text.splitlines()[-1:] or [""]
            print(f"{image} {name}: {time.monotonic() - began:.1f} s: {last[0][:90]}", flush=True)
        Repository.over.set()
        server.shutdown()


if __name__ == "__main__":
    main()
