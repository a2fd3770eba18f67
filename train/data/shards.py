"""Caption shards wherever they lie: folders of folders, https://, s3://, hf:// and whatever else fsspec reads.

A remote shard is fetched whole into a folder of this machine before it is read, and the next one of a stream while it
is. So reading is what it is for local ones, and a connection that breaks costs a fetch and no sample. Nothing is ever
run: `pipe:` is no address.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from glob import escape, glob
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

from benchmarks.errors import UserError
from benchmarks.files import beside

T = TypeVar("T")
SUFFIX = ".tar"
GLOB = re.compile(r"[*?\[]")
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
REMOTE = re.compile(r"[a-z0-9]+://")
WAITS = (1.0, 4.0, 15.0, 60.0)
"""Seconds between the tries of one request."""
FINAL = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError)
"""What another try would not change."""
MAY_PASS = (408, 425, 429)
"""Of the statuses 400 to 499, those that another try may change."""
REFUSED = (401, 403)
AT_ONCE = 16


@dataclass(frozen=True)
class RemoteShard:
    """A shard behind an address. `size` in bytes, where the server says it."""

    address: str
    size: int | None

    def __str__(self) -> str:
        return self.address


Shard = Path | RemoteShard


@dataclass(frozen=True)
class ShardCache:
    """Fetched shards. Beyond `most_bytes` those go that were not read for the longest; who reads one may go on."""

    folder: Path
    most_bytes: int = 200 * 10**9

    def local(self, shard: Shard) -> Path:
        """Where the shard can be read; fetched if need be, by one of the processes that ask.

        Raises:
            UserError: it cannot be fetched, after some tries.
        """
        if isinstance(shard, Path):
            return shard
        path = self._path(shard)
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(path.with_suffix(".lock")):
                if not path.exists():
                    _tried(lambda: self._fetch(shard, path), f"{shard}: cannot be fetched", len(WAITS) + 1)
                    self._make_room(path)
        with suppress(FileNotFoundError):
            os.utime(path)
        return path

    def ahead(self, shard: Shard) -> None:
        """Begins to fetch a shard. What goes wrong is said when it is read."""
        if isinstance(shard, RemoteShard) and not self._path(shard).exists():
            threading.Thread(target=self._quietly, args=(shard,), daemon=True).start()

    def _quietly(self, shard: Shard) -> None:
        with suppress(UserError):
            self.local(shard)

    def _path(self, shard: RemoteShard) -> Path:
        """The name tells sizes apart: a shard that was replaced is fetched anew."""
        return self.folder / f"{sha256(f'{shard.address} {shard.size}'.encode()).hexdigest()[:32]}{SUFFIX}"

    def _fetch(self, shard: RemoteShard, path: Path) -> None:
        with beside(path) as scratch:
            _file_system(shard.address).get_file(_bare(shard.address), str(scratch))
            size = scratch.stat().st_size
            if shard.size is not None and size != shard.size:
                raise OSError(f"{size:,} bytes came of {shard.size:,}")

    def _make_room(self, newest: Path) -> None:
        def age(path: Path) -> float:
            with suppress(OSError):
                return path.stat().st_mtime
            return 0.0

        kept = 0
        for path in sorted(self.folder.glob(f"*{SUFFIX}"), key=age, reverse=True):
            with suppress(FileNotFoundError):
                kept += path.stat().st_size
                if kept > self.most_bytes and path != newest:
                    path.unlink()


def find_shards(root: Path, addresses: Sequence[str] = ()) -> list[Shard]:
    """The shards of a stage in the order of their names.

    Args:
        root: folder of the caption set, in which they are looked for unless there are addresses.
        addresses: each is a shard, a pattern (`*`, `**`, `{00000..00999}`), a folder, or a `.txt` with an address a
            line. What is no URL is a path, relative ones below `root`'s folder.

    Raises:
        UserError: there is none; an address leads nowhere.
    """
    if not addresses:
        shards: list[Shard] = [*_in_folder(root)]
        if not shards:
            raise UserError(f"{root}: no *{SUFFIX} shard here")
        return shards
    found = [shard for address in addresses for shard in _of_address(address, root.parent)]
    return sorted(dict.fromkeys(found), key=str)


def _of_address(address: str, root: Path) -> Sequence[Shard]:
    if REMOTE.match(address):
        return _listed(address)
    path = root / address
    local = _in_folder(path) if path.is_dir() else sorted(map(Path, glob(str(path), recursive=True)))
    if not local:
        raise UserError(f"shards: {address!r}: no *{SUFFIX} shard at {path}")
    return local


def _in_folder(root: Path) -> list[Path]:
    """Of folders of folders and links to folders, too; hidden ones are nobody's."""
    return sorted(map(Path, glob(f"{escape(str(root))}/**/*{SUFFIX}", recursive=True)))


@cache
def _listed(address: str) -> tuple[RemoteShard, ...]:
    """Raises UserError where there is no shard."""
    what = f"shards: {address!r}: cannot be listed"
    system = _file_system(address)
    if RANGE.search(address):
        return _known(system, list(_ranges(address)))
    if address.endswith(".txt"):
        text = _tried(lambda: system.cat_file(_bare(address)), what).decode()
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        above = address.rpartition("/")[0]
        return _known(system, [line if REMOTE.match(line) else f"{above}/{line}" for line in lines])
    if address.endswith(SUFFIX) and not GLOB.search(address):
        return _known(system, [address])
    if GLOB.search(address):
        found = _tried(lambda: system.glob(_bare(address), detail=True), what)
    else:
        found = _tried(lambda: system.find(_bare(address), detail=True), what)
    scheme = address.partition("://")[0]
    shards = [
        RemoteShard(name if REMOTE.match(name) else f"{scheme}://{name.lstrip('/')}", one.get("size"))
        for name, one in sorted(found.items())
        if name.endswith(SUFFIX)
    ]
    if not shards:
        raise UserError(f"shards: {address!r}: no *{SUFFIX} shard there")
    if any(one.size is None for one in shards):
        return _known(system, [one.address for one in shards])
    _check_readable(system, address, shards[0])
    return tuple(shards)


def _known(system: Any, addresses: Sequence[str]) -> tuple[RemoteShard, ...]:
    """Each looked up, some at a time: what is missing is found now."""

    def look_up(address: str) -> RemoteShard:
        size = _tried(lambda: system.info(_bare(address)), f"shards: {address!r}").get("size")
        return RemoteShard(address, size)

    if not addresses:
        raise UserError("shards: a list without an address")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        shards = tuple(pool.map(look_up, addresses))
    _check_readable(system, addresses[0], shards[0])
    return shards


def _check_readable(system: Any, address: str, shard: RemoteShard) -> None:
    """Reads a byte: who may list may not always read (gated data sets of the hub, buckets).

    Raises:
        UserError: it cannot be read.
    """

    def read() -> None:
        with system.open(_bare(shard.address), "rb", cache_type="none") as file:
            file.read(1)

    if not shard.address.startswith(("http://", "https://")):  # whose look-up asks for the file itself
        _tried(read, f"shards: {address!r}: {shard} cannot be read")


def _ranges(address: str) -> Iterator[str]:
    """`{00000..00012}`: every number, as wide as the first."""
    found = RANGE.search(address)
    if found is None:
        yield address
        return
    first, last = found[1], found[2]
    for number in range(int(first), int(last) + 1):
        yield from _ranges(f"{address[: found.start()]}{number:0{len(first)}d}{address[found.end() :]}")


def _file_system(address: str) -> Any:
    """fsspec's, of the address's scheme.

    Raises:
        UserError: there is none, or a package that it needs is missing.
    """
    import fsspec

    scheme, options = address.partition("://")[0], {}
    try:
        if scheme in ("http", "https"):  # of a whole shard 5 minutes may not be enough; a silent minute is
            from aiohttp import ClientTimeout

            options["client_kwargs"] = {"timeout": ClientTimeout(total=None, sock_connect=30, sock_read=60)}
        return fsspec.filesystem(scheme, **options)
    except (ImportError, ValueError) as error:
        first_line = str(error).splitlines()[0]
        raise UserError(
            f"shards: {scheme}:// cannot be read ({first_line}); pip install 'aki-toolkit[remote]'"
        ) from None


def _bare(address: str) -> str:
    """As its file system wants it: web addresses whole, all others without the scheme."""
    scheme, _, rest = address.partition("://")
    return address if scheme in ("http", "https") else rest


def _tried(action: Callable[[], T], what: str, tries: int = 3) -> T:
    """The action's result; a failure that may pass is waited for.

    Args:
        action: one request.
        what: the beginning of the line that says that it failed.
        tries: while people wait for an answer fewer than while a training does.

    Raises:
        UserError: the last try failed as well, or trying again is no use.
    """
    waits = iter(WAITS[: tries - 1])
    while True:
        try:
            return action()
        except UserError:
            raise
        except Exception as error:  # each file system has errors of its own, aiohttp's are no OSErrors
            wait = next(waits, None)
            status = _status(error)
            refused = 400 <= status < 500 and status not in MAY_PASS
            if isinstance(error, FINAL) or refused or wait is None:
                why = " ".join(f"{type(error).__name__}: {error!s:.200}".split())
                raise UserError(f"{what} ({why}){_advice(what, status)}") from error
            time.sleep(wait)


def _status(error: BaseException) -> int:
    """Of the HTTP answer behind an error, or behind the one that it came from; 0: there is none."""
    response = getattr(error, "response", None)
    status = getattr(error, "status", None) or getattr(response, "status_code", None)
    if isinstance(status, int):
        return status
    return _status(error.__cause__) if error.__cause__ else 0


def _advice(what: str, status: int) -> str:
    """The hub says of what it does not show to a stranger that it is not there."""
    if "hf://" not in what or status not in REFUSED:
        return ""
    return "; if it is there: accept its terms on the hub, and log in (`hf auth login`) or set HF_TOKEN"
