"""What a guest may take of the host."""
