from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from postroj.errors import HostError, UsageError
from postroj.image.catalog import catalog
from postroj.image.sources import bootstrap
from postroj.image.sources.bootstrap import OutputParser
from postroj.image.sources.mmdebstrap import BootstrapPlan, failure
from tests.support.images import SIGNED, bootstrap_source, order, put

TOOLS = {name: f"/usr/bin/{name}" for name in bootstrap.TOOLS}
MIRROR = {
    "debian": "http://mirror.example/debian",
    "debian-security": "http://mirror.example/debian-security",
}
WORK = Path("/var/cache/postroj/partial/pull-00000000")
UPDATE_FAILED = """\
E: apt-get update --error-on=any -oAPT::Status-Fd=<$fd> -oDpkg::Use-Pty=false failed
I: main() received signal PIPE: waiting for setup...
I: removing tempdir /var/cache/postroj/partial/pull-00000000/mmdebstrap.DJfz8Ts4kD...
E: mmdebstrap failed to run
"""
EXPIRED = """\
I: running apt-get update...
Reading package lists...
E: Release file for http://mirror.example/debian/dists/sid/InRelease is expired (invalid since \
14d 17h 57min 33s). Updates for this repository will not be applied.
"""
FUTURE = """\
E: Release file for http://mirror.example/debian/dists/sid/InRelease is not valid yet (invalid \
for another 3h 2min 1s). Updates for this repository will not be applied.
"""
BAD_SIGNATURE = """\
Err:3 http://mirror.example/debian trixie InRelease
  The following signatures were invalid: BADSIG 6ED0E7B82643E131 Debian Archive (12/bookworm)
Reading package lists...
W: GPG error: http://mirror.example/debian trixie InRelease: The following signatures were \
invalid: BADSIG 6ED0E7B82643E131 Debian Archive (12/bookworm)
E: The repository 'http://mirror.example/debian trixie InRelease' is not signed.
"""
UNKNOWN_KEY = """\
W: GPG error: http://mirror.example/debian trixie InRelease: The following signatures couldn't be \
verified because the public key is not available: NO_PUBKEY 6ED0E7B82643E131
E: The repository 'http://mirror.example/debian trixie InRelease' is not signed.
"""
LOGIN_PAGE = """\
  Clearsigned file isn't valid, got 'NOSPLIT' (does the network require authentication?)
E: The repository 'http://mirror.example/debian trixie InRelease' is not signed.
E: Failed to fetch http://mirror.example/debian/dists/trixie/InRelease  Clearsigned file isn't \
valid, got 'NOSPLIT' (does the network require authentication?)
"""
REFUSED = """\
Err:2 http://mirror.example/debian trixie InRelease
  Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)
E: Failed to fetch http://u:secret@mirror.example/debian/dists/trixie/InRelease  Could not connect \
to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)
E: Some index files failed to download. They have been ignored, or old ones used instead.
"""
UNRESOLVED = """\
E: Failed to fetch http://mirror.example/debian/dists/trixie/InRelease  Could not resolve \
'mirror.example'
"""
IN_SYNC = """\
E: Failed to fetch http://mirror.example/debian/dists/trixie/main/binary-amd64/by-hash/SHA256/eea \
Hash Sum mismatch
   Hashes of expected file:
"""
GONE = """\
Err:1 http://mirror.example/debian-security bullseye-security/main amd64 libc6 amd64 2.31-13
  404  Not Found [IP: 127.0.0.1 80]
E: Failed to fetch http://mirror.example/debian-security/pool/updates/main/g/glibc/libc6_2.31-13%2b\
deb11u13_amd64.deb  404  Not Found [IP: 127.0.0.1 80]
E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?
"""
NO_SUITE = """\
E: The repository 'http://mirror.example/debian forky Release' does not have a Release file.
"""
FULL_APT = """\
Reading package lists...
E: Write error - write (28: No space left on device)
E: IO Error saving source cache
"""
FULL_TAR = """\
tar: ./usr/share/man/man1/xargs.1.gz: Cannot write: No space left on device
tar: Exiting with failure status due to previous errors
E: tar --extract failed: 512
"""
FULL_DPKG = """\
dpkg: unrecoverable fatal error, aborting:
 unable to flush /var/lib/dpkg/updates/tmp.i after padding: No space left on device
E: Sub-process env returned an error code (2)
"""
FULL_PACKER = "I: creating tarball...\nusr/lib/x86_64-linux-gnu/libapt-pkg.so.7.0.0: I/O error.\n"


def plan(name: str, archives: dict[str, str], *, allow_expired: bool = False) -> BootstrapPlan:
    entry = catalog.find(name)
    source = bootstrap_source(entry)
    return BootstrapPlan(
        source=source,
        packages=entry.packages,
        architecture="x86_64",
        archives=archives,
        keyring=Path("/var/tmp", source.keyring.name),
        allow_expired=allow_expired,
    )


def test_apt_sources_of_an_image() -> None:
    assert plan("debian-trixie", MIRROR).apt_sources() == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security trixie-security main",
    ]
    assert len(plan("debian-sid", MIRROR).apt_sources()) == 1
    assert plan("debian-trixie", MIRROR).substitutions() == []


def test_substitutions_name_what_the_host_has_no_mirror_of() -> None:
    partly = plan("debian-trixie", {"debian": "http://mirror.example/debian"})
    assert len(partly.apt_sources()) == 2
    assert partly.substitutions() == [
        "without 'trixie-security', since apt of this host has no mirror of it"
    ]
    nothing = plan("debian-trixie", {"debian-security": "http://mirror.example/debian-security"})
    assert nothing.apt_sources() == []
    assert "using mmdebstrap's default" in nothing.substitutions()[0]


def test_argv_as_root() -> None:
    argv = plan("debian-sid", MIRROR, allow_expired=True).argv(TOOLS, WORK, root=True)
    start = argv.index("/usr/bin/mmdebstrap")
    assert argv[:start] == [
        *("setpriv", "--pdeathsig", "KILL", "--", "/usr/bin/unshare"),
        *("--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--mount-proc"),
        *("sh", "-euc", 'mount --bind "$0" /var/tmp; exec "$@"', str(WORK)),
    ]
    assert "--keyring=/var/tmp/debian-archive-keyring.gpg" in argv
    assert "--include=apt,systemd-sysv,dbus,libpam-systemd" in argv
    assert '--aptopt=Acquire::Check-Valid-Until "false"' in argv
    assert argv[-3:-1] == ["sid", "-"]
    assert "99mmdebstrap" not in str(argv)


def test_argv_without_root_maps_the_ids() -> None:
    argv = plan("debian-sid", MIRROR).argv(TOOLS, WORK, root=False)
    start = argv.index("/usr/bin/unshare")
    assert argv[start + 1 : start + 4] == ["--user", "--map-auto", "--map-root-user"]
    assert not any(word.startswith("--aptopt") for word in argv)


def test_pinned_bootstrap_accepts_expired_files_and_leaves_no_trace_of_it() -> None:
    argv = replace(plan("debian-sid", MIRROR), pinned=True).argv(TOOLS, WORK, root=True)
    assert '--aptopt=Acquire::Check-Valid-Until "false"' in argv
    assert '--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap' in argv


def test_mirrors_in_a_record() -> None:
    mirrors = {
        "debian": "http://a:b@mirror.example/debian",
        "elsewhere": "http://other.example",
    }
    assert plan("debian-trixie", mirrors).mirrors() == ("debian=http://***@mirror.example/debian",)
    assert plan("debian-trixie", {"elsewhere": "http://other.example"}).mirrors() == ()


def test_passwords_of_mirrors_stay_out_of_image_and_command_line() -> None:
    base = "http://us%40er:p%2Fw@mirror.example/debian"
    given = plan("debian-trixie", {"debian": base, "debian-security": f"{base}-security"})
    assert given.apt_sources() == plan("debian-trixie", MIRROR).apt_sources()
    assert given.auth_conf().splitlines() == [
        "machine http://mirror.example/debian login us@er password p/w",
        "machine http://mirror.example/debian-security login us@er password p/w",
    ]
    argv = given.argv(TOOLS, WORK, root=True)
    assert "p%2Fw" not in str(argv)
    assert '--setup-hook=install -m 600 /var/tmp/logins "$1"/etc/apt/auth.conf' in argv
    assert '--customize-hook=rm -f "$1"/etc/apt/auth.conf' in argv
    assert "auth.conf" not in str(plan("debian-trixie", MIRROR).argv(TOOLS, WORK, root=True))


def test_apt_sources_of_ubuntu() -> None:
    """A host of Debian has no mirror of it, and mmdebstrap no idea of the newest releases."""
    noble = plan("ubuntu-noble", MIRROR)
    assert noble.apt_sources() == [
        "deb http://archive.ubuntu.com/ubuntu noble main universe",
        "deb http://archive.ubuntu.com/ubuntu noble-updates main universe",
        "deb http://archive.ubuntu.com/ubuntu noble-security main universe",
    ]
    assert noble.substitutions() == [
        "apt of this host has no mirror of it, using http://archive.ubuntu.com/ubuntu"
    ]
    assert noble.mirrors() == ("ubuntu=http://archive.ubuntu.com/ubuntu",)


def test_apt_sources_of_ubuntu_use_the_mirror_of_the_host() -> None:
    here = plan("ubuntu-noble", {"ubuntu": "http://mirror.example/ubuntu"})
    assert all(" http://mirror.example/ubuntu noble" in line for line in here.apt_sources())
    assert here.substitutions() == []


def test_apt_sources_of_ubuntu_use_ports_for_other_architectures() -> None:
    there = replace(
        plan("ubuntu-noble", {"ubuntu": "http://mirror.example/ubuntu"}), architecture="aarch64"
    )
    assert all(" http://ports.ubuntu.com/ubuntu-ports " in line for line in there.apt_sources())
    assert "using http://ports.ubuntu.com/ubuntu-ports" in there.substitutions()[0]


@pytest.mark.parametrize(
    ("architecture", "debian"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("i686", "i386")]
)
def test_argv_names_the_architecture(architecture: str, debian: str) -> None:
    wanted = replace(plan("debian-bookworm", MIRROR), architecture=architecture)
    assert f"--architectures={debian}" in wanted.argv(TOOLS, WORK, root=True)
    assert "--skip=check/qemu" not in wanted.argv(TOOLS, WORK, root=True)
    assert "--skip=check/qemu" in wanted.argv(TOOLS, WORK, root=True, foreign=True)


def test_argv_gives_apt_a_copy_of_the_keyring_and_the_image_its_own() -> None:
    argv = plan("ubuntu-noble", {}).argv(TOOLS, WORK, root=True)
    assert "--keyring=/var/tmp/ubuntu-archive-keyring.gpg" in argv
    assert not any("signed-by" in word for word in argv if word.startswith("deb "))
    hooks = [word for word in argv if word.startswith("--customize-hook=")]
    assert "--keyring /var/tmp/ubuntu-archive-keyring.gpg" in hooks[0]
    assert hooks[-1] == (
        "--customize-hook=sed -i "
        "'s|^deb |deb [signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg] |'"
        ' "$1"/etc/apt/sources.list'
    )
    left_to_mmdebstrap = plan("debian-trixie", {}).argv(TOOLS, WORK, root=True)
    assert not any("sources.list" in word for word in left_to_mmdebstrap)


def test_keyrings_for_prefers_the_keyring_of_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = bootstrap_source(catalog.find("ubuntu-noble"))
    own, shipped = tmp_path / source.keyring.name, tmp_path / "keys"
    source = replace(source, keyring=own)
    monkeypatch.setattr(bootstrap, "KEYS", shipped)
    with pytest.raises(HostError, match="is not on this host") as caught:
        bootstrap.keyrings_for(source)
    assert "'ubuntu-archive-keyring'" in caught.value.hint
    shipped.mkdir()
    (shipped / own.name).touch()
    assert bootstrap.keyrings_for(source) == [shipped / own.name]
    own.touch()
    assert bootstrap.keyrings_for(source) == [own]


def test_keyrings_for_an_archive_include_retired_keys(tmp_path: Path) -> None:
    own, retired = tmp_path / "debian-archive-keyring.gpg", tmp_path / bootstrap.RETIRED
    bullseye = catalog.find("debian-bullseye")
    today = replace(bootstrap_source(bullseye), keyring=own)
    archived = replace(bootstrap_source(bullseye, archived=True), keyring=own)
    own.touch()
    assert bootstrap.keyrings_for(archived) == [own]
    retired.touch()
    assert bootstrap.keyrings_for(archived) == [own, retired]
    assert bootstrap.keyrings_for(today) == [own]


class Bar:
    def __init__(self) -> None:
        self.shares: list[float] = []
        self.said: list[str] = []

    def describe(self, text: str) -> None:
        self.said.append(text)

    def reach(self, done: float, total: float) -> None:
        assert total == 100
        self.shares.append(done)


SAID = """\
I: automatically chosen mode: root
I: running apt-get update...
Get:1 http://mirror.example/debian trixie InRelease [140 kB]
Get:2 http://mirror.example/debian-security trixie-security InRelease [43.4 kB]
I: downloading packages with apt...
0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://mirror.example/debian trixie/main amd64 gcc-14-base amd64 14.2.0-19 [49.4 kB]
Get:2 http://mirror.example/debian trixie/main amd64 libc6 amd64 2.41-12 [2847 kB]
I: extracting archives...
I: installing essential packages...
Unpacking libc6:amd64 (2.41-12) ...
Setting up libc6:amd64 (2.41-12) ...
I: installing remaining packages inside the chroot...
0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.
Get:1 http://mirror.example/debian trixie/main amd64 systemd amd64 257.8-1 [3094 kB]
Unpacking systemd (257.8-1) ...
Setting up systemd (257.8-1) ...
I: running --customize-hook in shell: sh -c 'for file in ...' exec /tmp/mmdebstrap.x
[GNUPG:] NEWSIG
[GNUPG:] VALIDSIG 4CB50190207B4758A3F73A796ED0E7B82643E131 2026-11-19 1795054378 0 4 0 1 8 01 \
B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8
[GNUPG:] BADSIG 0000000000000000 somebody
I: cleaning package lists and apt cache...
I: creating tarball...
I: done
I: removing tempdir /tmp/mmdebstrap.x...
I: success in 16.5398 seconds
"""


def test_output_parser_finds_mirror_keys_and_progress() -> None:
    bar = Bar()
    watch = OutputParser(bar)
    for line in SAID.splitlines():
        watch(line)
    assert watch.url == "http://mirror.example/debian"
    assert watch.fingerprints == {"B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8"}
    assert bar.shares == sorted(bar.shares)
    assert bar.shares[0] == 0
    assert 88 in bar.shares  # all of the remaining package's three steps
    assert bar.shares[-1] >= 97
    assert bar.said[:3] == ["package lists", "download", "unpack"]
    assert bar.said[-2:] == ["pack", "clean up"]


def test_output_parser_keeps_progress_within_its_stage() -> None:
    bar = Bar()
    watch = OutputParser(bar)
    watch("I: downloading packages with apt...")
    watch("0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.")
    for _ in range(50):
        watch("Get:1 http://mirror.example/debian trixie/main amd64 libc6 amd64 2.41 [2847 kB]")
    assert max(bar.shares) == 22


@pytest.mark.parametrize(
    ("output", "said", "evidence"),
    [
        (EXPIRED, "Release file for 'NAME' has expired", "14d 17h 57min 33s"),
        (FUTURE, "is dated in the future", "another 3h"),
        (BAD_SIGNATURE, "has no valid signature", "BADSIG 6ED0E7B82643E131"),
        (UNKNOWN_KEY, "has no valid signature", "NO_PUBKEY 6ED0E7B82643E131"),
        (LOGIN_PAGE, "has no valid signature", "require authentication"),
        (REFUSED, "cannot be reached", "Connection refused"),
        (UNRESOLVED, "cannot be reached", "Could not resolve 'mirror.example'"),
        (IN_SYNC, "do not match its Release file", "Hash Sum mismatch"),
        (GONE, "no longer has the packages of 'NAME' that it lists", "glibc/libc6_2.31"),
        (NO_SUITE, "the mirror has no suite for 'NAME'", "forky Release"),
    ],
)
def test_causes_of_failed_bootstraps(output: str, said: str, evidence: str) -> None:
    error = failure("NAME", output + UPDATE_FAILED)
    assert said in error.message
    assert evidence in error.evidence
    assert error.hint
    assert "secret" not in error.evidence
    assert "mmdebstrap failed to run" not in error.evidence


def test_cause_of_an_expired_release_file_hints_at_allow_expired() -> None:
    assert (
        "`postroj pull --force --allow-expired debian-sid`" in failure("debian-sid", EXPIRED).hint
    )


@pytest.mark.parametrize("output", [FULL_APT, FULL_TAR, FULL_DPKG, FULL_PACKER])
def test_cause_of_a_full_disk(output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path))
    error = failure("NAME", output + UPDATE_FAILED)
    assert error.message == f"no space is left in the cache directory '{tmp_path}'"
    assert " MB are free" in error.evidence
    assert "`postroj remove NAME`" in error.hint
    assert "POSTROJ_CACHE_DIR" in error.hint


def test_unknown_failure_shows_the_last_lines() -> None:
    output = "\n".join(["E: first"] + [f"line {number}" for number in range(40)])
    error = failure("NAME", output)
    assert error.message == "the image 'NAME' could not be bootstrapped"
    assert error.evidence.splitlines()[-1] == "line 39"
    assert len(error.evidence.splitlines()) == 20


def test_lock_file_alone_does_not_allow_expired_release_files(tmp_path: Path) -> None:
    record = put("debian-sid", **SIGNED, allow_expired=True)
    sid = catalog.find("debian-sid")
    source, wanted = bootstrap_source(sid), order(sid, tmp_path, pinned=record)
    with pytest.raises(UsageError, match="accepts expired Release files") as caught:
        bootstrap.allows_expired(source, wanted)
    assert caught.value.hint == "`postroj pull --allow-expired debian-sid` allows that"
    assert bootstrap.allows_expired(source, replace(wanted, allow_expired=True))
    pinned = replace(record, allow_expired=False)
    allowed = replace(wanted, pinned=pinned, allow_expired=True)
    assert not bootstrap.allows_expired(source, allowed)
    archive = replace(source, mirrors={"debian": "http://snapshot.example/debian"})
    assert bootstrap.allows_expired(archive, wanted)
