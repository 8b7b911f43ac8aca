"""How a guest boots."""
