"""Training data of the laboratory: the toy world taught so that a short training learns most skills, but none at once.

Three things differ from what the toy is taught (`train/toy_world.md` says what each was worth):

- captions state what questions will ask;
- the skills are asked about in equal shares, not as the tables need them;
- multiple choice is answered by the words of the option. To name its letter is a skill of its own, which takes most of
  the toy's training and hides all others.

Scenes are those of the split `fit`: those of `eval`, on which all of this was chosen, and of `test` are never shown.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..captions import statements
from ..draw import Drawer
from ..questions import Question
from ..scene import Scene, Split, scenes
from ..skills import SKILLS
from ..tables.math_vista import answer_type_of, query
from ..vocabulary import INSTRUCTIONS
from .captions import write_caption_shards
from .conversations import Turn, detail, in_lines, reason, sentence, write_llava
from .files import Picture, write_picture
from .questions import questions
from .vqa import write_vqav2

SPLIT: Split = "fit"
ask = partial(questions, weights=dict.fromkeys(SKILLS, 1), check_share=0.15)
"""As `questions`, skills in equal shares as far as a scene offers them."""


def write_laboratory_data(
    root: Path, *, num_images: int, num_captions: int, seed: int = 0, per_image: int = 8, shard_size: int = 1000
) -> None:
    """Caption shards, VQAv2 (open questions and checks) and LLaVA-150k (multiple choice and sentences).

    Args:
        root: the data root; created.
        num_images: pictures of the two instruction sets, half of them each.
        num_captions: pictures with captions.
        seed: of scenes and questions.
        per_image: questions about a picture.
        shard_size: captions a shard.
    """
    captioned = list(scenes(f"laboratory captions {seed}", num_captions, SPLIT))
    write_caption_shards(root / "captions", captioned, seed, shard_size, statements)
    numbered = enumerate(scenes(f"laboratory {seed}", num_images, SPLIT), 1)
    pictures = [Picture(number, scene) for number, scene in numbered]
    asked, told = pictures[: num_images // 2], pictures[num_images // 2 :]
    for folder, name, own in (("train2014", "COCO_train2014_", asked), ("train2017", "", told)):
        for picture in own:
            write_picture(root / "coco" / folder / f"{name}{picture.number:012d}.jpg", picture.scene)
    drawer = Drawer(f"laboratory {seed}", SPLIT)
    write_vqav2(root / "vqav2", asked, drawer, per_image, ask)
    write_llava(root / "llava", told, drawer, per_image, _turn)


def _turn(drawer: Drawer, scene: Scene) -> Turn:
    """Three of four are multiple choice in one of the three wordings that the tables are asked in."""
    make = drawer.rng.choices(list(TURNS), list(TURNS.values()))[0]
    return make(drawer, scene)


def _choice(drawer: Drawer, scene: Scene) -> Turn:
    question = _chosen(drawer, scene)
    return f"{INSTRUCTIONS[1]} {question.text}\nOptions:\n{in_lines(question, '{}. {}')}\n", question.answer


def _cv_bench(drawer: Drawer, scene: Scene) -> Turn:
    question = _chosen(drawer, scene)
    return f"{question.text} Select from the following choices.\n{in_lines(question, '({}) {}')}", question.answer


def _math(drawer: Drawer, scene: Scene) -> Turn:
    question = _chosen(drawer, scene)
    return query(question, answer_type_of(question.skill)), question.answer


def _chosen(drawer: Drawer, scene: Scene) -> Question:
    return next(ask(drawer, scene, 1, "choice"))


TURNS = {_choice: 10, _cv_bench: 3, _math: 2, sentence: 2, detail: 1, reason: 1}
"""What a turn is, and how often."""
