"""A run, read from top to bottom: load, prompt, predict, store; then score.

Everything resumes: what is stored is not asked again, and a complete run is only read. Several workers may be at it.
"""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.results.roll import IN_PART, SCORED

from ..predictors import Predictor, RemotePredictor
from .answering import Working
from .distributed import find_world
from .inputs import load, with_tables
from .interruption import Interruption
from .likelihood import refuse_without_probabilities, wanted_names
from .opening import merge_workers, open_for_writing
from .options import RunOptions, RunResult
from .probing import refuse_own_prompts
from .progress import Progress
from .score import score_inputs
from .sessions import end_session, stored_run

__all__ = ["RunOptions", "RunResult", "run"]


def run(options: RunOptions, predictor: Predictor, progress: Progress) -> RunResult:
    """The whole way. Of several workers the last one scores for all.

    Raises:
        UserError: what the user can fix.
        TooManyFailures: the share of failed samples exceeds the cap.
    """
    refuse_own_prompts(options, predictor)
    refuse_without_probabilities(predictor, wanted_names(options.judge.protocols))
    with ExitStack() as held:
        interruption = held.enter_context(Interruption().watched())
        tasks, left_out = with_tables(options.tasks, options.data)
        inputs = load(tasks, options.data, options.prompts, options.subset, options.max_new_tokens, options.probe)
        opened = held.enter_context(open_for_writing(options, predictor, inputs, find_world(), progress.say))
        for name, reason in left_out.items():
            progress.say(f"{name} is left out: {reason}")
        if opened is None:
            progress.say(f"nothing left to do: other workers have finished {options.out}, or are about to")
            return RunResult(
                num_predicted=0, seconds=0, seconds_in_model=0, results=[], left_out=left_out, scored=False
            )
        if isinstance(predictor, RemotePredictor):
            held.callback(predictor.close)
        folder, roll, chunks = opened.folder, opened.roll, opened.chunks

        work = Working(options=options, predictor=predictor, opened=opened, progress=progress, check=interruption.check)
        if chunks.is_empty():
            progress.say(f"nothing to predict: {folder.root} has every answer already")
        done = work.until_all_is_done(inputs)
        if not roll.close():
            return RunResult(**vars(done), results=[], left_out=left_out, scored=False)

        merge_workers(folder, inputs)
        if any(chunks.count(given.task.name) for given in inputs):
            end_session(folder, inputs, chunks)
        results = score_inputs(folder, stored_run(folder), inputs, options.judge)
        roll.note(SCORED if all(result.complete for result in results) else IN_PART)
        return RunResult(**vars(done), results=results, left_out=left_out, scored=True)
