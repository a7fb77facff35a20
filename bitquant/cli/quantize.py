# SPDX-License-Identifier: Apache-2.0
"""`bitquant quantize`: a model in few bits, in a directory of its own."""

from __future__ import annotations

import contextlib
import re
import signal
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitquant.cli.checkpoint import (
    check_directory,
    chosen_device,
    chosen_dtype,
    device_option,
    directory_argument,
    dtype_option,
    has_tokenizer,
    import_transformers,
    naming,
)
from bitquant.cli.output import format_bytes
from bitquant.cli.problem import DASHES, LADDER, NUMBERS, Value

if TYPE_CHECKING:
    from bitquant.nn.convert import Conversion

__all__ = ["quantize"]


@click.command(
    context_settings=DASHES,
    epilog="""
\b
Examples:
  bitquant quantize Llama-3.1-8B Llama-3.1-8B-uint4
  bitquant quantize DIR out --W_dtype uint3 --group_size 64 --method hqq
  bitquant quantize DIR out --W_dtype int8 --group_size none --A_dtype int8
  bitquant quantize DIR out --skip lm_head,mlp.down_proj
""",
)
@directory_argument
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--W_dtype",
    "W_dtype",
    metavar="TYPE",
    default="uint4",
    show_default=True,
    help="Format of the weights, up to 8 bits.",
)
@click.option(
    "--group_size",
    type=Value("a whole number", int, is_optional=True),
    metavar="INT|none",
    default=128,
    show_default=True,
    help="Consecutive k that share a scale; none: one group a row.",
)
@click.option(
    "--codebook",
    type=NUMBERS,
    metavar="FLOAT,FLOAT,...",
    help="The 16 levels of --W_dtype code4, the value of each code.",
)
@click.option(
    "--zeros",
    type=click.Choice(["original", "rescale", "quantized"]),
    help="Mode of zero points, for unsigned integers. Default: original for those.",
)
@click.option(
    "--A_dtype", "A_dtype", metavar="TYPE", help="int8 or float8_e4m3: inputs are rounded to 8 bits, token by token."
)
@click.option(
    "--skip",
    metavar="NAMES",
    default="lm_head",
    show_default=True,
    help="Layers that stay, by names in full, in part or with wildcards: lm_head,mlp.gate,*.layers.0.*; none: none.",
)
@click.option(
    "--method",
    type=click.Choice(["rtn", "hqq"]),
    default="rtn",
    show_default=True,
    help="rtn rounds to nearest; hqq optimises zero points, for unsigned integers.",
)
@click.option(
    "--opt_M",
    "opt_M",
    type=LADDER,
    metavar="INT|INT,INT,...|none",
    help="Numbers of rows that the saved layers make kernels for. Default: 1, 16, 32 ... 1024.",
)
@dtype_option
@device_option
@click.option("--overwrite", is_flag=True, help="Put the result in the place of a model that OUT holds.")
def quantize(
    directory: Path, out: Path, skip: str, dtype: str | None, device: str | None, overwrite: bool, **fields: Any
) -> None:
    """Quantize the model in DIR, and save it in OUT.

    Tokenizer and generation config are copied. DIR is a directory in the hub's layout that is not quantized. Layers are
    rounded as they are read, one at a time, so that the float model is never in memory as a whole. OUT appears once it
    is complete. load_model, from_pretrained (once bitquant.transformers is imported) and bitquant generate read it.
    """
    begin = time.perf_counter()
    check_directory(directory)
    place, torch_dtype = chosen_device(device), chosen_dtype(dtype)
    import_transformers("quantize")
    from bitquant.nn.convert import quantize_directory
    from bitquant.transformers import BitquantConfig

    names = [] if skip.lower() in ("none", "") else [name.strip() for name in skip.split(",")]
    config = BitquantConfig(skip=names, **fields)
    with _interruptible(), naming(directory):
        done = quantize_directory(directory, out, config, place, torch_dtype, overwrite=overwrite)
    for line in _report(directory, out, done, fields["method"], time.perf_counter() - begin):
        click.echo(line)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM, which else ends the process where it stands, be an interrupt, after which nothing half is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _report(directory: Path, out: Path, done: Conversion, method: str, seconds: float) -> list[str]:
    share = done.bytes_after / max(1, done.bytes_before)
    lines = [f"{directory} -> {out}", f"  {done.model_class}, {done.dtype}"]
    lines += [f"  quantized  {count} layers to {name}, {method}" for name, count in done.formats.items()]
    lines += _wrapped("skipped", _listed(done.skipped) or "no linear layer")
    lines += _wrapped("copied", ", ".join(done.copied) or "nothing")
    before, after = format_bytes(done.bytes_before), format_bytes(done.bytes_after)
    lines.append(f"  weights    {before} -> {after} ({share:.0%}), in {seconds:.1f} s")
    if not has_tokenizer(done.copied):
        lines.append(f"  no tokenizer is in {directory}: bitquant generate needs one in {out}")
    return lines


def _wrapped(what: str, text: str) -> list[str]:
    begin = f"  {what:<10} "
    return textwrap.wrap(text, 80, initial_indent=begin, subsequent_indent=" " * len(begin), break_on_hyphens=False)


def _listed(names: tuple[str, ...]) -> str:
    """Return the names of layers, those that differ in numbers alone as one with "*"."""
    counts = Counter(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in names)
    return ", ".join(name if count == 1 else f"{name} ({count})" for name, count in counts.items())
