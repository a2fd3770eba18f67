"""Predictions made elsewhere: reading their files, and finding out which question each of them answers."""
