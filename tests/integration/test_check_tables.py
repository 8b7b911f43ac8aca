"""Every kind of check of a table `check`, met and not met, in one probe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import contract
from tests.support.cli import postroj

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

FILE = """\
package = "contract_*.deb"
image = "{image}"
settle = 0
check-timeout = 5
report = "json=report.json"

[[check]]
network = "http://127.0.0.1:8077/no"
status = 404
body = "from /no"
[[check]]
network = "http://127.0.0.1:8077/yes"
status = 404
timeout = 0.2
[[check]]
process = ["contractd", "/usr/bin/contractd"]
owner = "contract"
[[check]]
process = "perl"
owner = "root"
timeout = 0
[[check]]
process = "contract-worker"
timeout = 0
[[check]]
user = ["contract", "contract-admin"]
group = ["contract-readers", "contract-writers"]
[[check]]
file = "/etc/contract.conf"
type = "file"
mode = "0640"
owner = "root:contract-readers"
content = '^port = \\d+$'
[[check]]
file = "/usr/bin/contractd"
type = "folder"
mode = "0700"
owner = "contract"
content = "^never$"
[[check]]
package = "contract"
version = ">= 1.0, < 2"
[[check]]
package = "dpkg"
version = "0.*"
[[check]]
package = "contract-data"
[[check]]
log = '^Ready to serve \\d+$'
[[check]]
log = "Never ready"
timeout = 0
[[check]]
log = "Ready to"
of = "dbus"
timeout = 0
[[check]]
closed = ["tcp://0.0.0.0:8077", "tcp://*:8077"]
[[check]]
dns = "localhost"
address = "127.0.0.1"
[[check]]
dns = "127.0.0.3"
address = "127.0.0.4"
timeout = 0
[[check]]
unit = "contract,enabled,running"
settle = 1
"""
GOOD = {
    "network http://127.0.0.1:8077/no",
    "process contractd",
    "process /usr/bin/contractd",
    "user contract",
    "group contract-readers",
    "file /etc/contract.conf",
    "package contract",
    r"log ^Ready to serve \d+$",
    "closed tcp://0.0.0.0:8077",
    "dns localhost",
    "unit contract",
    "system contract,enabled",
}
BAD = {
    "network http://127.0.0.1:8077/yes": "status 200 instead of 404 for 0.2 s",
    "process perl": "runs as contract instead of root: contractd (PID ",
    "process contract-worker": "no such process runs",
    "user contract-admin": "there is no such user",
    "group contract-writers": "there is no such group",
    "file /usr/bin/contractd": "regular file instead of directory, mode 755 instead of 700, "
    "owner root:root instead of contract, nothing in it matches '^never$'",
    "package dpkg": "version 1.",
    "package contract-data": "the package is not installed",
    "log Never ready": "not in the journal of contract-idle.service, contract.service",
    "log Ready to": "not in the journal of dbus.service",
    "closed tcp://*:8077": "contract.service listens on 127.0.0.1:8077",
    "dns 127.0.0.3": "resolves to 127.0.0.3, not to 127.0.0.4",
}


def test_every_kind_of_check_passes_and_fails(image: str, tmp_path: Path) -> None:
    contract.build(tmp_path)
    (tmp_path / "postroj.toml").write_text(FILE.format(image=image))
    done = postroj("pkgprobe", "--steps", "install,remove", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    (probe,) = json.loads((tmp_path / "report.json").read_text())["probes"]
    assert f" --project {tmp_path}/postroj.toml" in probe["reproduce"]
    install, remove = probe["steps"]
    asked = {
        f"{check['kind']} {check['subject']}": check
        for check in install["checks"]
        if not check["discovered"]
    }
    assert {what for what in GOOD if asked[what]["outcome"] != "pass"} == set()
    for what, reason in BAD.items():
        assert asked[what]["outcome"] == "fail", what
        assert asked[what]["reason"].startswith(reason), what
    gone = {check["subject"]: check["outcome"] for check in remove["checks"]}
    assert (gone["contractd"], gone["tcp://*:8077"]) == ("pass", "pass")
    assert {gone["contract-readers"], gone["/etc/contract.conf"], gone["localhost"]} == {"skip"}
