"""API keys: who may ask, and whose streams are whose."""

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path

from legato._errors import InputError

_MIN_LENGTH = 16  # characters of a key


@dataclass
class ApiKeys:
    """The keys of a file, as digests; without any, everybody is the owner "".

    Attributes:
        owners: digest of a key → its owner.
    """

    owners: dict[bytes, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "ApiKeys":
        """Read a file: a key on each line, or ``owner:key``; blank lines and ``#`` are skipped.

        Raises:
            InputError: it cannot be read, has no key, a short one, or one twice.
        """
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The file of API keys {path} cannot be read ({error}).") from None
        owners: dict[bytes, str] = {}
        for number, line in enumerate(lines, 1):
            text = line.strip()
            if not text or text.startswith("#"):
                continue
            owner, found, key = text.partition(":")
            if not found:
                owner, key = "", text
            owner, key = owner.strip(), key.strip()
            if len(key) < _MIN_LENGTH or not key.isascii() or not key.isprintable():
                raise InputError(
                    f"{path}, line {number}: a key of at least {_MIN_LENGTH} printable ASCII "
                    "characters was expected."
                )
            digest = _digest(key)
            if digest in owners:
                raise InputError(f"{path}, line {number}: this key stands in the file twice.")
            if owner and not owner.isprintable():
                raise InputError(f"{path}, line {number}: the owner's name is not printable.")
            owners[digest] = owner or digest.hex()[:16]
        if not owners:
            raise InputError(f"{path} holds no API key: write one on each line.")
        return cls(owners)

    def owner_of(self, headers: dict[bytes, bytes]) -> str | None:
        """The owner of a request's key; None if it has no known one.

        The key is compared with every one in the file, in constant time.
        """
        if not self.owners:
            return ""
        given = headers.get(b"x-api-key", b"")
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if not given and scheme.lower() == b"bearer":
            given = token.strip()
        digest = hashlib.sha256(given).digest()
        owner = None
        for known, name in self.owners.items():
            if hmac.compare_digest(known, digest):
                owner = name
        return owner


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
