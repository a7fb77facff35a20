"""The options that state a problem: exactly the fields of `MatmulConfig`, with its words and its errors."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
from collections.abc import Callable, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click

__all__ = ["DASHES", "LADDER", "NUMBERS", "ProblemCommand", "RowList", "Value", "parse_rows", "target_option"]

#: Settings of a command whose options may be spelled with dashes as well as underscores.
DASHES: dict[str, Any] = {"token_normalize_func": lambda name: name.replace("_", "-")}


class Value(click.ParamType):
    """A field that is read from text by `parse`; "none" stands for None where the field may be that."""

    def __init__(self, name: str, parse: Callable[[str], Any], is_optional: bool) -> None:
        self.name = name
        self._parse = parse
        self._is_optional = is_optional

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value that `value` spells; one that is no string is the default and stays."""
        if not isinstance(value, str):
            return value
        if self._is_optional and value.lower() == "none":
            return None
        try:
            return self._parse(value)
        except ValueError:
            alternative = " or none" if self._is_optional else ""
            return self.fail(f"{value!r} is not {self.name}{alternative}", param, ctx)


def parse_rows(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as "1,16,64".

    Raises
    ------
    ValueError
        If `text` is something else.
    """
    return tuple(int(part) for part in text.removesuffix(",").split(","))


class RowList(click.ParamType):
    """Numbers from 1 on, such as 1,16,256."""

    name = "rows"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the numbers of a list."""
        try:
            rows = value if isinstance(value, tuple) else parse_rows(value)
        except ValueError:
            rows = ()
        if not rows or min(rows) < 1:
            self.fail(f"{value!r} is not a list of numbers from 1 on, such as 1,16,64", param, ctx)
        return rows


def _parse_M(text: str) -> int | tuple[int, ...]:
    """Return a static M for "16", a ladder for "1,16,64", and one of a single rung for "16,"."""
    rows = parse_rows(text)
    return rows if "," in text else rows[0]


#: A field that is a number of rows or a ladder.
LADDER = Value("a number or a list such as 1,16,64", _parse_M, is_optional=True)


#: A field that is a sequence of numbers.
NUMBERS = Value(
    "a list of numbers such as 0,0.5,-1", lambda text: tuple(float(part) for part in text.split(",")), is_optional=True
)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _field_help(owner: type) -> dict[str, str]:
    """Return what the docstring of a dataclass says of each field, in the section "Parameters" of NumPy's style."""
    match = re.search(r"Parameters\n-+\n(.*?)(?:\n\n\S|\Z)", inspect.getdoc(owner) or "", re.DOTALL)
    texts = {}
    for names, text in re.findall(r"^(\S.*)\n((?:    .*\n?)+)", match[1] if match else "", re.MULTILINE):
        words = " ".join(text.replace("`", "").split())
        texts.update(dict.fromkeys(names.split(", "), words))
    return texts


def _option(field: dataclasses.Field[Any], hint: Any, text: str) -> click.Option:
    members = _alternatives(hint)
    is_optional = types.NoneType in members
    if bool in members:
        flag = f"--{field.name}/--no-{field.name}"
        return click.Option([flag, field.name], default=field.default, show_default=True, help=text)
    choices = [value for member in members if get_origin(member) is Literal for value in get_args(member)]
    sequences = [get_args(member) for member in members if get_origin(member) is Sequence]
    if (float,) in sequences:
        kind, metavar = NUMBERS, "FLOAT,FLOAT,..."
    elif sequences:
        kind, metavar = LADDER, "INT|INT,INT,...|none"
    elif int in members:
        kind, metavar = Value("a whole number", int, is_optional), "INT"
    else:
        kind, metavar = Value("a name", str, is_optional), "|".join(choices) or "TYPE"
    return click.Option(
        [f"--{field.name}", field.name],
        type=kind,
        default=field.default,
        metavar=metavar,
        show_default=True,
        help=text,
    )


@functools.cache
def _options() -> tuple[click.Option, ...]:
    from bitquant.config import DEFAULT_LADDER, MatmulConfig

    hints, texts = get_type_hints(MatmulConfig), _field_help(MatmulConfig)
    texts = {k: text.replace("DEFAULT_LADDER", ", ".join(map(str, DEFAULT_LADDER))) for k, text in texts.items()}
    return tuple(_option(f, hints[f.name], texts.get(f.name, "")) for f in dataclasses.fields(MatmulConfig))


class ProblemCommand(click.Command):
    """A command with one option for each field of `MatmulConfig`; its callback takes the `config` made of them.

    The options are made when click asks for them, because that imports torch, and the help of the group does not need
    it. Options may be spelled with dashes, too: ``--with-scaling``.
    """

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.context_settings.update(DASHES)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the fields of the problem, then the command's own options."""
        return [*_options(), *super().get_params(ctx)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the two kinds of options under headings of their own."""
        for title, params in (("Problem", _options()), ("Options", super().get_params(ctx))):
            with formatter.section(title):
                formatter.write_dl([record for p in params if (record := p.get_help_record(ctx)) is not None])

    def invoke(self, ctx: click.Context) -> Any:
        """Make the config of the fields, and call the command with it.

        Raises
        ------
        ConfigError
            If the fields break one of its rules.
        """
        from bitquant.config import MatmulConfig

        fields = {str(option.name): ctx.params.pop(str(option.name)) for option in _options()}
        ctx.params["config"] = MatmulConfig(**fields)
        return super().invoke(ctx)


#: The option that names what to compile for.
target_option = click.option(
    "--target",
    metavar="TARGET",
    help="What to compile for: cpu, cuda (the GPU that is here), or an architecture such as sm_90a. "
    "Default: the GPU if there is one, else the CPU.",
)
