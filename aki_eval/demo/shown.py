"""What the page shows of answers and attention, as HTML and pictures. Whatever a model said is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from PIL import Image

from model.kinds import KINDS
from reports.attention_figures import overlay

from ..attention_maps import Attended
from .turns import StreamedAnswer, Turn

ENDS = {
    "length": "cut off: as long as answers may be here",
    "context": "cut off: the model's context is full",
    "ended": "ended by you",
}
STYLE = """
.aki-tokens { line-height: 2.1; overflow-wrap: anywhere; }
.aki-tokens .token { display: inline-block; white-space: pre-wrap; padding: 0 .3em; margin: 0 .1em .2em 0;
  border-radius: .3em; border-bottom: .25em solid; background: var(--background-fill-secondary); }
.aki-tokens .token small { opacity: .8; font-variant-numeric: tabular-nums; margin-left: .35em; }
.aki-tokens .sure { border-color: #15803d; } .aki-tokens .likely { border-color: #65a30d; }
.aki-tokens .unsure { border-color: #d97706; } .aki-tokens .guess { border-color: #dc2626; }
.aki-tokens table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9em; line-height: 1.5; }
.aki-tokens td, .aki-tokens th { padding: .1em .7em .1em 0; text-align: left; white-space: nowrap; }
.aki-tokens .scroll { overflow-x: auto; max-height: 20em; overflow-y: auto; }
.aki-note { opacity: .85; }
"""


def messages(turns: list[Turn], kind: str) -> list[dict[str, str]]:
    """The conversation under one kind of mask, as a chat shows it. A chat takes everything for HTML, marks included."""
    shown = []
    for turn in turns:
        mark = "[picture] " if turn.picture else ""
        shown.append({"role": "user", "content": escape(mark + turn.question)})
        answer = turn.answers.get(kind)
        if answer is not None:
            note = f"\n[{ENDS[answer.finished]}]" if answer.finished in ENDS else ""
            empty = "[the answer is empty]" if answer.finished and not answer.text else ""
            shown.append({"role": "assistant", "content": escape((answer.text or empty or "…") + note)})
    return shown


def tokens(answer: StreamedAnswer | None) -> str:
    """An answer token by token: each with its probability, and what else might have stood there."""
    if answer is None or not answer.steps:
        return ""
    marks = "".join(
        f'<span class="token {_level(step.probability)}">{escape(_visible(step.text))}'
        f"<small>{_per_cent(step.probability)}</small></span>"
        for step in answer.steps
    )
    rows = "".join(
        f"<tr><td>{number}</td><td>{escape(_visible(step.text))}</td>"
        + "".join(f"<td>{escape(_visible(text))} {_per_cent(chance)}</td>" for text, chance in step.likeliest)
        + "</tr>"
        for number, step in enumerate(answer.steps, 1)
    )
    return (
        f'<div class="aki-tokens"><div>{marks}</div><details><summary>What else might have stood there</summary>'
        '<div class="scroll" tabindex="0"><table><thead><tr><th>#</th><th>token</th><th colspan="5">likeliest</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div></details></div>"
    )


def _level(probability: float) -> str:
    return next(
        (name for least, name in ((0.9, "sure"), (0.6, "likely"), (0.3, "unsure")) if probability >= least), "guess"
    )


def _per_cent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _visible(text: str) -> str:
    return text.strip(" ").replace("\n", "⏎") or ("␣" if text else "·")


def word_choices(seen: Attended | None) -> list[tuple[str, int]]:
    """The question's words to choose from, by their places."""
    return [(word.text, place) for place, word in enumerate(seen.words)] if seen else []


def maps(seen: Attended | None, picture: Image.Image | None, place: int | None) -> list[tuple[Image.Image | None, str]]:
    """Both heat maps of a word with what they say: from where on the picture it is looked at; where it looks."""
    if seen is None or picture is None or place is None or place >= len(seen.words):
        return [(None, "Picture to word"), (None, "Word to picture")]
    word = seen.words[place]
    to_word, from_where = seen.image_to_word(word)
    to_picture, where = seen.word_to_image(word)
    if to_word > 0:
        told = f"Picture to “{word.text}”: {_per_cent(to_word)} of the image tokens' attention"
    else:
        told = f"Picture to “{word.text}”: 0 %, it cannot see the word"
    return [
        (overlay(picture, from_where), told),
        (overlay(picture, where), f"“{word.text}” to picture: {_per_cent(to_picture)} of the word's attention"),
    ]


def about(description: dict[str, Any], device: str) -> str:
    """One line about the model."""
    kind = str(description.get("attention"))
    title = KINDS[kind].title if kind in KINDS else kind
    return f"{description['name']} · trained with {title} attention · {description['dtype']} on {device}"
