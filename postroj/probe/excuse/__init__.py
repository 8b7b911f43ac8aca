"""Which failures are not held against the package?"""
