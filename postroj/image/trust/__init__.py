"""Why what was fetched may be believed."""
