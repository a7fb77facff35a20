# SPDX-License-Identifier: Apache-2.0
"""What is computed when the package is built: the README of a package index, whose links lead to or name the source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

__all__ = ["ReadmeHook", "absolute_links", "named_files"]

#: A link or picture: "!" of a picture, its text, and where it leads, which is no address and no place in the page.
_RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s]+)\)")


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

    def absolute(link: re.Match[str]) -> str:
        return f"{link[1]}[{link[2]}]({source}/{'raw' if link[1] else 'blob'}/v{version}/{link[3]})"

    return _RELATIVE.sub(absolute, text)


def named_files(text: str) -> str:
    """Return Markdown that names the files to which its relative links lead; they are in the source distribution."""

    def named(link: re.Match[str]) -> str:
        file = f"`{link[3].split('#')[0]}`"
        return f"*Picture: {link[2]}*, {file}" if link[1] else f"{link[2]} ({file})"

    return _RELATIVE.sub(named, text)


class ReadmeHook(MetadataHookInterface):
    """Gives README.md to the package."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the field ``readme``."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        source = metadata.get("urls", {}).get("Source")
        text = named_files(text) if source is None else absolute_links(text, source, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
