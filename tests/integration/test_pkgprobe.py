"""`postroj pkgprobe` end to end: real packages, real apt, real systemd, the exit status."""

from __future__ import annotations

import hashlib
import http.server
import json
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from postroj import __version__
from tests.support import debs
from tests.support.cli import NO_REPOSITORIES, all_argv, eventually, postroj, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

QUICK = ("--settle", "1", "--check-timeout", "5", *NO_REPOSITORIES)


def probe(image: str, *argv: object) -> tuple[int, dict[str, Any], str]:
    """Probe on an image; exit status, JSON report and what a person sees."""
    done = postroj("pkgprobe", "--image", image, "--json", *argv)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def only_step(report: dict[str, Any]) -> dict[str, Any]:
    (only,) = report["probes"]
    (step, *later) = only["steps"]  # a file that is no package has no guest and no other step
    assert isinstance(step, dict)
    assert [(start["name"], start["checks"]) for start in later] in ([], [("start", [])])
    return step


@pytest.mark.parametrize("name", ["debian-trixie", "debian-bullseye"])
def test_pkgprobe_passes_redis_server_of_the_mirror(
    pulled: Callable[[str], str], tmp_path: Path, name: str
) -> None:
    image = pulled(name)
    script = "apt-get --quiet update && cd /srv && apt-get --quiet download redis-server"
    fetch = ["run", "--image", image, "--bind", f"{tmp_path}:/srv", "--", "sh", "-ec", script]
    done = postroj(*fetch)
    assert done.returncode == 0, done.stdout + done.stderr
    (deb,) = tmp_path.glob("*.deb")

    good = ("--check-unit", "redis-server", "--check-network", "tcp://127.0.0.1:6379")
    status, report, screen = probe(image, "--package", deb, *good)
    assert status == 0, screen
    found = {check["subject"]: check for check in only_step(report)["checks"]}
    template = found.pop("redis-server@.service")
    assert (template["outcome"], template["reason"]) == ("skip", "a template")
    assert found.pop("the dependencies work")["outcome"] == "pass"
    assert {check["outcome"] for check in found.values()} == {"pass"}
    assert "listens on 127.0.0.1:6379" in found["redis-server"]["reason"]
    asked = {subject: not check["discovered"] for subject, check in found.items()}
    assert asked == {
        "redis-server": True,
        "tcp://127.0.0.1:6379": True,
        "tcp://[::1]:6379": False,
        "no newly failed unit": True,
    }
    assert only_step(report)["discovered"]["users"] == []  # redis-tools has made its user

    bad = ("--check-network", "tcp://127.0.0.1:6380", "--check-timeout", "2", "--settle", "0")
    status, report, screen = probe(image, "--package", deb, "--no-discover", *bad)
    assert status == 1
    assert only_step(report)["discovered"] is None
    (answer,) = [c for c in only_step(report)["checks"] if c["kind"] == "network"]
    assert "connection refused" in answer["reason"]
    assert "127.0.0.1:6379" in answer["reason"]

    whole = deb.read_bytes()
    for share in (0.02, 0.6):
        deb.write_bytes(whole[: int(len(whole) * share)])
        status, report, screen = probe(image, "--package", deb)
        assert status == 1, screen
        assert "is not a complete package" in only_step(report)["reason"]


def test_pkgprobe_asks_every_kind_of_check(image: str, tmp_path: Path) -> None:
    server = (
        "perl -MIO::Socket::INET -e 'my $$s = IO::Socket::INET->new(LocalAddr => qq(127.0.0.1), "
        "LocalPort => 8080, Listen => 5) or die; while (my $$c = $$s->accept) { "
        # who closes a connection with a request unread resets it
        "sysread($$c, my $$request, 1000); "
        "print $$c qq(HTTP/1.0 200 OK\\\\r\\\\n\\\\r\\\\nwelcome); close $$c }'"
    )
    deb = debs.service(tmp_path, "welcome", f'/bin/sh -c "exec {server.replace(chr(34), "")}"')
    report_file = tmp_path / "report.json"
    status, report, screen = probe(
        *(image, "--package", deb, *QUICK, "--report", f"json={report_file}"),
        *("--check-unit", "welcome", "--check-network", "tcp://127.0.0.1:8080"),
        *("--check-network", "http://localhost:8080/", "--expect-body", "welcome"),
        *("--check-file", "/lib/systemd/system/welcome.service"),
        *("--check-command", "systemctl is-enabled welcome", "--expect-status", "200"),
    )
    assert status == 0, screen
    kinds = [check["kind"] for check in only_step(report)["checks"]]
    assert sorted(kinds) == ["command", "file", "network", "network", "system", "unit"]
    assert json.loads(report_file.read_text()) == report
    assert report["schema"] == 1
    assert report["version"] == __version__
    assert report["date"] <= report["probes"][0]["date"]
    stored = json.loads(postroj("list-images", "--cached", "--json").stdout)
    digests = {one["name"]: one["cached"]["sha256"] for one in stored}
    assert report["probes"][0]["image_digest"] == digests[report["probes"][0]["image"]]
    timings = set(report["probes"][0]["timings"])
    assert {"boot", "install", "checks", "total"} <= timings
    assert "refresh" not in timings  # the lists are kept
    assert screen.splitlines()[-1].startswith("PASS  ")


FAULTS = {
    "crashes": (
        {"command": "/bin/sh -c 'echo no configuration; exit 78'"},
        ["failed (result 'exit-code')", "no configuration"],
    ),
    "loops": (
        {
            "command": "/bin/sh -c 'echo once more; sleep 0.2; exit 1'",
            "more": "Restart=always\nRestartSec=500ms",
        },
        ["crash loop", "once more"],
    ),
    "ends": ({"command": "/bin/true"}, ["inactive (dead)"]),
    "hangs": (
        {"command": "/bin/sleep 1000", "kind": "notify"},
        ["still activating (start) after 5 s"],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_check_unit_that_is_not_up_fails_with_its_journal(
    image: str, tmp_path: Path, name: str
) -> None:
    made, words = FAULTS[name]
    deb = debs.service(tmp_path, name, **made)
    status, report, screen = probe(image, "--package", deb, *QUICK, "--check-unit", name)
    assert status == 1, screen
    (answer,) = [c for c in only_step(report)["checks"] if c["subject"] == name]
    assert answer["outcome"] == "fail"
    for word in words:
        assert word in answer["reason"]


def test_pkgprobe_without_a_check_fails_newly_failed_units(image: str, tmp_path: Path) -> None:
    bad = debs.service(tmp_path, "broken", "/bin/false")
    status, report, _ = probe(image, "--package", bad, *QUICK)
    assert status == 1
    (unit, answer) = only_step(report)["checks"]
    assert (unit["subject"], unit["outcome"]) == ("broken.service", "fail")
    assert "broken.service" in answer["reason"]
    status, report, _ = probe(image, "--package", bad, "--no-discover", *QUICK)
    assert status == 1
    (answer,) = only_step(report)["checks"]
    assert "broken.service" in answer["reason"]

    good = debs.service(tmp_path, "fine", "/bin/sleep infinity")
    status, report, screen = probe(image, "--package", good, *QUICK)
    assert (status, report["outcome"]) == (0, "pass"), screen


def test_settle_may_be_longer_than_check_timeout(image: str, tmp_path: Path) -> None:
    deb = debs.service(tmp_path, "steady", "/bin/sleep infinity")
    long = ("--settle", "4", "--check-timeout", "2", "--check-unit", "steady", *NO_REPOSITORIES)
    status, _, screen = probe(image, "--package", deb, *long)
    assert status == 0, screen


def test_pkgprobe_installs_packages_that_need_each_other_together(
    image: str, tmp_path: Path
) -> None:
    first = debs.build(tmp_path, "first", depends="second")
    second = debs.build(tmp_path, "second", depends="first")
    assert probe(image, "--package", first, "--package", second, *QUICK)[0] == 0
    status, report, _ = probe(image, "--package", first, *QUICK)
    assert status == 1
    assert "'first' depends on 'second'" in only_step(report)["reason"]


def test_pkgprobe_installs_the_given_file_and_not_its_namesake_of_the_mirror(
    image: str, tmp_path: Path
) -> None:
    """A package rebuilt under the version that the mirror has."""
    version = postroj(
        *("run", "--image", image, "--", "sh", "-ec"),
        "apt-get -qq update; apt-cache show hello | sed -n 's/^Version: //p'",
    ).stdout.strip()
    deb = debs.build(
        tmp_path,
        "hello",
        version=version,
        architecture="amd64",
        files={"/usr/bin/hello": "rebuilt"},
    )
    check = ("--check-command", "grep -q rebuilt /usr/bin/hello")
    options = ("--settle", "1", "--check-timeout", "5")
    status, _, screen = probe(image, "--package", deb, *options, *check)
    assert status == 0, screen


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with packages that cannot be installed, one for each reason."""
    folder = tmp_path_factory.mktemp("broken")
    scripts = {"postinst": "#!/bin/sh\necho configuring\necho no frobnicator >&2\nexit 3\n"}
    debs.build(folder, "script", scripts=scripts)
    debs.build(folder, "missing", depends="surely-not-there (>= 2)")
    debs.build(folder, "foreign", architecture="s390x", depends="libc6")
    debs.build(folder, "overwrites", files={"/usr/bin/perl": "mine"})
    debs.build(folder, "asleep", scripts={"postinst": "#!/bin/sh\necho zzz\nsleep 1000\n"})
    debs.build(folder, "asks", scripts={"postinst": "#!/bin/sh\nread answer || exit 0\n"})
    (folder / "text_1.0_all.deb").write_text("I am no package\n")
    return folder


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("script", ["post-installation script of 'script' ended with status 3", "no frobnicator"]),
        ("missing", ["'missing' depends on 'surely-not-there (>= 2)'"]),
        ("foreign", ["is for s390x, the guest is"]),
        ("overwrites", ["'/usr/bin/perl', which is also in package 'perl-base'"]),
        ("text", ["'text_1.0_all.deb' is not a package"]),
        ("asleep", ["hung for 8 s while setting up asleep", "zzz"]),
    ],
)
def test_pkgprobe_fails_a_package_that_cannot_be_installed(
    image: str, broken: Path, name: str, words: list[str]
) -> None:
    (deb,) = broken.glob(f"{name}_*.deb")
    seconds = 8 if name == "asleep" else 60
    status, report, screen = probe(
        *(image, "--package", deb, "--timeout", seconds, "--check-unit", "whatever"),
        *NO_REPOSITORIES,
    )
    assert (status, report["outcome"]) == (1, "fail"), screen
    for word in words:
        assert word in only_step(report)["reason"]
    (answer,) = only_step(report)["checks"]
    assert answer["outcome"] == "skip"


def test_pkgprobe_answers_no_question_of_a_script(image: str, broken: Path) -> None:
    (deb,) = broken.glob("asks_*.deb")
    assert probe(image, "--package", deb, *QUICK)[0] == 0


def test_pkgprobe_does_not_blame_the_package_for_an_unreachable_mirror(
    image: str, tmp_path: Path
) -> None:
    deb = debs.build(tmp_path, "innocent")
    setup = "echo 'deb http://127.0.0.1:1/ stable main' > /etc/apt/sources.list"
    retries = "echo 'Acquire::Retries 0;' > /etc/apt/apt.conf.d/90"
    argv = ("--package", deb, "--setup", setup, "--setup", retries)
    status, report, _ = probe(image, *argv)
    assert (status, report["outcome"]) == (4, "error")
    assert "could not reach its package repositories" in only_step(report)["reason"]
    assert only_step(report)["hint"]


def test_pkgprobe_ends_wrong_usage_with_status_2(image: str, tmp_path: Path) -> None:
    deb = debs.build(tmp_path, "innocent")
    for argv in (
        ("--package", tmp_path / "nowhere.deb"),
        ("--package", deb, "--check-network", "127.0.0.1:80"),
        ("--package", deb, "--check-file", "relative"),
        ("--package", deb, "--report", "xml=file"),
        ("--package", deb, "--report", "json=/no/such/folder/file"),
        ("--package", deb, "--sha256", "00", "--sha256", "11"),
        ("--package", deb, "--package", deb),
        ("--package", deb, "--image", "debian-trixy"),
        (),
    ):
        done = postroj("pkgprobe", "--image", image, *argv)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert "Traceback" not in done.stderr


def test_pkgprobe_ends_with_its_guest_on_ctrl_c(
    image: str, tmp_path: Path, state_dir: Path
) -> None:
    deb = debs.build(tmp_path, "asleep", scripts={"postinst": "#!/bin/sh\nsleep 1000\n"})
    process = start("pkgprobe", "--image", image, "--package", deb, *NO_REPOSITORIES)
    assert eventually(lambda: any(b"asleep.postinst" in argv for argv in all_argv()), 60)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stdout
    process.stdout.close()
    assert [path.name for path in state_dir.iterdir()] == [".lock"]
    assert not any(b"asleep.postinst" in argv for argv in all_argv())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server for the packages in a folder, with a redirection."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/old/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/old"))
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def test_pkgprobe_fetches_a_package_from_a_url(image: str, tmp_path: Path, server: str) -> None:
    deb = debs.build(tmp_path, "remote")
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    url = f"{server}/old/{deb.name}"
    status, report, screen = probe(image, "--package", url, "--sha256", digest, *QUICK)
    assert status == 0, screen
    assert report["probes"][0]["package"] == deb.name

    status, report, screen = probe(image, "--package", url, "--sha256", "0" * 64)
    assert (status, report) == (4, {})
    assert digest in screen

    status, report, screen = probe(image, "--package", f"{server}/nowhere.deb")
    assert (status, report) == (4, {})
    assert "404" in screen


def test_pkgprobe_sha256_pins_a_local_file(image: str, tmp_path: Path) -> None:
    deb = debs.build(tmp_path, "local")
    status, _, screen = probe(image, "--package", deb, "--sha256", "0" * 64)
    assert status == 4
    assert "not the file that was pinned" in screen


def test_pkgprobe_prints_steps_and_checks_for_a_person(image: str, tmp_path: Path) -> None:
    deb = debs.service(tmp_path, "fine", "/bin/sleep infinity")
    argv = ["pkgprobe", "--image", image, "--package", deb, *QUICK, "--check-unit", "fine"]
    done = postroj(*argv)
    lines = done.stdout.splitlines()
    assert lines[0] == f"fine_1.0_all.deb on {image}"
    assert lines.pop(2) == "          | brings 1 unit"
    assert [line.split()[0] for line in lines[1:-1]] == ["pass"] * 4
    assert lines[-2].endswith("  start    nothing to start, 1 unit started by the installation")
    assert len({line.index(" s  ") for line in lines[1:-1]}) == 1
    assert lines[-1].startswith("PASS  1 service up; ")
    assert "\x1b" not in done.stdout
