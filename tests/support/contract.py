"""A package with much to promise: a page, a user, configuration with a mode, a line in the journal.

Its daemon needs nothing that a minimal Debian lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import debs

if TYPE_CHECKING:
    from pathlib import Path

PORT = 8077
DAEMON = f"""\
#!/usr/bin/perl
use IO::Socket::INET;
$| = 1;
my $server = IO::Socket::INET->new(
    LocalAddr => '127.0.0.1', LocalPort => {PORT}, Listen => 9, ReuseAddr => 1) or die;
my $random = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 9) or die;
print "Ready to serve {PORT}\\n";
while (my $client = $server->accept) {{
    my $line = <$client> // next;
    my ($path) = $line =~ m{{^GET (\\S+)}} or next;
    while (($_ = <$client> // '') =~ /\\S/) {{}}
    my $status = $path eq '/no' ? '404 No' : '200 OK';
    print $client "HTTP/1.0 $status\\r\\n\\r\\nHello from $path";
}}
"""
UNIT = """\
[Unit]
Description=much to promise
[Service]
ExecStart=/usr/bin/contractd
User={user}
[Install]
WantedBy=multi-user.target
"""
IDLE = """\
[Unit]
Description=for who wants it
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
SYSUSERS = """\
u contract - "much to promise"
g contract-readers -
"""
PRERM = "#!/bin/sh\nsystemctl disable --quiet --now contract\n"
POSTINST = """\
#!/bin/sh
set -e
[ ! -e /usr/lib/sysusers.d/contract.conf ] || systemd-sysusers /usr/lib/sysusers.d/contract.conf
chmod {mode} /etc/contract.conf
[ {mode} = 644 ] || chown root:contract-readers /etc/contract.conf
mkdir -p /etc/contract.d
# differs on every machine
cat /proc/sys/kernel/random/uuid >/etc/contract.d/identity
systemctl daemon-reload
{enable}
systemctl start contract
"""


def build(
    folder: Path, *, is_enabled: bool = True, mode: str = "640", has_user: bool = True
) -> Path:
    """Build contract_1.0_all.deb, perhaps one that breaks a promise."""
    accounts = {"/usr/lib/sysusers.d/contract.conf": SYSUSERS} if has_user else {}
    return debs.build(
        folder,
        "contract",
        files={
            "/usr/bin/contractd": DAEMON,
            "/lib/systemd/system/contract.service": UNIT.format(
                user="contract" if has_user else "root"
            ),
            "/lib/systemd/system/contract-idle.service": IDLE,
            "/etc/contract.conf": f"port = {PORT}\n",
            "/DEBIAN/conffiles": "/etc/contract.conf\n",
            **accounts,
        },
        scripts={
            "prerm": PRERM,
            "postinst": POSTINST.format(
                mode=mode if has_user else "644",
                enable="systemctl enable --quiet contract" if is_enabled else ":",
            ),
        },
    )
