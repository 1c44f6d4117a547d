"""From a completion to the words that are its answer."""
