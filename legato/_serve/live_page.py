"""The page of a server: models, streams, and what a stream answers as it is fed.

It is one file without anything from elsewhere. The policy that it is sent with lets its own style
and script run, by their digests, and nothing else.
"""

import base64
import hashlib
import re
from importlib.resources import files


def read_page() -> tuple[bytes, dict[str, str]]:
    """The page, and the headers that it is sent with."""
    page = files("legato._serve").joinpath("live_page.html").read_bytes()
    policy = (
        f"default-src 'none'; script-src {_digest_in(page, b'script')}; "
        f"style-src {_digest_in(page, b'style')}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return page, headers


def _digest_in(page: bytes, tag: bytes) -> str:
    """The digest of the one inline script or style, as a policy has it."""
    (content,) = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"
