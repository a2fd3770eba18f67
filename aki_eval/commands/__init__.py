"""The verbs of `aki-eval`, one file each."""
