"""A disk that is full: files that cannot grow beyond a size."""

import contextlib
import resource
from collections.abc import Generator


@contextlib.contextmanager
def file_size_limit(size: int) -> Generator[None]:
    """Limit the size of files: longer writes are cut short, further ones fail."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
