"""Write the notebooks of ``examples/`` from the pages of the documentation: the same text and code.

``python docs/notebooks.py`` writes them all. The tests run the code of the pages, and compare the
notebooks with them.
"""

import json
import re
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent / "examples"
PAGES = ("keras.md", "your-data.md", "serve.md")
FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```\n", re.DOTALL | re.MULTILINE)


def notebook(page: str) -> dict:
    """A page as a notebook: a cell for each ``python`` block, with the ``text`` block after it as
    its output, and cells of text between."""
    text = as_markdown(page)
    cells, done = [], 0
    fences = [*FENCE.finditer(text)]
    for at, fence in enumerate(fences):
        if fence["kind"] != "python":
            continue
        add_text(cells, text[done : fence.start()])
        cell = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
        cells.append(cell | {"source": lines(fence["text"])})
        done = fence.end()
        following = fences[at + 1] if at + 1 < len(fences) else None
        if following and following["kind"] == "text" and text[done : following.start()].isspace():
            output = {"name": "stdout", "output_type": "stream", "text": lines(following["text"])}
            cells[-1]["outputs"] = [output]
            done = following.end()
    add_text(cells, text[done:])
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def as_markdown(page: str) -> str:
    """The text of a page as notebooks show it: one picture of two, links from ``examples/``."""
    text = re.sub(r"^!\[.*#only-dark\)\n", "", page, flags=re.MULTILINE).replace("#only-light", "")
    text = re.sub(r"</?(details|summary)[^>]*>\n?", "", text)
    return re.sub(r"\]\((?!\w+:|#)", "](../docs/", text)


def add_text(cells: list[dict], text: str) -> None:
    if text.strip():
        cells.append({"cell_type": "markdown", "metadata": {}, "source": lines(text.strip())})


def lines(text: str) -> list[str]:
    return text.rstrip("\n").splitlines(keepends=True)


def main() -> None:
    for page in PAGES:
        content = notebook((HERE / page).read_text("utf-8"))
        path = FOLDER / Path(page).with_suffix(".ipynb")
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
