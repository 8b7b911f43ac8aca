"""The folder of a `sitecustomize`, which Python programs import when they start (PYTHONPATH)."""
