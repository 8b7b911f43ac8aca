"""Images are built for real, interrupted, replaced while in use, and looked into."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from postroj import locking
from postroj.errors import DownloadError, HostError, ImageError, VerificationError
from postroj.image import architectures
from postroj.image.catalog import catalog
from postroj.image.catalog.entry import Bootstrap, Suite
from postroj.image.sources import bootstrap, mirror
from postroj.image.store import store
from postroj.image.store.record import images_dir
from tests.support.cli import eventually, postroj, start
from tests.support.images import bootstrap_source, entry, order

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

NAME = "debian-bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def outcome(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    """Wait for a process of ours; its status, stdout and stderr."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out.decode(), err.decode()


def begin(*argv: str, cache: Path) -> subprocess.Popen[bytes]:
    env = os.environ | {"POSTROJ_CACHE_DIR": str(cache)}
    return start(*argv, env=env, stderr=subprocess.PIPE)


def cached(cache: Path) -> list[str]:
    env = os.environ | {"POSTROJ_CACHE_DIR": str(cache)}
    done = postroj("list-images", "--cached", "--json", env=env)
    assert done.returncode == 0, done.stderr
    return [image["name"] for image in json.loads(done.stdout)]


def remains(cache: Path) -> list[str]:
    """What of a pull into this cache is on the host: processes, mounts, half-made files."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [f"mount {line}" for line in mounts if str(cache) in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            said = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if int(process.name) != os.getpid() and f"{cache}/partial/".encode() in said:
            found.append(f"process {process.name}")
    partial_files = (path.name for path in (cache / "partial").iterdir())
    found += [f"file {name}" for name in partial_files if name != ".lock"]
    known = {record.path.name for record in store.records()}
    return found + [
        f"file {path}" for path in cache.glob("images/*.squashfs") if path.name not in known
    ]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of a test's own, in a folder that only root can enter."""
    path = tmp_path / "cache"
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(path))
    return path


@pytest.fixture(scope="session")
def twice(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> tuple[Path, list[tuple[int, str, str]]]:
    """A cache into which two processes pulled one image at once, and what they said.

    All workers share it.
    """
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    path, said = base / "twice", base / "twice.json"
    with locking.exclusive(base / "twice.lock"):
        if not said.exists():
            pulls = [begin("pull", NAME, cache=path) for _ in range(2)]
            said.write_text(json.dumps([outcome(process) for process in pulls]))
    return path, [tuple(told) for told in json.loads(said.read_text())]


class TestOneImage:
    """What is asked of one image that two processes pulled at once."""

    @pytest.fixture(autouse=True)
    def shared_cache(self, twice: tuple[Path, object], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("POSTROJ_CACHE_DIR", str(twice[0]))

    def test_two_pulls_at_once_build_once(
        self, twice: tuple[Path, list[tuple[int, str, str]]]
    ) -> None:
        _, outcomes = twice
        assert [status for status, _, _ in outcomes] == [0, 0], outcomes
        told = sorted((out, err) for _, out, err in outcomes)
        assert told[0][0].startswith(f"{NAME}: cached already, ")
        assert f"{NAME}: waiting for another `postroj pull`" in told[0][1]
        assert told[1][0].startswith(f"{NAME}: pulled in ")
        assert "waiting" not in told[1][1]

    def test_two_pulls_leave_nothing_but_the_image(self, twice: tuple[Path, object]) -> None:
        assert remains(twice[0]) == []
        assert len(list(twice[0].glob("images/*"))) == 2

    def test_record_of_a_bootstrap_names_mirror_key_and_digest(self) -> None:
        (record,) = store.records()
        done = subprocess.run(
            ["sha256sum", record.path], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith(record.sha256)
        assert record.size == record.path.stat().st_size
        assert record.path.stat().st_mode & 0o777 == 0o644
        assert (record.build, record.compression) == ("bookworm", "lz4")
        assert not record.allow_expired
        assert re.match("https?://", record.url)

    def test_record_names_the_keys_of_the_distribution(self) -> None:
        (record,) = store.records()
        shown = subprocess.run(
            ["gpg", "--show-keys", "--with-colons", KEYRING],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert record.fingerprints
        assert all(f":{fingerprint}:" in shown for fingerprint in record.fingerprints)

    def test_image_has_no_identity_of_the_host(self, twice: tuple[Path, object]) -> None:
        content = listing()
        for gone in ("etc/hostname", "etc/resolv.conf", "etc/hosts", "var/lib/dbus/machine-id"):
            assert gone not in content
        for gone in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/apt/auth.conf", "etc/apt/proxy.conf"):
            assert gone not in content
        assert content["etc/machine-id"] == "file"
        assert read("etc/machine-id") == b""
        assert files_below(content, "var/lib/apt/lists") == ["lock"]
        assert files_below(content, "var/cache/apt") == ["archives/lock"]
        assert files_below(content, "var/cache/ldconfig") == []
        for folder in ("tmp", "var/tmp", "run", "home", "boot", "root/.ssh", "var/log/apt"):
            assert files_below(content, folder) == []
        for log in files_below(content, "var/log"):
            assert read(f"var/log/{log}") == b"", log

    def test_image_has_no_path_of_the_host(
        self, twice: tuple[Path, object], tmp_path: Path
    ) -> None:
        words = f"mmdebstrap|{re.escape(str(twice[0]))}"
        script = 'mount -o loop,ro "$1" "$2" && cd "$2" && grep -rlE "$3" etc var root'
        argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(image_path()), str(tmp_path)]
        done = subprocess.run([*argv, words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", "")

    def test_image_has_apt_sources_that_hold_in_a_guest(self) -> None:
        content = listing()
        lines = read("etc/apt/sources.list").decode().split("\n\n")
        source = bootstrap_source(catalog.find(NAME))
        assert [line.split()[-2] for line in lines] == [suite.name for suite in source.suites]
        for line in lines:
            for keyring in re.findall(r"signed-by=([^\] ]+)", line):
                assert content[keyring.lstrip("/")] == "file"

    def test_image_has_what_it_takes_to_boot(self) -> None:
        content = listing()
        assert "usr/sbin/init" in content
        assert content["usr/bin/dbus-daemon"] == "file"
        assert any(path.endswith("security/pam_systemd.so") for path in content)


def test_pull_force_replaces_an_image_while_guests_run_on(
    twice: tuple[Path, object], cache: Path
) -> None:
    shutil.copytree(twice[0], cache)
    (old,) = store.records()
    inode = old.path.stat().st_ino
    with store.use(old.as_image()):
        process = begin("pull", "--force", NAME, cache=cache)
        while process.poll() is None:
            assert store.find(NAME, old.architecture), "there was a moment without the image"
            time.sleep(0.02)
        assert outcome(process)[0] == 0
        (new,) = store.records()
        assert new.path != old.path
        assert old.path.stat().st_ino == inode
        with store.use(new.as_image()):
            done = postroj("remove", NAME)
            assert done.returncode == 4
            assert "is in use by a guest" in done.stderr
    # nobody holds it any more, so the next command collects it
    assert postroj("pull", NAME).returncode == 0
    assert store.records() == [new]
    assert not old.path.exists()
    assert remains(cache) == []


def test_lock_file_makes_an_image_again_bit_by_bit(
    twice: tuple[Path, object], cache: Path, tmp_path: Path
) -> None:
    """Later, below another folder that apt's user cannot enter, and with another umask."""
    lock = tmp_path / "postroj.lock"
    assert outcome(begin("lock", "--file", str(lock), cache=twice[0]))[0] == 0
    assert 'source = "bootstrap"' in lock.read_text()
    assert re.search(r"^epoch = \d+$", lock.read_text(), re.MULTILINE)
    env = os.environ | {"POSTROJ_CACHE_DIR": str(cache), "POSTROJ_LOCK": str(lock)}
    process = start("pull", NAME, env=env, stderr=subprocess.PIPE, umask=0o077)
    status, _, err = outcome(process)
    assert status == 0, err
    (again,) = store.records()
    assert outcome(begin("lock", "--check", "--file", str(lock), cache=cache))[0] == 0
    (first,) = (twice[0] / "images").glob("*.squashfs")
    assert again.path.name == first.name
    assert again.path.read_bytes() == first.read_bytes()
    assert not again.allow_expired


def image_path() -> Path:
    (record,) = store.records()
    return record.path


def listing() -> dict[str, str]:
    """Path and type of all that is in the image."""
    done = subprocess.run(
        ["rdsquashfs", "--describe", image_path()], capture_output=True, text=True, check=True
    )
    found = {}
    for line in done.stdout.splitlines():
        match = re.match(r'(\w+) ("(?:[^"\\]|\\.)*"|\S+) ', line)
        assert match, line
        found[match[2].strip('"').lstrip("/")] = match[1]
    assert len(found) > 5000
    return found


def read(path: str) -> bytes:
    argv = ["rdsquashfs", "--cat", path, str(image_path())]
    return subprocess.run(argv, capture_output=True, check=True).stdout


def files_below(content: dict[str, str], folder: str) -> list[str]:
    return [
        path.removeprefix(f"{folder}/")
        for path, kind in content.items()
        if path.startswith(f"{folder}/") and kind == "file"
    ]


MOMENTS = {
    "at the claim": "partial/pull-*",
    "while lists come": "partial/pull-*/*/mmdebstrap.*/var/lib/apt/lists/partial",
    "while packages are unpacked": "partial/pull-*/*/mmdebstrap.*/usr/bin/perl",
    "while packages are set up": "partial/pull-*/*/mmdebstrap.*/var/lib/dpkg/info/dpkg.list",
}


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("at the claim", signal.SIGKILL),
        ("while lists come", signal.SIGINT),
        ("while packages are unpacked", signal.SIGKILL),
        ("while packages are set up", signal.SIGTERM),
    ],
)
def test_pull_that_is_interrupted_leaves_nothing(
    moment: str, number: signal.Signals, cache: Path
) -> None:
    process = begin("pull", NAME, cache=cache)
    assert eventually(lambda: list(cache.glob(MOMENTS[moment])), 60)
    process.send_signal(number)
    status, out, err = outcome(process)
    assert out == ""
    assert "Traceback" not in err
    assert status == (-9 if number == signal.SIGKILL else 128 + number)
    assert cached(cache) == []
    assert eventually(lambda: not remains(cache)), remains(cache)


def test_pull_that_is_killed_at_its_last_moment_leaves_nothing(cache: Path) -> None:
    """The file is complete and has its name, its record is not there yet."""
    store.prepare()
    with ExitStack() as stack:
        directory = stack.enter_context(store.building(NAME, architectures.of_this_host()))
        (directory / "image.squashfs").write_bytes(b"hsqs")
        (directory / "image.squashfs").rename(
            images_dir() / f"{NAME}-{architectures.of_this_host()}.0123456789abcdef.squashfs"
        )
    assert cached(cache) == []
    assert store.collect() == 4
    assert remains(cache) == []


@pytest.mark.parametrize("megabytes", [120, 230])
def test_pull_on_a_full_disk_says_so(megabytes: int, cache: Path) -> None:
    cache.mkdir()
    script = f'mount -t tmpfs -o size={megabytes}m none {cache} && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-ec", script, "sh", *postroj_argv("pull", NAME)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 4
    _, error, *evidence = done.stderr.splitlines()
    assert error == f"error: no space is left in the cache directory '{cache}'"
    assert "No space left on device" in done.stderr
    assert re.search(r"^  \| \d+ MB are free", done.stderr, re.MULTILINE)
    assert evidence[-1].startswith("hint: `postroj remove NAME` deletes images, POSTROJ_CACHE_DIR")


def postroj_argv(*argv: str) -> list[str]:
    from tests.support.cli import POSTROJ

    return [*POSTROJ, *argv]


LOGIN = base64.b64encode(b"user:s/cret").decode()


class Archive:
    """A tiny signed archive, empty of packages, that real apt reads over HTTP."""

    RELEASE = """\
Origin: Debian
Label: Debian
Suite: bookworm
Codename: bookworm
Date: {date}
Valid-Until: {until}
Architectures: {arch}
Components: main
SHA256:
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 main/binary-{arch}/Packages
"""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.keyring = root / "keyring.gpg"
        self.home = root / "gnupg"
        self.home.mkdir(mode=0o700)
        self.gpg("--quick-gen-key", "--passphrase", "", "archive@mirror.example", "ed25519")
        self.gpg("--output", str(self.keyring), "--export")
        self.suite = root / "debian/dists/bookworm"
        self.architecture = subprocess.run(
            ["dpkg", "--print-architecture"], capture_output=True, text=True, check=True
        ).stdout.strip()
        packages = self.suite / f"main/binary-{self.architecture}/Packages"
        packages.parent.mkdir(parents=True)
        packages.touch()

    def gpg(self, *argv: str) -> None:
        options = ["--homedir", str(self.home), "--batch", "--quiet", "--pinentry-mode", "loopback"]
        subprocess.run(["gpg", *options, *argv], capture_output=True, check=True)

    def release(self, *, until: float, change: tuple[str, str] = ("", "")) -> None:
        """Sign a Release file that is valid for so many seconds, then change it."""

        def stamp(offset: float) -> str:
            return time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime(time.time() + offset))

        text = self.RELEASE.format(
            date=stamp(-7 * 86400), until=stamp(until), arch=self.architecture
        )
        draft, signed = self.suite / "Release.draft", self.suite / "InRelease"
        draft.write_text(text)
        signed.unlink(missing_ok=True)
        self.gpg("--output", str(signed), "--clear-sign", str(draft))
        signed.write_text(signed.read_text().replace(*change))

    def source(self) -> Bootstrap:
        return Bootstrap(
            suites=(Suite(archive="debian", name="bookworm"),),
            keyring=self.keyring,
            keyring_package="test-keyring",
        )


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    with tempfile.TemporaryDirectory(prefix="archive-") as folder:
        root = Path(folder)
        root.chmod(0o755)  # apt's own user reads the keyring
        archive = Archive(root)
        yield archive
        subprocess.run(["gpgconf", "--homedir", archive.home, "--kill", "all"], check=False)


@pytest.fixture
def served(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """The archive as the mirror of this host, which wants a password."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.headers["Authorization"] == f"Basic {LOGIN}":
                super().do_GET()
            else:
                self.send_error(401)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=archive.root))
    uri = f"http://user:s%2Fcret@127.0.0.1:{server.server_port}/debian"
    monkeypatch.setattr(mirror, "archives", lambda _: {"debian": uri})
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield archive
    server.shutdown()
    thread.join()
    server.server_close()


def build(
    archive: Archive, *, allow_expired: bool = False, mirrors: dict[str, str] | None = None
) -> None:
    store.prepare()
    with store.building("tiny", "any") as directory:
        source = replace(archive.source(), mirrors=mirrors or {})
        tiny = entry("tiny", source, packages=("systemd-sysv",))
        bootstrap.build(source, order(tiny, directory, allow_expired=allow_expired))


@pytest.mark.usefixtures("cache")
class TestMirrors:
    """What a mirror can have wrong, as real apt sees it."""

    def test_pull_refuses_an_expired_release_file(self, served: Archive) -> None:
        served.release(until=-3600)
        with pytest.raises(DownloadError, match="Release file for 'tiny' has expired") as caught:
            build(served)
        assert "is expired (invalid since " in caught.value.evidence
        assert "`postroj pull --force --allow-expired tiny`" in caught.value.hint

    def test_allow_expired_accepts_an_expired_release_file(self, served: Archive) -> None:
        served.release(until=-3600)
        # what is missing now is a package, since the archive has none
        with pytest.raises(ImageError, match="'tiny' could not be bootstrapped"):
            build(served, allow_expired=True)

    def test_archive_of_a_release_may_have_expired_but_must_be_signed(
        self, served: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mirrors = mirror.archives([])
        monkeypatch.setattr(mirror, "archives", lambda _: {"debian": "http://127.0.0.1:9/debian"})
        served.release(until=-3600)
        with pytest.raises(ImageError, match="'tiny' could not be bootstrapped"):
            build(served, mirrors=mirrors)  # what is missing is a package, as above
        served.release(until=-3600, change=("Label: Debian", "Label: Debjan"))
        with pytest.raises(VerificationError, match="has no valid signature"):
            build(served, mirrors=mirrors)

    def test_pull_refuses_a_release_file_that_was_changed(self, served: Archive) -> None:
        served.release(until=3600, change=("Label: Debian", "Label: Debjan"))
        with pytest.raises(VerificationError, match="has no valid signature") as caught:
            build(served)
        assert "BADSIG" in caught.value.evidence

    def test_pull_refuses_the_key_of_somebody_else(
        self, served: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        served.release(until=3600)
        monkeypatch.setattr(served, "keyring", Path(KEYRING))
        with pytest.raises(VerificationError, match="has no valid signature") as caught:
            build(served)
        assert "NO_PUBKEY" in caught.value.evidence

    def test_pull_explains_a_mirror_without_the_suite(self, served: Archive) -> None:
        (served.suite / "InRelease").unlink(missing_ok=True)
        with pytest.raises(DownloadError, match="the mirror has no suite for 'tiny'"):
            build(served)

    def test_pull_explains_a_mirror_that_does_not_answer(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mirror, "archives", lambda _: {"debian": "http://127.0.0.1:9/debian"})
        with pytest.raises(
            DownloadError, match="the mirror for 'tiny' cannot be reached"
        ) as caught:
            build(archive)
        assert "127.0.0.1" in caught.value.evidence

    def test_pull_gives_up_on_a_mirror_that_is_too_slow(
        self, served: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bootstrap, "LONGEST", 0.3)
        with pytest.raises(DownloadError, match="the mirror for 'tiny' is too slow"):
            build(served)

    def test_pull_explains_a_missing_keyring(
        self, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(archive, "keyring", Path("/nowhere.gpg"))
        with pytest.raises(HostError, match=r"the keyring '/nowhere\.gpg' is not on") as caught:
            build(archive)
        assert "'test-keyring'" in caught.value.hint


def test_mirrors_and_proxies_of_apt_of_this_host_are_usable_in_a_guest() -> None:
    """Whatever it says, it must be of use in a guest."""
    for archive, uri in mirror.archives(mirror.ARCHIVES.values()).items():
        assert archive in mirror.ARCHIVES.values()
        assert re.match(r"https?://\S+[^/]$", uri)
    assert all(name.endswith("_proxy") for name in mirror.proxies())
