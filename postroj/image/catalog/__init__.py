"""The catalog: which images there are, and the sources of each."""
