# SPDX-License-Identifier: Apache-2.0
"""`bitquant generate`: text from a prompt, token by token, and how fast."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from bitquant.cli.output import format_bytes, three_digits
from bitquant.cli.problem import DASHES, LADDER
from bitquant.errors import CallError, CheckpointError, ConfigError, UnsupportedError
from bitquant.progress import working

__all__ = ["generate"]

#: Tokens that are generated to compile what generates the others.
_WARM_UP = 3


@dataclass
class _Run:
    """What is generated and when: `times` of the prompt, the first token, the second ..."""

    prompt_tokens: int
    times: list[float]

    def lines(self, most: int) -> list[str]:
        """Return tokens a second, of the prompt and of what came after the first token."""
        begin, *tokens = self.times
        lines = [_speed("prompt", self.prompt_tokens, self.prompt_tokens, tokens[0] - begin if tokens else 0.0)]
        lines.append(_speed("generated", len(tokens), len(tokens) - 1, tokens[-1] - tokens[0] if tokens else 0.0))
        if len(tokens) >= most:
            lines[-1] += "; stopped by --max-new-tokens"
        return lines


def _speed(what: str, tokens: int, timed: int, seconds: float) -> str:
    rate = f", {three_digits(timed / seconds)} tokens/s" if timed > 0 and seconds > 0 else ""
    return f"{what:<10} {tokens} token{'s' if tokens != 1 else ''}{rate}"


_FETCH_TOKENIZER = "fetch tokenizer.json and tokenizer_config.json of the model into the same directory"


@click.command(
    context_settings=DASHES,
    epilog="""
\b
Examples:
  bitquant generate path/to/checkpoint --prompt "The capital of France is"
  bitquant generate DIR --prompt "Write a haiku." --temperature 0.7 --seed 1
  cat question.txt | bitquant generate DIR --prompt - --greedy --device cpu
  bitquant generate DIR --prompt "Hello" --compile --opt_M 1,16
""",
)
@directory_argument
@click.option("--prompt", required=True, metavar="TEXT", help="What comes before; - reads it from standard input.")
@click.option(
    "--max-new-tokens", type=click.IntRange(1), default=128, show_default=True, help="Most tokens to generate."
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    help="Sample with this temperature; 0 is --greedy. Default: as generation_config.json says.",
)
@click.option("--greedy", is_flag=True, help="Take the likeliest token each time.")
@click.option("--seed", type=int, help="Another seed draws other tokens. Default: a new one each time.")
@click.option(
    "--chat/--no-chat", default=True, help="Use the tokenizer's chat template, where it has one.  [default: chat]"
)
@click.option(
    "--compile/--no-compile",
    "compiled",
    default=False,
    show_default=True,
    help="Compile the model with torch.compile and a static cache, on a GPU; that takes a minute first.",
)
@click.option(
    "--opt_M",
    "opt_M",
    type=LADDER,
    metavar="INT|INT,INT,...|none",
    help="Numbers of rows to make kernels for. Default: 1, 16, 32 ... 1024.",
)
@click.option(
    "--on_unsupported",
    type=click.Choice(["error", "dequantize"]),
    default="error",
    show_default=True,
    help="What to do with layers that no kernel computes exactly; dequantize keeps them in 16 bits.",
)
@dtype_option
@device_option
def generate(
    directory: Path,
    prompt: str,
    max_new_tokens: int,
    temperature: float | None,
    greedy: bool,
    seed: int | None,
    chat: bool,
    compiled: bool,
    opt_M: Any,
    on_unsupported: str,
    dtype: str | None,
    device: str | None,
) -> None:
    """Generate text with the model in DIR, from a prompt.

    DIR is anything that load_model reads: quantized by bitquant or by another program, or not quantized. The text goes
    to standard output, token by token; times go to standard error. All kernels are made before the first token.
    """
    if greedy and temperature:
        raise click.UsageError("--greedy takes no --temperature: it takes the likeliest token; leave one of them out")
    check_directory(directory)
    _check_tokenizer(directory)
    with working("Importing torch"):
        place, torch_dtype = chosen_device(device), chosen_dtype(dtype)
    if compiled and place.type != "cuda":
        raise UnsupportedError(f"'--compile' needs a GPU (got {place}); leave it out", device=place)
    if prompt == "-":
        prompt = sys.stdin.read().rstrip("\n")
    with working("Loading the tokenizer"):
        transformers = import_transformers("generate")
        tokenizer = _load_tokenizer(transformers, directory)
        inputs = _encode(tokenizer, prompt, chat)
    model = _load(directory, place, torch_dtype, opt_M, on_unsupported)
    inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
    length = inputs["input_ids"].shape[1]
    sampling: dict[str, Any] = {"max_new_tokens": _room(model, length, max_new_tokens), "disable_compile": not compiled}
    if greedy or temperature == 0:
        sampling["do_sample"] = False
    elif temperature is not None:
        sampling.update(do_sample=True, temperature=temperature)
    if compiled:
        sampling["cache_implementation"] = "static"
        _compile(transformers, model, inputs, sampling)
    if seed is not None:
        transformers.set_seed(seed)
    run = _Run(length, [])
    model.generate(**inputs, **sampling, streamer=_streamer(transformers, tokenizer, run.times))
    for line in run.lines(sampling["max_new_tokens"]):
        click.echo(line, err=True)


def _check_tokenizer(directory: Path) -> None:
    """Check that there are files of a tokenizer: without any, transformers makes an empty one of some models."""
    if not has_tokenizer(path.name for path in directory.iterdir()):
        raise CheckpointError(f"{directory}: has no tokenizer; {_FETCH_TOKENIZER}", file=str(directory))


def _load_tokenizer(transformers: Any, directory: Path) -> Any:
    try:
        return transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds, for files that are missing as for packages
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{directory}: has no tokenizer that transformers can load ({reason:.200}); {_FETCH_TOKENIZER}",
            file=str(directory),
        ) from error


def _encode(tokenizer: Any, prompt: str, chat: bool) -> dict[str, Any]:
    """Return the tokens of the prompt, (1, n), and their mask."""
    if chat and tokenizer.chat_template:
        try:
            encoded = tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                add_generation_prompt=True,
                return_tensors="pt",
                return_dict=True,
            )
        except Exception as error:  # a template is a program, with errors of its own
            raise ConfigError(f"the tokenizer's chat template fails ({error}); --no-chat does without it") from error
    else:
        encoded = tokenizer(prompt, return_tensors="pt")
    if not encoded["input_ids"].shape[1]:
        raise CallError("'--prompt' must have a token or more (got none)", prompt=prompt)
    return {name: encoded[name] for name in ("input_ids", "attention_mask") if name in encoded}


def _load(directory: Path, place: Any, dtype: Any, opt_M: Any, on_unsupported: Any) -> Any:
    """Return the model with all its kernels, and say how long that took."""
    with working("Importing TVM"):
        from bitquant.nn import BitLinear, Linear, load_model, prepare_model

    options = {} if opt_M is None else {"opt_M": opt_M}
    begin = time.perf_counter()
    with naming(directory):
        model = load_model(directory, place, dtype, on_unsupported, **options)
    loaded = time.perf_counter()
    if not model.can_generate():
        raise ConfigError(f"'DIR' must hold a model that generates text (got {type(model).__name__})", model=model)
    memory = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    what = f"{type(model).__name__}, {str(model.dtype).removeprefix('torch.')}, on {model.device}"
    click.echo(f"loaded     {what}, {format_bytes(memory)}, in {loaded - begin:.1f} s", err=True)
    layers = [module for module in model.modules() if isinstance(module, (BitLinear, Linear))]
    if layers:
        loaded = time.perf_counter()
        prepare_model(model)
        click.echo(f"kernels    of {len(layers)} layers, in {time.perf_counter() - loaded:.1f} s", err=True)
    return model


def _room(model: Any, length: int, wanted: int) -> int:
    """Return how many tokens to generate so that the model's positions hold them all."""
    most = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(most, int) or length + wanted <= most:
        return wanted
    if length >= most:
        raise CallError(
            f"'--prompt' must leave room for a token: the model has {most} positions (got {length} tokens); shorten it",
            length=length, most=most,
        )  # fmt: skip
    click.echo(f"the model has {most} positions: at most {most - length} tokens follow the prompt", err=True)
    return most - length


def _compile(transformers: Any, model: Any, inputs: dict[str, Any], sampling: dict[str, Any]) -> None:
    """Generate a few tokens, with the cache of the whole run, and say how long that took."""
    begin = time.perf_counter()
    length = inputs["input_ids"].shape[1]

    class Enough(transformers.StoppingCriteria):  # type: ignore[misc]  # no stubs
        def __call__(self, input_ids: Any, _scores: Any, **_: Any) -> Any:
            is_done = input_ids.shape[1] >= length + _WARM_UP
            return input_ids.new_full((len(input_ids),), is_done, dtype=bool)

    model.generate(**inputs, **sampling, stopping_criteria=[Enough()])
    click.echo(f"compiled   in {time.perf_counter() - begin:.1f} s", err=True)


def _streamer(transformers: Any, tokenizer: Any, times: list[float]) -> Any:
    """Return a streamer that notes when tokens come; the prompt comes first."""

    class Streamer(transformers.TextStreamer):  # type: ignore[misc]  # no stubs
        def put(self, value: Any) -> None:
            times.append(time.perf_counter())
            super().put(value)

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            click.echo(text, nl=stream_end)

    return Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
