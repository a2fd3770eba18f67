"""Figures of the model, drawn by code."""
