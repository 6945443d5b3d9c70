"""API keys: who may ask, whose streams are whose, and who may load versions of models."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from legato._errors import InputError

_MIN_LENGTH = 16  # characters of a key


_MAY_LOAD = "[load]"  # the line before keys that may load versions


class NotAllowedError(InputError):
    """A key does not have the right to do this."""


class Caller(NamedTuple):
    """Who asks.

    Attributes:
        owner: of the streams that the caller sees.
        may_load: whether the caller may load versions of models.
    """

    owner: str
    may_load: bool


@dataclass
class ApiKeys:
    """The keys of a file, as digests; without any, everybody is the owner "" and may load versions.

    Attributes:
        callers: digest of a key → whose it is.
    """

    callers: dict[bytes, Caller] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "ApiKeys":
        """Read a file: a key on each line, or ``owner:key``; blank lines and ``#`` are skipped.

        Keys that follow a line ``[load]`` may load versions of models.

        Raises:
            InputError: it cannot be read, has no key, a short one, or one twice.
        """
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The file of API keys {path} cannot be read ({error}).") from None
        callers: dict[bytes, Caller] = {}
        may_load = False
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            if text == _MAY_LOAD:
                may_load = True
                continue
            owner, found, key = text.partition(":")
            if not found:
                owner, key = "", text
            owner, key = owner.strip(), key.strip()
            if len(key) < _MIN_LENGTH or not key.isascii() or not key.isprintable():
                raise InputError(
                    f"{path}, line {number}: a key of at least {_MIN_LENGTH} printable ASCII "
                    f"characters, or {_MAY_LOAD}, was expected."
                )
            digest = hashlib.sha256(key.encode()).digest()
            if digest in callers:
                raise InputError(f"{path}, line {number}: this key stands in the file twice.")
            if owner and not owner.isprintable():
                raise InputError(f"{path}, line {number}: the owner's name is not printable.")
            callers[digest] = Caller(owner or digest.hex()[:16], may_load)
        if not callers:
            raise InputError(f"{path} holds no API key: write one on each line.")
        return cls(callers)

    def caller_of(self, headers: Mapping[bytes, bytes]) -> Caller | None:
        """Whose a request's key is; None if it has no known one.

        The key is compared with every one in the file, in constant time.
        """
        if not self.callers:
            return Caller("", may_load=True)
        given = headers.get(b"x-api-key", b"")
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if not given and scheme.lower() == b"bearer":
            given = token.strip()
        digest = hashlib.sha256(given).digest()
        found = None
        for known, caller in self.callers.items():
            if hmac.compare_digest(known, digest):
                found = caller
        return found
