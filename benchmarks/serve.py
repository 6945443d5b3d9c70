"""How many steps a second does a server of streams answer, how late, and what does a stream cost?

An LSTM of 50 units and a softmax over 26 letters, 1,000 streams, on loopback; server and clients
share the machine. Every request has an id.

With each `--durability`, and with a Redis that forces every write onto the disk:

* single: one step a request, from 64 connections, each as fast as it is answered.
* several: one step of each of 50 streams a request, from 16 connections.
* late: single requests at half of the rate just measured: how long until an answer.
* many: 100,000 streams: memory a stream, and the time to start with all of them stored.
* kills: a server under load is killed at random moments, and each answer is compared with the
  stream of its own that was never stopped. Its status is 1 if a step was lost or made twice.
* redis: the same where the server's store is a Redis, which is killed.

The rivals answer one step a call, and keep nothing beyond the process, so they are compared with
`--durability memory`: a FastAPI handler around ONNX Runtime that keeps states in a dictionary, and,
with `--mlserver PYTHON`, MLServer around ONNX Runtime, to which the client sends the states.

    python benchmarks/serve.py
    python benchmarks/serve.py --only single --durability memory fsync --rounds 5
    python benchmarks/serve.py --only kills redis --kills 200
    python benchmarks/serve.py --only single late --mlserver venv-with-mlserver/bin/python
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import _bench
from _servers import (
    CONNECTIONS,
    LETTERS,
    MANY,
    MLSERVER,
    RIVAL,
    SEVERAL,
    SEVERAL_CONNECTIONS,
    STEP,
    Connection,
    Redis,
    Server,
    load,
)

QUESTION = "What does a server of streams answer?"
REDIS = "Redis, appendfsync always"
SECTIONS = ["single", "several", "late", "many", "kills", "redis"]


def make_model(folder: Path) -> None:
    """Write the model, as a Keras file and as ONNX."""
    script = (
        "import legato, keras, sys; from legato import layers; keras.utils.set_random_seed(1);"
        f"model = legato.Sequential([layers.Input((None, {LETTERS}), name='x'), layers.LSTM(50),"
        f" layers.Dense({LETTERS}, activation='softmax')]);"
        "model.save(sys.argv[1] + '/abc.keras');"
        "legato.export_onnx(model, sys.argv[1] + '/abc.onnx')"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)


# Sections.


def measure_rates(given: argparse.Namespace, folder: Path, several: bool) -> dict[str, Any]:
    """Steps a second of every way, rounds in turn."""
    rivals = [RIVAL, *([MLSERVER] if given.mlserver else [])]
    names = [*given.durability, *([] if several else rivals)]
    servers = {
        name: Server(folder, name, f"{name}-{several}.streams", given.mlserver) for name in names
    }
    redis = Redis(folder) if shutil.which("redis-server") else None
    if redis is not None:
        names.append(REDIS)
        servers[REDIS] = Server(folder, "write", f"redis://127.0.0.1:{redis.port}/0")
        redis.start()
    rates: dict[str, list[float]] = {name: [] for name in names}
    late: dict[str, list[float]] = {name: [] for name in names}
    try:
        for each in servers.values():
            each.start()
            asyncio.run(load(each, 0.5, several, round_number=-1))
        for turn in range(given.rounds):
            for name in _bench.in_turn(names, turn):
                rate, _ = asyncio.run(
                    load(servers[name], given.seconds, several, round_number=turn)
                )
                rates[name].append(rate)
                _bench.progress(f"{name}: {rate:,.0f} steps a second")
        if "late" in given.only and not several:
            for name in names:
                half = median(rates[name]) / 2
                _, waits = asyncio.run(load(servers[name], given.seconds, False, half, 99))
                late[name] = sorted(1000 * each for each in waits)
    finally:
        for each in [*servers.values(), *([redis] if redis else [])]:
            each.kill()
    head = ["", "steps a second", "of memory"]
    base = rates.get("memory")
    rows = [
        [name, _bench.spread(each), _bench.spread(_bench.ratios(each, base)) if base else ""]
        for name, each in rates.items()
    ]
    print(_bench.table(head, rows), end="\n\n")
    if any(late.values()):
        parts = [(name, each) for name, each in late.items() if each]
        rows = [
            [name, f"{each[len(each) // 2]:.1f}", f"{each[int(len(each) * 0.99)]:.1f}"]
            for name, each in parts
        ]
        print("Milliseconds to an answer at half of that load:")
        print(_bench.table(["", "median", "99 of 100"], rows), end="\n\n")
    return {"steps_a_second": rates, "milliseconds_at_half_load": late}


async def begin_many(port: int, count: int) -> None:
    """Begin streams with one step each."""
    connected = Connection(port)
    for begin in range(0, count, 1000):
        names = [f"machine-{at:06d}" for at in range(begin, min(begin + 1000, count))]
        feeds = [{"stream": name, "x": STEP, "id": "first"} for name in names]
        await connected.post("/v1/feed", {"feeds": feeds})
    connected.close()


def measure_many(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Memory of many streams, and the time to start with them."""
    server = Server(folder, "write", "many.streams")
    server.start()
    empty = server.took
    asyncio.run(begin_many(server.port, 1000))
    before = server.nbytes
    began = time.perf_counter()
    asyncio.run(begin_many(server.port, MANY))
    took = time.perf_counter() - began
    time.sleep(3)  # memory that was used while they came is returned when no more come
    each = (server.nbytes - before) / (MANY - 1000)
    server.stop()
    server.start()
    again = server.took
    server.kill()
    state = 4 * 2 * 50
    rows = [
        ["bytes a stream in memory", f"{each:,.0f}"],
        ["of these its state", f"{state:,}"],
        ["seconds to begin all", f"{took:.1f}"],
        ["seconds to start, no stream stored", f"{empty:.1f}"],
        ["seconds to start, all stored", f"{again:.1f}"],
    ]
    print(_bench.table([f"{MANY:,} streams", ""], rows), end="\n\n")
    return {"bytes": each, "begin_s": took, "start_empty_s": empty, "start_s": again}


def measure_kills(given: argparse.Namespace, folder: Path, of_redis: bool) -> dict[str, Any]:
    """Kill a server, or its Redis, under load; compare every answer with streams that were never
    stopped."""
    redis = Redis(folder) if of_redis else None
    if redis is not None:
        redis.start()
    store = "kills.streams" if redis is None else f"redis://127.0.0.1:{redis.port}/0"
    server = Server(folder, "write", store)
    server.start()
    killed: Server | Redis = redis or server
    rng = random.Random(given.seed)
    answers: list[list[dict]] = [[] for _ in range(CONNECTIONS)]
    inputs: list[list[list[float]]] = [[] for _ in range(CONNECTIONS)]
    is_over = False

    async def feed(number: int) -> None:
        connected, draw = Connection(server.port), random.Random(given.seed + number)
        while not is_over:
            x = [round(draw.random(), 3) for _ in range(LETTERS)]
            body = {"x": x, "id": f"{number} {len(answers[number])}"}
            while True:
                try:
                    answer = await connected.post(f"/v1/streams/k{number}/feed", body)
                    break
                except OSError:
                    await asyncio.sleep(0.02)
                except RuntimeError as error:  # 503: Redis is away
                    if redis is None or "Redis" not in str(error):
                        raise
                    await asyncio.sleep(0.02)
            inputs[number].append(x)
            answers[number].append(json.loads(answer))
        connected.close()

    async def kill() -> None:
        nonlocal is_over
        for number in range(given.kills):
            await asyncio.sleep(rng.uniform(0.01, 0.3))
            killed.kill()
            await asyncio.to_thread(killed.start)
            if number % 10 == 9:
                _bench.progress(f"{number + 1} kills, {sum(map(len, answers)):,} answers")
        is_over = True

    async def both() -> None:
        await asyncio.gather(kill(), *map(feed, range(CONNECTIONS)))

    asyncio.run(both())
    server.kill()
    if redis is not None:
        redis.kill()
    result = {"kills": given.kills, **compare(folder, inputs, answers)}
    print(_bench.table(["kills", ""], [[k, f"{v:g}"] for k, v in result.items()]), end="\n\n")
    if result["streams_with_wrong_steps"] or result["largest_difference"] > 1e-6:
        sys.exit(1)
    return result


def compare(
    folder: Path, inputs: list[list[list[float]]], answers: list[list[dict]]
) -> dict[str, float]:
    """Compare answers with those of streams that were never stopped."""
    counted = [[each["steps"] for each in answer] for answer in answers]
    wrong = sum(count != list(range(1, len(count) + 1)) for count in counted)
    file = folder / "answers.json"
    file.write_text(
        json.dumps([[x, [a["y"] for a in y]] for x, y in zip(inputs, answers, strict=True)])
    )
    script = (
        "import json, sys, legato, numpy as np; model = legato.load_model(sys.argv[1]);"
        "print(max(float(np.abs(model.stream().feed(np.float32(x)) - np.float32(y)).max())"
        " for x, y in json.load(open(sys.argv[2])) if x))"
    )
    command = [sys.executable, "-c", script, str(folder / "abc.keras"), str(file)]
    largest = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {
        "answers": sum(map(len, answers)),
        "streams_with_wrong_steps": wrong,
        "largest_difference": largest,
    }


def parse() -> argparse.Namespace:
    """Parse the arguments."""
    parser = _bench.arguments(QUESTION, [], 3)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION")
    parser.add_argument(
        "--durability", nargs="+", default=["memory", "write", "fsync"], metavar="NAME"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--mlserver", default="", metavar="PYTHON", help="one that has MLServer")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Measure what was asked for."""
    given, results = parse(), {}
    with tempfile.TemporaryDirectory(prefix="legato-benchmark-") as name:
        folder = Path(name)
        make_model(folder)
        if {"single", "late"} & set(given.only):
            print("One step a request, 64 connections:")
            results["single"] = measure_rates(given, folder, several=False)
        if "several" in given.only:
            print(f"{SEVERAL} streams a request, {SEVERAL_CONNECTIONS} connections:")
            results["several"] = measure_rates(given, folder, several=True)
        if "many" in given.only:
            results["many"] = measure_many(given, folder)
        if "kills" in given.only:
            results["kills"] = measure_kills(given, folder, of_redis=False)
        if "redis" in given.only and shutil.which("redis-server"):
            print("Redis killed:")
            results["redis"] = measure_kills(given, folder, of_redis=True)
    versions = {
        "legato": {name: version(name) for name in ("starlette", "uvicorn", "keras", "jax")}
    }
    print(_bench.facts(versions))
    _bench.save(given.json, versions, results)


def version(name: str) -> str:
    """The version of a package."""
    from importlib.metadata import version as version_of

    return version_of(name)


if __name__ == "__main__":
    main()
