"""A figure as inline SVG for the page: text stays text, colours are CSS variables, ids are unique.

The SVG of Matplotlib is parsed as XML and reduced: without prolog, metadata, fonts and global
styles, with ids only where they are referred to, and with two decimals. The same figure always
gives the same text.
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
    """A panel as ``<svg>…</svg>`` of flexible width; its ids begin with the panel's name."""
    root = ET.fromstring(_save_svg(panel.as_figure(), panel.name))
    _prune(root)
    _prefix_ids(root, panel.name)
    for each in root.iter():
        _shorten_attributes(each)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": panel.description})
    return ET.tostring(root, encoding="unicode", short_empty_elements=True)


def _save_svg(figure: Figure, salt: str) -> bytes:
    """The SVG file that Matplotlib writes."""
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return content.getvalue()


def _prune(element: ET.Element) -> None:
    """Remove elements that the page does not need, and the prefixes of XML namespaces."""
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


def _prefix_ids(root: ET.Element, prefix: str) -> None:
    """Prefix the ids that are referred to, and remove the others."""
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


def _shorten_attributes(element: ET.Element) -> None:
    """Round numbers, drop fonts, and replace colours by the page's CSS variables."""
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
