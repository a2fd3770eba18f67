"""All twelve columns of AKI-4B on one card and on eight, computed as by `aki-eval plan --on`.

    python tests/bench/target.py

The official tables are not needed: their numbers of rows are known, pictures and lengths are estimates. AKI-4B's sizes
are those of its published settings (Phi-3.5-mini, SigLIP so400m at 384 pixels).
"""

from __future__ import annotations

from aki_eval.predictors.make import ENGINES
from aki_eval.run.plan import ACCELERATORS, LONG_ANSWER, SHORT_ANSWER, ModelSize, TaskPlan, computed_time
from benchmarks.tasks import TASKS

AKI_4B = ModelSize(parameters=4.4e9, cache_bytes=4 * 32 * 32 * 96, picture_operations=2 * 27 * 729 * 16.9e6)
PICTURE_TOKENS, WORD_TOKENS = 144, 90
QUESTIONS_A_PICTURE = {"mme": 2, "pope": 18, "mmbench": 4, "llava_bench": 2.5}
ROWS_UNKNOWN = {"mmbench": 4329, "pope": 9000}
"""With MMBench's rotations, and each of POPE's splits asked by itself."""


def plans() -> list[TaskPlan]:
    found = []
    for task in TASKS.values():
        rows = sum(table.num_rows or 0 for table in task.tables) or ROWS_UNKNOWN.get(task.name, 0)
        long = task.judged or task.name == "mathvista"
        found.append(
            TaskPlan(
                task=task.name,
                questions=rows,
                pictures=round(rows / QUESTIONS_A_PICTURE.get(task.name, 1)),
                prompt_tokens=rows * (PICTURE_TOKENS + WORD_TOKENS),
                longest_prompt=0,
                answer_tokens=LONG_ANSWER if long else SHORT_ANSWER,
                most_answer_tokens=task.max_new_tokens,
                judge_requests=0,
                judge_input_tokens=0,
                judge_output_tokens=0,
            )
        )
    return found


def main() -> None:
    tasks = plans()
    print(f"{sum(task.questions for task in tasks):,} questions, {sum(task.pictures for task in tasks):,} pictures")
    for name, engine in ((name, engine) for name in ACCELERATORS for engine in ENGINES):
        time = computed_time(tasks, AKI_4B, ACCELERATORS[name], engine)
        print(
            f"{name}, {engine}: {time.total / 60:.1f} min ({time.pictures:.0f} s pictures, "
            f"{time.prompts:.0f} s prompts, {time.answers:.0f} s answers); on eight {time.total / 8 / 60:.1f} min"
        )


if __name__ == "__main__":
    main()
