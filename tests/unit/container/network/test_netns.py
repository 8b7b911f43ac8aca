"""Calls in the network namespace of another process."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from postroj.container.network import netns
from postroj.errors import GuestError
from tests.support.nets import inside

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.skipif(os.geteuid() != 0, reason="entering a network namespace takes root")
class TestInside:
    def test_sockets_are_in_the_namespace_of_the_process(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            inside(os.getpid(), lambda: socket.create_connection(address).close())

    def test_function_runs_in_a_thread_of_its_own(self) -> None:
        assert inside(os.getpid(), threading.get_ident) != threading.get_ident()

    def test_exception_reaches_the_caller(self) -> None:
        with pytest.raises(ZeroDivisionError):
            inside(os.getpid(), lambda: 1 // 0)


def test_inside_a_file_that_is_not_a_namespace(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(GuestError, match="be entered"):
        netns.inside(file.fileno(), lambda: None)
