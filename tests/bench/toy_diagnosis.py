"""Why a toy model does or does not know a skill: how far what it needs gets through the model.

    python tests/bench/toy_diagnosis.py CHECKPOINT [CHECKPOINT ...]

For each checkpoint of the toy (a folder that `aki-eval` reads):

- linear probes for what stands in a cell (shape, color, size, digit): ridge regression onto the classes, fitted on
  1,500 scenes, tested on 500 others, at the mean of the cell's patches (vision tower), at the cell's latent
  (resampler) and at its place after each layer of the text backbone;
- the attention that the last token of the question pays to the latent of the cell that is asked about, of all that it
  pays to latents, by layer, mean of heads (four cells: 0.25 is none in particular);
- the skills asked openly, as a yes/no check, and as multiple choice: the same knowledge, another form of answer.

All about scenes of the split `eval`: what is chosen is chosen on these.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.toy_world import Drawer, Scene, image, scenes
from benchmarks.toy_world.draw import Drawn, Form
from benchmarks.toy_world.skills import SKILLS
from model import AkiForConditionalGeneration, AkiProcessor
from train.data import templates
from train.toy.vision import CLASSES, cell_labels, mean_of_cells

FITTED, TESTED = 1500, 500
RIDGE = 1e-2
PER_SKILL = 120
NAMED = {"position", "size"}
"""Skills whose open question names one thing; its cell is where to look."""


def probe(fitted: Tensor, fitted_labels: Tensor, tested: Tensor, tested_labels: Tensor) -> float:
    """(N, D) features and (N,) classes -> accuracy on the tested ones."""
    mean, spread = fitted.mean(0), fitted.std(0) + 1e-6
    left, right = ((each - mean) / spread for each in (fitted, tested))
    left, right = (torch.cat([each, torch.ones(len(each), 1)], dim=1) for each in (left, right))
    classes = torch.nn.functional.one_hot(fitted_labels, int(fitted_labels.max()) + 1).float()
    gram = left.T @ left + RIDGE * len(left) * torch.eye(left.shape[1])
    weights = torch.linalg.solve(gram, left.T @ classes)
    return float(((right @ weights).argmax(-1) == tested_labels).float().mean())


class Looked:
    """A checkpoint, and what it makes of questions."""

    def __init__(self, path: Path) -> None:
        self.model = AkiForConditionalGeneration.from_pretrained(path, attn_implementation="eager").eval()
        self.processor = AkiProcessor.from_pretrained(path)

    @torch.no_grad()
    def __call__(self, drawn: Sequence[Scene], prompts: Sequence[str], **more: Any) -> tuple[Any, dict[str, Tensor]]:
        batch = self.batch(drawn, prompts)
        return self.model(**batch, **more), batch

    def batch(self, drawn: Sequence[Scene], prompts: Sequence[str]) -> dict[str, Tensor]:
        turns = [
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}] for prompt in prompts
        ]
        texts = [self.processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False) for turn in turns]
        return dict(
            self.processor(text=texts, images=[[image(scene)] for scene in drawn], return_tensors="pt", padding=True)
        )

    @torch.no_grad()
    def answers(self, asked: Sequence[Drawn], prompts: Sequence[str]) -> list[str]:
        batch = self.batch([each.scene for each in asked], prompts)
        made = self.model.generate(**batch, max_new_tokens=6, do_sample=False)
        return [
            text.strip().lower()
            for text in self.processor.batch_decode(made[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        ]


def cells(looked: Looked) -> dict[str, dict[str, float]]:
    """Where -> label -> accuracy, over all four cells."""
    drawn = list(scenes("diagnosis", FITTED + TESTED, "eval"))
    labels = torch.tensor([cell_labels(scene) for scene in drawn])
    found: dict[str, list[Tensor]] = defaultdict(list)
    for start in range(0, len(drawn), 250):
        part = drawn[start : start + 250]
        prompt = templates.SHORT_ANSWER.format(question="how many things are there?")
        output, batch = looked(part, [prompt] * len(part), output_hidden_states=True)
        vision = looked.model.get_vision_features(batch["pixel_values"])
        found["vision tower"].append(mean_of_cells(vision.detach()))
        found["latents"].append(output.image_hidden_states)
        places = batch["input_ids"] == looked.model.config.image_token_id
        for layer, hidden in enumerate(output.hidden_states[1:], 1):
            found[f"layer {layer}"].append(hidden[places].reshape(len(part), 4, -1))
    return {
        where: {
            name: sum(
                probe(
                    all_[:FITTED, cell],
                    labels[:FITTED, cell, number],
                    all_[FITTED:, cell],
                    labels[FITTED:, cell, number],
                )
                for cell in range(4)
            )
            / 4
            for number, name in enumerate(CLASSES)
        }
        for where, all_ in ((where, torch.cat(parts)) for where, parts in found.items())
    }


def looks_at(looked: Looked, skill: str) -> list[float]:
    """By layer: the share of the last token's attention to latents that the named thing's latent gets."""
    drawer = Drawer(f"diagnosis {skill}", "eval")
    asked = [drawer.draw(skill, "open") for _ in range(PER_SKILL)]
    prompts = [templates.SHORT_ANSWER.format(question=each.question.text) for each in asked]
    output, batch = looked([each.scene for each in asked], prompts, output_attentions=True)
    places = batch["input_ids"] == looked.model.config.image_token_id
    own = torch.tensor([_cell_of(each) for each in asked])
    shares = []
    for weights in output.attentions:
        to_latents = weights.mean(1)[:, -1][places].reshape(len(asked), 4)
        shares.append(float((to_latents.gather(1, own[:, None])[:, 0] / to_latents.sum(1)).mean()))
    return shares


def _cell_of(drawn: Drawn) -> int:
    """Of the thing that the question names."""
    return next(thing.cell for thing in drawn.scene.things if thing.name in drawn.question.text)


FORMS: dict[Form, Callable[[Any], str]] = {
    "open": lambda question: templates.SHORT_ANSWER.format(question=question.text),
    "check": lambda question: templates.SHORT_ANSWER.format(question=question.text),
    "choice": lambda question: templates.CHOICE.format(
        question=question.text, options=templates.options(question.choices)
    ),
}


def by_form(looked: Looked) -> dict[str, dict[str, float]]:
    """Skill -> form -> share answered by the right words (or the right letter)."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for skill in SKILLS:
        for form, prompt in FORMS.items():
            if skill == "identity" and form != "choice":
                continue
            drawer = Drawer(f"diagnosis {skill} {form}", "eval")
            asked = [drawer.draw(skill, form) for _ in range(PER_SKILL)]
            said = looked.answers(asked, [prompt(each.question) for each in asked])
            right = [
                text in {each.question.answer, each.question.letter.lower() if each.question.choices else ""}
                for text, each in zip(said, asked, strict=True)
            ]
            found[skill][form] = sum(right) / len(right)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, nargs="+")
    for path in parser.parse_args().checkpoint:
        looked = Looked(path)
        print(f"\n{path}\n\n| linear probe of a cell at | {' | '.join(CLASSES)} |\n|---|{'---:|' * len(CLASSES)}")
        for where, accuracies in cells(looked).items():
            print(f"| {where} | {' | '.join(f'{value:.3f}' for value in accuracies.values())} |")
        print("\n| attention to the named thing's latent, by layer | |\n|---|---|")
        for skill in sorted(NAMED):
            print(f"| {skill} | {', '.join(f'{share:.2f}' for share in looks_at(looked, skill))} |")
        print("\n| skill | open | check | choice |\n|---|---:|---:|---:|")
        for skill, forms in by_form(looked).items():
            print(f"| {skill} | {' | '.join(f'{forms[form]:.2f}' if form in forms else '–' for form in FORMS)} |")


if __name__ == "__main__":
    main()
