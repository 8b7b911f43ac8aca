"""What files of a package declare; they are the package's, and may be anything."""

from __future__ import annotations

import pytest

from postroj.probe.ask.declared import (
    Account,
    BusService,
    accounts,
    aliases,
    bus_service,
    declared,
    executed,
)


def test_declared_users_and_groups() -> None:
    text = (
        '# comment\nu web - "Web" /var\nu! locked 7\ng ssl -\nm web ssl\nr - 500-900\n\nu\nu %b\n'
    )
    assert declared(text) == {"web", "locked", "ssl"}


def test_accounts_that_tmpfiles_name() -> None:
    text = """
# d /run/no 0755 nobody nogroup
d /run/web 0755 web www-data 1d
d! "/run/a b" :0755 :x - -
f /run/number 0644 0 12 - text
d- /run/may-fail 0755 absent absent
x /run/ignored - absent absent
L+ /run/link - - - - /etc
d /run/%u 0755 %u - -
"""
    assert accounts(text) == [
        Account(kind="user", name="web", line=3),
        Account(kind="group", name="www-data", line=3),
        Account(kind="user", name="x", line=4),
    ]


def test_bus_service_with_a_unit_and_with_a_program() -> None:
    text = "[D-BUS Service]\nName=org.x\nExec=/bin/false\nUser=root\nSystemdService=x.service\n"
    assert bus_service(text) == BusService(
        name="org.x", program="/bin/false", user="root", unit="x.service"
    )
    assert bus_service('Exec = "/usr/lib/a b" --x').program == "/usr/lib/a b"
    assert bus_service("nonsense") == BusService()


def test_aliases_that_enabling_a_unit_makes() -> None:
    assert aliases("[Install]\nAlias=dbus-a.service b.service\nAlias = c.service\n") == {
        *("dbus-a.service", "b.service", "c.service")
    }


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("ExecStart=/usr/bin/a --b", "/usr/bin/a"),
        ("ExecStartPre=@+/usr/bin/a b", "/usr/bin/a"),
        ('ExecStart="/usr/bin/a" b', "/usr/bin/a"),
        ("ExecStart=-/usr/bin/a", ""),
        ("ExecReload=/usr/bin/a", ""),
        ("ExecStart=a", ""),
        ("# ExecStart=/usr/bin/a", ""),
    ],
)
def test_programs_without_which_a_unit_does_not_start(line: str, program: str) -> None:
    assert executed(f"[Service]\n{line}\n") == ({program} if program else set())
