"""A run folder and what its numbers say."""
