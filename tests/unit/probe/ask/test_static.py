"""What idle units need, from recorded output of `systemctl show` of systemd 247, 252 and 257."""

from __future__ import annotations

import pytest

from postroj.probe.ask.static import (
    Facts,
    Kind,
    Need,
    Supplier,
    conditions,
    fault,
    parse,
    places,
)

RECORDED = r"""ExecStartPre={ path=/usr/bin/nope ; argv[]=fin a b ; ignore_errors=yes ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }
ExecStartPre={ path=sh ; argv[]=sh -c a;b { } ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }
ExecStart={ path=/usr/bin/no pe ; argv[]=/usr/bin/no pe postroj ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }
ExecReload={ path=/bin/kill ; argv[]=/bin/kill -HUP ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }
Environment=PYTHONPATH=/x
EnvironmentFiles=/etc/a (ignore_errors=yes)
EnvironmentFiles=/etc/b c (ignore_errors=no)
EnvironmentFiles=/run/x (ignore_errors=no)
EnvironmentFiles=/etc/*.x (ignore_errors=no)
WorkingDirectory=/opt/web
RootDirectory=
RootImage=
User=web
Group=12
DynamicUser=no
SupplementaryGroups=ssl adm
StateDirectory=foo
BindPaths=
BindReadOnlyPaths=
FragmentPath=/lib/systemd/system/x.service
DropInPaths=/etc/systemd/system/x.service.d/a.conf /run/b.conf
Id=x.service
Requires=sysinit.target nosuch.service
Requisite=
BindsTo=
LoadState=loaded
Triggers=
"""  # noqa: E501


def need(kind: Kind, name: str, by: str, supplier: Supplier = Supplier.PACKAGE) -> Need:
    return Need(kind=kind, name=name, by=by, supplier=supplier)


def changed(**values: str) -> str:
    """Return the recorded output with other values of some properties."""
    lines = [line for line in RECORDED.splitlines() if line.partition("=")[0] not in values]
    return "\n".join([*lines, *(f"{key}={value}" for key, value in values.items())])


def command(path: str) -> str:
    return f"{{ path={path} ; argv[]={path} ; ignore_errors=no ; start_time=[n/a] }}"


def names(text: str, kind: Kind) -> list[str]:
    return [each.name for each in parse(text).needs if each.kind is kind]


def test_needs_of_a_unit() -> None:
    found = parse(RECORDED)
    assert found.unit == "x.service"
    assert found.files == (
        *("/lib/systemd/system/x.service", "/etc/systemd/system/x.service.d/a.conf", "/run/b.conf"),
    )
    assert found.needs == (
        need(Kind.USER, "web", "User"),
        need(Kind.GROUP, "ssl", "SupplementaryGroups"),
        need(Kind.GROUP, "adm", "SupplementaryGroups"),
        need(Kind.UNIT, "sysinit.target", "Requires", Supplier.ADMINISTRATOR),
        need(Kind.UNIT, "nosuch.service", "Requires", Supplier.ADMINISTRATOR),
        need(Kind.PROGRAM, "sh", "ExecStartPre"),
        need(Kind.PROGRAM, "/usr/bin/no pe", "ExecStart"),
        need(Kind.FILE, "/etc/b c", "EnvironmentFile", Supplier.ADMINISTRATOR),
        need(Kind.FILE, "/run/x", "EnvironmentFile", Supplier.ANYBODY),
        need(Kind.FOLDER, "/opt/web", "WorkingDirectory", Supplier.ADMINISTRATOR),
    )


def test_a_dynamic_user_need_not_exist() -> None:
    assert names(changed(DynamicUser="yes"), Kind.USER) == []


def test_a_unit_that_is_not_loaded_needs_nothing() -> None:
    assert parse(changed(LoadState="masked")).needs == ()
    assert parse("") == parse("LoadState=loaded\n")


@pytest.mark.parametrize(
    "changes",
    [
        {"RootDirectory": "/srv/root"},
        {"RootImage": "/srv/root.raw"},
        {"TemporaryFileSystem": "/usr"},
        {"BindReadOnlyPaths": "/srv/bin:/usr/bin:rbind /srv/web:/opt/web:rbind"},
    ],
)
def test_paths_of_another_root_are_not_judged(changes: dict[str, str]) -> None:
    assert "/usr/bin/no pe" not in names(changed(**changes), Kind.PROGRAM)
    assert names(changed(**changes), Kind.FOLDER) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("WorkingDirectory", "!/opt/web"),
        ("WorkingDirectory", "~"),
        ("WorkingDirectory", ""),
        ("WorkingDirectory", "/var/lib/foo/work"),
    ],
)
def test_a_working_directory_that_may_be_missing_or_is_made(key: str, value: str) -> None:
    assert names(changed(**{key: value}), Kind.FOLDER) == []


def test_what_depends_on_the_instance_of_a_template_is_not_judged() -> None:
    text = changed(
        Id="x@postroj.service", User="postroj", ExecStart=command("/usr/lib/x/postroj/run")
    )
    assert names(text, Kind.USER) == []
    assert names(text, Kind.PROGRAM) == ["sh"]


def test_a_program_outside_of_packages_may_come_from_others() -> None:
    text = changed(ExecStart=command("/etc/rc.local"), ExecStartPre=command("/home/a/b"))
    found = {each.name: each.supplier for each in parse(text).needs}
    assert found["/etc/rc.local"] is Supplier.ADMINISTRATOR
    assert found["/home/a/b"] is Supplier.ANYBODY


def test_a_program_is_searched_unless_the_unit_has_a_path_of_its_own() -> None:
    program = need(Kind.PROGRAM, "sh", "ExecStartPre")
    assert "/usr/bin/sh" in places(program, parse(RECORDED).search)
    assert parse(changed(Environment='A=b "PATH=/x y"')).search == ()
    assert parse(changed(ExecSearchPath="/x")).search == ()
    assert fault(program, (), Facts()) == ""


EXECUTABLE, PLAIN, FOLDER = 0o100755, 0o100644, 0o040755


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (need(Kind.PROGRAM, "/bin/ok", "ExecStart"), ""),
        (need(Kind.PROGRAM, "ok", "ExecStart"), ""),
        (
            need(Kind.PROGRAM, "/bin/no", "ExecStart"),
            "program '/bin/no' does not exist (ExecStart=",
        ),
        (need(Kind.PROGRAM, "no", "ExecStart"), "'no' does not exist in /bin (ExecStart=)"),
        (need(Kind.PROGRAM, "/bin/plain", "ExecStart"), "is not an executable file"),
        (need(Kind.PROGRAM, "/bin/folder", "ExecStart"), "is not an executable file"),
        (need(Kind.PROGRAM, "/bin/broken", "ExecStart"), "needs something"),
        (need(Kind.USER, "web", "User"), ""),
        (need(Kind.USER, "www", "User"), "its user 'www' does not exist (User=)"),
        (need(Kind.GROUP, "web", "Group"), "its group 'web' does not exist (Group=)"),
        (need(Kind.UNIT, "a.service", "BindsTo"), ""),
        (need(Kind.UNIT, "b.service", "BindsTo"), "it requires 'b.service', which does not exist"),
        (need(Kind.UNIT, "b.service", "Triggers"), "it triggers 'b.service', which does not exist"),
        (need(Kind.FILE, "/bin/no", "EnvironmentFile"), "its EnvironmentFile '/bin/no' does not"),
        (need(Kind.FOLDER, "/bin/folder", "WorkingDirectory"), ""),
    ],
)
def test_fault_of_what_a_unit_needs(wanted: Need, sentence: str) -> None:
    facts = Facts(
        modes={
            "/bin/ok": EXECUTABLE,
            "/bin/broken": EXECUTABLE,
            "/bin/plain": PLAIN,
            "/bin/folder": FOLDER,
        },
        users=("web",),
        missing_units=("b.service",),
        broken={"/bin/broken": "needs something"},
    )
    found = fault(wanted, ("/bin",), facts)
    assert sentence in found
    assert bool(found) == bool(sentence)


def test_conditions_on_what_packages_bring() -> None:
    text = """
[Unit]
ConditionPathExists=/old
ConditionPathExists=
ConditionPathExists=!/etc/disabled
ConditionFileIsExecutable = |/usr/sbin/quotaon
AssertPathExists=/etc/x.conf
ConditionPathExists=/sys/class/net
ConditionPathIsMountPoint=/run/x
ConditionVirtualization=no
"""
    assert conditions(text) == [
        ("/etc/disabled", False),
        ("/usr/sbin/quotaon", True),
        ("/etc/x.conf", True),
    ]
