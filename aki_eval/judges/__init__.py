"""Judges: what grades open answers. `aki_eval.judge.make_judge` chooses one by name."""
