"""The Python door: `aki_eval.evaluate` and what it gives back."""
