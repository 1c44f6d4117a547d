"""Supervised training from nothing: how `builtin:tiny` was made."""
