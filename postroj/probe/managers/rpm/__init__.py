"""dnf and zypper, on top of rpm."""
