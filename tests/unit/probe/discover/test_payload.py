"""What a package brings, by the names of its files; they are the package's, and may be anything."""

from __future__ import annotations

import pytest

from postroj.probe.discover.payload import Payload, classify, declared


def test_classify_the_files_of_a_daemon() -> None:
    files = [
        *("/.", "/etc", "/etc/init.d", "/etc/init.d/web", "/etc/web", "/etc/web/web.conf"),
        *("/lib", "/lib/systemd", "/lib/systemd/system", "/lib/systemd/system/web.service"),
        *("/usr/lib/systemd/system/web@.service", "/etc/systemd/system/web.socket"),
        *("/usr", "/usr/sbin", "/usr/sbin/webd", "/usr/lib/sysusers.d/web.conf"),
        "/lib/systemd/system/web.service",
    ]
    assert classify(files) == Payload(
        units=("web.socket", "web.service", "web@.service"),
        scripts=("web",),
        configuration=("/etc/init.d/web", "/etc/systemd/system/web.socket", "/etc/web/web.conf"),
        programs=("/usr/sbin/webd",),
        sysusers=("/usr/lib/sysusers.d/web.conf",),
    )


@pytest.mark.parametrize(
    "path",
    [
        "/usr/lib/systemd/user/mine.service",
        "/usr/lib/systemd/system/web.service.d/override.conf",
        "/usr/lib/systemd/system/multi-user.target.wants/web.service",
        "/usr/lib/systemd/system/web.conf",
        "/usr/lib/systemd/system/--help.service",
        "/usr/lib/systemd/system/a b.service",
        "/usr/lib/systemd/system/a\nb.service",
        "/usr/lib/systemd/system/.service",
        "/usr/share/web/lib/systemd/system/web.service",
        "/etc/init.d/-x",
        "/etc/init.d/x;y",
        "",
    ],
)
def test_classify_ignores_paths_that_are_not_units(path: str) -> None:
    found = classify([path])
    assert (found.units, found.scripts) == ((), ())


def test_declared_users_and_groups() -> None:
    text = '# comment\nu web - "Web" /var\nu! locked 7\ng ssl -\nm web ssl\nr - 500-900\n\nu\n'
    assert declared(text) == {"web", "locked", "ssl"}
