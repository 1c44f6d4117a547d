"""MODEL on the command line, from its name to weights that are those of its class."""
