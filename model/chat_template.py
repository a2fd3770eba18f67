"""How a conversation becomes a prompt: one template for three families of text backbones.

The Phi form is the one AKI was trained with: `<|user|>`, a line break, `<image>`, a line break, the question,
`<|end|>`, a line break, `<|assistant|>`; the answer ends with the end-of-text token, not with `<|end|>`. An image and
the text beside it are parted by a line break. Without a system message AKI's own comes first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

SYSTEM_MESSAGE = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
"""Comes before every question unless the conversation brings its own (paper section 3.1, footnote 1)."""


@dataclass(frozen=True)
class ChatFormat:
    """The marks of one family. `start` and `stop` surround the role's name, `end` comes between two turns."""

    family: str
    start: str
    stop: str
    end: str

    @property
    def end_token(self) -> str:
        """The token that closes a turn."""
        return self.end.strip()

    @property
    def special_tokens(self) -> list[str]:
        """The marks that have to be single tokens."""
        if self.family == "phi":
            return [self.end_token, "<|system|>", "<|user|>", "<|assistant|>"]
        return [token for token in (self.end_token, self.start, self.stop.strip()) if token]


PHI = ChatFormat("phi", "<|", "|>\n", "<|end|>\n")
CHATML = ChatFormat("chatml", "<|im_start|>", "\n", "<|im_end|>\n")
LLAMA_3 = ChatFormat("llama3", "<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>")
FORMATS = (PHI, CHATML, LLAMA_3)

CONTROL = re.compile(r"<(/?s|image|\|[a-z0-9_]+\|)>")


def as_plain_text(text: str) -> str:
    """A user's or a data set's text, in which nothing is a control token: of `<|end|>` the word is left, `end`.

    Only the template may open a turn, end a question or place a picture; training and evaluation both ask here.
    """
    return CONTROL.sub(lambda token: token[1].strip("/|"), text)


def format_of(tokenizer: Any) -> ChatFormat:
    """The family whose marks the tokenizer knows.

    Raises:
        ValueError: it knows none of them.
    """
    known = tokenizer.get_vocab()
    for form in FORMATS:
        if all(token in known for token in form.special_tokens):
            return form
    wanted = "; ".join(f"{form.family}: {' '.join(form.special_tokens)}" for form in FORMATS)
    raise ValueError(
        f"the tokenizer has the chat marks of no known family ({wanted}); add one family's marks as special tokens"
    )


def chat_template(form: ChatFormat, after_start: str = "") -> str:
    """The Jinja template. Variables: messages, add_generation_prompt, bos_token, eos_token, image_order.

    after_start: what comes between the start token and the first turn.
    """
    marks = {"GAP": after_start, "SYSTEM": SYSTEM_MESSAGE, "START": form.start, "STOP": form.stop, "END": form.end}
    text = _TEMPLATE
    for name, value in marks.items():
        text = text.replace(f"@{name}@", value.replace("'", "\\'").replace("\n", "\\n"))
    return text


_TEMPLATE = """\
{%- macro content(message) -%}
  {%- if message['content'] is string -%}{{ message['content'] }}
  {%- else -%}
    {%- set parts = message['content'] -%}
    {%- if image_order is defined and image_order == 'text_first' and message['role'] == 'user' -%}
      {%- set parts = (parts | rejectattr('type', 'equalto', 'image') | list)
                    + (parts | selectattr('type', 'equalto', 'image') | list) -%}
    {%- endif -%}
    {%- set before = namespace(text='\\n') -%}
    {%- for part in parts -%}
      {%- if part['type'] == 'image' -%}{%- set text = '<image>' -%}
      {%- elif part['type'] == 'text' -%}{%- set text = part['text'] -%}
      {%- else -%}{{ raise_exception("a message part has type '" ~ part['type'] ~ "', expected 'text' or 'image'") }}
      {%- endif -%}
      {%- if (part['type'] == 'image' or before.text == '<image>')
             and not text.startswith('\\n') and not before.text.endswith('\\n') -%}{{ '\\n' }}{%- endif -%}
      {{- text -}}
      {%- if text -%}{%- set before.text = text -%}{%- endif -%}
    {%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- if bos_token is defined and bos_token -%}{{ bos_token ~ '@GAP@' }}{%- endif -%}
{%- if messages[0]['role'] != 'system' -%}{{ '@START@system@STOP@@SYSTEM@@END@' }}{%- endif -%}
{%- for message in messages -%}
  {{- '@START@' ~ message['role'] ~ '@STOP@' -}}
  {%- if message['role'] == 'assistant' -%}
    {%- generation -%}
      {{- content(message) ~ ('@END@' if not loop.last else (eos_token or '@END@')) -}}
    {%- endgeneration -%}
  {%- else -%}
    {{- content(message) ~ '@END@' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '@START@assistant@STOP@' }}{%- endif -%}
"""


def question_end_token_id(tokenizer: Any, template: str) -> int:
    """The last special token of what the template puts between a question and its answer.

    `<|assistant|>` for Phi, `<|im_start|>` for ChatML (Qwen2), `<|end_header_id|>` for Llama 3: the first of its kind
    behind an image, hence the end of the question the image belongs to.

    Raises:
        ValueError: the template marks an answer's start with no special token.
    """
    question = [{"role": "user", "content": "?"}]
    asked = _render(tokenizer, template, question, add_generation_prompt=False)
    opened = _render(tokenizer, template, question, add_generation_prompt=True)
    prompt = opened.removeprefix(asked)
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    marks: list[int] = [token for token in tokenizer.encode(prompt, add_special_tokens=False) if token in special]
    if not marks:
        raise ValueError(
            f"the chat template opens an answer with {prompt!r}, which holds no special token of the tokenizer; "
            "AKI needs one to know where a question ends"
        )
    return marks[-1]


def _render(tokenizer: Any, template: str, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    rendered: str = tokenizer.apply_chat_template(
        messages, chat_template=template, add_generation_prompt=add_generation_prompt, tokenize=False
    )
    return rendered
