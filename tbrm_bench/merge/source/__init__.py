"""A checkpoint's files, read without running what they hold."""
