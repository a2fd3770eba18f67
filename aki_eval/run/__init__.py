"""A run from top to bottom: load, prompt, predict, store, score."""
