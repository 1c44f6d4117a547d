"""Training recipes: their types, how they are read, and the rules between their keys."""
