"""What a package brings, by the names of its files; they are the package's, and may be anything."""

from __future__ import annotations

import pytest

from postroj.probe.discover.payload import Payload, classify


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
        unit_files=(
            *("/etc/systemd/system/web.socket", "/lib/systemd/system/web.service"),
            "/usr/lib/systemd/system/web@.service",
        ),
        scripts=("web",),
        configuration=("/etc/init.d/web", "/etc/systemd/system/web.socket", "/etc/web/web.conf"),
        programs=("/usr/sbin/webd",),
        sysusers=("/usr/lib/sysusers.d/web.conf",),
    )


def test_classify_what_starts_programs_besides_units() -> None:
    files = [
        *("/usr/local/lib/systemd/system/local.service", "/usr/lib/systemd/user/mine.service"),
        *("/usr/share/systemd/user/shared.timer", "/usr/lib/systemd/system/ssh.service.d/x.conf"),
        *(
            "/lib/systemd/system/local.service.d/own.conf",
            "/usr/lib/systemd/user/a.service.d/b.conf",
        ),
        *("/usr/lib/systemd/system-generators/maker", "/etc/systemd/user-generators/other"),
        *(
            "/usr/share/dbus-1/system-services/org.x.service",
            "/usr/share/dbus-1/services/a.service",
        ),
        *("/usr/lib/tmpfiles.d/web.conf", "/etc/cron.d/web", "/etc/cron.daily/web"),
        *("/etc/cron.d/.placeholder", "/etc/logrotate.d/web", "/lib/sysusers.d/web.conf"),
    ]
    found = classify(files)
    assert found.units == ("local.service",)
    assert found.user_unit_files == (
        "/usr/lib/systemd/user/mine.service",
        "/usr/share/systemd/user/shared.timer",
    )
    assert found.changed_units == ("ssh.service", "a.service")
    assert "/lib/systemd/system/local.service.d/own.conf" not in found.drop_ins
    assert found.generators == (
        "/etc/systemd/user-generators/other",
        "/usr/lib/systemd/system-generators/maker",
    )
    assert len(found.bus_services) == 2
    assert found.tmpfiles == ("/usr/lib/tmpfiles.d/web.conf",)
    assert found.sysusers == ("/lib/sysusers.d/web.conf",)
    assert found.cron == ("/etc/cron.d/web", "/etc/cron.daily/web")
    assert found.logrotate == ("/etc/logrotate.d/web",)


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
