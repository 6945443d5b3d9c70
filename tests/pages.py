"""Parsing HTML in tests: elements with their texts, and errors of nesting."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"br", "input", "link", "meta"}
BLOCKS = {"div", "p", "ul", "dl", "table", "section", "article", "figure", "h1", "h2", "h3"}
ONLY_PHRASES = {"p", "h1", "h2", "h3", "span", "b", "code", "small", "strong", "summary"}
PARENTS = {
    "li": {"ul"},
    "tr": {"thead", "tbody"},
    "td": {"tr"},
    "th": {"tr"},
    "dt": {"dl"},
    "dd": {"dl"},
    "caption": {"table"},
    "figcaption": {"figure"},
    "summary": {"details"},
}


@dataclass
class Element:
    """An element: its tag, attributes, text and children."""

    tag: str
    attributes: dict[str, str]
    parents: list[str]
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def all(self, tag: str, **attributes: str) -> list["Element"]:
        """Every element inside with this tag and these attributes, in order."""
        found = []
        for each in self.children:
            if each.tag == tag and attributes.items() <= each.attributes.items():
                found.append(each)
            found += each.all(tag, **attributes)
        return found

    @property
    def words(self) -> str:
        """Its text on one line."""
        return " ".join(self.text.split())


class _TreeBuilder(HTMLParser):
    """Builds the tree and records errors of nesting."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = Element("", {}, [])
        self.open = [self.root]
        self.faults: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(self.open[-1].children[-1])

    def handle_startendtag(self, tag, attrs):
        parents = [each.tag for each in self.open]
        if tag in PARENTS and parents[-1] not in PARENTS[tag]:
            self.faults.append(f"{tag} in {parents[-1]}")
        if tag in BLOCKS:
            self.faults += [f"{tag} in {each}" for each in parents if each in ONLY_PHRASES]
        names = [name for name, _ in attrs]
        if len(set(names)) < len(names):
            self.faults.append(f"{tag} has an attribute twice")
        self.open[-1].children.append(Element(tag, {k: v or "" for k, v in attrs}, parents))

    def handle_endtag(self, tag):
        if self.open[-1].tag == tag:
            self.open.pop()
        else:
            self.faults.append(f"</{tag}> closes {self.open[-1].tag}")

    def handle_data(self, data):
        for each in self.open:
            each.text += data


def parse(text: str) -> tuple[Element, list[str]]:
    """A page as a tree, and its errors of nesting."""
    reader = _TreeBuilder()
    reader.feed(text)
    reader.close()
    left = [f"{each.tag} is never closed" for each in reader.open[1:]]
    return reader.root, reader.faults + left
