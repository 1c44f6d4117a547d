"""Models as losses see them: log-probabilities of response tokens, and what stands before them."""
