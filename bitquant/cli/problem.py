# SPDX-License-Identifier: Apache-2.0
"""The options that state a problem: the fields of `MatmulConfig` and of `GroupedMatmulConfig`, with their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bitquant.cli.startup import import_libraries

if TYPE_CHECKING:
    from bitquant.config import MatmulConfig
    from bitquant.grouped_config import GroupedMatmulConfig

__all__ = [
    "DASHES",
    "LADDER",
    "NUMBERS",
    "GroupedCommand",
    "ProblemCommand",
    "RowList",
    "Value",
    "config_of",
    "parse_rows",
    "routing_of",
    "routing_options",
    "target_option",
]

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


def _option(name: str, kind: click.ParamType | type[bool], metavar: str, default: Any, text: str) -> click.Option:
    if kind is bool:
        return click.Option([f"--{name}/--no-{name}", name], default=default, help=text)
    return click.Option([f"--{name}", name], type=kind, default=default, metavar=metavar, show_default=True, help=text)


_WHOLE, _WHOLE_OR_NONE = (Value("a whole number", int, is_optional) for is_optional in (False, True))
_NAME, _NAME_OR_NONE = (Value("a name", str, is_optional) for is_optional in (False, True))

#: An option for each field of `MatmulConfig`, in its order and with its defaults. That class imports torch, which takes
#: seconds; help, completion and errors of usage need none of it.
_OPTIONS = tuple(
    _option(*row)
    for row in (
        ("M", LADDER, "INT|INT,INT,...|none", None,
         "Rows of A. One number: a kernel for these. A list, by default 1, 16, 32 ... 1024: calls of any number."),
        ("N", _WHOLE, "INT", None, "Columns of D: output channels, rows of W.  [required]"),
        ("K", _WHOLE, "INT", None, "Length of the reduction: columns of A and of W.  [required]"),
        ("A_dtype", _NAME, "TYPE", "float16", "Type of A: float16, bfloat16, float32, int8, float8_e4m3, float8_e5m2."),
        ("W_dtype", _NAME_OR_NONE, "TYPE", None,
         "Type of W, such as uint4, int2, nf4, fp4_e2m1 or float8_e4m3; a wrong one lists all. Default: that of A."),
        ("out_dtype", _NAME, "TYPE", "float16", "Type of D and Bias: float16, bfloat16, float32, int32, int8."),
        ("accum_dtype", _NAME, "TYPE", "float16", "Least precision of sums: float16, float32 or int32."),
        ("layout", _NAME, "nt|nn", "nt", "nt: W is (N, K). nn: W is (K, N), where it has the type of A."),
        ("with_bias", bool, "", False, "Add Bias, (N,)."),
        ("group_size", _WHOLE_OR_NONE, "INT|none", -1,
         "Consecutive k that share a scale and a zero point; it divides K. -1: one group a row."),
        ("with_scaling", bool, "", False, "Multiply W by Scale, (N, K / group_size)."),
        ("with_zeros", bool, "", False, "Shift W by Zeros, a zero point for each group."),
        ("zeros_mode", _NAME_OR_NONE, "original|rescale|quantized", "original",
         "original: (w - z) s. rescale: w s - z. quantized: (w - z) s with packed integers z."),
        ("storage_dtype", _NAME, "int8", "int8", "For scripts of BitBLAS: packed weights are int8 tensors."),
        ("fast_decoding", bool, "", None,
         "If no, W stays in the plain layout, rows of codes. Default: the layout of the fastest kernels."),
        ("propagate_a", bool, "", None, "For scripts of BitBLAS, without effect."),
        ("propagate_b", bool, "", None, "For scripts of BitBLAS. If no, W stays in the plain layout."),
        ("scale_dtype", _NAME_OR_NONE, "TYPE", None,
         "Type of Scale and Zeros: float16, bfloat16, float32; without Zeros float8_e8m0, float8_e4m3. Default: A's."),
        ("with_activation_scale", bool, "", False, "Multiply sums by a float32 for each row of A, (M,)."),
        ("with_channel_scale", bool, "", False, "Multiply sums by a float32 for each row of W, (N,)."),
        ("codebook", NUMBERS, "FLOAT,FLOAT,...", None, "The 16 values of W's codes, where W_dtype is code4."),
        ("rows_per_scale", _WHOLE, "INT", 1, "Consecutive rows of W that share a scale: 128 for blocks of 128 x 128."),
        ("activation", _NAME_OR_NONE, "NAME", None,
         "Of gate (even rows of W) and up (odd rows): silu_mul, gelu_tanh_mul or clamped_swiglu; D has N / 2 columns."),
    )
)  # fmt: skip

#: Fields of `GroupedMatmulConfig` that those of `MatmulConfig` lack, and what they are where rows have one weight.
_ROUTING: dict[str, Any] = {
    "num_experts": None, "routing": "sorted", "top_k": None, "A_rows": "tokens", "D_rows": "slots",
    "with_routing_weights": False,
}  # fmt: skip
_ROUTING_OPTIONS = (
    click.option(
        "--num_experts", type=int, metavar="INT",
        help="Experts: rows of A meet the weight of one of so many. The five options after it go with it.",
    ),
    click.option(
        "--routing", type=click.Choice(["sorted", "indexed"]), default="sorted", show_default=True,
        help="How rows find experts: rows are in the order of these, or tokens name them.",
    ),
    click.option("--top_k", type=int, metavar="INT", help="Experts of a token, where rows are indexed."),
    click.option(
        "--A_rows", "A_rows", type=click.Choice(["tokens", "slots"]), default="tokens", show_default=True,
        help="Where rows are indexed: what A has a row for.",
    ),
    click.option(
        "--D_rows", "D_rows", type=click.Choice(["tokens", "slots"]), default="slots", show_default=True,
        help="Where rows are indexed: what D has a row for; of tokens it is the sum over their slots.",
    ),
    click.option("--with_routing_weights", is_flag=True, help="Multiply each slot by its routing weight."),
)  # fmt: skip
_Command = TypeVar("_Command", bound=Callable[..., Any])


def routing_options(command: _Command) -> _Command:
    """Add the options that make a problem one of experts; such a command takes dashes, too (`DASHES`)."""
    for decorate in reversed(_ROUTING_OPTIONS):
        command = decorate(command)
    return command


def routing_of(given: dict[str, Any]) -> dict[str, Any] | None:
    """Take what `routing_options` were given out of the options of a command; None where there are no experts.

    Raises
    ------
    click.UsageError
        If an option was given that goes with --num_experts, and that is missing.
    """
    routing = {name: given.pop(name) for name in _ROUTING}
    if routing["num_experts"] is not None:
        return routing
    for name, default in _ROUTING.items():
        if routing[name] != default:
            raise click.UsageError(f"--{name} goes with --num_experts; add it, or leave --{name} out")
    return None


def config_of(fields: Mapping[str, Any], routing: Mapping[str, Any] | None) -> MatmulConfig | GroupedMatmulConfig:
    """Return the config of fields of `MatmulConfig`; that of a grouped problem where there is a routing.

    Raises
    ------
    ConfigError
        If the fields break a rule of the config, or are none of a grouped problem.
    """
    import dataclasses

    from bitquant.config import MatmulConfig
    from bitquant.errors import ConfigError
    from bitquant.grouped_config import GroupedMatmulConfig

    if routing is None:
        return MatmulConfig(**fields)
    own = {field.name for field in dataclasses.fields(GroupedMatmulConfig)}
    if fields.get("layout", "nt") != "nt":
        raise ConfigError("'layout' must be 'nt' where there are experts (got 'nn'); leave it out", layout="nn")
    return GroupedMatmulConfig(**{name: value for name, value in fields.items() if name in own}, **routing)


#: Fields without a default.
_REQUIRED = frozenset({"N", "K"})


class ProblemCommand(click.Command):
    """A command with one option for each field of `MatmulConfig`; its callback takes the `config` made of them.

    Options may be spelled with dashes, too: ``--with-scaling``.
    """

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.context_settings.update(DASHES)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the fields of the problem, then the command's own options."""
        return [*_OPTIONS, *super().get_params(ctx)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments; say of the options of grouped problems, where there are none, which commands have them."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_").lower()
            if name not in {option.lower() for option in _ROUTING}:
                raise
            raise click.UsageError(
                f"--{name} states a product with the weights of experts, which {ctx.info_name} does not take; use "
                "inspect, tune or bench, or GroupedMatmul in Python",
                ctx=ctx,
            ) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the two kinds of options under headings of their own."""
        for title, params in (("Problem", _OPTIONS), ("Options", super().get_params(ctx))):
            with formatter.section(title):
                formatter.write_dl([record for p in params if (record := p.get_help_record(ctx)) is not None])

    def invoke(self, ctx: click.Context) -> Any:
        """Make the config of the fields, and call the command with it.

        Raises
        ------
        click.MissingParameter
            If a size is missing.
        ConfigError
            If the fields break one of its rules.
        """
        fields = {str(option.name): ctx.params.pop(str(option.name)) for option in _OPTIONS}
        if self.states_problem(ctx):
            for option in _OPTIONS:
                if option.name in _REQUIRED and fields[option.name] is None:
                    raise click.MissingParameter(ctx=ctx, param=option)
        import_libraries()
        ctx.params["config"] = self.problem_of(ctx, fields)
        return super().invoke(ctx)

    def states_problem(self, ctx: click.Context) -> bool:  # noqa: ARG002
        """Return whether the fields state a problem, so that its sizes must be there."""
        return True

    def problem_of(self, ctx: click.Context, fields: dict[str, Any]) -> Any:  # noqa: ARG002
        """Return what the command gets as `config`.

        Raises
        ------
        ConfigError
            If the fields break one of its rules.
        """
        from bitquant.config import MatmulConfig

        return MatmulConfig(**fields)


class GroupedCommand(ProblemCommand):
    """A command with `routing_options`, whose problem is grouped where the number of experts is given."""

    def problem_of(self, ctx: click.Context, fields: dict[str, Any]) -> Any:
        """Return a `MatmulConfig`, or a `GroupedMatmulConfig`."""
        return config_of(fields, routing_of(ctx.params))


#: The option that names what to compile for.
target_option = click.option(
    "--target",
    metavar="TARGET",
    help="What to compile for: cpu, cuda (the GPU that is here), an architecture such as sm_90a, or a product such as "
    "h100. Default: the GPU if there is one, else the CPU.",
)
