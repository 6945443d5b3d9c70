"""``legato serve``: models behind an address, with a state for every stream."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from legato._errors import InputError
from legato.cli._error_reporting import report_errors
from legato.cli._options import Debug


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Model files; NAME=PATH names one otherwise than its file.",
            metavar="MODEL...",
            show_default=False,
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 is all of this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen at; 0 takes a free one.", min=0, max=65_535)
    ] = 8000,
    store: Annotated[
        str | None,
        typer.Option(
            help="Where streams are kept: a file, or redis://HOST:PORT/0, which several servers "
            "may share. Default: the first model's file with the suffix .streams.",
            show_default=False,
        ),
    ] = None,
    durability: Annotated[
        Literal["memory", "write", "fsync"],
        typer.Option(
            help="What an answered step survives: nothing for a moment (memory), the end of the "
            "process (write), or a loss of power too (fsync)."
        ),
    ] = "write",
    workers: Annotated[
        int, typer.Option(help="Processes; several need a store that they share.", min=1)
    ] = 1,
    limit: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of streams of a model in memory; the others are in the store. "
            "Default: as many as 1 GiB holds.",
            min=1,
            show_default=False,
        ),
    ] = None,
    idle_minutes: Annotated[
        float | None,
        typer.Option(
            help="Keep a stream in the store alone after so long without a step.",
            min=0.01,
            show_default=False,
        ),
    ] = None,
    max_batch: Annotated[
        int, typer.Option(help="Maximum number of streams in one batch.", min=1)
    ] = 1024,
    max_wait_ms: Annotated[
        float, typer.Option(help="Time that a batch waits for more requests.", min=0)
    ] = 0.0,
    max_queue: Annotated[
        int,
        typer.Option(
            help="Maximum number of feeds that wait, of one stream each; more are refused (429).",
            min=1,
        ),
    ] = 10_000,
    max_body_mib: Annotated[
        float, typer.Option(help="Size of the largest request.", min=0.001)
    ] = 16.0,
    max_steps: Annotated[
        int,
        typer.Option(
            help="Maximum number of steps in one request; others wait while they are computed.",
            min=1,
        ),
    ] = 10_000,
    timeout: Annotated[
        float, typer.Option(help="Seconds that a request waits at most for its turn.", min=0.001)
    ] = 10.0,
    grace: Annotated[
        float, typer.Option(help="Seconds to finish what was taken, at the end.", min=0)
    ] = 10.0,
    rate: Annotated[
        float | None,
        typer.Option(
            help="Maximum number of requests a second from one owner of a key.",
            min=0.001,
            show_default=False,
        ),
    ] = None,
    streams_per_key: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of streams of one owner of a key.", min=1, show_default=False
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help="File of the keys that are let in, one a line, or OWNER:KEY; streams of one "
            "owner are not seen by another. Only keys after a line [load] may load versions.",
            show_default=False,
        ),
    ] = None,
    other_weights: Annotated[
        bool,
        typer.Option(
            "--other-weights",
            help="Let streams that other weights of a model made go on with the newest ones.",
        ),
    ] = False,
    keep_history: Annotated[
        int,
        typer.Option(
            help="Number of last steps of each stream that the store keeps, to replay them to a "
            "new version of the model.",
            min=0,
            max=1_000_000,
        ),
    ] = 0,
    log_requests: Annotated[
        bool,
        typer.Option(
            "--log-requests", help="Write a line for every request, with its streams and its id."
        ),
    ] = False,
    ssl_keyfile: Annotated[
        Path | None, typer.Option(help="Private key, to serve HTTPS.", show_default=False)
    ] = None,
    ssl_certfile: Annotated[
        Path | None, typer.Option(help="Certificate, to serve HTTPS.", show_default=False)
    ] = None,
    debug: Debug = False,
) -> None:
    """Serve models over HTTP, and keep a state for every stream.

    A stream begins when a name is fed for the first time, and goes on from one request to the next,
    also after the server was stopped or killed: by default, every step is in the store before it is
    answered. A request with an id that was answered already is answered again, and not fed twice.
    Requests that arrive together are computed together.

    The server speaks the Open Inference Protocol (`/v2`), with Triton's sequence extension, and a
    plain one in JSON (`/v1`), described at `/openapi.json`. The page `/` shows models and streams,
    `/metrics` what Prometheus reads. Ctrl-C finishes what was taken, and stops.

    Examples:

    - `legato serve sensors.keras`
    - `curl localhost:8000/v1/streams/pump-7/feed --json '{"row": {"pressure": 2.1}}'`
    - `legato serve a.keras b=other.keras --store redis://localhost:6379/0 --workers 2`
    """
    with report_errors(debug):
        named = [_named(each) for each in models]
        if (ssl_keyfile is None) != (ssl_certfile is None):
            raise InputError("HTTPS needs both --ssl-keyfile and --ssl-certfile: give both.")
        for path in (ssl_keyfile, ssl_certfile):
            if path is not None and not path.is_file():
                raise InputError(f"There is no file {path}, which HTTPS needs.")
        from legato._serve import check_is_installed

        check_is_installed()
        from legato._serve.serve_config import ServeConfig
        from legato._serve.server import run

        first = Path(named[0][1])
        config = ServeConfig(
            models=tuple(named),
            store=str(first.with_suffix(".streams")) if store is None else store,
            durability=durability,
            limit=limit,
            idle_minutes=idle_minutes,
            max_wait_ms=max_wait_ms,
            max_batch=max_batch,
            max_queue=max_queue,
            max_body_mib=max_body_mib,
            max_steps=max_steps,
            timeout=timeout,
            grace=grace,
            rate=rate,
            streams_per_key=streams_per_key,
            api_key_file=None if api_key_file is None else str(api_key_file),
            other_weights=other_weights,
            keep_history=keep_history,
            log_requests=log_requests,
        )
        tls = (
            {}
            if ssl_keyfile is None
            else {"ssl_keyfile": ssl_keyfile, "ssl_certfile": ssl_certfile}
        )
        run(config, host, port, workers, **tls)


def _named(given: str) -> tuple[str, str]:
    """The name and the path of NAME=PATH, or of a path whose file names the model."""
    name, found, path = given.partition("=")
    if not found or "/" in name or Path(given).exists():
        return Path(given).stem, given
    return name, path
