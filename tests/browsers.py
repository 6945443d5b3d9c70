"""What a browser shows of a page: its width, its smallest text, its colours, and what it loads."""

import json
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for found in map(shutil.which, BROWSERS) if found), "")


FRAME = """<!doctype html><link rel="icon" href="data:,"><body style="margin:0">
<iframe id="f" src="{page}" style="width:{width}px;height:2000px;border:0"></iframe><script>
f.onload = () => {{
  const page = f.contentDocument;
  const texts = [...page.querySelectorAll("svg text")].map(e => e.getBoundingClientRect().height);
  const small = texts.filter(height => height > 0);
  const loaded = f.contentWindow.performance.getEntriesByType("resource").map(e => e.name);
  document.title = JSON.stringify({{loaded, wide: page.documentElement.scrollWidth,
    least: Math.min(...small), ground: getComputedStyle(page.body).backgroundColor}});
}};
</script>"""


@contextmanager
def served(folder):
    """The address of a folder served on this machine, where a browser reports what it loads."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format, *args):  # noqa: A002  as its base says
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Seen(NamedTuple):
    """Facts that a browser reports of a page."""

    wide: int
    least: float
    ground: str
    console: list[str]
    loaded: list[str]


def browsed(folder: Path, page: str, width: int, *options: str) -> Seen:
    """Open a page of a folder in a frame of some width, without access to other machines."""
    (folder / "frame.html").write_text(FRAME.format(page=page, width=width), encoding="utf-8")
    with served(folder) as address:
        done = subprocess.run(
            [
                *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                f"--user-data-dir={folder / 'profile'}",
                "--enable-logging=stderr",
                "--virtual-time-budget=5000",
                *options,
                *("--dump-dom", f"{address}/frame.html"),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    title = re.search("<title>(.*)</title>", done.stdout)
    assert title, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Seen(**json.loads(title[1]), console=console)
