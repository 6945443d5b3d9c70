"""The modules that a fresh process has loaded after running some code."""

import subprocess
import sys


def loaded_after(code: str) -> set[str]:
    """Top-level modules a fresh process has loaded after running some code."""
    show = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", show], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())
