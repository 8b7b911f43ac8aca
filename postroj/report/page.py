"""What all HTML pages have in common: one file that runs no script and loads nothing.

Its content security policy allows nothing but its own style, by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from postroj.report.markup import Element, add

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroj.verdict import Outcome

POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
STYLE = Path(__file__).with_name("page.css")


def render(title: str, fill: Callable[[Element], None], rules: str = "") -> str:
    """Return an HTML document, to be written as UTF-8; `fill` fills its body.

    `rules` are added to the style and contain no text from elsewhere.
    """
    style = STYLE.read_text("utf-8") + rules
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    root = Element("html", lang="en")
    head = add(root, "head")
    add(head, "meta", charset="utf-8")
    policy = {"http-equiv": "Content-Security-Policy", "content": POLICY.format(digest)}
    add(head, "meta", **policy)
    add(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    add(head, "meta", name="referrer", content="no-referrer")
    add(head, "title", f"postroj: {title}")
    add(head, "style", style)
    fill(add(root, "body"))
    text = ElementTree.tostring(root, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}"


def headline(section: Element, anchor: str, text: str) -> None:
    """Append a headline that can be linked to."""
    permalink(add(section, "h2", text, id=anchor), anchor, text)


def badge(parent: Element, outcome: Outcome) -> Element:
    """Append an outcome in its colour."""
    return add(parent, "span", outcome, class_=f"badge {outcome}")


def link(parent: Element, text: str, anchor: str, class_: str = "") -> Element:
    """Append a link to an element of the page by its id."""
    return add(parent, "a", text, href=f"#{anchor}", **({"class_": class_} if class_ else {}))


def permalink(parent: Element, anchor: str, name: str) -> None:
    """Append the sign from which the address of an element can be copied."""
    sign = link(parent, "#", anchor, "anchor")
    sign.set("aria-label", f"Link to {name}")
