"""What pytest finds of postroj: fixtures for guests and probes, and testinfra on a guest."""
