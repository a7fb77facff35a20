# SPDX-License-Identifier: Apache-2.0
"""GPTQ as AutoGPTQ, gptqmodel, optimum and AutoRound write it, v1 and v2.

Tensors of a layer with N outputs, K inputs, G groups and b bits (Frantar et al., "GPTQ", 2022;
layout of AutoGPTQ)::

    qweight  (K * b / 32, N) int32   codes down the inputs, one little-endian bit stream a column
    qzeros   (G, N * b / 32) int32   zero points along the outputs, one little-endian bit stream a row
    scales   (G, N) floats
    g_idx    (K,) int32              group of each input; unsorted where columns were quantized by activation order
    W[n, k] = scales[g_idx[k], n] * (code[k, n] - zero[g_idx[k], n])

In v1 ("checkpoint_format" gptq, or none) zero - 1 is stored. gptqmodel subtracts 1 from all fields
of a word at once, so that a zero point of 0 borrows from the next field; adding 1 to all fields at
once undoes it. For 3 bits, from version 7 on, it counts modulo 8 in each field. AutoRound clamps
zero - 1 to 0. AutoGPTQ 0.7 lets a zero point of 0 overwrite the fields above it, which nothing
undoes. In v2 ("gptq_v2", AutoRound's "auto_round:gptqmodel") zero points are as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from bitquant.arithmetic import ceil_div
from bitquant.nn.checkpoints.bits import codes_of_words
from bitquant.nn.checkpoints.groups import sort_into_groups
from bitquant.nn.checkpoints.integers import integer_fields
from bitquant.nn.checkpoints.layer import StoredLayer
from bitquant.nn.checkpoints.reader import Reader
from bitquant.nn.checkpoints.weight import QuantizedWeight

__all__ = ["GptqReader"]

_BITS = (2, 3, 4, 8)
_AUTO_ROUND = ("auto-round", "auto_round", "intel/auto-round")
_AUTO_ROUND_V1, _AUTO_ROUND_V2 = "auto_round:auto_gptq", ("auto_round", "auto_round:gptqmodel")
#: One in each field of a word.
_ONES = {2: 0x55555555, 4: 0x11111111, 8: 0x01010101}


class GptqReader(Reader):
    """GPTQ: integers of 2, 3, 4 or 8 bits, groups of inputs, integer zero points."""

    name = "gptq"
    methods = ("gptq",)
    required = ("qweight", "qzeros", "scales")
    optional = ("g_idx", "bias")
    marks = ("qweight", "qzeros", "scales", "g_idx")

    @classmethod
    def accepts(cls, parameters: Mapping[str, Any]) -> bool:
        """Whether it is GPTQ, or AutoRound's own format in GPTQ's packing."""
        method, packing = parameters.get("quant_method"), parameters.get("packing_format")
        return method in cls.methods or (method in _AUTO_ROUND and packing in (_AUTO_ROUND_V1, *_AUTO_ROUND_V2))

    def check_parameters(self) -> None:
        """Refuse layouts for one kernel (marlin, exllama ...) and planar packing."""
        found = self._checkpoint_format()
        if found not in ("gptq", "gptq_v2"):
            raise self.variant_error(
                f"checkpoint_format {found!r} is not read",
                "gptq and gptq_v2 are; save it again in one of them",
            )

    def read(self, layer: StoredLayer) -> QuantizedWeight:
        """Return the weight; columns are sorted by group where `g_idx` asks for it."""
        bits, N, K, G = self._sizes(layer)
        permutation, group, source = self._groups(layer, K, G)
        words = layer.read("qweight", torch.int32, (K * bits // 32, N), "(K * bits / 32, N)")
        codes = codes_of_words(words.T, bits, K)
        zeros = self._zeros(layer, bits, N, G)
        scale = layer.read_floats("scales", (G, N), "(groups, N)").T
        if permutation is not None:
            permutation = permutation.to(codes.device)
            codes = codes[:, permutation]
        return QuantizedWeight(
            **integer_fields(codes, zeros[:, source], bits),
            dtype=self.dtype,
            scale=scale[:, source].contiguous(),
            group_size=group,
            bias=layer.read_bias(N),
            permutation=permutation,
        )

    def _checkpoint_format(self) -> str:
        packing = self.parameters.get("packing_format")
        if self.parameters.get("quant_method") in _AUTO_ROUND:
            return "gptq_v2" if packing in _AUTO_ROUND_V2 else "gptq"
        p = self.parameters
        return str(p.get("checkpoint_format") or p.get("format") or "gptq")

    @property
    def _varies(self) -> bool:
        """Whether layers may have bits and groups of their own."""
        return any(self.parameters.get(key) for key in ("dynamic", "extra_config"))

    def _sizes(self, layer: StoredLayer) -> tuple[int, int, int, int]:
        """Return bits, N, K and groups, which the shapes of the tensors give."""
        shapes = {role: layer.shape(role) for role in self.required}
        for role, shape in shapes.items():
            if len(shape) != 2 or 0 in shape:
                raise layer.error(f"must have two dimensions (got shape {shape})", role)
        N, G = shapes["qweight"][1], shapes["scales"][0]
        bits, rest = divmod(shapes["qzeros"][1] * 32, N)
        if rest or bits not in _BITS:
            raise layer.error(
                f"must have N * bits / 32 columns for 2, 3, 4 or 8 bits (got shape {shapes['qzeros']}, N={N})",
                "qzeros",
            )
        declared = self.parameters.get("bits")
        if declared is not None and declared != bits and not self._varies:
            raise layer.error(f"must have N * bits / 32 columns for {declared} bits (got {bits} bits)", "qzeros")
        rows = shapes["qweight"][0]
        if rows * 32 % bits:
            raise layer.error(f"must have K * bits / 32 rows (got {rows} rows, {bits} bits)", "qweight")
        return bits, N, rows * 32 // bits, G

    def _groups(self, layer: StoredLayer, K: int, G: int) -> tuple[torch.Tensor | None, int, torch.Tensor]:
        size = self.group_size(K, "group_size")
        if ceil_div(K, size) != G:
            if not self._varies or K % G:
                raise layer.error(
                    f"must have one row a group, {ceil_div(K, size)} for K={K} and group_size={size} (got {G})",
                    "scales",
                )
            size = K // G
        if "g_idx" not in layer:
            if self.parameters.get("desc_act"):
                raise layer.error("is missing, though desc_act is true", "g_idx")
            return sort_into_groups(torch.arange(K) // size, size)
        g_idx = layer.read("g_idx", torch.int32, (K,), "(K,)", "cpu")
        if int(g_idx.min()) < 0 or int(g_idx.max()) >= G:
            raise layer.error(f"must hold groups 0..{G - 1} (got {int(g_idx.min())}..{int(g_idx.max())})", "g_idx")
        counts = torch.bincount(g_idx, minlength=G)
        if int(counts.max()) > size or int(counts.min()) < 1:
            group = int((counts > size).to(torch.int8).argmax() if int(counts.max()) > size else counts.argmin())
            raise layer.error(
                f"must give each group 1 to {size} columns (got {int(counts[group])} for group {group})",
                "g_idx",
            )
        return sort_into_groups(g_idx, size)

    def _zeros(self, layer: StoredLayer, bits: int, N: int, G: int) -> torch.Tensor:
        """Return zero points, (N, G)."""
        words = layer.read("qzeros", torch.int32, (G, N * bits // 32), "(groups, N * bits / 32)")
        stored = codes_of_words(words, bits, N)
        if self._checkpoint_format() == "gptq_v2":
            return stored.T
        full = (1 << bits) - 1
        version = self._gptqmodel_version()
        if bits == 3 and version is not None and version < 7:
            raise layer.error(
                f"was written by gptqmodel {version}, which had other offsets for zero points of 3 bits", "qzeros",
                "load and save it with that gptqmodel as gptq_v2",
            )  # fmt: skip
        if version is None and bool((stored == full).any()):
            raise layer.error(
                f"holds a zero point that is stored as {full}: zero - 1 of a zero point 0, which writers other than "
                "gptqmodel lose or clamp", "qzeros", "quantize it again, or convert it to gptq_v2 with its own packer",
            )  # fmt: skip
        if bits == 3:
            return ((stored + 1) & full).T
        shifted = (words.to(torch.int64) + _ONES[bits]).to(torch.int32)  # wraps, as it must
        return codes_of_words(shifted, bits, N).T

    def _gptqmodel_version(self) -> int | None:
        """Return the major version of the gptqmodel that wrote the file; None for other writers."""
        meta = self.parameters.get("meta")
        writers = meta.get("quantizer") if isinstance(meta, dict) else None
        for writer in [writers] if isinstance(writers, str) else writers or ():
            if found := re.match(r"gptqmodel:(\d+)", str(writer)):
                return int(found.group(1))
        return None
