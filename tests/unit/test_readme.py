"""README.rst claims nothing that the code contradicts."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import click
import pytest

from postroj.cli import COMMANDS, cli
from postroj.cli.reports import FILES
from postroj.container.host import OLDEST
from postroj.image.catalog import catalog
from postroj.model import Manager
from postroj.verdict import StepName

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.rst").read_text("utf-8")
PROSE = " ".join(README.split())
BOOTABLE = [entry for entry in catalog.shipped() if not entry.unbootable]
DISTRIBUTIONS = {
    "Debian": {"debian"},
    "Ubuntu, Kali, Linux Mint": {"ubuntu", "kali", "linuxmint"},
    "Fedora, CentOS, Rocky Linux, AlmaLinux, Oracle Linux, RHEL, Amazon Linux, openEuler, Mageia": {
        "fedora", "centos", "rocky", "almalinux", "ol", "rhel", "amzn", "openEuler", "mageia",
    },
    "openSUSE, SLES": {"opensuse-leap", "opensuse-tumbleweed", "sles"},
    "Arch Linux": {"arch"},
    "ALT Linux, Gentoo, NixOS": {"altlinux", "gentoo", "nixos"},
}  # fmt: skip
"""The rows of the table, and the distributions of the catalog that each stands for."""


def table() -> list[list[str]]:
    """Return the cells of the table of supported distributions, without its headings."""
    [block] = re.findall(r"\.\. list-table::\n   :header-rows: 1\n\n((?:   .*\n|\n)+)", README)
    rows = re.split(r"^   \* - ", block, flags=re.MULTILINE)[2:]
    return [[" ".join(cell.split()) for cell in row.split("\n     - ")] for row in rows]


def options() -> set[str]:
    known = set()
    context = click.Context(cli)
    for command in (cli, *(cli.get_command(context, name) for name in COMMANDS)):
        assert command is not None
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    return known


def claim(pattern: str) -> str:
    """Return what the group of the pattern matches; it has to stand in the text once."""
    [found] = re.findall(pattern, PROSE)
    assert isinstance(found, str)
    return found


def test_every_command_of_the_readme_exists() -> None:
    # in prose between backquotes, in examples after the prompt
    named = set(re.findall(r"(?:``|\$ |sudo )postroj ([a-z-]+)", README))
    assert {"pkgprobe", "doctor", "selftest", "run"} <= named
    assert named <= set(COMMANDS)


def test_every_option_of_the_readme_exists() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*(?!…)\b", README)) - {"--check-"}
    assert {"--package", "--steps", "--private-users"} <= named
    assert named <= options()


def test_every_image_of_the_readme_is_in_the_catalog() -> None:
    names = {entry.name for entry in BOOTABLE}
    named = {*re.findall(r"--image ([\w.-]+)", README), *re.findall(r"``(debian-\w+)``", README)}
    assert named
    assert named <= names


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    links = re.findall(r"<([^<>]+)>`_", README) + re.findall(r"\.\. image:: (\S+)", README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_readme_names_the_test_command_of_ci_and_the_makefile() -> None:
    [run] = re.findall(r"^exec (.*)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert f"$ {run}\n" in README
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", README)) <= targets


def test_the_readme_counts_images_package_managers_and_names_without_an_image() -> None:
    assert claim(r"The catalog has (\d+) images") == str(len(BOOTABLE))
    assert claim(r"images for (\d+) package managers") == str(len(Manager))
    unbootable = len(catalog.shipped()) - len(BOOTABLE)
    assert claim(r"(\d+) more names have no image") == str(unbootable)


def test_the_table_has_every_distribution_of_the_catalog_once() -> None:
    assert [row[0] for row in table()] == list(DISTRIBUTIONS)
    listed = Counter(name for names in DISTRIBUTIONS.values() for name in names)
    assert listed == Counter({entry.distribution for entry in BOOTABLE})


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0].split(",")[0])
def test_a_row_of_the_table_agrees_with_the_catalog(row: list[str]) -> None:
    names, manager, count, _ = row
    entries = [entry for entry in BOOTABLE if entry.distribution in DISTRIBUTIONS[names]]
    assert int(count) == len(entries)
    assert {entry.manager or "guests only" for entry in entries} == {manager}


def test_images_that_the_readme_calls_booted_are_so_in_the_list_of_what_was_not() -> None:
    unexercised = (ROOT / "docs/explanation/not-exercised.rst").read_text("utf-8")
    claimed = {name for *_, booted in table() for name in re.findall(r"``debian-(\w+)``", booted)}
    [tested, by_hand] = re.findall(
        r"images of Debian were really pulled and booted:\s+(.*?) by the tests, (\w+) by hand",
        " ".join(unexercised.split()),
    )[0]
    assert claimed == {*re.findall(r"\w+", tested), by_hand} - {"and"}


def test_the_readme_names_the_oldest_python_and_nspawn() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    oldest = project["requires-python"].removeprefix(">=")
    assert set(re.findall(r"Python ([\d.]+) or newer", PROSE)) == {oldest}
    assert claim(r"systemd-nspawn (\d+) or newer") == str(OLDEST)


def test_the_readme_names_every_step_of_all_in_their_order() -> None:
    steps = [step for step in StepName if step is not StepName.DOWNGRADE]
    verbs = claim(r"``--steps all`` (.*?), and checks after every step")
    assert re.split(r", | and ", verbs) == [
        f"{step}s".replace("-agains", "s again") for step in steps
    ]


def test_the_readme_names_every_kind_of_report() -> None:
    kinds = claim(r"``--report`` writes (.*?), or annotates")
    named = kinds.lower().replace(" xml", "")
    assert sorted(re.split(r", | or ", named)) == sorted(FILES)


def test_the_readme_and_the_reference_list_the_same_exit_statuses() -> None:
    reference = (ROOT / "docs/reference/exit-status.rst").read_text("utf-8")
    pattern = re.compile(r"^(\d+)  ", re.MULTILINE)
    assert pattern.findall(README) == pattern.findall(reference)


def test_changes_count_the_catalog() -> None:
    changes = " ".join((ROOT / "CHANGES.rst").read_text("utf-8").split())
    [(names, unbootable)] = re.findall(r"a catalog with (\d+) names .*? of which (\d+)", changes)
    assert int(names) == len(catalog.shipped())
    assert int(unbootable) == len(catalog.shipped()) - len(BOOTABLE)
