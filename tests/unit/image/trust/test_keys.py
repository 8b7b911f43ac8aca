"""The public keys that postroj ships are what is written beside them, and what sources name."""

from __future__ import annotations

import subprocess
import tomllib
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from postroj.image.catalog import catalog
from postroj.image.catalog.entry import Simplestreams, Tarball
from postroj.image.trust import keyring
from tests.support.images import bootstrap_source

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN: dict[str, dict[str, Any]] = tomllib.loads((keyring.KEYS / "origin.toml").read_text())
FILES = sorted(path.name for path in keyring.KEYS.iterdir() if path.name != "origin.toml")


class Key(NamedTuple):
    """What gpg says of a primary key."""

    kind: str
    """`pub`; `sec` would be a secret one."""
    fingerprint: str
    expires: date | None


def gpg_shows(path: Path, home: Path) -> list[Key]:
    argv = ["gpg", "--homedir", str(home), "--batch", "--with-colons", "--show-keys", str(path)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    keys = []
    records = [line.split(":") for line in done.stdout.splitlines()]
    for first, second in pairwise(records):
        if first[0] in ("pub", "sec"):
            assert second[0] == "fpr"
            expires = datetime.fromtimestamp(int(first[6]), UTC).date() if first[6] else None
            keys.append(Key(first[0], second[9], expires))
    return keys


def named() -> set[str]:
    """The keys that sources of the catalog name, or fall back to."""
    sources = [source for entry in catalog.entries() for source in entry.sources]
    keys = {source.key for source in sources if isinstance(source, Simplestreams | Tarball)}
    return (keys - {""}) | {bootstrap_source(catalog.find("ubuntu-noble")).keyring.name}


def test_shipped_keys_are_used_and_documented() -> None:
    assert set(FILES) == set(ORIGIN) == named()
    for about in ORIGIN.values():
        assert about["signs"]
        assert about["origin"]


@pytest.mark.parametrize("name", FILES)
def test_shipped_keys_have_the_documented_fingerprints(name: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    keys = gpg_shows(keyring.KEYS / name, tmp_path)
    assert [key.kind for key in keys] == ["pub"] * len(keys)
    assert [key.fingerprint for key in keys] == ORIGIN[name]["fingerprints"]
    expires = ORIGIN[name].get("expires")
    assert {key.expires for key in keys} == {expires}
    assert expires is None or expires > datetime.now(UTC).date()


@pytest.mark.parametrize("name", FILES)
def test_read_gives_gpgv_the_bytes_of_a_key(name: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    bare = tmp_path / "bare.gpg"
    bare.write_bytes(keyring.read(name))
    assert bare.read_bytes()[0] & 0x80  # no armour
    found = [key.fingerprint for key in gpg_shows(bare, tmp_path)]
    assert found == ORIGIN[name]["fingerprints"]
