"""Which option an answer gives: by its letter, or by its text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache

from .number import read_number
from .plain import BOXED, plain
from .statements import (
    ANSWER_WORD,
    CONCLUSION,
    CONDITION,
    REFUSAL,
    Statement,
    Strength,
    sentences,
    settled,
    stated,
    without_questions,
)
from .yes_no import read_yes_no

WORD = "A-Za-z0-9_"
JOINED = re.compile(
    r"\s*(?:(?P<comma>,)\s*(?:and|or|&)?|and|or|&|/|\+|nor|und|oder|et|ou|y|o|e|和|或者?|及|与)\s*", re.IGNORECASE
)
AFTER_LETTER = r"because|since|as|and|or|but|with|for|due|is|was|which|although|though|if|given"
"""Small words before which a lone A is a letter and not an article."""

CHOSEN = re.compile(
    r"\b(?:(?:i|we|i'd|we'd|i'll|you)\s+(?:would\s+|will\s+|should\s+|must\s+|have to\s+|can\s+)?"
    r"(?:choose|select|pick|go with|opt for|say|answer|guess|vote for|conclude)|go with|"
    r"corresponds? to|matches|match|that leaves|leaves (?:only|us with)|leaving(?: only)?|points? to|indicat(?:es|ing)|"
    r"best (?:described|represented) by|must be|should be|has to be|this is|it is|it's|that is|which is|is therefore"
    r"|is thus)"
    r"\s+(?:only\s+|just\s+|clearly\s+|that\s+|it(?:'s| is)\s+)?(?:the\s+)?(?:correct\s+|right\s+|best\s+)?"
    r"(?:(?:option|choice|answer|letter)\s*(?:is\s+)?:?\s*)?",
    re.IGNORECASE,
)
CALLED_RIGHT = re.compile(
    r"[^.\n!?]{0,40}?(?:\bis|\bwould be|\bmust be|\bseems)\s+(?:therefore\s+|thus\s+|indeed\s+|clearly\s+|also\s+"
    r"|most\s+likely\s+)?"
    r"(?:the\s+)?(?:only\s+|most\s+|best\s+|single\s+)?(?:right(?! [a-z])|right (?:answer|option|choice|one)|correct"
    r"|true|accurate|best|appropriate|suitable|answer|one that)"
    r"(?![A-Za-z])|\s*(?:best\s+)?(?:describes|matches|fits|represents|correctly)\b|\s*(?:是|为)?(?:正确|对)|\s*[✓✔✅]",
    re.IGNORECASE,
)
CALLED_WRONG = (
    r"(?:cannot|can't|can not|does ?n[o']t|do ?n[o']t|is ?n[o']t|are ?n[o']t|was ?n[o']t|won't|"
    r"(?:is|are|was|were|seems?|looks?|can be|could be|must be|would be)\s+(?:\w+ly\s+|both\s+|all\s+|also\s+)*"
    r"(?:not|wrong|incorrect|false|ruled out|eliminated|excluded|out\b|invalid|impossible|unlikely|inaccurate)|"
    r"[:,-]?\s*(?:wrong|incorrect|false|[✗✘❌])|(?:是)?错误|不(?:正确|对|是))"
)
REJECTING = (
    r"(?:\bnot|n't|\bnever|\bneither|\bexclud\w+|\beliminat\w+|\brul\w+ out|\breject\w*|\bdiscard\w*|\bdismiss\w*|"
    r"\brather than|\binstead of|\bunlike|\bexcept|不是|不选|排除)"
    r"(?:\s+(?:be|either|both|the|options?|choices?|answers?|that|it's|it|is))*\s*"
)
CORRECT, INCORRECT = (
    re.compile(r"\b(?:correct|right answer|true|matches|yes)\b|[✓✔✅]|正确", re.IGNORECASE),
    re.compile(
        r"\b(?:in|not )correct\b|\bwrong\b|\bfalse\b|\bnot\b|n't\b|\bruled out\b|\bno\b|[✗✘❌]|错误|不正确",
        re.IGNORECASE,
    ),
)
MENTION_NEGATED = re.compile(
    r"(?:\b(?:no|not|never|without|neither|nor|isn't|wasn't|aren't|doesn't|don't|cannot|can't|rather than|instead of|"
    r"unlike|different from|neither .{1,40} nor)|n't)(?:\s+[A-Za-z']+){0,3}\s*$",
    re.IGNORECASE,
)
INTERJECTION = re.compile(
    r"\b(?:all|you are|you're|that's|that is)\s+right\b|\bright (?:answer|option|choice|one|letter)\b|\bright(?=,)",
    re.IGNORECASE,
)
NAMED_BY = re.compile(
    r"(?:^|[\n.,;:!?(]|\b(?:options?|choices?|answers?|letter|statement|alternative|so|therefore|thus|hence|that|and"
    r"|then|only|but|"
    r"is|since|because|or|both|选项|选))\s*$",
    re.IGNORECASE,
)
"""What may stand before a lone capital that is an option and not the name of something ("angle A", "vitamin B")."""
PREFIXED = re.compile(rf"(?<![A-Za-z])(?:{ANSWER_WORD}|options)(?![A-Za-z])\s*(?:letter\s*)?:?\s*", re.IGNORECASE)
ASKED = re.compile(r"^\s*q(?:uestion)?\s*:.*\n+\s*a\s*:", re.IGNORECASE)


def read_choice(answer: str, options: Mapping[str, str], question: str = "") -> str | None:
    """The letter of the one option that the answer plainly gives; None where it gives none, or several.

    Args:
        answer: what was answered.
        options: letter -> text of the options, in their order. Letters are A to Z.
        question: lets an answer that says the question again choose between Yes and No.
    """
    return _reader(tuple(options.items())).read(answer, question) if options else None


@lru_cache(maxsize=256)
def _reader(options: tuple[tuple[str, str], ...]) -> _ChoiceReader:
    return _ChoiceReader(dict(options))


class _ChoiceReader:
    """The patterns of one set of options."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.texts = {letter: _folded(plain(text)) for letter, text in options.items()}
        upper = "".join(self.texts)
        either = upper + upper.lower()
        self.token = re.compile(
            rf"[(\[{{<]\s*(?P<bracketed>[{either}])\s*[)\]}}>][.:]?"
            rf"|(?<![{WORD}'])(?P<marked>[{either}])\s?[).:\]](?=\s|$|[^{WORD}.])"
            rf"|(?<![{WORD}'-])(?P<bare>[{upper}])(?![{WORD}'])(?!-[a-z])"
            rf"|(?<![{WORD}'])(?P<small>[{upper.lower()}])(?=\s*(?:$|\n|[.,;!]))"
        )
        self.absent = re.compile(rf"[(\[]?(?![{upper}])[B-HJ-Z](?![{WORD}'])")
        """A letter that is no option's: the answer gives none of them."""
        token = rf"(?:options?\s*|choices?\s*)?(?:[(\[]\s*[{either}]\s*[)\]]|(?<![{WORD}'])[{upper}](?![{WORD}']))"
        several = rf"{token}(?:(?:\s*(?:,|and|or|nor|&|/)\s*){{1,2}}{token}){{0,9}}"
        self.rejected = [
            re.compile(rf"(?i:{REJECTING}){several}"),
            re.compile(rf"{several}(?: ?\([^()\n]{{2,40}}\))? ?(?i:{CALLED_WRONG})[^.\n;]*"),
        ]
        self.item = re.compile(
            rf"^\W*(?:option\s+|choice\s+)?\(?([{upper}])\s*[).:\]]\s*(\S[^\n]*)$", re.IGNORECASE | re.MULTILINE
        )
        by_length = sorted({text for text in self.texts.values() if text}, key=len, reverse=True)
        words = [text for text in by_length if not re.fullmatch(r"[a-z]", text)]
        self.turned = {" ".join(reversed(text.split(" "))): text for text in words if text.count(" ") == 1}
        patterns = [_bounded(text) for text in sorted([*words, *self.turned], key=len, reverse=True)]
        self.any_text = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None
        self.lettered = {text: letter for letter, text in self.texts.items() if re.fullmatch(r"[a-z]", text)}
        self.letters_of = {
            text: [letter for letter, own in self.texts.items() if own == text] for text in set(by_length)
        }
        self.named = [
            (
                letter,
                re.compile(
                    rf"(?:\({letter}\)|(?<![{WORD}]){letter}[).:])[\s:,.-]*\(?{_bounded(text)}\)?", re.IGNORECASE
                ),
            )
            for letter, text in self.texts.items()
            if text
        ]
        self.echoed = [
            (
                letter,
                re.compile(rf"(?<![{WORD}])\(?{letter}\s*[).:\]-]?\s*{re.escape(text)}(?![{WORD}])", re.IGNORECASE),
            )
            for letter, text in self.texts.items()
            if text
        ]

    @cached_property
    def numeric(self) -> dict[str, list[str]] | None:
        """Letters by number where every option is one."""
        numbers: dict[str, list[str]] = {}
        for letter, text in self.texts.items():
            number = read_number(text)
            if number is None:
                return None
            numbers.setdefault(number, []).append(letter)
        return numbers

    @cached_property
    def polar(self) -> dict[str, str] | None:
        """Letters by Yes and No where these are the options."""
        found = {text.capitalize(): letter for letter, text in self.texts.items()}
        return found if set(found) == {"Yes", "No"} else None

    def read(self, answer: str, question: str) -> str | None:
        text = plain(answer)
        lone = re.fullmatch(r"[^A-Za-z0-9]*([A-Za-z])[^A-Za-z0-9]*", text)
        if lone and not BOXED.search(text):
            return lone[1].upper() if lone[1].upper() in self.texts else None
        exact = self._exact(text)
        if exact:
            return exact
        whole = self._without_echo(ASKED.sub("Answer:", text))
        text = self._letters_only(whole)
        statements = list(self._weighed(text))
        text = self._without_rejected(self._without_weighed(text))
        text = without_questions(text)
        statements += [*self._boxed(text), *self._called(text), *self._lines(text), *self._lead(text)]
        if all(statement.strength == Strength.MENTION for statement in statements):
            statements = self._mentioned(text, whole, question)
        return settled(statements, text)

    # Letters

    def _letters(self, text: str, at: int) -> tuple[str | None, int] | None:
        """(letter, end) of the option named at `at`; (None, end) where several are; None where none is."""
        found = self.token.match(text, at)
        if not found or self._is_article(found, text):
            return None
        letters, end = {self._letter(found)}, found.end()
        while len(letters) < 3 and (joint := JOINED.match(text, end)):
            following = self.token.match(text, joint.end()) or re.compile(r"options?\s*").match(text, joint.end())
            if following and following.re is not self.token:
                following = self.token.match(text, following.end())
            if not following or self._is_article(following, text):
                break
            if (
                joint["comma"]
                and joint[0].strip() == ","
                and not re.match(r"\s*(?:[,.;:)\]]|and|or|&|$)", text[following.end() : following.end() + 5])
            ):
                break
            letters.add(self._letter(following))
            end = following.end()
        return (letters.pop() if len(letters) == 1 else None), end

    def _letter(self, found: re.Match[str]) -> str:
        """The option named. Where the options' texts are small letters themselves, `(b)` is the one that reads (b)."""
        named: str = next(letter for letter in found.groups() if letter)
        return self.lettered.get(named, named.upper())

    def _is_article(self, found: re.Match[str], text: str) -> bool:
        """Whether a lone A (or I) begins a phrase: "A bit unclear". Not where its own option's text follows."""
        if self._letter(found) not in "AI" or found["bracketed"] or found["marked"] or found["small"]:
            return False
        rest = text[found.end() : found.end() + 200]
        if not re.match(r" +[A-Za-z0-9]", rest):
            return False
        own = self.texts[self._letter(found)]
        return not (re.match(rf" (?:{AFTER_LETTER})\b", rest) or (own and _folded(rest).startswith(own)))

    # Statements

    def _boxed(self, text: str) -> Iterator[Statement]:
        for box in BOXED.finditer(text):
            value = self._whole(box[1])
            if value:  # a number in a box may be a step on the way; a letter is not
                by_text = self._exact(box[1]) is not None
                yield Statement(Strength.ANSWER if by_text else Strength.BOXED, value[0], box.start(), box.end())

    def _whole(self, text: str) -> tuple[str | None] | None:
        """What a short text (a box, a line) gives as a whole: its letter, or its option text."""
        text = text.strip()
        lone = re.fullmatch(r"[^A-Za-z0-9]*([A-Za-z])[^A-Za-z0-9]*", text)
        if lone and lone[1].upper() in self.texts:
            return (lone[1].upper(),)
        named = self._letters(text, 0)
        if named:
            return (named[0],)
        exact = self._exact(text)
        return (exact,) if exact else None

    def _called(self, text: str) -> Iterator[Statement]:
        """Options that are called the answer, chosen, called right, or concluded."""
        for strength, start, at in stated(text):
            if self._is_conditional(text, start):
                continue
            named = self._letters(text, at)
            if named:
                yield Statement(strength, named[0], start, named[1])
                continue
            if self.absent.match(text, at):
                yield Statement(strength, None, start, at)
                continue
            phrase = re.compile(r"(?:[^.\n!?;]|\.(?=\d)){0,200}").match(text, at)
            value = self._text_in(phrase[0] if phrase else "")
            if value:
                yield Statement(strength, value, start, at + len(phrase[0] if phrase else ""))
        for found in CHOSEN.finditer(text):
            named = self._letters(text, found.end())
            if named and not self._is_conditional(text, found.start()):
                yield Statement(Strength.ANSWER, named[0], found.start(), named[1])
        for found in self.token.finditer(text):
            if found["small"] or self._is_article(found, text):
                continue
            if found["bare"] and not NAMED_BY.search(text[max(0, found.start() - 15) : found.start()]):
                continue
            right = CALLED_RIGHT.match(text, found.end())
            if right and not self.token.search(text, found.end(), right.end()):
                alone = self._letters(text, found.start())
                if alone and not self._is_conditional(text, found.start()):
                    several = JOINED.search(text[max(0, found.start() - 6) : found.start()] + "\n")
                    value = None if several and several[0].strip() not in ("", ",", "o", "e", "y") else alone[0]
                    yield Statement(Strength.ANSWER, value, found.start(), right.end())
        for found in CONCLUSION.finditer(text):
            named = self._letters(text, found.end())
            if named:
                yield Statement(Strength.ALONE, named[0], found.start(), named[1])
        for found in re.finditer(r"(?:\b(?:is|be|are)|[:=])\s+", text):
            named = self._letters(text, found.end())
            if (
                named
                and re.match(r"[\s.!)]*(?:$|\n)|[.!]\s", text[named[1] - 1 : named[1] + 19].lstrip(")]ABCDEFGH"))
                and not self._is_conditional(text, found.start())
            ):
                yield Statement(Strength.ALONE, named[0], found.start(), named[1])
        for found in PREFIXED.finditer(text):
            named = self._letters(text, found.end())
            if named and not self._is_conditional(text, found.start()):
                yield Statement(Strength.LEAD, named[0], found.start(), named[1])

    def _lines(self, text: str) -> Iterator[Statement]:
        """Lines that hold nothing but an option."""
        for found in re.finditer(r"[^\n]+", text):
            line = found[0]
            named = self._letters(line.strip(), 0)
            whole = re.fullmatch(r"[^A-Za-z0-9]*([A-Za-z])[^A-Za-z0-9]*", line)
            value: str | None
            if whole:
                value = whole[1].upper()
                if value not in self.texts:
                    continue
            elif named and _folded(line.strip()[named[1] :]) in ("", self.texts.get(named[0] or "")):
                value = named[0]
            elif exact := self._exact(line):
                # A number on a line of its own may be a step on the way.
                yield Statement(Strength.MENTION if self.numeric else Strength.ALONE, exact, found.start(), found.end())
                continue
            else:
                continue
            yield Statement(Strength.ALONE, value, found.start(), found.end())

    def _lead(self, text: str) -> Iterator[Statement]:
        """What the answer begins with."""
        begin = len(text) - len(text.lstrip(" \n\"'"))
        found = self.token.match(text, begin)
        if found and not self._is_article(found, text):
            marked = found["bracketed"] or found["marked"] or found["small"]
            reason = re.match(rf"\s*(?:[,;:.\n–—-]|(?:{AFTER_LETTER})\b|$)", text[found.end() : found.end() + 20])
            named = self._letters(text, begin)
            own = self.texts[self._letter(found)]
            if named and (
                marked or reason or named[0] is None or (own and _folded(text[found.end() :]).startswith(own))
            ):
                yield Statement(Strength.LEAD, named[0], begin, named[1])
                return
        first = re.match(r"[^\n.,;:!–—]+(?=[\n.,;:!]|\s[–—-]\s|$)", text)
        exact = self._exact(first[0]) if first else None
        if exact:
            yield Statement(Strength.LEAD, exact, 0, len(first[0] if first else ""))

    def _mentioned(self, text: str, whole: str, question: str) -> list[Statement]:
        """Options that are named by their own words, and one letter in brackets."""
        if REFUSAL.search(text):
            return []
        marked = {
            self._letter(each)
            for each in self.token.finditer(text)
            if each["bracketed"]
            and re.match(r"[\s.!]*(?:$|\n)|[.,;]", text[each.end() - 1 : each.end() + 20].lstrip(")]"))
        } | {letter for letter, pattern in self.named if pattern.search(whole)}
        if len(marked) == 1:
            return [Statement(Strength.MENTION, marked.pop(), 0, len(text))]
        if self.polar:
            said = read_yes_no(text, question)
            return [Statement(Strength.MENTION, self.polar[said], 0, 0)] if said else []
        if self.numeric:
            number = read_number(text)
            same = self.numeric.get(number or "", [])
            return [Statement(Strength.MENTION, same[0], 0, 0)] if len(same) == 1 else []
        parts = [part for _, part in sentences(text)]
        concluding = [part for part in parts if CONCLUSION.match(part.lstrip())]
        texts = {self._text_in(part) for part in (text, concluding[-1] if concluding else text)}
        value = texts.pop() if len(texts) == 1 else None
        if not value and concluding and self._text_in(parts[0]) in (None, self._text_in(concluding[-1])):
            value = self._text_in(concluding[-1])
        return [Statement(Strength.MENTION, value, 0, 0)] if value and len(parts) <= 40 else []

    def _is_conditional(self, text: str, at: int) -> bool:
        begin = max(text.rfind(mark, max(0, at - 300), at) for mark in (". ", "\n", "; ", "! ", "? ")) + 1
        return bool(CONDITION.match(text[begin:at] + " ")) and "if " in text[begin : begin + 12].lower()

    # Texts

    def _exact(self, text: str) -> str | None:
        folded = _folded(text)
        for form in (folded, re.sub(r"^(?:a|an|the|it is|it's|option) ", "", folded)):
            letters = self.letters_of.get(form, [])
            if form and letters:
                return letters[0] if len(letters) == 1 else None
        return None

    def _text_in(self, text: str) -> str | None:
        """The one option whose text occurs, as words of their own and not negated; longer texts take precedence."""
        if self.any_text is None:
            return None
        text = INTERJECTION.sub(" ", text)
        found: set[str] = set()
        text = _spaced(text)
        for each in self.any_text.finditer(text):
            if not MENTION_NEGATED.search(text[max(0, each.start() - 60) : each.start()]):
                words = _folded(each[0])
                found.add(words if words in self.letters_of else self.turned.get(words, words))
        letters = self.letters_of.get(found.pop(), []) if len(found) == 1 else []
        return letters[0] if len(letters) == 1 else None

    # What states nothing

    def _without_echo(self, text: str) -> str:
        """The options repeated one after another are no answer."""
        spans: list[tuple[int, int]] = []
        at = 0
        while True:
            run: list[re.Match[str]] = []
            end = at
            for _, pattern in self.echoed:
                found = pattern.search(text, end)
                if not found:
                    continue
                if run and not re.fullmatch(r"[\s,;.|/]*(?:and|or)?\s*", text[end : found.start()]):
                    break
                run.append(found)
                end = found.end()
            if len(run) < 2 or len(run) < len(self.echoed) - 1:
                break
            spans.append((run[0].start(), end))
            at = end
        for start, end in reversed(spans):
            text = text[:start] + "\n" + text[end:].lstrip(" .,;")
        return text

    def _letters_only(self, text: str) -> str:
        """`(B) False` becomes `(B)`: an option's own words beside its letter deny nothing ("False", "can't tell")."""
        for letter, pattern in self.named:
            text = pattern.sub(f"({letter})", text)
        return text

    def _items(self, text: str) -> list[re.Match[str]]:
        """The lines of a list that goes through the options one by one."""
        items = list(self.item.finditer(text))
        letters = [item[1].upper() for item in items]
        return items if len(letters) >= 2 and letters == sorted(set(letters)) else []

    def _weighed(self, text: str) -> Iterator[Statement]:
        for item in self._items(text):
            if (
                CORRECT.search(item[2])
                and not INCORRECT.search(item[2])
                and not re.search(r"\b(?:if|would)\b", item[2])
            ):
                yield Statement(Strength.ANSWER, item[1].upper(), item.start(), item.end())

    def _without_weighed(self, text: str) -> str:
        for item in reversed(self._items(text)):
            text = text[: item.start()] + text[item.end() :]
        return text

    def _without_rejected(self, text: str) -> str:
        for pattern in self.rejected:
            text = pattern.sub(" ", text)
        return text


def _spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _folded(text: str) -> str:
    """For comparison: one space between words, no marks around, no case."""
    return re.sub(r"[°^]\s*$", "°", _spaced(text).strip(" .,:;!\"'()[]{}*-\ue000\ue001")).casefold()


def _bounded(text: str) -> str:
    """A pattern for the text as words of their own."""
    before = rf"(?<![{WORD}])(?<![{WORD}][-.,])" if re.match(rf"[{WORD}]", text) else ""
    after = rf"(?![{WORD}])(?![.,'-][{WORD}])" if re.search(rf"[{WORD}]$", text) else ""
    return before + re.escape(text) + after
