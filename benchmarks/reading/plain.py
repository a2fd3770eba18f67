r"""An answer as plain text: without reasoning, markup, LaTeX, control characters and forms that only look different.

A box (`\boxed{...}`, `<answer>`, GLM's box tokens) stays marked, by `BOX_OPEN` and `BOX_CLOSE`.
"""

from __future__ import annotations

import re
import unicodedata

BOX_OPEN, BOX_CLOSE = "\ue000", "\ue001"
BOXED = re.compile(f"{BOX_OPEN}([^{BOX_OPEN}{BOX_CLOSE}]*){BOX_CLOSE}")

LONGEST = 60_000
"""Characters. The middle of a longer answer is left out: a model in a loop, and every reader stays within its time."""

_TAGS = r"think|thinking|thought|thoughts|reasoning|reflection|seed:think"
_OPEN = rf"<(?:{_TAGS})>|\[(?:think|thinking)\]|◁think▷|<\|begin_of_thought\|>|<\|channel\|>analysis<\|message\|>"
_CLOSE = rf"</(?:{_TAGS})>|\[/(?:think|thinking)\]|◁/think▷|<\|end_of_thought\|>|<\|channel\|>final<\|message\|>"
REASONING = re.compile(rf"(?P<opens>{_OPEN})|(?P<closes>{_CLOSE})", re.IGNORECASE)

INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe0f\ufeff\ud800-\udfff\ue000-\uf8ff]"
)
BOX_TAGS = re.compile(r"<\|begin_of_box\|>(.*?)<\|end_of_box\|>|<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
TOKENS = re.compile(r"<\|[\w.-]{1,40}\|>|</?s>|<(?:eos|bos|pad|unk|end_of_turn|start_of_turn)>|\[/?INST\]")
HTML = re.compile(
    r"</?(?:a|b|big|blockquote|br|center|code|div|em|font|h[1-6]|hr|i|li|mark|ol|p|pre|small|span|strong|sub|sup|table|"
    r"tbody|td|th|thead|tr|u|ul|answer)(?:\s[^<>]{0,200})?/?>",
    re.IGNORECASE,
)
SUPERSCRIPTS = str.maketrans({"²": "^2", "³": "^3", "¹": "^1", "⁰": "^0", "⁴": "^4", "⁵": "^5", "⁶": "^6", "⁻": "^-"})
UNUSUAL = str.maketrans(
    {
        **dict.fromkeys("−‒﹣－", "-"),  # U+2212 and its like are minus signs
        **dict.fromkeys('“”„‟«»「」『』⟪⟫《》"', " "),
        **dict.fromkeys("’‘‛ʼ", "'"),
        **dict.fromkeys("【〔〖", "["),
        **dict.fromkeys("】〕〗", "]"),
        "⁄": "/",
        "。": ". ",
        "、": ", ",
        "🅰": "A",
        "🅱": "B",
    }
)

ABBREVIATED = re.compile(r"\bans(?:\.\s*[:=]?|\s*[:=])\s*", re.IGNORECASE)
UNTICKED, TICKED = (
    re.compile(r"^[ \t]*(?:[-*] )?\[ ?\] .*$", re.MULTILINE),
    re.compile(r"^[ \t]*(?:[-*] )?\[[xX]\] ", re.MULTILINE),
)
"""A list of boxes of which one is ticked: "[ ] A", "[x] B"."""

_WRAPPERS = (
    r"text|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|"
    r"mathbb|mathcal|bf|rm|bm|boldsymbol|operatorname|mbox|hbox|underline|emph"
)
WRAPPER = re.compile(rf"\\(?:{_WRAPPERS})\s*\{{([^{{}}]*)\}}")
FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?[\d.]+)\s*\}\s*\{\s*([\d.]+)\s*\}")
LATEX = {
    r"\\[,;:!> ]|~": " ",
    r"\\(?:left|right|big|Big|displaystyle|limits)\b": "",
    r"\\(?:times|cdot)\b": "×",
    r"\^\s*(?:\{\s*\\circ\s*\}|\\circ\b)|\\degree\b": "°",
    r"\\(?:approx|sim|simeq)\b": "≈",
    r"\\sqrt\b": "√",
    r"\\pi\b": "π",
    r"\\pm\b": "±",
    r"\\(?:quad|qquad)\b": " ",
    r"\\(?:therefore|implies|Rightarrow|rightarrow|to)\b": " → ",
    r"\\(?:begin|end)\{[a-z*]{1,20}\}": " ",
    r"\\[()\[\]]": " ",
    r"\{,\}": ",",
    r"\\([%$#&_{}])": r"\1",
}
LATEX_RULES = [(re.compile(pattern), form) for pattern, form in LATEX.items()]


def split_reasoning(answer: str) -> tuple[str, bool]:
    """(what is said outside the reasoning, whether the reasoning never ends).

    What stands before an end without a beginning is reasoning too: some chat templates hold the beginning.
    """
    said: list[str] = []
    at, within = 0, False
    for mark in REASONING.finditer(answer):
        if mark["opens"] and not within:
            said.append(answer[at : mark.start()])
            within = True
        elif mark["closes"]:
            if not within:
                said.clear()
            at, within = mark.end(), False
    return "".join(said if within else [*said, answer[at:]]), within


def without_reasoning(answer: str) -> str:
    """What is said outside the reasoning; what stands behind a beginning without an end is reasoning."""
    return split_reasoning(answer)[0]


def plain(answer: str, *, code: bool = False) -> str:
    """The text a reader looks at; with blocks of code where `code`. Linear in the answer's length; raises nothing."""
    if len(answer) > LONGEST:
        answer = answer[: LONGEST // 2] + "\n" + answer[-LONGEST // 2 :]
    text = INVISIBLE.sub("", without_reasoning(answer).replace("\r\n", "\n").replace("\r", "\n"))
    text = unicodedata.normalize("NFKC", text.translate(SUPERSCRIPTS)).translate(UNUSUAL)
    text = ABBREVIATED.sub("Answer: ", TICKED.sub("", UNTICKED.sub("", text)))
    text = BOX_TAGS.sub(lambda found: f"{BOX_OPEN}{found[1] or found[2] or ''}{BOX_CLOSE}", text)
    text = HTML.sub("", TOKENS.sub("", text))
    text = _without_latex(text)
    text = _without_markup(FENCE.sub("", text) if code else _without_code(text))
    text = re.sub(r"[ \t\u00a0]+", " ", text)
    return _first_turn(re.sub(r" ?\n[ \n]*", "\n", text)).strip()


def _without_latex(text: str) -> str:
    for pattern, form in LATEX_RULES if "\\" in text or "~" in text or "{" in text else ():
        text = pattern.sub(form, text)
    for _ in range(4):  # wrappers within wrappers
        unwrapped = FRACTION.sub(r"\1/\2", WRAPPER.sub(r"\1", text))
        if unwrapped == text:
            break
        text = unwrapped
    return _mark_boxes(text)


def _mark_boxes(text: str) -> str:
    r"""Each `\boxed{...}` with balanced braces between the marks; one without an end is left as it is."""
    pieces, at = [], 0
    for found in re.finditer(r"\\f?boxed\s*\{", text):
        if found.start() < at:
            continue
        end = _closing(text, found.end())
        if end is not None:
            pieces += [text[at : found.start()], BOX_OPEN, text[found.end() : end].strip("{} "), BOX_CLOSE]
            at = end + 1
    return "".join(pieces) + text[at:]


def _closing(text: str, start: int) -> int | None:
    depth = 1
    for at in range(start, min(len(text), start + 200)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if not depth:
            return at
    return None


MARKUP = [
    (re.compile(r"^[ \t]*(?:#{1,6}|>|[*•‣◦-](?=[ \t]+\S))[ \t]*", re.MULTILINE), ""),
    (re.compile(r"\*\*+|`+"), ""),
    (re.compile(r"(?<=[\d)])( ?)\*( ?)(?=[\d(])"), r"\1×\2"),
    (re.compile(r"\*"), ""),
    (re.compile(r"(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])"), ""),
    (re.compile(r"(?<![A-Za-z0-9])'|'(?![A-Za-z0-9])"), " "),
    (re.compile(r"\$"), ""),
]


CODE = re.compile(r"^[ \t]*```[^\n]*\n.*?(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^[ \t]*```[^\n]*$|```", re.MULTILINE)
TABLE = re.compile(rf"^[^\n|{BOX_OPEN}]*(?:\s\|\s[^\n{BOX_OPEN}]*|\|[-: ]*-[-:| ]*)$", re.MULTILINE)


def _without_code(text: str) -> str:
    """Without code and tables, unless there is nothing else: they hold the way, not the answer. Boxes stay."""
    outside = text
    if "```" in text or "|" in text:
        outside = TABLE.sub("", CODE.sub(lambda block: " ".join(box[0] for box in BOXED.finditer(block[0])), text))
    return FENCE.sub("", outside if re.search(r"\w", outside) else text)


def _without_markup(text: str) -> str:
    for pattern, form in MARKUP:
        text = pattern.sub(form, text)
    return text


TURN = re.compile(r"^(question|hint|human|user|instruction|q)\s*\d{0,3}\s*:", re.IGNORECASE | re.MULTILINE)


def _first_turn(text: str) -> str:
    """Without the next question, where a model goes on to ask itself one."""
    text = text.strip()
    turns = list(TURN.finditer(text))
    if turns and turns[0].start() == 0:  # the question is repeated first, then answered
        turns = [turn for turn in turns[1:] if turn[1].lower() == turns[0][1].lower()]
    return text[: turns[0].start()] if turns else text
