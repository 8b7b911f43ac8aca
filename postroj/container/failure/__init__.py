"""Explain why a guest did not boot, or has ended."""
