"""Keys of the project file, from which its reader, its schema and its documentation are made."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from postroj.model import Kernel, NetworkMode
from postroj.verdict import StepName


class Form(StrEnum):
    """Types of values, in words."""

    TEXT = "a string"
    TEXTS = "a string, or a list of strings"
    SECONDS = "a number"
    NUMBER = "a whole number"
    FLAG = "true or false"
    FLAG_OR_TEXTS = "true, false, or a list of strings"
    DATE = "a date without quotes, such as 2027-01-31"


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key; outside `[[expect]]` it sets the option of its name."""

    name: str
    form: Form
    text: str
    """One sentence."""
    needed: bool = False
    choices: tuple[str, ...] = ()
    """Allowed values; any value if empty."""
    least: float | None = None
    """Minimum; seconds without one must be above 0."""
    beside: tuple[str, ...] = ()
    """Keys of the same table, of which it needs one; it needs none if empty."""


KEYS = (
    Key(
        name="package",
        form=Form.TEXTS,
        text="Package files, as paths, patterns or URLs.",
    ),
    Key(
        name="image",
        form=Form.TEXTS,
        text="Images to probe on, as names or patterns.",
    ),
    Key(
        name="arch",
        form=Form.TEXT,
        text="Architecture of the images, such as x86_64, amd64 or linux/arm64, instead of the "
        "host's.",
    ),
    Key(
        name="setup", form=Form.TEXTS, text="Shell commands that change the image before the probe."
    ),
    Key(
        name="put",
        form=Form.TEXTS,
        text="Files to put into the guest before the installation, as FILE:PATH, or before `start` "
        "as @start:FILE:PATH.",
    ),
    Key(
        name="env",
        form=Form.TEXTS,
        text="Environment variables for the package manager and all services, as NAME=VALUE.",
    ),
    Key(
        name="start",
        form=Form.FLAG_OR_TEXTS,
        text="Whether units that the installation has not started must come up when they are "
        "started; or the units to start.",
    ),
    Key(name="check-unit", form=Form.TEXTS, text="Units that must be up and stay up."),
    Key(
        name="check-network",
        form=Form.TEXTS,
        text="Addresses that must answer: tcp://host:port, udp://host:port or http(s)://host[:port]/path.",
    ),
    Key(name="check-file", form=Form.TEXTS, text="Files and directories that must exist."),
    Key(
        name="check-command",
        form=Form.TEXTS,
        text="Shell commands that must exit with status 0.",
    ),
    Key(
        name="check-goss",
        form=Form.TEXTS,
        text="Files of goss whose tests must pass.",
    ),
    Key(
        name="goss",
        form=Form.TEXT,
        text="Path of goss; without it, that of POSTROJ_GOSS or in PATH.",
    ),
    Key(
        name="goss-vars",
        form=Form.TEXTS,
        text="Files with variables for the templates in files of goss.",
    ),
    Key(name="expect-status", form=Form.NUMBER, text="Required status of http(s) answers."),
    Key(name="expect-body", form=Form.TEXT, text="Required text in the body of http(s) answers."),
    Key(
        name="discover",
        form=Form.FLAG,
        text="Whether to discover the units and sockets of the package, and check them, too.",
    ),
    Key(
        name="steps",
        form=Form.TEXTS,
        choices=("all", *StepName),
        text="Steps to run, in this order.",
    ),
    Key(
        name="may-leave",
        form=Form.TEXTS,
        text="Files and folders that the package may leave behind after a purge, as patterns.",
    ),
    Key(
        name="recommends",
        form=Form.FLAG,
        text="Whether to install recommended packages, too; without them, missing dependencies "
        "show.",
    ),
    Key(
        name="upgrade-from",
        form=Form.TEXTS,
        text="Older packages, as paths, patterns or URLs; or `repo`.",
    ),
    Key(name="settle", form=Form.SECONDS, least=0, text="Time that a unit must stay up."),
    Key(
        name="check-timeout",
        form=Form.SECONDS,
        least=0,
        text="Time limit for a check to pass.",
    ),
    Key(
        name="timeout",
        form=Form.SECONDS,
        text="Time limit for each command of the package manager.",
    ),
    Key(
        name="boot-timeout",
        form=Form.SECONDS,
        text="Maximum time until the guest has booted.",
    ),
    Key(
        name="network",
        form=Form.TEXT,
        choices=tuple(NetworkMode),
        text="The guest's network: its own with outbound access, the host's, or none.",
    ),
    Key(
        name="proxy",
        form=Form.TEXT,
        text="HTTP proxy for the guest; `host` copies the proxy variables of the environment.",
    ),
    Key(
        name="memory",
        form=Form.TEXT,
        text="Memory limit of a guest, such as 512M or 2G.",
    ),
    Key(
        name="cpus",
        form=Form.SECONDS,
        least=0.01,
        text="CPU limit of a guest, such as 1.5.",
    ),
    Key(
        name="pids",
        form=Form.NUMBER,
        least=1,
        text="Limit of processes and threads in a guest.",
    ),
    Key(
        name="private-users",
        form=Form.FLAG,
        text="Whether to map the guest's users to unprivileged users of this host.",
    ),
    Key(
        name="vm",
        form=Form.TEXT,
        choices=(Kernel.OWN, Kernel.AUTO, Kernel.SHARED),
        text="Whether guests have a kernel of their own, or only for what a container cannot show.",
    ),
    Key(name="jobs", form=Form.NUMBER, least=1, text="Number of guests at the same time."),
    Key(
        name="fail-fast",
        form=Form.FLAG,
        text="Whether to stop at the first image that does not pass.",
    ),
    Key(
        name="report",
        form=Form.TEXTS,
        text="Reports to write: json=FILE, junit=FILE, tap=FILE or html=FILE, a FILE whose suffix "
        "says its kind, or github.",
    ),
)

LATE = "@start:"
"""Prefix of a file that is put into the guest before the step `start`."""

PACKAGE = "package"
"""Name of the key with the packages, and of the list of tables that have `PACKAGE_KEYS`."""
PACKAGE_KEYS = (
    Key(
        name="file",
        form=Form.TEXTS,
        needed=True,
        text="Package files that `postroj test` installs in one transaction, as paths, patterns or "
        "URLs.",
    ),
)

EXPECT = "expect"
"""Name of the list of tables that have `EXPECT_KEYS`."""
EXPECT_KEYS = (
    Key(
        name="image",
        form=Form.TEXTS,
        needed=True,
        text="Images with the expected failure, as names or patterns.",
    ),
    Key(
        name="outcome",
        form=Form.TEXT,
        needed=True,
        choices=("fail", "skip"),
        text="`fail`: report failures as skipped, with the reason; `skip`: do not probe there.",
    ),
    Key(name="reason", form=Form.TEXT, needed=True, text="Reason to show in the report."),
    Key(
        name="until",
        form=Form.DATE,
        needed=True,
        text="Last day of the expectation.",
    ),
    Key(
        name="step",
        form=Form.TEXT,
        choices=tuple(StepName),
        text="Step that is expected to fail; any if missing.",
    ),
    Key(
        name="check",
        form=Form.TEXTS,
        text="Subjects of checks that are expected to fail, or patterns; any if missing.",
    ),
)
