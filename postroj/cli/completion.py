"""Shell completion of image and guest names; imports nothing until the shell asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def complete_image(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete an image name of the catalog."""
    from click.shell_completion import CompletionItem

    from postroj.image.catalog import catalog

    return [
        CompletionItem(name, help=entry.title)
        for entry in catalog.entries()
        for name in (entry.name, *entry.aliases)
        if name.startswith(incomplete)
    ]


def complete_step(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a step after which checks are asked."""
    from click.shell_completion import CompletionItem

    from postroj.probe.course import LEAVING
    from postroj.verdict import StepName

    names = [name for name in StepName if name not in LEAVING]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_cached(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a stored image."""
    from click.shell_completion import CompletionItem

    from postroj.image.store import store

    names = [record.name for record in store.records()]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_guest(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a running guest."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in _guests() if name.startswith(incomplete)]


def complete_place(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the name of a guest and a colon, or a file of the host."""
    from click.shell_completion import CompletionItem

    found = [CompletionItem(f"{name}:") for name in _guests() if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def _guests() -> list[str]:
    """Return the names of running guests, those chosen by users first."""
    from postroj import paths
    from postroj.container import roster, rundir

    return [*rundir.by_given(paths.state_dir()), *roster.names()]
