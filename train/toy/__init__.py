"""A tiny AKI from nothing, on the toy world."""
