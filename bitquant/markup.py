# SPDX-License-Identifier: Apache-2.0
"""Tables in HTML, for notebooks and pages."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Text", "html_table"]


def html_table(
    headers: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "", right: Iterable[str] = ()
) -> str:
    """Return a table in HTML; whatever stands in a cell is text.

    Parameters
    ----------
    headers
        One a column; all empty: the first cell of a row is its header.
    rows
        Cells.
    caption
        What the table is of; none where it is empty.
    right
        The headers of columns that are aligned to the right.
    """
    right = frozenset(right)
    styles = [' style="text-align:right"' if header in right else "" for header in headers]
    lines = ["<table>"]
    if caption:
        lines.append(f"<caption>{html.escape(caption)}</caption>")
    if any(headers):
        cells = (
            f'<th scope="col"{style}>{html.escape(header)}</th>' for header, style in zip(headers, styles, strict=True)
        )
        lines.append(f"<thead><tr>{''.join(cells)}</tr></thead>")
    lines.append("<tbody>")
    for row in rows:
        cells = (f"<td{style}>{html.escape(str(cell))}</td>" for cell, style in zip(row, styles, strict=True))
        line = "".join(cells)
        if not any(headers):
            line = '<th scope="row">' + line.removeprefix("<td>").replace("</td>", "</th>", 1)
        lines.append(f"<tr>{line}</tr>")
    lines.append("</tbody></table>")
    return "".join(lines)


class Text(str):
    """Text that a notebook shows as HTML; everywhere else it is the text.

    Parameters
    ----------
    text
        The text.
    markup
        What a notebook shows.
    """

    __slots__ = ("_markup",)
    _markup: str

    def __new__(cls, text: str, markup: str) -> Self:
        """Return the text with its other form."""
        made = super().__new__(cls, text)
        made._markup = markup
        return made

    def _repr_html_(self) -> str:
        return self._markup
