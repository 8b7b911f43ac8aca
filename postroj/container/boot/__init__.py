"""Boot a guest: its command lines, its first files, and waiting until it is ready."""
