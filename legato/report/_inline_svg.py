"""A figure as SVG to stand inside a page: text is text, colours have names, ids are its own.

What Matplotlib writes is read as XML and made smaller: no prolog, no metadata, no fonts, no style
for the whole document, ids only where something refers to them, two decimals. The same figure gives
the same text, always.
"""

import io
import re
import xml.etree.ElementTree as ET

import matplotlib
from matplotlib.figure import Figure

from legato.report._panels import COLOURS, Panel

_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_LONG = re.compile(r"-?\d+\.\d{3,}")
_FONTS = re.compile(r"font-family:[^;]*;?")
_DROPPED = {"metadata", "style"}


def inline_svg(panel: Panel) -> str:
    """A picture as ``<svg>…</svg>``, as wide as its place; ids begin with the panel's name."""
    root = ET.fromstring(_written(panel.alone(), panel.name))
    _prune(root)
    _name_ids(root, panel.name)
    for each in root.iter():
        _lighten(each)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": panel.told})
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _written(figure: Figure, salt: str) -> bytes:
    """As Matplotlib writes it."""
    told = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(told, format="svg", transparent=True, metadata={"Date": None})
    return told.getvalue()


def _prune(element: ET.Element) -> None:
    """Without what a page has no use for, and without the prefixes of XML's namespaces."""
    element.tag = element.tag.rpartition("}")[2]
    for child in list(element):
        _prune(child)
        empty = child.tag in ("g", "defs") and not len(child)
        if child.tag in _DROPPED or empty or _draws_nothing(child):
            element.remove(child)
    for name in [name for name in element.attrib if "}" in name]:
        element.attrib[name.rpartition("}")[2]] = element.attrib.pop(name)
    element.text, element.tail = (element.text or "").strip() or None, None


def _draws_nothing(element: ET.Element) -> bool:
    return element.tag == "path" and element.attrib.get("style") == "fill: none"


def _name_ids(root: ET.Element, prefix: str) -> None:
    """Ids of the picture's own, where something refers to them."""
    used = set()
    for each in root.iter():
        used |= {name for value in each.attrib.values() for name in _REFERENCE.findall(value)}
        if each.tag == "use":
            used.add(each.attrib["href"].removeprefix("#"))
    for each in root.iter():
        if each.attrib.get("id") in used:
            each.attrib["id"] = f"{prefix}-{each.attrib['id']}"
        else:
            each.attrib.pop("id", None)
        for name, value in each.attrib.items():
            each.attrib[name] = _REFERENCE.sub(rf"url(#{prefix}-\1)", value)
        if each.tag == "use":
            each.attrib["href"] = f"#{prefix}-{each.attrib['href'].removeprefix('#')}"


def _lighten(element: ET.Element) -> None:
    """Shorter numbers, the page's own fonts, names of colours."""
    for name, value in element.attrib.items():
        if name in ("href", "id", "clip-path"):
            continue
        decimals = 4 if name == "transform" else 2
        short = _LONG.sub(lambda found, to=decimals: f"{float(found[0]):.{to}f}", value)
        element.attrib[name] = " ".join(short.split())
    style = element.attrib.get("style")
    if style:
        style = _FONTS.sub("", style)
        for name, (light, _) in COLOURS.items():
            style = style.replace(light, f"var(--{name})")
        element.attrib["style"] = style.strip()
    if element.attrib.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]
