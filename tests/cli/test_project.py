"""The file of a project behind `postroj pkgprobe`: what it fills in, and how it is refused."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from postroj import matrix
from postroj.cli.commands.pkgprobe import pkgprobe
from postroj.container import start
from postroj.errors import UsageError
from postroj.model import NetworkMode
from postroj.tasks import Findings
from postroj.verdict import CheckKind, Outcome, ProbeResult, Report, StepName
from tests.support.cli import postroj

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.probe.plan import Plan

FILE = """\
package = "dist/*.deb"
image = ["debian-sid", "debian-trixie"]
check-unit = "x"
check-network = ["tcp://127.0.0.1:80", "http://127.0.0.1/"]
check-command = ["true"]
expect-status = 404
discover = false
steps = ["install", "reboot"]
settle = 0
timeout = 7
network = "none"
jobs = 2
fail-fast = true
report = "json=report.json"
arch = "riscv64"

[[expect]]
image = "debian-sid"
outcome = "fail"
reason = "bug 7"
until = 2999-01-01
"""


class Recorder:
    """Replace `matrix.probe_all`, and record its arguments."""

    images: tuple[str, ...]
    packages: tuple[str, ...]
    plan: Plan
    how: dict[str, Any]

    def __call__(
        self, images: Any, packages: Any, digests: Any, plan: Plan, stage: Any, **how: Any
    ) -> Findings:
        self.images, self.packages, self.plan, self.how = images, packages, plan, how
        probe = ProbeResult(image="debian-sid", package="x.deb", notes=("a note",))
        return Findings(report=Report(probes=(probe,)), seconds=1)

    def asked(self, kind: CheckKind) -> list[str]:
        return [one.subject for one in self.plan.questions if one.kind is kind]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(matrix, "probe_all", recorder)
    monkeypatch.setattr(start, "become_root", lambda: None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "x.deb").touch()
    (tmp_path / "postroj.toml").write_text(FILE)
    return recorder


def run(*argv: str) -> int:
    done = CliRunner().invoke(pkgprobe, argv, standalone_mode=False)
    if done.exception:
        raise done.exception
    status: int = done.return_value
    return status


def test_project_file_sets_options(seen: Recorder, tmp_path: Path) -> None:
    assert run() == 3
    assert seen.packages == (f"{tmp_path}/dist/x.deb",)
    assert seen.images == ("debian-sid", "debian-trixie")
    assert seen.asked(CheckKind.UNIT) == ["x"]
    assert seen.asked(CheckKind.NETWORK) == ["tcp://127.0.0.1:80", "http://127.0.0.1/"]
    assert seen.asked(CheckKind.COMMAND) == ["true"]
    plan = seen.plan
    assert plan.manners.expected.status == 404
    assert plan.steps == (StepName.INSTALL, StepName.REBOOT)
    assert (plan.manners.settle, plan.timeout, plan.boot_timeout) == (0, 7, 60)
    assert (plan.discover, plan.network) == (False, NetworkMode.NONE)
    assert plan.architecture == "riscv64"
    assert seen.how == {"jobs": 2, "fail_fast": True}
    (known,) = plan.expected
    assert (known.reason, known.until, known.outcome) == (
        "bug 7",
        date(2999, 1, 1),
        Outcome.FAIL,
    )
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["probes"][0]["notes"] == ["a note"]


def test_project_file_leaves_out_recommended_packages(seen: Recorder, tmp_path: Path) -> None:
    (tmp_path / "postroj.toml").write_text(
        FILE.replace("discover = false", 'recommends = false\nmay-leave = "/var/lib/x"')
    )
    run()
    assert (seen.plan.recommends, seen.plan.may_leave) == (False, ("/var/lib/x",))


def test_command_line_overrides_the_project_file_per_option(seen: Recorder) -> None:
    run(
        *("--package", "y.deb", "--check-unit", "y", "--check-unit", "z", "--discover"),
        *("--steps", "all", "--settle", "3", "--network", "private", "--keep-going"),
    )
    assert seen.packages == ("y.deb",)
    assert seen.images == ("debian-sid", "debian-trixie")
    assert seen.asked(CheckKind.UNIT) == ["y", "z"]
    assert seen.asked(CheckKind.COMMAND) == ["true"]
    assert (seen.plan.manners.settle, seen.plan.timeout) == (3, 7)
    assert (seen.plan.discover, seen.plan.network) == (True, NetworkMode.PRIVATE)
    assert StepName.PURGE in seen.plan.steps
    assert seen.how == {"jobs": 2, "fail_fast": False}


def test_unused_pattern_without_matches_is_ignored(seen: Recorder, tmp_path: Path) -> None:
    (tmp_path / "dist" / "x.deb").unlink()
    run("--package", "y.deb")
    with pytest.raises(UsageError, match=r"^postroj.toml:1: `package`: no file matches 'dist/"):
        run()


def test_project_and_no_project_options(seen: Recorder, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("image = 'debian-bookworm'\npackage = 'dist/x.deb'\n")
    run("--project", "other.toml")
    assert seen.images == ("debian-bookworm",)
    assert not seen.plan.expected
    run("--no-project", "--package", "y.deb")
    assert not seen.images
    with pytest.raises(UsageError, match="cannot be combined"):
        run("--no-project", "--project", "other.toml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"true"', "1", "5: `check-command`: takes a string"),
        ("tcp://127.0.0.1:80", "ftp://x", "4: `check-network`: 'ftp://x'"),
        ('check-unit = "x"', 'check-file = "x"', "3: `check-file`: `--check-file` takes an absol"),
        ('"install", "reboot"', '"reboot"', "8: `steps`: `--steps reboot` is not possible"),
        ('"debian-trixie"', '"debian-tricksy"', "2: `image`: there is no image 'debian-tricksy'"),
        ("json=report.json", "json=nowhere/x", "14: `report`: '"),
        (
            ', "http://127.0.0.1/"',
            "",
            "6: `expect-status`: `--expect-status` and `--expect-body` need",
        ),
    ],
)
def test_mistakes_have_file_line_and_key(
    seen: Recorder, tmp_path: Path, old: str, new: str, words: str
) -> None:
    assert FILE.count(old) == 1
    (tmp_path / "postroj.toml").write_text(FILE.replace(old, new))
    with pytest.raises(UsageError) as caught:
        run()
    assert caught.value.message.startswith(f"postroj.toml:{words}")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('network = "ftp://x"', "'ftp://x' is not an address to check"),
        ('network = "tcp://x:1"\nstatus = 404', "`status` and `body` are of http(s), unlike 'tcp"),
        ('file = "x"', "`--check-file` takes an absolute path in the guest, not 'x'"),
        ('file = "/x"\nmode = "0888"', "`mode` takes permission bits in octal, such as '0640',"),
        ('file = "/x"\nowner = "a:b:c"', "`owner` takes USER, USER:GROUP or :GROUP here, not 'a:"),
        ('process = "x"\nowner = "a:b"', "`owner` takes USER here, not 'a:b'"),
        ('file = "/x"\ncontent = "("', "`content`: '(' is not a regular expression: missing )"),
        ('log = "["', "`log`: '[' is not a regular expression: unterminated character set"),
        ('package = "x"\nversion = "1 or 2"', "'1 or 2' is not a version"),
        ('closed = "http://127.0.0.1/"', "'http://127.0.0.1/' is not an address that can be clo"),
        ('user = "a b"', "`user` takes a name, not 'a b'"),
        ('package = "x*"', "`package` takes a name, not 'x*'"),
        ('dns = "localhost"\naddress = "local"', "`address` takes an IP address, not 'local'"),
        ('user = "x"\nstep = "remove"', "a check cannot be asked from 'remove' on"),
    ],
)
def test_mistakes_of_check_tables_have_the_line_of_the_table(
    seen: Recorder, tmp_path: Path, table: str, words: str
) -> None:
    (tmp_path / "postroj.toml").write_text(f"{FILE}\n[[check]]\n{table}\n")
    line = FILE.count("\n") + 2
    with pytest.raises(UsageError) as caught:
        run()
    assert caught.value.message.startswith(f"postroj.toml:{line}: `check`: {words}")


def test_check_tables_become_questions_with_all_their_values(
    seen: Recorder, tmp_path: Path
) -> None:
    table = 'network = "http://127.0.0.1/"\nlog = "a"\nof = "u"\nstatus = 404\ntimeout = 7'
    (tmp_path / "postroj.toml").write_text(f"{FILE}\n[[check]]\n{table}\n")
    run()
    *_, network, log = seen.plan.questions
    assert (network.required.status, network.timeout) == (404, 7)
    assert (log.kind, log.subject, log.required.units) == (CheckKind.LOG, "a", ("u",))


def test_key_without_an_option_is_refused(seen: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [param for param in pkgprobe.params if param.name != "jobs"]
    monkeypatch.setattr(pkgprobe, "params", others)
    with pytest.raises(
        UsageError, match=r"^postroj.toml:12: `jobs`: not supported by this version of postroj"
    ):
        run()


def test_error_of_a_typed_value_does_not_name_the_file(seen: Recorder) -> None:
    with pytest.raises(UsageError, match=r"^there is no image 'debian-tricksy'"):
        run("--image", "debian-tricksy")


def test_package_is_required(seen: Recorder, tmp_path: Path) -> None:
    (tmp_path / "postroj.toml").write_text("jobs = 1\n")
    done = postroj("pkgprobe")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: 'postroj.toml' has no `package`\n" in done.stderr
    done = postroj("pkgprobe", "--no-project")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: no package is given\n\n"
        'hint: use `--package FILE_OR_URL`, or write `package = "dist/*.deb"` in '
        "a file postroj.toml\n"
    )


def test_mistake_in_the_file_on_stderr(seen: Recorder, tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "postroj.toml").write_text("package = 'x'\nimages = ['debian-sid']\n")
    done = postroj("pkgprobe", cwd=tmp_path / "dist")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: ../postroj.toml:2: `images`: unknown key\n\nhint: did you mean `image`?\n"
    )


def test_project_schema_option() -> None:
    done = postroj("pkgprobe", "--project-schema")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["properties"]["jobs"]["minimum"] == 1
