# SPDX-License-Identifier: Apache-2.0
"""Layers of a checkpoint that have one shape and format, and the name of a format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitquant.config import MatmulConfig

__all__ = ["LayerKind", "Role", "format_name"]

#: "quantized": a kernel of bitquant multiplies by it. "float": torch does, by a weight that is not quantized.
#: "experts": one of both, of which a token meets some. "unsupported": torch, by one that no kernel expresses, once it
#: is dequantized. "rest": what is no matrix.
Role = Literal["quantized", "float", "embedding", "experts", "unsupported", "rest"]


@dataclass(frozen=True)
class LayerKind:
    """Layers of one shape and format.

    Attributes
    ----------
    names
        Paths of their modules; of what is no layer, names of tensors.
    role
        What becomes of them.
    N, K
        Their sizes; 0 where `role` is "rest".
    shape
        Shape of the tensors where `role` is "rest".
    experts
        Matrices in each of `names`: 1, or E where experts are stacked.
    config
        The problem of a call: of quantized layers with the ladder that they get, of others with W in the type of the
        model. None where nothing is multiplied.
    dtype
        Type of W as stored, where it is not quantized.
    file_bytes
        Bytes of all of them in the files.
    memory_bytes
        Bytes of all of them in a model that `load_model` returns.
    is_permuted
        Whether columns were sorted (act-order), so that a call gathers A.
    is_tied
        Whether an embedding is the output layer as well.
    is_bit_linear
        Whether they are `BitLinear` layers, which are not merged.
    reason
        Why no kernel expresses them, where `role` is "unsupported".
    """

    names: tuple[str, ...]
    role: Role
    N: int = 0
    K: int = 0
    experts: int = 1
    config: MatmulConfig | None = None
    dtype: str = ""
    file_bytes: int = 0
    memory_bytes: int = 0
    is_permuted: bool = False
    is_tied: bool = False
    is_bit_linear: bool = False
    reason: str = ""
    shape: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Matrices, or tensors that are none."""
        return len(self.names) * self.experts

    @property
    def bits(self) -> float | None:
        """Bits of an element of W in memory, with its share of scales and zero points; None where there is no W."""
        if not self.N:
            return None
        bias = 0
        if self.config is not None and self.config.with_bias:
            bias = self.count * self.N * self.config.out_format.torch_dtype.itemsize
        return 8 * (self.memory_bytes - bias) / (self.count * self.N * self.K)

    @property
    def format(self) -> str:
        """The format as `format_name` says it; the type where W is not quantized."""
        return format_name(self.config) if self.config is not None and self.is_packed else self.dtype

    @property
    def is_packed(self) -> bool:
        """Whether the weights have few bits in memory."""
        return self.config is not None and self.config.W_format.bits <= 8


def format_name(config: MatmulConfig) -> str:
    """Return formats in the words of ``bitquant bench``: ``[A:]W[-gSIZE|-row][-zeros|-rescale|-quantized]``.

    The type of A is named where it has 8 bits. One scale a row is "row" wherever it is applied.
    """
    c = config
    A = f"{c.A_format.name}:" if c.A_format.bits == 8 else ""
    grouped = c.with_scaling or c.with_zeros
    groups = f"-g{c.group}" if grouped and c.num_groups > 1 else "-row" if grouped or c.with_channel_scale else ""
    zeros = {"original": "-zeros"}.get(str(c.zeros_mode), f"-{c.zeros_mode}") if c.with_zeros else ""
    return f"{A}{c.W_format.name}{groups}{zeros}"
