"""From an image to a booted guest, and commands in it."""
