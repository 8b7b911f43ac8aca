"""The step `start` in booted guests: what is started, and what is held against a package."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from postroj.model import Manager
from postroj.probe.starting import PUT_BACK
from postroj.verdict import Outcome, StepName
from tests.integration.test_steps_everywhere import Bench, bench, told
from tests.support import debs
from tests.support.cli import NO_REPOSITORIES, postroj

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["bench"]

PASS = Outcome.PASS
INSTALL, START, REMOVE = StepName.INSTALL, StepName.START, StepName.REMOVE
HOW = "started by postroj, not by the installation"
UNITS = "/lib/systemd/system"


def unit(command: str, more: str = "", head: str = "") -> str:
    """Return a service that can be enabled."""
    return f"""\
[Unit]
Description=of the tests
{head}
[Service]
ExecStart={command}
{more}
[Install]
WantedBy=multi-user.target
"""


def probe(*argv: object) -> tuple[int, dict[str, Any], str]:
    """Return exit status, the steps by their names, and the last line for a person."""
    done = postroj("pkgprobe", "--no-project", "--json", "--settle", "1", *NO_REPOSITORIES, *argv)
    assert "Traceback" not in done.stderr, done.stderr
    (found,) = json.loads(done.stdout)["probes"]
    return done.returncode, found, done.stderr.splitlines()[-1]


def checks(found: dict[str, Any], step: str) -> dict[str, dict[str, Any]]:
    """Return the checks of a step by their subjects."""
    (only,) = [one for one in found["steps"] if one["name"] == step]
    return {check["subject"]: check for check in only["checks"]}


def test_start_on_debian_blames_only_what_no_configuration_can_start(
    image: str, tmp_path: Path
) -> None:
    files = {
        f"{UNITS}/wants.service": unit("/bin/sh -c 'echo no license; exit 1'"),
        f"{UNITS}/path.service": unit("/bin/sleep 1000", head="ConditionPathExists=/no/such"),
        f"{UNITS}/gone.service": unit("/usr/bin/no-such-program"),
        f"{UNITS}/before.service": unit("/bin/true", "ExecStartPre=/usr/bin/no-such-program"),
        f"{UNITS}/nobody.service": unit("/bin/sleep 1000", "User=no-such-user"),
        f"{UNITS}/names.service": unit("/bin/sleep 1000", "EnvironmentFile=/no/such"),
        f"{UNITS}/shell.service": unit("/bin/sh -c 'no-such-command'"),
    }
    deb = debs.build(tmp_path, "trial", files=files)
    argv = ("--image", image, "-p", deb, "--steps", "install,start,reinstall")
    status, found, _ = probe(*argv, "--check-unit", "nobody")
    assert status == 1
    idle, told = checks(found, "install"), checks(found, "start")
    # what is seen without a start is not started
    assert "nobody" not in idle  # the user's question waits for the step
    assert told["nobody"]["outcome"] == "fail"
    assert told["nobody"]["reason"].startswith("its user 'no-such-user' does not exist")
    for name in ("gone.service", "before.service"):
        assert idle[name]["outcome"] == "fail", idle[name]
        assert HOW not in told[name]["reason"]
    missing = {"names.service": "its EnvironmentFile", "shell.service": "a command or library"}
    for name, what in missing.items():
        assert (idle[name]["outcome"], told[name]["outcome"]) == ("skip", "fail"), told[name]
        assert f"; {what} is missing, {HOW}" in told[name]["reason"].splitlines()[0]
    wants = told["wants.service"]
    assert (wants["outcome"], wants["why"]) == ("skip", "configuration")
    sentence = wants["reason"].splitlines()[0]
    assert sentence.startswith("gave up when postroj started it, it may want configuration: sh[")
    assert "no license; failed (result 'exit-code')" in sentence
    assert told["path.service"]["outcome"] == "skip"
    assert "ConditionPathExists=/no/such" in told["path.service"]["reason"]
    # what was tried in vain is put back
    later = checks(found, "reinstall")["wants.service"]
    assert (later["outcome"], later["reason"]) == ("skip", PUT_BACK)


def test_start_leaves_the_socket_of_a_running_service_alone(image: str, tmp_path: Path) -> None:
    socket = "[Socket]\nListenStream=/run/served\n[Install]\nWantedBy=sockets.target\n"
    files = {
        f"{UNITS}/served.service": unit("/bin/sleep 1000"),
        f"{UNITS}/served.socket": socket,
    }
    postinst = (
        "#!/bin/sh\nset -e\nsystemctl daemon-reload\n"
        "systemctl enable --quiet --now served.service\n"
        "deb-systemd-invoke start served.socket\n"
    )
    deb = debs.build(tmp_path, "served", files=files, scripts={"postinst": postinst})
    status, found, last = probe("--image", image, "-p", deb, "--steps", "install,start,reboot")
    (start,) = [step for step in found["steps"] if step["name"] == "start"]
    assert start["reason"] == "nothing to start, 1 unit started by the installation"
    assert (status, last[:19]) == (0, "PASS  1 service up;"), found


DISABLES = """\
#!/bin/sh
set -e
systemctl daemon-reload
{reads}
case "$START" in yes) ;; *) systemctl disable --quiet --now lazy.service ;; esac
"""


READS = "[ -e /etc/default/lazy ] || echo START=no >/etc/default/lazy; . /etc/default/lazy"


@pytest.mark.parametrize("reads", [READS, "START="])
def test_start_enables_what_a_reinstallation_disables(
    image: str, tmp_path: Path, *, reads: str
) -> None:
    """As sysstat, by its setting, which is the package's policy; or always, which is its fault."""
    deb = debs.build(
        tmp_path,
        "lazy",
        files={f"{UNITS}/lazy.service": unit("/bin/sleep 1000")},
        scripts={"postinst": DISABLES.format(reads=reads)},
    )
    argv = ("--image", image, "-p", deb, "--steps", "install,start,reinstall")
    status, found, _ = probe(*argv)
    answer = checks(found, "reinstall")["lazy.service"]
    lost = "ran before the reinstall, but was inactive (dead) right after it; "
    assert answer["reason"].startswith(lost)
    if reads == "START=":
        assert (status, answer["outcome"], answer["why"]) == (1, "fail", None)
    else:
        assert (status, answer["outcome"], answer["why"]) == (0, "skip", "policy")
        assert "by a setting: START=no in /etc/default/lazy" in answer["reason"]


def test_start_with_put_and_env_lets_a_service_run_until_it_is_purged(
    image: str, tmp_path: Path
) -> None:
    run = "/bin/sh -c '. /etc/fine/fine.conf; echo $word $GREETING >/run/fine; exec sleep 1000'"
    postinst = "#!/bin/sh\nmkdir -p /var/lib/fine; echo $GREETING >/var/lib/fine/said\n"
    postrm = '#!/bin/sh\n[ "$1" != purge ] || rm -rf /var/lib/fine\n'
    prerm = '#!/bin/sh\n[ "$1" != remove ] || systemctl stop fine.service fine-alone.service\n'
    files = {
        f"{UNITS}/fine.service": unit(run, head="ConditionPathExists=/etc/fine/fine.conf"),
        f"{UNITS}/fine-rival.service": unit("/bin/sleep 1000", head="Conflicts=fine.service"),
        f"{UNITS}/fine-alone.service": unit("/bin/sleep 1000", head="Wants=fine-help.service"),
        f"{UNITS}/fine-help.service": "[Service]\nExecStart=/bin/false\n",
        f"{UNITS}/fine@.service": unit("/bin/sleep 1000"),
    }
    scripts = {"postinst": postinst, "prerm": prerm, "postrm": postrm}
    deb = debs.build(tmp_path, "fine", files=files, scripts=scripts)
    (tmp_path / "fine.conf").write_text("word=configured\n")
    status, found, last = probe(
        *("--image", image, "-p", deb, "--steps", "install,start,reboot,remove,purge"),
        *(
            "--put",
            f"@start:{tmp_path}/fine.conf:/etc/fine/fine.conf",
            "--env",
            'GREETING=a "b" %c',
        ),
        *("--check-command", "grep -Fx 'configured a \"b\" %c' /run/fine"),
        *("--after", "install", "--check-command", "grep -Fx 'a \"b\" %c' /var/lib/fine/said"),
    )
    bad = {
        f"{step['name']} {check['subject']}": check["reason"]
        for step in found["steps"]
        for check in step["checks"]
        if check["outcome"] in ("fail", "error")
    }
    assert not bad, bad
    assert status == 0
    asked = [name for name in checks(found, "install") if name.startswith("grep")]
    assert [name[-4:] for name in asked] == ["said"]
    told = checks(found, "start")
    for name in ("fine.service", "fine-alone.service"):
        assert told[name]["outcome"] == "pass"
        assert told[name]["reason"].endswith(HOW)
        assert told[name]["started"] is True
    assert told["fine-rival.service"]["outcome"] == "skip"
    helper = told["fine-help.service"]
    assert (helper["outcome"], helper["why"]) == ("skip", "configuration")
    assert told["no newly failed unit"]["outcome"] == "pass"
    again = checks(found, "reboot")
    assert again["fine.service"]["outcome"] == "pass"
    assert HOW not in again["fine.service"]["reason"]
    assert last.startswith("PASS  2 services up, 2 commands succeed; ")
    assert sorted(found["summary"]["started"]) == ["fine-alone.service", "fine.service"]


@pytest.mark.parametrize("manager", [Manager.DNF, Manager.PACMAN])
def test_start_is_judged_where_the_distribution_starts_nothing(
    bench: Bench, manager: Manager
) -> None:
    quiet = {"post_install": "true", "pre_remove": "true"}
    if manager is Manager.DNF:
        quiet = {"post": "systemctl daemon-reload"}
    good = bench.live(
        manager, bench.build(manager, f"quiet-{manager}", "1", **quiet), INSTALL, START, REMOVE
    )
    assert [step.outcome for step in good.steps] == [PASS, PASS, PASS], good.steps
    (up,) = [check for check in good.steps[1].checks if check.subject.startswith("quiet")]
    assert up.started
    assert up.reason.endswith(HOW)
    bad = bench.build(manager, f"ends-{manager}", "1", command="/bin/sh -c 'exit 3'", **quiet)
    found = told(bench.live(manager, bad, INSTALL, START))
    assert found[f"start ends-{manager}.service"].startswith("fail: failed (result 'exit-code')")
    wants = bench.build(manager, f"wants-{manager}", "1", command="/bin/sh -c 'exit 6'", **quiet)
    found = told(bench.live(manager, wants, INSTALL, START))
    assert list(found) == [f"install wants-{manager}.service", f"start wants-{manager}.service"]
    assert (
        "its program reports that it is not configured (status 6"
        in found[f"start wants-{manager}.service"]
    )
