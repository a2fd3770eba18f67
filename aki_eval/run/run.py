"""A run, read from top to bottom: load, prompt, predict, store; then score.

Everything resumes: what is stored is not asked again, and a complete run is only read.
"""

from __future__ import annotations

from contextlib import ExitStack

from ..predictors import Predictor, RemotePredictor
from .answering import Answering, WorkDone
from .distributed import find_world
from .inputs import load, with_tables
from .interruption import Interruption
from .likelihood import ask_likelihoods, wanted_names
from .opening import merge_ranks, open_for_writing, pending
from .options import RunOptions, RunResult
from .probing import refuse_own_prompts, take_over
from .progress import Progress
from .score import score_inputs
from .sessions import begin_session, end_session, stored_run

__all__ = ["RunOptions", "RunResult", "run"]


def run(options: RunOptions, predictor: Predictor, progress: Progress) -> RunResult:
    """The whole way; a process that is not the first ends with its own share.

    Raises:
        UserError: what the user can fix.
        TooManyFailures: the share of failed samples exceeds the cap.
    """
    refuse_own_prompts(options, predictor)
    world = find_world()
    world.init()
    with ExitStack() as held:
        interruption = held.enter_context(Interruption().watched())
        with world.main_first():
            tasks, left_out = with_tables(options.tasks, options.data)
            inputs = load(tasks, options.data, options.prompts, options.subset, options.max_new_tokens, options.probe)
            folder = held.enter_context(open_for_writing(options, predictor, inputs, world))
            if options.probe is not None and world.is_main:
                take_over(folder, inputs)
        for name, reason in left_out.items():
            progress.say(f"{name} is left out: {reason}")
        todo = {given.task.name: pending(folder, given) for given in inputs}
        world.barrier()  # everybody holds a lock and knows what is to be done
        world.destroy()
        if isinstance(predictor, RemotePredictor):
            held.callback(predictor.close)

        done = WorkDone()
        if any(todo.values()):
            if world.is_main:
                begin_session(folder, options, predictor, inputs, world.size)
            work = Answering(
                options=options,
                predictor=predictor,
                folder=folder,
                rank=world.rank,
                progress=progress,
                check=interruption.check,
            )
            done = work.answer(inputs, {name: world.shard(prompts) for name, prompts in todo.items()})
        else:
            progress.say(f"nothing to predict: {folder.root} has every answer already")
        if names := wanted_names(options.judge.protocols):
            size = options.batch_size or predictor.batch_size
            asked, seconds = ask_likelihoods(folder, inputs, predictor, names, size, world.rank, world.shard)
            progress.say(f"option probabilities of {asked} questions in {seconds:.1f} s")
        if not world.is_main:
            return RunResult(**vars(done), results=[], left_out=left_out)

        for rank in range(1, world.size):
            folder.wait_for(rank)
        merge_ranks(folder, inputs)
        if any(todo.values()):
            end_session(folder, inputs, todo)
        results = score_inputs(folder, stored_run(folder), inputs, options.judge)
        return RunResult(**vars(done), results=results, left_out=left_out)
