"""Renderers: each turns the table model into one format."""
