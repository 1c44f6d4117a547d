"""Algorithms compared under one recipe: `tbench train compare`. docs/train.md has the rules for arms."""
