"""Reports to render: one with every outcome on several images, and one whose guests are hostile."""

from __future__ import annotations

from postroj.verdict import (
    CheckKind,
    CheckResult,
    Discovery,
    Evidence,
    EvidenceName,
    Listener,
    Outcome,
    ProbeResult,
    Report,
    StepName,
    StepResult,
)

HOSTILE = (
    "\x00\x1b]0;owned\x07\x1b[31m\x08\x85\x9b\u2028\u202e\ud800\ufffe\uffff\U0010ffff "
    "]]></pre></style><script>alert(1)</script><img src=//evil onerror=x> &amp; &#0; \"'`|*_[a](b)"
    " \\ # SKIP \\# TODO %0A%0D::error::forged ##[add-mask]a @octocat #1"
    " http://evil.example/ 日本 🎉"
)
LINES = (HOSTILE, "", "...", "  ...", "---", "not ok 99 - x", "ok 98", "1..0", "Bail out! no",
         "::stop-commands::x", "</details>", "```", "# head", " - x", "| a | b |")  # fmt: skip


SAID = Evidence(name=EvidenceName.JOURNAL, text="\n".join(LINES))


def check(
    outcome: Outcome,
    subject: str = "redis-server.service",
    reason: str = "active (running), main PID 301",
    kind: CheckKind = CheckKind.UNIT,
) -> CheckResult:
    return CheckResult(kind=kind, subject=subject, outcome=outcome, reason=reason, seconds=2.3456)


def probe(
    image: str,
    *checks: CheckResult,
    package: str = "redis_7.0_amd64.deb",
    evidence: tuple[Evidence, ...] = (),
) -> ProbeResult:
    found = Discovery(
        units=("redis-server.service", "redis-server@.service"),
        users=("redis",),
        sockets=(
            Listener(
                protocol="tcp",
                address="127.0.0.1:6379",
                unit="redis-server.service",
                process="redis-server",
            ),
        ),
    )
    step = StepResult(
        name=StepName.INSTALL,
        done=Outcome.PASS,
        reason="redis 7.0 (amd64)\nbrings 2 units",
        seconds=5.5,
        checks=checks,
        discovered=found,
        evidence=evidence,
    )
    return ProbeResult(
        image=image,
        package=package,
        steps=(step,),
        timings={"total": 12.75},
        reproduce=f"postroj pkgprobe --image {image}",
    )


SAMPLE = Report(
    probes=(
        probe(
            "debian-trixie",
            check(Outcome.PASS),
            check(Outcome.SKIP, "redis-server@.service", "a template"),
            check(
                Outcome.FAIL,
                "tcp://127.0.0.1:6380",
                "connection refused for 5 s\nlistens: 127.0.0.1:6379",
                CheckKind.NETWORK,
            ),
            evidence=(
                Evidence(name=EvidenceName.JOBS, text="No jobs running."),
                Evidence(name=EvidenceName.CORES, text=""),
            ),
        ),
        probe("debian-sid", check(Outcome.PASS)),
        ProbeResult(
            image="fedora-43",
            package="redis_7.0_amd64.deb",
            reason="no guest\nlog line",
            hint="`postroj doctor` shows what is lacking",
            timings={"total": 1.5},
        ),
    )
)

ODD = Report(
    probes=(
        ProbeResult(
            image=HOSTILE,
            package=HOSTILE,
            reason="\n".join(LINES),
            hint=HOSTILE,
            notes=(HOSTILE,),
            evidence=(SAID,),
            reproduce=HOSTILE,
        ),
        probe(
            "debian-sid",
            *(check(outcome, HOSTILE, "\n".join(LINES)) for outcome in Outcome),
            check(Outcome.FAIL, reason=""),
            check(Outcome.FAIL, "x # SKIP", "x # SKIP"),
            evidence=(SAID,),
        ),
    )
)

NOTHING = Report(probes=())
