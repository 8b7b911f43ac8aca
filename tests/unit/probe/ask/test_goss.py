"""goss: what its JSON means, for which machine it is built, and where its files are in a guest."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import UsageError
from postroj.probe.ask.deadline import Deadline
from postroj.probe.ask.goss import Goss, architecture, check, parse
from postroj.verdict import Outcome
from tests.support.fake_guest import FakeGuest

if TYPE_CHECKING:
    from pathlib import Path

PASSED: dict[str, Any] = {
    "successful": True,
    "skipped": False,
    "resource-type": "Service",
    "resource-id": "nginx",
    "property": "running",
    "title": "",
    "result": 0,
    "err": None,
    "duration": 1_500_000,
    "summary-line": "Service: nginx: running: matches expectation: [true]",
}


def output(*results: dict[str, Any]) -> str:
    return json.dumps({"results": list(results), "summary": {}})


@pytest.mark.parametrize(
    ("change", "outcome", "reason"),
    [
        ({}, Outcome.PASS, "matches expectation: [true]"),
        ({"skipped": True, "result": 2}, Outcome.SKIP, "matches expectation: [true]"),
        ({"result": 2, "skipped": None}, Outcome.SKIP, "matches expectation: [true]"),
        (
            {"successful": False, "summary-line": "Service: nginx: running:\nExpected\n  false"},
            Outcome.FAIL,
            "Expected\n  false",
        ),
        ({"title": "the server"}, Outcome.PASS, "the server: matches expectation: [true]"),
        (
            {"successful": False, "err": "no systemd", "summary-line": ""},
            Outcome.FAIL,
            "no systemd",
        ),
    ],
)
def test_results_become_outcomes_and_reasons(
    change: dict[str, Any], outcome: Outcome, reason: str
) -> None:
    found = parse(output(PASSED | change))
    assert found is not None
    (test,) = found
    assert test.subject == "Service: nginx: running"
    assert (test.outcome, test.reason, test.seconds) == (outcome, reason, 0.0015)


def test_results_are_the_last_document_of_the_output() -> None:
    first, last = output(PASSED | {"successful": False}), output(PASSED)
    found = parse(f"{first}\nRetrying in 1s\n{last}\n")
    assert found is not None
    assert [test.outcome for test in found] == [Outcome.PASS]
    assert parse('{"results": null}') == []
    for text in ("", "Error: no such file", "[]", '{"other": 1}'):
        assert parse(text) is None


def elf(machine: int, order: str = "<") -> bytes:
    head = b"\x7fELF" + bytes([2, 1 if order == "<" else 2]) + bytes(10)
    return head + struct.pack(f"{order}HH", 2, machine) + bytes(40)


def test_architecture_is_that_of_the_program(tmp_path: Path) -> None:
    assert [architecture(elf(number)) for number in (62, 183, 3)] == ["x86_64", "aarch64", "i686"]
    assert architecture(elf(22, ">")) == "machine 22 of ELF"
    assert architecture(b"#!/bin/sh\n") == ""
    assert architecture(b"MZ\x90") == "no Linux"
    program = tmp_path / "goss"
    program.write_bytes(elf(183))
    goss = Goss(program=program, files=())
    goss.require("aarch64")
    with pytest.raises(UsageError, match="is built for aarch64, and the guest is x86_64"):
        goss.require("x86_64")
    program.write_bytes(elf(3))
    goss.require("x86_64")


def test_only_a_file_that_includes_others_comes_with_its_folder(tmp_path: Path) -> None:
    one, other = tmp_path / "a.yaml", tmp_path / "b.json"
    one.write_text("file:\n  /x:\n    exists: true\n")
    other.write_text('{\n"gossfile": {"a.yaml": {}}}\n')
    goss = Goss(program=tmp_path / "goss", files=(one, other), variables=(tmp_path / "v",))
    assert [(str(bind.source), bind.target) for bind in goss.binds] == [
        (f"{tmp_path}/goss", "/run/postroj/goss/goss"),
        (f"{tmp_path}/a.yaml", "/run/postroj/goss/0/a.yaml"),
        (str(tmp_path), "/run/postroj/goss/1"),
        (f"{tmp_path}/v", "/run/postroj/goss/2/v"),
    ]
    assert goss.argv(other) == [
        "/run/postroj/goss/goss",
        "--gossfile=/run/postroj/goss/1/b.json",
        "--vars=/run/postroj/goss/2/v",
        *("validate", "--format", "json"),
    ]


def test_goss_runs_again_until_its_tests_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroj.probe.ask.goss.INTERVAL", 0.01)
    outputs = [output(PASSED | {"successful": False}), output(PASSED)]
    guest = FakeGuest(lambda argv: (0, outputs.pop(0)))
    goss = Goss(program=tmp_path, files=(tmp_path,))
    _, _, tests = check(guest, goss, tmp_path, Deadline(5))
    assert [test.outcome for test in tests] == [Outcome.PASS]
    failing = FakeGuest(lambda argv: (1, output(PASSED | {"successful": False})))
    _, _, tests = check(failing, goss, tmp_path, Deadline(0.05))
    assert [test.outcome for test in tests] == [Outcome.FAIL]


def test_goss_without_results_is_an_error_and_without_tests_a_skip(tmp_path: Path) -> None:
    goss = Goss(program=tmp_path, files=(tmp_path,))
    broken = FakeGuest(lambda argv: (1, "Error: yaml"))
    assert check(broken, goss, tmp_path, Deadline(5)) == (
        Outcome.ERROR,
        "goss ended with status 1 and no results\nError: yaml",
        [],
    )
    empty = FakeGuest(lambda argv: (0, '{"results": null}'))
    assert check(empty, goss, tmp_path, Deadline(5)) == (Outcome.SKIP, "it has no tests", [])
