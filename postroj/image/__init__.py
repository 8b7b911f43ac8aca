"""From a name to a verified, bootable root filesystem on disk."""
