"""Verify downloads: keys, signatures, checksums."""
