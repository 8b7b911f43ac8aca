"""Mutations of the promises of postroj, each with the tests that notice it.

A mutation is one thoughtless change of one place. `tests/unit/test_mutations.py` sees that all of
them can still be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path


class Mutation(NamedTuple):
    """A change that breaks a promise."""

    promise: str
    """What holds without the mutation."""
    file: str
    """Path below the root of the tree."""
    old: str
    """Text that occurs once in the file."""
    new: str
    tests: str
    """The tests that must fail, separated by spaces."""

    def apply(self, root: Path) -> None:
        """Make the change in the tree below `root`."""
        path = root / self.file
        text = path.read_text("utf-8")
        assert text.count(self.old) == 1, self.promise
        path.write_text(text.replace(self.old, self.new), "utf-8")


PROBE = "tests/unit/probe"
IMAGE = "tests/unit/image"
CONTAINER = "tests/unit/container"

GUILT = (
    Mutation(
        "a command of ours that times out before a step is an error and not a failure",
        "postroj/probe/walk.py",
        """\
            step = self._go(name, before)
        except CommandTimeout:  # the host may be slow
            raise
""",
        """\
            step = self._go(name, before)
""",
        f"{PROBE}/test_slow_host.py",
    ),
    Mutation(
        "a comparison that times out is an error and not skipped",
        "postroj/probe/judging.py",
        """\
        except CommandTimeout:  # the host may be slow
            raise
        except (GuestError, CommandError):
            return None
""",
        """\
        except (GuestError, CommandError):
            return None
""",
        f"{PROBE}/test_slow_host.py",
    ),
    Mutation(
        "a command of ours that times out after a step is an error and not a failure",
        "postroj/probe/walk.py",
        """\
                self._guest.require()
        except CommandTimeout:  # the host may be slow
            raise
""",
        """\
                self._guest.require()
""",
        f"{PROBE}/test_slow_host.py",
    ),
    Mutation(
        "a damaged package is a failure and not left out",
        "postroj/tasks.py",
        "result = self._without_guest(place, Outcome.FAIL, reason, hint)",
        "result = self._without_guest(place, Outcome.SKIP, reason, hint)",
        "tests/unit/test_matrix.py",
    ),
    Mutation(
        "a history is broken since the first failure after the last pass",
        "postroj/report/history.py",
        "return self.runs[: self.runs.index(passed)] if passed else self.runs",
        "return self.runs",
        "tests/unit/report/test_history.py",
    ),
    Mutation(
        "a question that times out is an error and not a failure",
        "postroj/probe/ask/checks.py",
        "outcome = Outcome.ERROR if slow else Outcome.FAIL",
        "outcome = Outcome.FAIL",
        f"{PROBE}/ask/test_checks.py",
    ),
    Mutation(
        "a guest that is lost in a question is a failure",
        "postroj/probe/ask/checks.py",
        "outcome = Outcome.ERROR if slow else Outcome.FAIL",
        "outcome = Outcome.ERROR",
        f"{PROBE}/ask/test_checks.py",
    ),
    Mutation(
        "a package manager killed while the host lacked memory is no proof against the package",
        "postroj/probe/operations.py",
        "if done.status == KILLED and guest.oom_kills() == starved:",
        "if done.status == KILLED:",
        f"{PROBE}/test_operations.py",
    ),
    Mutation(
        "a package manager that is killed otherwise fails the package",
        "postroj/probe/operations.py",
        "if done.status == KILLED and guest.oom_kills() == starved:",
        "if False:",
        f"{PROBE}/test_operations.py",
    ),
    Mutation(
        "a command broken off by the shutdown of the guest is judged as that",
        "postroj/probe/operations.py",
        "if how := _interruption(guest):",
        "if how := '':",
        f"{PROBE}/test_operations.py",
    ),
    Mutation(
        "a trigger without proof is not the package's",
        "postroj/probe/operations.py",
        "if owner and owner in names:",
        "if owner:",
        f"{PROBE}/test_steps.py",
    ),
    Mutation(
        "a package that the manager did not install is an error",
        "postroj/probe/operations.py",
        "if found is None or found.version != fact.version:",
        "if found is None:",
        f"{PROBE}/test_probe.py",
    ),
    Mutation(
        "a step is not taken after one that went wrong",
        "postroj/probe/walk.py",
        "            self._lost = step.name\n            reason = NOT_JUDGED",
        "            reason = NOT_JUDGED",
        f"{PROBE}/test_probe.py",
    ),
    Mutation(
        "a failure of the older version is not held against the package",
        "postroj/probe/walk.py",
        "if not self._journey.is_older or answer.outcome is not Outcome.FAIL:",
        "if True:",
        f"{PROBE}/test_probe.py",
    ),
    Mutation(
        "an error of postroj ends the probe with an error",
        "postroj/verdict.py",
        "        if self.reason:\n            return Outcome.ERROR\n",
        "",
        f"{PROBE}/test_probe.py",
    ),
    Mutation(
        "an error hides a failure, which may be due to it",
        "postroj/verdict.py",
        "WORST_FIRST = (Outcome.ERROR, Outcome.FAIL, Outcome.PASS, Outcome.SKIP)",
        "WORST_FIRST = (Outcome.FAIL, Outcome.ERROR, Outcome.PASS, Outcome.SKIP)",
        "tests/cli/test_pkgprobe.py tests/unit/report",
    ),
    Mutation(
        "a probe that omitted a demanded step does not pass",
        "postroj/verdict.py",
        "return Outcome.SKIP if omitted and outcome is Outcome.PASS else outcome",
        "return outcome",
        f"{PROBE} tests/unit/report tests/cli/test_pkgprobe.py",
    ),
    Mutation(
        "an expectation excuses no error",
        "postroj/probe/excuse/expectations.py",
        "if check.outcome is Outcome.FAIL and (one :=",
        "if check.outcome.is_bad and (one :=",
        f"{PROBE}/excuse/test_expectations.py",
    ),
    Mutation(
        "an expired expectation excuses nothing",
        "postroj/probe/excuse/expectations.py",
        "if one.outcome is Outcome.FAIL and not one.expired and one.covers(step, subject):",
        "if one.outcome is Outcome.FAIL and one.covers(step, subject):",
        f"{PROBE}/excuse/test_expectations.py",
    ),
    Mutation(
        "the package is to blame for 1, nobody for 4",
        "postroj/errors.py",
        "    FAILED = 1\n",
        "    FAILED = 4\n",
        "tests/cli/test_main.py tests/cli/test_pkgprobe.py",
    ),
)

UNITS = (
    Mutation(
        "a unit that keeps starting anew cannot extend its deadline for ever",
        "postroj/probe/ask/judge.py",
        "state.since not in settling and len(settling) <= LOOP:",
        "state.since not in settling:",
        f"{PROBE}/ask/test_units.py",
    ),
    Mutation(
        "a unit extends its deadline once for each start",
        "postroj/probe/ask/judge.py",
        "if answer.settling and state.since not in settling and len(settling) <= LOOP:",
        "if answer.settling:",
        f"{PROBE}/ask/test_units.py",
    ),
    Mutation(
        "a unit that came up late gets its time to settle",
        "postroj/probe/ask/judge.py",
        "if answer.settling and state.since not in settling and len(settling) <= LOOP:",
        "if False:",
        f"{PROBE}/ask/test_units.py",
    ),
    Mutation(
        "a deadline is never moved to an earlier moment",
        "postroj/probe/ask/deadline.py",
        "self.end = max(self.end, time.monotonic() + seconds)",
        "self.end = time.monotonic() + seconds",
        f"{PROBE}/ask/test_deadline.py",
    ),
    Mutation(
        "a unit must stay up",
        "postroj/probe/ask/judge.py",
        "    if stays < settle:\n",
        "    if False:\n",
        f"{PROBE}/ask/test_units.py",
    ),
    Mutation(
        "a unit that is restarted over and over fails",
        "postroj/probe/ask/judge.py",
        "if restarted >= LOOP:",
        "if restarted > LOOP:",
        f"{PROBE}/ask/test_units.py",
    ),
    Mutation(
        "a timer that never elapses fails",
        "postroj/probe/ask/judge.py",
        'if state.name.endswith(".timer") and state.sub == "elapsed" and not state.elapsed:',
        "if False:",
        f"{PROBE}/ask/test_units.py",
    ),
    Mutation(
        "a unit that the user asked about must be up even if a condition is not met",
        "postroj/probe/ask/kinds.py",
        "if outcome is Outcome.SKIP and not question.is_found:",
        "if False:",
        f"{PROBE}/ask/test_checks.py",
    ),
    Mutation(
        "a unit of a dependency is not held against the package",
        "postroj/probe/ask/kinds.py",
        "        outcome = Outcome.SKIP\n        origin",
        "        origin",
        f"{PROBE}/ask/test_checks.py",
    ),
    Mutation(
        "the states of units of type path are compared across a step",
        "postroj/probe/compare/state.sh",
        " '*.path';",
        ";",
        f"{PROBE}/compare/test_state.py",
    ),
    Mutation(
        "a path unit that came with the packages is started",
        "postroj/probe/startable.py",
        '(".service", ".socket", ".timer", ".path")',
        '(".service", ".socket", ".timer")',
        f"{PROBE}/test_starting.py",
    ),
    Mutation(
        "a unit of type path that no package owns counts",
        "postroj/probe/discover/discover.py",
        'APPEARING = (".service", ".socket", ".timer", ".path",',
        'APPEARING = (".service", ".socket", ".timer",',
        f"{PROBE}/discover/test_discover.py",
    ),
    Mutation(
        "a unit that ended after its check fails",
        "postroj/probe/ask/recheck.py",
        "suspects = [state for state in states if has_changed(state, moments)]",
        "suspects = []",
        f"{PROBE}/ask/test_recheck.py",
    ),
    Mutation(
        "a service that logged errors is watched for longer",
        "postroj/probe/ask/recheck.py",
        "        if has_errors:\n            factor = RESTARTED\n",
        "",
        f"{PROBE}/ask/test_recheck.py",
    ),
    Mutation(
        "a unit that was stopped by a step is lost",
        "postroj/probe/compare/losses.py",
        'if before.active == "active" and now.active in DOWN and not now.has_job:',
        "if False:",
        f"{PROBE}/compare/test_losses.py",
    ),
    Mutation(
        "a unit that is no longer enabled is lost",
        "postroj/probe/compare/losses.py",
        "if before.file_state in ENABLED and now.file_state in NOT_ENABLED:",
        "if False:",
        f"{PROBE}/compare/test_losses.py",
    ),
    Mutation(
        "a unit that failed is not at rest",
        "postroj/probe/compare/losses.py",
        'if now.active == "failed" or now.result not in ("", "success"):',
        "if False:",
        f"{PROBE}/compare/test_losses.py",
    ),
    Mutation(
        "an error about a unit stays an error if the unit is lost",
        "postroj/probe/compare/continuity.py",
        "is_worse = answer.outcome in (Outcome.PASS, Outcome.SKIP)",
        "is_worse = True",
        f"{PROBE}/compare/test_continuity.py",
    ),
    Mutation(
        "an HTTP status of 400 and above is no answer",
        "postroj/probe/ask/ports.py",
        "else status >= 400:",
        "else status > 400:",
        f"{PROBE}/ask/test_ports.py",
    ),
    Mutation(
        "the body of an answer is compared",
        "postroj/probe/ask/ports.py",
        "if expected.body is not None and expected.body not in body:",
        "if False:",
        f"{PROBE}/ask/test_ports.py",
    ),
)

EVIDENCE = (
    Mutation(
        "evidence is collected after an error, too",
        "postroj/probe/evidence/witness.py",
        "if not step.outcome.is_bad:",
        "if step.outcome != 'fail':",
        f"{PROBE}/evidence/test_witness.py",
    ),
    Mutation(
        "no evidence is collected after a step that passed",
        "postroj/probe/evidence/witness.py",
        "        if not step.outcome.is_bad:\n            return ()\n",
        "",
        f"{PROBE}/evidence/test_witness.py",
    ),
    Mutation(
        "the evidence of a step is in its report",
        "postroj/probe/probe.py",
        "reported.append(replace(judged.reported, evidence=evidence))",
        "reported.append(judged.reported)",
        f"{PROBE}/test_probe.py",
    ),
    Mutation(
        "the evidence of a guest lost by an error is in its report",
        "postroj/probe/probe.py",
        "last_words = witness.end_with_error(error)",
        "witness.end_with_error(error)",
        f"{PROBE}/test_probe.py",
    ),
    Mutation(
        "the evidence of a step is in its first bad case only",
        "postroj/report/cases.py",
        "            if case is worst:\n",
        "            if case.outcome.is_bad:\n",
        "tests/unit/report",
    ),
    Mutation(
        "all evidence of a probe is limited",
        "postroj/probe/evidence/collector.py",
        "        if self._room < LEAST:\n",
        "        if False:\n",
        f"{PROBE}/evidence/test_collector.py",
    ),
    Mutation(
        "evidence that cannot be read breaks no probe",
        "postroj/probe/evidence/collector.py",
        '        except OSError as error:\n            return f"not available: {error}"\n',
        "",
        f"{PROBE}/evidence/test_collector.py",
    ),
    Mutation(
        "escape sequences of a guest are not printed",
        "postroj/report/visible.py",
        "char if char.isprintable() else char",
        "char if True else char",
        "tests/unit/report",
    ),
)

TRUST = (
    Mutation(
        "the exit status of gpgv counts",
        "postroj/image/trust/verify.py",
        "if status == 0 or (status in FAILED and any(one.word in PARTIAL for one in found)):",
        "if True:",
        f"{IMAGE}/trust/test_verify.py",
    ),
    Mutation(
        "a gpgv that failed is excused only by signatures that it cannot judge",
        "postroj/image/trust/verify.py",
        "(status in FAILED and any(one.word in PARTIAL for one in found))",
        "status in FAILED",
        f"{IMAGE}/trust/test_verify.py",
    ),
    Mutation(
        "a bad signature makes all others worthless",
        "postroj/image/trust/verify.py",
        'return [Signature("BADSIG")]',
        "continue",
        f"{IMAGE}/trust/test_verify.py",
    ),
    Mutation(
        "a weak hash does not count",
        "postroj/image/trust/verify.py",
        "self.word in words and bool(self.fingerprint) and not self.weakness",
        "self.word in words and bool(self.fingerprint)",
        f"{IMAGE}/trust/test_verify.py",
    ),
    Mutation(
        "a revoked key does not count",
        "postroj/image/trust/verify.py",
        'GOOD = frozenset({"GOODSIG"})',
        'GOOD = frozenset({"GOODSIG", "REVKEYSIG"})',
        f"{IMAGE}/trust/test_verify.py",
    ),
    Mutation(
        "only the signed text of an inline signature is used",
        "postroj/image/trust/verify.py",
        "return Signed(text.read(), *signers)",
        "return Signed(data, *signers)",
        f"{IMAGE}/trust/test_verify.py",
    ),
    Mutation(
        "a digest is compared",
        "postroj/image/trust/verify.py",
        "if received != wanted.digest:",
        "if False:",
        f"{IMAGE}/trust",
    ),
    Mutation(
        "a pinned download is compared with its digest",
        "postroj/net.py",
        "if sha256 is not None and sha256.lower() != body.sha256:",
        "if False:",
        "tests/unit/test_net.py",
    ),
    Mutation(
        "a small download is limited although the server does not tell its size",
        "postroj/net.py",
        "                self._check_limit(self.done)\n",
        "",
        "tests/unit/test_net.py",
    ),
    Mutation(
        "a redirect to http is refused",
        "postroj/http_get.py",
        "if _is_encrypted(url) and not _is_encrypted(following) and not allow_downgrade:",
        "if False:",
        "tests/unit/test_net.py",
    ),
    Mutation(
        "a download that goes on must begin like the one before",
        "postroj/net.py",
        "if known and at >= wanted and again.hexdigest() != self.digest.hexdigest():",
        "if False:",
        "tests/unit/test_net.py",
    ),
    Mutation(
        "a failed verification tries no weaker source",
        "postroj/image/pull.py",
        "except (HostError, DownloadError) as error:",
        "except (HostError, DownloadError, ImageError) as error:",
        f"{IMAGE}/test_pull.py",
    ),
    Mutation(
        "a lock file of another user is refused",
        "postroj/image/store/lockfile.py",
        'if "POSTROJ_LOCK" not in os.environ and not paths.is_ours(path):',
        "if False:",
        f"{IMAGE}/store/test_lockfile.py",
    ),
    Mutation(
        "the password of a URL is hidden",
        "postroj/urls.py",
        '        url = user.sub(f"{HIDDEN}@", url)',
        "        pass",
        "tests/unit/test_urls.py",
    ),
    Mutation(
        "a member of a layer may not lead out of it",
        "postroj/image/unpack/tree.py",
        'if b".." in parts:',
        "if False:",
        f"{IMAGE}/unpack/test_flatten.py",
    ),
    Mutation(
        "the unpacked size of an image is limited",
        "postroj/image/unpack/tree.py",
        "if self._unpacked > MOST_UNPACKED:",
        "if False:",
        f"{IMAGE}/unpack",
    ),
    Mutation(
        "what unpacks untrusted bytes has no privileges",
        "postroj/image/unpack/confine.py",
        "nobody = AS_NOBODY if os.geteuid() == 0 else ()",
        "nobody = ()",
        f"{IMAGE}/unpack",
    ),
)

HOST = (
    Mutation(
        "run and shell become root before they fetch an image",
        "postroj/cli/commands/run.py",
        "    become_root()\n",
        "",
        "tests/cli/test_run.py",
    ),
    Mutation(
        "an error of the kernel in run has the status 125",
        "postroj/cli/guest_options.py",
        "            failure.exit_status = self.failed\n",
        "",
        "tests/cli/test_run.py",
    ),
    Mutation(
        "an error of postroj in run has the status 125",
        "postroj/cli/guest_options.py",
        "            error.exit_status = self.failed\n            raise\n",
        "            raise\n",
        "tests/cli/test_run.py",
    ),
    Mutation(
        "an error of postroj in a command of autopkgtest has the status 254",
        "postroj/cli/autopkgtest.py",
        "    failed = ExitStatus.TESTBED_FAILED\n",
        "",
        "tests/cli/test_autopkgtest.py",
    ),
    Mutation(
        "a testbed without its caller is an error",
        "postroj/autopkgtest/protocol.py",
        "    raise PostrojError(message)\n\n\ndef _perform",
        "\n\ndef _perform",
        "tests/unit/autopkgtest/test_protocol.py",
    ),
    Mutation(
        "what is copied out without owners is ours",
        "postroj/transfer/unpack.py",
        "    return of if into.keeps_owners else replace(of, uid=UNCHANGED, gid=UNCHANGED)\n",
        "    return of\n",
        "tests/unit/transfer/test_unpack.py",
    ),
    Mutation(
        "the kernel's error becomes a sentence",
        "postroj/cli/__init__.py",
        "    except OSError as error:\n        _trace(boundary)\n",
        "    except ZeroDivisionError as error:\n        _trace(boundary)\n",
        "tests/cli/test_main.py",
    ),
    Mutation(
        "a user with too few subordinate numbers is refused",
        "postroj/container/user_namespace.py",
        "    if inside <= IDS:\n",
        "    if False:\n",
        f"{CONTAINER}/test_user_namespace.py",
    ),
    Mutation(
        "a command that takes too long is killed with its group",
        "postroj/process.py",
        "os.killpg(process.pid, signal.SIGKILL)",
        "process.kill()",
        "tests/unit/test_process.py",
    ),
    Mutation(
        "the environment of a tool is built and not inherited",
        "postroj/process.py",
        "return {**fixed, **inherited, **(extra or {})}",
        "return {**os.environ, **fixed, **inherited, **(extra or {})}",
        "tests/unit/test_process.py",
    ),
    Mutation(
        "the output of a tool is kept up to a limit",
        "postroj/process.py",
        "out, err = Tail(limit=limit, first=HEAD), Tail(first=HEAD)",
        "out, err = Tail(limit=limit << 20, first=HEAD), Tail(first=HEAD)",
        "tests/unit/test_process.py",
    ),
    Mutation(
        "a failed producer fails its pipeline",
        "postroj/image/sources/pipeline.py",
        "failed = [(argv, status) for argv, status in ends if status]",
        "failed = [(argv, status) for argv, status in ends[1:] if status]",
        f"{IMAGE}/sources/test_pipeline.py",
    ),
    Mutation(
        "a guest cannot open other devices",
        "postroj/container/cgroup/devices.py",
        "code += [(set_to, 0, 0, 0, 0), (leave, 0, 0, 0, 0)]",
        "code += [(set_to, 0, 0, 0, 1), (leave, 0, 0, 0, 0)]",
        f"{CONTAINER}/cgroup/test_devices.py",
    ),
    Mutation(
        "a PID that was given to a process of the host is not a guest's",
        "postroj/container/cgroup/processes.py",
        '    if not is_of(found.read("cgroup"), name):\n',
        "    if False:\n",
        f"{CONTAINER}/test_roster.py",
    ),
    Mutation(
        "a command enters a guest by no PID",
        "postroj/container/enter/nsenter.py",
        '"--mount=ns/mnt"',
        '"--target", str(leader.pid), "--mount"',
        f"{CONTAINER}/enter/test_nsenter.py",
    ),
    Mutation(
        "a command in a guest gets no capability that the guest does not have",
        "postroj/container/enter/nsenter.py",
        '        *("setpriv", "--bounding-set", bounds, "--inh-caps", "-all"),\n',
        "",
        f"{CONTAINER}/enter/test_nsenter.py",
    ),
    Mutation(
        "with private users pasta waits until the guest has left the host's network",
        "postroj/container/boot/launch.sh",
        ' && [ "$(network_of "$leader")" != "$(network_of $$)" ]',
        "",
        f"{CONTAINER}/boot/test_launch.py",
    ),
    Mutation(
        "units in a guest have the controllers of its control group",
        "postroj/container/boot/launch.sh",
        "then hand_down; fi",
        "then :; fi",
        f"{CONTAINER}/boot/test_launch.py",
    ),
    Mutation(
        "a guest that reboots gets a control group that nothing has divided",
        "postroj/container/boot/launch.sh",
        'become_nspawn "$number"',
        "become_nspawn 1",
        f"{CONTAINER}/boot/test_launch.py",
    ),
    Mutation(
        "a command in a guest joins its control groups",
        "postroj/container/cgroup/gate.py",
        'file.write(b"%d" % pid)',
        "pass",
        f"{CONTAINER}/cgroup/test_gate.py",
    ),
    Mutation(
        "all guests of a host share its memory",
        "postroj/container/limits.py",
        "memory=total * 3 // 4 // guests",
        "memory=total * 3 // 4",
        f"{CONTAINER}/test_limits.py",
    ),
    Mutation(
        "guests in a container share the memory of the container",
        "postroj/container/cgroup/memory.py",
        "min([pages, *_limits(",
        "max([pages, *_limits(",
        f"{CONTAINER}/cgroup/test_memory.py",
    ),
    Mutation(
        "only root's notifications count",
        "postroj/container/boot/readiness.py",
        "if uid == 0:",
        "if True:",
        f"{CONTAINER}/boot/test_readiness.py",
    ),
    Mutation(
        "the folder of a living owner is not swept",
        "postroj/locking.py",
        "return try_lock(descriptor, kind)",
        "return True",
        "tests/unit/test_locking.py",
    ),
    Mutation(
        "a sweep follows no symlink",
        "postroj/locking.py",
        " and not path.is_symlink()",
        "",
        "tests/unit/test_locking.py",
    ),
    Mutation(
        "a guest that ends as others still run ends no more than itself",
        "postroj/container/lifeline.py",
        "        if pipe in _OPEN:\n",
        "        if True:\n",
        f"{CONTAINER}/test_lifeline.py",
    ),
    Mutation(
        "a host whose nspawn is too old is refused",
        "postroj/container/host.py",
        "if major < OLDEST:",
        "if False:",
        f"{CONTAINER}/test_host.py",
    ),
)

MUTATIONS = (*GUILT, *UNITS, *EVIDENCE, *TRUST, *HOST)
