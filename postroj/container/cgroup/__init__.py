"""A guest's control groups: its processes, limits and devices."""
