from __future__ import annotations

from pathlib import Path

import pytest

from postroj.errors import ImageError
from postroj.image.catalog import schema
from postroj.image.catalog.entry import Bootstrap, Entry, Simplestreams, Tarball
from postroj.image.catalog.schema import Origin
from postroj.image.trust import keyring

ORIGIN = Origin(title="'/etc/postroj/catalog.toml'", folder=Path("/etc/postroj"))
GOOD = """
[some-image]
distribution = "some"
release = "one"
title = "Some 1"
aliases = ["some-1"]
architectures = ["x86_64"]
manager = "apt"

packages = ["systemd-sysv"]

[[some-image.sources]]
kind = "bootstrap"
suites = ["debian one", "debian one-updates"]
keyring = "/keyring.gpg"
keyring_package = "some-keyring"

[[some-image.sources]]
kind = "simplestreams"
server = "https://images.example/"
product = "some:one:{debian_arch}:default"

[[some-image.sources]]
kind = "tarball"
url = "https://some.example/one/some.{arch}.tar.xz"
checksums = "SHA256SUMS"
signature = "SHA256SUMS.gpg"
key = "fedora-44.asc"

[[some-image.sources]]
kind = "oci"
reference = "registry.example/some:one"
"""


def parse(text: str, origin: Origin = ORIGIN) -> Entry:
    (entry,) = schema.parse(text, origin).values()
    return entry


def test_parse_reads_all_kinds_of_sources() -> None:
    entry = parse(GOOD)
    assert (entry.name, entry.aliases, entry.systemd) == ("some-image", ("some-1",), None)
    bootstrap, streams, tarball, _ = entry.sources
    assert isinstance(bootstrap, Bootstrap)
    assert [(suite.archive, suite.name) for suite in bootstrap.suites] == [
        ("debian", "one"),
        ("debian", "one-updates"),
    ]
    assert bootstrap.components == ("main",)
    assert isinstance(streams, Simplestreams)
    assert (streams.server, streams.key) == ("https://images.example", "")
    assert isinstance(tarball, Tarball)
    assert tarball.checksums == "https://some.example/one/SHA256SUMS"
    assert tarball.signature == "https://some.example/one/SHA256SUMS.gpg"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('release = "one"', "", "'release' is missing"),
        ('release = "one"', "release = 1", "'release' is of type int, not str"),
        ('release = "one"', 'release = "one"\nsystemd = true', "'systemd' is of type bool"),
        ('release = "one"', 'release = "one"\nrelaese = "x"', "'relaese' is not a known key"),
        ('release = "one"', 'release = "one"\nend_of_life = "x"', "'end_of_life' is of type str"),
        ('["x86_64"]', "[]", "'architectures' is empty"),
        ('["x86_64"]', "[64]", "'architectures' contains values that are not strings"),
        ('["x86_64"]', '["amd64"]', "'architectures' has 'amd64', not one of 'x86_64'"),
        ('["some-1"]', '["../x"]', "'aliases' has '../x', which is not made of"),
        ('"apt"', '"atp"', "'manager' is 'atp', not one of 'apt'"),
        ('"bootstrap"', '"strap"', "'sources\\[0\\].kind' is 'strap', not one of 'bootstrap'"),
        ('"bootstrap"', '"bootstrap"\nsha = 1', "'sources\\[0\\].sha' is not a known key"),
        (
            '"debian one"',
            '"one"',
            "'sources\\[0\\].suites' has 'one', which is not 'ARCHIVE SUITE'",
        ),
        ('"debian one"', '"debian a b"', "'sources\\[0\\].suites' has 'debian a b'"),
        ('["debian one", "debian one-updates"]', "[]", "'sources\\[0\\].suites' is empty"),
        (
            "https://images.example/",
            "ftp://x",
            "'sources\\[1\\].server' is not an http or https URL",
        ),
        ("https://some.example", "//some", "'sources\\[2\\].url' is not an http or https URL"),
        ('"SHA256SUMS"', '"file:///x"', "'sources\\[2\\].checksums' is not an http or https URL"),
        (
            '"fedora-44.asc"',
            '"x.asc"',
            "'sources\\[2\\].key' names '/etc/postroj/x.asc', which does",
        ),
        ('key = "fedora-44.asc"', "", "'sources\\[2\\].key' and a signature require"),
        ("some.{arch}", "*", "'sources\\[2\\].url' has a '\\*'"),
        ("registry.example/some:one", "some:one", "'sources\\[3\\].reference' is not"),
    ],
)
def test_parse_names_file_entry_and_key_of_a_mistake(old: str, new: str, said: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new)
    if new == "*":
        text = text.replace('checksums = "SHA256SUMS"', "")
    where = "^entry 'some-image' of '/etc/postroj/catalog.toml': "
    with pytest.raises(ImageError, match=where + said):
        parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "entry 'x' of .*is not a table"),
        ('["../x"]', "entry '../x' of .*: the name is not made of lower-case letters"),
        ("[Debian]", "entry 'Debian' of .*: the name is not made of lower-case letters"),
        ("[x", "'/etc/postroj/catalog.toml' is not TOML"),
    ],
)
def test_parse_refuses_text_that_is_not_a_catalog(text: str, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        schema.parse(text, ORIGIN)


ARCHIVED = """
archived = { debian = "http://snapshot.example/debian/" }
"""


def test_parse_makes_a_second_bootstrap_of_an_archive() -> None:
    text = GOOD.replace('keyring_package = "some-keyring"', ARCHIVED)
    first, second, *_ = parse(text).sources
    assert isinstance(first, Bootstrap)
    assert isinstance(second, Bootstrap)
    assert (first.mirrors, first.suites) == ({}, second.suites)
    assert second.mirrors == {"debian": "http://snapshot.example/debian"}
    assert (first.archived, second.archived) == (False, True)
    with pytest.raises(ImageError, match=r"archived\.debian' is not an http or https URL"):
        parse(text.replace("http://snapshot.example", "ftp://x"))
    with pytest.raises(ImageError, match=r"'sources\[0\].archived' lacks 'debian'"):
        parse(text.replace("{ debian =", "{ elsewhere ="))


def test_parse_makes_a_second_tarball_of_an_archive() -> None:
    url = "https://archive.example/old/one/some.{arch}.tar.xz"
    tarballs = [
        source
        for source in parse(
            GOOD.replace('key = "fedora-44.asc"', f'key = "fedora-44.asc"\narchived = "{url}"')
        ).sources
        if isinstance(source, Tarball)
    ]
    assert [source.archived for source in tarballs] == [False, True]
    assert tarballs[1].url == url
    assert tarballs[1].checksums == "https://archive.example/old/one/SHA256SUMS"
    assert tarballs[1].signature == "https://archive.example/old/one/SHA256SUMS.gpg"
    with pytest.raises(ImageError, match=r"sources\[2\]\.archived' is not an http or https URL"):
        parse(GOOD.replace('key = "fedora-44.asc"', 'key = "fedora-44.asc"\narchived = "x:y"'))


def test_parse_takes_an_unbootable_entry_without_sources() -> None:
    text = '[x]\ndistribution = "x"\ntitle = "X"\nunbootable = "it has no systemd"\n'
    entry = parse(text)
    assert (entry.release, entry.architectures, entry.sources) == ("", (), ())
    assert entry.unbootable == "it has no systemd"


def test_simplestreams_has_a_default_server_and_its_key() -> None:
    streams = parse(GOOD.replace('server = "https://images.example/"\n', "")).sources[1]
    assert isinstance(streams, Simplestreams)
    assert streams.server == "https://images.linuxcontainers.org"
    assert (keyring.KEYS / streams.key).exists()


def test_paths_in_a_catalog_are_relative_to_its_file(tmp_path: Path) -> None:
    origin = Origin(title="x", folder=tmp_path)
    (tmp_path / "my.asc").touch()
    text = GOOD.replace("fedora-44.asc", "my.asc").replace("/keyring.gpg", "keyring.gpg")
    bootstrap, _, tarball, _ = parse(text, origin).sources
    assert isinstance(bootstrap, Bootstrap)
    assert isinstance(tarball, Tarball)
    assert bootstrap.keyring == tmp_path / "keyring.gpg"
    assert tarball.key == str(tmp_path / "my.asc")


def test_keyring_package_defaults_to_the_name_of_the_keyring() -> None:
    bootstrap = parse(GOOD.replace('keyring_package = "some-keyring"\n', "")).sources[0]
    assert isinstance(bootstrap, Bootstrap)
    assert bootstrap.keyring_package == "keyring"
