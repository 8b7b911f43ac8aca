"""Turn the bytes of an image into one squashfs file, without unpacking them on the host."""
