"""A run from its plan to its results: what makes a verdict, and what compares two."""
