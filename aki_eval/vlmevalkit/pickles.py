"""Pickles of plain data: all that the kit writes, and all that it may load here."""

from __future__ import annotations

import pickle
from types import ModuleType
from typing import IO, Any

PLAIN = {
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
}
"""Beside what needs no name: numbers, texts, lists, dicts."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PLAIN:
            raise pickle.UnpicklingError(f"a pickle that asks for {module}.{name} is not loaded: it may run anything")
        return super().find_class(module, name)


def load_plain(file: IO[bytes]) -> Any:
    """As `pickle.load`. Raises pickle.UnpicklingError where anything but plain data is asked for."""
    return _PlainUnpickler(file).load()


def load_only_plain(module: ModuleType) -> None:
    """The module's `pickle` loads plain data only from now on. For the kit's `smp.file`, in a process of its own."""
    shim = ModuleType("pickle")
    shim.__dict__.update(dump=pickle.dump, load=load_plain)
    module.pickle = shim  # type: ignore[attr-defined]
