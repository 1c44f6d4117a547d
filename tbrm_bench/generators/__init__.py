"""Sources that make their rows: no download, the same rows on every machine."""
