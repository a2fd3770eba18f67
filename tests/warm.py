"""Programs that start warm: forked from a server that has the libraries imported, and nothing of ours.

Most of what a command costs in a test is the import of torch, transformers, pandas and scipy. A folder with programs of
the usual names (`python`, `aki-eval`, `aki-train`) is put in front of PATH; each hands its arguments, folder, variables
and open files to the server, whose child carries it out in a `__main__` of its own; it ends as that child ended. What a
process reads before Python starts (OMP_NUM_THREADS, PYTHONHASHSEED, options) is the server's, and so is HF_HOME.
Starting itself is tested by true starts, in test_entry.py and test_cli.py.

    python -P warm.py SOCKET OWNER      the server; it ends with the process OWNER
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from pathlib import Path
from typing import Any

from filelock import FileLock

LIBRARIES = (
    "accelerate",
    "datasets",
    "jinja2",
    "pandas",
    "safetensors.torch",
    "scipy.stats",
    "statsmodels.stats.multitest",
    "torch.distributed.run",
    "torchvision.transforms.v2",
    "transformers",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.processing_auto",
    "transformers.models.phi3.modeling_phi3",
    "transformers.models.siglip.modeling_siglip",
    "typer",
)
SCRIPTS = {"aki-eval": "main_eval", "aki-train": "main_train"}
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({place!r})
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, _: server.sendall(bytes([number])))
    request = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    said = server.recv(16)
code = int(said or 70)
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def warm_programs(folder: Path, owner: int) -> Path:
    """The folder to put in front of PATH; its server is started by whoever comes first, for all processes of OWNER."""
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"):
        if not (folder / "python").exists():
            place = Path(tempfile.mkdtemp(prefix="aki-"), "socket")  # the paths of sockets are short
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            with (folder / ".log").open("w") as log:
                server = subprocess.Popen(
                    [sys.executable, "-P", __file__, str(place), str(owner)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment | {"HF_HOME": str(place.parent)},
                    start_new_session=True,
                )
            STARTED.append(server)
            while not place.exists():
                assert server.poll() is None, (folder / ".log").read_text()
                time.sleep(0.01)
            for program in (*SCRIPTS, "python"):
                (folder / program).write_text(CLIENT.format(python=sys.executable, place=str(place)))
                (folder / program).chmod(0o755)
    return folder


STARTED: list[subprocess.Popen[bytes]] = []
"""Kept, or Python would warn that it still runs."""


def serve(place: Path, owner: int) -> None:
    """To the owner's end; returns in each child, when the child has a program to carry out."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is never looked at stays shared with every child
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place.with_name("binding")))
    listener.listen(16)
    os.rename(place.with_name("binding"), place)
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    waiting = selectors.DefaultSelector()
    for end in (listener, woken):
        waiting.register(end, selectors.EVENT_READ)
    running: dict[int, socket.socket] = {}
    while alive(owner):
        for key, _ in waiting.select(timeout=1.0):
            if key.fileobj is woken:
                woken.recv(64)
            elif key.fileobj is listener:
                client, _ = listener.accept()
                header, files, _, _ = socket.recv_fds(client, 8, 3)
                request = received(client, int.from_bytes(header, "big"))
                child = os.fork()
                if child == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for end in (listener, woken, wake, waiting, client, *running.values()):
                        end.close()
                    prepare(request, files)
                    return
                for file in files:
                    os.close(file)
                running[child] = client
                waiting.register(client, selectors.EVENT_READ, child)
            else:  # a signal for the child, or the client's death
                numbers = os.read(key.fd, 16)
                for number in numbers or [signal.SIGKILL]:
                    os.kill(key.data, number)
                if not numbers:
                    waiting.unregister(key.fileobj)
        reap(running, waiting)
    for child in running:
        os.kill(child, signal.SIGKILL)
    shutil.rmtree(place.parent)
    os._exit(0)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def reap(running: dict[int, socket.socket], waiting: selectors.BaseSelector) -> None:
    """Tells the clients of children that have ended how they ended."""
    for child in list(running):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            client = running.pop(child)
            if client in waiting.get_map():
                waiting.unregister(client)
                client.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            client.close()


def received(client: socket.socket, size: int) -> Any:
    with client.makefile("rb", buffering=0) as file:
        content = b""
        while len(content) < size and (more := file.read(size - len(content))):
            content += more
    return json.loads(content)


def prepare(request: Any, files: list[int]) -> None:
    """Makes this process what the client asked for."""
    sys.argv[:], folder, variables = request
    sys.executable = str(Path(sys.argv[0]).with_name("python"))  # whoever starts another, starts it warm
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    kept = os.environ["HF_HOME"]
    os.environ.clear()
    os.environ.update(variables | {"HF_HOME": kept})
    sys.path[:0] = [entry for entry in variables.get("PYTHONPATH", "").split(os.pathsep) if entry]


def carry_out() -> None:
    """What `sys.argv` says, as a program of that name would."""
    program, *arguments = sys.argv
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if (function := SCRIPTS.get(Path(program).name)) is not None:
        getattr(importlib.import_module("aki_entry"), function)()
        return
    options = set()
    while arguments[0] in ("-u", "-P"):
        options.add(arguments.pop(0))
    kind, *rest = arguments
    places = {"-c": "", "-m": os.getcwd()}
    if "-P" not in options:
        sys.path.insert(0, places.get(kind, str(Path(kind).resolve().parent)))
    if kind == "-c":
        sys.argv[:] = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), vars(main))
    elif kind == "-m":
        sys.argv[:] = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = arguments
        runpy.run_path(kind, run_name="__main__")


def ended() -> int:
    """The exit code of the program. Taking the libraries down again would cost half a second."""
    code: object = 0
    try:
        carry_out()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - told as Python tells it, whatever it was
        sys.excepthook(*sys.exc_info())
        code = 1
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # as at the end of every interpreter
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code or 0


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))
    os._exit(ended() & 0xFF)
