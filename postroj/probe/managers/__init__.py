"""What the package managers do differently: one module each."""
