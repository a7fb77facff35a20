# SPDX-License-Identifier: Apache-2.0
"""Docstrings as pages show them: in Markdown a block of code is indented, and nothing announces it."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Writes the two colons of reStructuredText before a block as one."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of an object that has one."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"::$", ":", obj.docstring.value, flags=re.MULTILINE)
