"""Convert the tables `check` of the project file to questions, and check what their values mean."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from postroj.cli import check_subjects
from postroj.errors import UsageError
from postroj.verdict import CheckKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from postroj.probe.ask.question import Question, Required
    from postroj.project.reader import CheckTable
    from postroj.verdict import StepName

WEB = ("http://", "https://")
MODE = re.compile(r"[0-7]{1,4}", re.ASCII)
USER = re.compile(r"[^:/\s]+")
OWNER = re.compile(r"[^:/\s]+(:[^:/\s]+)?|:[^:/\s]+")
FIELDS = {"of": "units"}
"""Keys whose fields have another name."""


def questions(table: CheckTable, steps: Sequence[StepName]) -> Iterator[Question]:
    """Yield the questions of a table.

    :raises UsageError: if a value has no meaning, or its step is not taken.
    """
    required = _required(table.requirements)
    _validate(required, table.subjects)
    for kind, subject in table.subjects:
        for question in check_subjects.questions(kind, subject, table.step, steps):
            yield replace(
                question,
                images=table.images,
                formats=table.formats,
                timeout=table.timeout,
                settle=table.settle,
                required=required,
            )


def _required(values: Mapping[str, Any]) -> Required:
    from postroj.probe.ask.question import Required

    return Required(**{FIELDS.get(key, key): value for key, value in values.items()})


def _validate(required: Required, subjects: Sequence[tuple[CheckKind, str]]) -> None:
    """Refuse requirements that mean nothing, or nothing for the subjects of their table.

    :raises UsageError: if there is one.
    """
    from postroj.probe.ask import installed

    if required.status is not None or required.body is not None:
        for kind, subject in subjects:
            if kind is CheckKind.NETWORK and not subject.startswith(WEB):
                message = f"`status` and `body` are of http(s), unlike '{subject}'"
                raise UsageError(message)
    if required.mode and not MODE.fullmatch(required.mode):
        message = f"`mode` takes permission bits in octal, such as '0640', not '{required.mode}'"
        raise UsageError(message)
    has_process = any(kind is CheckKind.PROCESS for kind, _ in subjects)
    form, forms = (USER, "USER") if has_process else (OWNER, "USER, USER:GROUP or :GROUP")
    if required.owner and not form.fullmatch(required.owner):
        message = f"`owner` takes {forms} here, not '{required.owner}'"
        raise UsageError(message)
    if required.content:
        check_subjects.expression("content", required.content)
    if required.version:
        installed.parse(required.version)
    if required.address:
        try:
            ipaddress.ip_address(required.address)
        except ValueError:
            message = f"`address` takes an IP address, not '{required.address}'"
            raise UsageError(message) from None
