"""From the words of an answer to a tree."""
