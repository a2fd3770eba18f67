"""Files of predictions as rows: nothing is taken for a number, a formula or a missing value on the way.

.xlsx .tsv .csv   VLMEvalKit's prediction files, AKI's own CV-Bench script (cv_bench_results.csv), tables of any tool;
                  a .csv may be separated by commas, semicolons or tabs
.jsonl .json      lmms-eval's samples (--log_samples), LLaVA's answer files, run folders of this tool; a list of
                  objects, one object a line, {id: prediction}, or {id: record} as MathVista and MMMU write
.eval             inspect's logs (zip of JSON; .json logs too)
.txt              MME's official results: picture, question, answer and prediction with tabs between, a file a subtask

Text may begin with a byte order mark; .gz is unpacked. What would unpack to more than `LARGEST` is refused.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from benchmarks.errors import UserError
from benchmarks.printable import printable

LARGEST = 2**30
"""Bytes that a packed file may hold: far above any file of predictions."""
LONGEST_CELL = 32_767
"""Characters: a spreadsheet cuts off what is longer."""
ZSTD = 93
"""The number of this compression in zip files."""
ATTACHED = "attachment://"
EPOCH = "inspect's epoch"
"""Where a sample of an inspect log keeps how often it was answered before, counted from 1."""
KEY = "its key"
"""Where {id: record} keeps the id of a record."""
Rows = Iterator[tuple[str, Mapping[str, Any]]]
"""(place for messages, fields) of each row."""
SUFFIXES = (".xlsx", ".tsv", ".csv", ".jsonl", ".json", ".eval", ".txt")


def suffix_of(path: Path) -> str:
    """The kind of file, whatever it is packed in."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def read_rows(path: Path, *, sheet: str | None = None, epoch: int | None = None) -> list[tuple[str, Mapping[str, Any]]]:
    """The rows of a file of predictions.

    Args:
        path: the file; its name says which kind it is.
        sheet: of a spreadsheet with several, by name. None: the first; the others are told on stderr.
        epoch: of an inspect log in which every sample was answered several times, counted from 1. None: the first,
            and that there are others is told on stderr.

    Raises:
        UserError: there is no such file, sheet or epoch, or it cannot be read as what its name says.
    """
    if not path.is_file():
        raise UserError(f"there is no file of predictions at {path}")
    kind = suffix_of(path)
    if kind not in SUFFIXES:
        raise UserError(f"{path}: predictions are read from {', '.join(SUFFIXES)} files")
    try:
        if kind == ".xlsx":
            return list(_xlsx(path, sheet))
        if kind == ".eval":
            return _of_epoch(path, list(_inspect_archive(path)), epoch)
        return _of_epoch(path, list(_of_text(path, kind, _text(path))), epoch)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is not a readable {kind} file ({error}); save it as UTF-8") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deep to be a file of predictions") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error


def _of_text(path: Path, kind: str, text: str) -> Rows:
    if text.startswith("version https://git-lfs.github.com/spec/"):
        raise UserError(f"{path} is a Git LFS pointer, not the file itself; `git lfs pull` brings it")
    if kind == ".txt":
        return _mme(path, text)
    if kind in (".tsv", ".csv"):
        return _table(path, kind, text)
    if re.match(r"\s*\[\s*\{", text) if kind == ".jsonl" else not _is_lines(text):
        return _json(path, text)
    return _jsonl(path, text)


def _text(path: Path) -> str:
    content = _unpacked(path) if path.suffix.lower() == ".gz" else path.read_bytes()
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))  # what Excel calls "Unicode text"
    return content.decode("utf-16" if wide else "utf-8-sig")


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            content = file.read(LARGEST + 1)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path} is not a whole .gz file ({error})") from error
    if len(content) > LARGEST:
        raise UserError(f"{path} unpacks to more than {LARGEST >> 20} MiB: no file of predictions; it is not read")
    return content


def open_archive(path: Path) -> ZipFile:
    """A zip file that is not larger than it looks. Sizes that the archive states too small are errors when read.

    Raises:
        UserError: it is none, is damaged, or is larger than it looks.
    """
    try:
        archive = ZipFile(path)
    except (BadZipFile, OSError, NotImplementedError) as error:
        kind = "spreadsheet" if path.suffix == ".xlsx" else f"{path.suffix} file"
        raise UserError(f"{path} is not a {kind}, or not a whole one ({error})") from error
    size = sum(entry.file_size for entry in archive.infolist())
    if size > LARGEST:
        archive.close()
        raise UserError(
            f"{path} unpacks to {size / 2**20:,.0f} MiB, more than {LARGEST >> 20}: no file of predictions; "
            "it is not read"
        )
    return archive


# Tables.


def _table(path: Path, kind: str, text: str) -> Rows:
    before = csv.field_size_limit(sys.maxsize)
    try:
        delimiter = "\t" if kind == ".tsv" else _delimiter(text)
        reader = csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
        _check_header(path, list(reader.fieldnames or ()))
        for row in reader:
            if None in row or None in row.values():
                raise UserError(f"{path} line {reader.line_num}: the number of cells differs from the header's")
            yield f"line {reader.line_num}", row
    finally:
        csv.field_size_limit(before)


def _delimiter(text: str) -> str:
    """What separates the header into most columns; a comma if nothing does."""
    header = text[: text.find("\n")] if "\n" in text else text
    return max(",;\t", key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def _check_header(path: Path, names: list[str]) -> None:
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise UserError(f"{path} has two columns {twice[0]!r}; rename one")


def _xlsx(path: Path, sheet: str | None) -> Rows:
    """Cells as they were written: `=1` is the answer "=1", not a formula's result. An empty cell is an empty text."""
    from openpyxl import load_workbook

    open_archive(path).close()
    try:
        workbook = load_workbook(path, read_only=True, data_only=False)
        with closing(workbook):
            yield from _sheet(path, _chosen(path, workbook.worksheets, sheet))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} is not a spreadsheet ({error!s:.300})") from error


def _chosen(path: Path, sheets: Sequence[Any], name: str | None) -> Any:
    """The sheet of that name, or the first.

    Raises:
        UserError: there is none.
    """
    names = ", ".join(repr(each.title) for each in sheets)
    if name is not None:
        found = next((each for each in sheets if each.title == name), None)
        if found is None:
            raise UserError(f"{path} has no sheet {name!r}; it has {names}")
        return found
    if len(sheets) > 1:
        print(printable(f"{path}: of its sheets {names} the first is read; --sheet names another"), file=sys.stderr)
    return sheets[0]


def _sheet(path: Path, sheet: Any) -> Rows:
    sheet.reset_dimensions()  # what the file says of its size is not to be trusted
    rows = sheet.iter_rows(values_only=True)
    header = ["" if name is None else str(name) for name in next(rows, ())]
    _check_header(path, header)
    for number, cells in enumerate(rows, start=2):
        if all(cell is None for cell in cells):
            continue
        row = dict.fromkeys(header, "") | {
            name: "" if cell is None else cell for name, cell in zip(header, cells, strict=False)
        }
        if any(isinstance(cell, str) and len(cell) >= LONGEST_CELL for cell in cells):
            row["error"] = f"a cell of row {number} is as long as a spreadsheet allows: it was cut off"
        yield f"row {number}", row


def _mme(path: Path, text: str) -> Rows:
    """MME's official result files, such as OCR.txt. Source: its evaluation tool (eval_tool/calculation.py)."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        cells = line.split("\t", 3)
        if len(cells) < 4:
            raise UserError(
                f"{path} line {number} has {len(cells)} cells, expected picture, question, answer and prediction with "
                "tabs between; a prediction with line breaks cannot be told apart"
            )
        picture, question, answer, prediction = cells
        yield (
            f"line {number}",
            {
                "image": f"{path.stem}/{picture}",
                "question": question,
                "answer": answer,
                "prediction": prediction,
                "category": path.stem,
            },
        )


# JSON.


def _jsonl(path: Path, text: str) -> Rows:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            content = _loads(path, f"line {number}", line)
            if not isinstance(content, Mapping):
                raise UserError(f"{path} line {number} holds a {type(content).__name__}, expected an object")
            yield f"line {number}", content


def _is_lines(text: str) -> bool:
    """Whether a file named .json holds an object a line."""
    first, _, rest = text.strip().partition("\n")
    try:
        return bool(rest) and isinstance(json.loads(first), Mapping)
    except (ValueError, RecursionError):
        return False


def _json(path: Path, text: str) -> Rows:
    content = _loads(path, "it", text)
    if isinstance(content, Mapping):
        if "eval" in content and isinstance(content.get("samples"), list):
            yield from (_inspect_sample(number, sample) for number, sample in enumerate(content["samples"], start=1))
            return
        content = _by_id(path, content)
    if not isinstance(content, list):
        raise UserError(f"{path} holds a {type(content).__name__}, expected objects")
    for number, row in enumerate(content, start=1):
        if not isinstance(row, Mapping):
            raise UserError(f"{path}: entry {number} is a {type(row).__name__}, expected an object")
        yield f"entry {number}", row


def _by_id(path: Path, content: Mapping[str, Any]) -> list[Any]:
    """{id: prediction}, {id: record}, or an object around one list of records."""
    values = list(content.values())
    if values and all(isinstance(value, Mapping) for value in values):
        return [{KEY: key, **value} for key, value in content.items()]
    if not any(isinstance(value, (Mapping, list)) for value in values):
        return [{KEY: key, "prediction": value} for key, value in content.items()]
    lists = [value for value in values if isinstance(value, list) and value and isinstance(value[0], Mapping)]
    if len(lists) == 1:
        return lists[0]
    raise UserError(
        f"{path} holds an object with the fields {', '.join(map(str, list(content)[:8]))}; expected a list of records, "
        "{id: prediction} or {id: record}"
    )


def _loads(path: Path, place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: {place} is not JSON ({error})") from error


# inspect's logs.


def _inspect_archive(path: Path) -> Rows:
    """Inspect's .eval: one JSON file a sample. Source: inspect_ai's log/_recorders/eval.py."""
    with open_archive(path) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("samples/") and name.endswith(".json"))
        for name in names:
            try:
                content = _member(path, archive, name)
            except (BadZipFile, NotImplementedError, zlib.error, EOFError, OSError) as error:
                raise UserError(
                    f"{path}: {name} cannot be unpacked ({error}); inspect log dump {path} writes a .json"
                ) from error
            yield _inspect_sample(name, _loads(path, name, content.decode("utf-8")))


def _member(path: Path, archive: ZipFile, name: str) -> bytes:
    """The content of one file in an archive; also where it is packed with zstd, as inspect does since 2025.

    Python's zipfile cannot read that before 3.14.

    Raises:
        BadZipFile: what is damaged, or larger than it says.
    """
    entry = archive.getinfo(name)
    if entry.compress_type != ZSTD:
        return archive.read(entry)
    import pyarrow

    with path.open("rb") as file:
        file.seek(entry.header_offset + 26)  # the local header is 30 bytes, a name and an extra field
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        packed = file.read(entry.compress_size)
    with pyarrow.CompressedInputStream(pyarrow.BufferReader(packed), "zstd") as stream:
        content = bytes(stream.read(entry.file_size + 1))
    if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise BadZipFile(f"{name} is damaged")
    return content


def _of_epoch(
    path: Path, rows: list[tuple[str, Mapping[str, Any]]], epoch: int | None
) -> list[tuple[str, Mapping[str, Any]]]:
    """Of a log whose samples were answered several times the rows of one epoch; other files as they are.

    Raises:
        UserError: the log has no such epoch.
    """
    epochs = sorted({row[EPOCH] for _, row in rows if isinstance(row.get(EPOCH), int)})
    if epoch is not None and epoch not in epochs:
        raise UserError(f"{path} has no epoch {epoch}; it has {', '.join(map(str, epochs)) or 'none'}")
    if len(epochs) > 1 and epoch is None:
        print(f"{path}: of its {len(epochs)} epochs the first is read; --epoch names another", file=sys.stderr)
    if not epochs:
        return rows
    wanted = epochs[0] if epoch is None else epoch
    return [(place, row) for place, row in rows if row.get(EPOCH, wanted) == wanted]


def _inspect_sample(place: object, sample: Any) -> tuple[str, Mapping[str, Any]]:
    """A sample of inspect's log as a row.

    Raises:
        UserError: it is none as inspect writes them.
    """
    if not isinstance(sample, Mapping):
        raise UserError(f"sample {place} is a {type(sample).__name__}, expected an object")
    try:
        return f"sample {place}", _inspect_row(sample)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"sample {place} is not as inspect writes them ({type(error).__name__}: {error})") from error


def _inspect_row(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """Id, question, choices, target and the completion of one sample, as this tool names them."""
    metadata = sample.get("metadata")
    output = sample.get("output") or {}
    choices = output.get("choices") or []
    error = sample.get("error") or output.get("error")
    texts = sample.get("attachments") or {}

    def attached(text: str | None) -> str | None:
        """Long texts stand once, under their hash."""
        return texts.get(text.removeprefix(ATTACHED), text) if text and text.startswith(ATTACHED) else text

    return {
        "id": sample.get("id"),
        EPOCH: sample.get("epoch", 1),
        "question": attached(_inspect_text(sample.get("input"))),
        "target": sample.get("target"),
        "choices": sample.get("choices"),
        "prediction": attached(_inspect_text(choices[0]["message"]["content"])) if choices else None,
        "error": error.get("message") if isinstance(error, Mapping) else error,
        "model": output.get("model"),
        "metadata": metadata if isinstance(metadata, Mapping) else {},
    }


def _inspect_text(content: Any) -> str | None:
    """The text of a message's content, or of the last message of the user."""
    if isinstance(content, str) or content is None:
        return content
    if content and "role" in content[0]:
        asked = [message for message in content if message.get("role") == "user"]
        return _inspect_text(asked[-1]["content"]) if asked else None
    return "\n".join(str(part["text"]) for part in content if part.get("type") == "text")
