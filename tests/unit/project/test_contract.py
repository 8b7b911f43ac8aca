"""The project file that `postroj init` writes: what is in it, and that it can be read."""

from __future__ import annotations

import tomllib
from datetime import date
from typing import TYPE_CHECKING

from postroj.probe.survey import Promise, Topic
from postroj.project import contract, project_file, reader
from postroj.verdict import CheckKind

if TYPE_CHECKING:
    from pathlib import Path

    from postroj.probe.survey import Keys

CONF: Keys = (("type", "file"), ("mode", "0640"), ("owner", "root:x"))


def promise(topic: Topic, kind: CheckKind, subject: str, *keys: tuple[str, str | int]) -> Promise:
    return Promise(topic=topic, kind=kind, subject=subject, keys=keys)


USER = promise(Topic.ACCOUNT, CheckKind.USER, "x")
UNIT = promise(Topic.UNIT, CheckKind.UNIT, "x.service,enabled,running")
PAGE = promise(Topic.NETWORK, CheckKind.NETWORK, "http://127.0.0.1:80/", ("status", 200))
FILES = [promise(Topic.CONFIGURATION, CheckKind.FILE, f"/etc/{name}", *CONF) for name in "ba"]
ODD = promise(Topic.PROGRAM, CheckKind.FILE, '/usr/bin/"odd\\name\x7fü')


def test_render_is_the_same_whatever_the_order_of_promises() -> None:
    promises = [USER, PAGE, *FILES, UNIT]
    formats = {"debian-sid": "deb"}
    text = contract.render(["a.deb"], {"debian-sid": promises}, formats)
    assert text == contract.render(["a.deb"], {"debian-sid": promises[::-1]}, formats)
    assert 'image = "debian-sid"\narch = "aarch64"\n\n' in contract.render(
        ["a.deb"], {"debian-sid": promises}, formats, "aarch64"
    )
    body = text.partition("\n\n")[2]
    assert (
        body
        == """\
# What the installation does with units, and what must come up.
[[check]]
unit = "x.service,enabled,running"

# What answers.
[[check]]
network = "http://127.0.0.1:80/"
status = 200

# Users and groups.
[[check]]
user = "x"

# Configuration.
[[check]]
file = ["/etc/a", "/etc/b"]
type = "file"
mode = "0640"
owner = "root:x"
"""
    )


def test_render_binds_promises_to_the_images_on_which_they_hold() -> None:
    formats = {"debian-sid": "deb", "debian-trixie": "deb", "fedora-43": "rpm"}
    promises = {
        "debian-sid": {USER, UNIT, ODD},
        "debian-trixie": {USER, UNIT},
        "fedora-43": {USER, PAGE},
    }
    found = tomllib.loads(contract.render(["a.deb", "a.rpm"], promises, formats))
    assert found["package"] == ["a.deb", "a.rpm"]
    assert found["image"] == ["debian-sid", "debian-trixie", "fedora-43"]
    assert found["check"] == [
        {"unit": "x.service,enabled,running", "format": "deb"},
        {"network": "http://127.0.0.1:80/", "status": 200, "format": "rpm"},
        {"user": "x"},
        {"file": ODD.subject, "image": "debian-sid"},
    ]


def test_render_breaks_long_lists_and_can_be_read(tmp_path: Path) -> None:
    names = [f"/usr/bin/a-program-with-a-long-name-{number}" for number in range(9)]
    promises = {promise(Topic.PROGRAM, CheckKind.FILE, name) for name in names}
    text = contract.render(["a.deb"], {"debian-sid": {*promises, ODD}}, {"debian-sid": "deb"})
    assert max(map(len, text.splitlines())) < 110
    (tmp_path / "postroj.toml").write_text(text)
    project = reader.read(project_file.named(tmp_path / "postroj.toml"), date(2026, 11, 30))
    (table,) = project.checks
    assert [subject for _, subject in table.subjects] == sorted([*names, ODD.subject])
