"""The production of AKI: data, stages, recipes."""
