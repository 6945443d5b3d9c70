"""A model behind an address: a service that keeps a state for every stream, and its client."""

from importlib.util import find_spec

from legato._errors import MissingError

_PACKAGES = {
    "msgspec": "msgspec",
    "prometheus_client": "prometheus-client",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
}


def check_is_installed() -> None:
    """Check that the packages of a server are there.

    Raises:
        MissingError: they are not.
    """
    missing = [name for module, name in _PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise MissingError(
            f"A server needs {', '.join(missing)}, not installed here: pip install 'legato[serve]'."
        )
