"""The page: a picture, a question, answers under one kind of mask or two side by side, and what attention did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from benchmarks.errors import UserError
from model.kinds import KINDS

from ..attention_maps import Attended
from .examples import Suggestion
from .shown import about, maps, messages, tokens, word_choices
from .talking import Talker
from .turns import Turn
from .uploads import Limits, read_upload

NONE = "none"
LONGEST_QUESTION = 4000
SECONDS_KEPT = 3600
"""How long a visitor's conversation and files are kept behind the last question."""


class Talk:
    """One visitor's conversation. Lives on the server; the page gets what is drawn of it.

    seen: attention at the last question, by kind of mask. stop: set when nobody waits for the answer any more.
    """

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.seen: dict[str, Attended | None] = {}
        self.stop = Event()

    def __deepcopy__(self, memo: object) -> Talk:
        return Talk()

    @property
    def shown_picture(self) -> str | None:
        """The key of the picture that the model saw last."""
        return next((turn.picture.key for turn in reversed(self.turns) if turn.picture), None)


@dataclass
class Side:
    """What one kind of mask fills: the left side, or the right one of two."""

    column: Any
    chat: Any
    tokens: Any
    from_picture: Any
    to_picture: Any

    @property
    def parts(self) -> list[Any]:
        return [self.column, self.chat, self.tokens, self.from_picture, self.to_picture]


class Demo:
    """One page's behaviour: what its buttons do."""

    def __init__(self, talker: Talker, limits: Limits) -> None:
        self.talker, self.limits = talker, limits

    def ask(
        self, talk: Talk, picture: str | None, question: str, again: bool, kind: str, other: str, word: int | None
    ) -> Iterator[list[Any]]:
        """A new turn, answered under the kinds that are shown."""
        question = question.strip()
        if not question:
            raise gr.Error("Write a question first.", print_exception=False)
        kinds = self._kinds(kind, other)
        shown = None
        if picture is not None:
            try:
                found = read_upload(Path(picture), self.limits)
            except UserError as error:
                raise gr.Error(str(error), print_exception=False) from error
            shown = found if again or found.key != talk.shown_picture else None
        talk.turns.append(Turn(question[:LONGEST_QUESTION], shown))
        talk.seen = {}
        box: Any = ""
        for drawn in self._answer(talk, kinds, word):
            yield [box, *drawn]
            box = gr.skip()  # somebody may be writing the next one

    def switch(self, talk: Talk, kind: str, other: str, word: int | None) -> Iterator[list[Any]]:
        """Other kinds of mask: the conversation so far is answered under those that have not been asked yet."""
        yield from self._answer(talk, self._kinds(kind, other), word)

    def _answer(self, talk: Talk, kinds: list[str], word: int | None) -> Iterator[list[Any]]:
        stop = talk.stop = Event()
        yield self._drawn(talk, kinds, word)
        try:
            for kind in kinds:
                for place, turn in enumerate(talk.turns):
                    before = turn.answers.get(kind)
                    if before is not None and before.finished:
                        continue
                    for answer in self.talker.answer(talk.turns[: place + 1], kind, stop):
                        turn.answers[kind] = answer
                        yield self._said(talk, kinds)
                if talk.turns and not stop.is_set() and kind not in talk.seen:
                    talk.seen[kind] = self.talker.look(talk.turns, kind)
        except (UserError, ValueError) as error:
            self._give_up(talk)
            yield self._drawn(talk, kinds, word)
            raise gr.Error(str(error), print_exception=False) from error
        yield self._drawn(talk, kinds, word)

    @staticmethod
    def _give_up(talk: Talk) -> None:
        """A turn that could not be answered under any kind is taken back, so that the conversation can go on."""
        if talk.turns and not any(answer.finished for answer in talk.turns[-1].answers.values()):
            talk.turns.pop()

    def look_at(self, talk: Talk, kind: str, other: str, word: int | None) -> list[Any]:
        """Another word's heat maps."""
        sides = [*self._kinds(kind, other), None][:2]
        return [each for side in sides for each in self._maps(talk, side, word)]

    def end(self, talk: Talk) -> None:
        talk.stop.set()

    def begin_anew(self, talk: Talk, kind: str, other: str) -> list[Any]:
        talk.stop.set()
        fresh = Talk()
        return [fresh, "", *self._drawn(fresh, self._kinds(kind, other), None)]

    def _kinds(self, kind: str, other: str) -> list[str]:
        """What is shown: one kind, or two."""
        wanted = [kind] if other in (NONE, kind) else [kind, other]
        for each in wanted:
            if each not in self.talker.kinds:
                raise gr.Error("There is no such mask.", print_exception=False)
        return wanted

    def _drawn(self, talk: Talk, kinds: list[str], word: int | None) -> list[Any]:
        """The words, then both sides, in the order of the page's outputs."""
        seen = next((talk.seen[kind] for kind in kinds if talk.seen.get(kind)), None)
        choices = word_choices(seen)
        place = word if any(word == each for _, each in choices) else (len(choices) - 1 if choices else None)
        sides = [each for side in [*kinds, None][:2] for each in self._side(talk, side, place)]
        words = gr.Radio(choices=choices, value=place, visible=bool(choices))
        return [words, *sides]

    def _said(self, talk: Talk, kinds: list[str]) -> list[Any]:
        """What changes with a token: both chats and the tokens. No picture is decoded or drawn for it."""
        parts: list[Any] = [gr.skip()]
        for kind in [*kinds, None][:2]:
            changed = [gr.skip(), gr.skip()] if kind is None else self._chat(talk, kind)
            parts += [gr.skip(), *changed, gr.skip(), gr.skip()]
        return parts

    @staticmethod
    def _chat(talk: Talk, kind: str) -> list[Any]:
        last = talk.turns[-1].answers.get(kind) if talk.turns else None
        return [gr.Chatbot(messages(talk.turns, kind), label=KINDS[kind].title), tokens(last)]

    def _side(self, talk: Talk, kind: str | None, place: int | None) -> list[Any]:
        if kind is None:
            return [gr.Column(visible=False), [], "", gr.Image(visible=False), gr.Image(visible=False)]
        return [gr.Column(visible=True), *self._chat(talk, kind), *self._maps(talk, kind, place)]

    def _maps(self, talk: Talk, kind: str | None, place: int | None) -> list[Any]:
        if kind is None:
            return [gr.Image(visible=False), gr.Image(visible=False)]
        picture = next((turn.picture for turn in reversed(talk.turns) if turn.picture), None)
        shown = picture.decode() if picture and talk.seen.get(kind) else None
        return [
            gr.Image(value=image, label=label, alt_text=label, visible=image is not None)
            for image, label in maps(talk.seen.get(kind), shown, place)
        ]


def make_page(
    talker: Talker, description: dict[str, Any], limits: Limits, examples: Sequence[Suggestion], other: str = NONE
) -> gr.Blocks:
    """The page, wired."""
    demo = Demo(talker, limits)
    with gr.Blocks(title="AKI", analytics_enabled=False, delete_cache=(600, SECONDS_KEPT)) as page:
        talk = gr.State(Talk(), time_to_live=SECONDS_KEPT)
        gr.Markdown(f"# AKI\n{about(description, talker.predictor.device)}")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                asking = _asking(limits)
            with gr.Column(scale=5, min_width=320):
                masks = _masks(talker, other)
                with gr.Row():
                    sides = [_side(KINDS[talker.own].title, first=True), _side("", first=False)]
                word = gr.Radio(
                    choices=[],
                    label="Word of the question: where the picture attends to it, and where it looks on the picture",
                    visible=False,
                    elem_id="word",
                )
                with gr.Row():
                    for side in sides:
                        with gr.Column(min_width=300):
                            side.from_picture, side.to_picture = _map("from"), _map("to")
        chosen = [list(each) for each in examples]
        gr.Examples(chosen, [asking.picture, asking.question], label="Examples", elem_id="examples")
        _wire(demo, talk, asking, masks, word, sides)
    page.queue(max_size=32, default_concurrency_limit=1)
    return page


@dataclass
class AskBox:
    """What a visitor asks with."""

    picture: Any
    question: Any
    again: Any
    ask: Any
    end: Any
    anew: Any


def _asking(limits: Limits) -> AskBox:
    picture = gr.Image(
        type="filepath",
        image_mode=None,
        sources=["upload", "clipboard"],
        label="Picture",
        placeholder=f"Drop a picture here, or click\nAt most {limits.megabytes} MB, {limits.megapixels} million pixels",
        height=240,
        buttons=[],
        elem_id="picture",
    )
    question = gr.Textbox(
        label="Question",
        max_lines=6,
        max_length=LONGEST_QUESTION,
        elem_id="question",
        placeholder="What is in the picture?",
    )
    with gr.Row():
        ask = gr.Button("Ask", variant="primary", elem_id="ask", min_width=80)
        end = gr.Button("Stop", elem_id="end", min_width=80)
        anew = gr.Button("Clear", elem_id="anew", min_width=80)
    again = gr.Checkbox(
        label="Show the picture again with this question",
        info="Under modality-mutual attention a picture sees the question it is shown with, and no later one.",
        elem_id="again",
    )
    return AskBox(picture, question, again, ask, end, anew)


def _masks(talker: Talker, other: str) -> list[Any]:
    """The kind of mask on the left, and the one beside it."""
    titles = [(KINDS[kind].title + (" (its own)" if kind == talker.own else ""), kind) for kind in talker.kinds]
    with gr.Row():
        kind = gr.Dropdown(titles, value=talker.own, label="Attention mask", elem_id="kind", filterable=False)
        beside = gr.Dropdown(
            [("nothing", NONE), *titles], value=other, label="Side by side with", elem_id="other", filterable=False
        )
    return [kind, beside]


def _side(title: str, *, first: bool) -> Side:
    name = "left" if first else "right"
    with gr.Column(visible=first, min_width=300, elem_id=name) as column:
        chat = gr.Chatbot(
            label=title,
            height=340,
            render_markdown=False,
            buttons=["copy"],
            feedback_options=None,
            placeholder="Ask something about a picture.",
            elem_id=f"chat-{name}",
        )
        shown = gr.HTML(elem_id=f"tokens-{name}")
    return Side(column, chat, shown, None, None)


def _map(name: str) -> Any:
    return gr.Image(
        label=name,
        interactive=False,
        visible=False,
        height=300,
        format="png",
        buttons=["fullscreen"],
        elem_classes=[f"map-{name}"],
    )


def _wire(demo: Demo, talk: Any, asking: AskBox, masks: list[Any], word: Any, sides: list[Side]) -> None:
    drawn = [word, *(part for side in sides for part in side.parts)]
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    asked = [talk, asking.picture, asking.question, asking.again, *masks, word]
    gr.on(
        [asking.ask.click, asking.question.submit],
        demo.ask,
        asked,
        [asking.question, *drawn],
        trigger_mode="multiple",
        **quiet,
    )
    gr.on([each.input for each in masks], demo.switch, [talk, *masks, word], drawn, trigger_mode="always_last", **quiet)
    looked = [part for side in sides for part in (side.from_picture, side.to_picture)]
    word.input(demo.look_at, [talk, *masks, word], looked, **quiet)
    asking.end.click(demo.end, [talk], [], queue=False, **quiet)
    anew = [asking.anew.click, *(side.chat.clear for side in sides)]
    gr.on(anew, demo.begin_anew, [talk, *masks], [talk, asking.question, *drawn], queue=False, **quiet)
