"""Copy files between a running guest and the host, and make images of running guests."""
