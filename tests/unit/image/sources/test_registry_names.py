from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from postroj.errors import DownloadError, ImageError, PostrojError, UsageError, VerificationError
from postroj.http_errors import AbsentError, UnreachableError
from postroj.image.sources import skopeo
from postroj.image.sources.reference import parse_reference
from postroj.image.unpack import manifest

if TYPE_CHECKING:
    from pathlib import Path

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("debian", "docker.io/library/debian:latest"),
        ("debian:12", "docker.io/library/debian:12"),
        ("docker://debian:12", "docker.io/library/debian:12"),
        ("docker.io/debian", "docker.io/library/debian:latest"),
        ("index.docker.io/debian", "docker.io/library/debian:latest"),
        ("opensuse/leap:15.6", "docker.io/opensuse/leap:15.6"),
        ("quay.io/centos/centos:stream9", "quay.io/centos/centos:stream9"),
        ("registry.example/a", "registry.example/a:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        ("127.0.0.1:5000/a:b", "127.0.0.1:5000/a:b"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        (f"debian@sha256:{HEX}", f"docker.io/library/debian@sha256:{HEX}"),
        (f"debian:12@sha256:{HEX}", f"docker.io/library/debian@sha256:{HEX}"),
    ],
)
def test_parse_reference_completes_short_names(typed: str, meant: str) -> None:
    assert str(parse_reference(typed)) == meant
    assert parse_reference(parse_reference(typed).url) == parse_reference(meant)


def test_parse_reference_keeps_a_tag_beside_a_digest() -> None:
    assert parse_reference(f"debian:12@sha256:{HEX}").tag == "12"
    assert parse_reference(f"debian@sha256:{HEX}").tag == ""


@pytest.mark.parametrize(
    "typed",
    [
        *("", "docker://", "https://host/a", "Debian", "a//b", "a/", "/a", "a:", "a:b:c", "a b"),
        *("--help", "host.example/--help", "host:port/a", "a@sha256:12", f"a@md5:{HEX}", "../a"),
        *("user:secret@host.example/a", "a\n", "a:b\n", "ü"),
    ],
)
def test_parse_reference_refuses_what_is_not_a_name(typed: str) -> None:
    with pytest.raises(UsageError, match="is not the name of an image") as caught:
        parse_reference(typed)
    assert "secret" not in caught.value.reason


@pytest.mark.parametrize(
    ("name", "local"),
    [
        ("localhost:5000/a", True),
        ("127.8.9.1/a", True),
        ("[::1]:5000/a", True),
        ("localhost.example/a", False),
        ("10.0.0.1:5000/a", False),
        ("debian", False),
    ],
)
def test_skopeo_uses_plain_http_only_on_this_host(name: str, local: bool, tmp_path: Path) -> None:
    reference = parse_reference(name)
    assert reference.is_local is local
    words = [*skopeo.inspect_argv("s", reference), *skopeo.copy_argv("s", reference, tmp_path)]
    assert [word for word in words if "tls-verify" in word] == (
        ["--tls-verify=false", "--src-tls-verify=false"] if local else []
    )


def test_skopeo_environment_passes_credentials_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/home/some")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", "/run/auth.json")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("TOKEN", "secret")
    env = skopeo.environment(tmp_path)
    assert {name: env[name] for name in env if name not in ("PATH", "LANG", "LC_ALL")} == {
        "HOME": "/home/some",
        "REGISTRY_AUTH_FILE": "/run/auth.json",
        "https_proxy": "http://proxy.example:3128",
        "TMPDIR": str(tmp_path),
    }


def entry(machine: str, variant: str = "", system: str = "linux", digit: str = "0") -> Any:
    platform = {"architecture": machine, "os": system}
    platform |= {"variant": variant} if variant else {}
    return {"platform": platform, "digest": "sha256:" + digit * 64, "size": 1}


@pytest.mark.parametrize(
    ("architecture", "entries", "chosen"),
    [
        ("x86_64", [entry("arm64"), entry("amd64", digit="1")], "1"),
        ("x86_64", [entry("amd64", system="windows"), entry("amd64", digit="1")], "1"),
        ("x86_64", [entry("amd64", "v3"), entry("amd64", "v2", digit="1")], "1"),
        ("x86_64", [entry("amd64", "v3"), entry("amd64", digit="1")], "1"),
        ("aarch64", [entry("arm", "v7"), entry("arm64", "v8", digit="1")], "1"),
        ("aarch64", [entry("arm64", digit="1"), entry("unknown", system="unknown")], "1"),
        ("armv7l", [entry("arm", "v5"), entry("arm", "v6"), entry("arm", "v7", digit="1")], "1"),
        ("armv7l", [entry("arm", "v8"), entry("arm", "v6", digit="1")], "1"),
        ("ppc64le", [entry("ppc64"), entry("ppc64le", digit="1")], "1"),
        ("i686", [entry("amd64"), entry("386", digit="1")], "1"),
        ("s390x", [entry("s390x", digit="1"), entry("s390x")], "1"),
        ("x86_64", [{"digest": "sha256:" + "1" * 64, "size": 1}], "1"),
    ],
)
def test_choose_ranks_platforms(architecture: str, entries: list[Any], chosen: str) -> None:
    assert manifest.choose({"manifests": entries}, architecture).digest == chosen * 64


def test_choose_reports_a_missing_platform() -> None:
    entries = [entry("arm64", "v8"), entry("amd64", system="windows"), entry("unknown"), "x"]
    with pytest.raises(
        ImageError, match="the image does not exist for the architecture 'x86_64'"
    ) as caught:
        manifest.choose({"manifests": entries}, "x86_64")
    assert caught.value.evidence == "it exists for linux/arm64/v8, windows/amd64"


LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **entry("")}


def with_layer(**changes: Any) -> dict[str, Any]:
    return {"config": entry(""), "layers": [{**LAYER, **changes}]}


UNREADABLE = "the manifest of the image cannot be read"
NO_SHA256 = "the image has a digest that is not a SHA-256"
NO_FILES = "the image has layers that are not part of a file system"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, UNREADABLE),
        ({"layers": [LAYER]}, UNREADABLE),
        ({"config": entry(""), "layers": {}}, UNREADABLE),
        ({"config": entry(""), "layers": ["x"]}, UNREADABLE),
        (with_layer(size=-1), UNREADABLE),
        (with_layer(size="1"), UNREADABLE),
        (with_layer(digest="sha256:../../etc/passwd"), NO_SHA256),
        (with_layer(digest="sha512:" + "0" * 128), NO_SHA256),
        (with_layer(mediaType="application/vnd.helm.tar"), NO_FILES),
        (with_layer(mediaType=LAYER["mediaType"] + "+encrypted"), NO_FILES),
        ({"schemaVersion": 1, "fsLayers": []}, "has schema 1, which is obsolete"),
    ],
    ids=[
        "empty",
        "no config",
        "layers not a list",
        "layer not a table",
        "negative size",
        "size not a number",
        "path instead of digest",
        "another hash algorithm",
        "helm chart",
        "encrypted layer",
        "schema 1",
    ],
)
def test_parse_manifest_refuses_what_cannot_boot(document: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        manifest.parse_manifest(document)


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ],
)
def test_parse_manifest_accepts_kinds_of_layers(kind: str) -> None:
    parsed = manifest.parse_manifest(
        {"config": entry(""), "layers": [{**LAYER, "mediaType": kind}] * 2}
    )
    assert (len(parsed.layers), parsed.size) == (2, 2)


FATAL = 'time="2026-11-21T09:29:21Z" level=fatal msg="{}"\n'
PULLING = r"initializing source docker://some/a:1: reading manifest 1 in some/a: "


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        (PULLING + "manifest unknown: manifest unknown", AbsentError, "has no image"),
        (PULLING + "name unknown: repository name not known", AbsentError, "has no image"),
        (
            PULLING + "toomanyrequests: You have reached your pull rate limit.",
            UnreachableError,
            "wants no more requests",
        ),
        (
            PULLING + "errors:\\ndenied: requested access to the resource is denied\\n"
            "unauthorized: authentication required",
            DownloadError,
            "does not let us fetch",
        ),
        (
            'pinging container registry some: Get \\"https://some/v2/\\": dial tcp: lookup some on '
            "10.255.255.53:53: no such host",
            UnreachableError,
            "is not known",
        ),
        (
            "dial tcp 127.0.0.1:1: connect: connection refused",
            UnreachableError,
            "cannot be reached",
        ),
        (
            'Get \\"https://some/v2/\\": x509: certificate signed by unknown authority',
            DownloadError,
            "no valid certificate",
        ),
        (
            "http: server gave HTTP response to HTTPS client",
            DownloadError,
            "no valid certificate",
        ),
        (
            "writing blob: Digest did not match, expected sha256:1, got sha256:2",
            VerificationError,
            "brought something else",
        ),
        (
            "Error loading trust policy: open /etc/containers/policy.json: no such file",
            ImageError,
            "policy of this host",
        ),
        ("something new", DownloadError, "could not be fetched"),
    ],
)
def test_skopeo_failures_have_sentences(said: str, kind: type[PostrojError], message: str) -> None:
    error = skopeo.failure(parse_reference("some.example/a:1"), FATAL.format(said))
    assert type(error) is kind
    assert message in error.message
    assert "level=fatal" not in error.evidence


def test_skopeo_evidence_has_no_secrets() -> None:
    said = FATAL.format(
        'Get \\"https://u:secret@cdn.example/blob?X-Amz-Signature=secret&a=b\\": EOF'
    )
    assert (
        skopeo.readable(said) == 'Get "https://***@cdn.example/blob?X-Amz-Signature=***&a=***": EOF'
    )


def test_skopeo_failure_on_a_full_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTROJ_CACHE_DIR", str(tmp_path))
    said = FATAL.format("writing blob: write /x: no space left on device")
    error = skopeo.failure(parse_reference("some.example/a"), said)
    assert "no space is left" in error.message
