"""The command line that repeats a probe: read again, it means the same."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from postroj.cli.commands.pkgprobe import pkgprobe
from postroj.cli.reproduce import OF_A_RUN, reproduction
from postroj.probe.package.package_file import sha256
from postroj.probe.plan import Plan

if TYPE_CHECKING:
    from pathlib import Path

    from click import Context

IMAGE = "debian-trixie"
CHANGED = {*OF_A_RUN, "packages", "digests", "image_names", "upgrade_from"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("POSTROJ_LOCK", "POSTROJ_CATALOG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def parse(*words: str, **extra: Any) -> Context:
    return pkgprobe.make_context("pkgprobe", list(words), **extra)


def command(ctx: Context) -> str:
    return reproduction(ctx, ctx.params).command(IMAGE)


ODD = [
    *(
        "a b",
        "it's",
        '"$HOME" `x` \\',
        "two\nlines",
        "--steps=all",
        "-",
        "",
        "日本",
        "*?[",
        "#x",
        "~",
    ),
    *("a=b", "!!", "\ttab", "$'x'", "\udcff"),
]


@pytest.mark.parametrize(
    "words",
    [
        [],
        [word for text in ODD for word in ("--check-command", text)],
        ["--check-unit=-x", "--check-unit", "y", "--check-file", "/a b", "--check-file=/c"],
        ["--check-network", "http://[::1]/?a=b&c=d", "--expect-status", "404"],
        ["--check-network", "http://x/", "--expect-body", "-- it's\n"],
        ["--steps", "install,reinstall,purge", "--no-discover"],
        ["--upgrade-from", "repo"],
        ["--settle", "0.25", "--check-timeout", "1e3", "--timeout", "12345678", "--settle", "7"],
        ["--settle", "3", "--discover", "--network", "private"],
        ["--network=none", "--boot-timeout", "5"],
        ["--proxy", "host"],
        ["--proxy=http://proxy.example:3128"],
    ],
)
def test_reproduction_parses_to_the_same_options(here: Path, words: list[str]) -> None:
    given = parse("-p", "some dir/x.deb", "--package", "-y.deb", *words)
    typed = command(given)
    program, verb, *again = shlex.split(typed)
    assert (program, verb) == ("postroj", "pkgprobe")
    read = parse(*again)
    assert {k: v for k, v in read.params.items() if k not in CHANGED} == {
        k: v for k, v in given.params.items() if k not in CHANGED
    }
    assert read.params["packages"] == (f"{here}/some dir/x.deb", f"{here}/-y.deb")
    assert read.params["image_names"] == (IMAGE,)
    assert read.params["upgrade_from"] == given.params["upgrade_from"]
    assert command(read) == typed


def test_reproduction_is_quoted_for_a_shell() -> None:
    given = parse("-p", "x.deb", *(word for text in ODD for word in ("--check-command", text)))
    script = command(given).replace("postroj pkgprobe", "printf '%s\\0'", 1)
    done = subprocess.run(["sh", "-c", os.fsencode(script)], check=True, capture_output=True)
    read = parse(*(os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]))
    assert read.params["commands"] == tuple(ODD)


def test_reproduction_has_only_options_that_change_the_probe(here: Path) -> None:
    given = parse(
        *("-p", "x.deb", "--image", "debian-*", "-i", "fedora-43", "-j", "4", "--fail-fast"),
        *("--report", "json=x", "--report", "github", "--json", "--artifacts", "a"),
        *("--shell-on-failure", "--settle", "1"),
    )
    assert command(given) == (f"postroj pkgprobe --package {here}/x.deb --image {IMAGE} --settle 1")


def test_reproduction_has_no_password_of_a_proxy() -> None:
    typed = command(parse("-p", "x.deb", "--proxy", "http://user:secret@proxy.example:3128"))
    assert "secret" not in typed
    assert "proxy.example:3128" in typed


def test_reproduction_has_absolute_paths_of_older_packages(here: Path) -> None:
    url = "https://host.example/old.deb"
    words = shlex.split(
        command(parse("-p", "x.deb", "--upgrade-from", "../old.deb", "--upgrade-from", url))
    )
    assert words[-4:] == ["--upgrade-from", f"{here}/../old.deb", "--upgrade-from", url]


def test_reproduction_has_defaults_of_a_project(here: Path) -> None:
    given = parse("-p", "x.deb", default_map={"settle": 9, "discover": False})
    assert command(given).endswith(f"--image {IMAGE} --no-discover --settle 9")
    given = parse("-p", "x.deb")
    filled = {**given.params, "units": ("a", "b")}
    assert reproduction(given, filled).command(IMAGE).endswith(" --check-unit a --check-unit b")


def test_reproduction_has_catalog_and_lock_file(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = parse("-p", "/x.deb")
    tail = f"pkgprobe --package /x.deb --image {IMAGE}"
    (here / "postroj.lock").touch()
    assert command(given) == f"postroj --lock {here}/postroj.lock {tail}"
    monkeypatch.setenv("POSTROJ_LOCK", "")
    assert command(given) == f"postroj --ignore-lock {tail}"
    monkeypatch.setenv("POSTROJ_CATALOG", "own.toml")
    assert command(given) == f"postroj --catalog {here}/own.toml --ignore-lock {tail}"


def plan(*words: str) -> Plan:
    ctx = parse(*words)
    from postroj.model import NetworkMode
    from postroj.probe.ask.checks import Manners

    return Plan(
        questions=(),
        manners=Manners(),
        network=NetworkMode.NONE,
        timeout=1,
        boot_timeout=1,
        reproduction=reproduction(ctx, ctx.params),
    )


def test_reproduction_hides_the_secrets_of_urls(here: Path) -> None:
    url = "https://user:SECRET@host.example/a.deb?jwt=SECRET"
    line = plan("-p", url, "--upgrade-from", url).command(IMAGE)
    assert shlex.split(line).count("https://***@host.example/a.deb?jwt=***") == 2
    assert "SECRET" not in line


def test_reproduction_pins_downloads_to_their_digests(here: Path) -> None:
    paths = [here / "a.deb", here / "b.deb"]
    for path in paths:
        path.write_text(path.name)
    fetched = plan("-p", "https://host.example/a.deb", "-p", "b.deb").pinned(paths)
    assert shlex.split(fetched.command(IMAGE))[2:-2] == [
        *("--package", "https://host.example/a.deb", "--package", str(paths[1])),
        *("--sha256", sha256(paths[0]), "--sha256", sha256(paths[1])),
    ]
    assert "--sha256" not in plan("-p", "a.deb", "-p", "b.deb").pinned(paths).command(IMAGE)
    assert " --sha256 00 " in plan("-p", "a.deb", "--sha256", "00").pinned(paths).command(IMAGE)
