"""Layers cached between runs: found by what they were made of, deleted with their image."""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from postroj.errors import HostError
from postroj.image import upkeep
from postroj.image.store import store, warm_layers
from postroj.image.store.warm_layers import Kind, Recipe, WarmLayer
from tests.support.images import put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postroj.model import Image


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What a probe holds."""
    with ExitStack() as held:
        yield held


@pytest.fixture
def image() -> Image:
    return put("a", b"hsqs").as_image()


def make(stack: ExitStack, recipe: Recipe, content: bytes = b"new", *packages: str) -> WarmLayer:
    with warm_layers.building(recipe) as directory:
        file = directory / "layer.squashfs"
        file.write_bytes(content)
        return warm_layers.add(stack, recipe, file, packages)


def lists(image: Image) -> Recipe:
    return warm_layers.recipe(Kind.LISTS, image, "apt")


def on_top(image: Image, layer: WarmLayer) -> Image:
    return replace(image, layers=(*image.layers, layer.path))


def names() -> list[str]:
    return sorted(path.name for path in warm_layers.layers_dir().iterdir())


def test_find_by_recipe(image: Image, stack: ExitStack) -> None:
    recipe = lists(image)
    assert warm_layers.find(recipe) is None
    layer = make(stack, recipe, b"new", "one")
    assert warm_layers.find(recipe) == layer
    assert layer.path.read_bytes() == b"new"
    assert abs(time.time() - layer.made) < 60
    assert names() == [layer.record_path.name, layer.path.name][::-1]
    assert warm_layers.find(warm_layers.recipe(Kind.LISTS, image, "dnf")) is None
    assert warm_layers.find(warm_layers.recipe(Kind.SETUP, image, "apt")) is None
    assert warm_layers.find(lists(on_top(image, layer))) is None
    assert not list(store.partial_dir().glob("layer-*"))


def test_recipe_keeps_commands_apart(image: Image) -> None:
    one, two = (warm_layers.recipe(Kind.SETUP, image, *words) for words in (("a", "b"), ("a b",)))
    assert one.stem != two.stem


def test_layer_in_use_outlives_its_replacement(image: Image, stack: ExitStack) -> None:
    old = make(stack, lists(image), b"old")
    with ExitStack() as other:
        new = make(other, lists(image), b"new")
    assert warm_layers.find(lists(image)) == new
    assert old.path.exists()
    assert warm_layers.collect_each() == [(old.path.name, None)]
    stack.close()
    assert warm_layers.collect() == 3
    assert names() == [new.record_path.name, new.path.name][::-1]


def test_use_of_a_deleted_layer_fails(image: Image, stack: ExitStack) -> None:
    layer = make(stack, lists(image))
    stack.close()
    layer.path.unlink()
    assert warm_layers.find(lists(image)) is None
    assert not warm_layers.use(stack, layer)


def test_collect_deletes_all_layers_of_a_removed_image(image: Image, stack: ExitStack) -> None:
    first = make(stack, warm_layers.recipe(Kind.SETUP, image, "true"), b"1")
    second = make(stack, lists(on_top(image, first)), b"22")
    stack.close()
    assert warm_layers.collect_each() == []
    put("a", b"another")
    assert sorted(warm_layers.collect_each(dry_run=True)) == sorted(
        [(first.path.name, 1), (second.path.name, 2)]
    )
    assert len(names()) == 4
    assert warm_layers.collect() == 3
    assert names() == []


def test_collect_keeps_the_dependencies_that_were_used_last(
    image: Image, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [
        make(stack, warm_layers.recipe(Kind.DEPENDENCIES, image, name), b"12345")
        for name in ("first", "second", "third")
    ]
    stack.close()
    for age, layer in enumerate(layers):
        os.utime(layer.record_path, (1000 - age, 1000 - age))
    monkeypatch.setattr(warm_layers, "MOST_DEPENDENCIES", 12)
    assert warm_layers.collect() == 5
    assert [layer.path.exists() for layer in layers] == [True, True, False]


def test_collect_deletes_layers_on_top_of_a_deleted_one(image: Image, stack: ExitStack) -> None:
    old = make(stack, lists(image), b"old")
    above = on_top(image, old)
    packages = make(stack, warm_layers.recipe(Kind.DEPENDENCIES, above, "apt"), b"debs")
    stack.close()
    make(stack, lists(image), b"new")
    assert warm_layers.collect() == 7
    assert not old.path.exists()
    assert not packages.path.exists()
    assert not packages.record_path.exists()


def test_collect_each_deletes_unused_layers(image: Image, stack: ExitStack) -> None:
    layer = make(stack, lists(image))
    stack.close()
    assert upkeep.prune(everything=False, dry_run=False).layers == ()
    long_ago = time.time() - warm_layers.UNUSED - 1
    os.utime(layer.record_path, (long_ago, long_ago))
    assert warm_layers.collect_each() == []
    with ExitStack() as other:
        assert warm_layers.use(other, layer)
    assert upkeep.prune(everything=False, dry_run=False).layers == ()
    os.utime(layer.record_path, (long_ago, long_ago))
    with ExitStack() as other:
        store.lock_shared(other, [layer.path])
        done = upkeep.prune(everything=False, dry_run=False)
        assert (done.layers, done.held) == ((), (layer.path.name,))
        assert warm_layers.find(lists(image)) == layer
    planned = upkeep.prune(everything=False, dry_run=True)
    assert (planned.layers, planned.freed) == ((layer.path.name,), 3)
    assert layer.path.exists()
    assert upkeep.prune(everything=False, dry_run=False) == planned
    assert names() == []


def test_collect_each_with_no_time_deletes_all_layers(image: Image, stack: ExitStack) -> None:
    layer = make(stack, lists(image))
    stack.close()
    planned = upkeep.prune(everything=True, dry_run=True)
    assert planned.layers == (layer.path.name,)
    assert upkeep.prune(everything=True, dry_run=False) == planned


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha256", "../../../etc/passwd"),
        ("kind", "other"),
        ("below", ["another.squashfs"]),
        ("packages", None),
        ("created", "yesterday"),
    ],
)
def test_find_ignores_a_damaged_record(
    key: str, value: object, image: Image, stack: ExitStack
) -> None:
    layer = make(stack, lists(image))
    stack.close()
    record = layer.record_path
    record.write_text(json.dumps(json.loads(record.read_text()) | {key: value}))
    assert warm_layers.find(lists(image)) is None
    assert warm_layers.collect() == 3
    assert names() == []


def test_find_ignores_a_link_instead_of_a_record(
    image: Image, stack: ExitStack, tmp_path: Path
) -> None:
    record = make(stack, lists(image)).record_path
    record.rename(tmp_path / "elsewhere")
    record.symlink_to(tmp_path / "elsewhere")
    assert warm_layers.find(lists(image)) is None


def test_collect_in_an_empty_cache() -> None:
    assert warm_layers.collect_each() == []


def test_building_in_a_cache_that_cannot_be_written(
    image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = lists(image)
    monkeypatch.setenv("POSTROJ_CACHE_DIR", "/proc/none")
    with pytest.raises(HostError, match="cannot be used"), warm_layers.building(recipe):
        pass


def test_building_waits_for_nobody_who_builds_another_kind(image: Image, stack: ExitStack) -> None:
    other = warm_layers.recipe(Kind.DEPENDENCIES, image, "apt", "web")
    with warm_layers.building(lists(image)):
        make(stack, other)
    found = warm_layers.find(other)
    assert found and found.path.exists()
