"""postroj: does my package install, start, keep running, upgrade and leave cleanly?"""

__version__ = "0.1.0"

DOCUMENTATION = "https://postroj.readthedocs.io/"
"""Address of the documentation."""

REPOSITORY = "https://github.com/postroj/postroj"
"""Address of the source code, also of the action for GitHub."""
