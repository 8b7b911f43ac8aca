"""Questions to a guest about a package."""
