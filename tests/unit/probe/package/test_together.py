"""Which packages are installed in one transaction."""

from __future__ import annotations

from pathlib import Path

from postroj.probe.package.formats import Format
from postroj.probe.package.metadata import Metadata, Need
from postroj.probe.package.package_file import PackageFile
from postroj.probe.package.together import divide


def package(
    name: str, *needs: str, version: str = "1.0-1", form: Format = Format.DEB, provides: str = ""
) -> PackageFile:
    """Return a package; a need is `a`, `a=1.0-1`, or `a|b`."""
    groups = [
        tuple(
            Need(name=one.partition("=")[0], version=one.partition("=")[2])
            for one in need.split("|")
        )
        for need in needs
    ]
    metadata = Metadata(
        name=name,
        version=version,
        needs=tuple(groups),
        provides=frozenset({name, *provides.split()}),
    )
    return PackageFile(path=Path(f"/{name}-{version}.{form}"), format=form, metadata=metadata)


def divided(*files: PackageFile) -> list[list[str]]:
    return [[file.path.stem for file in group] for group in divide(files)]


def test_unrelated_packages_stay_apart() -> None:
    assert divided(package("a", "libc6"), package("b")) == [["a-1.0-1"], ["b-1.0-1"]]


def test_a_package_brings_those_that_it_needs_directly_or_not() -> None:
    files = (package("lib"), package("app", "data=1.0-1"), package("data", "lib"), package("other"))
    assert divided(*files) == [["app-1.0-1", "data-1.0-1", "lib-1.0-1"], ["other-1.0-1"]]


def test_packages_with_the_same_need_are_not_installed_together() -> None:
    files = (package("mysql", "common"), package("pgsql", "common"), package("common"))
    assert divided(*files) == [["mysql-1.0-1", "common-1.0-1"], ["pgsql-1.0-1", "common-1.0-1"]]


def test_packages_that_need_each_other_are_one_set() -> None:
    assert divided(package("a", "b=1.0-1"), package("b", "a")) == [["a-1.0-1", "b-1.0-1"]]


def test_an_exact_need_is_met_by_that_version_only() -> None:
    old, new = package("lib", version="1.0-1"), package("lib", version="1.1-1")
    assert divided(old, package("app", "lib=1.0"), new) == [
        ["app-1.0-1", "lib-1.0-1"],
        ["lib-1.1-1"],
    ]
    assert divided(package("app", "lib=2.0"), new) == [["app-1.0-1"], ["lib-1.1-1"]]


def test_of_several_versions_that_of_the_same_build_is_taken() -> None:
    old, new = package("lib", version="1.0-1"), package("lib", version="1.1-1")
    apps = package("app", "lib", version="1.0-1"), package("app", "lib", version="1.1-1")
    assert divided(old, new, *apps) == [["app-1.0-1", "lib-1.0-1"], ["app-1.1-1", "lib-1.1-1"]]


def test_the_first_alternative_that_is_there_is_taken() -> None:
    files = (package("app", "exim|postfix|sendmail"), package("sendmail"), package("postfix"))
    assert divided(*files) == [["app-1.0-1", "postfix-1.0-1"], ["sendmail-1.0-1"]]


def test_a_need_can_be_provided_under_another_name_but_by_the_same_format_only() -> None:
    mail = package("app", "mail"), package("postfix", provides="mail")
    assert divided(*mail) == [["app-1.0-1", "postfix-1.0-1"]]
    red = package("postfix", provides="mail", form=Format.RPM)
    assert divided(mail[0], red) == [["app-1.0-1"], ["postfix-1.0-1"]]


def test_a_package_that_provides_its_own_need_brings_no_other() -> None:
    assert divided(package("a", "mail", provides="mail"), package("b", provides="mail")) == [
        ["a-1.0-1"],
        ["b-1.0-1"],
    ]
