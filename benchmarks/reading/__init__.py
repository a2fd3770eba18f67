"""What an answer says: protocol `strict`, our reading, as a careful person would read it, without a judge.

One idea for letters, yes/no and numbers: an answer is cleaned of reasoning, markup, LaTeX and unusual forms (`plain`),
what it states is collected with the strength of each statement (`statements`), and the strongest decides. What is not
plainly given is None: *unread*, never a guess. How often that is right is measured by `python -m
benchmarks.reading_quality` and written down in docs/reading_quality.md.
"""

from .choice import read_choice
from .number import read_list, read_number
from .phrase import folded, read_phrase
from .yes_no import read_yes_no

__all__ = ["folded", "read_choice", "read_list", "read_number", "read_phrase", "read_yes_no"]
