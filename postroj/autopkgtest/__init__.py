"""Serve guests to Debian's autopkgtest, as one of its virtualisation servers."""
