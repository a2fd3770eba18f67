"""Which number, or list of numbers, an answer gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext

from .plain import BOX_CLOSE, BOX_OPEN, BOXED, plain, without_reasoning
from .statements import CONCLUSION, CONDITION, REFUSAL, Statement, Strength, sentences, settled, stated

DIGITS = 1_000
"""A number of more digits is a model in a loop, and unread."""

UNITS = (
    r"(?:km/h|cm|mm|km|nm|m|kg|mg|g|ml|l|ms|s|min|mins|hrs?|h|in|ft|lbs?|oz|mph|kmh|kj|j|kw|w|kv|v|ma|a|khz|mhz|hz|kpa|pa|"
    r"kcal|cal|°|º|deg|degrees|rad|px|usd|eur|units?|years?|k?n|c|f)"
)
NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.,/:^√])(?P<sign>[-+](?=[\d.]))?(?<![.,/:^√])"
    rf"(?P<body>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
    rf"(?P<exponent>e[-+]?\d{{1,3}})?"
    rf"(?:(?:\s(?P<over>\d{{1,4}}))?/(?P<under>\d{{1,9}}))?"
    rf"(?:\s?[×x]\s?10\s?\^\s?[{{(]?(?P<power>-?\d{{1,3}})[}})]?)?"
    rf"(?P<scale>\s?(?:million|billion|trillion|thousand|hundred|dozen|万|亿|千|百)(?![a-z])|[kKM](?![A-Za-z0-9]))?"
    rf"(?:\s?%|{UNITS}(?![A-Za-z0-9_])|(?:st|nd|rd|th)(?![a-z])(?P<ordinal>))?"
    rf"(?![A-Za-z0-9_√π/^]|[.,:]\d)",
    re.IGNORECASE,
)
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
WORDS = {word: value for value, word in enumerate(ONES)} | {word: 10 * ten for ten, word in enumerate(TENS, 2)}
NUMBER_WORD = re.compile(
    rf"(?<![A-Za-z-])(?:(?P<tens>{'|'.join(TENS)})(?:[- ](?P<ones>{'|'.join(ONES[1:10])}))?|(?P<word>{'|'.join(reversed(ONES))}))"
    rf"(?P<scale>\s(?:hundred|thousand|million|billion)|-(?:hundred|third|half|quarter|fifth|dimensional|digit|step|way|sided)\w*)?(?![A-Za-z'-])",
    re.IGNORECASE,
)
PRONOUN = re.compile(
    r"\b(?:the|this|that|no|any|each|every|another|which|other|last|first|only|with|and)\s$", re.IGNORECASE
)
PRONOUN_GOES_ON = re.compile(r"\s(?:of|that|who|which|is|can|has|with|another|being|on|in|at|to|from|and)\b", re.IGNORECASE)

NONE_LEFT = re.compile(
    r"\bthere (?:are|is|will be|would be) (?:no|zero) (?:[a-z]+ ){0,4}?(?:left|remaining|remain)\b|\bno [a-z]+ (?:are|is) left\b",
    re.IGNORECASE,
)
JOINED = re.compile(
    r"\s?(?P<unit>[a-z°%]{0,12})\s?(?:,\s?(?:and|or)?|and|or|to|through|~|/|[-–—]|&|und|oder|bis|et|ou|à|y|o|a|到|至|或|和|和)\s?",
    re.IGNORECASE,
)
EXPLAINED = re.compile(r",?\s(?:which|because|since|as|so|meaning|where|while|whereas|compared|given|based|if|with|when)\b|\s\(|\n")
COPULA = re.compile(
    r"(?:\b(?:is|are|was|were|equals?|be|becomes?|gives?|gets?|have|has|had|counts?|see|needs?|costs?|makes?|leaves?|leaving|leave|"
    r"shows?|contains?|reads?|remain|totals?|by|about|approximately|around|roughly|exactly|es|ist|est|son|hay)\b|[=≈:]|是|为|有)"
    r"[\s$€£≈~]*(?:(?:about|approximately|around|roughly|exactly|only|just|a total of|total of|now|also|still|therefore|thus|equal|to|"
    r"nearly|almost|visible|up|at|the number|number|between)[\s$€£]+){0,4}",
    re.IGNORECASE,
)
BOLD = re.compile(r"\*\*([^*\n]{1,60})\*\*")


@dataclass(frozen=True)
class _Token:
    value: str | None
    """None: a number whose size the text leaves open ("3 million": the question may ask in millions)."""
    start: int
    end: int


def read_number(answer: str) -> str | None:
    """The one number that the answer plainly gives, as plain decimal text ("1200", "-0.5"); None otherwise.

    Commas are removed as thousands separators only: `1,5`, `(3, 4)`, ranges and lists give no number. A percentage
    gives its number (`12.5%`: 12.5), a fraction its quotient.
    """
    text = plain(answer)
    if re.fullmatch(r"[\s(\[]*(?:[a-z]\s*=\s*)?[\s(\[]*\S{1,1200}(?: [^\s\d=]{1,12}){0,3}", text, re.IGNORECASE):
        found = _value_of(text)
        if found and not BOXED.search(text):
            return found[0]
    statements = [*_boxed(text), *_called(text), *_lines(text), *_concluded(text)]
    if not statements:
        statements += _emphasised(answer) or _mentioned(text)
    return settled(statements, text)


def _tokens(text: str, words: bool = True) -> list[_Token]:
    found = [
        _Token(_decimal(each), each.start(), each.end())
        for each in NUMBER.finditer(text)
        if each["ordinal"] is None
    ]
    for each in NUMBER_WORD.finditer(text) if words else ():
        if (each["word"] or "").lower() == "one" and (
            PRONOUN.search(text[max(0, each.start() - 10) : each.start()]) or PRONOUN_GOES_ON.match(text, each.end())
        ):
            continue
        if each["scale"] and each["scale"].startswith("-"):
            continue
        value = WORDS[(each["word"] or each["tens"]).lower()] + (WORDS[each["ones"].lower()] if each["ones"] else 0)
        found.append(_Token(None if each["scale"] else str(value), each.start(), each.end()))
    return sorted(found, key=lambda token: token.start)


def _decimal(found: re.Match[str]) -> str | None:
    if len(found["body"]) > DIGITS or found["scale"]:
        return None
    with localcontext() as context:
        context.prec = DIGITS + 10
        try:
            value = Decimal(found["body"].replace(",", "") + (found["exponent"] or ""))
            if found["under"] and found["over"]:
                value += _quotient(Decimal(found["over"]), Decimal(found["under"]))
            elif found["under"]:
                value = _quotient(value, Decimal(found["under"]))
            if found["power"]:
                value = value.scaleb(int(found["power"]))
            return canonical(-value if found["sign"] == "-" else value)
        except (InvalidOperation, DivisionByZero, Overflow):
            return None


def _quotient(over: Decimal, under: Decimal) -> Decimal:
    with localcontext() as context:
        context.prec = 28
        return over / under


def canonical(value: Decimal) -> str:
    """Without exponent, trailing zeros or a negative zero."""
    text = f"{value:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _value_of(phrase: str) -> tuple[str | None] | None:
    """(number,) that a phrase gives; (None,) where it gives several; None where it gives none."""
    phrase = phrase.replace(BOX_OPEN, " ").replace(BOX_CLOSE, " ")
    equal = re.split(r"[=≈]", phrase)
    if len(equal) > 1:
        return _value_of(equal[-1])
    tokens = _tokens(phrase)
    if not tokens:
        return None
    first = tokens[0]
    if re.search(r"\bbetween\s(?:about\s)?$|\bfrom\s$", phrase[: first.start], re.IGNORECASE) and len(tokens) > 1:
        return (None,)
    if re.search(r"[\d)]\s?[-+×x*/÷]\s?$|[\[(]\s?$", phrase[: first.start]) and len(tokens) > 1:
        return (None,)
    if len(tokens) > 1:
        between = phrase[first.end : tokens[1].start]
        if JOINED.fullmatch(between) or re.fullmatch(r"\s?[+×x*÷^(]\s?", between):
            return (None,)
    elif re.match(r"\s?(?:[,/:]\s?[\d.]|[-+×*÷]\s?[\d(])", phrase[first.end :]) or _is_part(phrase, first):
        return (None,)
    return (first.value,)


def _is_part(phrase: str, token: _Token) -> bool:
    """Whether the number belongs to a larger expression: 1,5 or 3:45 or 2√3."""
    return bool(re.search(r"\d[,.:/]$|[√^]\s?\(?$", phrase[: token.start]) or re.match(r"[√^]|[,:]\d", phrase[token.end :]))


def _boxed(text: str) -> Iterator[Statement]:
    for box in BOXED.finditer(text):
        found = _value_of(box[1])
        if found:
            yield Statement(Strength.BOXED, found[0], box.start(), box.end())


def _phrase(text: str, at: int) -> str:
    """From `at` to where the clause ends or turns to explaining itself."""
    clause = re.compile(r"(?:[^.\n!?;]|\.(?=\d)){0,300}").match(text, at)
    phrase = clause[0] if clause else ""
    explained = EXPLAINED.search(phrase)
    return phrase[: explained.start()] if explained and _tokens(phrase[: explained.start()]) else phrase


def _called(text: str) -> Iterator[Statement]:
    for strength, start, at in stated(text):
        begin = max(text.rfind(mark, 0, start) for mark in (". ", "\n", "; ")) + 1
        if CONDITION.match(text[begin:start] + " "):
            continue
        phrase = _phrase(text, at)
        found = _value_of(phrase)
        if found:
            yield Statement(strength, found[0], start, at + len(phrase))
        elif NONE_LEFT.search(phrase):
            yield Statement(strength, "0", start, at + len(phrase))


LINE = re.compile(
    r"\W*(?:(?:about|approximately|around|roughly|exactly|only)\s)?[-+]?[$€£≈~\s]*[\d.,]+\S{0,8}(?:\s[A-Za-z^%°²³/]{1,14}\d?){0,3}\W*",
    re.IGNORECASE,
)


def _lines(text: str) -> Iterator[Statement]:
    """Lines that hold nothing but a number with its unit."""
    for line in re.finditer(r"[^\n]{1,80}(?=\n|$)", text):
        if (LINE.fullmatch(line[0]) or NUMBER_WORD.fullmatch(line[0].strip(" ."))) and "|" not in line[0]:
            found = _value_of(line[0])
            if found:
                yield Statement(Strength.ALONE, found[0], line.start(), line.end())


def _concluded(text: str) -> Iterator[Statement]:
    for start, sentence in sentences(text):
        lead = CONCLUSION.match(sentence.lstrip())
        if lead and not sentence.rstrip().endswith("?"):
            found = _said(sentence.lstrip()[lead.end() :])
            if found:
                yield Statement(Strength.ALONE, found[0], start, start + len(sentence))


def _said(sentence: str) -> tuple[str | None] | None:
    """What a sentence says by "is", "are", "=": the result of its last equation, else what its first verb is followed by."""
    if REFUSAL.search(sentence):
        return None
    if NONE_LEFT.search(sentence):
        return ("0",)
    if re.search(r"[=≈]", sentence):
        return _value_of(_phrase(re.split(r"[=≈]", sentence)[-1], 0))
    values: list[tuple[str | None]] = []
    for verb in COPULA.finditer(sentence):
        rest = sentence[verb.end() :]
        tokens = _tokens(rest[:60])
        if tokens and tokens[0].start <= 1 or (tokens and re.fullmatch(r"[\s$€£(]*", rest[: tokens[0].start])):
            found = _value_of(_phrase(rest, 0))
            if found:
                values.append(found)
    return values[0] if values else None


def _emphasised(answer: str) -> list[Statement]:
    """The one number that is set in bold."""
    values = set()
    for bold in BOLD.finditer(without_reasoning(answer)[-20_000:]):
        found = _value_of(plain(bold[1]))
        if found:
            values.add(found[0])
    if len(values) != 1 or REFUSAL.search(plain(answer)):
        return []
    return [Statement(Strength.MENTION, values.pop(), 0, 0)]


def _mentioned(text: str) -> list[Statement]:
    """What the sentences say, where they agree; else the only number of the whole answer."""
    if REFUSAL.search(text):
        return []
    said = [found for _, sentence in sentences(text) if not sentence.rstrip().endswith("?") and (found := _said(sentence))]
    values = {found[0] for found in said}
    if len(values) == 1 or (len(said) > 1 and said[0] == said[-1]):
        return [Statement(Strength.MENTION, said[-1][0], 0, 0)]
    tokens = _tokens(text)
    ends = bool(re.search(r"[.!)\d%]\s*$", text))
    if not values and len({token.value for token in tokens}) == 1 and ends:
        found = _value_of(text)
        return [Statement(Strength.MENTION, found[0], 0, 0)] if found else []
    return []


LIST = re.compile(r"\[([^\[\]\n]{0,2000})\]")


def read_list(answer: str) -> str | None:
    """The one list of numbers that the answer plainly gives, as `[1, 2.5]`; None otherwise."""
    text = plain(answer)
    bracketed = [found for found in LIST.finditer(text) if _all_numbers(found[1])]
    statements = [
        Statement(Strength.ANSWER, _all_numbers(found[1]), found.start(), found.end()) for found in bracketed
    ]
    if not statements and not REFUSAL.search(text):
        for start, sentence in sentences(text):
            tokens = _tokens(sentence, words=False)
            joints = [sentence[a.end : b.start] for a, b in zip(tokens, tokens[1:], strict=False)]
            if len(tokens) > 1 and all(JOINED.fullmatch(joint) for joint in joints):
                values = ", ".join(token.value or "" for token in tokens)
                statements.append(Statement(Strength.MENTION, f"[{values}]", start, start + len(sentence)))
    return settled(statements, text)


def _all_numbers(inside: str) -> str | None:
    parts = [part.strip() for part in inside.split(",")]
    values = []
    for part in parts:
        found = NUMBER.fullmatch(part)
        value = _decimal(found) if found else None
        if value is None:
            return None
        values.append(value)
    return f"[{', '.join(values)}]"
