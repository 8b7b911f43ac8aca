"""What a guest looks like from the host: its files, processes and sockets."""
