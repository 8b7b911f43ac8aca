"""Elements of XML and HTML: text and attributes are escaped by who writes them, never by hand."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

__all__ = ["Element", "add"]


def add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    """Append an element that holds a text; a trailing `_` of an attribute's name is dropped."""
    named = {name.removesuffix("_"): value for name, value in attributes.items()}
    child = SubElement(parent, tag, named)
    child.text = text or None
    return child
