"""`aki-eval inspect`: what a model's attention does with one picture and question, or with a data set of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.asked_about import AskedAbout, read_questions
from benchmarks.errors import UserError
from benchmarks.files import folder_with_room
from benchmarks.records import ImageRef, Prompt
from model.kinds import KINDS
from reports.tables import Cell, Column, Row, Table

from .options import Attention, AttentionLayers

if TYPE_CHECKING:
    from reports.attention_figures import Heat, Span

    from ..attention_maps import View
    from ..predictors.aki import AkiPredictor

LOOKS_TITLE = "Where each word looks on the picture (share of the word's attention that goes there)"
MOST_WORDS = 17


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A checkpoint folder of AKI, or its Hub id.")],
    image: Annotated[Path | None, typer.Option(help="The picture.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The question about it.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="toy|FILE.jsonl",
            help="Instead of one picture: questions that say which object they are about. Probes for it at the image "
            "tokens of every layer.",
        ),
    ] = None,
    pictures: Annotated[
        int, typer.Option(help="Of --data: fitted on; half as many are tested on.", min=10, max=1_000_000)
    ] = 300,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=folder_with_room,
            metavar="PATH",
            help="Folder for the figures. Default: inspection. What --data puts into RUN_DIR/inside, report shows.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    other: Annotated[
        str | None, typer.Option(help="Asked instead, to see what a question does to the image tokens.")
    ] = None,
    attention: Attention = None,
    attention_layers: AttentionLayers = None,
) -> None:
    """Draw a prompt's attention mask, which words its image tokens attend to, and what each layer does to them.

    With --data, over many questions: how much image tokens attend to the question, how far it moves them, and whether
    the object asked about can be read off them.
    """
    from ..predictors.aki import AkiPredictor
    from ..predictors.make import find_checkpoint, find_layers, find_mask

    out = out or Path("inspection")
    if data is not None:
        for option, given in (("--image", image), ("--prompt", prompt), ("--other", other)):
            if given is not None:
                raise UserError(f"{option} is about one picture, --data about many: give one of them")
        questions = read_questions(data, pictures)
    elif image is None or prompt is None:
        missing = "--image" if image is None else "--prompt"
        raise UserError(f"{missing} is missing: give a picture and a question, or --data toy for many")
    elif not prompt.strip():
        raise UserError("--prompt is empty; ask something about the picture")
    picture = None if image is None else read_picture(image)
    predictor = AkiPredictor(
        find_checkpoint(model, offline=False),
        device=device,
        attention=None if attention is None else find_mask(attention),
        attention_layers=None if attention_layers is None else find_layers(attention_layers),
    )
    if picture is None:
        assert data is not None
        over_data(predictor, questions, data, out)
    else:
        assert prompt is not None
        one_prompt(predictor, picture, prompt, other, out)


def one_prompt(predictor: AkiPredictor, picture: ImageRef, prompt: str, other: str | None, out: Path) -> None:
    """Looks at one picture and question, prints and draws what is seen."""
    from reports.formats import print_tables

    from ..attention_maps import OTHER_QUESTION, look

    view = look(predictor, Prompt(index="0", parts=(picture, prompt)), prompt, other=other or OTHER_QUESTION)
    typer.echo(f"answer: {view.answer}")
    print_tables([layer_table(view)])
    for path in write(view, picture, out, str(predictor.attention or predictor.config.get("attention"))):
        typer.echo(path)


def over_data(predictor: AkiPredictor, questions: Sequence[AskedAbout], data: str, out: Path) -> None:
    """Looks at all questions of a data set, prints and draws what is seen.

    Raises:
        UserError: the folder cannot be written.
    """
    from benchmarks.results.inside import ArmInside, write_inside
    from reports.attention_figures import save
    from reports.formats import print_tables
    from reports.inside_figures import attention_figure, probe_figure
    from reports.inside_tables import inside_tables

    from ..inside import look_inside
    from ..run.progress import Progress

    progress = Progress()

    def tell(done: int) -> None:
        if done % 100 == 0 or done == len(questions):
            progress.say(f"{done} of {len(questions)} questions")

    record = look_inside(predictor, questions, data, tell)
    seen = [ArmInside(predictor.name, {0: record})]
    print_tables(inside_tables(seen))
    try:
        paths = [
            write_inside(out, record),
            *save(probe_figure(seen), out, "probes"),
            *save(attention_figure(seen), out, "by_layer"),
        ]
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another --out") from error
    for path in paths:
        typer.echo(path)


def read_picture(path: Path) -> ImageRef:
    """The picture in a file.

    Raises:
        UserError: a file that is missing, no picture, or one of too many pixels.
    """
    picture = ImageRef(key=str(path), read=path.read_bytes)
    try:
        picture.decode()
    except (OSError, ValueError) as error:
        raise UserError(f"--image {path}: cannot be read as a picture ({error})") from error
    return picture


def write(view: View, picture: ImageRef, out: Path, attention: str) -> list[Path]:
    """The mask, both heat maps and the numbers. Returns what was written.

    Raises:
        UserError: the folder cannot be written.
    """
    from reports.attention_figures import heat_figure, layer_figure, mask_figure, save

    shown = picture.decode().convert("RGB")
    masks = {KINDS[kind].title + view.layers_of(kind): mask for kind, mask in view.masks.items()}
    to_words = heats(view, "image_to_word")
    from_words = heats(view, "word_to_image")
    try:
        return [
            *save(mask_figure(masks, spans(view)), out, "attention_mask"),
            *save(heat_figure(shown, to_words, image_to_words_title(to_words, attention)), out, "image_to_words"),
            *save(heat_figure(shown, from_words, LOOKS_TITLE), out, "words_to_image"),
            *save(layer_figure(view.by_layer), out, "by_layer"),
            write_numbers(view, to_words, from_words, out, attention),
        ]
    except OSError as error:
        raise UserError(f"cannot write to {out}: {error.strerror}; choose another --out") from error


def image_to_words_title(found: list[Heat], attention: str) -> str:
    if any(heat.share > 0 for heat in found):
        return "From where on the picture its image tokens attend to each word (share of their attention)"
    return f"The image tokens of this model ({attention} attention) cannot attend to the question: every share is 0"


def heats(view: View, direction: str) -> list[Heat]:
    """One map for each word of the question; of a long question the words with most attention, in reading order."""
    from reports.attention_figures import Heat

    found = [Heat(word.text, *getattr(view, direction)(word)) for word in view.words]
    kept = sorted(range(len(found)), key=lambda place: -found[place].share)[:MOST_WORDS]
    return [found[place] for place in sorted(kept)]


def spans(view: View) -> list[Span]:
    """Before, image, question, answer; empty stretches left out."""
    from reports.attention_figures import Span

    start, end = view.image
    total = len(next(iter(view.masks.values())))
    found = [
        Span("before", 0, start),
        Span("image", start, end),
        Span("question", end, view.num_prompt_tokens),
        Span("answer", view.num_prompt_tokens, total),
    ]
    return [span for span in found if span.end > span.start]


def layer_table(view: View) -> Table:
    """What each layer does to the picture's latents."""
    names = ("kind", "image to question", "image to image", "question to image", "change by question")
    return Table(
        key="by_layer",
        title="Image tokens, layer by layer (per cent)",
        corner="layer",
        columns=tuple(Column(label=name, kind="run", text=name == "kind") for name in names),
        rows=tuple(
            Row(
                label=str(each.layer),
                cells=(
                    Cell(text=each.kind),
                    *(
                        Cell(value=100 * value)
                        for value in (each.image_to_question, each.image_to_image, each.question_to_image, each.change)
                    ),
                ),
            )
            for each in view.by_layer
        ),
        remarks=(
            "Shares of attention, averaged over heads. Change by question: how far the image tokens move behind the "
            "layer when another question is asked about the same picture, relative to their length. What they become "
            "behind the last layer, no answer reads.",
        ),
    )


def write_numbers(view: View, to_words: list[Heat], from_words: list[Heat], out: Path, attention: str) -> Path:
    """What the figures show, for programs."""

    def shares(found: list[Heat]) -> list[dict[str, Any]]:
        return [{"word": heat.word, "share": heat.share} for heat in found]

    content = {
        "prompt": view.text,
        "answer": view.answer,
        "attention": attention,
        "image_to_words": shares(to_words),
        "words_to_image": shares(from_words),
        "by_layer": [asdict(each) for each in view.by_layer],
    }
    path = out / "inspection.json"
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
