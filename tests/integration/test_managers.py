"""Every package manager in a booted guest: real tools, real packages, repositories in a folder.

dnf, zypper and pacman are those that Debian packages; their own distributions differ in what is
installed, not in what the tools do.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from postroj.container.network import proxies
from postroj.container.spec import Bind, GuestSpec
from postroj.container.start import StartedGuest, start_guest
from postroj.model import Image, Manager, NetworkMode
from postroj.prepare import obtain
from postroj.probe import operations
from postroj.probe.ask.checks import Manners, Question
from postroj.probe.managers.apt.apt import Apt
from postroj.probe.managers.base import Blame
from postroj.probe.managers.pacman.pacman import Pacman
from postroj.probe.managers.rpm.dnf import Dnf
from postroj.probe.managers.rpm.zypper import Zypper
from postroj.probe.package.package_file import GUEST_DIR, PackageFile, recognise
from postroj.probe.plan import Plan
from postroj.probe.probe import probe
from postroj.verdict import CheckKind, Outcome
from tests.support import debs, pacman, rpms, toolbox
from tests.support.listener import Nobody
from tests.support.nets import inside
from tests.support.proxy import proxied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from postroj.probe.managers.base import PackageFacts, PackageManager

FAIL, ERROR = Outcome.FAIL, Outcome.ERROR
TIMEOUT = 60
LOCAL, GONE = f"file://{GUEST_DIR}/{{0}}/repo", "http://mirror.example/{0}"


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a package is to be, in words that every format has."""

    name: str
    version: str = "1.0-1"
    architecture: str = ""
    """'' is one that fits everywhere."""
    needs: str = ""
    recommends: str = ""
    config: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    post: str = ""
    """A script after the installation."""


def build_deb(folder: Path, made: Made) -> Path:
    scripts = {"postinst": f"#!/bin/sh\n{made.post}\n"} if made.post else {}
    if made.config:
        scripts["conffiles"] = "".join(f"{path}\n" for path in made.config)
    return debs.build(
        folder,
        made.name,
        version=made.version,
        architecture=made.architecture or "all",
        depends=made.needs,
        fields={"Recommends": made.recommends} if made.recommends else {},
        files={**made.files, **made.config},
        scripts=scripts,
    )


def build_rpm(folder: Path, made: Made) -> Path:
    version, _, release = made.version.partition("-")
    return rpms.build(
        folder,
        made.name,
        version=version,
        release=release,
        architecture=made.architecture or "noarch",
        tags="\n".join(
            f"{tag}: {name}"
            for tag, name in (("Requires", made.needs), ("Recommends", made.recommends))
            if name
        ),
        files=made.files,
        config=made.config,
        scripts={"post": made.post} if made.post else {},
    )


def build_pacman(folder: Path, made: Made) -> Path:
    return pacman.build(
        folder,
        made.name,
        version=made.version,
        architecture=made.architecture or "any",
        depends=[made.needs] if made.needs else [],
        files=made.files,
        config=made.config,
        scripts={"post_install": made.post} if made.post else {},
    )


def index_debs(folder: Path, packages: list[Path]) -> None:
    done = subprocess.run(
        ["apt-ftparchive", "packages", "."], cwd=folder, check=True, capture_output=True
    )
    (folder / "Packages").write_bytes(done.stdout)


REPO = "[tests]\nname=tests\nbaseurl={url}\nenabled=1\ngpgcheck=0\nautorefresh=0"
PACMAN_CONF = (
    "[options]\nArchitecture=auto\nDisableSandbox\nLocalFileSigLevel=Optional\n"
    "[tests]\nSigLevel=Never\nServer={url}"
)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A package manager, and how its packages and repositories are made."""

    manager: PackageManager
    build: Callable[[Path, Made], Path]
    index: Callable[[Path, list[Path]], None]
    configuration: str
    """The file that names the repository."""
    text: str
    foreign: str = "s390x"


KINDS = {
    "apt": Kind(
        manager=Apt(),
        build=build_deb,
        index=index_debs,
        configuration="/etc/apt/sources.list",
        text="deb [trusted=yes] {url} ./",
    ),
    "dnf": Kind(
        manager=Dnf(),
        build=build_rpm,
        index=lambda folder, packages: rpms.repository(folder),
        configuration="/etc/yum.repos.d/tests.repo",
        text=REPO,
    ),
    "zypper": Kind(
        manager=Zypper(),
        build=build_rpm,
        index=lambda folder, packages: rpms.repository(folder),
        configuration="/etc/zypp/repos.d/tests.repo",
        text=REPO,
    ),
    "pacman": Kind(
        manager=Pacman(),
        build=build_pacman,
        index=lambda folder, packages: pacman.repository(folder, "tests", packages),
        configuration="/etc/pacman.conf",
        text=PACMAN_CONF,
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where packages lie; the guest sees it."""
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def tools(image: str) -> Iterator[tuple[Path, ...]]:
    """Layers of an image with all four."""
    with obtain(image) as stored, toolbox.layers_of(stored) as layers:
        yield layers


@pytest.fixture(scope="module")
def box(tools: tuple[Path, ...], folder: Path) -> Iterator[StartedGuest]:
    """A booted guest which they share."""
    binds = (Bind(source=folder, target=GUEST_DIR, read_only=True),)
    with start_guest(GuestSpec(layers=tools, network=NetworkMode.NONE, binds=binds)) as guest:
        rpms.build(folder, "base", tags="Provides: /bin/sh\nProvides: glibc = 2")
        script = (
            "rm -f /etc/apt/sources.list.d/*; mkdir -p /etc/pacman.d/gnupg;"
            f"rpm --install --justdb --nodeps {GUEST_DIR}/base-1.0-1.noarch.rpm"
        )
        guest.run(["sh", "-ec", script])
        yield guest


class Bench:
    """A package manager at work in the guest."""

    def __init__(self, name: str, guest: StartedGuest, folder: Path) -> None:
        self.name = name
        self.kind = KINDS[name]
        self.manager = self.kind.manager
        self.guest = guest
        self.folder = folder / name
        """Of packages, and of their repository in `repo`."""

    def configure(self, url: str) -> None:
        """Name the repository."""
        text = self.kind.text.format(url=url.format(self.name))
        script = f"cat > {self.kind.configuration}"
        self.guest.run(["sh", "-c", script], stdin=f"{text}\n".encode())

    def make(self, name: str, **others: object) -> PackageFile:
        """Make a package file."""
        made = Made(name=name, **others)  # type: ignore[arg-type]
        return recognise(self.kind.build(self.folder, made))

    def path(self, package: PackageFile) -> str:
        """Where the guest sees a package."""
        return f"{GUEST_DIR}/{self.name}/{package.name}"

    def do(self, operation: str, *packages: PackageFile, names: list[str]) -> Blame | None:
        """Do something to package files."""
        argv = getattr(self.manager, operation)([self.path(package) for package in packages])
        return self.run(argv, names)

    def run(self, argv: list[str], names: list[str]) -> Blame | None:
        return operations.perform(self.guest, self.manager, argv, names, TIMEOUT)

    def installed(self, *names: str) -> tuple[PackageFacts, ...]:
        return operations.ask(self.guest, self.manager.installed(names))

    def read(self, path: str) -> str:
        return self.guest.run(["cat", path]).text


@pytest.fixture(scope="module", params=KINDS)
def bench(request: pytest.FixtureRequest, box: StartedGuest, folder: Path) -> Bench:
    """One package manager, its repository filled and fetched."""
    found = Bench(request.param, box, folder)
    repo = found.folder / "repo"
    repo.mkdir(parents=True)
    ours = [
        found.kind.build(repo, Made(name=f"lib-{found.name}")),
        found.kind.build(repo, Made(name=f"known-{found.name}", version="2.0-3")),
    ]
    found.kind.index(repo, ours)
    found.configure(LOCAL)
    assert found.run(found.manager.refresh(), []) is None
    return found


def test_manager_solves_and_completes_dependencies_before_the_package(bench: Bench) -> None:
    name, need = f"solved-{bench.name}-with-quite-a-long-name", f"known-{bench.name}"
    package = bench.make(name, needs=need)

    def solve() -> tuple[list[PackageFacts], tuple[str, ...]]:
        solution = operations.ask(bench.guest, bench.manager.solve([bench.path(package)]))
        return [fact for fact in solution.installs if fact.name != name], solution.removes

    (fact,), removes = solve()
    assert (fact.name, fact.version, removes) == (need, "2.0-3", ())
    assert bench.installed(need) == ()
    assert bench.run(bench.manager.complete([fact]), [name]) is None
    assert solve() == ([], ())
    before = operations.ask(bench.guest, bench.manager.everything())
    assert (need, "2.0-3") in {(found.name, found.version) for found in before}
    assert bench.do("install", package, names=[name]) is None
    after = operations.ask(bench.guest, bench.manager.everything())
    assert {found.name for found in after} - {found.name for found in before} == {name}

    assert bench.run(bench.manager.remove([name]), [name]) is None
    assert bench.installed(need)
    if clean := bench.manager.clean_up():
        assert bench.run(clean, [name]) is None
    else:
        assert bench.run(bench.manager.remove([need]), [need]) is None
    assert bench.installed(need) == ()


def test_manager_installs_upgrades_removes_and_purges(bench: Bench) -> None:
    name, need = f"life-{bench.name}", f"lib-{bench.name}"
    conf = f"/etc/{name}.conf"

    def version(number: str) -> PackageFile:
        files = {f"/usr/share/{name}/data": number}
        return bench.make(
            name, version=number, needs=need, files=files, config={conf: f"from {number}\n"}
        )

    old, new = version("1.0-1"), version("2.0-1")
    (fact,) = look(bench, old)
    assert (fact.name, fact.version) == (name, "1.0-1")

    assert bench.do("install", old, names=[name]) is None
    assert operations.missing(bench.guest, bench.manager, [fact]) is None
    assert {found.name for found in bench.installed(name, need)} == {name, need}
    listed = operations.ask(bench.guest, bench.manager.files(name))
    assert f"/usr/share/{name}/data" in listed.files
    assert listed.configuration == (conf,)

    bench.guest.run(["sh", "-c", f"echo changed > {conf}; rm /usr/share/{name}/data"])
    assert bench.do("reinstall", old, names=[name]) is None
    assert bench.read(f"/usr/share/{name}/data") == "1.0-1"
    assert bench.do("upgrade", new, names=[name]) is None
    assert [found.version for found in bench.installed(name)] == ["2.0-1"]
    assert bench.read(conf) == "changed"
    (newer,) = look(bench, new)
    blame = operations.missing(bench.guest, bench.manager, [fact])
    assert blame and "the guest has 2.0-1" in blame.sentence

    assert bench.do("downgrade", old, names=[name]) is None
    assert [found.version for found in bench.installed(name)] == ["1.0-1"]
    assert bench.read(conf) == "changed"
    blame = operations.missing(bench.guest, bench.manager, [newer])
    assert blame and blame.outcome is ERROR

    blame = operations.remaining(bench.guest, bench.manager, [fact])
    assert blame and blame.sentence == f"'{name}' 1.0-1 is still installed"
    assert bench.run(bench.manager.remove([name]), [name]) is None
    assert operations.remaining(bench.guest, bench.manager, [fact]) is None
    assert bench.installed(name, need)[0].name == need
    kept = bench.guest.run(["sh", "-c", f"ls {conf}*"]).text.split()
    assert any(path == conf or path.endswith(bench.manager.saved) for path in kept)

    if bench.manager.purges_later:
        assert bench.run(bench.manager.purge([name]), [name]) is None
        assert bench.guest.run(["ls", conf], ok=[2]).text == ""


def look(bench: Bench, package: PackageFile) -> tuple[PackageFacts, ...]:
    """What a package file says of itself, in the guest."""
    path = bench.path(package)
    query = bench.manager.describe(path)
    done = bench.guest.run(query.argv)
    return (query.read(done.text),)


def test_manager_purges_what_is_installed(bench: Bench) -> None:
    name = f"purged-{bench.name}"
    conf = f"/etc/{name}.conf"
    package = bench.make(name, config={conf: "mine\n"})
    assert bench.do("install", package, names=[name]) is None
    bench.guest.run(["sh", "-c", f"echo changed > {conf}"])
    assert bench.run(bench.manager.purge([name]), [name]) is None
    left = bench.guest.run(["sh", "-c", f"ls {conf}* || :"]).text.split()
    # rpm knows no purge
    assert left == ([f"{conf}.rpmsave"] if bench.name in ("dnf", "zypper") else [])


def test_manager_blames_a_script_that_fails(bench: Bench) -> None:
    """dnf 4, zypper and pacman themselves call it a success."""
    name = f"bad-{bench.name}"
    package = bench.make(name, post="echo looking; echo no frobnicator >&2; exit 3")
    blame = bench.do("install", package, names=[name])
    assert blame and blame.outcome is FAIL
    assert f"script of '{name}'" in blame.sentence
    assert "no frobnicator" in blame.evidence
    bench.run(bench.manager.purge([name]), [name])


def test_manager_blames_a_dependency_that_is_nowhere(bench: Bench) -> None:
    name = f"unmet-{bench.name}"
    blame = bench.do("install", bench.make(name, needs="surely-not-there"), names=[name])
    assert blame and blame.outcome is FAIL
    assert blame.sentence.startswith(f"'{name}' depends on 'surely-not-there'")


def test_manager_blames_a_file_that_another_package_owns(bench: Bench) -> None:
    first, second = f"first-{bench.name}", f"second-{bench.name}"
    path = f"/usr/share/{bench.name}-same"
    owner = bench.make(first, files={path: "a"})
    assert bench.do("install", owner, names=[first]) is None
    other = bench.make(second, files={path: "b"})
    blame = bench.do("install", other, names=[second])
    assert blame and blame.outcome is FAIL
    assert f"ships '{path}', which is also in package '{first}'" in blame.sentence


def test_manager_blames_a_package_of_another_architecture(bench: Bench) -> None:
    package = bench.make(f"foreign-{bench.name}", architecture="s390x")
    there = bench.folder.parent / package.name
    package.path.rename(there)
    package = recognise(there)
    blame = operations.inspect(bench.guest, bench.manager, [package])
    assert isinstance(blame, Blame) and blame.outcome is FAIL
    assert blame.sentence.startswith(f"'{package.name}' is for s390x, the guest is ")


def test_manager_blames_a_file_that_is_not_a_package(bench: Bench) -> None:
    package = bench.make(f"spoilt-{bench.name}")
    there = bench.folder.parent / package.name
    there.write_bytes(package.path.read_bytes()[:90] + b"?" * 500)
    package = PackageFile(path=there, format=package.format)
    blame = operations.inspect(bench.guest, bench.manager, [package])
    assert isinstance(blame, Blame) and blame.outcome is FAIL
    assert blame.sentence == f"'{package.name}' is not a complete package"
    assert blame.evidence


def test_manager_installs_a_package_with_odd_letters_in_its_name(bench: Bench) -> None:
    name = f"odd-{bench.name}"
    package = bench.make(name)
    odd = package.path.with_name(f"a b%20+~[1]&c_{package.name}")
    package.path.rename(odd)
    assert bench.do("install", recognise(odd), names=[name]) is None
    assert [found.name for found in bench.installed(name)] == [name]


def test_manager_blames_a_script_that_hangs(bench: Bench) -> None:
    name = f"sleepy-{bench.name}"
    package = bench.make(name, post="echo zzz; sleep 1000")
    argv = bench.manager.install([bench.path(package)])
    blame = operations.perform(bench.guest, bench.manager, argv, [name], 4)
    assert blame and blame.outcome is FAIL
    assert "hung for 4 s" in blame.sentence and name in blame.sentence
    # what it leaves behind: a lock, a package that is not configured
    script = (
        "for f in /proc/[0-9]*/cmdline; do case $(tr '\\0' ' ' < $f) in 'sleep 1000 ')"
        " kill -9 $(dirname $f | cut -d/ -f3);; esac; done 2>/dev/null; sleep 0.3;"
        " rm -f /var/lib/pacman/db.lck; dpkg --purge --force-all sleepy-apt || :"
    )
    bench.guest.run(["sh", "-c", script], ok=range(256), timeout=20)


def test_manager_leaves_out_recommended_packages_if_told_so(bench: Bench) -> None:
    """pacman knows no packages that it installs, but that nothing depends on."""
    name, weak = f"likes-{bench.name}", f"known-{bench.name}"
    path = bench.path(bench.make(name, recommends=weak))
    has_weak = bench.name != "pacman"
    for manager, wanted in (
        (bench.manager.without_recommends(), {name}),
        (bench.manager, {name, weak} if has_weak else {name}),
    ):
        assert bench.run(manager.install([path]), [name]) is None
        assert {found.name for found in bench.installed(name, weak)} == wanted
        assert bench.run(manager.remove(sorted(wanted)), [name]) is None


PULLED = "[ $1 = triggered ] || exit 0; "
HOOK = (
    "[Trigger]\nType = Path\nOperation = Install\nTarget = usr/share/wire-pacman/*\n"
    '[Action]\nDescription = Looking...\nWhen = PostTransaction\nExec = /bin/sh -c "{0}"\n'
)


def build_trigger(bench: Bench, name: str, target: str, command: str) -> PackageFile:
    """Make a package whose trigger or hook runs a command once another package comes."""
    wire = f"/usr/share/wire-{bench.name}"
    match bench.name:
        case "apt":
            scripts = {
                "triggers": f"interest {wire}\n",
                "postinst": f"#!/bin/sh\n{PULLED}{command}\n",
            }
            return recognise(debs.build(bench.folder, name, scripts=scripts))
        case "pacman":
            files = {f"/usr/share/libalpm/hooks/{name}.hook": HOOK.format(command)}
            return recognise(pacman.build(bench.folder, name, files=files))
        case _:
            scripts = {f"triggerin -- {target}": command}
            return recognise(rpms.build(bench.folder, name, scripts=scripts))


def test_manager_blames_a_trigger_of_others_only_with_proof(bench: Bench) -> None:
    """Proof is a file of the package in the output, or that the trigger or hook is its own."""
    target, trigger = f"trips-{bench.name}", f"watch-{bench.name}"
    file = f"/usr/share/wire-{bench.name}/x"
    package = bench.path(bench.make(target, files={file: "x"}))
    notes: list[str] = []

    def pull(command: str, names: list[str]) -> Blame | None:
        watch = bench.path(build_trigger(bench, trigger, target, command))
        assert bench.run(bench.manager.install([watch]), [trigger]) is None
        argv = bench.manager.install([package])
        note = notes.append
        found = operations.perform(bench.guest, bench.manager, argv, names, TIMEOUT, note=note)
        bench.guest.run(["sh", "-c", f"dpkg --purge --force-all {trigger}; :"])
        bench.run(bench.manager.remove([target]), [target])
        bench.run(bench.manager.remove([trigger]), [trigger])
        return found

    blame = pull("exit 7", [target])
    said = notes or [blame.sentence if blame else ""]
    assert said[0].endswith(operations.UNPROVED)
    if bench.name == "apt":  # which stops there
        assert blame and blame.outcome is ERROR
    else:
        assert blame is None
    blame = pull(f"echo {file} is not valid; exit 7", [target])
    assert blame and blame.outcome is FAIL
    assert blame.sentence.endswith(f"; its output names '{file}' of '{target}'")
    blame = pull("exit 7", [target, trigger])
    assert blame and blame.outcome is FAIL, blame


def test_manager_finds_the_candidate_of_its_repositories(bench: Bench) -> None:
    name = f"known-{bench.name}"
    found = operations.bring(bench.guest, bench.manager, name, f"/srv/{bench.name}", TIMEOUT)
    assert isinstance(found, str), found
    fact = operations.ask(bench.guest, bench.manager.describe(found))
    assert (fact.name, fact.version) == (name, "2.0-3")
    assert bench.run(bench.manager.install([found]), [name]) is None
    found = operations.bring(bench.guest, bench.manager, "never-heard-of", "/srv/none", TIMEOUT)
    assert isinstance(found, Blame) and found.outcome is ERROR


def test_manager_does_not_blame_the_package_for_an_unreachable_repository(bench: Bench) -> None:
    bench.configure(GONE)
    try:
        blame = bench.run(bench.manager.refresh(), [])
    finally:
        bench.configure(LOCAL)
        assert bench.run(bench.manager.refresh(), []) is None
    assert blame and blame.outcome is ERROR
    assert blame.sentence == "the guest could not reach its package repositories"
    assert blame.hint


def test_manager_fetches_through_the_proxy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest has no network: there is nothing but the proxy on its loopback."""
    folder, leader = bench.folder.parent, bench.guest.leader
    with proxied(folder, lambda make: inside(leader.pid, make)) as proxy:
        monkeypatch.setattr(bench.guest, "proxies", proxies.read(proxy.url, {}))
        bench.configure(f"{GONE}/repo")
        try:
            assert bench.run(bench.manager.refresh(), []) is None
        finally:
            monkeypatch.undo()
            bench.configure(LOCAL)
            assert bench.run(bench.manager.refresh(), []) is None
    assert proxy.asked
    assert all(asked.startswith(GONE.format(bench.name)) for asked in proxy.asked)


@pytest.mark.parametrize("command", ["/bin/sleep 1000", "/bin/false"])
def test_pkgprobe_of_an_rpm_passes(tools: tuple[Path, ...], tmp_path: Path, command: str) -> None:
    image = Image(name="tools", architecture="x86_64", layers=tools, manager=Manager.DNF)
    unit = debs.SERVICE.format(name="served", kind="simple", command=command, more="")
    path = rpms.build(
        tmp_path,
        "served",
        tags="Provides: /bin/sh",
        files={"/usr/lib/systemd/system/served.service": unit},
        scripts={"post": debs.START.format(unit="served.service").partition("\n")[2]},
    )
    plan = Plan(
        questions=(Question(kind=CheckKind.UNIT, subject="served"),),
        manners=Manners(timeout=5, settle=0.5),
        network=NetworkMode.NONE,
        timeout=TIMEOUT,
        boot_timeout=30,
    )
    result = probe(image, [recognise(path)], plan, Nobody())
    (step,) = result.steps
    told = "served 1.0-1 (noarch)\nbrings 1 unit"
    assert (step.done, step.reason) == (Outcome.PASS, told), step.reason
    assert result.outcome is (Outcome.PASS if "sleep" in command else FAIL)
