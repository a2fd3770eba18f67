"""The harness: runs models over benchmarks, stores what they said, scores it and compares runs."""
