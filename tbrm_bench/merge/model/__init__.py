"""The model that comes out: its names, its class, its files."""
