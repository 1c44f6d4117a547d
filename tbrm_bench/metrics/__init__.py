"""Pure functions from counts to scores; docs/metrics.md gives every formula."""
