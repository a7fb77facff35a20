# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint holds, layer by layer: from headers, and one layer of each kind."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bitquant.config import MatmulConfig
from bitquant.errors import CheckpointError, ConfigError, UnsupportedError
from bitquant.nn.bitlinear import BitLinear
from bitquant.nn.checkpoints.checkpoint import Checkpoint, find_weights, model_dtype, read_checkpoint
from bitquant.nn.checkpoints.reader import Inexpressible
from bitquant.nn.checkpoints.source import SafetensorsSource, read_json_file
from bitquant.nn.experts_linear import ExpertsLinear
from bitquant.nn.format import name_pattern, unpack_format
from bitquant.nn.layer_fields import constructor_fields
from bitquant.nn.layer_kind import LayerKind, Role
from bitquant.nn.linear import Linear
from bitquant.nn.outline import (
    import_transformers,
    make_outline,
    model_class_of,
    module_names,
    names_in,
    outline_operators,
    read_model_config,
)
from bitquant.operator.report import bytes_per_call
from bitquant.progress import track

__all__ = ["Contents", "read_contents"]

_EMBEDDING = re.compile(r"(^|\.)(\w*embed(ding)?s?|wte|wpe|embed_tokens|word_embeddings|\w*_embeddings?|token_embd)$")
_POSITIONS = re.compile(r"(^|\.)(wpe|\w*position\w*|embed_positions)$")
_OUTPUT = re.compile(r"(^|\.)(lm_head|output|embed_out|output_layer)$")
_EXPERTS = re.compile(r"(^|\.)(experts|\w+_exps)(\.|_|$)")
_DOWN = re.compile(r"(^|\.)(down_proj|w2)$")
_GENERATES = re.compile(r"ForCausalLM|LMHeadModel|ForConditionalGeneration")
#: What config.json, and GGUF behind the model's name, call the number of experts and of those that a token meets.
_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "expert_count")
_EXPERTS_USED = ("num_experts_per_tok", "num_experts_per_token", "expert_used_count")


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds.

    Attributes
    ----------
    path
        What was opened.
    format
        Name of the format as in `Checkpoint.format`; "bitquant" for what `save_pretrained` wrote of quantized layers;
        None where nothing is quantized.
    model
        The class that config.json names; empty where it names none.
    dtype
        float16, bfloat16 or float32: the type that the model computes in.
    kinds
        Layers by shape and format, quantized ones first, in the order of the file.
    experts_used
        Share of the experts that one token meets.
    was_checked
        Whether every quantized layer was read, and not one of each kind.
    operators
        What a forward pass runs: `kinds`, with layers that `load_model` merges as one, named by what they compute, for
        example "model.layers.0.mlp.gate_proj+up_proj".
    unmerged
        Why layers are not merged in `operators`; empty where they are, as far as the model allows it.
    """

    path: Path
    format: str | None
    model: str
    dtype: str
    kinds: tuple[LayerKind, ...]
    experts_used: float = 1.0
    was_checked: bool = False
    operators: tuple[LayerKind, ...] = ()
    unmerged: str = ""

    @property
    def file_bytes(self) -> int:
        """Bytes of all tensors in the files."""
        return sum(kind.file_bytes for kind in self.kinds)

    @property
    def memory_bytes(self) -> int:
        """Bytes of all tensors of the loaded model."""
        return sum(kind.memory_bytes for kind in self.kinds)


def read_contents(path: str | os.PathLike[str], *, check: bool = False) -> Contents:
    """Return what a checkpoint holds, as `load_model` loads it by default.

    Of layers that headers do not tell apart one is read, and stands for the others: whether zero points are all the
    same, or scales are numbers of another type, can be seen in the numbers alone. Nothing is kept of what is read.

    Parameters
    ----------
    path
        As in `read_checkpoint`; or a directory that `save_pretrained` of a model with layers of bitquant wrote.
    check
        Whether to read every layer, with the checks of its format.

    Raises
    ------
    CheckpointError
        If a file is missing or damaged, or the format is not read.
    """
    place = Path(path)
    config_file = place / "config.json"
    config = read_json_file(config_file) if config_file.is_file() else {}
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict) and quantization.get("quant_method") == "bitquant":
        return _read_saved(place, config, quantization)
    checkpoint = read_checkpoint(path)
    dtype = checkpoint.dtype
    quantized = _quantized(checkpoint, check)
    tensors = {
        name: (checkpoint.shape(name), checkpoint.dtype_of(name), checkpoint.nbytes(name)) for name in checkpoint.plain
    }
    counts = dict(checkpoint.config) or {str(k).rpartition(".")[2]: v for k, v in checkpoint.parameters.items()}
    return _contents(place, checkpoint.format, counts, dtype, [*quantized, *_plain(tensors, dtype)], checked=check)


# Quantized layers of other programs.


def _role_of(path: str) -> Role:
    return "experts" if _EXPERTS.search(path) else "embedding" if _EMBEDDING.search(path) else "quantized"


def _quantized(checkpoint: Checkpoint, check: bool) -> list[LayerKind]:
    groups: dict[Hashable, list[str]] = {}
    for path in checkpoint:
        key = (_role_of(path), checkpoint.signature(path), path if check else None)
        groups.setdefault(key, []).append(path)
    found: dict[Hashable, LayerKind] = {}
    for paths in track(groups.values(), "Reading layers", len(groups)):
        kind = _read_kind(checkpoint, paths)
        alike = dataclasses.replace(kind, names=(), file_bytes=0, memory_bytes=0)
        found[alike] = kind if alike not in found else _joined(found[alike], kind)
    return _with_common_scales(list(found.values()))


def _read_kind(checkpoint: Checkpoint, paths: list[str]) -> LayerKind:
    """Return the kind of layers of which the first is read."""
    weight, dtype = checkpoint.read(paths[0]), checkpoint.dtype
    file_bytes = sum(checkpoint.nbytes(name) for path in paths for name in checkpoint.tensors(path).values())
    kind = LayerKind(tuple(paths), _role_of(paths[0]), dtype=dtype, file_bytes=file_bytes)
    has_bias = weight.bias is not None
    if isinstance(weight, Inexpressible):
        *experts, N, K = weight.dequantize().shape
        kind = dataclasses.replace(
            kind, role="unsupported", N=N, K=K, experts=math.prod(experts), reason=weight.rule, dtype=dtype
        )
        return _as_float(kind, dtype, has_bias)
    kind = dataclasses.replace(
        kind, N=weight.N, K=weight.K, experts=weight.experts or 1, is_permuted=weight.permutation is not None,
        dtype=weight.W_dtype,
    )  # fmt: skip
    if kind.role == "experts" and checkpoint.format != "gguf" and weight.is_quantized:
        config = MatmulConfig(M=None, **weight.config_fields(dtype, dtype))
        # Rows of gate and up alternate, so that none shares its scales with its neighbours.
        return _with_config(kind, config if _DOWN.search(paths[0]) else dataclasses.replace(config, rows_per_scale=1))
    if kind.role != "quantized":
        return _as_float(kind, dtype, has_bias)
    scheme = weight.activation.A_dtype if weight.activation is not None else None
    return _with_config(kind, MatmulConfig(M=None, **weight.config_fields(scheme or dtype, dtype)))


def _with_config(kind: LayerKind, config: MatmulConfig) -> LayerKind:
    layer_bytes = bytes_per_call(config, 0) + 8 * config.K * kind.is_permuted
    return dataclasses.replace(kind, config=config, memory_bytes=kind.count * layer_bytes)


def _as_float(kind: LayerKind, dtype: str, has_bias: bool = False) -> LayerKind:
    """Return a kind that is kept in the type of the model, `dtype`."""
    config = MatmulConfig(
        M=None, N=kind.N, K=kind.K, A_dtype=dtype, out_dtype=dtype, accum_dtype="float32", with_bias=has_bias
    )
    return _with_config(dataclasses.replace(kind, is_permuted=False), config)


def _joined(kind: LayerKind, other: LayerKind) -> LayerKind:
    return dataclasses.replace(
        kind,
        names=(*kind.names, *other.names),
        file_bytes=kind.file_bytes + other.file_bytes,
        memory_bytes=kind.memory_bytes + other.memory_bytes,
    )


def _with_common_scales(kinds: list[LayerKind]) -> list[LayerKind]:
    """Return kinds with scales of one type, as `load_model` gives them to all layers."""
    types = set()
    for kind in kinds:
        if _has_wide_scales(kind) and kind.config is not None:
            types.add(kind.config.scale_format.name)
    if len(types) <= 1:
        return kinds
    result = []
    for kind in kinds:
        if _has_wide_scales(kind) and kind.config is not None:
            kind = _with_config(kind, dataclasses.replace(kind.config, scale_dtype="float32"))  # noqa: PLW2901
        result.append(kind)
    return result


def _has_wide_scales(kind: LayerKind) -> bool:
    """Whether a layer whose A has 16 bits has scales of as many or more."""
    c = kind.config
    if kind.role not in ("quantized", "experts") or c is None or c.scale_dtype is None:
        return False
    return c.A_format.bits > 8 and c.scale_format.bits > 8


# Tensors that are not quantized.


def _plain(tensors: Mapping[str, tuple[tuple[int, ...], Any, int]], dtype: str) -> Iterator[LayerKind]:
    """Yield the kinds of tensors that no layer of a format claims, all in the type of the model once it is loaded."""
    itemsize = getattr(torch, dtype).itemsize
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, (shape, stored, _) in tensors.items():
        path = name.removesuffix(".weight")
        is_float = _is_float(stored)
        role: Role = "rest"
        if is_float and len(shape) >= 2 and _EXPERTS.search(path):
            role = "experts" if len(shape) in (2, 3) and min(shape) > 1 and not name.endswith("bias") else "rest"
        elif is_float and len(shape) == 2 and path != name:
            role = "embedding" if _EMBEDDING.search(path) else "float"
        groups.setdefault((role, shape, stored), []).append(name)
    for (role, shape, stored), names in groups.items():
        file_bytes = len(names) * tensors[names[0]][2]
        own_type = str(stored).removeprefix("torch.")
        if role == "rest":
            memory_bytes = len(names) * math.prod(shape) * itemsize if _is_float(stored) else file_bytes
            yield LayerKind(
                tuple(names), role, dtype=own_type, file_bytes=file_bytes, memory_bytes=memory_bytes, shape=shape
            )
            continue
        *experts, N, K = shape
        paths = tuple(name.removesuffix(".weight") for name in names)
        yield _as_float(LayerKind(paths, role, N, K, math.prod(experts), dtype=own_type, file_bytes=file_bytes), dtype)


def _is_float(dtype: Any) -> bool:
    return isinstance(dtype, torch.dtype) and dtype.is_floating_point


# Models that bitquant saved.


def _read_saved(directory: Path, config: Mapping[str, Any], quantization: Mapping[str, Any]) -> Contents:
    """Return what `save_pretrained` of a model with layers of bitquant wrote; headers and formats say all."""
    source = SafetensorsSource(find_weights(directory))
    dtype = model_dtype(config, directory / "config.json")
    fields_of = [(name_pattern(name), fields) for name, fields in (quantization.get("layers") or {}).items()]
    ending = "._extra_state"
    layers = {n.removesuffix(ending): unpack_format(source.read(n)) for n in source.names if n.endswith(ending)}
    tensors: dict[str, list[str]] = {path: [] for path in layers}
    plain = {}
    for name in source.names:
        path = name.rpartition(".")[0]
        if path in tensors:
            tensors[path].append(name)
        else:
            plain[name] = (source.shape(name), source.dtype(name), source.nbytes(name))
    found: dict[Hashable, LayerKind] = {}
    names_in_model = _Names(directory, dtype)
    for path, stored in layers.items():
        of_experts = stored.get("layer") == "ExpertsLinear"
        module, _, product = path.rpartition(".") if of_experts else (path, "", "")
        own = (f for name in names_in_model(module) for pattern, f in fields_of if pattern.fullmatch(name))
        fields = next((dict(fields) for fields in own), None)
        if fields is not None and of_experts:
            fields = fields.get(product)
        if fields is None:
            raise CheckpointError(
                f"{directory / 'config.json'}, layer {path!r}: the quantization_config must say how the layer is "
                "constructed; save the model again",
                file=str(directory / "config.json"), layer=path,
            )  # fmt: skip
        is_bit_linear = fields.get("layer") == "BitLinear"
        problem = _saved_problem(stored, fields, f"{path}.bias" in tensors[path], dtype)
        role: Role = "experts" if of_experts else "quantized"
        kind = _with_config(
            LayerKind(
                (path,), role, problem.N, problem.K, is_permuted=bool(stored.get("with_permutation")),
                is_bit_linear=is_bit_linear, experts=stored.get("num_experts", 1),
                file_bytes=sum(source.nbytes(name) for name in tensors[path]),
            ),
            problem,
        )  # fmt: skip
        key = (problem.key(), kind.is_permuted, kind.experts if of_experts else None)
        found[key] = kind if key not in found else _joined(found[key], kind)
    kinds, merge = [*found.values(), *_plain(plain, dtype)], bool(quantization.get("merge", True))
    return _contents(directory, "bitquant", config, dtype, kinds, checked=True, merge=merge)


def _saved_problem(stored: Mapping[str, Any], fields: dict[str, Any], has_bias: bool, dtype: str) -> MatmulConfig:
    kind: Callable[..., Any] = BitLinear if fields.pop("layer", "Linear") == "BitLinear" else Linear
    if (experts := stored.get("num_experts")) is not None:
        kind = partial(ExpertsLinear, experts)
    try:
        with torch.device("meta"):
            layer = kind(stored["K"], stored["N"], has_bias, **fields)
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"the quantization_config constructs a layer in a way that there is none ({error}); use the bitquant that "
            "saved it, or a newer one"
        ) from error
    problem: MatmulConfig = layer.config if experts is None else layer.config.matmul
    return dataclasses.replace(problem, out_dtype=dtype) if kind is BitLinear else problem


class _Names:
    """The names that a module of a saved file may have in its model, which is made when a name is asked for."""

    def __init__(self, directory: Path, dtype: str) -> None:
        self._directory, self._dtype = directory, dtype
        self._names: Callable[[str], tuple[str, ...]] | None = None

    def __call__(self, path: str) -> Iterator[str]:
        """Yield them, the file's own first."""
        yield path
        if self._names is None:
            with contextlib.suppress(CheckpointError, UnsupportedError):
                self._names = names_in(_quiet_outline(self._directory, getattr(torch, self._dtype)))
        if self._names is not None:
            yield from self._names(path)


# The whole.


def _contents(
    path: Path,
    format_name: str | None,
    config: Mapping[str, Any],
    dtype: str,
    kinds: list[LayerKind],
    *,
    checked: bool,
    merge: bool = True,
) -> Contents:
    architectures = config.get("architectures") or ("",)
    model = str(architectures[0])
    has_output = any(_OUTPUT.search(name) for kind in kinds for name in kind.names)
    if not has_output and (format_name == "gguf" or _GENERATES.search(model)):
        kinds = _with_tie(kinds)
    order = ("quantized", "unsupported", "experts", "float", "embedding", "rest")
    kinds = sorted(kinds, key=lambda kind: order.index(kind.role))
    operators, unmerged = _operators(path, kinds, dtype, merge)
    return Contents(
        path, format_name, model, dtype, tuple(kinds), _experts_used(config), checked, tuple(operators), unmerged
    )


def _operators(path: Path, kinds: list[LayerKind], dtype: str, merge: bool) -> tuple[list[LayerKind], str]:
    """Return kinds with layers that are merged as one, and why none is, if there is a reason."""
    quantized = [kind for kind in kinds if kind.role == "quantized"]
    if not merge or not quantized:
        return kinds, "" if merge else "it was saved so"
    if not (path / "config.json").is_file():
        return kinds, "no config.json says what the model is"
    try:
        outline = _quiet_outline(path, getattr(torch, dtype))
    except (CheckpointError, UnsupportedError) as error:
        return kinds, str(error)
    of_layer = {name: index for index, kind in enumerate(quantized) for name in kind.names}
    modules = {name: path for path, name in module_names(of_layer, outline).items() if name is not None}
    placed = {name: of_layer[path] for name, path in modules.items()}
    found = outline_operators(outline, placed, lambda index: _empty_layer(quantized[index]))
    merged, taken = [], set()
    for operator in found:
        if any(len(names) > 1 for names in operator.places):
            parts = [modules[name] for names in operator.places for name in names]
            taken.update(parts)
            layers = [quantized[of_layer[part]] for part in parts]
            merged.append(
                dataclasses.replace(
                    layers[0],
                    names=tuple(_joined_name(names) for names in operator.places),
                    N=operator.config.N,
                    config=operator.config,
                    file_bytes=sum(layer.file_bytes // layer.count for layer in layers),
                    memory_bytes=sum(layer.memory_bytes // layer.count for layer in layers),
                )
            )
    alone = []
    for kind in quantized:
        names = tuple(name for name in kind.names if name not in taken)
        if names:
            share = len(names) / len(kind.names)
            file_bytes, memory_bytes = round(kind.file_bytes * share), round(kind.memory_bytes * share)
            alone.append(dataclasses.replace(kind, names=names, file_bytes=file_bytes, memory_bytes=memory_bytes))
    return [*merged, *alone, *(kind for kind in kinds if kind.role != "quantized")], ""


def _quiet_outline(path: Path, dtype: torch.dtype) -> Any:
    """Return the model of a directory on the meta device, without what transformers says about its config."""
    transformers = import_transformers()
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        config = read_model_config(transformers, path)
        vars(config).pop("quantization_config", None)
        return make_outline(model_class_of(transformers, config, path), config, dtype)
    finally:
        transformers.logging.set_verbosity(verbosity)


def _joined_name(names: tuple[str, ...]) -> str:
    """Return one name for layers of one module: that of the module, and theirs."""
    parent = names[0].rpartition(".")[0]
    return ".".join(filter(None, (parent, "+".join(name.rpartition(".")[2] for name in names))))


def _empty_layer(kind: LayerKind) -> Linear | torch.nn.Linear:
    """Return a layer of a kind on the meta device; what is stacked or is a BitLinear is merged with nothing."""
    c = kind.config
    if c is None or kind.experts > 1 or kind.is_bit_linear:
        return torch.nn.Linear(kind.K, kind.N, device="meta")
    fields = constructor_fields(c, quantize_activations=c.with_activation_scale, with_permutation=kind.is_permuted)
    with torch.device("meta"):
        return Linear(c.K, c.N, c.with_bias, **fields)


def _with_tie(kinds: list[LayerKind]) -> list[LayerKind]:
    """Return kinds of which the first embedding of tokens is the output layer as well."""
    result = list(kinds)
    for index, kind in enumerate(kinds):
        if kind.role == "embedding" and not any(_POSITIONS.search(name) for name in kind.names):
            result[index] = dataclasses.replace(kind, is_tied=True)
            break
    return result


def _experts_used(config: Mapping[str, Any]) -> float:
    for holder in (config, config.get("text_config")):
        if isinstance(holder, Mapping):
            total = next((holder[key] for key in _EXPERT_COUNTS if holder.get(key)), None)
            used = next((holder[key] for key in _EXPERTS_USED if holder.get(key)), None)
            if isinstance(total, int) and isinstance(used, int) and 0 < used <= total:
                return used / total
    return 1.0
