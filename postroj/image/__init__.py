"""Images: from a name to a verified, bootable root file system on disk."""
