"""Runs on disk, and what their numbers say about each other.

Every p-value, interval, pairing, correction and refusal in the project comes from here (`comparison.py`, by way of
`benchmarks/paired_tests.py`); `aki-eval compare`, `gate`, `report` and the pages only show it.
"""
