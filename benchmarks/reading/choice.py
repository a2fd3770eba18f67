"""Which option an answer gives: by its letter, or by its text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from typing import NamedTuple

from .number import HINT, content, read_number, tokens
from .plain import BOXED, plain
from .restated import opposed
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
from .yes_no import read_yes_no, takes_back

WORD = "A-Za-z0-9_"
JOINED = re.compile(
    r"\s*(?:(?P<comma>,)\s*(?:and|(?:or|maybe|perhaps)(?:\s+(?:possibly|perhaps|maybe|even))?|&)?|and|or(?:\s+(?:possibly|perhaps|maybe|even))?|&|/|\+|nor|und|oder|et|ou|y|o|e|和|或者?|及|与)\s*",
    re.IGNORECASE,
)
AFTER_LETTER = r"because|since|as|and|or|but|with|for|due|is|was|which|although|though|if|given"
"""Small words before which a lone A is a letter and not an article."""

CHOSEN = re.compile(
    r"\b(?:(?:i|we|i'd|we'd|i'll|you)\s+(?:would\s+|will\s+|should\s+|must\s+|have to\s+|can\s+)?"
    r"(?:choose|select|pick|go (?:with|for)|opt for|say|answer|guess|vote(?: for)?|conclude)|go with|going (?:with|for)"
    r"|settle on|left with|correct:|lean(?:ing)? (?:towards?|to)|sondern|sino|"
    r"corresponds? to|matches|match|that leaves|leaves (?:only|us with)|leaving(?: only)?|points? to|indicat(?:es|ing)|"
    r"best (?:described|represented) by|must be|should be|has to be|this is|it is|it's|that is|which is|is therefore"
    r"|is thus)"
    r"\s+(?:only\s+|just\s+|clearly\s+|that\s+|it(?:'s| is)\s+)?(?:most likely\s+|probably\s+|likely\s+|definitely\s+)?"
    r"(?:the\s+)?(?:correct\s+|right\s+|best\s+)?"
    r"(?:(?:first|second|third|fourth|last)\s+(?=option|choice|answer))?"
    r"(?:(?:option|choice|answer|letter)\s*(?:is\s+)?(?:number\s+|no\.\s*)?(?:\d\s?[,:]\s*)?[:,]?\s*)?",
    re.IGNORECASE,
)
CALLED_RIGHT = re.compile(
    r"[^.\n!?]{0,40}?(?:\bis|\bwould be|\bmust be|\bseems)\s+(?:therefore\s+|thus\s+|indeed\s+|clearly\s+|also\s+"
    r"|most\s+likely\s+)?"
    r"(?:the\s+)?(?:only\s+|most\s+|best\s+|single\s+)?(?:right(?! [a-z])|right (?:answer|option|choice|one)|correct"
    r"|true|accurate|best|appropriate|suitable|answer|one that)"
    r"(?![A-Za-z])|\s+it is(?=\s*(?:[.!]|$))"
    r"|\s*(?:best\s+)?(?:describes|matches|fits|represents|correctly)\b|\s*(?:是|为)?(?:正确|对)|\s*[✓✔✅]",
    re.IGNORECASE,
)
CALLED_WRONG = (
    r"(?:cannot|can't|can not|does ?n[o']t|do ?n[o']t|is ?n[o']t|are ?n[o']t|was ?n[o']t|won't|"
    r"(?:is|are|was|were|seems?|looks?|can be|could be|must be|would be)\s+(?:\w+ly\s+|both\s+|all\s+|also\s+)*"
    r"(?:not|wrong|incorrect|false|ruled out|eliminated|excluded|out\b|invalid|impossible|unlikely|inaccurate)|"
    r"[:,-]?\s*(?:wrong|incorrect|false|[✗✘❌])|(?:是)?错误|不(?:正确|对|是))"
)
WRONG_NEXT = re.compile(rf"\s*{CALLED_WRONG}", re.IGNORECASE)
SIDE = re.compile(r"\b(left|right)-hand\b", re.IGNORECASE)
REPEATED = re.compile(r"\W*([A-Z])(?:[\W]+\1)+\W*")
RATIO = re.compile(r"(?<![\w.:])(\d+) to (\d+)(?![\w:]|\.\d)")
AT_THE_END = re.compile(r"(?<![A-Z)\]]),\s+(?=[(\[]?[A-Z][)\]]?[.!]?$)")
NAMED_OPTION = re.compile(r"\b(?:option|choice|letter) $")
REST_OF_CLAUSE = re.compile(r"[\s:.-]*([^\n.,;!()\[\]\ue000\ue001]{1,200})(?=[\n.,;!()\[\]\ue000\ue001]|$)")
THIRD_PERSON = re.compile(r"^(stay|remain|become|move|turn)s ")
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
    r"unlike|different from|neither .{1,40} nor)|n't)(?:\s+[A-Za-z']+){0,3}(?:\s+n?or(?:\s+an?)?)?\s*$",
    re.IGNORECASE,
)
INTERJECTION = re.compile(
    r"\b(?:all|you are|you're|that's|that is)\s+right\b|\bright (?:answer|option|choice|letter)\b|\bright(?=,)",
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
SUPPOSED = re.compile(
    r"^\W*(?:if|when|since|as|once|given that|assuming)\b[^,.\n]{3,120},", re.IGNORECASE | re.MULTILINE
)
"""What the question supposes, said again: "If pelicans increase, ..."."""
ENDED = re.compile(
    r"(?:\b(?:is|are|be|equals?|equal to|therefore)|=)\s+(?:approximately |about |equal to |the )?"
    r"(?P<what>[^,;=]{1,60}?)(?: (?:square )?units?)?[\s.!]*$",
    re.IGNORECASE,
)
EXPLAINS = re.compile(
    r",?\s(?:because|since|than|compared|while|whereas|which|where)\b|,\s(?:who|whose)\b",
    re.IGNORECASE,
)
CONTRASTS = re.compile(r",?\s(?:while|whereas)\s", re.IGNORECASE)
AS = re.compile(r",?\sas\b", re.IGNORECASE)
REASON = re.compile(r",?\s(?:because|since|as)\b", re.IGNORECASE)
CLAUSES = re.compile(r";|,\s(?:but|while|whereas|although)\s|\s(?:because|since)\s|,\sas\s")
EXAMPLE = re.compile(r"\W*(?:for (?:example|instance)|e\.g\.|such as)\b", re.IGNORECASE)
TURNS = re.compile(r"\b(?:but|however)\b", re.IGNORECASE)
BEGINS = re.compile(r"^(?:(?:it|they) (?:would|will)|an?|the) (?=\S)")
"""What an option's text may begin with, and an answer leave out."""
VERB = r"(?:[a-z]?ed|ing|s|d)?"
"""Endings of a verb that is an option: "flip" - "it has been flipped"."""
ASKED_AND_SAID = re.compile(
    r"(?<![A-Za-z])\(?(?P<letter>[A-Z])\)?\s?(?:\?|\s[-–—]\s|[:=])\s*"
    r"(?P<said>yes|no|true|false|correct|incorrect|right|wrong)\s*(?=[.,;!\n]|$)",
    re.IGNORECASE,
)
"""Options asked about one by one: "A? No. B? Yes.", "A: false, B: true"."""
SURELY = re.compile(
    r"\W*(?:definitely|certainly|probably|most likely|likely|surely|clearly|obviously|undoubtedly|no,)\s+(?=\S)",
    re.IGNORECASE,
)
LABELS = re.compile(
    r"letter [A-Z]\s+(?:marks|labels|denotes|stands|shows|points|indicates|represents)\b", re.IGNORECASE
)
"""A letter that is written in the picture."""
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
BY_PLACE = re.compile(
    rf"\W*(?:(?:i|we) (?:would |will )?(?:choose|pick|select) |(?:the )?(?:correct )?answer is |it(?:'s| is) )?"
    rf"(?:(?:the )?(?P<ordinal>{'|'.join(ORDINALS)}|last) (?:option|choice|answer|one)|(?:option|choice"
    rf"|answer) (?:number |no\. ?|#)?"
    r"(?P<number>[1-8]))(?: is (?:the )?(?:correct|right|true)(?: (?:one|option|choice|answer))?)?\W*",
    re.IGNORECASE,
)
"""An answer that is nothing but an option's place in their order."""
VALUED = re.compile(
    r"(?P<number>-?\d[\d.,/]*)[%°]?(?: [a-z^\d]+){0,3}, (?:which|and (?:this|that)|this|that) $", re.IGNORECASE
)
GREATER_THAN = re.compile(r"\b(?:than|least|most|below|above|over|under|exceeds?)\s[$€£]?$", re.IGNORECASE)
BOTH_NAMED = re.compile(r"\s*(?:$|[.,;!?\n]|(?:are|were|both|can|could)\b)", re.IGNORECASE)
"""Behind two options, where the second begins no sentence of its own: "A cat and a dog."."""
COMPARES_FIRST = re.compile(
    r"\W*(?:compared|unlike|than|while|although|though|if|in contrast|as|between)\b", re.IGNORECASE
)
IDENTIFIER = re.compile(r"\b(options?|choice|answer)_(?=[A-Z]\b)", re.IGNORECASE)
ASKED = re.compile(r"^\s*q(?:uestion)?\s*:.*\n+\s*a\s*:", re.IGNORECASE)


def read_choice(answer: str, options: Mapping[str, str], question: str = "") -> str | None:
    """The letter of the one option that the answer plainly gives; None where it gives none, or several.

    Args:
        answer: what was answered.
        options: letter -> text of the options, in their order. Letters are A to Z.
        question: lets an answer that says the question again choose between Yes and No.
    """
    return _reader(tuple(options.items())).read(answer, question) if options else None


@lru_cache(maxsize=1024)
def _reader(options: tuple[tuple[str, str], ...]) -> _ChoiceReader:
    return _ChoiceReader(dict(options))


class _LetterPatterns(NamedTuple):
    """What depends on an answer's possible letters alone."""

    token: re.Pattern[str]
    absent: re.Pattern[str]
    """A letter that is no option's: the answer gives none of them."""
    rejected: tuple[re.Pattern[str], re.Pattern[str]]
    item: re.Pattern[str]


@lru_cache(maxsize=64)
def _letter_patterns(upper: str) -> _LetterPatterns:
    either = upper + upper.lower()
    token = rf"(?:options?\s*|choices?\s*)?(?:[(\[]\s*[{either}]\s*[)\]]|(?<![{WORD}'])[{upper}](?![{WORD}']))"
    several = rf"{token}(?:(?:\s*(?:,|and|or|nor|&|/)\s*){{1,2}}{token}){{0,9}}"
    return _LetterPatterns(
        token=re.compile(
            rf"[(\[{{<]\s*(?P<bracketed>[{either}])\s*[)\]}}>][.:]?"
            rf"|(?<![{WORD}'])(?P<marked>[{either}])\s?[).:\]](?=\s|$|[^{WORD}.])"
            rf"|(?<![{WORD}'-])(?P<bare>[{upper}])(?![{WORD}'])(?!-[a-z])"
            rf"|(?<![{WORD}'])(?P<small>[{upper.lower()}])(?=\s*(?:$|\n|[,;!]|\.(?![A-Za-z])))"
        ),
        absent=re.compile(rf"[(\[]?(?![{upper}])[B-HJ-Z](?![{WORD}'])"),
        rejected=(
            re.compile(rf"(?i:{REJECTING}){several}"),
            re.compile(rf"{several}(?: ?\([^()\n]{{2,40}}\))? ?(?i:{CALLED_WRONG})[^.\n;]*"),
        ),
        item=re.compile(
            rf"^\W*(?:option\s+|choice\s+)?\(?([{upper}])\s*[).:\]]\s*(\S[^\n]*)$", re.IGNORECASE | re.MULTILINE
        ),
    )


class _ChoiceReader:
    """The patterns of one set of options."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.texts = {letter: _folded(plain(text)) for letter, text in options.items()}
        self.token, self.absent, self.rejected, self.item = _letter_patterns("".join(self.texts))
        by_length = sorted({text for text in self.texts.values() if text}, key=lambda text: (-len(text), text))
        words = [text for text in by_length if not re.fullmatch(r"[a-z]", text)]
        self.turned = {" ".join(reversed(text.split(" "))): text for text in words if text.count(" ") == 1}
        self.lettered = {text: letter for letter, text in self.texts.items() if re.fullmatch(r"[a-z]", text)}
        self.letters_of = {text: [letter for letter, own in self.texts.items() if own == text] for text in by_length}
        for text in list(self.letters_of):
            short = BEGINS.sub("", text)
            if short not in self.letters_of and not re.fullmatch(r"[a-z]", short):
                self.letters_of[short] = self.letters_of[text]
        keys = [_key(text) for text in self.letters_of]  # of "cat" and "cats" one: then only the text itself tells
        self.same = {key: text for key, text in zip(keys, self.letters_of, strict=True) if keys.count(key) == 1}
        self.words = [text for text in self.letters_of if text not in self.lettered]

    # Patterns of the texts are made when an answer asks for them: most give a letter and nothing else.

    @cached_property
    def any_text(self) -> re.Pattern[str] | None:
        """An option's text; None where all are single letters."""
        patterns = [_bounded(text) for text in sorted([*self.words, *self.turned], key=len, reverse=True)]
        return re.compile("|".join(patterns), re.IGNORECASE) if patterns else None

    @cached_property
    def named(self) -> list[tuple[str, re.Pattern[str]]]:
        """By letter: it, with its own text behind it."""
        return [
            (
                letter,
                re.compile(
                    rf"(?:\({letter}\)|(?<![{WORD}]){letter}(?:[).:]|(?= ?\()))[\s:,.-]*\(?{_bounded(text)}\)?",
                    re.IGNORECASE,
                ),
            )
            for letter, text in self.texts.items()
            if text
        ]

    @cached_property
    def echoed(self) -> list[tuple[str, re.Pattern[str]]]:
        """By letter: it and its text as the question lists them."""
        return [
            (
                letter,
                re.compile(rf"(?<![{WORD}])\(?{letter}\s*[).:\]-]?\s*{re.escape(text)}(?![{WORD}])", re.IGNORECASE),
            )
            for letter, text in self.texts.items()
            if text
        ]

    @cached_property
    def sentences(self) -> dict[str, list[str]]:
        """The words, by letter, of the options that are sentences of at least three."""
        found = {letter: re.findall(r"[a-z0-9]+", BEGINS.sub("", text)) for letter, text in self.texts.items()}
        return {letter: words for letter, words in found.items() if len(words) >= 3}

    @cached_property
    def own_words(self) -> dict[str, tuple[str, set[str]]]:
        """By letter, for options of two or three words: their last word, where no other holds it, and others' words."""
        words = {letter: [stem(word) for word in re.findall(r"[a-z]{4,}", text)] for letter, text in self.texts.items()}
        found = {}
        for letter, own in words.items():
            others = {word for each, theirs in words.items() if each != letter for word in theirs}
            if len(own) == 2 and own[-1] not in others:
                found[letter] = own[-1], others - set(own)
        return found

    @cached_property
    def numeric(self) -> dict[str, list[str]] | None:
        """Letters by number where every option is one."""
        numbers: dict[str, list[str]] = {}
        for letter, text in self.texts.items():
            number = read_number(text)
            if number is None:
                return None
            numbers.setdefault(number, []).append(letter)
        return numbers if len(numbers) > 1 else None  # "Jan '21", "Feb '21": numbers that tell nothing apart

    @cached_property
    def ratios(self) -> bool:
        """Whether every option is one number to another."""
        return all(re.fullmatch(r"\d+ ?: ?\d+", text) for text in self.texts.values())

    @cached_property
    def polar(self) -> dict[str, str] | None:
        """Letters by Yes and No where these are the options."""
        words = {"true": "Yes", "false": "No"}
        found = {words.get(text, text.capitalize()): letter for letter, text in self.texts.items()}
        return found if set(found) == {"Yes", "No"} else None

    def read(self, answer: str, question: str) -> str | None:
        text = re.sub(r"\.{2,}\s*(?=or\b)", " ", IDENTIFIER.sub(r"\1 ", plain(answer)))
        text = SIDE.sub(r"\1", text)
        lone = re.fullmatch(r"[^A-Za-z0-9]*([A-Za-z])[^A-Za-z0-9]*", text)
        if lone and not BOXED.search(text):
            return lone[1].upper() if lone[1].upper() in self.texts else None
        repeated = REPEATED.fullmatch(text)
        if repeated and repeated[1] in self.texts and not BOXED.search(text):
            return repeated[1]
        exact = self._exact(text) or self._by_place(text)
        if exact:
            return exact
        if self.ratios:
            text = RATIO.sub(r"\1:\2", text)
        whole = self._without_echo(ASKED.sub("Answer:", text))
        text = self._letters_only(whole)
        statements = [*self._weighed(text), *self._asked_and_said(text)]
        text = self._without_rejected(self._without_weighed(text))
        text = without_questions(text)
        statements += [*self._boxed(text), *self._called(text), *self._lines(text), *self._lead(text, question)]
        if all(statement.strength == Strength.MENTION for statement in statements):
            statements = self._mentioned(text, whole, question)
        return settled(statements, text)

    def _by_place(self, text: str) -> str | None:
        """The option whose place in their order the whole answer names; not where options are places or numbers."""
        found = BY_PLACE.fullmatch(text)
        if (
            not found
            or self.numeric
            or any(re.search("|".join([*ORDINALS, "last"]), each) for each in self.texts.values())
        ):
            return None
        letters = list(self.texts)
        if (found["ordinal"] or "").lower() == "last":
            return letters[-1]
        place = int(found["number"]) if found["number"] else ORDINALS.index(found["ordinal"].lower()) + 1
        return letters[place - 1] if place <= len(letters) else None

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
                and not (following["bracketed"] and following[0].endswith("."))
                and not re.match(r"\s*(?:[,.;:)\]]|and|or|&|$)", text[following.end() : following.end() + 5])
            ):
                break
            letters.add(self._letter(following))
            end = following.end()
        if len(letters) == 1 and (found["bracketed"] or found["marked"]) and self._contradicted(text, end, *letters):
            return None, end
        return (letters.pop() if len(letters) == 1 else None), end

    def _contradicted(self, text: str, at: int, letter: str) -> bool:
        """Whether another option's text, and nothing else, stands behind the letter: "C. dog"."""
        clause = REST_OF_CLAUSE.match(text, at)
        letters = self.letters_of.get(_folded(clause[1]), []) if clause else []
        return bool(letters) and letter not in letters

    def _letter(self, found: re.Match[str]) -> str:
        """The option named. Where the options' texts are small letters themselves, `(b)` is the one that reads (b)."""
        named: str = next(letter for letter in found.groups() if letter)
        return self.lettered.get(named, named.upper())

    def _is_article(self, found: re.Match[str], text: str) -> bool:
        """Whether a lone A (or I) begins a phrase: "A bit unclear". Not where its own option's text follows."""
        if self._letter(found) not in "AI" or found["bracketed"] or found["marked"] or found["small"]:
            return False
        rest = text[found.end() : found.end() + 200]
        if not re.match(r" +[A-Za-z0-9]", rest) or NAMED_OPTION.search(
            text[max(0, found.start() - 12) : found.start()]
        ):
            return False
        own = self.texts[self._letter(found)]
        return not (re.match(rf" (?:{AFTER_LETTER})\b", rest) or (own and _folded(rest).startswith(own)))

    # Statements

    def _boxed(self, text: str) -> Iterator[Statement]:
        for box in BOXED.finditer(text):
            value = self._whole(box[1])
            if WRONG_NEXT.match(text[box.end() : box.end() + 60]):
                continue
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
                value = None if self._is_valued_otherwise(text, found.start(), named[0]) else named[0]
                yield Statement(Strength.ANSWER, value, found.start(), named[1])
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
        last = AT_THE_END.search(text)
        named = self._letters(text, last.end()) if last else None
        if last and named and not self._is_conditional(text, last.start()):
            yield Statement(Strength.ALONE, named[0], last.start(), named[1])
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
            if named and not self._is_conditional(text, found.start()) and not LABELS.match(text, found.start()):
                yield Statement(Strength.LEAD, named[0], found.start(), named[1])

    def _is_valued_otherwise(self, text: str, at: int, letter: str | None) -> bool:
        """Whether the number just before is another option's: "The total is 180, which corresponds to option C"."""
        before = VALUED.search(text, max(0, at - 60), at) if self.numeric else None
        letters = (self.numeric or {}).get(read_number(before["number"]) or "", []) if before else []
        return bool(letters) and letter not in letters

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

    def _lead(self, text: str, question: str) -> Iterator[Statement]:
        """What the answer begins with."""
        surely = SURELY.match(text)
        begin = surely.end() if surely else len(text) - len(text.lstrip(" \n\"'"))
        found = self.token.match(text, begin)
        if found and not self._is_article(found, text):
            marked = found["bracketed"] or found["marked"] or found["small"]
            reason = re.match(rf"\s*(?:[,;:.!\n–—-]|(?:{AFTER_LETTER})\b|$)", text[found.end() : found.end() + 20])
            named = self._letters(text, begin)
            own = self.texts[self._letter(found)]
            if named and self._goes_on_to_another(text[found.end() : found.end() + 400], self._letter(found)):
                named = None, named[1]
            if named and (
                marked or reason or named[0] is None or (own and _folded(text[found.end() :]).startswith(own))
            ):
                yield Statement(Strength.LEAD, named[0], begin, named[1])
                return
        first = re.match(r"[^\n.,;:!–—]+(?=[\n.,;:!]|\s[–—-]\s|$)", text)
        exact = self._exact(first[0]) if first else None
        if exact and re.match(r"right,", text, re.IGNORECASE):
            return  # "Right, let me see."
        if first and exact and self.polar:
            said = next((word for word, letter in self.polar.items() if letter == exact), None)
            if takes_back(said, text[first.end() :], question):
                exact = None
                yield Statement(Strength.LEAD, None, 0, len(text))
        if exact:
            yield Statement(Strength.LEAD, exact, 0, len(first[0] if first else ""))

    def _goes_on_to_another(self, rest: str, letter: str) -> bool:
        """Whether another option is joined to the letter, or to its own text behind it: "A cat or a dog"."""
        said = re.match(rf"(?:\W*{_bounded(self.texts[letter])})?", rest, re.IGNORECASE)
        joint = JOINED.match(rest, said.end()) if said else None
        if not joint or joint[0].strip() in ("", ","):
            return False
        named = self._letters(rest, joint.end())
        if named and named[0] != letter:
            return True
        article = re.compile(r"(?:an?|the)\s+", re.IGNORECASE).match(rest, joint.end())
        other = self.any_text.match(rest, article.end() if article else joint.end()) if self.any_text else None
        if not other or self._exact(other[0]) in (None, letter):
            return False
        return joint[0].strip().lower() == "or" or bool(BOTH_NAMED.match(rest, other.end()))

    def _mentioned(self, text: str, whole: str, question: str) -> list[Statement]:
        """Options that are named by their own words, and one letter in brackets."""
        if any(each[0].lower() not in question.lower() for each in REFUSAL.finditer(text)):
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
        ended = self._ended(text)
        if self.numeric:
            number = read_number(text, HINT.sub("", question))
            same = self.numeric.get(number or "", [])
            value = same[0] if len(same) == 1 else None
            if number is None:
                value = ended or self._only_number(text, question)
            elif not same and "=" not in text:
                value = ended
            return [Statement(Strength.MENTION, value, 0, 0)] if value else []
        text = SUPPOSED.sub("", text)
        parts = [part for _, part in sentences(text)]
        concluding = [part for part in parts if CONCLUSION.match(part.lstrip())]
        texts = {self._text_in(part) for part in (text, concluding[-1] if concluding else text)}
        value = texts.pop() if len(texts) == 1 else None
        if not value and concluding and self._text_in(parts[0]) in (None, self._text_in(concluding[-1])):
            value = self._text_in(concluding[-1])
        value = (
            value
            or self._by_question(parts, HINT.sub("", question))
            or self._first_clause(parts[0] if parts else "", question)
            or ended
            or (self._said_again(parts[0]) if parts else None)
            or self._told_apart(parts, question)
        )
        return [Statement(Strength.MENTION, value, 0, 0)] if value and len(parts) <= 40 else []

    def _ended(self, text: str) -> str | None:
        """The option that the last sentence, or its part before an explanation, ends with, behind "is" or "="."""
        last = [part for _, part in sentences(text) if re.search(r"\w", part)][-1:]
        for sentence in (last[0], REASON.split(last[0])[0]) if last else ():
            found = ENDED.search(sentence)
            if found and (letter := self._exact(_spaced(found["what"]))):
                return letter
        return None

    def _only_number(self, text: str, question: str) -> str | None:
        """The option whose number is the only one of them in a single sentence, and not in the question."""
        if not self.numeric or len([part for _, part in sentences(text) if re.search(r"\w", part)]) != 1:
            return None
        asked = {token.value for token in tokens(HINT.sub("", question), words=False)}
        found = {
            token.value
            for token in tokens(text, words=False)
            if not GREATER_THAN.search(text[max(0, token.start - 12) : token.start])
        } & set(self.numeric) - asked
        letters = self.numeric[found.pop() or ""] if len(found) == 1 else []
        return letters[0] if len(letters) == 1 else None

    def _by_question(self, parts: list[str], question: str) -> str | None:
        """The option that the clauses name which say most of the question again, where first and last agree."""
        wanted = content(question.rstrip().rsplit(". ", 1)[-1])
        covering: list[tuple[float, str]] = []
        for clause in (clause for part in parts for clause in CLAUSES.split(part)):
            covered = 0 if EXAMPLE.match(clause) else len(wanted & content(clause))
            near = covered >= 2 and covered >= 0.6 * len(wanted)
            value = (self._text_in(clause) or (self._behind_is(clause) if len(parts) == 1 else None)) if near else None
            if value:
                covering.append((covered / len(wanted), value))
        most = max((share for share, _ in covering), default=0)
        values = [value for share, value in covering if share >= most - 0.01]
        return values[0] if values and values[0] == values[-1] else None

    def _behind_is(self, clause: str) -> str | None:
        """The option directly behind the one "is" of a clause: "... is the adult class in figure skating"."""
        behind = re.findall(r"\b(?:is|are|was|were)\s+(?:the |an? )?([^,;:]+)", clause)
        if len(behind) != 1:
            return None
        words = behind[0].split()
        for count in range(1, min(len(words), 12) + 1):
            found = self._exact(" ".join(words[:count]))
            if (
                found
                and words[count : count + 1]
                and words[count] in ("in", "of", "on", "at", "with", "from", "for", "by")
            ):
                return found
        return None

    def _said_again(self, sentence: str) -> str | None:
        """The one option whose words the sentence says in their order, or whose own word it says."""
        clause = CLAUSES.split(SUPPOSED.sub("", sentence))[0]
        named = self.any_text and self.any_text.search(_spaced(clause))
        if named or REJECTED_SENTENCE.search(clause) or len(clause.split()) > 40:
            return None
        said = re.findall(r"[a-z0-9]+", clause.lower())
        again = [letter for letter, words in self.sentences.items() if _in_order(words, said)]
        if not again and len(said) <= 8:
            stems = {stem(word) for word in said}
            again = [
                letter for letter, (word, others) in self.own_words.items() if word in stems and not others & stems
            ]
        return again[0] if len(again) == 1 else None

    def _told_apart(self, parts: list[str], question: str) -> str | None:
        """The option of which an answer says every word that tells options apart, none of another's and little else."""
        clauses = [each for each in parts if re.search(r"\w", each) and not REJECTED_SENTENCE.search(each)]
        if len(clauses) != 1 or len(clauses[0].split()) > 20 or len(parts) > 2:
            return None
        said = {stem(word) for word in re.findall(r"[a-z0-9]+", clauses[0].lower())}
        words = {letter: {stem(word) for word in re.findall(r"[a-z0-9]+", text)} for letter, text in self.texts.items()}
        common = set.intersection(*words.values()) | {"a", "an", "the", "and", "or", "of", "to", "in", "it", "not"}
        telling = {letter: own - common for letter, own in words.items()}
        others = content(clauses[0]) - content(question) - content(" ".join(self.texts.values()))
        if len(others) > 2:
            return None
        said &= set().union(*telling.values())
        found = [
            letter
            for letter, own in telling.items()
            if own and own == said and (len(own) > 1 or len(clauses[0].split()) <= 2)
        ]
        return found[0] if len(found) == 1 and not re.search(r"\bor\b", clauses[0]) else None

    def _first_clause(self, sentence: str, question: str) -> str | None:
        """The option that the first sentence names before it compares or explains: "Red is less than green".

        None where it compares the other way round than the question does.
        """
        if COMPARES_FIRST.match(sentence) or TURNS.search(sentence) or opposed(sentence, question):
            return None
        first, *others = CONTRASTS.split(sentence)
        if any((content(other) - content(first)) & content(question) for other in others):
            return None  # the question asks for both
        clause = EXPLAINS.split(sentence)
        value = self._text_in(clause[0]) if len(clause) > 1 else None
        clause = AS.split(clause[0])
        return value or (self._text_in(clause[0]) if len(clause) > 1 else None)

    def _is_conditional(self, text: str, at: int) -> bool:
        begin = max(text.rfind(mark, max(0, at - 300), at) for mark in (". ", "\n", "; ", "! ", "? ")) + 1
        return bool(CONDITION.match(text[begin:at] + " ")) and bool(
            re.match(r"\W*(?:if |otherwise|had |were )", text[begin : begin + 15], re.IGNORECASE)
        )

    # Texts

    def _exact(self, text: str) -> str | None:
        folded = _folded(text)
        for form in (folded, re.sub(r"^(?:a|an|the|it is|it's|option) ", "", folded)):
            letters = self.letters_of.get(form, [])
            if form and letters:
                return letters[0] if len(letters) == 1 else None
        letters = self.letters_of.get(self.same.get(_key(folded), ""), []) if re.search(r"[^\W\d]", folded) else []
        return letters[0] if len(letters) == 1 else None

    def _text_in(self, text: str) -> str | None:
        """The one option whose text occurs, as words of their own and not negated; longer texts take precedence."""
        if self.any_text is None:
            return None
        text = INTERJECTION.sub(" ", text)
        found: set[str] = set()
        owners: set[str] = set()
        text = _spaced(text)
        for each in self.any_text.finditer(text):
            if not MENTION_NEGATED.search(text[max(0, each.start() - 60) : each.start()]):
                words = THIRD_PERSON.sub(r"\1 ", _folded(each[0]))
                owns = re.match(r"'s\b", text[each.end() : each.end() + 2])  # "the cat's tail" is no cat, but names one
                (owners if owns else found).add(
                    self.same.get(_key(words)) or self.turned.get(words) or self._of_form(words)
                )
        letters = self.letters_of.get(found.pop(), []) if len(found) == 1 and owners <= found else []
        return letters[0] if len(letters) == 1 else None

    def _of_form(self, word: str) -> str:
        """The option itself, or the longest that a verb is a form of: "flipped" is "flip"."""
        begins = (text for text in self.letters_of if len(text) > 3 and word.startswith(text))
        return word if word in self.letters_of else max(begins, key=len, default=word)

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

    def _asked_and_said(self, text: str) -> Iterator[Statement]:
        said = [each for each in ASKED_AND_SAID.finditer(text) if each["letter"].upper() in self.texts]
        right = [each for each in said if each["said"].lower() in ("yes", "true", "correct", "right")]
        if len(right) == 1 and len(said) > 1:
            yield Statement(Strength.ANSWER, right[0]["letter"].upper(), right[0].start(), right[0].end())

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
    text = re.sub(r"\s&\s", " and ", text)
    return re.sub(r"[°^]\s*$", "°", _spaced(text).strip(" .,:;!\"'()[]{}*-\ue000\ue001")).casefold()


def _key(text: str) -> str:
    """The same for words that differ in a hyphen or a plural."""
    return re.sub(r"[ ,-]", "", text).rstrip("s")


REJECTED_SENTENCE = re.compile(r"\b(?:not|no|never|neither|cannot|nor)\b|n't\b", re.IGNORECASE)


def stem(word: str) -> str:
    return word[:-1] if word.endswith("s") else word


def _in_order(words: list[str], said: list[str]) -> bool:
    rest = iter(stem("will" if word == "would" else word) for word in said)
    return all(any(stem("will" if word == "would" else word) == each for each in rest) for word in words)


def _bounded(text: str) -> str:
    """A pattern for the text as words of their own; one more or fewer plural, or hyphen, is the same word."""
    before = rf"(?<![{WORD}])(?<![{WORD}][-.,])" if re.match(rf"[{WORD}]", text) else ""
    after = rf"(?![{WORD}])(?![.,-][{WORD}])(?!'(?!s\b)[{WORD}])" if re.search(rf"[{WORD}]$", text) else ""
    words = re.escape(text).replace(r"\ ", r",?[ -]").replace(r"\-", "[ -]?")
    words = re.sub(r"^(stay|remain|become|move|turn)(?=,)", r"\1s?", words)
    words = words.replace("[ -]and,?[ -]", "[ -](?:and|&),?[ -]")
    if re.search(r"[a-z]{3}[^s]s$", text, re.IGNORECASE):
        words = words[:-1] + words[-1] + "?"
    elif re.search(r"[a-z]{4}$", text, re.IGNORECASE) and not text.endswith("s"):
        words += "s?" if " " in text else VERB
    return before + words + after
