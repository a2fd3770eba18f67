"""Shards that lie elsewhere: listed, fetched, tried again, kept; the samples are those of local ones."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hub_server import Hub
from train_helpers import machine, parts, pretrain, write_root

from benchmarks.errors import UserError
from train.data import shards as remote
from train.data.captions import CaptionStream
from train.data.fingerprint import changes, fingerprint
from train.data.shards import RemoteShard, ShardCache, find_shards
from train.plan import check_machine, missing_parts
from train.recipe import ModelChoice, Recipe


def needs(*packages: str) -> Any:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed: see nightly.yml")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waits, and nothing remembered of other tests."""
    monkeypatch.setattr(remote, "WAITS", (0.0, 0.0))
    remote._listed.cache_clear()


@pytest.fixture
def bucket(root: Path) -> Iterator[Any]:
    """The shards in memory, in folders of folders: an fsspec file system like any other."""
    system = fsspec.filesystem("memory")
    for number, path in enumerate(sorted((root / "captions").glob("*.tar"))):
        system.pipe(f"/bucket/part{number // 4}/{path.name}", path.read_bytes())
    system.pipe("/bucket/README.md", b"not a shard")
    yield system
    system.store.clear()


def captions(shards: Any, cache: Path, **settings: Any) -> CaptionStream:
    return CaptionStream(
        shards,
        "kale",
        image_processor=parts()[1].image_processor,
        num_streams=1,
        seed=0,
        cache=ShardCache(cache, **settings),
    )


def answers(stream: CaptionStream, num: int = 64) -> list[str]:
    return [item.answer for item in islice(stream, num)]


# Where


def test_folders_of_folders(root: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((root / "captions").glob("*.tar"))):
        (tmp_path / "captions" / f"part{number // 4}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "captions" / f"part{number // 4}" / path.name).symlink_to(path)
    (tmp_path / "captions" / ".cache").mkdir()
    (tmp_path / "captions" / ".cache" / "half.tar").touch()
    found = find_shards(tmp_path / "captions")
    assert [path.name for path in found] == [f"{number:05d}.tar" for number in range(8)]
    assert find_shards(tmp_path / "captions", ["captions/part1", "captions/*/0000[0-3].tar"]) == found
    assert answers(captions(found, tmp_path / "c")) == answers(captions(find_shards(root / "captions"), tmp_path / "c"))


@pytest.mark.parametrize(
    "address",
    [
        "memory://bucket",
        "memory://bucket/**/*.tar",
        "memory://bucket/part{0..0}/{00000..00003}.tar memory://bucket/part1/{00004..00007}.tar",
        "memory://bucket/list.txt",
    ],
)
def test_every_kind_of_address(address: str, bucket: Any) -> None:
    names = [f"part{number // 4}/{number:05d}.tar" for number in range(8)]
    bucket.pipe("/bucket/list.txt", "".join(f"{name}\n" for name in names).encode())
    found = find_shards(Path("captions"), address.split())
    assert [str(shard) for shard in found] == [f"memory://bucket/{name}" for name in names]
    assert [shard.size for shard in found] == [bucket.size(f"/bucket/{name}") for name in names]


def test_thousands_are_listed_with_one_request(monkeypatch: pytest.MonkeyPatch, bucket: Any) -> None:
    bucket.store.clear()
    for number in range(3000):
        bucket.pipe(f"/many/{number % 7}/{number:05d}.tar", b"x")
    monkeypatch.setattr(MemoryFileSystem, "info", None)  # not one by one
    assert len(find_shards(Path("captions"), ["memory://many/"])) == 3000


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory://nowhere/", "'memory://nowhere/'"),
        ("memory://bucket/part9/*.tar", "no \\*.tar shard there"),
        ("memory://bucket/gone.tar", "'memory://bucket/gone.tar' \\(FileNotFoundError"),
        ("memory://bucket/part0/{00002..00009}.tar", "part0/00004.tar' \\(FileNotFoundError"),
        ("nosuch://bucket/", "nosuch:// cannot be read \\(.*nosuch"),
        ("nowhere/*.tar", "no \\*.tar shard at "),
    ],
)
def test_what_leads_nowhere_is_one_line(address: str, message: str, bucket: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as refused:
        find_shards(tmp_path / "captions", [address])
    assert "\n" not in str(refused.value)


def test_nothing_is_run_to_get_data() -> None:
    with pytest.raises(ValueError, match="'pipe:curl x': nothing is run to get data"):
        pretrain(shards=["pipe:curl x"])


def test_plan_and_fingerprint_look_there(bucket: Any, tmp_path: Path) -> None:
    stage = pretrain(shards=["memory://bucket/"])
    before = fingerprint(stage, tmp_path)
    assert before["kale"]["files"] == 8
    bucket.pipe("/bucket/part0/00000.tar", b"other")
    remote._listed.cache_clear()
    assert changes(before, fingerprint(stage, tmp_path)) != []
    gone = Recipe(name="t", title="t", model=ModelChoice(), stages=(pretrain(shards=["memory://gone/"]),))
    assert any("'memory://gone/'" in line for line in missing_parts(gone, tmp_path))


def test_a_cache_that_is_too_small_is_found_before_anything_loads(bucket: Any, tmp_path: Path) -> None:
    bucket.pipe("/bucket/part0/00000.tar", bytes(5_000_000))
    stage = pretrain(shards=["memory://bucket/"], streams=4)
    recipe = Recipe(name="t", title="t", model=ModelChoice(), stages=(stage,))
    check_machine(recipe, machine(shard_cache=0.02), tmp_path)
    with pytest.raises(UserError, match=r"0\.005 GB each, more than --shard-cache 0\.01 holds; raise it to 0\.02"):
        check_machine(recipe, machine(shard_cache=0.01), tmp_path)


# Fetching


def test_remote_samples_are_the_local_ones(root: Path, bucket: Any, tmp_path: Path) -> None:
    here = answers(captions(find_shards(root / "captions"), tmp_path / "unused"))
    there = answers(captions(find_shards(Path("captions"), ["memory://bucket/"]), tmp_path / "cache"))
    assert there == here
    assert not (tmp_path / "unused").exists()
    assert len(list((tmp_path / "cache").glob("*.tar"))) == 8


class Flaky:
    """Breaks off, sends half, then all."""

    def __init__(self, faults: int) -> None:
        self.faults = faults
        self.fetched = 0
        self.original = MemoryFileSystem.get_file

    def __call__(self, system: Any, path: str, target: str, **kwargs: Any) -> None:
        self.fetched += 1
        if self.fetched <= self.faults:
            if self.fetched % 2:
                raise ConnectionResetError("by peer")
            Path(target).write_bytes(b"half")
            return
        self.original(system, path, target, **kwargs)


def test_a_connection_that_breaks_costs_a_fetch_and_no_sample(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = find_shards(Path("captions"), ["memory://bucket/"])[0]
    flaky = Flaky(2)
    monkeypatch.setattr(MemoryFileSystem, "get_file", lambda *args, **kwargs: flaky(*args, **kwargs))
    cache = ShardCache(tmp_path)
    path = cache.local(shard)
    assert path.read_bytes() == bucket.cat_file("/bucket/part0/00000.tar")
    assert cache.local(shard) == path
    assert flaky.fetched == 3  # not again
    dead = ShardCache(tmp_path / "dead")
    flaky.faults, flaky.fetched = 99, 0
    with pytest.raises(UserError, match=r"memory://bucket/part0/00000.tar: cannot be fetched \(ConnectionResetError"):
        dead.local(shard)
    assert flaky.fetched == 3
    assert [one for one in (tmp_path / "dead").iterdir() if one.suffix != ".lock"] == []


def test_many_readers_fetch_once(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = find_shards(Path("captions"), ["memory://bucket/"])[0]
    flaky = Flaky(0)
    monkeypatch.setattr(MemoryFileSystem, "get_file", lambda *args, **kwargs: flaky(*args, **kwargs))
    threads = [threading.Thread(target=ShardCache(tmp_path).local, args=(shard,)) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert flaky.fetched == 1


def test_the_oldest_make_room(root: Path, bucket: Any, tmp_path: Path) -> None:
    """For two shards of eight: the samples are all there, twice around."""
    two = 2 * max(path.stat().st_size for path in (root / "captions").glob("*.tar"))
    found = find_shards(Path("captions"), ["memory://bucket/"])
    here = answers(captions(find_shards(root / "captions"), tmp_path / "unused"), 128)
    assert answers(captions(found, tmp_path / "cache", most_bytes=two), 128) == here
    assert len(list((tmp_path / "cache").glob("*.tar"))) <= 3  # one may be on its way


def test_a_remote_shard_that_is_no_archive_is_named_and_passed_over(root: Path, bucket: Any, tmp_path: Path) -> None:
    bucket.pipe("/bucket/part0/00003.tar", b"<html>try again later</html>" * 100)
    items = list(islice(captions(find_shards(Path("captions"), ["memory://bucket/"]), tmp_path), 57))
    (skip,) = {skip for item in items for skip in item.skipped}
    assert skip.source == "memory://bucket/part0/00003.tar"
    assert "not a webdataset shard" in skip.reason


class Answered(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"the server said {status}")
        self.status = status


@pytest.mark.parametrize(("status", "asked"), [(401, 1), (403, 1), (410, 1), (429, 3), (408, 3), (500, 3), (503, 3)])
def test_what_a_server_will_say_again_is_not_asked_again(
    status: int, asked: int, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = find_shards(Path("captions"), ["memory://bucket/"])[0]
    requests = []

    def refuses(*args: Any, **kwargs: Any) -> None:
        requests.append(args)
        raise Answered(status)

    monkeypatch.setattr(MemoryFileSystem, "get_file", refuses)
    with pytest.raises(UserError, match=f"cannot be fetched \\(Answered: the server said {status}"):
        ShardCache(tmp_path).local(shard)
    assert len(requests) == asked


def test_shards_that_may_be_listed_and_not_read_are_found_at_once(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise PermissionError("GetObject")

    monkeypatch.setattr(MemoryFileSystem, "_open", forbidden)
    for address in ("memory://bucket/", "memory://bucket/part0/00000.tar"):
        with pytest.raises(UserError, match=r"part0/00000.tar cannot be read \(PermissionError: GetObject"):
            find_shards(Path("captions"), [address])


# Real servers


class Server(SimpleHTTPRequestHandler):
    """Every other request for a shard is turned away."""

    seen = 0

    def do_GET(self) -> None:
        if self.path.endswith(".tar"):
            Server.seen += 1
            if Server.seen % 2:
                self.send_error(503)
                return
        super().do_GET()

    def log_message(self, *args: Any) -> None:
        pass


@needs("aiohttp")
def test_from_a_web_server(root: Path, tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(root))) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}/captions"
        here = answers(captions(find_shards(root / "captions"), tmp_path / "unused"))
        for number, address in enumerate([f"{base}/{{00000..00007}}.tar", f"{base}/*.tar"]):
            found = find_shards(Path("captions"), [address])
            assert found[0] == RemoteShard(f"{base}/00000.tar", (root / "captions" / "00000.tar").stat().st_size)
            assert answers(captions(found, tmp_path / str(number))) == here
        with pytest.raises(UserError, match=r"00008.tar' \(FileNotFoundError"):
            find_shards(Path("captions"), [f"{base}/00008.tar"])
        server.shutdown()


HUB = """
import json, sys, time
from pathlib import Path
time.sleep = lambda seconds: None  # what the library waits between its own tries
from benchmarks.errors import UserError
from train.data import shards
shards.WAITS = (0.0, 0.0)
told = []
for address in sys.argv[2:]:
    try:
        found = shards.find_shards(Path("captions"), [address])
        cache = shards.ShardCache(Path(sys.argv[1]))
        told.append([[str(one), one.size, str(cache.local(one))] for one in found])
    except UserError as error:
        told.append(str(error))
print(json.dumps(told))
"""
"""Where shards are and what they hold, as a process learns it that was told of the hub by its environment."""


def of_hub(url: str, cache: Path, *addresses: str) -> list[Any]:
    environment = {**os.environ, "HF_ENDPOINT": url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(cache / "home")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, sys.path))
    command = [sys.executable, "-W", "ignore", "-c", HUB, str(cache), *addresses]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    told: list[Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def hub_folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    for number, path in enumerate(sorted((root / "captions").glob("*.tar"))):
        place = folder / "org" / "kale" / "data" / f"part {number // 4}"
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).write_bytes(path.read_bytes())
    (folder / "org" / "kale" / "README.md").write_text("not a shard")
    for name in ("gated", "private"):
        (folder / "org" / name).mkdir()
        (folder / "org" / name / "00000.tar").write_bytes(b"x" * 100)
    return folder


@pytest.mark.skipif(
    version("huggingface_hub").startswith("1."),
    reason="before 2.0 the library tries no request of a listing again, and here one of them always fails",
)
def test_from_a_hub_that_fails_every_other_time(root: Path, hub_folder: Path, tmp_path: Path) -> None:
    addresses = [
        "hf://datasets/org/kale",
        "hf://datasets/org/kale@main/data/**/*.tar",
        "hf://datasets/org/kale/data/part 1/{00004..00007}.tar",
    ]
    with Hub(hub_folder, flaky=True) as hub:
        told = of_hub(hub.url, tmp_path, *addresses)
    local = sorted((root / "captions").glob("*.tar"))
    for found, wanted, revision in zip(told, (local, local, local[4:]), ("", "@main", ""), strict=True):
        assert not isinstance(found, str), found
        names = [f"part {number // 4}/{number:05d}.tar" for number in range(8 - len(wanted), 8)]
        assert [one[0] for one in found] == [f"hf://datasets/org/kale{revision}/data/{name}" for name in names]
        for (_, size, fetched), original in zip(found, wanted, strict=True):
            assert size == original.stat().st_size
            assert Path(fetched).read_bytes() == original.read_bytes()


def test_what_a_hub_refuses_is_one_line_and_not_asked_for_again(hub_folder: Path, tmp_path: Path) -> None:
    lines = {
        "hf://datasets/org/nothing": "(FileNotFoundError: datasets/org/nothing (repository not found)",
        "hf://datasets/org/kale@old": "(FileNotFoundError: datasets/org/kale@old (revision not found))",
        "hf://datasets/org/kale/elsewhere": "no *.tar shard there",
        "hf://datasets/org/kale/data/part 1/00009.tar": "(FileNotFoundError: datasets/org/kale/data/part 1/00009.tar)",
        "hf://datasets/org/gated": "cannot be read (GatedRepoError: ",
        "hf://datasets/org/private": "cannot be listed (HfHubHTTPError: ",
        "hf://kale": "cannot be listed (ValueError: Repository id must be 'namespace/name'",
    }
    with Hub(hub_folder) as hub:
        told = of_hub(hub.url, tmp_path, *lines)
        asked = list(hub.asked)
    for line, (address, expected) in zip(told, lines.items(), strict=True):
        assert isinstance(line, str), line
        assert line.startswith(f"shards: {address!r}"), line
        assert expected in line
        assert "\n" not in line
    for address, line in zip(lines, told, strict=True):
        assert ("HF_TOKEN" in line) == address.endswith(("gated", "private")), line
    assert sum("gated/resolve" in path for path in asked) == 1
    assert sum(path.endswith("/private") for path in asked) == 1


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        (line,) = of_hub(f"http://127.0.0.1:{nobody.getsockname()[1]}", tmp_path, "hf://datasets/org/kale")
    assert line.startswith("shards: 'hf://datasets/org/kale': cannot be listed (ConnectError: ")
    assert "\n" not in line


@needs("s3fs", "moto", "flask")
def test_from_s3(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "ENDPOINT_URL": f"http://{host}:{port}",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    system = fsspec.filesystem("s3")
    system.mkdir("kale")
    for path in (root / "captions").glob("*.tar"):
        system.put_file(str(path), f"kale/deep/er/{path.name}")
    here = answers(captions(find_shards(root / "captions"), tmp_path / "unused"))
    for number, address in enumerate(["s3://kale/deep/", "s3://kale/**/*.tar"]):
        found = find_shards(Path("captions"), [address])
        assert str(found[0]) == "s3://kale/deep/er/00000.tar"
        assert answers(captions(found, tmp_path / str(number))) == here
    server.stop()
