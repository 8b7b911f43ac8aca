"""Build XML and HTML elements; the serializer escapes texts and attributes."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement

__all__ = ["Element", "add"]


def add(parent: Element, tag: str, text: str = "", **attributes: str) -> Element:
    """Append an element with a text; a trailing `_` of an attribute name is removed."""
    named = {name.removesuffix("_"): value for name, value in attributes.items()}
    child = SubElement(parent, tag, named)
    child.text = text or None
    return child
