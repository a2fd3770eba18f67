"""Table 1 as an experiment: all rows from the same data and start per seed, measured by `aki-eval`."""
