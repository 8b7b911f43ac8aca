"""Which images there are."""
