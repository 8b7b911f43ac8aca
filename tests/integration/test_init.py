"""`postroj init` writes a contract that the same package meets, and a broken one does not."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import contract
from tests.support.cli import postroj

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def checked(folder: Path) -> dict[str, Any]:
    """Hold the package to its contract; return the outcomes of what the contract asks."""
    done = postroj("test", "--json", "--no-discover", cwd=folder)
    (probe,) = json.loads(done.stdout)["probes"]
    return {
        f"{check['kind']} {check['subject']}": check["outcome"]
        for step in probe["steps"]
        for check in step["checks"]
        if not check["discovered"] and check["subject"] != "no newly failed unit"
    }


def test_init_writes_a_contract_that_holds_the_next_build(image: str, tmp_path: Path) -> None:
    contract.build(tmp_path)
    done = postroj("init", "--image", image, tmp_path / "contract_1.0_all.deb", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "postroj.toml").read_text()
    (tmp_path / "postroj.toml").write_text(
        text.replace("image =", "settle = 0\ncheck-timeout = 3\nimage =", 1)
    )
    kept = checked(tmp_path)
    assert set(kept.values()) == {"pass"}
    assert {
        "package contract",
        "system contract.service,enabled",
        "system contract-idle.service,idle",
        "unit contract.service",
        "process /usr/bin/contractd",
        "network http://127.0.0.1:8077/",
        "closed tcp://0.0.0.0:8077",
        "user contract",
        "group contract-readers",
        "file /etc/contract.conf",
        "file /usr/bin/contractd",
    } <= kept.keys()
    assert "identity" not in text  # no file of the package's: it differs everywhere
    assert text.count("127.0.0.1:") == 1  # the other port differs each time

    shutil.rmtree(tmp_path / "contract-1.0-tree")
    contract.build(tmp_path, is_enabled=False, has_user=False)
    broken = checked(tmp_path)
    assert {what for what, outcome in broken.items() if outcome == "fail"} == {
        "system contract.service,enabled",
        "process /usr/bin/contractd",
        "user contract",
        "group contract",
        "group contract-readers",
        "file /etc/contract.conf",
    }
