"""The keys that the file of a project may have: what reads it, describes it and documents it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from postroj.model import NetworkMode
from postroj.verdict import StepName


class Form(StrEnum):
    """What a value may be."""

    TEXT = "a string"
    TEXTS = "a string, or a list of strings"
    SECONDS = "a number"
    NUMBER = "a whole number"
    FLAG = "true or false"
    DATE = "a date without quotes, as 2027-01-31"


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key; outside of `[[expect]]` it means the option of its name."""

    name: str
    form: Form
    text: str
    """One sentence."""
    needed: bool = False
    choices: tuple[str, ...] = ()
    """The only values; any, if there are none."""
    least: int | None = None
    """The least value; for seconds without one, anything above 0."""


KEYS = (
    Key(
        name="package",
        form=Form.TEXTS,
        text="Package files, as paths or patterns, or their URLs.",
    ),
    Key(
        name="image",
        form=Form.TEXTS,
        text="Where to install them: names of images, or patterns.",
    ),
    Key(
        name="arch",
        form=Form.TEXT,
        text="Architecture of the images, as `uname -m` has it, instead of the host's.",
    ),
    Key(name="setup", form=Form.TEXTS, text="Shell commands that change the image beforehand."),
    Key(name="check-unit", form=Form.TEXTS, text="Units that must be up, and stay up."),
    Key(
        name="check-network",
        form=Form.TEXTS,
        text="What must answer: tcp://host:port, udp://host:port or http(s)://host[:port]/path.",
    ),
    Key(name="check-file", form=Form.TEXTS, text="Files and directories that must exist."),
    Key(
        name="check-command",
        form=Form.TEXTS,
        text="Shell commands that must end with status 0.",
    ),
    Key(name="expect-status", form=Form.NUMBER, text="Status of http(s) answers."),
    Key(name="expect-body", form=Form.TEXT, text="Text in the body of http(s) answers."),
    Key(
        name="discover",
        form=Form.FLAG,
        text="Whether to find out which units and sockets the package brings, and check these too.",
    ),
    Key(
        name="steps",
        form=Form.TEXTS,
        choices=("all", *StepName),
        text="What is done, in this order.",
    ),
    Key(
        name="upgrade-from",
        form=Form.TEXTS,
        text="Older packages, as paths, patterns or URLs; or `repo`.",
    ),
    Key(name="settle", form=Form.SECONDS, least=0, text="How long a unit must have stayed up."),
    Key(
        name="check-timeout",
        form=Form.SECONDS,
        least=0,
        text="How long a check may take to come true.",
    ),
    Key(
        name="timeout",
        form=Form.SECONDS,
        text="How long each command of the package manager may take.",
    ),
    Key(
        name="boot-timeout",
        form=Form.SECONDS,
        text="How long the guest may take until it is ready.",
    ),
    Key(
        name="network",
        form=Form.TEXT,
        choices=tuple(NetworkMode),
        text="A network of its own with outbound access, the host's, or none.",
    ),
    Key(
        name="proxy",
        form=Form.TEXT,
        text="A proxy for what fetches in the guest; `host` takes those of the environment.",
    ),
    Key(
        name="memory",
        form=Form.TEXT,
        text="The most memory that a guest takes, as 512M or 2G.",
    ),
    Key(
        name="cpus",
        form=Form.SECONDS,
        text="The most processors' worth of time that a guest takes.",
    ),
    Key(
        name="pids",
        form=Form.NUMBER,
        least=1,
        text="The most processes and threads in a guest.",
    ),
    Key(
        name="private-users",
        form=Form.FLAG,
        text="Whether the guest has users of its own, whose root is nobody on this host.",
    ),
    Key(name="jobs", form=Form.NUMBER, least=1, text="How many guests run at once."),
    Key(name="fail-fast", form=Form.FLAG, text="Stop at the first image that does not pass."),
    Key(
        name="report",
        form=Form.TEXTS,
        text="Reports to write: json=FILE, junit=FILE, tap=FILE, html=FILE or github.",
    ),
)

EXPECT = "expect"
"""The list of tables whose keys are these:"""
EXPECT_KEYS = (
    Key(
        name="image",
        form=Form.TEXTS,
        needed=True,
        text="Where it is expected: names of images, or patterns.",
    ),
    Key(
        name="outcome",
        form=Form.TEXT,
        needed=True,
        choices=("fail", "skip"),
        text="`fail`: what fails is skipped with the reason; `skip`: the image is not tried.",
    ),
    Key(name="reason", form=Form.TEXT, needed=True, text="Why, for the report."),
    Key(
        name="until",
        form=Form.DATE,
        needed=True,
        text="The last day on which it is expected.",
    ),
    Key(
        name="step",
        form=Form.TEXT,
        choices=tuple(StepName),
        text="The only step that is expected to fail.",
    ),
    Key(
        name="check",
        form=Form.TEXTS,
        text="The only subjects of checks that are expected to fail, or patterns of them.",
    ),
)
