"""The report for machines, key by key: other people's programs read it."""

from __future__ import annotations

import json
from dataclasses import replace

from postroj.report.json import render
from postroj.verdict import (
    CheckKind,
    CheckResult,
    Discovery,
    Evidence,
    EvidenceName,
    Host,
    Listener,
    Outcome,
    Package,
    ProbeResult,
    Report,
    StepName,
    StepResult,
)

ODD = "\x1b[31m \x9b \"quoted\" 'x' \\ \u2028 日本 🎉 \x00 \udcff\ttab\nline"

CHECK = CheckResult(
    kind=CheckKind.NETWORK,
    subject="tcp://127.0.0.1:80",
    outcome=Outcome.FAIL,
    reason="connection refused for 5 s\ntcp sockets that listen in the guest: none",
    seconds=5.12345,
)
STEP = StepResult(
    name=StepName.INSTALL,
    done=Outcome.PASS,
    reason="web 1.0 (all)",
    seconds=7.00049,
    checks=(CHECK,),
    evidence=(Evidence(name=EvidenceName.JOURNAL, text="it said\nthis"),),
)
PACKAGE = Package(
    file="web_1.0_all.deb", name="web", version="1:1.0", architecture="all", sha256="5e" * 32
)
PROBE = ProbeResult(
    image="debian-trixie",
    package="web_1.0_all.deb",
    packages=(PACKAGE,),
    date="2026-01-31T12:00:05Z",
    architecture="x86_64",
    image_digest="a1" * 32,
    steps=(STEP,),
    reproduce="postroj pkgprobe",
    timings={"boot": 0.5, "total": 12.98765},
)


def test_document_of_a_whole_report() -> None:
    host = Host(kernel="6.12", architecture="x86_64", distribution="Debian 13", is_root=True)
    report = Report(probes=(PROBE,), date="2026-01-31T12:00:00Z", version="0.1", host=host)
    assert json.loads(render(report)) == {
        "schema": 1,
        "outcome": "fail",
        "summary": "the package is to blame; 1 check failed",
        "date": "2026-01-31T12:00:00Z",
        "version": "0.1",
        "host": {
            "kernel": "6.12",
            "architecture": "x86_64",
            "distribution": "Debian 13",
            "root": True,
        },
        "probes": [
            {
                "image": "debian-trixie",
                "package": "web_1.0_all.deb",
                "packages": [
                    {
                        "file": "web_1.0_all.deb",
                        "name": "web",
                        "version": "1:1.0",
                        "architecture": "all",
                        "sha256": "5e" * 32,
                    }
                ],
                "date": "2026-01-31T12:00:05Z",
                "architecture": "x86_64",
                "image_digest": "a1" * 32,
                "outcome": "fail",
                "reason": "",
                "hint": "",
                "summary": {
                    "text": "the package is to blame; 1 check failed",
                    "up": [],
                    "ended": [],
                    "scripts": [],
                    "started": [],
                    "gave_up": [],
                    "idle": None,
                    "answers": [],
                    "skipped": 0,
                    "omitted": [],
                },
                "notes": [],
                "steps": [
                    {
                        "name": "install",
                        "outcome": "fail",
                        "done": "pass",
                        "reason": "web 1.0 (all)",
                        "hint": "",
                        "needs": "",
                        "omitted": False,
                        "own_kernel": False,
                        "seconds": 7.0,
                        "checks": [
                            {
                                "kind": "network",
                                "subject": "tcp://127.0.0.1:80",
                                "outcome": "fail",
                                "reason": "connection refused for 5 s\n"
                                "tcp sockets that listen in the guest: none",
                                "seconds": 5.123,
                                "discovered": False,
                                "started": False,
                                "dependency": False,
                                "why": None,
                                "needs": "",
                                "own_kernel": False,
                            }
                        ],
                        "discovered": None,
                        "evidence": {"journal": "it said\nthis"},
                    }
                ],
                "guest": "",
                "own_kernel": False,
                "evidence": {},
                "reproduce": "postroj pkgprobe",
                "timings": {"boot": 0.5, "total": 12.988},
            }
        ],
    }


def test_keys_keep_their_documented_order() -> None:
    text = render(Report(probes=(PROBE,)))
    keys = ('"schema"', '"outcome"', '"probes"', '"image"', '"steps"', '"checks"', '"timings"')
    positions = [text.index(key) for key in keys]
    assert positions == sorted(positions)


def test_probe_without_steps() -> None:
    said = Evidence(name=EvidenceName.CONSOLE, text="panic")
    probe = ProbeResult(
        image="debian-sid",
        package="x.deb",
        reason="no guest",
        hint="try again",
        evidence=(said,),
    )
    (shown,) = json.loads(render(Report(probes=(probe,))))["probes"]
    assert shown == {
        "image": "debian-sid",
        "package": "x.deb",
        "packages": [],
        "date": "",
        "architecture": "",
        "image_digest": "",
        "outcome": "error",
        "reason": "no guest",
        "hint": "try again",
        "summary": {
            "text": "the package was not judged",
            "up": [],
            "ended": [],
            "scripts": [],
            "started": [],
            "gave_up": [],
            "idle": None,
            "answers": [],
            "skipped": 0,
            "omitted": [],
        },
        "notes": [],
        "steps": [],
        "guest": "",
        "own_kernel": False,
        "evidence": {"console": "panic"},
        "reproduce": "",
        "timings": {},
    }


def test_name_of_a_kept_guest() -> None:
    probe = replace(PROBE, guest="postroj-0a1b2c3d")
    (shown,) = json.loads(render(Report(probes=(probe,))))["probes"]
    assert shown["guest"] == "postroj-0a1b2c3d"


def test_discovery_of_a_step() -> None:
    heard = Listener(protocol="tcp", address="[::]:80", unit="web.service", process="web")
    found = Discovery(units=("web.service",), users=("web",), sockets=(heard,))
    step = replace(STEP, checks=(replace(CHECK, discovered=True),), discovered=found)
    (shown,) = json.loads(render(Report(probes=(replace(PROBE, steps=(step,)),))))["probes"]
    assert shown["steps"][0]["checks"][0]["discovered"] is True
    assert shown["steps"][0]["discovered"] == {
        "units": ["web.service"],
        "dependencies": [],
        "scripts": [],
        "configuration": [],
        "programs": [],
        "users": ["web"],
        "groups": [],
        "sockets": [
            {"protocol": "tcp", "address": "[::]:80", "unit": "web.service", "process": "web"}
        ],
        "user_units": [],
        "drop_ins": [],
        "generators": [],
        "bus_services": [],
        "cron": [],
        "logrotate": [],
    }


def test_report_without_probes() -> None:
    assert json.loads(render(Report(probes=()))) == {
        "schema": 1,
        "outcome": "skip",
        "summary": "nothing was tested",
        "date": "",
        "version": "",
        "host": None,
        "probes": [],
    }


def test_output_is_ascii() -> None:
    probe = ProbeResult(image="debian-sid", package=ODD, reason=ODD)
    text = render(Report(probes=(probe,)))
    assert text.isascii()
    assert "\x1b" not in text
    (shown,) = json.loads(text)["probes"]
    assert (shown["package"], shown["reason"]) == (ODD, ODD)
