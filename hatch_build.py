# SPDX-License-Identifier: Apache-2.0
"""What is computed when the package is built: the README of a package index, whose links lead to the source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

__all__ = ["ReadmeHook", "absolute_links"]


def absolute_links(text: str, source: str, version: str) -> str:
    """Return Markdown whose relative links lead to the files of a released version.

    Parameters
    ----------
    text
        Markdown.
    source
        Address of the repository, as a host such as GitHub has it.
    version
        The version; its tag is ``v<version>``.
    """
    here = f"{source}/blob/v{version}/"
    pictures = f"{source}/raw/v{version}/"
    text = re.sub(r"(!\[[^\]]*\]\()(?![a-z]+:|#)([^)\s]+)", rf"\g<1>{pictures}\g<2>", text)
    return re.sub(r"((?<!!)\[[^\]]*\]\()(?![a-z]+:|#)([^)\s]+)", rf"\g<1>{here}\g<2>", text)


class ReadmeHook(MetadataHookInterface):
    """Gives README.md to the package."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field ``readme``."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": absolute_links(text, metadata["urls"]["Source"], metadata["version"]),
        }
