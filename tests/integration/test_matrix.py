"""Many images in one command: real guests at once, one report, and an end that leaves nothing."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from postroj.image.architectures import of_this_host
from postroj.image.store import store
from tests.support import debs
from tests.support.cli import NO_REPOSITORIES, all_argv, eventually, postroj, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOUR = ("debian-sid", "debian-bullseye", "debian-trixie", "debian-bookworm")
"""In an order that nothing else would give them."""
QUICK = ("--settle", "0", "--check-timeout", "5", *NO_REPOSITORIES)

SOCKET = """\
[Socket]
ListenStream=127.0.0.1:7777
Accept=yes
[Install]
WantedBy=sockets.target
"""
SERVICE = "[Service]\nExecStart=/bin/cat\nStandardInput=socket\n"
MEET = """\
#!/bin/sh
set -e
until [ -e /run/all-are-here ]; do sleep 0.1; done
systemctl daemon-reload
systemctl start meet.socket
"""


def those_in(script: str) -> list[Path]:
    """Return `/proc/PID` of a process in each guest that runs a maintainer script: `x.postinst`."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            argv = (path / "cmdline").read_bytes().split(b"\0")
            guest = (path / "ns/mnt").readlink()
        except OSError:  # it has ended
            continue
        if len(argv) > 1 and argv[1].endswith(f"/{script}".encode()):
            found[guest] = path  # a shell about to start something is there twice
    return [*found.values()]


def finish(process: Any) -> tuple[int, dict[str, dict[str, Any]]]:
    """Wait for postroj; its exit status, and the probes of its report by their images."""
    out, _ = process.communicate(timeout=120)
    return process.returncode, {probe["image"]: probe for probe in json.loads(out)["probes"]}


@pytest.fixture
def begin() -> Iterator[Callable[..., Any]]:
    """Start postroj; what still runs when a test fails is ended, with its guests."""
    begun = []

    def begin(*argv: object) -> Any:
        begun.append(start(*argv))
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=120)


@pytest.fixture
def four(pulled: Callable[[str], str]) -> list[str]:
    """Options for four images."""
    return [word for name in FOUR for word in ("--image", pulled(name))]


@pytest.fixture
def eight(
    image: str, monkeypatch: pytest.MonkeyPatch, state_dir: Path
) -> Iterator[tuple[str, Path]]:
    """A pattern for eight images, in a cache of their own, and where their guests' state is."""
    record = store.require(image, of_this_host())
    bases = record.paths
    with tempfile.TemporaryDirectory(prefix="c-", dir="/var/tmp") as folder:
        monkeypatch.setenv("POSTROJ_CACHE_DIR", folder)
        store.prepare()
        for path in bases:
            shutil.copy(path, folder)
        for number in range(8):
            twin = replace(record, name=f"eight-{number}")
            for ours, base in zip(twin.paths, bases, strict=True):
                ours.hardlink_to(Path(folder, base.name))
            (twin.path.parent / f"{twin.name}-{twin.architecture}.json").write_text(twin.to_json())
        yield "eight-*", state_dir


def test_jobs_4_probes_four_images_at_once(
    four: list[str], tmp_path: Path, begin: Callable[..., Any]
) -> None:
    """Each waits in its postinst until the others have come there; all use the same port."""
    units = "/lib/systemd/system"
    files = {f"{units}/meet.socket": SOCKET, f"{units}/meet@.service": SERVICE}
    deb = debs.build(tmp_path, "meet", files=files, scripts={"postinst": MEET})
    network = ("--check-network", "tcp://127.0.0.1:7777")
    process = begin("pkgprobe", *four, "--jobs", 4, "--package", deb, "--json", *QUICK, *network)
    assert eventually(lambda: len(those_in("meet.postinst")) == 4, 200)
    for path in those_in("meet.postinst"):
        (path / "root/run/all-are-here").touch()
    status, found = finish(process)
    assert status == 0, found
    assert list(found) == list(FOUR)
    for probe in found.values():
        (step, _) = probe["steps"]
        asked = {check["subject"]: check["outcome"] for check in step["checks"]}
        assert asked["tcp://127.0.0.1:7777"] == "pass"


def test_jobs_print_the_lines_of_a_probe_together(four: list[str], tmp_path: Path) -> None:
    deb = debs.build(tmp_path, "calm", architecture="sparc")
    done = postroj("pkgprobe", *four, "--jobs", 4, "--package", deb)
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert heads[:-1] == [f"calm_1.0_sparc.deb on {name}" for name in FOUR]
    assert heads[-1].startswith("FAIL  the package is to blame")
    reasons = [line for line in lines if "'calm_1.0_sparc.deb' is for sparc" in line]
    assert [lines.index(head) + 1 for head in heads[:-1]] == [
        place for place, line in enumerate(lines) if line in reasons
    ]


def test_test_probes_each_package_of_a_build_with_those_that_it_needs(
    image: str, tmp_path: Path
) -> None:
    """Alone, `app` cannot be installed, as no repository has its library."""
    debs.build(tmp_path, "postroj-lib", files={"/usr/share/postroj-lib": "1"})
    needs = 'test "$(cat /usr/share/postroj-lib)" = 1; ! test -e /usr/share/postroj-other'
    scripts = {"postinst": f"#!/bin/sh\nset -e\n{needs}\n"}
    debs.build(tmp_path, "app", depends="postroj-lib (= 1.0)", scripts=scripts)
    other = {"postinst": "#!/bin/sh\necho no luck; exit 1\n"}
    debs.build(tmp_path, "other", files={"/usr/share/postroj-other": ""}, scripts=other)
    debs.build(tmp_path, "far", architecture="s390x")
    (tmp_path / "cut_1.0_all.deb").write_bytes((tmp_path / "app_1.0_all.deb").read_bytes()[:400])
    done = postroj("test", tmp_path, "--image", image, "--report", "json=-", *QUICK)
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    found = {probe["package"]: probe for probe in report["probes"]}
    assert {package: probe["outcome"] for package, probe in found.items()} == {
        "app_1.0_all.deb postroj-lib_1.0_all.deb": "pass",
        "other_1.0_all.deb": "fail",
        "cut_1.0_all.deb": "fail",
    }
    (step,) = found["cut_1.0_all.deb"]["steps"]
    assert step["reason"].startswith("'cut_1.0_all.deb' is not a complete package\n400 bytes")
    app, lib = found["app_1.0_all.deb postroj-lib_1.0_all.deb"]["packages"]
    assert (app["name"], app["version"], lib["name"]) == ("app", "1.0", "postroj-lib")
    assert lib["sha256"] == sha256((tmp_path / lib["file"]).read_bytes()).hexdigest()
    path = tmp_path / "other_1.0_all.deb"
    assert f" --package {path} --image " in found["other_1.0_all.deb"]["reproduce"]
    assert report["summary"] == "2 failed, 1 passed"
    lines = done.stderr.splitlines()
    assert "left out, for s390x: far_1.0_s390x.deb" in lines
    assert "          | no luck" in lines
    assert lines[-1].startswith("FAIL  2 failed, 1 passed; ")


def test_fail_fast_ends_the_guests_that_run(
    four: list[str], tmp_path: Path, begin: Callable[..., Any]
) -> None:
    script = """#!/bin/sh
. /etc/os-release
until [ -e /run/all-are-here ]; do sleep 0.1; done
exit 1
"""
    deb = debs.build(tmp_path, "hasty", scripts={"postinst": script})
    argv = ("pkgprobe", *four, "--jobs", 2, "--fail-fast", "--package", deb, "--json", *QUICK)
    process = begin(*argv)
    assert eventually(lambda: len(those_in("hasty.postinst")) == 2, 200)
    (those_in("hasty.postinst")[0] / "root/run/all-are-here").touch()
    status, found = finish(process)
    assert status == 1
    assert not those_in("hasty.postinst")
    outcomes = [found[name]["outcome"] for name in FOUR]
    assert sorted(outcomes[:2]) == ["fail", "skip"]
    assert outcomes[2:] == ["skip", "skip"]
    (step,) = found[FOUR[3]]["steps"]
    assert step["reason"].startswith("given up, as 'debian-")


@pytest.mark.parametrize(
    ("number", "status", "in_postinst"),
    [(signal.SIGINT, 130, True), (signal.SIGTERM, 143, False), (signal.SIGHUP, 129, False)],
)
def test_jobs_8_that_get_a_signal_write_a_report_and_leave_nothing(
    eight: tuple[str, Path],
    tmp_path: Path,
    number: signal.Signals,
    status: int,
    in_postinst: bool,
    begin: Callable[..., Any],
) -> None:
    pattern, state_dir = eight
    deb = debs.build(tmp_path, "dozing", scripts={"postinst": "#!/bin/sh\nsleep 1000\n"})
    file = tmp_path / "report.json"
    process = begin(
        *("pkgprobe", "--image", pattern, "--jobs", 8, "--package", deb, "--json"),
        *(NO_REPOSITORIES if in_postinst else ()),
        *("--report", f"json={file}"),
    )

    def guests() -> list[str]:
        return [path.name for path in state_dir.glob("postroj-*") if (path / "console").exists()]

    assert eventually(lambda: len(guests()) == 8, 200)
    if in_postinst:  # of one or more, while others still are on their way
        assert eventually(lambda: those_in("dozing.postinst"), 200)
    names = guests()
    process.send_signal(number)
    ended, found = finish(process)
    assert ended == status
    assert json.loads(file.read_text())["probes"] == list(found.values())
    assert len(found) == 8
    assert {probe["reason"] for probe in found.values()} == {"interrupted"}
    assert [path.name for path in state_dir.iterdir()] == [".lock"]
    mounts = Path("/proc/self/mountinfo").read_text()
    argv = b"".join(all_argv()).decode(errors="replace")
    groups = {folder.name for folder in Path("/sys/fs/cgroup").glob("**/postroj-*")}
    for name in names:
        assert name not in mounts
        assert name not in argv
        assert name not in groups
    assert not those_in("dozing.postinst")
