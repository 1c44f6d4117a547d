"""Training recipes: the nouns, how they are read, what their keys owe each other."""
