"""Probe real daemons of the mirror without any check option, and print the findings as a page.

    sudo .venv/bin/python benchmarks/daemons.py [--image NAME] [NAME...] > PAGE

Each gets a fresh guest. Nothing passes or fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

POSTROJ = (sys.executable, "-m", "postroj")

DAEMONS = (
    *("acpid", "apache2", "avahi-daemon", "beanstalkd", "bind9", "chrony", "cron", "cups-daemon"),
    *("distcc", "dnsmasq", "dovecot-imapd", "exim4-daemon-light", "fail2ban", "gpsd", "haproxy"),
    *("isc-dhcp-server", "knot", "lighttpd", "lldpd", "memcached", "mosquitto", "nginx-light"),
    *("nsd", "openbsd-inetd", "openssh-server", "pcscd", "postfix", "postgresql-15"),
    *("prometheus-node-exporter", "proftpd-core", "redis-server", "rpcbind", "rsyslog", "slapd"),
    *("smartmontools", "snmpd", "squid", "stunnel4", "tftpd-hpa", "tinyproxy", "tor", "unbound"),
    *("uuid-runtime", "varnish", "vsftpd"),
)

AT_ONCE = 3

PAGE = """\
=====================
Daemons in the mirror
=====================

Packages of the mirror, each probed on a fresh guest of ``{image}`` without any ``--check-…``
option. ``benchmarks/daemons.py`` made this page. :doc:`../explanation/discovery` explains what is
judged, and why.

Below the outcome stands the time of the probe in seconds, including the boot of its guest, with
three guests at once on two cores. These did not pass:
{failed}.
"""


def download(image: str, names: list[str], folder: Path) -> None:
    """Download packages without their dependencies, in a guest."""
    script = f"apt-get --quiet update && cd /srv && apt-get --quiet download {' '.join(names)}"
    argv = [*POSTROJ, "--quiet", "run", "--image", image, "--bind", f"{folder}:/srv"]
    subprocess.run([*argv, "--", "sh", "-ec", script], check=True, stdout=sys.stderr)


def probe(image: str, deb: Path) -> dict[str, Any]:
    """Probe a package, and return its part of the JSON report."""
    argv = [*POSTROJ, "--quiet", "pkgprobe", "--image", image, "--package", str(deb), "--json"]
    done = subprocess.run(argv, check=False, stdout=subprocess.PIPE)
    (only,) = json.loads(done.stdout)["probes"]
    assert isinstance(only, dict)
    return only


def row(name: str, found: dict[str, Any]) -> list[list[str]]:
    """The cells of a daemon; each has lines."""
    step = found["steps"][0] if found["steps"] else {"checks": [], "discovered": None}
    kinds = ("unit", "system")
    units = [check for check in step["checks"] if check["kind"] in kinds and check["discovered"]]
    judged = [_line(check) for check in units if check["outcome"] != "skip"]
    skipped = [_line(check) for check in units if check["outcome"] == "skip"]
    failures = [_line(check) for check in step["checks"] if check["outcome"] in ("fail", "error")]
    heard = (step["discovered"] or {}).get("sockets", [])
    lines = [f"{s['protocol']} ``{s['address']}``" for s in heard]
    more = [f"and {len(lines) - 8} more"] if len(lines) > 8 else []
    known = {*judged, *skipped}
    judged += [line for line in failures if line not in known]
    verdict = [found["outcome"], f"{found['timings']['total']:.0f} s"]
    return [[name], verdict, judged, lines[:8] + more, skipped]


def _line(check: dict[str, Any]) -> str:
    sentence = check["reason"].splitlines()[0].partition(", listens on ")[0]
    words = [word for word in sentence.split(", ") if not word.startswith("main PID")]
    return f"``{check['subject']}`` {', '.join(words)}".replace("|", r"\|").replace("*", r"\*")


def table(rows: list[list[list[str]]]) -> str:
    """Return a list-table, with one line for each line of a cell."""
    header = [["package"], ["outcome"], ["units"], ["sockets"], ["named, but not judged"]]
    text = ".. list-table::\n   :header-rows: 1\n   :widths: 12 8 32 24 24\n\n"
    for cells in [header, *rows]:
        for number, lines in enumerate(cells):
            body = "\n".join(f"| {line}" for line in lines)
            text += ("   * - " if number == 0 else "     - ") + body.replace("\n", "\n       ")
            text += "\n"
    return "\n".join(line.rstrip() for line in text.splitlines())


def main() -> None:
    """Probe the named packages, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(DAEMONS))
    parser.add_argument("--image", default="debian-bookworm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(AT_ONCE) as pool:
        folder = Path(work)
        download(options.image, options.names, folder)
        debs = [next(folder.glob(f"{name}_*.deb")) for name in options.names]
        found = pool.map(partial(probe, options.image), debs)
        rows = [row(name, result) for name, result in zip(options.names, found, strict=True)]
    failed = ", ".join(cells[0][0] for cells in rows if cells[1][0] != "pass") or "none of these"
    print(PAGE.format(image=options.image, failed=failed))
    print(table(rows))


if __name__ == "__main__":
    main()
