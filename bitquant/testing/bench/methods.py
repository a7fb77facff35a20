# SPDX-License-Identifier: Apache-2.0
"""Whole models for `bitquant bench --model`: their sizes, and what stands in the place of their linear layers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import bitquant
from bitquant import packing
from bitquant.errors import ConfigError, UnsupportedError
from bitquant.formats import number_format
from bitquant.nn.loading import load_model
from bitquant.nn.model_sizes import KNOWN_MODELS, ModelSizes
from bitquant.nn.models import quantize_model
from bitquant.nn.rounding import quantize
from bitquant.nn.swap import layer_names, replace_layer
from bitquant.testing.bench.peers import Peer, Refusal, peers_by_name
from bitquant.testing.bench.problems import Kind, Weights, parse_kind

__all__ = ["ATTENTION", "MODELS", "Method", "float_bytes", "make_model", "parse_method"]


def _fields_of(sizes: ModelSizes) -> dict[str, Any]:
    """Return the fields of a transformers config that say how large the linear layers are."""
    return {
        "hidden_size": sizes.hidden_size,
        "intermediate_size": sizes.intermediate_size,
        "num_attention_heads": sizes.num_heads,
        "num_key_value_heads": sizes.num_kv_heads,
        "head_dim": sizes.head_dim,
    }


#: Fields of transformers configs by the name of a model, as the config.json of each on the Hugging Face hub has them.
MODELS: dict[str, dict[str, Any]] = {
    "llama-3-8b": {
        "model_type": "llama", **_fields_of(KNOWN_MODELS["llama-3-8b"]), "num_hidden_layers": 32,
        "vocab_size": 128256, "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, "bos_token_id": 128000,
        "eos_token_id": 128001,
    },
    "llama-2-13b": {
        "model_type": "llama", **_fields_of(KNOWN_MODELS["llama-2-13b"]), "num_hidden_layers": 40,
        "vocab_size": 32000, "rms_norm_eps": 1e-5, "max_position_embeddings": 4096,
    },
    "qwen3-8b": {
        "model_type": "qwen3", **_fields_of(KNOWN_MODELS["qwen3-8b"]), "num_hidden_layers": 36,
        "vocab_size": 151936, "rms_norm_eps": 1e-6, "max_position_embeddings": 40960,
    },
    "tiny": {
        "model_type": "llama", **_fields_of(ModelSizes(128, 256, 4, 2, 32)), "num_hidden_layers": 2,
        "vocab_size": 512, "rms_norm_eps": 1e-5, "max_position_embeddings": 512,
    },
}  # fmt: skip

#: Name under which transformers knows `_attention`.
ATTENTION = "bitquant_bench"

#: Standard deviation of random weights. Every model above was initialised so.
_WEIGHT_STD = 0.02


class Method(ABC):
    """How the linear layers of a model compute.

    Attributes
    ----------
    name
        As `parse_method` reads it.
    dtype
        The type of the rest of the model.
    """

    def __init__(self, name: str, dtype: torch.dtype = torch.float16) -> None:
        self.name, self.dtype = name, dtype

    def version(self) -> str:
        """Return whose layers they are, and of which version."""
        return f"torch {torch.__version__}"

    @abstractmethod
    def convert(self, model: Any) -> Any:
        """Return the model, with layers replaced in place."""


class _AsItIs(Method):
    """Nothing is replaced."""

    def convert(self, model: Any) -> Any:
        return model


class _Bitquant(Method):
    """`quantize_model`."""

    def __init__(self, name: str, kind: Kind, head: Kind | None, dtype: torch.dtype) -> None:
        super().__init__(name, dtype)
        self._kind, self._head = kind, head

    def version(self) -> str:
        return f"bitquant {bitquant.__version__}"

    def convert(self, model: Any) -> Any:
        if self._head is not None:
            others = tuple(layer_names(model, ("lm_head",)))
            model = quantize_model(model, **_fields(self._head), skip=others)
        return quantize_model(model, **_fields(self._kind))


def _fields(kind: Kind) -> dict[str, Any]:
    return {
        "W_dtype": kind.W_dtype,
        "group_size": kind.group_size,
        "zeros": kind.zeros_mode,
        "A_dtype": kind.A_dtype if number_format(kind.A_dtype).bits == 8 else None,
    }


class _BitsAndBytes(Method):
    """bitsandbytes' Linear4bit, nf4, blocks of 64, scales not quantized."""

    def version(self) -> str:
        return _version("bitsandbytes")

    def convert(self, model: Any) -> Any:
        import bitsandbytes as bnb

        def make(linear: torch.nn.Linear) -> torch.nn.Module:
            options = {"quant_type": "nf4", "compress_statistics": False}
            has_bias = linear.bias is not None
            layer = bnb.nn.Linear4bit(
                linear.in_features, linear.out_features, has_bias, compute_dtype=self.dtype, device="meta", **options
            )
            weight = linear.weight.detach()
            packed = bnb.nn.Params4bit(weight, requires_grad=False, blocksize=64, **options)
            layer.weight, layer.bias = packed, linear.bias
            return layer.to(weight.device)  # Quantizes.

        return _replaced(model, make)


class _TorchAO(Method):
    """torchao's int4 weight-only layers, for tinygemm, in groups of 128."""

    def version(self) -> str:
        return _version("torchao")

    def convert(self, model: Any) -> Any:
        from torchao.quantization import Int4WeightOnlyConfig, quantize_

        names = set(layer_names(model, ("lm_head",)))
        config = Int4WeightOnlyConfig(group_size=128, int4_packing_format="tile_packed_to_4d")
        quantize_(model, config, filter_fn=lambda _module, name: name in names)
        return model


class _OfPeer(Method):
    """The function of a `Peer` as an opaque operation of torch."""

    def __init__(self, name: str, peer: Peer, kind: Kind, dtype: torch.dtype) -> None:
        super().__init__(name, dtype)
        self._peer, self._kind = peer, kind

    def version(self) -> str:
        return f"{self._peer.name} {self._peer.version()}"

    def convert(self, model: Any) -> Any:
        def make(linear: torch.nn.Linear) -> torch.nn.Module:
            config = self._kind.config(linear.out_features, linear.in_features, 1)
            if (why := self._peer.refusal(config, linear.weight.device)) is not None:
                raise UnsupportedError(f"{self._peer.name} {why}")
            return _PeerLayer(self._peer, _rounded(linear.weight.detach(), config))

        return _replaced(model, make)


def _rounded(weight: torch.Tensor, config: Any) -> Weights:
    """Return a weight rounded to nearest, with integer zero points, which every library can hold."""
    if not config.with_zeros:
        values, scale, _ = quantize(weight, config)
        return Weights(config, values, _there(scale=scale))
    packed = replace(config, zeros_mode="quantized")
    values, scale, zeros = quantize(weight, packed)
    if zeros is None:
        raise ConfigError(f"{config} has no zero points")
    points = packing.unpack_zeros(zeros, packed).to(torch.float32).T.contiguous()
    return Weights(packed, values, _there(scale=scale, zeros=zeros), zeros_values=points.T, zero_points=points)


def _there(**operands: torch.Tensor | None) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in operands.items() if tensor is not None}


class _PeerLayer(torch.nn.Module):
    def __init__(self, peer: Peer, weights: Weights) -> None:
        super().__init__()
        packed = peer.pack(weights)
        self.N, self.bytes = weights.config.N, peer.weight_bytes(packed)
        self.index = len(_calls)
        _calls.append(lambda A: peer.calls([packed], A)[0]())

    def forward(self, A: torch.Tensor) -> torch.Tensor:
        return _peer_linear(A, self.index, self.N)


#: By the number that the operation below is called with.
_calls: list[Callable[[torch.Tensor], torch.Tensor]] = []


@torch.library.custom_op("bitquant_bench::linear", mutates_args=())
def _peer_linear(A: torch.Tensor, index: int, N: int) -> torch.Tensor:
    return _calls[index](A.reshape(-1, A.shape[-1])).reshape(*A.shape[:-1], N)


@_peer_linear.register_fake
def _(A: torch.Tensor, index: int, N: int) -> torch.Tensor:
    del index
    return A.new_empty(*A.shape[:-1], N)


#: Methods that are named as their package.
_PACKAGES: dict[str, Callable[[], Method]] = {
    "bitsandbytes": lambda: _BitsAndBytes("bitsandbytes"),
    "torchao": lambda: _TorchAO("torchao", torch.bfloat16),
}


def _replaced(model: Any, make: Callable[[torch.nn.Linear], torch.nn.Module]) -> Any:
    for name in layer_names(model, ("lm_head",)):
        replace_layer(model, name, make(model.get_submodule(name)))
    return model


def _version(package: str) -> str:
    return f"{package} {importlib.metadata.version(package)}"


def parse_method(text: str) -> Method:
    """Return what a name says.

    =====================  =====================================================================================
    float16, bfloat16      torch.nn.Linear
    uint4-g128-zeros ...   `quantize_model`; the name of a format as `parse_kind` reads it
    ...+int8-row           the same, with another format for lm_head
    bitsandbytes           nf4 in blocks of 64
    torchao                int4 in groups of 128, bfloat16
    GemLite:FORMAT ...     the kernel of a peer of `bitquant bench` by its name
    =====================  =====================================================================================

    Raises
    ------
    ConfigError
        If it is no such name, or the package is not installed.
    """
    if text in ("float16", "bfloat16"):
        return _AsItIs(text, getattr(torch, text))
    if text in _PACKAGES:
        _check_installed(text)
        return _PACKAGES[text]()
    before, colon, rest = text.partition(":")
    if colon and (peer := _peer(before)) is not None:
        kind = parse_kind(rest)
        return _OfPeer(text, peer, kind, number_format(kind.A_dtype).torch_dtype)
    body, plus, head = text.partition("+")
    kind = parse_kind(body)
    _check_kind(kind, body)
    A = number_format(kind.A_dtype)
    dtype = A.torch_dtype if A.bits == 16 else torch.float16
    own = str(dtype).removeprefix("torch.")
    head_kind = parse_kind(head, own) if plus else None
    if head_kind is not None:
        _check_kind(head_kind, head)
    return _Bitquant(text, kind, head_kind, dtype)


def _peer(name: str) -> Peer | None:
    try:
        (found,) = peers_by_name([name])
    except Refusal:  # It is the type of A.
        return None
    if found.package is not None:
        _check_installed(*found.package)
    return found


def _check_installed(package: str, distribution: str | None = None) -> None:
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"'methods' names {package}, which is not installed; pip install {distribution or package}", methods=package
        )


def _check_kind(kind: Kind, text: str) -> None:
    """Check that `quantize_model` makes layers of that kind."""
    fmt = number_format(kind.W_dtype)
    if fmt.bits > 8 or kind.group_size is None or kind.is_scaled or fmt.is_unsigned != bool(kind.zeros_mode):
        raise ConfigError(
            f"'methods' must name formats that quantize_model makes (got {text!r}): at most 8 bits, scales "
            "(-gSIZE or -row), and zero points for unsigned integers alone; for example uint4-g128-zeros, nf4-g64, "
            "int8-row, int8:int8-row",
            methods=text,
        )


def make_model(source: str, method: Method, layers: int | None, device: torch.device) -> Any:
    """Return a model of transformers whose linear layers are those of a method.

    Parameters
    ----------
    source
        A name of `MODELS`, for random weights, or a directory that `load_model` reads.
    method
        For a directory of a quantized model `float16` or `bfloat16`, which leave its layers as they are.
    layers
        Fewer blocks than the model has; None: all. For names alone.
    device
        Where it goes.

    Raises
    ------
    ConfigError
        If `source` is neither.
    """
    if Path(source).is_dir():
        if layers is not None:
            raise ConfigError(
                f"'layers' must be left out for a checkpoint, which has its own number (got {layers})", layers=layers
            )
        return method.convert(load_model(source, device, method.dtype)).eval()
    model = _on_meta(source, layers, method.dtype).to_empty(device=device)
    generator = torch.Generator(device=device).manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, _WEIGHT_STD, generator=generator)
            else:
                parameter.fill_(0 if name.endswith("bias") else 1)
    rotary = type(model.model.rotary_emb)(config=model.config).to(device)  # Its buffers are of no use after to_empty.
    model.model.rotary_emb = rotary
    return method.convert(model).eval()


def float_bytes(source: str, layers: int | None) -> int:
    """Return the bytes of a model's weights in 16 bits; arguments as in `make_model`."""
    if Path(source).is_dir():
        return sum(file.stat().st_size for file in Path(source).glob("*.safetensors"))
    return 2 * sum(parameter.numel() for parameter in _on_meta(source, layers, torch.float16).parameters())


def _on_meta(source: str, layers: int | None, dtype: torch.dtype) -> Any:
    """Return a model of `MODELS` without memory."""
    if source not in MODELS:
        raise ConfigError(f"'model' must be a directory or one of {', '.join(MODELS)} (got {source!r})", model=source)
    from transformers import AttentionInterface, AttentionMaskInterface, AutoConfig, AutoModelForCausalLM
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    fields = {**MODELS[source], **({} if layers is None else {"num_hidden_layers": layers})}
    config = AutoConfig.for_model(**fields, tie_word_embeddings=False, initializer_range=_WEIGHT_STD)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=ATTENTION)


def _attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Return attention, (batch, length, heads, size), as transformers calls it.

    torch has no fused kernel for grouped heads with a mask, and transformers then copies keys and values of the whole
    cache for each head. Here the query heads of a group become rows of one head, of the same length-1 query.
    """
    batch, heads, length, size = query.shape
    groups = heads // key.shape[1]
    if length > 1:
        key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    else:
        query = query.reshape(batch, heads // groups, groups, size)
    is_causal = attention_mask is None and length > 1
    if attention_mask is not None and length == 1:
        attention_mask = attention_mask.expand(-1, -1, groups, -1)
    D = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=scaling, is_causal=is_causal
    )
    del module
    return D.reshape(batch, heads, length, size).transpose(1, 2).contiguous(), None
