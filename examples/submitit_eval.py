"""`aki-eval run` as many Slurm jobs through submitit (https://github.com/facebookincubator/submitit).

    python examples/submitit_eval.py NUM_WORKERS OPTIONS OF aki-eval run...

`CLUSTER=local` starts the workers here. The exit code is the worst of theirs.
"""

import os
import sys

import submitit


def main() -> int:
    num_workers, options = int(sys.argv[1]), sys.argv[2:]
    executor = submitit.AutoExecutor(folder="aki-eval-jobs", cluster=os.environ.get("CLUSTER"))
    executor.update_parameters(name="aki-eval", timeout_min=120)
    if executor.cluster == "slurm":
        executor.update_parameters(nodes=1, tasks_per_node=1, gpus_per_node=1, cpus_per_task=8)
    with executor.batch():  # one array
        work = submitit.helpers.CommandFunction(["aki-eval", "run", *options, "--join"], verbose=False)
        jobs = [executor.submit(work) for _ in range(num_workers)]
    failed = [job for job in jobs if job.exception() is not None]
    for job in failed:
        print(f"job {job.job_id} failed: {job.paths.stderr}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
