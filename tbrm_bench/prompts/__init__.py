"""From a problem to what a model is given: protocols, chat templates, token ids."""
