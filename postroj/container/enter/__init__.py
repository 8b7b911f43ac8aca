"""The way into a guest."""
