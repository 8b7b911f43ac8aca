"""Put manual pages and completion into the wheel, and so into every package made from it.

Hatchling runs this when it builds a wheel, see
https://hatch.pypa.io/latest/plugins/build-hook/custom/. An editable installation gets none of it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SharedData(BuildHookInterface):  # type: ignore[misc]
    """Files beside the Python modules."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the files, and tell the builder where each of them belongs."""
        if version == "editable":
            return
        sys.path[:0] = [self.root, str(Path(__file__).parent)]
        import share

        self.folder = tempfile.TemporaryDirectory(prefix="postroj-wheel-")
        for target, text in share.files().items():
            source = Path(self.folder.name, target)
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_text(text, "utf-8")
            build_data["shared_data"][str(source)] = target

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the files again."""
        if version != "editable":
            self.folder.cleanup()
