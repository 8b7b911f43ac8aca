"""Options that a guest with a kernel of its own does not have."""

from __future__ import annotations

from typing import Any

import pytest

from postroj.cli.guest_options import require_possible
from postroj.errors import UsageError

POSSIBLE: dict[str, Any] = {"network": "private", "private_users": False}


@pytest.mark.parametrize(
    ("given", "option", "hint"),
    [
        ({"boot": False}, "--no-boot", "its kernel starts its init"),
        ({"network": "host"}, "--network=host", "it has network devices of its own"),
        ({"binds": True}, "--bind", "its file system is its own; `postroj cp` copies files"),
        ({"private_users": True}, "--private-users", "its users are its own already"),
        ({"read_only": True}, "--read-only", "use a container for that"),
    ],
)
def test_require_possible_refuses(given: dict[str, Any], option: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_possible(own_kernel=True, **{**POSSIBLE, **given})
    assert caught.value.message == f"`{option}` does not work with `--vm`"
    assert caught.value.hint == hint
    require_possible(own_kernel=False, **{**POSSIBLE, **given})  # a container has it


@pytest.mark.parametrize("network", ["private", "none"])
def test_require_possible_lets_all_else_pass(network: str) -> None:
    require_possible(own_kernel=True, network=network, private_users=False)
