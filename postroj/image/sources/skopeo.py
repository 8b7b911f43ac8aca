"""Run skopeo, which speaks the registries' protocol and finds the user's credentials."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from postroj import paths, process, user
from postroj.errors import (
    CommandError,
    CommandTimeout,
    DownloadError,
    ImageError,
    VerificationError,
)
from postroj.http_errors import AbsentError, UnreachableError
from postroj.http_get import CHUNK
from postroj.image.sources import causes
from postroj.image.sources.causes import Cause
from postroj.image.unpack.confine import TIED
from postroj.urls import redacted_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postroj.errors import PostrojError
    from postroj.image.sources.reference import Reference

PASSED_ON = (
    *("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG"),
    *("CONTAINERS_REGISTRIES_CONF", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
"""Variables that lead skopeo to the user's credentials, mirrors and certificates."""

RETRIES = 2
"""Pauses are 1 and 2 seconds; skopeo obeys a busy registry that asks for longer ones."""
PATIENCE = 120.0
"""Seconds in which `LEAST` must arrive, or else we give up."""
LEAST = CHUNK
"""Bytes."""
STILL = "timeout: almost nothing arrived for too long"
BESIDE = 8 << 20
"""Bytes of what skopeo writes beside the files of an image, such as its manifest."""
TICK = 0.2
"""Seconds between two updates of the progress."""


def inspect_argv(skopeo: str, reference: Reference, *, config: bool = False) -> list[str]:
    """Return the command line that writes a manifest or an index to stdout, byte for byte.

    With `config` it is the configuration of the image.
    """
    plain_http = ["--tls-verify=false"] if reference.is_local else []
    return [
        *(*TIED, skopeo, "inspect", "--raw", f"--retry-times={RETRIES}"),
        *(["--config"] if config else []),
        *(*plain_http, reference.url),
    ]


def copy_argv(skopeo: str, reference: Reference, directory: Path) -> list[str]:
    """Return the command line that downloads the files of one image, byte for byte."""
    plain_http = ["--src-tls-verify=false"] if reference.is_local else []
    return [
        *(*TIED, skopeo, "copy", "--quiet", f"--retry-times={RETRIES}"),
        *(*plain_http, reference.url, f"dir:{directory}"),
    ]


def environment(directory: Path) -> dict[str, str]:
    """Return the environment of skopeo, with temporary files in `directory`."""
    found = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return process.environment({**found, "TMPDIR": str(directory)})


def inspect(reference: Reference, directory: Path, *, config: bool = False) -> bytes:
    """Download the manifest or index that a reference names, or the configuration of its image.

    :raises DownloadError: if the download fails.
    :raises VerificationError: if it has another digest.
    :raises HostError: if skopeo is not installed.
    """
    argv = inspect_argv(process.tool("skopeo"), reference, config=config)
    try:
        return process.run(argv, timeout=PATIENCE, env=environment(directory)).stdout
    except CommandTimeout as error:
        raise failure(reference, f"{error.output}\n{STILL}") from None
    except CommandError as error:
        raise failure(reference, error.output) from None


def copy(reference: Reference, directory: Path, size: int, on_bytes: Callable[[int], None]) -> None:
    """Download the files of an image into a directory, each named by its digest in hex.

    They have `size` bytes. `on_bytes` is called from time to time with the number of bytes so far.

    :raises DownloadError: if the download fails or almost stalls.
    :raises VerificationError: if a file has another digest, or there is more than expected.
    :raises HostError: if skopeo is not installed.
    """
    argv = copy_argv(process.tool("skopeo"), reference, directory)
    stdio = (process.DEVNULL, process.DEVNULL, process.PIPE)
    with (
        process.spawn(argv, stdio=stdio, env=environment(directory.parent)) as child,
        process.collecting_stderr(child) as complaints,
    ):
        status = _watch(child, directory, size, on_bytes)
    output = bytes(complaints).decode(errors="replace")
    if paths.disk_usage(directory) > size + BESIDE:
        message = f"the registry '{reference.registry}' sends more than '{reference}' has"
        raise VerificationError(message, evidence=f"expected {size} bytes")
    if status is None:
        output += f"\n{STILL}"
    if status != 0:
        raise failure(reference, output)
    on_bytes(paths.disk_usage(directory))


def _watch(
    child: process.Child, directory: Path, size: int, on_bytes: Callable[[int], None]
) -> int | None:
    """Wait for skopeo and return its status; None if it almost stalls, or has got too much."""
    enough, since = LEAST, time.monotonic()
    while (status := process.wait(child, TICK)) is None:
        there = paths.disk_usage(directory)
        on_bytes(there)
        if there > size + BESIDE:
            return None
        if there >= enough:
            enough, since = there + LEAST, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            return None
    return status


CAUSES = (
    Cause(
        pattern=r"[Dd]igest (?:did not|does not) match|digest mismatch|Digest .* does not match",
        sentence="the registry '{registry}' brought something else than '{reference}'",
        hint="something between this host and the registry changes files, or a disk is damaged",
        kind=VerificationError,
    ),
    Cause(
        pattern=r"policy\.json|Source image rejected",
        sentence="the policy of this host does not let skopeo fetch '{reference}'",
        hint="see /etc/containers/policy.json, and containers-policy.json(5)",
        kind=ImageError,
    ),
    Cause(
        pattern=r"toomanyrequests|[Tt]oo [Mm]any [Rr]equests|(?:status|StatusCode): 429",
        sentence="the registry '{registry}' wants no more requests for now",
        hint="wait some hours, or log in for a higher limit: `{login}`",
        kind=UnreachableError,
    ),
    Cause(
        pattern=r"unauthorized|authentication required|denied|invalid username/password"
        r"|(?:status|StatusCode): 40[13]",
        sentence="the registry '{registry}' does not let us fetch '{reference}'",
        hint="`{login}` if it is a private one; some registries say so of names that do not exist",
    ),
    Cause(
        pattern=r"(?:manifest|name|repository name|blob) unknown|not known to registry"
        r"|[Nn]ot [Ff]ound|no such manifest|StatusCode: 404",
        sentence="the registry '{registry}' has no image '{reference}'",
        hint="`skopeo list-tags docker://{repository}` shows what it has",
        kind=AbsentError,
    ),
    Cause(
        pattern=r"no such host|name resolution|server misbehaving",
        sentence="the host of the registry '{registry}' is not known",
        hint="see whether its name is right, and whether this host resolves names",
        kind=UnreachableError,
    ),
    Cause(
        pattern=r"x509:|tls: |HTTP response to HTTPS client",
        sentence="the registry '{registry}' has no valid certificate",
        hint="SSL_CERT_FILE names certificates of your own; plain http only works on this host",
    ),
    Cause(
        pattern=r"(?:status|StatusCode): 5\d\d",
        sentence="the registry '{registry}' reports a server error",
        hint="try again later",
        kind=UnreachableError,
    ),
    Cause(
        pattern=r"connection (?:refused|reset)|no route to host|network is unreachable"
        r"|[Tt]imeout|deadline exceeded|\bEOF\b",
        sentence="the registry '{registry}' cannot be reached",
        hint="see whether this host needs a proxy: `https_proxy` is heeded",
        kind=UnreachableError,
    ),
)


def failure(reference: Reference, output: str) -> PostrojError:
    """Build the error for an image that could not be fetched."""
    names = {
        "reference": reference,
        "registry": reference.registry,
        "repository": f"{reference.registry}/{reference.path}",
        "login": f"{'sudo ' if user.is_root() else ''}skopeo login {reference.registry}",
    }
    evidence = readable(output)
    known = causes.failure(CAUSES, output, names, lambda cause: evidence)
    return known or DownloadError(f"'{reference}' could not be fetched", evidence=evidence)


def readable(output: str) -> str:
    """Return skopeo's last messages, without log prefixes and secrets."""
    lines = []
    for line in output.strip().splitlines():
        match = re.search(r'\bmsg="((?:[^"\\]|\\.)*)"', line)
        text = re.sub(r"\\(.)", r"\1", match[1]) if match else line
        lines.append(text)
    return redacted_text("\n".join(dict.fromkeys(lines[-3:])))
