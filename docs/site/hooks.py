# SPDX-License-Identifier: Apache-2.0
"""What mkdocs does beside its own work: pages that are made from other files, and links that leave docs/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files
from mkdocs.utils import log

ROOT = Path(__file__).parents[2]
#: Files beside docs/ that are pages of the site.
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
#: What fits beside the navigation on a screen of 1280 pixels.
_COLUMNS = 84
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Say where the source is, if the package does."""
    found = re.search(r'^Source = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    config["repo_url"] = found[1] if found else None
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file of docs/ has."""
    pages = {page: (ROOT / name).read_text(encoding="utf-8") for name, page in PAGES.items()}
    pages["command-line.md"] = command_line()
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """Lead links to files outside docs/ to their page, or to the source of this version; else name the file."""
    name = page.file.src_uri
    here = ROOT if name in PAGES.values() else (ROOT / "docs" / name).parent
    return _outside_code(markdown, lambda text: _LINK.sub(lambda link: _led(link, here, name, config), text))


def _led(link: re.Match[str], here: Path, name: str, config: Any) -> str:
    mark, text, target, place = link.groups(default="")
    path = (here / target).resolve()
    if not path.is_relative_to(ROOT):
        return link[0]
    inside = path.relative_to(ROOT).as_posix()
    if inside in PAGES:
        address = PAGES[inside]
    elif inside.startswith("docs/"):
        address = inside.removeprefix("docs/")
    else:
        if not path.exists():
            log.warning("Doc file '%s' contains a link '%s', and there is no such file", name, target)
        if config["repo_url"] is None:
            return f"{text} (`{inside}`)" if inside not in text else text
        return f"{mark}[{text}]({config['repo_url']}/blob/v{_version()}/{inside}{place})"
    # Relative to the page, which may stand in a folder.
    return f"{mark}[{text}]({'../' * name.count('/')}{address}{place})"


def _version() -> str:
    (found,) = re.findall(r'^__version__ = "(.+)"', (ROOT / "bitquant" / "__init__.py").read_text(), re.MULTILINE)
    return found


def _outside_code(markdown: str, change: Any) -> str:
    """Apply a function to what is not between fences."""
    parts = re.split(r"(^ *```.*?^ *```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


def command_line() -> str:
    """Return the page of all commands: what each prints for ``--help``."""
    from bitquant.cli.app import cli

    blocks = [
        "# Command line",
        (
            "What `bitquant COMMAND --help` prints. [Models](models.md#from-the-command-line), [tuning](tuning.md) and "
            "[benchmarks](benchmarks.md#running-it) show commands at work."
        ),
    ]
    parent = click.Context(cli, info_name="bitquant", terminal_width=_COLUMNS, max_content_width=_COLUMNS)
    blocks.append(_help(cli, parent))
    blocks += _commands(cli, parent)
    return "\n\n".join(blocks) + "\n"


def _help(command: Any, context: click.Context) -> str:
    text = command.get_help(context).replace("\b", "")  # click's mark of lines that are not to be filled
    return f"```text\n{text}\n```"


def _commands(group: Any, parent: click.Context) -> list[str]:
    blocks = []
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        context = click.Context(
            command, info_name=name, parent=parent, terminal_width=_COLUMNS, max_content_width=_COLUMNS
        )
        blocks += [f"## {context.command_path}", _help(command, context)]
        if isinstance(command, click.Group):
            blocks += _commands(command, context)
    return blocks
