"""Carry out a command on another machine (`--host`), with OpenSSH between the two."""
