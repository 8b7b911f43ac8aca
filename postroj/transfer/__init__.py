"""What goes between guests that run and their host: files either way, and whole images."""
