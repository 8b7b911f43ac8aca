"""What is kept between runs: the second fetches nothing, whoever is not there any more.

A repository on this host counts what it is asked for. Guests share the host's network, so that
they reach it.
"""

from __future__ import annotations

import json
import shutil
import signal
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from postroj import warm
from postroj.container.spec import GuestSpec
from postroj.container.start import start_guest
from postroj.errors import ImageError
from postroj.image import architectures
from postroj.image.store import store, warm_layers
from postroj.image.store.record import Provenance
from postroj.model import Manager, NetworkMode, SourceKind, Verification
from postroj.prepare import obtain
from postroj.probe import operations
from postroj.probe.ask.checks import Manners
from postroj.probe.managers import manager_of
from postroj.probe.package.package_file import binds, recognise
from postroj.probe.plan import Plan
from postroj.warm import warmed
from tests.integration.test_managers import KINDS, Made
from tests.support import toolbox
from tests.support.cli import eventually, postroj, start
from tests.support.nginx import Nginx

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from postroj.model import Image

BROUGHT = Provenance(
    source=SourceKind.IMPORT,
    url="/srv/image.squashfs",
    build="",
    artifact="",
    compression="lz4",
    verification=Verification.NONE,
)
OTHER = {
    "dnf": "rm -f /etc/yum.repos.d/*",
    "zypper": "rm -f /etc/zypp/repos.d/*",
    "pacman": "mkdir -p /etc/pacman.d/gnupg",
    "apt": "rm -f /etc/apt/sources.list.d/*; echo 'Acquire::Retries 0;' > /etc/apt/apt.conf.d/90",
}
PLAN = Plan(
    questions=(),
    manners=Manners(),
    network=NetworkMode.HOST,
    timeout=60,
    boot_timeout=30,
)


def lay_in(files: Sequence[Path], name: str, manager: Manager) -> None:
    """Put an image with these layers in our cache."""
    arch = architectures.of_this_host()
    store.prepare()
    with store.building(name, arch) as directory:
        file = directory / "layer.squashfs"
        shutil.copy(files[0], file)
        record = store.add(name, arch, manager, file, BROUGHT, prepared=())
        for path in files[1:]:
            shutil.copy(path, file)
            record = store.extend(record, file, (), directory)


@dataclass(frozen=True, kw_only=True)
class World:
    """An image of its own, and its repository."""

    manager: str
    server: Nginx
    folder: Path
    plan: Plan

    @property
    def name(self) -> str:
        """Of the image."""
        return f"warm-{self.manager}"

    def make(self, name: str, **others: Any) -> Path:
        """Make a package file."""
        return KINDS[self.manager].build(self.folder, Made(name=name, **others))

    def offer(self, *packages: str) -> None:
        """Fill the repository."""
        kind = KINDS[self.manager]
        built = [kind.build(self.folder / "repo", Made(name=name)) for name in packages]
        kind.index(self.folder / "repo", built)

    def fetched(self) -> list[str]:
        """Names of the packages that were fetched since it was last asked."""
        names = [answer.rpartition("/")[2] for answer in self._answers()]
        return [name for name in names if name.endswith((".deb", ".rpm", ".pkg.tar.zst"))]

    def is_asked(self) -> bool:
        """Whether anything was asked for since it was last asked."""
        return bool(self._answers())

    def _answers(self) -> list[str]:
        answers = self.server.answers
        (self.server.work / "access.log").write_text("")
        return answers

    def warm(self, *packages: Path, **how: Any) -> tuple[str, ...]:
        """Have the layers for a probe; their names."""
        with ExitStack() as stack:
            image = stack.enter_context(obtain(self.name))
            found = [recognise(path) for path in packages]
            done = warmed(image, found, replace(self.plan, **how), stack)
            return tuple(path.name for path in done.layers[len(image.layers) :])


def repository(tmp_path: Path, manager: str) -> Iterator[World]:
    folder = tmp_path / manager
    (folder / "repo").mkdir(parents=True)
    server = Nginx(folder / "repo", tmp_path / "nginx")
    kind = KINDS[manager]
    text = kind.text.format(url=f"{server.url}/")
    setup = f"{OTHER[manager]}; printf '%s\\n' '{text}' > {kind.configuration}"
    plan = replace(PLAN, setup=(setup,))
    with server:
        yield World(manager=manager, server=server, folder=folder, plan=plan)


@pytest.fixture
def files(image: str) -> tuple[Path, ...]:
    """Of the image of the tests."""
    with obtain(image) as stored:
        return stored.layers


@pytest.fixture
def world(
    files: tuple[Path, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """With apt, in a cache of its own."""
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    lay_in(files, "warm-apt", Manager.APT)
    yield from repository(tmp_path, "apt")


def kept(kind: str) -> list[dict[str, Any]]:
    """The records of the layers of a kind."""
    paths = sorted(warm_layers.layers_dir().glob(f"{kind}-*.json"))
    return [json.loads(path.read_text()) for path in paths]


def test_warm_second_probe_downloads_nothing(world: World) -> None:
    world.offer("lib-warm")
    package = world.make("warm-one", needs="lib-warm")
    argv = ["pkgprobe", "-p", package, "--image", world.name, "--setup", world.plan.setup[0]]
    argv += ["--settle", "0", "--no-discover", "--json"]

    first = postroj(*argv, "--network=host")
    assert first.returncode == 0, first.stdout + first.stderr
    assert world.fetched() == ["lib-warm_1.0-1_all.deb"]
    (probe,) = json.loads(first.stdout)["probes"]
    assert "refresh" not in probe["timings"]
    assert sorted(path.suffix for path in warm_layers.layers_dir().iterdir()) == (
        [".json"] * 3 + [".squashfs"] * 3
    )
    assert all(line in first.stderr for line in ("set-up ...", "package lists ...", "dependencies"))

    second = postroj(*argv, "--network=host")
    assert second.returncode == 0, second.stdout + second.stderr
    assert " ...\n" not in second.stderr
    assert not world.is_asked()

    world.server.stop()
    third = postroj(*argv, "--network=none", "--offline")
    assert third.returncode == 0, third.stdout + third.stderr
    world.server.start()


def test_warm_dependencies_are_those_of_packages_that_need_the_same(world: World) -> None:
    world.offer("lib-a", "lib-b")
    one = world.make("warm-one", needs="lib-a")
    cold = world.warm(one)
    assert [name.partition("-")[0] for name in cold] == ["setup", "lists", "dependencies"]
    assert world.fetched() == ["lib-a_1.0-1_all.deb"]
    assert world.warm(one) == cold
    assert not world.is_asked()

    rebuilt = world.make("warm-one", version="1.1-1", needs="lib-a")
    assert world.warm(rebuilt) == cold
    assert not world.is_asked()
    (record,) = kept("dependencies")
    assert record["packages"] == ["lib-a"]

    both = world.make("warm-one", version="1.2-1", needs="lib-a, lib-b")
    grown = world.warm(both)
    assert grown[:2] == cold[:2]
    assert grown != cold
    assert sorted(record["packages"] for record in kept("dependencies")) == [
        ["lib-a"],
        ["lib-a", "lib-b"],
    ]
    assert world.warm(one) == cold
    assert len(list(warm_layers.layers_dir().iterdir())) == 8
    assert world.is_asked()
    assert world.warm(world.make("warm-alone")) == cold[:2]  # it names no other package
    assert not world.is_asked()


def test_warm_dependencies_are_installed_and_automatic(world: World) -> None:
    world.offer("lib-a")
    package = recognise(world.make("warm-one", needs="lib-a"))
    with ExitStack() as stack:
        image = stack.enter_context(obtain(world.name))
        done = warmed(image, [package], world.plan, stack)
        assert done.dependencies == ("lib-a",)
        spec = GuestSpec(layers=done.layers, boot=False, network=NetworkMode.NONE)
        guest = stack.enter_context(start_guest(spec))
        assert guest.run(["apt-mark", "showauto", "lib-a"]).text == "lib-a"
        assert guest.run(["find", "/var/cache/apt/archives", "-name", "*.deb"]).text == ""


def test_warm_dependencies_that_need_the_package_are_only_downloaded(world: World) -> None:
    kind, repo = KINDS["apt"], world.folder / "repo"
    built = [kind.build(repo, Made(name="lib-a", needs="warm-circle"))]
    built.append(kind.build(repo, Made(name="warm-circle", version="0.9-1", needs="lib-a")))
    kind.index(repo, built)
    package = recognise(world.make("warm-circle", needs="lib-a"))
    with ExitStack() as stack:
        image = stack.enter_context(obtain(world.name))
        done = warmed(image, [package], world.plan, stack)
        assert done.dependencies == ()
        spec = GuestSpec(layers=done.layers, boot=False, network=NetworkMode.NONE)
        guest = stack.enter_context(start_guest(spec))
        assert guest.run(["ls", "/var/cache/apt/archives/lib-a_1.0-1_all.deb"]).text
        assert "lib-a" not in guest.run(["dpkg-query", "--show"]).text.split()


def test_warm_lists_that_are_too_old_are_fetched_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.offer("lib-a")
    package = world.make("warm-old", needs="lib-a")
    cold = world.warm(package)
    (record,) = kept("lists")
    created = datetime.fromisoformat(record["created"]) - timedelta(seconds=warm.MAX_AGE + 1)
    (path,) = warm_layers.layers_dir().glob("lists-*.json")
    path.write_text(json.dumps(record | {"created": created.isoformat()}))
    world.fetched()

    assert world.warm(package, offline=True) == cold
    assert not world.is_asked()
    world.offer("lib-a", "lib-b")
    renewed = world.warm(package)
    assert world.fetched() == ["lib-a_1.0-1_all.deb"]
    assert renewed[0] == cold[0]
    assert not set(renewed[1:]) & set(cold)
    assert len(list(warm_layers.layers_dir().iterdir())) == 6
    (record,) = kept("lists")
    assert datetime.now(UTC) - datetime.fromisoformat(record["created"]) < timedelta(minutes=5)


def test_refresh_makes_all_warm_layers_anew(world: World) -> None:
    world.offer("lib-a")
    package = world.make("warm-new", needs="lib-a")
    setup = (*world.plan.setup, "date +%s.%N > /etc/when")
    cold = world.warm(package, setup=setup)
    world.fetched()
    anew = world.warm(package, setup=setup, refresh=True)
    assert not set(anew) & set(cold)
    assert world.fetched() == ["lib-a_1.0-1_all.deb"]
    assert world.warm(package, setup=setup) == anew


def test_warm_leaves_what_cannot_be_fetched_to_the_probe(world: World) -> None:
    world.offer("lib-a")
    unmet = world.make("warm-unmet", needs="surely-not-there")
    assert len(world.warm(unmet)) == 2
    assert kept("dependencies") == []
    argv = ["pkgprobe", "-p", unmet, "--image", world.name, "--setup", world.plan.setup[0]]
    done = postroj(*argv, "--offline")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "'warm-unmet' depends on 'surely-not-there'" in done.stdout

    world.server.stop()
    good = world.make("warm-good", needs="lib-a")
    assert len(world.warm(good, refresh=True)) == 1
    world.server.start()


def test_offline_names_the_warm_layer_that_is_missing(world: World) -> None:
    package = world.make("warm-off", needs="lib-a")
    with pytest.raises(ImageError, match="results of the set-up are not cached") as raised:
        world.warm(package, offline=True)
    assert "without `--offline`" in raised.value.hint
    with pytest.raises(ImageError, match="package lists are not cached"):
        world.warm(package, offline=True, setup=())
    world.offer("lib-a", "lib-b")
    world.warm(package)
    world.warm(package, offline=True)
    another = world.make("warm-off-two", needs="lib-b")
    with pytest.raises(ImageError, match="some dependencies are not cached") as raised:
        world.warm(another, offline=True)
    assert "lib-b" in raised.value.evidence
    alone = world.make("warm-off-three")
    world.warm(alone, offline=True)


def test_setup_layer_is_what_probes_find(world: World) -> None:
    argv = ["pkgprobe", "-p", world.make("warm-set"), "--image", world.name, "--settle", "0"]
    argv += ["--no-discover", "--network=host", "--setup", world.plan.setup[0]]
    world.offer()
    marked = ["--setup", "echo one > /etc/mark", "--setup", "echo two >> /etc/mark"]
    done = postroj(
        *argv, *marked, "--check-command", "test $(cat /etc/mark | tr -d '\\n') = onetwo"
    )
    assert done.returncode == 0, done.stdout + done.stderr

    done = postroj(*argv, "--setup", "echo fine; echo no frob >&2; exit 3")
    assert done.returncode == 4
    assert "`--setup` failed on the image 'warm-apt': 'echo fine;" in done.stdout
    assert "ended with status 3" in done.stdout
    assert "no frob" in done.stdout
    assert len(kept("setup")) == 1


def test_warm_layer_is_made_once_by_two_commands(world: World) -> None:
    world.offer("lib-a")
    package = world.make("warm-twice", needs="lib-a")
    argv = ["pkgprobe", "-p", package, "--image", world.name, "--setup", world.plan.setup[0]]
    argv += ["--settle", "0", "--no-discover", "--network=host"]
    both = [start(*argv) for _ in range(2)]
    for process in both:
        said, _ = process.communicate(timeout=100)
        assert process.returncode == 0, said.decode()
    assert world.fetched() == ["lib-a_1.0-1_all.deb"]
    assert len(list(warm_layers.layers_dir().iterdir())) == 6


def test_warm_layer_whose_maker_is_killed_is_not_half_stored(world: World) -> None:
    world.offer("lib-a")
    package = world.make("warm-killed", needs="lib-a")
    argv = ["pkgprobe", "-p", package, "--image", world.name, "--network=host"]
    process = start(*argv, "--setup", "echo half > /etc/half; sleep 1000")
    try:
        assert eventually(lambda: list(store.partial_dir().glob("layer-*")))
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
    assert list(warm_layers.layers_dir().glob("*")) == []
    assert len(world.warm(package)) == 3
    assert not list(store.partial_dir().glob("layer-*"))


def test_warm_layer_in_the_making_ends_with_an_interruption(world: World) -> None:
    package = world.make("warm-stopped")
    argv = ["pkgprobe", "-p", package, "--image", world.name, "--network=host"]
    process = start(*argv, "--setup", "sleep 1000")
    assert eventually(lambda: list(store.partial_dir().glob("layer-*")))
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert b"interrupted" in said
    assert list(warm_layers.layers_dir().iterdir()) == []
    assert not list(store.partial_dir().glob("layer-*"))


def test_upgrade_from_a_repository_works_offline_with_warm_layers(world: World) -> None:
    """With its dependencies, too, though the new one has them no more."""
    repo = world.folder / "repo"
    kind = KINDS["apt"]
    built = [kind.build(repo, Made(name="lib-a"))]
    built.append(kind.build(repo, Made(name="warm-up", version="0.9-1", needs="lib-a")))
    kind.index(repo, built)
    package = world.make("warm-up")
    argv = ["pkgprobe", "-p", package, "--image", world.name, "--setup", world.plan.setup[0]]
    argv += ["--settle", "0", "--no-discover", "--upgrade-from=repo"]
    done = postroj(*argv, "--network=host")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(world.fetched()) == {"lib-a_1.0-1_all.deb", "warm-up_0.9-1_all.deb"}
    done = postroj(*argv, "--network=none", "--offline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not world.is_asked()


def test_warm_layers_are_removed_with_their_image(world: World) -> None:
    world.offer("lib-a")
    world.warm(world.make("warm-gone", needs="lib-a"))
    assert len(list(warm_layers.layers_dir().iterdir())) == 6
    assert postroj("prune").stdout == "0 MB freed\n"
    assert postroj("remove", world.name).returncode == 0
    assert list(warm_layers.layers_dir().iterdir()) == []


@pytest.mark.parametrize("manager", ["dnf", "zypper", "pacman"])
def test_warm_layers_work_with_other_managers(
    manager: str,
    image: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with obtain(image) as stored, toolbox.layers_of(stored) as files:
        monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
        lay_in(files, f"warm-{manager}", Manager(manager))
    for world in repository(tmp_path, manager):
        world.offer("lib-other")
        alone = world.make("warm-alone")
        cold = world.warm(alone)
        layers = ["setup", "lists", *([] if manager == "pacman" else ["dependencies"])]
        assert [name.partition("-")[0] for name in cold] == layers
        assert world.warm(alone, offline=True) == cold
        package = world.make("warm-other", needs="lib-other")
        cold = world.warm(package)
        assert [name.partition("-")[0] for name in cold] == ["setup", "lists", "dependencies"]
        (fetched,) = world.fetched()
        assert fetched.startswith("lib-other-1.0-1")
        assert world.warm(world.make("warm-other", version="1.1-1", needs="lib-other")) == cold
        assert world.fetched() == []
        installs_from(world, cold, package)


def installs_from(world: World, cold: tuple[str, ...], package: Path) -> None:
    """Install a package in a guest that has nothing but what is kept."""
    found = recognise(package)
    manager = manager_of(Manager(world.manager))
    with ExitStack() as stack:
        image: Image = stack.enter_context(obtain(world.name))
        plan = replace(world.plan, offline=True)
        done = warmed(image, [found], plan, stack)
        spec = GuestSpec(
            layers=done.layers,
            boot=False,
            network=NetworkMode.NONE,
            binds=binds([found]),
        )
        guest = stack.enter_context(start_guest(spec))
        argv = manager.install([found.guest_path])
        before = operations.ask(guest, manager.everything())
        assert "lib-other" in {fact.name for fact in before}
        guest.run(argv, env=dict(manager.environment), timeout=60)
        after = operations.ask(guest, manager.everything())
        assert {fact.name for fact in after} - {fact.name for fact in before} == {"warm-other"}
