"""The plugin of pytest and the public API, as the tests of a package use them."""

from __future__ import annotations

import subprocess
import sys
from signal import SIGKILL
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from postroj.api import Guest, PostrojFailed, probe
from tests.support import debs, victims
from tests.support.cli import DEFAULT_IMAGE, eventually, postroj

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TESTS = """
import pytest

def test_testinfra(host):
    assert host.service("lonely").is_running
    assert host.package("lonely").version == "1.0"
    assert host.file("/etc/os-release").contains("Debian")

@pytest.mark.postroj_image("fedora-*")
def test_elsewhere(postroj_installed):
    raise AssertionError

def test_that_fails(postroj_installed):
    postroj_installed.run("sh", "-c", "logger -p err oops; echo said >&2; exit 3")

def test_verdict(postroj_probe):
    postroj_probe("--steps=install,purge", "--settle=0")
"""


def run_pytest(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
    return subprocess.run(
        argv, cwd=folder, check=False, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def image(pulled: Callable[[str], str]) -> str:
    return pulled(DEFAULT_IMAGE)


def test_tests_of_a_package_get_guests_and_their_reports_say_why(
    image: str, tmp_path: Path
) -> None:
    debs.service(tmp_path, "lonely", "/bin/sleep 1000")
    (tmp_path / "test_lonely.py").write_text(TESTS)
    (tmp_path / "postroj.toml").write_text('package = "*.deb"\n')
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npostroj_images = {image}\n")
    done = run_pytest(tmp_path, "--junitxml=found.xml")
    cases = ET.parse(tmp_path / "found.xml").getroot().iter("testcase")
    found = {case.attrib["name"]: [(one.tag, one.text or "") for one in case] for case in cases}
    assert found.pop(f"test_testinfra[{image}]") == [], done.stdout
    assert found.pop(f"test_elsewhere[{image}]")[0][0] == "skipped"
    failures = {name: dict(ones) for name, ones in found.items()}
    broken = failures[f"test_that_fails[{image}]"]["failure"]
    assert "exit status 3" in broken
    assert "said" in broken
    verdict = failures[f"test_verdict[{image}]"]["failure"]
    assert "purge: no file left behind" in verdict
    assert "reproduce: postroj pkgprobe" in verdict
    assert f"journal of the guest of {image}" in done.stdout
    assert "oops" in done.stdout
    assert "2 failed, 1 passed, 1 skipped" in done.stdout


def test_testinfra_connects_to_a_guest_that_runs(image: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "def test(host):\n    assert host.file('/srv').is_directory\n"
    )
    with Guest(image, options=("--network=none",)) as guest:
        done = run_pytest(tmp_path, f"--hosts=postroj://{guest.name}")
    assert "1 passed" in done.stdout, done.stdout


def test_guest_is_ended_with_the_process_that_started_it(image: str) -> None:
    script = f"""
import sys
from postroj.api import Guest
guest = Guest({image!r}).__enter__()
print(guest.name, flush=True)
sys.stdin.read()
"""
    argv = [sys.executable, "-c", script]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        name = child.stdout.readline().strip()
        assert postroj("exec", name, "--", "true").returncode == 0
        found = victims.look(child.pid)
        assert found
        victims.send(found, SIGKILL)
    assert eventually(lambda: name not in postroj("ps").stdout)


def test_files_go_both_ways_and_commands_have_input_and_environment(
    image: str, tmp_path: Path
) -> None:
    (tmp_path / "there").write_text("hello")
    with Guest(image, options=("--network=none",)) as guest:
        guest.copy(tmp_path / "there", ":/root/it")
        guest.copy(":/root/it", tmp_path / "back")
        done = guest.run("sh", "-c", 'cat /root/it -; echo "$X"', stdin=" you", env={"X": "1 2"})
        assert done.stdout == "hello you1 2\n"
        with pytest.raises(subprocess.TimeoutExpired):
            guest.run("sleep", "60", timeout=1)
        with pytest.raises(subprocess.CalledProcessError) as caught:
            guest.install(tmp_path / "there")
        assert caught.value.__notes__
        with pytest.raises(PostrojFailed, match="missing"):
            guest.copy(tmp_path / "missing", ":/root")
    assert (tmp_path / "back").read_text() == "hello"


def test_failures_of_postroj_are_told_apart() -> None:
    with pytest.raises(PostrojFailed, match="no image") as caught, Guest("no-such-image"):
        pass
    assert "hint:" in str(caught.value)
    with pytest.raises(PostrojFailed, match=r"missing\.deb"):
        probe("missing.deb")
