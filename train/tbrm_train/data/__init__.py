"""The prompts of a training, and their golds."""
