"""Shell completion of names and files; imports nothing until the shell asks."""

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

    before, last = _last_of_list(incomplete)
    return [
        CompletionItem(before + name, help=entry.title)
        for entry in catalog.entries()
        for name in (entry.name, *entry.aliases)
        if name.startswith(last)
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


def complete_steps(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the last name of a list of steps."""
    from click.shell_completion import CompletionItem

    from postroj.verdict import StepName

    before, last = _last_of_list(incomplete)
    names = [name for name in (*StepName, "all") if name not in before.split(",")]
    return [CompletionItem(before + name) for name in names if name.startswith(last)]


def complete_architecture(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete an architecture of the catalog."""
    from click.shell_completion import CompletionItem

    from postroj.image.catalog import catalog

    names = {name for entry in catalog.entries() for name in entry.architectures}
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


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


def _last_of_list(incomplete: str) -> tuple[str, str]:
    """Return what stands up to the last comma, and what follows."""
    before, comma, last = incomplete.rpartition(",")
    return before + comma, last


def _guests() -> list[str]:
    """Return the names of running guests, those chosen by users first."""
    from postroj import paths
    from postroj.container import roster, rundir

    return [*rundir.by_given(paths.state_dir()), *roster.names()]
