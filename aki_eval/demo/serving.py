"""Serves the page: to this machine, or with a token to those who have it; nothing is sent anywhere else."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.errors import UserError
from reports.visitors import HOST

from .uploads import Limits

SILENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Gradio counts its users and remembers their runs unless told so before it is imported."""


@contextmanager
def silent_gradio() -> Iterator[Path]:
    """Gradio that tells nobody, with a folder of its own for all files, which is gone afterwards.

    Raises:
        UserError: Gradio is not installed.
    """
    with TemporaryDirectory(prefix="aki-demo-") as folder:
        os.environ.update(SILENT, GRADIO_TEMP_DIR=folder)
        try:
            import gradio  # noqa: F401
        except ImportError as error:
            from . import GRADIO

            raise UserError(
                f"Gradio is not here ({error}); `make install` brings it; elsewhere: pip install -e '.[demo]' "
                f"and then pip install --no-deps {GRADIO}"
            ) from error
        yield Path(folder).resolve()


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound already, so that its port is known; port 0 takes a free one.

    Raises:
        UserError: the port is taken or not allowed, or no such host is this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError, UnicodeError) as error:
        where = f"--port {port}" if host == HOST else f"--host {host} --port {port}"
        raise UserError(
            f"{where}: {getattr(error, 'strerror', None) or error}; choose another, or 0 for any free one"
        ) from error


def application(page: object, folder: Path, limits: Limits, *, token: str | None, public: bool) -> object:
    """Gradio's application behind the guard."""
    import gradio as gr
    from fastapi import FastAPI

    from .guard import Guard
    from .shown import STYLE

    inner = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=limits.num_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        css=STYLE,
        theme=_theme(),
    )
    return Guard(inner, folder, most_bytes=limits.num_bytes, token=token, public=public)


def _theme() -> object:
    """The system's own fonts, and small print that can be read."""
    import gradio as gr

    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return theme.set(
        block_info_text_color="*neutral_600",
        block_label_text_color="*neutral_600",
        block_title_text_color="*neutral_700",
        input_placeholder_color="*neutral_500",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
    )


def serve(app: object, bound: socket.socket) -> None:
    """Until Ctrl-C, which cuts off whoever listens: no news then."""
    import logging

    import uvicorn

    class Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn is not among the packages mypy reads
        def handle_exit(self, *given: Any) -> None:
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
            super().handle_exit(*given)

    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )
    try:
        Server(config).run(sockets=[bound])
    except KeyboardInterrupt:
        return
