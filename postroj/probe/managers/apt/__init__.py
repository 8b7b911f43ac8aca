"""apt and dpkg."""
