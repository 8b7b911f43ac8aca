"""pacman."""
