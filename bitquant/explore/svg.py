# SPDX-License-Identifier: Apache-2.0
"""Elements of SVG. Colours are classes of the page's style sheet, so that drawings follow light and dark."""

from __future__ import annotations

import html
from collections.abc import Iterable

__all__ = ["line", "picture", "rect", "text"]


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _attributes(names: dict[str, str | float]) -> str:
    return "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(value if isinstance(value, str) else _number(value))}"'
        for name, value in names.items()
    )


def rect(x: float, y: float, width: float, height: float, look: str, title: str = "", **more: str | float) -> str:
    """Return a rectangle; `look` is its class, `title` what a pointer that rests on it shows."""
    inside = f"<title>{html.escape(title)}</title>" if title else ""
    attributes = _attributes({"x": x, "y": y, "width": width, "height": height, "class": look, **more})
    return f"<rect{attributes}>{inside}</rect>" if inside else f"<rect{attributes}/>"


def line(x1: float, y1: float, x2: float, y2: float, look: str) -> str:
    """Return a line."""
    return f"<line{_attributes({'x1': x1, 'y1': y1, 'x2': x2, 'y2': y2, 'class': look})}/>"


def text(x: float, y: float, content: str, look: str = "", anchor: str = "start") -> str:
    """Return text that begins, ends or is centred at x ("start", "end", "middle")."""
    attributes: dict[str, str | float] = {"x": x, "y": y}
    if look:
        attributes["class"] = look
    if anchor != "start":
        attributes["text-anchor"] = anchor
    return f"<text{_attributes(attributes)}>{html.escape(content, quote=False)}</text>"


def picture(width: float, height: float, label: str, elements: Iterable[str], name: str = "") -> str:
    """Return a drawing; `label` says in words what it shows."""
    more = f' id="{name}"' if name else ""
    return (
        f'<svg{more} viewBox="0 0 {_number(width)} {_number(height)}" role="img" aria-label="{html.escape(label)}" '
        f'style="max-width:{_number(width * 1.25)}px">{"".join(elements)}</svg>'
    )
