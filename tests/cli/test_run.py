"""`postroj run` and `postroj shell`: from words to a command and a guest; the guest is a fake."""

from __future__ import annotations

import errno
import re
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from postroj import prepare
from postroj.cli.commands import run as run_module
from postroj.cli.commands.shell import shell
from postroj.container import start
from postroj.container.boot.nspawn import bind_option
from postroj.container.enter.nsenter import LOGIN_SHELL
from postroj.container.guest import Command
from postroj.container.limits import Asked
from postroj.container.spec import GuestSpec
from postroj.errors import ExitStatus, GuestError, HostError, PostrojError, UsageError
from postroj.model import Image, Manager, NetworkMode
from tests.support.cli import postroj
from tests.support.images import put
from tests.support.root import needs_root

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recorder:
    """Record images, guests and commands; `result` is a status or an error to raise."""

    def __init__(self) -> None:
        self.images: list[str] = []
        self.architectures: list[str] = []
        self.specs: list[GuestSpec] = []
        self.commands: list[Command] = []
        self.begun: list[Command] = []
        self.name = "postroj-00000001"
        self.kept = True
        self.result: int | Exception = 0

    @contextmanager
    def obtain(self, name: str, architecture: str, *, boot: bool) -> Iterator[Image]:
        self.images.append(name)
        self.architectures.append(architecture)
        yield Image(name=name, architecture="x86_64", layers=(Path("/i"),), manager=Manager.APT)

    @contextmanager
    def boot(self, spec: GuestSpec) -> Iterator[Recorder]:
        self.specs.append(spec)
        yield self

    def begin(self, command: Command) -> None:
        self.begun.append(command)

    def attach(self, command: Command) -> int:
        self.commands.append(command)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(prepare, "obtain", recorder.obtain)
    monkeypatch.setattr(start, "start_guest", recorder.boot)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return recorder


def run(*argv: str, command: Any = run_module.run) -> Any:
    done = CliRunner().invoke(command, argv, standalone_mode=False)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.return_value


def test_run_with_defaults(seen: Recorder) -> None:
    assert run("true") == 0
    assert seen.images == ["debian-stable"]
    spec = GuestSpec(layers=(Path("/i"),), image="debian-stable", purpose="run true")
    assert seen.specs == [spec]
    assert seen.commands == [Command(argv=("true",))]


@pytest.mark.parametrize(
    ("argv", "image", "command"),
    [
        (["debian-sid", "ls", "-i", "x"], "debian-sid", ("ls", "-i", "x")),
        (["debian", "ls"], "debian", ("ls",)),
        (["debian:13", "ls"], "debian-13", ("ls",)),
        (["-it", "--rm", "debian-sid", "ls"], "debian-sid", ("ls",)),
        (["-ti", "debian-sid", "ls"], "debian-sid", ("ls",)),
        (["-i", "-t", "debian-sid", "ls"], "debian-sid", ("ls",)),
        (["--interactive", "--tty", "debian-sid", "ls"], "debian-sid", ("ls",)),
        (["-it", "ls"], "debian-stable", ("ls",)),
        (["-i", "debian-sid", "debian-trixie", "ls"], "debian-sid", ("debian-trixie", "ls")),
        (["arch", "--help"], "debian-stable", ("arch", "--help")),
        (["own", "ls"], "own", ("ls",)),
    ],
)
def test_run_takes_an_image_before_the_command(
    seen: Recorder,
    argv: list[str],
    image: str,
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path / "cache"))
    put("own", b"x")
    assert run(*argv) == 0
    assert seen.images == [image]
    assert seen.commands == [Command(argv=command)]


@pytest.mark.parametrize(
    ("word", "meant"),
    [("debain-trixie", "debian-trixie"), ("fedora-4", "fedora"), ("debian:trixi", "debian-")],
)
def test_run_suggests_the_image_for_a_mistyped_one(seen: Recorder, word: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"'{word.replace(':', '-')}' is neither") as caught:
        run(word, "ls")
    assert caught.value.hint.startswith(f"did you mean '{meant}")
    assert caught.value.exit_status == ExitStatus.RUN_FAILED
    assert run("--image", "debian-sid", word) == 0
    assert run("./debian-trixi") == 0


@pytest.mark.parametrize("word", ["systemctl", "partx", "apt-get", "sid-tool", "leaf", "opensnoop"])
def test_run_takes_other_words_for_commands(seen: Recorder, word: str) -> None:
    assert run(word, "x") == 0
    assert seen.images == ["debian-stable"]


def test_run_with_an_image_alone() -> None:
    with pytest.raises(UsageError, match="missing argument") as caught:
        run("debian-sid")
    assert caught.value.hint == "`postroj shell debian-sid` opens a shell"


def test_detach_with_an_image_alone(seen: Recorder) -> None:
    assert run("-d", "debian-sid") == 0
    assert (seen.images, seen.begun) == (["debian-sid"], [])


def test_shell_takes_an_image_as_argument(seen: Recorder) -> None:
    for argv in ([], ["debian-sid"], ["-it", "debian-sid"], ["-i", "debian-sid"]):
        run(*argv, command=shell)
    assert seen.images == ["debian-stable", *["debian-sid"] * 3]
    with pytest.raises(UsageError, match="two images are given"):
        run("-i", "debian-sid", "debian-trixie", command=shell)


def test_run_on_another_architecture(seen: Recorder) -> None:
    assert run("true") == 0
    for name in ("riscv64", "amd64", "linux/arm64", "arm/v7"):
        assert run("--arch", name, "true") == 0
    assert seen.architectures == ["", "riscv64", "x86_64", "aarch64", "armv7l"]


@pytest.mark.parametrize("status", [0, 1, 2, 124, 137, 255])
def test_run_exits_with_the_status_of_the_command(seen: Recorder, status: int) -> None:
    seen.result = status
    assert run("true") == status


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["ls", "-l", "--help"], ("ls", "-l", "--help")),
        (["--", "ls", "--", "-x"], ("ls", "--", "-x")),
        (["--", "--odd"], ("--odd",)),
        (["sh", "-c", "echo 'a b' $x"], ("sh", "-c", "echo 'a b' $x")),
        (["echo", ""], ("echo", "")),
    ],
)
def test_run_passes_on_options_of_the_command(
    seen: Recorder, argv: list[str], command: tuple[str, ...]
) -> None:
    run(*argv)
    assert seen.commands[0].argv == command


def test_run_with_every_option(
    seen: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAKEN", "over")
    monkeypatch.delenv("UNKNOWN", raising=False)
    run(
        *("-i", "debian-sid", "--network", "host", "--no-boot", "--boot-timeout", "7"),
        *("--bind", f"{tmp_path}:/srv", "--bind-ro", str(tmp_path), "--chdir", "/srv"),
        *("-e", "A=b=c", "--setenv", "EMPTY=", "-e", "TAKEN", "-e", "UNKNOWN", "--", "true"),
    )
    (spec,) = seen.specs
    assert (spec.network, spec.boot, spec.boot_timeout) == (NetworkMode.HOST, False, 7)
    assert [bind_option(bind) for bind in spec.binds] == [
        f"--bind={tmp_path}:/srv",
        f"--bind-ro={tmp_path}:{tmp_path}",
    ]
    (command,) = seen.commands
    assert command.chdir == "/srv"
    assert command.env == {"A": "b=c", "EMPTY": "", "TAKEN": "over"}
    assert seen.images == ["debian-sid"]


def test_run_with_publish_and_proxy(seen: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://u:secret@192.0.2.1:3128")
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "lan.example")
    run("--publish", "127.0.0.9:28080:80", "-p", "28053:28053/udp", "--proxy", "host", "true")
    ways = {"https_proxy": "http://u:secret@192.0.2.1:3128", "no_proxy": "lan.example"}
    (spec,) = seen.specs
    assert [one.options for one in spec.published] == [
        ("--tcp-ports", "127.0.0.9/28080-28080:80-80"),
        ("--udp-ports", "127.0.0.1/28053-28053:28053-28053"),
    ]
    assert spec.proxies == ways
    (command,) = seen.commands
    assert (command.env, command.secrets) == ({}, ways)


@pytest.mark.parametrize("command", [run_module.run, shell])
def test_run_and_shell_refuse_a_user_before_a_pull(
    seen: Recorder, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = "this user gets no guests"

    def refuse() -> None:
        raise HostError(refused)

    monkeypatch.setattr(start, "become_root", refuse)
    with pytest.raises(HostError, match=refused) as caught:
        run(*(["true"] if command is run_module.run else []), command=command)
    assert caught.value.exit_status == ExitStatus.RUN_FAILED
    assert (seen.images, seen.specs) == ([], [])


@pytest.mark.parametrize("command", [run_module.run, shell])
def test_an_error_of_the_kernel_in_run_and_shell_has_status_125(
    seen: Recorder, command: Any
) -> None:
    seen.result = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PostrojError, match="No space left on device") as caught:
        run(*(["true"] if command is run_module.run else []), command=command)
    assert caught.value.exit_status == ExitStatus.RUN_FAILED


def test_publish_of_a_taken_port_fails_before_a_pull(seen: Recorder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(HostError, match=f"port {port}/tcp of 127.0.0.1 .* in use") as caught:
            run("--publish", f"{port}:80", "true")
    assert caught.value.exit_status == ExitStatus.RUN_FAILED
    assert seen.images == []


def test_run_with_limits(seen: Recorder) -> None:
    run("--memory", "1G", "--cpus", "1.5", "--pids", "9", "--private-users", "--read-only", "true")
    (spec,) = seen.specs
    assert spec.asked == Asked(memory=1 << 30, cpus=1.5, processes=9)
    assert (spec.private_users, spec.read_only) == (True, True)


def test_bind_of_a_relative_source(
    seen: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a:b").mkdir()
    monkeypatch.chdir(tmp_path)
    run("--bind", r"a\:b:/x\:y", "true")
    (bind,) = seen.specs[0].binds
    assert (bind.source, bind.target) == (tmp_path / "a:b", "/x:y")


def test_shell_runs_a_login_shell(seen: Recorder) -> None:
    seen.result = 3
    assert run("--image", "debian-sid", command=shell) == 3
    assert seen.commands == [Command(argv=LOGIN_SHELL)]
    assert seen.specs[0].boot


def test_detach_prints_the_name(seen: Recorder) -> None:
    for argv in (["-d"], ["--detach", "--name", "web", "-e", "A=b", "--chdir", "/srv", "top"]):
        done = CliRunner().invoke(run_module.run, argv, standalone_mode=False)
        assert done.exception is None
        assert done.output == ("web\n" if "web" in argv else "postroj-00000001\n")
    assert [(spec.keep, spec.given) for spec in seen.specs] == [(True, ""), (True, "web")]
    assert seen.begun == [Command(argv=("top",), env={"A": "b"}, chdir="/srv")]
    assert seen.commands == []


def test_detach_fails_if_the_guest_ended(seen: Recorder) -> None:
    seen.kept = False
    with pytest.raises(GuestError, match="ended before it could be kept") as caught:
        run("-d", "--name", "web")
    assert caught.value.exit_status == ExitStatus.RUN_FAILED


def test_name_option_keeps_no_guest(seen: Recorder) -> None:
    run("--name", "web", "true")
    run("--name", "db", command=shell)
    assert [(spec.keep, spec.given) for spec in seen.specs] == [(False, "web"), (False, "db")]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "missing argument 'COMMAND...'"),
        (["-d", "--no-boot", "true"], "`--no-boot --detach` takes no command"),
        (["--name", "Web", "true"], "'Web' is not a valid name for a guest"),
        (["--name", "-web", "true"], "'-web' is not a valid name"),
        (["--name", "a.b", "true"], "'a.b' is not a valid name"),
        (["--name", "../web", "true"], "'../web' is not a valid name"),
        (["--name", "a" * 64, "true"], f"'{'a' * 64}' is not a valid name"),
        (["--name", "postroj-0123abcd", "true"], "'postroj-0123abcd' is not a valid name"),
        (["--chdir", "srv", "true"], "`--chdir` takes an absolute path in the guest, not 'srv'"),
        (["--bind", "", "true"], "'' is not SOURCE[:TARGET]"),
        (["--bind", ":/srv", "true"], "':/srv' is not SOURCE"),
        (["--bind", "/:srv", "true"], "'/:srv' is not SOURCE"),
        (["--bind", "/:/a:ro", "true"], "'/:/a:ro' is not SOURCE"),
        (["--bind-ro", "/no/such/thing", "true"], "'/no/such/thing' does not exist"),
        (["--setenv", "=x", "true"], "`--setenv =x` has no variable name"),
        (["-p", "80", "true"], "`--publish 80` is not of the form [ADDRESS:]HOST:GUEST[/tcp|/udp]"),
        (["-p", "1:1", "--network=none", "true"], "`--publish` needs a private network, not"),
        (["--proxy", "proxy:3128", "true"], "'proxy:3128' is not the URL of a proxy"),
        (["--proxy", "http://127.0.0.2:1", "true"], "the proxy 'http://127.0.0.2:1' listens on"),
        (["--memory", "much", "true"], "'much' is not a size of at least 1 MiB"),
        (
            ["--private-users", "--network", "host", "true"],
            "`--private-users` does not work with `--network=host`",
        ),
        pytest.param(
            *(["--image", "debian-trixy", "true"], "there is no image 'debian-trixy'"),
            marks=needs_root,
        ),
    ],
)
def test_invalid_values_are_refused(argv: list[str], message: str) -> None:
    done = postroj("run", *argv)
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith(f"error: {message}")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ["run"],
        ["run", "--bogus", "true"],
        ["run", "--network", "bogus", "true"],
        ["run", "--boot-timeout", "soon", "true"],
        ["run", "--cpus", "0.004", "true"],
        ["run", "--pids", "0", "true"],
        ["shell", "--bogus"],
        ["shell", "two", "words"],
        ["shell", "--no-boot"],
    ],
)
def test_usage_errors_have_status_125(argv: list[str]) -> None:
    done = postroj(*argv)
    assert (done.returncode, done.stdout) == (125, "")
    assert re.search(r"^hint: see `postroj (run|shell) --help`", done.stderr, re.MULTILINE)


def test_failed_guest_has_status_125(seen: Recorder) -> None:
    seen.result = GuestError("the guest ended meanwhile")
    with pytest.raises(GuestError) as caught:
        run("true")
    assert caught.value.exit_status == ExitStatus.RUN_FAILED
    assert GuestError("another").exit_status == ExitStatus.ERROR
