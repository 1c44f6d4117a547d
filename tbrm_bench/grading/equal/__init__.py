"""Whether two read answers are equal."""
