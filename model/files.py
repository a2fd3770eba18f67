"""Files as everybody else's programs write them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def readable_as_umask_says(files: Iterable[Path]) -> None:
    """The safetensors library writes 0600 whatever the umask: colleagues on a cluster could not load the model."""
    umask = os.umask(0o077)
    os.umask(umask)
    for file in files:
        file.chmod(0o666 & ~umask)
