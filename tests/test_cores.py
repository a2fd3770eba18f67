"""How many cores a process counts on: what it is bound to, what Slurm gives it, its share beside torchrun's others."""

from __future__ import annotations

import pytest

from benchmarks.cores import cores


@pytest.mark.parametrize(
    ("bound_to", "variables", "expected"),
    [
        (8, {}, 8),
        (8, {"SLURM_CPUS_PER_TASK": "3"}, 3),
        (2, {"SLURM_CPUS_PER_TASK": "16"}, 2),  # a container that was given less than the job
        (8, {"SLURM_CPUS_PER_TASK": "4(x2)"}, 8),
        (8, {"LOCAL_WORLD_SIZE": "4"}, 2),
        (2, {"LOCAL_WORLD_SIZE": "4"}, 1),
        (8, {"SLURM_CPUS_PER_TASK": "0"}, 1),
    ],
)
def test_what_a_process_counts_on(
    bound_to: int, variables: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_CPUS_PER_TASK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(bound_to)), raising=False)
    assert cores() == expected
