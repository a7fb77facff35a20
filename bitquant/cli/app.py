# SPDX-License-Identifier: Apache-2.0
"""The group of all commands: what becomes of their errors, warnings and interrupts."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

import click

import bitquant
from bitquant.cli.bench import bench
from bitquant.cli.cache import cache
from bitquant.cli.doctor import doctor
from bitquant.cli.generate import generate
from bitquant.cli.inspect import inspect
from bitquant.cli.output import wrapped
from bitquant.cli.quantize import quantize
from bitquant.cli.records import records
from bitquant.cli.run import run
from bitquant.cli.show import show
from bitquant.cli.startup import QuickExit, is_debugging, tune_collector
from bitquant.cli.trials import trials
from bitquant.cli.tune import tune
from bitquant.errors import BitquantError
from bitquant.progress import print_above

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cli", "main"]

_OK, _WRONG_USE, _UNEXPECTED = 0, 2, 3
_INTERRUPTED, _BROKEN_PIPE = 128 + 2, 128 + 13  # As a shell reports SIGINT and SIGPIPE.


#: Key of the command that is run, in the context of the group.
_COMMAND = "bitquant.command"


class _ClosedPipeError(Exception):
    """A broken pipe, by a name that click does not take for its own."""


class _Commands(click.Group):
    """A group that turns exceptions into one line on standard error and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: ARG002 - click's own way of printing errors is not used
        **extra: Any,
    ) -> NoReturn:
        """Run the command line on `args`, by default those of the process, and exit."""
        sys.exit(self._exit_code(args, prog_name, complete_var, extra))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that arguments name, and note it for what is wrong with those behind it."""
        found = super().resolve_command(ctx, args)
        ctx.meta[_COMMAND] = found[1]
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command of a context."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # A reader that has gone shows here and not at the interpreter's exit.
        except BrokenPipeError as error:
            raise _ClosedPipeError from error
        except click.UsageError as error:
            # click's parser knows no context where an option lacks its value.
            if error.ctx is None and (command := ctx.meta.get(_COMMAND)) is not None:
                error.ctx = click.Context(command, parent=ctx, info_name=command.name)
            raise
        return result

    def _exit_code(
        self,
        args: Sequence[str] | None,
        prog_name: str | None,
        complete_var: str | None,
        extra: dict[str, Any],
    ) -> int:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except click.ClickException as error:
            return _fail(error, error.format_message(), _WRONG_USE)
        except click.Abort:
            click.echo("aborted", err=True)
            return _INTERRUPTED
        except _ClosedPipeError:
            _discard_stdout()
            return _BROKEN_PIPE
        except BitquantError as error:
            return _fail(error, str(error), _WRONG_USE)
        except Exception as error:  # noqa: BLE001 - the last resort of a program
            message = f"unexpected {type(error).__name__}: {error}"
            hint = "" if is_debugging() else "\nset BITQUANT_DEBUG=1 to see where it comes from"
            return _fail(error, message + hint, _UNEXPECTED)
        return code if isinstance(code, int) else _OK


def _fail(error: Exception, message: str, code: int) -> int:
    if is_debugging():
        traceback.print_exception(error)
    click.echo(wrapped(f"error: {message}", is_error=True), err=True)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"see: {error.ctx.command_path} --help", err=True)
    return code


def _discard_stdout() -> None:
    """Let what is left in the buffer go nowhere, so that the interpreter does not complain when it flushes it."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())


def _show_warning(message: Warning | str, *_where: Any, **_more: Any) -> None:
    """Print a warning as the user of a command wants it: without the line of source that gave it."""
    text = wrapped(f"warning: {message}", is_error=True)
    if not print_above(text):
        click.echo(text, err=True)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""
\b
Examples:
  bitquant doctor
  bitquant generate path/to/checkpoint --prompt "The capital of France is"
  bitquant run --M 1 --N 4096 --K 4096 --W_dtype uint4 --group_size 128 \\
      --with_scaling
  bitquant inspect --stage cuda --target h100 --M 1 --N 4096 --K 4096 \\
      --W_dtype uint4
\b
Exit codes: 0 done; 1 a wrong result, or an installation that cannot compute;
2 a usage error, or something that this machine lacks; 3 an unexpected error
(BITQUANT_DEBUG=1 shows its traceback); 130 interrupted.
\b
Completion in bash, for this shell (zsh and fish: the same word):
  eval "$(_BITQUANT_COMPLETE=bash_source bitquant)"
""",
)
@click.version_option(bitquant.__version__, prog_name="bitquant", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run and quantize language models; compile, check, time and read their products, D = A x decode(W)^T (+ Bias)."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (run, inspect, bench, doctor, cache, tune, trials, records, quantize, generate, show):
    cli.add_command(_command)


def main() -> NoReturn:
    """Run the command line; the entry point of the `bitquant` program."""
    tune_collector()
    end = QuickExit()
    try:
        cli.main(prog_name="bitquant")
    except SystemExit as leaving:
        end.with_code(leaving.code)
        raise
