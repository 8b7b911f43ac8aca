"""nspawn's argv, word by word."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroj.container.boot import idmap, nspawn
from postroj.container.boot.masks import KERNEL_COMMAND_LINE
from postroj.container.boot.nspawn import HOLDER, bind_option
from postroj.container.spec import Bind, GuestSpec
from postroj.model import NetworkMode

RUN_DIR = Path("/run/postroj/postroj-ab12")
IMAGE = Path("/cache/debian.squashfs")
HEAD = [
    *("systemd-nspawn", "--quiet", "--machine=postroj-ab12"),
    "--directory=/run/postroj/postroj-ab12/mnt/root",
    *("--register=no", "--keep-unit", "--settings=no", "--kill-signal=SIGKILL"),
    *("--link-journal=no", "--resolv-conf=off", "--timezone=off"),
]
GRANTED = "--capability=CAP_IPC_LOCK,CAP_SYS_RESOURCE"
NETWORKS = {
    NetworkMode.PRIVATE: [
        GRANTED,
        "--network-namespace-path=/run/postroj/postroj-ab12/mnt/netns",
    ],
    NetworkMode.HOST: [GRANTED],
    NetworkMode.NONE: [GRANTED, "--private-network"],
}


@pytest.mark.parametrize("mode", NetworkMode)
def test_nspawn_argv_of_a_guest_that_boots(mode: NetworkMode) -> None:
    assert nspawn.nspawn_argv(GuestSpec(layers=(IMAGE,), network=mode), RUN_DIR) == [
        *HEAD,
        *NETWORKS[mode],
        *("--boot", "--notify-ready=yes"),
        *KERNEL_COMMAND_LINE,
    ]


@pytest.mark.parametrize("mode", NetworkMode)
def test_nspawn_argv_without_init(mode: NetworkMode) -> None:
    spec = GuestSpec(layers=(IMAGE,), network=mode, boot=False)
    argv = nspawn.nspawn_argv(spec, RUN_DIR)
    assert argv == [*HEAD, *NETWORKS[mode], "--as-pid2", "--", *HOLDER]


def test_kernel_command_line_masks_no_target_and_no_unit_that_a_package_may_need() -> None:
    assert "systemd.mask=console-getty.service" in KERNEL_COMMAND_LINE
    assert not [word for word in KERNEL_COMMAND_LINE if word.startswith("systemd.unit=")]
    assert not [word for word in KERNEL_COMMAND_LINE if word.endswith(".target")]
    needed = ("dbus", "journald", "tmpfiles", "sysusers", "logind", "resolved", "timesyncd")
    assert not [word for word in KERNEL_COMMAND_LINE for name in needed if name in word]
    assert all(word.startswith("systemd.") for word in KERNEL_COMMAND_LINE)


@pytest.mark.parametrize(
    ("source", "target", "option"),
    [
        ("/srv", "/srv", "/srv:/srv"),
        ("/a b", "/c d", "/a b:/c d"),
        ("/a:b", "/c:d", "/a\\:b:/c\\:d"),
        ("/a\\b", "/c\\:d", "/a\\\\b:/c\\\\\\:d"),
        ("/ends\\", "/x", "/ends\\\\:/x"),
        ("/'\",$", "/x", "/'\",$:/x"),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_bind_is_escaped_for_nspawn(source: str, target: str, option: str, read_only: bool) -> None:
    bind = Bind(source=Path(source), target=target, read_only=read_only)
    assert bind_option(bind) == f"--bind{'-ro' if read_only else ''}={option}"
    argv = nspawn.nspawn_argv(GuestSpec(layers=(IMAGE,), binds=(bind, bind)), RUN_DIR)
    assert argv[argv.index(bind_option(bind)) :][:3] == [
        bind_option(bind),
        bind_option(bind),
        "--boot",
    ]


@pytest.mark.parametrize("mode", [NetworkMode.PRIVATE, NetworkMode.NONE])
def test_nspawn_argv_with_private_users(mode: NetworkMode) -> None:
    bind = Bind(source=Path("/a"), target="/b", read_only=True)
    spec = GuestSpec(layers=(IMAGE,), network=mode, binds=(bind,), private_users=True)
    argv = nspawn.nspawn_argv(spec, RUN_DIR)
    base = idmap.base("postroj-ab12")
    start = argv.index(GRANTED)
    assert argv[start : argv.index("--boot")] == [
        *(GRANTED, "--private-network", "--drop-capability=CAP_NET_ADMIN"),
        *(f"--private-users={base}:65536", "--private-users-ownership=off"),
        "--bind-ro=/a:/b:idmap",
    ]


def test_nspawn_argv_with_a_host_name() -> None:
    argv = nspawn.nspawn_argv(GuestSpec(layers=(IMAGE,), hostname="guest"), RUN_DIR)
    assert "--hostname=guest" in argv
    assert "--machine=postroj-ab12" in argv


def test_nspawn_argv_of_a_read_only_guest() -> None:
    argv = nspawn.nspawn_argv(GuestSpec(layers=(IMAGE,), read_only=True), RUN_DIR)
    assert argv[argv.index("--read-only") + 1] == f"--bind={RUN_DIR}/mnt/var:/var"
