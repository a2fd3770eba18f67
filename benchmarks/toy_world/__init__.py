"""Coloured shapes in the formats of the real benchmarks and training sets."""
