"""Keys of the tables `check` of the project file: what each asks, and what narrows that."""

from __future__ import annotations

from postroj.probe.ask.file import TYPES
from postroj.probe.package.formats import Format
from postroj.project.keys import Form, Key
from postroj.verdict import CheckKind, StepName

CHECK = "check"
"""Name of the list of tables that have `CHECK_KEYS`."""
SUBJECTS = (
    Key(
        name=CheckKind.UNIT,
        form=Form.TEXTS,
        text="Units that must be up and stay up; `UNIT,running`: the installation must start it, "
        "`UNIT,enabled`: enable it, `UNIT,idle`: do neither.",
    ),
    Key(name=CheckKind.NETWORK, form=Form.TEXTS, text="Addresses that must answer."),
    Key(name=CheckKind.FILE, form=Form.TEXTS, text="Files and directories that must exist."),
    Key(
        name=CheckKind.PROCESS,
        form=Form.TEXTS,
        text="Programs that must run, as absolute paths or names of commands.",
    ),
    Key(name=CheckKind.USER, form=Form.TEXTS, text="Users that must exist."),
    Key(name=CheckKind.GROUP, form=Form.TEXTS, text="Groups that must exist."),
    Key(name=CheckKind.PACKAGE, form=Form.TEXTS, text="Packages that must be installed."),
    Key(
        name=CheckKind.LOG,
        form=Form.TEXTS,
        text="Regular expressions of lines that must be in the journal of the package's units.",
    ),
    Key(
        name=CheckKind.CLOSED,
        form=Form.TEXTS,
        text="Addresses at which nobody may listen: tcp://host:port or udp://host:port; the host "
        "`*` is any.",
    ),
    Key(name=CheckKind.DNS, form=Form.TEXTS, text="Names that must resolve in the guest."),
    Key(
        name=CheckKind.COMMAND,
        form=Form.TEXTS,
        text="Shell commands that must exit with status 0.",
    ),
)
"""Keys of what a table asks about, of which it needs one."""
REQUIREMENTS = (
    Key(
        name="status",
        form=Form.NUMBER,
        least=100,
        beside=("network",),
        text="Required status of http(s) answers.",
    ),
    Key(
        name="body",
        form=Form.TEXT,
        beside=("network",),
        text="Required text in the body of http(s) answers.",
    ),
    Key(
        name="type",
        form=Form.TEXT,
        choices=tuple(TYPES),
        beside=("file",),
        text="Required type of the files; links are followed, except for `link`.",
    ),
    Key(
        name="mode",
        form=Form.TEXT,
        beside=("file",),
        text="Required permission bits of the files, in octal, such as `0640`.",
    ),
    Key(
        name="owner",
        form=Form.TEXT,
        beside=("file", "process"),
        text="Required owner: USER, USER:GROUP or :GROUP of files, USER of processes.",
    ),
    Key(
        name="content",
        form=Form.TEXT,
        beside=("file",),
        text="Regular expression that must match somewhere in the files.",
    ),
    Key(
        name="version",
        form=Form.TEXT,
        beside=("package",),
        text="Required version of the packages: conditions such as `>= 1.2, < 2`, or a pattern "
        "such as `1.2-*`.",
    ),
    Key(
        name="of",
        form=Form.TEXTS,
        beside=("log",),
        text="Units whose journal is searched, instead of the package's.",
    ),
    Key(
        name="address",
        form=Form.TEXT,
        beside=("dns",),
        text="Required IP address of the names.",
    ),
)
"""Keys of what a subject must be like."""
CIRCUMSTANCES = (
    Key(
        name="timeout",
        form=Form.SECONDS,
        least=0,
        text="Time limit for them to pass, instead of `check-timeout`.",
    ),
    Key(
        name="settle",
        form=Form.SECONDS,
        least=0,
        beside=("unit",),
        text="Time that the units must stay up.",
    ),
    Key(
        name="step",
        form=Form.TEXT,
        choices=tuple(StepName),
        text="First step after which they are asked.",
    ),
    Key(name="image", form=Form.TEXTS, text="Images on which they are asked; all if missing."),
    Key(
        name="format",
        form=Form.TEXTS,
        choices=tuple(map(str, Format)),
        text="Formats of packages for which they are asked; all if missing.",
    ),
)
"""Keys of when and where they are asked."""
CHECK_KEYS = (*SUBJECTS, *REQUIREMENTS, *CIRCUMSTANCES)
