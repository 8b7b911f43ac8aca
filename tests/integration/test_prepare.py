"""Preparation: real package managers, what keeps images from booting, layers, and failures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj import locking, prepare
from postroj.container import layer
from postroj.container.spec import GuestSpec
from postroj.container.start import StartedGuest, start_guest
from postroj.errors import GuestError, ImageError
from postroj.image import architectures
from postroj.image.store import store
from postroj.image.store.record import Provenance, record_path
from postroj.image.unpack import pack
from postroj.model import Manager, NetworkMode, SourceKind, Verification
from tests.support import toolbox
from tests.support.cli import POSTROJ, all_argv, eventually, postroj, start
from tests.support.tars import tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postroj.image.store.record import Record
    from postroj.model import Image

    Once = Callable[[str, Callable[[Path], object]], Path]

pytestmark = pytest.mark.integration
SUPPORT = Path(__file__).parents[1] / "support"
STATE = ("sh", "-c", "systemctl is-system-running --wait")
SOMEBODY = 65534
DEBCONF = {"DEBIAN_FRONTEND": "noninteractive"}


@contextmanager
def unbooted(*layers: Path, network: NetworkMode = NetworkMode.NONE) -> Iterator[StartedGuest]:
    with start_guest(GuestSpec(layers=layers, boot=False, network=network)) as guest:
        yield guest


def do(guest: StartedGuest, script: str) -> str:
    """Run a script in a guest; what it says."""
    return guest.run(["/bin/sh", "-eu"], stdin=script.encode(), env=DEBCONF, timeout=300).text


def save(guest: StartedGuest, target: Path) -> None:
    """Keep what a guest has written as a layer; the guest is over."""
    pack.squash_output(guest.layer_argv(), target)


@pytest.fixture(scope="module")
def base(image: str) -> Iterator[Image]:
    with prepare.obtain(image) as stored:
        yield stored


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make a file once for all workers of this run."""
    folder = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        folder = folder.parent

    def ensure(name: str, make: Callable[[Path], object]) -> Path:
        file, part = folder / name, folder / f"part-{name}"
        with locking.exclusive(folder / f"{name}.lock"):
            if not file.exists():
                make(part)
                part.rename(file)
        return file

    return ensure


@pytest.fixture(scope="module")
def managers(base: Image) -> Iterator[Path]:
    """A layer with the package managers of other distributions."""
    with ExitStack() as stack:
        yield toolbox.set_up(base, stack, (SUPPORT / "managers.sh").read_text())[-1]


BARE = """
dpkg-query -f '${Package} ' -W 'dbus*' 'systemd*' libpam-systemd |
    xargs dpkg --purge --force-all >/dev/null
"""


@pytest.fixture(scope="module")
def bare(base: Image, once: Once) -> Path:
    """The tar of a Debian without systemd."""

    def make(target: Path) -> None:
        with unbooted(*base.layers) as guest:
            do(guest, BARE)
            guest.layer_argv()  # ends it
            root = guest.upper.parent / "root"
            with target.open("wb") as stream:
                subprocess.run(
                    pack.tar_argv(str(root)),
                    stdout=stream,
                    stderr=subprocess.DEVNULL,  # squashfs files without xattrs are complained about
                    check=True,
                )

    return once("bare.tar", make)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    store.prepare()
    return tmp_path / "cache"


def unprepared(name: str, *layers: Path, manager: Manager | None = Manager.APT) -> Record:
    """Put an image that nobody has prepared into the store."""
    origin = Provenance(
        source=SourceKind.IMPORT,
        url="/nowhere",
        build="",
        artifact="",
        compression="lz4",
        verification=Verification.NONE,
    )
    with store.building(name, architectures.of_this_host()) as directory:
        files = [
            Path(shutil.copyfile(path, directory / f"layer{number}"))
            for number, path in enumerate(layers)
        ]
        record = store.add(name, architectures.of_this_host(), manager, files[0], origin)
        for file in files[1:]:
            record = store.extend(record, file, (), directory)
    record = replace(record, prepared=None)
    record_path(name, record.architecture).write_text(record.to_json())
    return record


def squash(target: Path, content: bytes) -> Path:
    argv = ["tar2sqfs", "-q", "-c", "lz4", str(target)]
    subprocess.run(argv, input=content, check=True, stderr=subprocess.DEVNULL)
    return target


# What real package managers make of the script


WITHOUT_SYSTEMD = "rm /usr/lib/systemd/systemd\n"
REPOSITORY = "mkdir -p {0} && cp /srv/local.repo {0}\n"
CACHES = "find /var/cache/dnf /var/cache/zypp /var/lib/pacman/sync /var/cache/pacman -type f"
DNF = REPOSITORY.format("/etc/yum.repos.d")
ZYPPER = f"""
{REPOSITORY.format("/etc/zypp/repos.d")}
printf '[main]\\nrpm.install.excludedocs = yes\\n' >/etc/zypp/zypp.conf
"""
GONE = """
sed 's,^baseurl=.*,baseurl=http://127.0.0.1:1/,; s/local/gone/' /srv/local.repo \
    >/etc/zypp/repos.d/gone.repo
"""
PACMAN = """
mkdir -p /etc/pacman.d
sed -i '/^.options/a NoExtract = usr/share/doc/*' /etc/pacman.conf
printf '[core]\\nSigLevel = Required DatabaseOptional\\nInclude = /etc/pacman.d/mirrorlist\\n' \
    >>/etc/pacman.conf
printf '#Server = file:///srv/pacman\\n#Server = file:///nowhere\\n' >/etc/pacman.d/mirrorlist
"""
SMALL = "files of packages that are left out to be small"


@pytest.mark.parametrize(
    ("manager", "setup", "packages", "did", "installed"),
    [
        pytest.param(
            Manager.DNF,
            DNF + "echo tsflags=nodocs >>/etc/dnf/dnf.conf\n",
            ("systemd", "dbus"),
            [f"commented out in /etc/dnf/dnf.conf: {SMALL}"],
            ["dbus-1-1.noarch", "systemd-1-1.noarch"],
            id="dnf",
        ),
        # EL 8 and later have dnf by this name, too; the real yum is not in Debian
        pytest.param(
            Manager.DNF,
            DNF + "mv /usr/bin/dnf /usr/bin/yum; echo tsflags=nodocs >>/etc/dnf/dnf.conf\n",
            ("systemd", "dbus"),
            [f"commented out in /etc/dnf/dnf.conf: {SMALL}"],
            ["dbus-1-1.noarch", "systemd-1-1.noarch", "unwanted-1-1.noarch"],
            id="yum",
        ),
        pytest.param(
            Manager.ZYPPER,
            ZYPPER + GONE,
            ("systemd", "dbus"),
            [f"commented out in /etc/zypp/zypp.conf: {SMALL}"],
            ["dbus-1-1.noarch", "systemd-1-1.noarch"],
            id="zypper, one repository is out of reach",
        ),
        pytest.param(
            Manager.ZYPPER,
            ZYPPER,
            ("systemd", "dbus-1"),
            [f"commented out in /etc/zypp/zypp.conf: {SMALL}"],
            ["dbus-1-1-1.noarch", "systemd-1-1.noarch"],
            id="zypper, a scriptlet fails",
        ),
        pytest.param(
            Manager.PACMAN,
            PACMAN,
            ("systemd",),
            [
                f"commented out in /etc/pacman.conf: {SMALL}",
                "set DisableSandbox in /etc/pacman.conf",
                "made the keyring of pacman",
                "chose the first mirror of pacman",
            ],
            ["systemd 1-1"],
            id="pacman",
        ),
    ],
)
def test_prepare_installs_systemd_with_each_package_manager(
    manager: Manager,
    setup: str,
    packages: tuple[str, ...],
    did: list[str],
    installed: list[str],
    base: Image,
    managers: Path,
) -> None:
    listing = "pacman -Q 2>/dev/null" if manager is Manager.PACMAN else "rpm -qa | grep -v ^gpg"
    brought = "cat /usr/lib/systemd/systemd /usr/share/doc/systemd/NEWS"
    state = f"{listing}; find /etc -type f -exec md5sum {{}} + | sort"
    with unbooted(*base.layers, managers) as guest:
        do(guest, WITHOUT_SYSTEMD + setup)
        done = f"did: installed {' '.join(packages)}"
        led = "did: led the package manager to where its release is now"
        said = do(guest, prepare.script(manager, packages, ("echo said by a command",)))
        assert said.splitlines() == [*(f"did: {line}" for line in did), led, done]
        assert sorted(do(guest, listing).splitlines()) == installed
        assert do(guest, brought).split() == ["brought", "brought"]
        cached = do(guest, f"{CACHES} 2>/dev/null || true").splitlines()
        assert not [path for path in cached if path.endswith((".rpm", ".zst", ".solv", ".db"))]
        before = do(guest, state)
        assert do(guest, prepare.script(manager, packages, ())) == done
        assert do(guest, prepare.script(manager, (), ())) == ""
        assert do(guest, state) == before


def test_prepare_fails_if_the_manager_installs_no_systemd(base: Image, managers: Path) -> None:
    """As dnf does, which goes on without a repository that it cannot reach."""
    with unbooted(*base.layers, managers) as guest:
        do(guest, WITHOUT_SYSTEMD + DNF)
        script = prepare.script(Manager.DNF, ("dbus",), ())
        done = guest.run(["/bin/sh", "-s"], stdin=script.encode(), ok=(1,))
    assert b"systemd is not installed" in done.stderr
    assert "installed" not in done.text


# A Debian without systemd, as images of registries are


@contextmanager
def folder_of_somebody() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="s-") as name:
        os.chown(name, SOMEBODY, SOMEBODY)
        yield Path(name)


def test_prepare_of_an_image_that_a_user_imported_is_done_once_by_root(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody = ("setpriv", f"--reuid={SOMEBODY}", f"--regid={SOMEBODY}", "--clear-groups")
    reading = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    with folder_of_somebody() as cache:
        monkeypatch.setenv("POSTROJ_CACHE_DIR", str(cache))
        theirs = shutil.copyfile(bare, cache / "bare.tar")
        argv = [*somebody, *reading, *POSTROJ, "import", "bare", str(theirs)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "import bare ...\n"), done.stderr
        before = store.require("bare", architectures.of_this_host())
        assert (before.manager, before.prepared, before.layers) == ("apt", None, ())

        both = [start("run", "--image", "bare", "--", *STATE) for _ in range(2)]
        assert [child.communicate()[0] for child in both] == [b"running\n"] * 2
        record = store.require("bare", architectures.of_this_host())
        assert record.prepared == ("installed systemd-sysv dbus libpam-systemd",)
        assert (record.sha256, record.path) == (before.sha256, before.path)
        assert len(record.paths) == len(list(cache.glob("images/*.squashfs"))) == 2
        assert 0 < record.layers[0].size < record.size / 2
        listed = json.loads(record_path("bare", record.architecture).read_text())
        assert listed["prepared"] == ["installed systemd-sysv dbus libpam-systemd"]
        # what made the guest of the preparation an individual is not in the layer
        argv = ["rdsquashfs", "--list", "etc", str(record.paths[1])]
        names = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        assert "systemd" in names
        assert not [name for name in layer.SEEDED if f" {name}\n" in names]

        store.remove("bare", record.architecture)
        assert not list((cache / "images").iterdir())


# What keeps images from booting


NASTY = r"""
systemctl enable ssh.service systemd-networkd.service
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
for unit in systemd-logind.service systemd-udevd.service getty.target console-getty.service \
    systemd-networkd.service systemd-resolved.service systemd-tmpfiles-setup.service tmp.mount; do
    ln -sf /dev/null /etc/systemd/system/$unit
done
ln -s /dev/null /etc/systemd/system/systemd-firstboot.service

waits() { # UNIT [LINE]: one that the boot waits for
    printf '[Unit]\nBefore=multi-user.target\n%s\n[Service]\nType=oneshot\nExecStart=sleep 1000\n' \
        "${2-}" >/usr/lib/systemd/system/$1
    ln -s /usr/lib/systemd/system/$1 /etc/systemd/system/multi-user.target.wants/
}
waits NetworkManager-wait-online.service
waits snapd.seeded.service
waits systemd-homed-firstboot.service ConditionFirstBoot=yes
mkdir -p /etc/cloud /usr/lib/systemd/system-generators
waits cloud-init.service
rm /etc/systemd/system/multi-user.target.wants/cloud-init.service
cat >/usr/lib/systemd/system-generators/cloud-init-generator <<'SH'
#!/bin/sh
[ -e /etc/cloud/cloud-init.disabled ] && exit
mkdir -p $1/multi-user.target.wants
ln -s /usr/lib/systemd/system/cloud-init.service $1/multi-user.target.wants/
SH
chmod 755 /usr/lib/systemd/system-generators/cloud-init-generator

printf 'LABEL=cloudimg-rootfs\t/\t ext4\tdiscard,errors=remount-ro\t0 1\n' >/etc/fstab
cat >>/etc/fstab <<'FSTAB'
LABEL=UEFI /boot/efi vfat umask=0077 0 1
# a comment
/swap.img none swap sw 0 0
host:/x /mnt nfs defaults 0 0
tmpfs /media tmpfs defaults 0 0
FSTAB
rm /etc/ssh/ssh_host_*
echo 'path-exclude=/usr/share/man/*' >/etc/dpkg/dpkg.cfg.d/docker
echo uninitialized >/etc/machine-id
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
printf '[Match]\nName=*\n[Network]\nDHCP=yes\n' >/etc/systemd/network/eth0.network
"""

MENDED = (
    "removed /usr/sbin/policy-rc.d",
    "unmasked console-getty.service",
    "unmasked getty.target",
    "unmasked systemd-logind.service",
    "unmasked systemd-networkd.service",
    "unmasked systemd-resolved.service",
    "unmasked systemd-tmpfiles-setup.service",
    "unmasked systemd-udevd.service",
    "unmasked tmp.mount",
    "masked NetworkManager-wait-online.service",
    "masked snapd.seeded.service",
    "disabled cloud-init",
    "commented out in /etc/fstab: disks and servers that a guest does not have",
    "made the host keys of ssh",
    f"commented out in /etc/dpkg/dpkg.cfg.d/docker: {SMALL}",
)


def test_prepare_makes_a_nasty_image_boot(
    base: Image, managers: Path, cache: Path, tmp_path: Path
) -> None:
    """All traps at once; without its preparation it does not become ready."""
    nasty = tmp_path / "nasty.squashfs"
    with unbooted(*base.layers, managers) as guest:
        do(guest, NASTY)
        pack.squash_output(
            [word for word in guest.layer_argv() if "--exclude" not in word],
            nasty,
        )
    record = unprepared("nasty", *base.layers, managers, nasty)
    spec = GuestSpec(layers=record.paths, boot_timeout=8)
    with pytest.raises(GuestError, match="not ready") as caught, start_guest(spec):
        pass
    assert "cloud-init.service" in caught.value.evidence

    with prepare.obtain("nasty") as image, start_guest(GuestSpec(layers=image.layers)) as guest:
        look = "systemctl is-active ssh.service; cat /etc/fstab; getent ahosts localhost"
        said = do(guest, look).splitlines()
        seen = do(guest, "cat /etc/machine-id; readlink /etc/resolv.conf || echo file").split()
        assert (guest.state, guest.failed_units()) == ("running", [])
    assert said[:7] == [
        "active",
        "# LABEL=cloudimg-rootfs\t/\t ext4\tdiscard,errors=remount-ro\t0 1",
        "# LABEL=UEFI /boot/efi vfat umask=0077 0 1",
        "# a comment",
        "# /swap.img none swap sw 0 0",
        "# host:/x /mnt nfs defaults 0 0",
        "tmpfs /media tmpfs defaults 0 0",
    ]
    assert (len(seen[0]), seen[1]) == (32, "file")
    assert sorted(store.require("nasty", architectures.of_this_host()).prepared or ()) == sorted(
        MENDED
    )


# The layer: what a guest has written, exactly


WRITE = r"""
import os, shutil, socket, struct
os.umask(0)
doc = "/usr/share/doc"
os.makedirs("/srv/it/folder")
os.chdir("/srv/it")
def make(name, mode=0o644, owner=(0, 0), content="x"):
    with open(name, "w") as stream:
        stream.write(content)
    os.chown(name, *owner)
    os.chmod(name, mode)
make("setuid", 0o4755)
make("setgid", 0o2711, (1000, 70000))
make("capable", 0o755)
os.setxattr("capable", "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
make("attributes")
os.setxattr("attributes", "user.some", b"with \0 in it")
os.setxattr("folder", "trusted.some", b"of root")
make("linked")
os.link("linked", "folder/also linked")
make("l" * 255)
os.makedirs("/".join(["d" * 200] * 6))
make("/".join(["d" * 200] * 6 + ["deep"]))
make("line\nbreak \xe4 \\ '")
make("old")
os.utime("old", (0, 981173106))
os.chmod("folder", 0o1777)
os.symlink("/nowhere/at/all", "dangling")
os.mkfifo("fifo", 0o640)
os.mknod("null", 0o020666, os.makedev(1, 3))
with open("holes", "w") as stream:
    stream.truncate(1 << 20)
socket.socket(socket.AF_UNIX).bind("socket")
# of the image below: changed, deleted, replaced, renamed
make("/etc/debian_version", 0o600, (3, 4), "changed")
os.utime("/usr/bin/true", (0, 1000000000))
os.unlink("/etc/issue")
shutil.rmtree(doc + "/dpkg")
shutil.rmtree(doc + "/apt")
os.mkdir(doc + "/apt", 0o750)
make(doc + "/apt/new")
shutil.rmtree(doc + "/bash")
make(doc + "/bash")
os.rename(doc + "/tar", "/srv/it/renamed")
make("/srv/it/renamed/new")
os.rename("/etc/apt/sources.list.d", "/etc/apt/sources.list.e")
os.rename("/usr/bin/false", "/srv/it/false")
"""

DESCRIBE = r"""
import hashlib, os, stat, sys
for folder in "/etc", "/usr/bin", "/usr/share/doc", "/srv/it":
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = os.path.join(parent, name)
            found = os.lstat(path)
            if stat.S_ISSOCK(found.st_mode):
                continue
            kind = [oct(found.st_mode), found.st_uid, found.st_gid, int(found.st_mtime)]
            if stat.S_ISREG(found.st_mode):
                with open(path, "rb") as stream:
                    kind += [found.st_nlink, hashlib.file_digest(stream, "sha256").hexdigest()]
            if stat.S_ISLNK(found.st_mode):
                kind.append(os.readlink(path))
            if stat.S_ISCHR(found.st_mode):
                kind.append(found.st_rdev)
            try:
                names = os.listxattr(path, follow_symlinks=False)
            except OSError:  # a file system without any
                names = []
            kind += [(key, os.getxattr(path, key, follow_symlinks=False)) for key in sorted(names)]
            print(ascii(path), *kind)
"""


def described(guest: StartedGuest) -> set[str]:
    said = guest.run(["python3", "-"], stdin=DESCRIBE.encode()).text.splitlines()
    return {
        line for line in said if not line.startswith(tuple(f"'/etc/{n}'" for n in layer.SEEDED))
    }


def test_prepared_layer_holds_what_was_written(base: Image, managers: Path, tmp_path: Path) -> None:
    file = tmp_path / "layer.squashfs"
    with unbooted(*base.layers, managers) as guest:
        guest.run(["python3", "-"], stdin=WRITE.encode())
        expected = described(guest)
        argv, written = guest.layer_argv(), guest.upper
        # the kernel did not copy what it could mark
        assert (written / "etc/issue").stat().st_rdev == 0
        assert os.getxattr(written / "usr/share/doc/apt", "trusted.overlay.opaque") == b"y"
        assert os.getxattr(written / "srv/it/renamed", "trusted.overlay.redirect")
        assert os.getxattr(written / "etc/apt/sources.list.e", "trusted.overlay.redirect")
        pack.squash_output(argv, file)
    with unbooted(*base.layers, managers, file) as guest:
        assert described(guest) == expected
        gone = "/etc/issue /usr/share/doc/dpkg /usr/share/doc/tar /usr/bin/false /srv/it/socket"
        assert do(guest, f"ls -d {gone} 2>/dev/null || true") == ""
        assert do(guest, "ls -A /usr/share/doc/apt") == "new"
    assert len(expected) > 1000
    for part in ("'/srv/it/setuid' 0o104755 0 0 ", "'/srv/it/fifo' 0o10640", "security.capability"):
        assert any(part in line for line in expected)


# What can go wrong: each in its own sentence, and the image stays as it was


TREE = (
    ("usr/bin/apt-get", {"data": b"#!/bin/sh\n", "mode": 0o755}),
    ("usr/lib/os-release", {"data": b'ID=some\nPRETTY_NAME="Some 1"\n'}),
)


@pytest.fixture(scope="module")
def bare_squashfs(bare: Path, once: Once) -> Path:
    return once("bare.squashfs", lambda target: squash(target, bare.read_bytes()))


def sources(tmp_path: Path, text: str, hook: str = "") -> Path:
    """A layer that says where apt fetches from, and what it runs before."""
    content = tar(
        ("etc/apt/sources.list", {"data": text.encode()}),
        ("etc/apt/apt.conf.d/99-hook", {"data": hook.encode()}),
        root=False,
    )
    return squash(tmp_path / "sources.squashfs", content)


BLOCKED = 'APT::Update::Pre-Invoke { "sleep 1000.5"; };\n'


@pytest.mark.parametrize(
    ("text", "hook", "sentence", "evidence"),
    [
        (
            "deb [trusted=yes] http://127.0.0.1:1/debian trixie main\n",
            'Acquire::Retries "0";\n',
            "the package manager of the image 'broken' reached no repository",
            "Could not connect to 127.0.0.1:1",
        ),
        (
            "",
            "",
            "the package manager of the image 'broken' could not install systemd",
            "Unable to locate package systemd-sysv",
        ),
        ("", BLOCKED, "the image 'broken' was not prepared within 2 s", ""),
    ],
    ids=["network", "package", "time"],
)
def test_prepare_explains_a_package_manager_that_fails(
    text: str,
    hook: str,
    sentence: str,
    evidence: str,
    bare_squashfs: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record = unprepared("broken", bare_squashfs, sources(tmp_path, text, hook))
    monkeypatch.setattr(prepare, "PATIENCE", 2 if hook == BLOCKED else 100)
    with pytest.raises(ImageError) as caught:
        prepare.prepared(record)
    assert caught.value.message == sentence
    assert evidence in caught.value.evidence
    assert caught.value.hint
    assert store.require("broken", architectures.of_this_host()) == record
    assert [path.name for path in (cache / "partial").iterdir()] == [".lock"]


SHELL = ("usr/bin/sh", {"data": b"no program", "mode": 0o755})


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        (TREE[1:], "has no systemd, and no package manager to install it"),
        (TREE, "has no systemd, and no package manager to install it"),
        ((*TREE, SHELL), "could not be prepared"),
    ],
    ids=["no manager", "no shell", "no program"],
)
def test_prepare_explains_an_image_that_cannot_be_prepared(
    members: tuple[Any, ...], sentence: str, cache: Path, tmp_path: Path
) -> None:
    image = squash(tmp_path / "image.squashfs", tar(*members, root=False))
    done = postroj("import", "broken", image)
    assert done.returncode == 4
    assert f"error: the image 'broken' {sentence}" in done.stderr
    assert "hint: " in done.stderr
    (record,) = store.records()
    assert (record.name, record.prepared, record.layers) == ("broken", None, ())


def test_prepare_leaves_an_image_with_systemd_and_no_shell_alone(
    cache: Path, tmp_path: Path
) -> None:
    """As that of NixOS, which makes its own when it boots."""
    nix = ("nix/store/some-systemd/lib/systemd/systemd", {"data": b""})
    image = squash(tmp_path / "image.squashfs", tar(nix, root=False))
    record = prepare.prepared(unprepared("nixos", image, manager=None))
    assert (record.prepared, record.layers) == ((), ())
    assert store.require("nixos", architectures.of_this_host()) == record


def test_no_boot_returns_the_image_unprepared(bare_squashfs: Path, cache: Path) -> None:
    """It is what the hints of failures lead to."""
    record = unprepared("bare", bare_squashfs)
    done = postroj("run", "--no-boot", "--image", "bare", "--", "ls", "/usr/lib/systemd/systemd")
    assert (done.returncode, "No such file" in done.stderr) == (2, True)
    assert store.require("bare", architectures.of_this_host()) == record


def test_prepare_that_is_killed_leaves_nothing(
    bare_squashfs: Path, cache: Path, tmp_path: Path
) -> None:
    record = unprepared("bare", bare_squashfs, sources(tmp_path, "", BLOCKED))
    child = start("run", "--image", "bare", "--", "true")
    assert eventually(lambda: b"sleep\x001000.5\0" in all_argv())
    child.kill()
    child.communicate()
    assert store.require("bare", architectures.of_this_host()) == record
    assert len(list((cache / "partial").iterdir())) == 2
    store.prepare()
    assert [path.name for path in (cache / "partial").iterdir()] == [".lock"]
    assert sorted(cache.glob("images/*")) == sorted(
        [*record.paths, record_path("bare", record.architecture)]
    )
    with unbooted(*record.paths) as guest:
        assert do(guest, "echo usable") == "usable"


def test_prepare_explains_a_cache_that_cannot_be_written(bare_squashfs: Path, cache: Path) -> None:
    record = unprepared("bare", bare_squashfs)
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(cache), *POSTROJ]
    argv += ["run", "--image", "bare", "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    sentence = f"the image 'bare' is not prepared yet, and the cache directory '{cache}' cannot be"
    assert f"error: {sentence} used\n" in done.stderr
    assert "Read-only file system" in done.stderr
    assert store.require("bare", architectures.of_this_host()) == record
