"""A training from start to end."""
