"""The command `aki-demo`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.command_line import CONTEXT, exit_code, version_option
from benchmarks.errors import UserError
from reports.visitors import HOST, check_host, new_token

from .uploads import Limits

TOY = Path(__file__).resolve().parents[2] / "tests" / "data" / "toy_model"
EXIT_CODES = "Exit codes: 0 ended by Ctrl-C, or the folder is written; 2 something to be fixed, in one line."

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings=CONTEXT, rich_markup_mode="rich"
)


@app.command(epilog=EXIT_CODES)
def demo(
    model: Annotated[
        str | None, typer.Option(metavar="CKPT", help="A checkpoint folder of AKI, or its Hub id. Default: the toy.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to serve on. Any but 127.0.0.1 asks visitors for a token, which is printed.")
    ] = HOST,
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 7860,
    beside: Annotated[
        str | None, typer.Option(metavar="KIND", help="Kind of mask shown beside the model's own at first.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16")] = "auto",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 256,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Largest file of a picture.")] = 10,
    max_megapixels: Annotated[int, typer.Option(min=1, max=89, help="Largest picture, millions of pixels.")] = 25,
    export_space: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a folder for a Hugging Face Space instead of serving.")
    ] = None,
    version: Annotated[bool, version_option("aki-demo")] = False,
) -> None:
    """Talk with AKI about pictures in a browser: answers as they come, masks side by side, what attention does.

    Nothing leaves this machine: no telemetry, no fonts or scripts from elsewhere. Needs Gradio: `make install`.
    """
    check_host(host)
    if model is not None and ":" in model and not Path(model).is_dir():
        raise UserError(f"--model {model}: the demo is for AKI's masks; expected a checkpoint's folder, or its Hub id")
    limits = Limits(megabytes=max_megabytes, megapixels=max_megapixels)
    if export_space is not None:
        from .space import export

        for path in export(export_space, model or str(_toy()), max_new_tokens=max_new_tokens):
            typer.echo(path)
        return
    run(model or str(_toy()), host, port, beside, device, dtype, max_new_tokens, limits)


def run(
    model: str,
    host: str = HOST,
    port: int = 7860,
    beside: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    max_new_tokens: int = 256,
    limits: Limits | None = None,
    *,
    public: bool = False,
) -> None:
    """Loads the model and serves the page. `public`: everybody who reaches the address is let in.

    Raises:
        UserError: no such model, kind, device, host or port; or Gradio is not installed.
    """
    limits = limits or Limits()
    from .serving import application, listening, serve, silent_gradio

    token = None if host == HOST or public else new_token()
    with silent_gradio() as folder, listening(host, port) as bound:
        from ..predictors.aki import AkiPredictor
        from ..predictors.make import find_checkpoint
        from .examples import write_examples
        from .page import NONE, make_page
        from .talking import Talker

        predictor = AkiPredictor(find_checkpoint(model, offline=False), device=device, dtype=dtype)
        talker = Talker(predictor, max_new_tokens)
        if beside is not None and beside not in talker.kinds:
            raise UserError(f"--beside: {beside!r}, expected one of {', '.join(talker.kinds)}")
        talker.load()
        about = {"name": predictor.name, "attention": talker.own, "dtype": predictor.dtype}
        examples = write_examples(folder, toy=talker.is_toy)
        page = make_page(talker, about, limits, examples, beside or NONE)
        served = application(page, folder, limits, token=token, public=public)
        ticket = f"?token={token}" if token else ""
        typer.echo(f"http://{host}:{bound.getsockname()[1]}/{ticket} (Ctrl-C ends)")
        try:
            serve(served, bound)
        finally:
            talker.close()
        typer.echo("")


def _toy() -> Path:
    if not TOY.is_dir():
        raise UserError("--model: which checkpoint? The toy model is not here, since this is no checkout")
    return TOY


def main() -> None:
    """Entry point: what a user can fix is one line and exit code 2."""
    sys.exit(exit_code("aki-demo", lambda: app(standalone_mode=False), "aki-demo --help"))
