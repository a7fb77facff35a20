# SPDX-License-Identifier: Apache-2.0
"""What pages show of a docstring and a signature: neither the marks of reStructuredText nor private defaults."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Writes the two colons before a block of code as one, and no default of a field that must be given."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change an object before its page is made."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"::$", ":", obj.docstring.value, flags=re.MULTILINE)

    def on_attribute_instance(self, *, attr: Any, **_: Any) -> None:
        """Change a field, of which the signature of its class is made."""
        if str(attr.value) == "_MISSING":
            attr.value = None
