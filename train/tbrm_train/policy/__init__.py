"""Models as losses see them: log-probabilities of response tokens, from the hidden states before them."""
