"""``python -m postroj``."""

from postroj.cli import main

main()
