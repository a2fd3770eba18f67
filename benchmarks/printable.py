"""Foreign text, such as answers, labels, names of files, as each kind of output may hold it.

A terminal obeys what stands between its letters: a model's answer could recolor, rename or scroll away a table. A
spreadsheet computes a cell that begins as a formula. So nothing foreign is printed as it came.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

FORMULA = ("=", "+", "-", "@", "\t", "\r")
DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_JSON_UNSAFE = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, keep: str = "") -> str:
    """For terminals and Markdown: control characters, changes of direction and lone surrogates as their escapes.

    Args:
        text: anything, also what other people wrote.
        keep: control characters that stay, such as a line break.
    """
    return "".join(each if each in keep or _is_harmless(each) else _escaped(each) for each in text)


def in_words(value: object) -> str:
    """A record or list as people write it: `size 100, seed 2503`, without fields that are None. `none` for None."""
    if isinstance(value, Mapping):
        known = {str(name).replace("_", " "): inner for name, inner in value.items() if inner is not None}
        return ", ".join(f"{name} {in_words(inner)}" for name, inner in known.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(in_words, value)) or "nothing"
    return "none" if value is None else str(value)


def _is_harmless(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") and character not in DIRECTIONS


def _escaped(character: str) -> str:
    code = ord(character)
    return {9: r"\t", 10: r"\n", 13: r"\r"}.get(code) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def for_spreadsheet(text: str) -> str:
    """For CSV: as `printable`, and what a spreadsheet would compute is marked as text by an apostrophe before it."""
    shown = printable(text)
    return f"'{shown}" if text.startswith(FORMULA) or text.lstrip().startswith(FORMULA) else shown


def for_json(encoded: str) -> str:
    """For JSON that was written with `ensure_ascii=False`: escapes what JSON allows and a terminal obeys."""
    return _JSON_UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded)
