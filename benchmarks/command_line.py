"""What both command lines do around their commands: one line for what the user can fix, exit codes, shared options."""

from __future__ import annotations

import errno
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from importlib.metadata import version
from typing import Any

import typer

from .errors import UserError
from .printable import printable
from .redaction import redact

USAGE_ERROR: Any = typer.BadParameter.__base__
"""Typer's name for every misuse of options, wherever it keeps it."""

DISK_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.ESTALE)
"""What a disk says when it takes no more: full, over the quota, read-only by now, broken, gone."""

CONTEXT = {"help_option_names": ["-h", "--help"]}


def exit_code(program: str, call: Callable[[], Any], hint: str) -> int:
    """Runs a command line and returns its exit code: 2 with one line for what the user can fix, 130 after Ctrl-C.

    Args:
        program: its name, before what it complains about.
        call: the typer app, called with `standalone_mode=False`.
        hint: behind a complaint about options: where their help is.
    """
    try:
        code = call()
    except UserError as error:
        complain(program, str(error))
        return 2
    except USAGE_ERROR as error:
        if error.format_message():  # empty when the help was shown for want of a command
            complain(program, f"{error.format_message().replace('Value error, ', '')} ({hint})")
        return 2
    except typer.Abort:
        return 130
    except Exception as error:
        if (trouble := _trouble_of_a_disk(error)) is None:
            raise
        complain(program, f"{trouble}; what was stored before stays: make room and give the same command again")
        return 2
    return code if isinstance(code, int) else 0


def _trouble_of_a_disk(error: BaseException | None) -> str | None:
    """What a disk said that takes no more, with the file where it is known; None when it was something else.

    Writers that are not Python's (of tensors, of tables) raise errors of their own that quote the system.
    """
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, OSError) and error.errno in DISK_TROUBLE:
            return f"{error.filename or 'writing'}: {os.strerror(error.errno)}"
        for number in DISK_TROUBLE:
            if os.strerror(number) in str(error):
                return f"writing: {os.strerror(number)}"
        error = error.__cause__ or error.__context__
    return None


def complain(program: str, text: str) -> None:
    """One line on stderr, without secrets and control characters."""
    print(f"{program}:", printable(" ".join(redact(text).split())), file=sys.stderr)


def version_option(program: str) -> Any:
    """`--version`, as the note of an `Annotated[bool, ...]`."""

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{program} {version('aki-toolkit')}")
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="Show the version and exit.")


Command = Callable[..., Any]


def takes(
    parameter: str, options: Mapping[str, tuple[Any, Any]], make: Callable[..., Any]
) -> Callable[[Command], Command]:
    """A decorator that gives a command further options, and hands them on as one parameter.

    Args:
        parameter: the command's own name for all of them together.
        options: name -> how the command line shows it, and its default.
        make: what is handed on; called with the command's own arguments by name, and each option as a keyword.
    """

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        further = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, (annotation, default) in options.items()
        ]
        ahead = [each for name, each in own.parameters.items() if name != parameter]

        @wraps(command)
        def with_options(*arguments: Any, **given: Any) -> Any:
            values = {name: given.pop(name, default) for name, (_, default) in options.items()}
            return command(*arguments, **given, **{parameter: make(given, **values)})

        signature = own.replace(parameters=[*ahead, *further])
        with_options.__signature__ = signature  # type: ignore[attr-defined]  # what typer reads
        with_options.__annotations__ = {name: each.annotation for name, each in signature.parameters.items()}
        return with_options

    return decorate
