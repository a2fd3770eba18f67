"""`aki-eval run` on every GPU of a Ray cluster.

    ray job submit --working-dir . -- python examples/ray_eval.py OPTIONS OF aki-eval run...

Without GPUs a worker a CPU. The exit code is the worst of theirs.
"""

import subprocess
import sys

import ray


def main() -> int:
    ray.init()
    kind = "GPU" if ray.cluster_resources().get("GPU") else "CPU"

    @ray.remote(**{f"num_{kind.lower()}s": 1}, max_retries=3)
    def work(options: list[str]) -> int:
        return subprocess.run(["aki-eval", "run", *options, "--join"], check=False).returncode

    num_workers = int(ray.cluster_resources()[kind])
    return max(ray.get([work.remote(sys.argv[1:]) for _ in range(num_workers)]))


if __name__ == "__main__":
    sys.exit(main())
