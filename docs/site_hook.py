"""A hook of MkDocs, for what pages take from elsewhere in the repository.

``<!-- options -->`` becomes the options of ``legato.train``: the fields of ``TrainConfig``, with
the help that ``legato train --help`` shows. ``<!-- contributing -->`` becomes ``CONTRIBUTING.md``.
"""

import re
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from legato import TrainConfig

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)]+)\)")


def on_page_markdown(markdown: str, **_) -> str:
    for mark, made in (("<!-- options -->", table), ("<!-- contributing -->", contributing)):
        if mark in markdown:
            markdown = markdown.replace(mark, made())
    return markdown


def contributing() -> str:
    """The text for contributors, with the links that lead to pages of the site."""

    def link(found: re.Match) -> str:
        page = found["target"].removeprefix("docs/")
        return f"[{found['text']}]({page})" if page != found["target"] else found["text"]

    return LINK.sub(link, (ROOT / "CONTRIBUTING.md").read_text("utf-8"))


def in_words(kind: Any) -> str:
    """A type as readers know it: the values of a literal, the types of a union."""
    if get_origin(kind) is Literal:
        return ", ".join(f'`"{value}"`' for value in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(in_words(each) for each in get_args(kind) if each is not NoneType)
    return f"`{kind if get_args(kind) else kind.__name__}`"


def table() -> str:
    """The options as a table: name, type, default, meaning."""
    rows = ["| keyword | type | default | meaning |", "|---|---|---|---|"]
    for each in fields(TrainConfig):
        default = "" if each.default is None else f"`{each.default!r}`"
        rows.append(
            f"| `{each.name}` | {in_words(each.type)} | {default} | {each.metadata['help']} |"
        )
    return "\n".join(rows)
