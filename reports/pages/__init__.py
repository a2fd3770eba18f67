"""The HTML report: a folder of pages that works from disk, without a network."""

from __future__ import annotations

from .build import write_site

__all__ = ["write_site"]
