"""Runs a server: loads models, opens the store, listens, and stops without losing anything."""

import contextlib
import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import asdict
from typing import Any

import uvicorn

from legato._errors import InputError, OutputError
from legato._platform.unused_memory import return_unused_memory
from legato._serve.serve_config import DURABILITIES, ServeConfig
from legato._serve.service import Service
from legato._serve.web_app import LOG, make_app

_VARIABLE = "LEGATO_SERVE_CONFIG"  # tells worker processes what to serve
_FIELDS = ("method", "path", "status", "owner", "streams", "request_id", "milliseconds")  # of a log
_MADE_OBJECTS = 50_000  # between searches for garbage
_SWITCH_SECONDS = 0.0005  # Python's threads take turns: connections, and the one that computes


class JsonLines(logging.Formatter):
    """Log records as JSON, one a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + "Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        for name in _FIELDS:
            if getattr(record, name, "") not in ("", None):
                entry[name] = getattr(record, name)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def check_config(config: ServeConfig, workers: int) -> None:
    """Refuse settings that do not fit together.

    Raises:
        InputError: they do not.
    """
    names = [name for name, _ in config.models]
    if len(set(names)) < len(names):
        raise InputError(
            f"Two models have one name, {', '.join(names)}: give each its own, as NAME=PATH."
        )
    for name in names:
        if not name or "/" in name or not name.isprintable():
            raise InputError(f"A model cannot be named {name!r}: name it otherwise, as NAME=PATH.")
    if config.durability not in DURABILITIES:
        raise InputError(
            f"durability is {config.durability!r}; one of {', '.join(DURABILITIES)} was expected."
        )
    if workers > 1 and "://" not in config.store:
        raise InputError(
            f"{workers} workers would write to one file: let them share a Redis server, with "
            "--store redis://HOST:PORT/0, or serve with one worker, which is fast by batches."
        )


def check_port(host: str, port: int) -> None:
    """Refuse an address that cannot be listened at, before models are loaded.

    Raises:
        OutputError: it is in use, or not of this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    for family, kind, protocol, _, address in found:
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as tried:
            if os.name == "posix":  # elsewhere it would share the port with another program
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
            return
    raise _cannot_listen(host, port)


def _cannot_listen(host: str, port: int) -> OutputError:
    return OutputError(
        f"{host}:{port} cannot be listened at: another program uses it, or it is no address of "
        "this machine. Choose another --port."
    )


def run(
    config: ServeConfig,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    **tls: Any,
) -> None:
    """Serve until a signal comes.

    Args:
        config: models, store and limits.
        host, port: to listen at; port 0 is a free one.
        workers: processes that share a store of several.
        tls: options of uvicorn: ``ssl_keyfile``, ``ssl_certfile``.

    Raises:
        LegatoError: a model or the store cannot be used, or the port is taken.
    """
    check_config(config, workers)
    check_port(host, port)
    set_up_logging()
    if workers > 1:
        os.environ[_VARIABLE] = json.dumps(asdict(config))
        target = "legato._serve.server:app_of_worker"
        options = _options(config, host, port, tls)
        uvicorn.run(target, factory=True, workers=workers, **options)
        return
    service = Service(config)
    try:
        server = make_server(service, host, port, **tls)
        server.run()
    finally:
        finished = service.stop()
    if not server.started:
        raise _cannot_listen(host, port)
    if not finished:
        raise OutputError(
            f"Requests were left when the time of --grace, {config.grace:g} s, was over."
        )


def make_server(
    service: Service, host: str = "127.0.0.1", port: int = 0, **tls: Any
) -> "ServiceServer":
    """A server of a service, which ``run`` starts."""
    options = _options(service.config, host, port, tls)
    set_up_interpreter()
    return ServiceServer(uvicorn.Config(make_app(service), **options), service)


def set_up_interpreter() -> None:
    """Let threads take turns quickly, and search for garbage only in what requests leave."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # Keras and JAX are a million objects, which stay
    gc.set_threshold(_MADE_OBJECTS)  # a search costs more than it finds: few of them are in circles
    return_unused_memory()


def _options(config: ServeConfig, host: str, port: int, tls: dict[str, Any]) -> dict[str, Any]:
    """Options of uvicorn."""
    return {
        "host": host,
        "port": port,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,  # nothing here depends on the client's address
        "timeout_graceful_shutdown": config.grace,
        "ws_max_size": int(config.max_body_mib * 2**20),
        **tls,
    }


class ServiceServer(uvicorn.Server):
    """uvicorn's server; tells the service as soon as it is to stop, and says where it listens."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service

    async def startup(self, sockets=None) -> None:
        log = logging.getLogger("uvicorn.error")
        log.disabled = True  # what it would write, ``run`` says
        try:
            await super().startup(sockets)
        except SystemExit:  # uvicorn's way to say that it cannot listen
            self.started = False
            self.should_exit = True
            return
        finally:
            log.disabled = False
        for address in self.addresses():
            LOG.info("Serving %s at %s", ", ".join(self._service.models), address)

    def addresses(self) -> list[str]:
        """Where it listens."""
        scheme = "https" if self.config.is_ssl else "http"
        names = [bound.getsockname() for each in self.servers for bound in each.sockets]
        pairs = [(f"[{name[0]}]" if ":" in name[0] else name[0], name[1]) for name in names]
        return [f"{scheme}://{host}:{port}" for host, port in pairs]

    def handle_exit(self, sig: int, frame) -> None:
        self._service.is_stopping = True
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def set_up_logging() -> None:
    """Write log records to standard error."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("legato.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO if name == "legato.serve" else logging.WARNING)


def app_of_worker():
    """The application of one of several worker processes."""
    set_up_logging()
    given = json.loads(os.environ[_VARIABLE])
    given["models"] = tuple(tuple(each) for each in given["models"])
    service = Service(ServeConfig(**given))
    set_up_interpreter()
    LOG.info("Serving %s in worker process %d", ", ".join(service.models), os.getpid())
    return make_app(service)
