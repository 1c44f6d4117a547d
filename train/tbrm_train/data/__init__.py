"""The prompts that a training draws, and their golds."""
