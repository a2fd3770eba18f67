"""Which number, or list of numbers, an answer gives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, DivisionByZero, InvalidOperation, Overflow, localcontext
from itertools import pairwise

from .plain import BOX_CLOSE, BOX_OPEN, BOXED, plain, without_reasoning
from .statements import CONCLUSION, CONDITION, REFUSAL, Statement, Strength, sentences, settled, stated

DIGITS = 1_000
"""A number of more digits is a model in a loop, and unread."""

UNITS = (
    r"(?:km/h|cm|mm|km|nm|m|kg|mg|g|ml|l|ms|min|mins|hrs?|h|in|ft|lbs?|oz|mph|kmh|kj|j|kw|w|kv|v|ma|a|khz|mhz|hz|kpa"
    r"|pa|"
    r"kcal|cal|°|º|deg|degrees|rad|px|usd|eur|units?|years?|k?n|c|f)"
)
NUMBER = re.compile(
    rf"(?<![A-Za-z0-9_.,/:^√])(?<![A-Za-z]-)(?P<sign>[-+](?=[\d.]))?(?<![.,/:^√])"
    rf"(?P<body>\d{{1,3}}(?:,\d{{3}})+(?:\.\d+)?|\d{{1,3}}(?:\.\d{{3}}){{2,4}}|[1-9]\d{{0,2}}(?: \d{{3}})+(?![\d ,]*\d)"
    rf"|\d+(?:\.\d+)?|\.\d+)"
    rf"(?P<exponent>e[-+]?\d{{1,3}})?"
    rf"(?:(?:\s(?P<over>\d{{1,4}}))?/(?P<under>\d{{1,9}}))?"
    rf"(?:\s?[×x]\s?10\s?\^\s?[{{(]?(?P<power>-?\d{{1,3}})[}})]?)?"
    rf"(?P<scale>\s?(?:million|billion|trillion|thousand|hundred|dozen|万|亿|千|百)(?![a-z])|[kKM](?![A-Za-z0-9]))?"
    rf"(?:\s?%|{UNITS}(?![A-Za-z0-9_])|(?:st|nd|rd|th)(?![a-z])(?P<ordinal>))?"
    rf"(?![A-Za-z0-9_√π/^]|[.,:]\d)",
    re.IGNORECASE,
)
ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
WORDS = {word: value for value, word in enumerate(ONES)} | {word: 10 * ten for ten, word in enumerate(TENS, 2)}
_TENS, _DIGITS, _ONES = "|".join(TENS), "|".join(ONES[1:10]), "|".join(reversed(ONES))
NUMBER_WORD = re.compile(
    rf"(?<![A-Za-z-])(?:(?P<hundreds>a|{_DIGITS})[- ]hundred(?:,?(?: and)? (?=(?:{_TENS}|{_ONES})(?![a-z])))?)?"
    rf"(?:(?P<tens>{_TENS})(?:[- ](?P<ones>{_DIGITS}))?|(?P<word>{_ONES})|(?P<dozen>(?:half )?a dozen)|(?<=hundred))"
    r"(?P<scale>\s(?:hundred|thousand|million|billion)|-(?:hundred|third|half|quarter|fifth|dimensional|digit|step|way|"
    r"sided)\w*)?(?![A-Za-z'-])",
    re.IGNORECASE,
)
PRONOUN = re.compile(
    r"\b(?:the|this|that|no|any|each|every|another|which|other|last|first|only|with|and)\s$", re.IGNORECASE
)
ONLY_ONE = re.compile(r"\b(?:is|has|with|see|shows) (?:only|just|exactly) one [a-z]{3}(?<!tha)(?<!whi)", re.IGNORECASE)
"""A count of things, not a pronoun: "there is only one person"."""
PRONOUN_GOES_ON = re.compile(
    r"\s(?:of|that|who|which|is|can|has|with|another|being|on|in|at|to|from|and)\b", re.IGNORECASE
)

NUMBERED = re.compile(r"^\s{0,4}\d{1,2}[.)](?= +\S)", re.MULTILINE)
"""The items of a numbered list."""
NONE_LEFT = re.compile(
    r"\bthere (?:are|is|will be|would be) (?:no|zero) (?:[a-z]+ ){0,4}?(?:left|remaining|remain)\b|\bno [a-z]+ (?:are"
    r"|is) left\b",
    re.IGNORECASE,
)
JOINED = re.compile(
    r"\s?(?P<unit>[a-z°%]{0,12})\s?(?:,\s?(?:and|or)?|and|or|to|through|~|/|[-–—]|&|und|oder|bis|et|ou|à|y|o|a|到|至|或|和"
    r"|和)\s?",
    re.IGNORECASE,
)
EXPLAINED = re.compile(
    r",?\s(?:not|rather than|instead of|which|because|since|as|so|meaning|where|while|whereas|compared"
    r"|given|based|if|with|when|rounded|to (?:the"
    r"|one|two|three))\b|\s\(|\n"
)
_BETWEEN_VERB_AND_NUMBER = (
    r"[\s$€£≈~(]*(?:(?:about|around|a total of|total of|now|also|still|just|thus|equal|to|from|almost|visible|up|at"
    r"|the number|number|"
    r"between|[a-z]{2,12}ly)[\s$€£(]+){0,4}"
)
IS = re.compile(
    rf"(?:\b(?:is|are|was|were|it's|that's|equals?|be|becomes?|gets?|gives|leaves|leaving|left with|add(?:s"
    rf"|ed)? up to|sums? to|amounts? to|simplifies"
    rf"|es|ist|est|son|hay)\b"
    rf"|[=≈]|是|为){_BETWEEN_VERB_AND_NUMBER}",
    re.IGNORECASE,
)
HAS = re.compile(
    r"(?:\b(?:give|have|has|had|counts?|see|needs?|costs?|spends?|makes?|made|earns?|leave|shows?|total of|contains?|"
    rf"reads?|remain|totals?|by|about|approximately|around|roughly|exactly)\b|:(?=\s)|有){_BETWEEN_VERB_AND_NUMBER}",
    re.IGNORECASE,
)
COMPARED = re.compile(
    r"\b(?:than|least|most|below|above|over|under|exceeds?|exactly|reach(?:es)?|approach(?:es)?)\s[$€£]?$",
    re.IGNORECASE,
)
"""What a number of the question stands behind ("greater than 0.4 %")."""
BOUND = re.compile(r"\b(?:(?:more|less|fewer|greater) than|at (?:least|most)|over|under)\b", re.IGNORECASE)
"""What makes a number a bound: "more than a dozen"."""
OPERATOR = re.compile(
    r"\s?[A-Za-z/%°^$]{0,6}\s?(?:[,/:]\s?[\d.]|[-+×*÷]\s?(?:[\d(√π∠]|[A-Za-z]\b|$))|\s(?:more|less|fewer|times"
    r"|units (?:more|less)) than\b",
    re.IGNORECASE,
)
"""After a number that is only part of an expression."""
LABEL = re.compile(r"\b(?:figure|fig\.|page|question|problem|step|chapter|section|exercise)\s#?$", re.IGNORECASE)
"""Before a number that is the name of something."""
UNFINISHED = re.compile(
    r"\b(?:next|then|now|after that|second(?:ly)?|third(?:ly)?|finally|step \d+)\b[^.!?\d\n]*$", re.IGNORECASE
)
"""The end of an answer that breaks off on the way."""
BOLD = re.compile(r"\*\*([^*\n]{1,60})\*\*")


@dataclass(frozen=True)
class _Token:
    value: str | None
    """None: a number of whose size the answer says no more than "3 million", and the question may ask in millions."""
    start: int
    end: int


def read_number(answer: str, question: str = "") -> str | None:
    """The one number that the answer plainly gives, as plain decimal text ("1200", "-0.5"); None otherwise.

    Commas are removed as thousands separators only: `1,5`, `(3, 4)`, ranges and lists give no number. A percentage
    gives its number (`12.5%`: 12.5), a fraction its quotient.

    `question` says what is asked for: a year, or something else, and then "In 2010" is when and not how many. 3 million
    are 3 where it asks for millions; where it names no such size, the picture may count in one, and they are unread.
    Numbers that only repeat the question give nothing, and a sentence that says the question again gives its number.
    """
    text = _asked_for(_cleared(NUMBERED.sub("", ONE_FIELD.sub(r"\1", plain(answer)))), question)
    if re.fullmatch(
        r"[\s(\[]*(?:[a-z]\s*=\s*)?[\s(\[]*\S{1,1200}(?: ?[×x] ?10 ?\^ ?\S{1,6})?(?: [^\s\d=]{1,12}){0,3}",
        text,
        re.IGNORECASE,
    ):
        whole = ("1",) if re.fullmatch(r"\W*(?:only|just|exactly) one\W*", text, re.IGNORECASE) else _value_of(text)
        if whole and not BOXED.search(text):
            return None if BOUND.search(text) else whole[0]
    statements = [*_boxed(text), *_called(text, question), *_lines(text), *_concluded(text)]
    bold = _emphasised(answer)
    top = max((statement.strength for statement in statements), default=Strength.MENTION)
    found = settled(statements, text)
    if top > Strength.ALONE or (found is not None and not (bold and found != bold[0].value)):
        return found
    by_question = _by_question(text, HINT.sub("", question))
    if by_question and not (statements and bold and by_question[0] != bold[0].value):
        return by_question[0]
    return None if statements else settled(bold or _mentioned(text), text)


ONE_FIELD = re.compile(r"\A\{\s*[A-Za-z_ ]{1,30}:\s*([^{}:,]{1,60})\}\Z")
"""JSON of a single field: {"count": 7}."""
OF_WHICH = re.compile(rf", (?:\d{{1,9}}|{'|'.join(ONES)}) of (?:which|whom|them)\b[^.;\n]*", re.IGNORECASE)
"""A part of what was counted: "5 apples, 3 of which are red"."""
REJECTED = re.compile(
    rf"(?:\b(?:not|rather than|instead of)|n't)\s(?:just |only |exactly |equal to )?(?:{NUMBER.pattern}(?!\s?[-+*/=<>])"
    rf"|(?:{'|'.join(ONES)})(?![A-Za-z'-]))",
    re.IGNORECASE,
)
"""A number that is denied: "It isn't 5; it's 6"."""
MINUS = re.compile(r"(?:(?<=^)|(?<=[a-z=:([*] )|(?<=[=:([*]))(?:minus|negative) (?=\.?\d)", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"(?<![\d.,])(?P<whole>0),(?=\d{1,6}(?![\d.,]|\s*,))")
"""Only behind a zero: `1,5` may be two numbers."""
SUPPOSED = re.compile(
    r"^\W*(?:if|since|given that|assuming)\b[^.\n]{3,160}?,\s*(?:then\b|(?=the\b))", re.IGNORECASE | re.MULTILINE
)
"""What is supposed, before what follows from it: "If AB is 10, then CD must be 6"."""
WHERE = re.compile(r"\s(?:when|where|with|if|for|at|given|assuming)\s[^=≈]{1,30}[=≈].*$", re.IGNORECASE)
"""The end of a sentence that says under which equation it holds: "about 1.03 minutes when r = 3"."""
ALSO_PERCENT = re.compile(r"(?P<share>0?\.\d+)(?:,? or |,? i\.e\.,? | = | \()(?P<percent>\d+(?:\.\d+)?) ?%\)?")


def _cleared(text: str) -> str:
    """Without numbers that are denied or only supposed, with words for signs as signs."""
    text = DECIMAL_COMMA.sub(r"\g<whole>.", MINUS.sub("-", OF_WHICH.sub("", text)))
    return SUPPOSED.sub("", ALSO_PERCENT.sub(_one_of_both, REJECTED.sub(" ", text)))


def _one_of_both(found: re.Match[str]) -> str:
    """0.57, or 57 %: the same number twice."""
    same = abs(float(found["share"]) * 100 - float(found["percent"])) < 1
    return found["share"] if same else found[0]


YEAR = re.compile(r"(?<![\w.,/-])(?:1[0-9]|20|21)\d\d(?:\s?(?:AD|CE))?(?![\w/]|[.,-]\d)")
WHEN = re.compile(
    rf"\b(?:in|since|by|from|until|during|for|before|after|as of)\s(?:the\s)?(?:year\s)?{YEAR.pattern}", re.IGNORECASE
)
ASKS_A_YEAR = re.compile(
    r"\b(?:which|what|the)\s(?:\w+\s)?years?\b(?!\s?(?:of|old))|\bin what year\b|\bwhen\b", re.IGNORECASE
)
WHICH_YEAR = re.compile(r"\b(?:which|what)\s(?:\w+\s)?year\b(?!\s?old)", re.IGNORECASE)
SCALES = ("thousand", "million", "billion", "trillion")
SCALED = re.compile(r"(?<=\d)\s?(?P<scale>thousand|million|billion|trillion)s?\b", re.IGNORECASE)
HINT = re.compile(r"\A\s*hint:.*?^\s*question:|^\s*(?:choices|options):.*", re.IGNORECASE | re.DOTALL | re.MULTILINE)
"""What stands around a question: how to answer it, and what to choose from."""
CLAUSE = re.compile(r"[^.!?\n]+")
HOW_MANY = re.compile(
    r"\b(?:how many|(?:what|which) number of)\s(?P<what>(?:[a-z-]+\s){0,4}?[a-z-]{3,})"
    r"(?=\s(?:are|is|was|were|do|does|did|have|has|had|can|could|will|would|went|get|in|of|on|with|that|which|who|per|you|we|there|it)\b|\s?[?,.(]|$)",
    re.IGNORECASE,
)
_MORE = r"(?:more|less|fewer|higher|lower|longer|shorter|older|younger|taller|greater|larger|bigger|smaller|cheaper)"
ASKS_HOW_MUCH_MORE = re.compile(
    rf"\bhow (?:much|many) (?:[a-z]+ )?{_MORE}\b|\bhow {_MORE}\b|\bdifference\b", re.IGNORECASE
)
MORE_THAN = re.compile(rf"(?P<amount>\d[\d.,]*(?: ?[a-z%$°]{{1,12}}){{0,2}}) {_MORE} than\b[^.!?\n]*", re.IGNORECASE)
"""5 dollars more than the other, where the question asks how much more."""
ASKS_AN_AGE = re.compile(r"\b(?:age|ages|how old|how much older)\b", re.IGNORECASE)
PEOPLE = re.compile(
    rf"(?<![\w.])(?:\d+|{'|'.join(ONES[1:])})"
    r"(?= (?:[a-z]+ )?(?:people|persons?|individuals?|men|man|women|woman"
    r"|players?|children|boys?|girls?|characters?|actors?|politicians?|presidents?|leaders?)\b)",
    re.IGNORECASE,
)
"""How many people there are, where the question asks for their ages."""


def _asked_for(text: str, question: str) -> str:
    """The answer with its numbers in what the question counts in, and without the years that only say when."""
    asked = HINT.sub("", question)
    if not asked.strip():
        return text
    named = {scale for scale in SCALES if re.search(rf"\b{scale}s?\b", asked, re.IGNORECASE)}

    def counted(scaled: re.Match[str]) -> str:
        return "" if named == {scaled["scale"].lower()} else scaled[0]

    text = SCALED.sub(counted, text)
    if ASKS_HOW_MUCH_MORE.search(asked):
        text = MORE_THAN.sub(r"\g<amount>", text)
    if ASKS_AN_AGE.search(asked) and not HOW_MANY.search(asked):
        text = PEOPLE.sub("", text)
    if not ASKS_A_YEAR.search(asked) and not YEAR.search(asked):
        counts = bool(HOW_MANY.search(asked) or ASKS_AN_AGE.search(asked))
        return CLAUSE.sub(lambda clause: _without_years(clause[0], counts), text)
    return text


def _without_years(clause: str, counts: bool) -> str:
    """The clause without the year that says when; where nothing else is counted the year stays, and is read.

    `counts`: the question asks how many or how old, and no year answers it.
    """
    rest = WHEN.sub(" ", clause)
    return rest if counts or tokens(rest) else clause


def tokens(text: str, words: bool = True) -> list[_Token]:
    """The numbers of a text in their order, with number words where `words`."""
    found = [
        _Token(_decimal(each), each.start(), each.end())
        for each in NUMBER.finditer(text)
        if each["ordinal"] is None and not LABEL.search(text, max(0, each.start() - 12), each.start())
    ]
    for each in NUMBER_WORD.finditer(text) if words else ():
        if (
            (each["word"] or "").lower() == "one"
            and not ONLY_ONE.search(text, max(0, each.start() - 10), each.end() + 5)
            and (
                PRONOUN.search(text[max(0, each.start() - 10) : each.start()])
                or PRONOUN_GOES_ON.match(text, each.end())
            )
        ):
            continue
        if each["scale"] and each["scale"].startswith("-"):
            continue
        found.append(_Token(None if each["scale"] else str(_in_words(each)), each.start(), each.end()))
    return sorted(found, key=lambda token: token.start)


def _in_words(found: re.Match[str]) -> int:
    """105 for "one hundred and five"."""
    if found["dozen"]:
        return 6 if found["dozen"].lower().startswith("half") else 12
    hundreds = 1 if (found["hundreds"] or "").lower() == "a" else WORDS.get((found["hundreds"] or "").lower(), 0)
    rest = sum(WORDS[found[part].lower()] for part in ("tens", "ones", "word") if found[part])
    return 100 * hundreds + rest


def _decimal(found: re.Match[str]) -> str | None:
    if len(found["body"]) > DIGITS or found["scale"]:
        return None
    with localcontext() as context:
        context.prec = DIGITS + 10
        try:
            body = re.sub("[, ]", "", found["body"])
            body = body.replace(".", "") if body.count(".") > 1 else body  # 1.000.000: thousands as elsewhere
            value = Decimal(body + (found["exponent"] or ""))
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
    if EITHER.search(phrase):
        return (None,)
    equal = re.split(r"[=≈]", phrase)
    if len(equal) > 1:
        return _said(equal[-1]) or _value_of(equal[-1])
    numbers = tokens(phrase)
    if not numbers:
        return None
    first = numbers[0]
    if phrase[: first.start].rstrip().endswith("±"):
        return (None,)
    if re.search(r"\bbetween\s(?:about\s)?$|\bfrom\s$", phrase[: first.start], re.IGNORECASE) and len(numbers) > 1:
        return (None,)
    if re.search(r"[\d)]\s?[-+×x*/÷]\s?$|[\[(]\s?$", phrase[: first.start]) and len(numbers) > 1:
        return (None,)
    if len(numbers) > 1:
        between = phrase[first.end : numbers[1].start]
        several = JOINED.fullmatch(between) or re.search(r"\band\b|\bout of\b|\bor\b|,", between)
        if several and len({token.value for token in numbers}) > 1:
            return (None,)
    if OPERATOR.match(phrase, first.end) or _is_part(phrase, first):
        return (None,)
    return (first.value,)


EITHER = re.compile(r"=\s?-?[\d.]+\s?(?:or|and)\s[a-z]\w?\s?=", re.IGNORECASE)
"""Two values: "x = 3 or x = -3"."""


def _is_part(phrase: str, token: _Token) -> bool:
    """Whether the number belongs to a larger expression: 1,5 or 3:45 or 2√3."""
    return bool(
        re.search(r"\d[,.:/]$|[√^]\s?\(?$|[A-Za-z0-9)]\s?[+×*÷]\s?$", phrase[max(0, token.start - 12) : token.start])
        or re.match(r"[√^]|[,:]\d", phrase[token.end : token.end + 4])
    )


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
    return phrase[: explained.start()] if explained and tokens(phrase[: explained.start()]) else phrase


GUESSED = re.compile(
    r"\b(?:i|we)(?:'d| would| will|'ll)? (?:think|guess|estimate|say|believe|reckon|go with)(?: that)?"
    r"(?: (?:it's|it is|there are|there is|about|around|approximately|roughly)){0,3}\s"
    rf"(?=[$€£~-]?[\d.]|(?:{_TENS}|{_ONES})\b)",
    re.IGNORECASE,
)


SIMPLIFIED = re.compile(r"[^.\n]{0,80}?,? which (?:simplifies to|equals|is equal to|comes to|gives)\s", re.IGNORECASE)


def _called(text: str, question: str) -> Iterator[Statement]:
    for strength, start, at in stated(text):
        begin = max(text.rfind(mark, 0, start) for mark in (". ", "\n", "; ")) + 1
        if CONDITION.match(text[begin:start] + " "):
            continue
        phrase = _phrase(text, at)
        found = _value_of(phrase)
        if found == (None,) and (simplified := SIMPLIFIED.match(text, at + len(phrase))):
            found = _value_of(_phrase(text, simplified.end()))
        if found:
            yield Statement(strength, found[0], start, at + len(phrase))
        elif NONE_LEFT.search(phrase):
            yield Statement(strength, "0", start, at + len(phrase))
        elif re.fullmatch(
            r"\W*(?:never|none|nothing|infinite|infinity|undefined|unknown|all|every \w+)\W*", phrase, re.IGNORECASE
        ):
            none = HOW_MANY.search(question) and re.search(r"never|none|nothing", phrase, re.IGNORECASE)
            yield Statement(strength, "0" if none else None, start, at + len(phrase))
    for guess in GUESSED.finditer(text):
        phrase = _phrase(text, guess.end())
        found = _value_of(phrase)
        if found and len(phrase.split()) <= 4:
            yield Statement(Strength.ANSWER, found[0], guess.start(), guess.end() + len(phrase))


LINE = re.compile(
    r"\W*(?:(?:about|approximately|around|roughly|exactly|only)\s)?[-+]?[$€£≈~\s]*[\d.,]+\S{0,8}(?:\s[A-Za-z^%°²³/]{1,14}\d?){0,3}\W*",
    re.IGNORECASE,
)


def _lines(text: str) -> Iterator[Statement]:
    """Lines that hold nothing but a number with its unit."""
    for line in re.finditer(r"^[^\n]{1,80}$", text, re.MULTILINE):
        if (LINE.fullmatch(line[0]) or NUMBER_WORD.fullmatch(line[0].strip(" ."))) and "|" not in line[0]:
            found = _value_of(line[0])
            if found:
                yield Statement(Strength.ALONE, found[0], line.start(), line.end())


ROUNDED = re.compile(
    r"\W*(?:rounded |rounding )?to (?:the nearest|\w+ (?:decimal|significant))[^,\d]{0,40},", re.IGNORECASE
)
"""The last step: "To two decimal places, this is 21.33"."""


CONCLUDED = re.compile(r"\b(?:we|i|you|one) (?:can |may |could )?conclude that\s", re.IGNORECASE)


def _concluded(text: str) -> Iterator[Statement]:
    for start, sentence in sentences(text):
        rounded = ROUNDED.match(sentence)
        lead = rounded or CONCLUSION.match(sentence.lstrip()) or CONCLUDED.search(sentence.lstrip())
        if lead and not sentence.rstrip().endswith("?"):
            rest = sentence.lstrip()[lead.end() :]
            found = _said(rest) or _sole(rest)
            if found:
                strength = Strength.ANSWER if rounded else Strength.ALONE
                yield Statement(strength, found[0], start, start + len(sentence))


def _said(sentence: str) -> tuple[str | None] | None:
    """What a sentence says by "is", "are", "=": its last equation's result, else what follows its verb."""
    if REFUSAL.search(sentence):
        return None
    if NONE_LEFT.search(sentence):
        return ("0",)
    under = WHERE.search(sentence)
    if under and next(_after(IS, sentence[: under.start()]), None):
        sentence = sentence[: under.start()]
    if EITHER.search(sentence):
        return (None,)
    total = _total(sentence)
    if total:
        return total
    if re.search(r"[=≈]", sentence):
        parts = re.split(r"[=≈]", sentence)
        final = _said(parts[-1])
        if final:
            return final
        if len(parts) > 2 and re.search(r"\d[^\d=]*\band\b[^=]*$", parts[-2]):
            return (None,)  # "x = 0 and y = 10"
        return _value_of(_phrase(parts[-1], 0))
    said = list(dict.fromkeys(_after(IS, sentence)))
    follows = SO.split(sentence)
    if len(follows) > 1 and len(tokens(sentence)) > 1:
        results = list(dict.fromkeys(_after(IS, follows[-1])))
        if len(results) == 1:
            return results[0]
    if said:
        return said[0] if len(said) == 1 else (None,)
    numbers = [
        token for token in tokens(sentence) if not COMPARED.search(sentence[max(0, token.start - 12) : token.start])
    ]
    if len({token.value for token in numbers}) > 1:
        return None
    return next(_after(HAS, sentence), None)


TOTAL_OF = re.compile(r"\ba total of (?:about |approximately |exactly )?$", re.IGNORECASE)
TOTAL = re.compile(r"\b(?:total|in all|altogether)\b", re.IGNORECASE)
TOTAL_FIRST = re.compile(r"\W*(?:in total|in all|altogether),", re.IGNORECASE)
THINGS = re.compile(r"(?:\s[a-z]+){0,3}\s?(?:[:.,]|$)", re.IGNORECASE)
IN_TOTAL = re.compile(r"(?:\s[a-z]+){0,3}\s(?:in total|in all|altogether)\b", re.IGNORECASE)
SO = re.compile(
    r",\s(?:and )?(?:so|therefore|thus|hence)\s|,?\swhich (?=simplifies|gives|leaves|equals|is equal|makes|comes)",
    re.IGNORECASE,
)
"""What a sentence comes to: "The sides are 3 cm, 4 cm and 5 cm, so the perimeter is 12 cm"."""


def _total(sentence: str) -> tuple[str | None] | None:
    """The one number that a sentence calls its total: "7 red and 5 green, 12 in total", "for a total of 12"."""
    if not TOTAL.search(sentence):
        return None
    numbers = tokens(sentence)
    if len(numbers) == 1 and TOTAL_FIRST.match(sentence):
        return (numbers[0].value,)
    values = {
        token.value
        for token in numbers
        if IN_TOTAL.match(sentence, token.end)
        or (TOTAL_OF.search(sentence, max(0, token.start - 40), token.start) and THINGS.match(sentence, token.end))
    }
    return (values.pop(),) if len(values) == 1 else None


def _after(verbs: re.Pattern[str], sentence: str) -> Iterator[tuple[str | None]]:
    for verb in verbs.finditer(sentence):
        if re.search(r"\b(?:which|that|who)\s$", sentence[max(0, verb.start() - 8) : verb.start()]):
            continue
        rest = sentence[verb.end() : verb.end() + 400]
        numbers = tokens(rest[:60])
        found = _value_of(_phrase(rest, 0)) if numbers and numbers[0].start == 0 else None
        if found:
            yield found


THERE = re.compile(r"^\W*(?:(?:in|on|at|based on|from) [^,.]{1,40}, )?there (?:is|are)\b", re.IGNORECASE)
RESULT = re.compile(
    r"^\W*in total\b|"
    r"^\W*(?:(?:the|this|that|their|its|your|in)\s)?(?:\w+\s)?(?:difference|sum|total|range|average|mean|median|mode"
    r"|ratio|result|product|"
    r"number|amount|distance|length|perimeter|area|value|percentage|gap)\b|\b(?:left|remain|remaining"
    r"|in total)\W*$|\b(?:leaves|leaving|left with)\b",
    re.IGNORECASE,
)
"""A sentence that gives the result of those before it."""


def _emphasised(answer: str) -> list[Statement]:
    """The one number that is set in bold."""
    values = set()
    for bold in BOLD.finditer(without_reasoning(answer)[-20_000:]):
        found = _value_of(plain(bold[1]))
        if found:
            values.add(found[0])
    if len(values) != 1 or REFUSAL.search(next(sentences(plain(answer)), (0, ""))[1]):
        return []
    return [Statement(Strength.MENTION, values.pop(), 0, 0)]


STEP = re.compile(
    r"\W*(?:step \w+\s*[:.]\s*)?(?:(?:first|second|then|next|now|finally)[ly]*,?\s)?(?:we (?:can |need to |have to )?)?"
    r"(?:identify|find|count|look|calculate|compute|determine|read|compare|consider|note|observe|check)\b",
    re.IGNORECASE,
)
"""What is to be done, not what it gives: "Step 1: Identify the 2 people"."""


def _mentioned(text: str) -> list[Statement]:
    """What the sentences say, where they agree; else the only number of the whole answer."""
    if REFUSAL.search(text) or UNFINISHED.search(text):
        return []
    said = []
    for _, sentence in sentences(text):
        if STEP.match(sentence) and not re.search(r"=|\b(?:is|are|gives|leaves)\b", sentence):
            continue
        found = None if sentence.rstrip().endswith("?") else _said(sentence) or _sole(sentence)
        if found or tokens(sentence, words=False):
            said.append((sentence, found))
    if not said:
        return _only_word(text)
    first, last = said[0][1], said[-1][1]
    if (
        first
        and THERE.match(said[0][0])
        and not any(THERE.match(each) or RESULT.search(each) or "=" in each for each, _ in said[1:])
    ):
        return [Statement(Strength.MENTION, first[0], 0, 0)]  # the rest describes what was counted
    values = {found for _, found in said if found}
    ends = "=" in said[-1][0] or RESULT.search(said[-1][0])
    result = last and ends and (_said(said[-1][0]) or first is None)
    if last and (result or (first in values and (len(values) == 1 or first == last))):
        return [Statement(Strength.MENTION, last[0], 0, 0)]
    if first and len(values) == 1:
        return [Statement(Strength.MENTION, first[0], 0, 0)]
    return []


SMALL = frozenset(
    [
        *("the", "and", "for", "are", "was", "were", "this", "that", "with", "from", "what", "which", "who", "than"),
        *(
            "how",
            "many",
            "much",
            "does",
            "did",
            "has",
            "have",
            "had",
            "its",
            "these",
            "those",
            "there",
            "their",
            "into",
        ),
        *("calculate", "find", "determine", "compute", "please", "give", "estimate", "image", "picture", "figure"),
        *("shown", "then"),
    ]
)
WHICH = re.compile(
    r"\b(?:which|what)\s(?!(?:is|are|was|were|the|year|years|number|percent\w*)\b)(?P<what>[a-z]{3,})\b", re.IGNORECASE
)
PARTS = re.compile(r";|,\s(?:and|but|while|whereas|although)\s|:\s|\s(?:while|whereas)\s")


def _by_question(text: str, question: str) -> tuple[str | None] | None:
    """What an answer that calls nothing its answer gives in the light of the question; None where that is nothing.

    A year where one is asked for; the week where it asks which week; none of what is to be counted; the number in the
    clauses that say the question again, where the closest of them agree; the one number of a short answer that the
    question does not hold.
    """
    parts = [part for _, part in sentences(text) if re.search(r"\w", part) and not part.rstrip().endswith("?")]
    if not question.strip() or not parts or REFUSAL.search(text) or UNFINISHED.search(text):
        return None
    asks_a_year = WHICH_YEAR.search(question)
    if asks_a_year:
        clause = re.split(r"\b(?:compared|than|while|whereas|but)\b", parts[0])[0]
        years = {year[0] for year in YEAR.finditer(clause)} - {year[0] for year in YEAR.finditer(question)}
        return (years.pop(),) if len(years) == 1 else None
    own = {token.value for token in tokens(question, words=False)}
    if (which := WHICH.search(question)) and (named := _numbered(parts[0], which["what"])):
        return named
    counted = HOW_MANY.search(question)
    head = _stem(counted["what"].lower().split()[-1]) if counted else ""
    if counted and re.search(
        rf"\b(?:no|zero|none of the|not any|n't any)\s(?:\w+\s){{0,3}}?{head}|^\W*none\b", parts[0], re.IGNORECASE
    ):
        return ("0",) if {token.value for token in tokens(parts[0], words=False)} <= own else None
    found = _closest(parts, question, head, own)
    if found:
        return found
    if len(parts) == 1 and len(numbers := tokens(parts[0], words=False)) > 1:
        left = [token.value for token in numbers]
        for token in tokens(question, words=False):
            if token.value in left:
                left.remove(token.value)
        if len(left) == 1 and "(_)" in question:
            return (left[0],)
    return None


def _numbered(sentence: str, what: str) -> tuple[str] | None:
    """3 for "week 3" or "the 3rd week"."""
    found = {
        each[1] or each[2]
        for each in re.finditer(
            rf"\b{what}s?\s(?:number\s|no\.?\s|#\s?)?(\d{{1,4}})(?![\w%]|[.,]\d)|\b(\d{{1,4}})(?:st|nd|rd|th)\s{what}\b",
            sentence,
            re.IGNORECASE,
        )
    }
    return (found.pop(),) if len(found) == 1 else None


KEYS = frozenset(
    [
        *("total", "sum", "diffe", "left", "range", "mean", "media", "mode", "avera", "highe", "lowes", "maxim"),
        *("minim", "ratio"),
    ]
)
"""Stems of words without which a clause answers another question."""
UNIT = re.compile(r"\(unit:[^)\n]*\)", re.IGNORECASE)
FORMULA = re.compile(r"\b(?:given by|formula|calculated|can be found|expressed)\b", re.IGNORECASE)


def _closest(parts: list[str], question: str, head: str, own: set[str | None]) -> tuple[str | None] | None:
    """The number of the clauses that say most of the question again, where the first and the last of them agree."""
    wanted = content(UNIT.sub("", question).rstrip().rsplit(". ", 1)[-1])
    if head and {_stem(word) for word in wanted} <= {head}:  # nothing but how many there are
        return _counted(parts[0], head, own)
    covering: list[tuple[float, str]] = []
    for clause in (clause for part in parts for clause in PARTS.split(part)):
        said = content(clause)
        covered = len(wanted & said)
        if covered < 2 or covered < 0.6 * len(wanted) or not KEYS & wanted <= said or FORMULA.search(clause):
            continue
        value = _counted(clause, head, own) or _said(clause) or (_only(clause, own) if head else None)
        if value and value[0] is not None and not (head and "%" in clause and "." in value[0]):
            covering.append((covered / len(wanted), value[0]))
        elif value:
            return None
    if not covering or ("ratio" in wanted and any(re.search(r"\d ?: ?\d", part) for part in parts)):
        return None
    most = max(share for share, _ in covering)
    values = [value for share, value in covering if share >= most - 0.01]
    return (values[0],) if values[0] == values[-1] else None


def _counted(clause: str, head: str, own: set[str | None]) -> tuple[str | None] | None:
    """The one number that stands before what the question counts: "6 people", "three small red cubes"."""
    if not head:
        return None
    head = "(?:peopl|perso)" if head in ("peopl", "perso") else head
    values: set[str | None] = {
        None if re.search(r"\d\s?(?:to|or|and|-|–)\s?$", clause[: token.start]) else token.value
        for token in tokens(clause)
        if token.value not in {None, *own}
        and re.match(rf"(?:\s[a-z-]+){{0,3}}?\s{head}", clause[token.end :], re.IGNORECASE)
        and not COMPARED.search(clause[max(0, token.start - 12) : token.start])
    }
    return (values.pop(),) if len(values) == 1 else None


def _only(clause: str, own: set[str | None]) -> tuple[str | None] | None:
    """The only number of a clause that neither the question holds nor the clause compares with."""
    numbers = [
        token
        for token in tokens(clause, words=False)
        if token.value not in own and not COMPARED.search(clause[max(0, token.start - 12) : token.start])
    ]
    if len({token.value for token in numbers}) != 1 or _is_part(clause, numbers[0]):
        return None
    return None if OPERATOR.match(clause, numbers[0].end) else (numbers[0].value,)


def _stem(word: str) -> str:
    return (word[:-1] if len(word) > 3 and word.endswith("s") else word)[:5]


def content(text: str) -> set[str]:
    """Stems of the words that say what a sentence, or a question, is about."""
    words = re.findall(r"[a-z]+\(\w+\)|[a-z]{3,}|(?<![\w'])[b-hj-z](?![\w'])|\b\d{4}\b", text.lower())
    return {_stem(word) for word in words if word not in SMALL}


PAIR = re.compile(r"(?<![\d,.])\d{1,3},\d{1,2}(?![\d,.])")


def _sole(sentence: str) -> tuple[str | None] | None:
    """The only number of a whole sentence, apart from those it compares with."""
    numbers = [
        token
        for token in tokens(sentence, words=False)
        if not COMPARED.search(sentence[max(0, token.start - 12) : token.start])
    ]
    whole = re.search(r"[.!)\d%]\s*$", sentence) and not REFUSAL.search(sentence) and not PAIR.search(sentence)
    if len({token.value for token in numbers}) != 1 or not whole or _is_part(sentence, numbers[0]):
        return None
    return None if OPERATOR.match(sentence, numbers[0].end) else (numbers[0].value,)


def _only_word(text: str) -> list[Statement]:
    """The only number word of a short answer: "two women were born after the war"."""
    numbers = tokens(text)
    if len(numbers) != 1 or len(text.split()) > 25 or not re.search(r"[.!]\s*$", text):
        return []
    before = re.search(
        r"\b(?:the|these|those|both|any|between|comparing|of|with|all)\s(?:\w+\s)?$",
        text[max(0, numbers[0].start - 40) : numbers[0].start],
    )
    return (
        []
        if before or BOUND.search(text[: numbers[0].start])
        else [Statement(Strength.MENTION, numbers[0].value, 0, 0)]
    )


LIST = re.compile(r"\[([^\[\]\n]{0,2000})\]")


def read_list(answer: str) -> str | None:
    """The one list of numbers that the answer plainly gives, as `[1, 2.5]`; None otherwise."""
    text = plain(answer, code=True)
    bracketed = [found for found in LIST.finditer(text) if _all_numbers(found[1])]
    statements = [
        Statement(Strength.MENTION, _all_numbers(found[1]), found.start(), found.end()) for found in bracketed
    ]
    if not REFUSAL.search(text):
        for start, sentence in sentences(text):
            numbers = tokens(LIST.sub("", sentence), words=False)
            if re.search(r"\bfrom\b", sentence):
                continue  # what the picture covers
            joints = [sentence[a.end : b.start] for a, b in pairwise(numbers)]
            if len(numbers) > 1 and all(JOINED.fullmatch(joint) for joint in joints):
                values = ", ".join(token.value or "" for token in numbers)
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
