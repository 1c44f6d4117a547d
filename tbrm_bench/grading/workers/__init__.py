"""The processes in which hard verdicts are reached, and killed when they are late."""
