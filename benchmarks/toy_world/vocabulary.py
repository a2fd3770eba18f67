"""All tokens of the toy world: every word, digit and mark that any of its texts uses, prompts of both styles included.

A token is a run of letters, one digit, one mark or a line break; spaces only separate (`TOKEN`). Case counts: "A" is an
option's letter, "a" an article.
"""

from __future__ import annotations

import re

from .scene import COLORS, SHAPES, SIZES
from .skills import DIGITS, WORDS

TOKEN = r"[A-Za-z]+|[0-9]|\n|[^\sA-Za-z0-9]"

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
INSTRUCTIONS = (
    "Answer the question using a single word or phrase.",
    "Answer with the option's letter from the given choices directly.",
    "Provide a short description for this region. <bbox>[0, 1][2, 3]</bbox>",
    "Please answer yes or no.",
    "Question: Options: Context: N/A Hint: Choices:",
    "Please select the correct answer from the options above. \n",
    "Select from the following choices. (A)",
    "Please answer with an integer, a decimal, a list, the option letter.",
)
QUESTIONS = (
    "is are there a? what color shape is the thing? how many things are there? no more than",
    "where is the thing from the top left, bottom right of it? at above below",
    "which is nearer, which is closer to the thing? why? because it is near.",
    "what number is shown? what is the number in words? what is half of the number? plus minus equal to",
    "what colors are there? what is one of the things? which picture has it? not in <image 1>:",
    "describe the picture in detail. which thing",
)
LETTERS = "A B C D E F"
IN_FRONT = "Is The"
"""VSR's statements and the questions made of them begin with a capital."""


def tokens(text: str) -> list[str]:
    return re.findall(TOKEN, text)


def vocabulary() -> list[str]:
    """Every token, sorted. The special tokens of a chat template are not among them."""
    plurals = [f"{shape}s" for shape in SHAPES]
    words = [*COLORS, *SHAPES, *plurals, *SIZES, *WORDS, *DIGITS, "thing", "things"]
    texts = [SYSTEM, *INSTRUCTIONS, *QUESTIONS, LETTERS, IN_FRONT, *words]
    return sorted({token for text in texts for token in tokens(text)})
