"""Records that are checked by type when they are read: run.json, recipes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import UserError


class Checked(BaseModel):
    """Fields have exactly the types they are declared with ("10" is no number, 10.5 no whole one), and no others."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @classmethod
    def of(cls, content: Any, where: str | Callable[[str], str]) -> Self:
        """A record from what a file holds.

        Args:
            content: as JSON or TOML gives it.
            where: the file, and the place in it, for the error; or what gives them for a field's name (empty where
                the fault lies between fields).

        Raises:
            UserError: one line that names the first field that is wrong, what it is and what was expected.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            place = where if isinstance(where, str) else where(_first_field(error))
            raise UserError(f"{place}: {_first(error, cls)}") from error


def _first_field(error: ValidationError) -> str:
    return ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"][:1])


def _first(error: ValidationError, record: type[Checked]) -> str:
    problem = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in problem["loc"])
    found = problem["input"]
    if problem["type"] == "extra_forbidden":
        known = f"; known are {', '.join(record.model_fields)}" if len(problem["loc"]) == 1 else ""
        return f"{field} is no setting that anything reads{known}"
    if problem["type"] == "missing":
        return f"{field} is missing"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    shown = f"of {len(found)} fields" if isinstance(found, Mapping) else repr(found)
    said = problem["msg"].removeprefix("Input should be ")
    return f"{field or 'the content'} is {shown if len(shown) < 80 else shown[:77] + '...'}, expected {said}"
