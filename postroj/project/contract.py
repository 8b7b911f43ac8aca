"""Write promises about packages as a project file, which holds their next versions to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from postroj.probe.survey import Topic
from postroj.verdict import CheckKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from postroj.probe.survey import Keys, Promise

    Value = str | int | Sequence[str]
    Group = tuple[Topic, CheckKind, Keys, tuple[str, ...]]
    """What tables have in common: topic, kind, further keys, and the images where it holds."""


HEAD = """\
# What this package promises, as `postroj init` has found it. `postroj test` holds each build to it.
# Delete what is no promise; "Checks" in the reference of postroj says what else can be asked.
"""
COMMENTS = {
    Topic.PACKAGE: "The version does not go back.",
    Topic.UNIT: "What the installation does with units, and what must come up.",
    Topic.PROCESS: "The programs of services, and as whom they run.",
    Topic.NETWORK: "What answers.",
    Topic.CLOSED: "What only this machine can reach.",
    Topic.ACCOUNT: "Users and groups.",
    Topic.CONFIGURATION: "Configuration.",
    Topic.DATA: "Files and folders that not everybody may use.",
    Topic.PROGRAM: "Programs.",
    Topic.SOCKET: "Sockets that services make when they start.",
}
WIDTH = 88
"""Length of a line above which a list is broken."""


def render(
    packages: Sequence[str],
    promises: Mapping[str, Collection[Promise]],
    formats: Mapping[str, str],
    architecture: str = "",
) -> str:
    """Return a project file about packages, from the promises and the format of each image.

    `architecture` is that of the images; '' is the host's. A promise that holds on some images only
    is bound to them, or to their format.
    """
    head = [HEAD.rstrip(), *_line("package", packages), *_line("image", sorted(promises))]
    head += _line("arch", architecture) if architecture else ()
    topic = None
    parts = []
    for (about, kind, keys, images), subjects in sorted(_grouped(promises).items(), key=_order):
        lines = [] if about is topic else [f"# {COMMENTS[about]}"]
        topic = about
        bound = _bound(images, formats)
        lines += ["[[check]]", *_line(kind, sorted(subjects))]
        lines += [line for key, value in (*keys, *bound) for line in _line(key, value)]
        parts.append("\n".join(lines))
    return "\n\n".join(["\n".join(head), *parts]) + "\n"


def _grouped(promises: Mapping[str, Collection[Promise]]) -> dict[Group, set[str]]:
    """Group the subjects of promises that differ in nothing else."""
    places: dict[Promise, list[str]] = {}
    for image in sorted(promises):
        for promise in promises[image]:
            places.setdefault(promise, []).append(image)
    groups: dict[Group, set[str]] = {}
    for promise, images in places.items():
        group = promise.topic, promise.kind, promise.keys, tuple(images)
        groups.setdefault(group, set()).add(promise.subject)
    return groups


def _order(item: tuple[Group, set[str]]) -> tuple[object, ...]:
    (topic, kind, keys, images), subjects = item
    return topic, list(CheckKind).index(kind), images, min(subjects), str(keys)


def _bound(images: Sequence[str], formats: Mapping[str, str]) -> Iterator[tuple[str, Value]]:
    """Yield the key that binds a table to images, unless they are all."""
    if set(images) == set(formats):
        return
    kinds = {formats[image] for image in images}
    if set(images) == {image for image, form in formats.items() if form in kinds}:
        yield "format", sorted(kinds)
    else:
        yield "image", images


def _line(key: str, value: Value) -> Iterator[str]:
    """Yield the lines of a key; a list of one value is that value."""
    if isinstance(value, str | int):
        yield f"{key} = {_scalar(value)}"
    elif len(value) == 1:
        yield f"{key} = {_scalar(value[0])}"
    else:
        texts = [_scalar(one) for one in value]
        line = f"{key} = [{', '.join(texts)}]"
        if len(line) <= WIDTH:
            yield line
        else:
            yield f"{key} = ["
            yield from (f"    {text}," for text in texts)
            yield "]"


def _scalar(value: str | int) -> str:
    """Return a value of TOML; its strings escape as those of JSON do, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
