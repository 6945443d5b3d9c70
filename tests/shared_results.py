"""Results that one worker of pytest makes and the others read."""

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path


def common_folder(tmp_path_factory) -> Path:
    """The temporary folder of a whole run, of all workers."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def made_once(file: Path, make: Callable):
    """What ``make`` returns, as JSON has it; a file keeps it for the workers that ask later."""
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            file.write_text(json.dumps(make()))
        return json.loads(file.read_text())
