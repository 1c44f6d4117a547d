"""From pieces in many files to one tensor's bytes, a few megabytes at a time."""
