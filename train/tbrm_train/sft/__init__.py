"""Supervised training from scratch: how `builtin:tiny` was made."""
