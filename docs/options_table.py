"""A hook of MkDocs: puts the options of ``legato.train`` where a page has ``<!-- options -->``.

They are the fields of ``TrainConfig``, with the help that ``legato train --help`` shows.
"""

from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from legato import TrainConfig

MARK = "<!-- options -->"


def on_page_markdown(markdown: str, **_) -> str:
    return markdown.replace(MARK, table()) if MARK in markdown else markdown


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
