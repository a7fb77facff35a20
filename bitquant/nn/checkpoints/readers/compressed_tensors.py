# SPDX-License-Identifier: Apache-2.0
"""compressed-tensors, the format of llm-compressor: packed and plain integers, float8, NVFP4 and MXFP4.

Tensors of a layer with N outputs and K inputs, by what stores the weight (read in
compressed-tensors 0.20)::

    pack-quantized    weight_packed int32, signed codes + 2^(bits - 1) along the inputs, low bits first; weight_scale;
                      weight_shape = (N, K); weight_zero_point, packed the same way along the outputs; weight_g_idx
    int-quantized     weight int8; weight_scale; weight_zero_point int8
    float-quantized   weight float8; weight_scale, by row, tensor, group or block
    nvfp4-pack-...    weight_packed uint8, low nibble first; weight_scale e4m3, divided by weight_global_scale, whose
                      reciprocal becomes the channel scale of each row
    mxfp4-pack-...    weight_packed uint8, low nibble first; weight_scale uint8, E8M0

W = (code - zero) * scale. Words of pack-quantized are one bit stream in 0.20; earlier versions put
32 // bits codes of an odd width into a word and left its upper bits unused. The number of words
tells which.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Mapping
from typing import Any, Literal

import torch

from bitquant.arithmetic import ceil_div
from bitquant.nn.checkpoints.bits import codes_of_words, codes_of_words_with_gaps
from bitquant.nn.checkpoints.floats import e2m1_codes, read_e8m0_scale, widen
from bitquant.nn.checkpoints.groups import blocks_to_groups, sort_into_groups
from bitquant.nn.checkpoints.integers import integer_fields
from bitquant.nn.checkpoints.layer import StoredLayer
from bitquant.nn.checkpoints.reader import Reader
from bitquant.nn.checkpoints.weight import ActivationScheme, QuantizedWeight

__all__ = ["CompressedTensorsReader"]

_FORMATS = (
    "pack-quantized", "int-quantized", "float-quantized", "naive-quantized", "nvfp4-pack-quantized",
    "mxfp4-pack-quantized", "mixed-precision", "dense",
)  # fmt: skip
#: What shares a scale of the input; all other strategies have groups of columns.
_GRANULARITIES: dict[str, Literal["token", "tensor", "group"]] = {
    "token": "token", "channel": "token", "tensor": "tensor",
}  # fmt: skip
#: Types of the tensor `weight_shape`.
_INTEGERS = (torch.int64, torch.int32)


class CompressedTensorsReader(Reader):
    """compressed-tensors; formats may differ from layer to layer."""

    name = "compressed-tensors"
    methods = ("compressed-tensors", "compressed_tensors")
    required = ("weight_scale",)
    optional = (
        "weight", "weight_packed", "weight_shape", "weight_zero_point", "weight_global_scale", "weight_g_idx",
        "input_scale", "input_zero_point", "input_global_scale", "bias",
    )  # fmt: skip
    marks = (
        "weight_scale", "weight_packed", "weight_shape", "weight_zero_point", "weight_global_scale", "weight_g_idx",
    )  # fmt: skip

    def check_parameters(self) -> None:
        """Refuse formats with sparsity or rotations, and unknown ones."""
        p = self.parameters
        groups = p.get("config_groups")
        if not isinstance(groups, dict) or not groups or not all(isinstance(g, dict) for g in groups.values()):
            raise self.variant_error("must have 'config_groups' with a group or more")
        for found in (p.get("format"), *(g.get("format") for g in groups.values())):
            if found not in (None, *_FORMATS):
                raise self.variant_error(f"format {found!r} is not read", f"read are {', '.join(_FORMATS)}")
        sparsity = (p.get("sparsity_config") or {}).get("format", "dense")
        if sparsity != "dense":
            raise self.variant_error(f"sparsity format {sparsity!r} is not read")
        if (p.get("transform_config") or {}).get("config_groups"):
            raise self.variant_error("transforms (rotations at run time) are not read")

    def layers(self) -> dict[str, StoredLayer]:
        """Return the layers by path; each has a weight."""
        layers = super().layers()
        for layer in layers.values():
            if ("weight" in layer) == ("weight_packed" in layer):
                raise layer.error(
                    f"must have one of 'weight' and 'weight_packed' (it has {', '.join(sorted(layer.tensors))})",
                )
        return layers

    def variant(self, layer: StoredLayer) -> Hashable:
        """Return the config group, and (N, K) where that is a tensor of its own."""
        shape = layer.read("weight_shape", _INTEGERS, (2,), "(2,)").tolist() if "weight_shape" in layer else ()
        return (json.dumps(self._scheme(layer), sort_keys=True), *shape)

    def read(self, layer: StoredLayer) -> QuantizedWeight:
        """Return the weight, by the format that its tensors show."""
        scheme = self._scheme(layer)
        args = scheme.get("weights")
        if not isinstance(args, dict):
            raise layer.error(f"has no 'weights' in its config group in {self.origin}")
        if "weight_packed" in layer and args.get("type", "int") == "int":
            fields = self._packed_integers(layer, args)
        elif "weight_packed" in layer:
            fields = _packed_fp4(layer)
        elif layer.dtype("weight") == torch.int8:
            fields = _plain_integers(layer, args)
        else:
            fields = _plain_floats(layer, args)
        activation = _activation(layer, scheme.get("input_activations"))
        return QuantizedWeight(
            **fields,
            dtype=self.dtype,
            bias=layer.read_bias(fields["values"].shape[0]),
            activation=activation,
        )

    def _scheme(self, layer: StoredLayer) -> Mapping[str, Any]:
        """Return the config group of a layer: one that names it, else one for all modules of a class."""
        groups = list(self.parameters["config_groups"].values())
        for group in groups:
            for target in group.get("targets", ()):
                if target == layer.path or (target.startswith("re:") and re.match(target[3:], layer.path)):
                    return group
        by_class = [g for g in groups if any(t[:1].isupper() for t in g.get("targets", ()))]
        if len(by_class) == 1 or (len(groups) == 1 and not by_class):
            return (by_class or groups)[0]
        raise layer.error(
            f"must be in one config group of {self.origin} (got {len(by_class)} for classes, and none names it)"
        )

    def _packed_integers(self, layer: StoredLayer, args: Mapping[str, Any]) -> dict[str, Any]:
        bits: Any = args.get("num_bits")
        if bits not in range(2, 9):  # 1 bit is -1 and 0 here, and int1 holds -1 and 1.
            raise layer.unread(f"must have 2 to 8 bits (got num_bits={bits!r} in {self.origin})")
        if "weight_shape" not in layer:
            raise layer.missing("weight_shape")
        shape = layer.read("weight_shape", _INTEGERS, (2,), "(2,)").tolist()
        stored = layer.shape("weight_packed")
        if len(stored) != 2 or shape[0] != stored[0] or shape[1] < 1:
            raise layer.error(
                f"must be (N, K) of the weight (got {shape}, weight_packed {stored})",
                "weight_shape",
            )
        N, K = shape
        words = layer.read("weight_packed", torch.int32, (N, None))
        codes = _unpack(layer, "weight_packed", words, bits, K)
        zeros = None
        groups = _grid(layer, "weight_scale")[1]
        if not args.get("symmetric", True):
            if args.get("strategy") not in ("group", "channel"):
                raise layer.unread(f"asymmetric weights by {args.get('strategy')!r} are not read")
            packed = layer.read("weight_zero_point", torch.int32, (None, groups))
            zeros = _unpack(layer, "weight_zero_point", packed.T, bits, N).T
        group, scale, source, permutation = _scale(layer, args, N, K)
        if permutation is not None:
            codes = codes[:, permutation]
        zeros = zeros[:, source] if zeros is not None else None
        return {
            **integer_fields(codes, zeros, bits), "scale": scale, "group_size": group, "permutation": permutation,
        }  # fmt: skip


def _unpack(layer: StoredLayer, role: str, words: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Return unsigned codes (rows, count) of words (rows, words)."""
    dense, with_gaps = ceil_div(count * bits, 32), ceil_div(count, 32 // bits)
    if words.shape[1] not in (dense, with_gaps):
        raise layer.error(
            f"must have {dense} words for {count} codes of {bits} bits, or {with_gaps} with unused bits "
            f"(got {words.shape[1]})",
            role,
        )
    if dense == with_gaps and 32 % bits and count > 32 // bits:
        raise layer.error(
            f"may be packed in two ways: {count} codes of {bits} bits take {dense} words in both", role,
            "save it with 4 or 8 bits",
        )  # fmt: skip
    if words.shape[1] == dense:
        return codes_of_words(words, bits, count)
    return codes_of_words_with_gaps(words.contiguous(), bits, count)


def _plain_integers(layer: StoredLayer, args: Mapping[str, Any]) -> dict[str, Any]:
    N, K = _matrix(layer)
    values = layer.read("weight", torch.int8, (N, K))
    group, scale, source, permutation = _scale(layer, args, N, K)
    if permutation is not None:
        values = values[:, permutation]
    fields: dict[str, Any] = {"values": values, "W_dtype": "int8"}
    if not args.get("symmetric", True):
        if args.get("strategy") == "block":
            raise layer.unread("zero points of blocks are not read")
        rows, columns = _grid(layer, "weight_zero_point")
        zeros = layer.read("weight_zero_point", torch.int8, layer.shape("weight_zero_point")).reshape(rows, columns)
        if (rows, columns) != _grid(layer, "weight_scale"):
            raise layer.error(f"must have the shape of weight_scale (got {(rows, columns)})", "weight_zero_point")
        # As unsigned codes: the difference to the zero point is the same.
        codes, zeros = (t.view(torch.uint8) ^ 0x80 for t in (values, zeros))
        fields = integer_fields(codes, zeros.expand(N, columns)[:, source], 8)
    return {**fields, "scale": scale, "group_size": group, "permutation": permutation}


def _plain_floats(layer: StoredLayer, args: Mapping[str, Any]) -> dict[str, Any]:
    N, K = _matrix(layer)
    types = {torch.float8_e4m3fn: "float8_e4m3", torch.float8_e5m2: "float8_e5m2"}
    values = layer.read("weight", tuple(types), (N, K))
    if not args.get("symmetric", True):
        raise layer.unread("float8 weights with zero points are not read")
    group, scale, _, permutation = _scale(layer, args, N, K, shares_rows=True)
    if permutation is not None:
        values = values[:, permutation]
    return {
        "values": values, "W_dtype": types[values.dtype], "scale": scale, "group_size": group,
        "permutation": permutation,
        "rows_per_scale": 1 if scale.shape[0] == N else args["block_structure"][0],
    }  # fmt: skip


def _packed_fp4(layer: StoredLayer) -> dict[str, Any]:
    shape = layer.shape("weight_packed")
    if len(shape) != 2 or 0 in shape:
        raise layer.error(f"must have shape (N, K / 2) (got {shape})", "weight_packed")
    N, K = shape[0], 2 * shape[1]
    codes = e2m1_codes(layer.read("weight_packed", torch.uint8, shape))
    if layer.dtype("weight_scale") == torch.float8_e4m3fn:
        group, scale = (
            16,
            layer.read("weight_scale", torch.float8_e4m3fn, (N, K // 16), "(N, K / 16)"),
        )
        common = layer.read_floats("weight_global_scale", (1,), "(1,)").to(torch.float32)
        if not bool(common > 0):
            raise layer.error(f"must be positive (got {common.item():g})", "weight_global_scale")
        factor = common.reciprocal().expand(N).contiguous()
        if not bool(torch.isfinite(scale.to(torch.float32) * factor[0]).all()):
            raise layer.error("must be finite divided by weight_global_scale", "weight_scale")
    else:
        factor = None
        group, scale = 32, read_e8m0_scale(layer, "weight_scale", (N, K // 32), "(N, K / 32)")
    if K % group:
        raise layer.error(f"must have a K that groups of {group} divide (got K={K})", "weight_packed")
    return {
        "values": codes, "W_dtype": "fp4_e2m1", "scale": scale, "group_size": group, "channel_scale": factor,
    }  # fmt: skip


def _matrix(layer: StoredLayer) -> tuple[int, int]:
    shape = layer.shape("weight")
    if len(shape) != 2 or 0 in shape:
        raise layer.error(f"must have shape (N, K) (got {shape})", "weight")
    return shape[0], shape[1]


def _grid(layer: StoredLayer, role: str) -> tuple[int, int]:
    """Return a tensor's shape as one of two dimensions: () and (1,) are (1, 1), (N,) is (N, 1)."""
    shape = layer.shape(role)
    if len(shape) > 2:
        raise layer.error(f"must have at most two dimensions (got shape {shape})", role)
    return shape if len(shape) == 2 else ((shape[0] if shape else 1), 1)


def _scale(
    layer: StoredLayer, args: Mapping[str, Any], N: int, K: int, shares_rows: bool = False
) -> tuple[int, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return group, scale (N, K / group), the stored group of each group, and the permutation of columns.

    Where `shares_rows`, the scale of blocks has a row for each block.
    """
    stored = _grid(layer, "weight_scale")
    rows = layer.read_floats("weight_scale", layer.shape("weight_scale")).reshape(stored)
    strategy = args.get("strategy") or ("channel" if args.get("group_size") in (None, -1) else "group")
    g = args.get("group_size") or K
    g = K if g == -1 else int(g)
    blocks = args.get("block_structure") or (1, 1)
    wanted = {
        "tensor": (1, 1),
        "channel": (N, 1),
        "group": (N, ceil_div(K, g)),
        "block": (ceil_div(N, blocks[0]), ceil_div(K, blocks[1])),
    }.get(strategy)
    if wanted is None:
        raise layer.unread(f"weights scaled by {strategy!r} are not read")
    if stored != wanted:
        raise layer.error(f"must have shape {wanted} for strategy {strategy!r} (got {stored})", "weight_scale")
    permutation = None
    if strategy == "block":
        group, source = blocks_to_groups(K, blocks[1])
        if shares_rows:
            return group, widen(rows[:, source]).contiguous(), source, None
        rows = rows.repeat_interleave(blocks[0], 0)[:N]
    elif strategy == "group" and "weight_g_idx" in layer:
        g_idx = layer.read("weight_g_idx", torch.int32, (K,), "(K,)")
        if int(g_idx.min()) < 0 or int(g_idx.max()) >= wanted[1]:
            raise layer.error(
                f"must hold groups 0..{wanted[1] - 1} (got {int(g_idx.min())}..{int(g_idx.max())})",
                "weight_g_idx",
            )
        permutation, group, source = sort_into_groups(g_idx, g)
    else:
        group, source = blocks_to_groups(K, g if strategy == "group" else K)
    return group, widen(rows.expand(N, stored[1])[:, source]).contiguous(), source, permutation


def _activation(layer: StoredLayer, args: Mapping[str, Any] | None) -> ActivationScheme | None:
    if not args:
        return None
    kind, bits = args.get("type", "int"), args.get("num_bits", 8)
    names = {("int", 8): "int8", ("float", 8): "float8_e4m3", ("float", 4): "fp4_e2m1"}
    strategy, dynamic = args.get("strategy"), args.get("dynamic", False)
    granularity = _GRANULARITIES.get(strategy or "tensor", "group")
    scale = None
    if "input_global_scale" in layer:  # It divides, as that of the weight does.
        scale = layer.read_floats("input_global_scale", (1,), "(1,)").to(torch.float32).reciprocal()
    elif not dynamic:
        scale = layer.read_floats("input_scale", layer.shape("input_scale")).to(torch.float32)
    return ActivationScheme(
        dtype=names.get((kind, bits), f"{kind}{bits}"),
        granularity=granularity,
        is_dynamic=bool(dynamic),
        is_symmetric=bool(args.get("symmetric", True)),
        group_size=args.get("group_size") if granularity == "group" else None,
        scale=scale,
    )
