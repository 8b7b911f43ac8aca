"""How the bytes of an image become one squashfs file."""
