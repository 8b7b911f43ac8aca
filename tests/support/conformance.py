"""Run autopkgtest's own tests of virtualisation servers with `autopkgtest-virt-postroj`.

    python conformance.py SUITE IMAGE [NAME...]

SUITE is `tests/autopkgtest` of the source package, IMAGE that of the guests, and NAME a test such
as `test_reboot`; without any, all of them run. They are those of servers that revert, reboot and
have a container: the tests that autopkgtest-virt-lxc must pass.
"""

from __future__ import annotations

import sys
import unittest
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any


def runner(path: str, image: str) -> type[unittest.TestCase]:
    """Return the tests of the suite, for guests of an image."""
    loader = SourceFileLoader("suite", path)
    spec = spec_from_loader("suite", loader)
    assert spec
    suite: Any = module_from_spec(spec)
    sys.modules["suite"] = suite
    loader.exec_module(suite)

    bases = (suite.AdtTestCase, suite.DebTestsCanReboot, suite.DebTestsVirtSystemContainer)

    def __init__(self: Any, *args: Any) -> None:
        suite.AdtTestCase.__init__(self, ["postroj", image], *args)

    return type("PostrojRunner", bases, {"__init__": __init__})


def main(path: str, image: str, *names: str) -> None:
    """Run the tests, and exit with 1 if one failed."""
    tests = runner(path, image)
    found = names or unittest.defaultTestLoader.getTestCaseNames(tests)
    suite = unittest.TestSuite(map(tests, found))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main(*sys.argv[1:])
