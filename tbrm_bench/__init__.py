"""tbrm-bench: an evaluation suite for the mathematical reasoning of language models."""

__version__ = "0.1.0"
