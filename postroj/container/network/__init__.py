"""A guest's network."""
