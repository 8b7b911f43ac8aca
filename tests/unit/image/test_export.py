from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from postroj.errors import UsageError
from postroj.image import export
from postroj.image.export import Format
from postroj.image.unpack.disk import ROOT_TYPES

ID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        ("a.tar", Format.TAR),
        ("a.tar.zst", Format.TAR_ZST),
        ("a.tzst", Format.TAR_ZST),
        ("a.squashfs", Format.SQUASHFS),
        ("a.b.sqfs", Format.SQUASHFS),
        ("a.raw", Format.DISK),
        ("a.tar.img", Format.DISK),
    ],
)
def test_format_of_a_file_name(name: str, format_: Format) -> None:
    assert export.format_of(name) is format_


@pytest.mark.parametrize("name", ["a", "tar", "a.tar.gz", "a.zst", "-"])
def test_format_of_a_name_without_a_format(name: str) -> None:
    with pytest.raises(UsageError, match="implies no format") as caught:
        export.format_of(name)
    assert "use `--format`" in caught.value.hint


@pytest.mark.parametrize("architecture", ROOT_TYPES.values())
def test_partition_table_of_a_disk(architecture: str) -> None:
    head, name, partition = export.partition_table(architecture, 4097, ID).splitlines()
    assert (head, name) == ("label: gpt", f"label-id: {ID}")
    assert partition.startswith("start=2048, size=9, type=")
    assert ROOT_TYPES[partition.split("type=")[1].split(",")[0]] == architecture
    assert partition.endswith('name="root", attrs="GUID:60"')
    assert export.partition_table(architecture, 4097, ID) == export.partition_table(
        architecture, 4097, ID
    )


def test_partition_table_for_an_architecture_without_a_type() -> None:
    with pytest.raises(UsageError, match="architecture 'vax'"):
        export.partition_table("vax", 4096, ID)


def test_merge_argv_mounts_layers_in_a_private_namespace() -> None:
    layers = [Path("/a b/base.squashfs"), Path("/top.squashfs")]
    *namespace, script = export.merge_argv(layers, Path("/run/x"), root=True)
    assert namespace == [
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *("unshare", "--mount", "--propagation", "slave"),
        *("--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-euc"),
    ]
    assert script.splitlines()[:-1] == [
        "mount -t tmpfs -o mode=0700 tmpfs /run/x",
        "cd /run/x",
        "mkdir root lower0 lower1",
        "mount -t squashfs -o loop,ro,nodev '/a b/base.squashfs' lower0",
        "mount -t squashfs -o loop,ro,nodev /top.squashfs lower1",
        "mount -t overlay -o ro,lowerdir=lower1:lower0,redirect_dir=on overlay root",
    ]
    assert script.splitlines()[-1].startswith("exec tar --create --directory=root ")
