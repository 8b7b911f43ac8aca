"""Guests with a kernel of their own, in qemu: the same interface as those of `container`."""
