"""The verbs of `aki-train`, one file each."""
