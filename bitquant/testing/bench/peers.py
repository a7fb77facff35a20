# SPDX-License-Identifier: Apache-2.0
"""Other libraries' kernels for the same product, called as their documentation says.

Each peer takes the same values: unsigned codes with s and z of decode(w) = (code - z) * s, or decode(W) rounded to the
type of A where it multiplies an unquantized weight. Layouts are of its own choice and made once, untimed.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch

from bitquant.config import MatmulConfig
from bitquant.testing.bench.problems import Weights

__all__ = ["PEERS", "Peer", "Refusal", "peers_by_name"]

#: Operands of one copy of a weight, as the peer's function takes them.
Packed = tuple[Any, ...]


class Refusal(Exception):  # noqa: N818  not an error: the peer does not take part
    """Why a peer does not take a problem."""


class Peer(ABC):
    """A library's matrix multiplication.

    A subclass packs a weight into a tuple of tensors and whatever else its function takes, and runs the function on
    it. Copies of a weight are copies of the tuple's tensors.
    """

    #: Name in tables and for `--peers`.
    name: ClassVar[str]
    #: Package that must be installed, by the name of its import and of its distribution; None: torch alone.
    package: ClassVar[tuple[str, str] | None] = None
    #: Whether it needs a GPU.
    needs_cuda: ClassVar[bool] = True
    #: Whether it scales outputs by row and column.
    takes_output_scales: ClassVar[bool] = False

    def refusal(self, config: MatmulConfig, device: torch.device) -> str | None:
        """Return why the peer does not take a problem, or None where it does."""
        if self.needs_cuda and device.type != "cuda":
            return "needs a GPU"
        if self.package is not None and importlib.util.find_spec(self.package[0]) is None:
            return f"not installed ({self.package[1]})"
        if config.has_output_scales and not self.takes_output_scales:
            return "takes no output scales"
        return self.refuses(config)

    def version(self) -> str | None:
        """Return the version of the package, or None where it has none of its own or is not installed."""
        if self.package is None:
            return None
        try:
            return importlib.metadata.version(self.package[1])
        except importlib.metadata.PackageNotFoundError:
            if importlib.util.find_spec(self.package[0]) is None:
                return None
            return str(getattr(importlib.import_module(self.package[0]), "__version__", "unknown"))

    @abstractmethod
    def refuses(self, config: MatmulConfig) -> str | None:
        """Return "takes ..." for a problem that an installed peer does not take, or None."""

    @abstractmethod
    def pack(self, weights: Weights) -> Packed:
        """Return the operands of the weight."""

    @abstractmethod
    def run(self, packed: Packed, A: torch.Tensor) -> torch.Tensor:
        """Return D, (m, N)."""

    def adapt(self, A: torch.Tensor) -> torch.Tensor:
        """Return A as the peer takes it; not timed."""
        return A

    def copy(self, packed: Packed) -> Packed:
        """Return a copy of a weight, with its own memory."""
        return tuple(part.clone() if isinstance(part, torch.Tensor) else part for part in packed)

    def weight_bytes(self, packed: Packed) -> int:
        """Return the bytes of the tensors of one copy."""
        return sum(part.numel() * part.element_size() for part in packed if isinstance(part, torch.Tensor))

    def run_scaled(self, packed: Packed, A: torch.Tensor, activation_scale: torch.Tensor) -> torch.Tensor:
        """Return D of a problem with output scales; for peers with `takes_output_scales`. Channel scales are packed."""
        raise NotImplementedError

    def calls(
        self, copies: Sequence[Packed], A: torch.Tensor, activation_scale: torch.Tensor | None = None
    ) -> list[Callable[[], torch.Tensor]]:
        """Return one call a copy of the weight."""
        adapted = self.adapt(A)
        if activation_scale is None:
            return [partial(self.run, packed, adapted) for packed in copies]
        return [partial(self.run_scaled, packed, adapted, activation_scale) for packed in copies]


def _wants_both_output_scales(config: MatmulConfig) -> str | None:
    is_mixed = config.with_activation_scale != config.with_channel_scale
    return "takes output scales of rows and columns together" if is_mixed else None


def _wants_16_bit_A(config: MatmulConfig) -> str | None:
    return None if config.A_format.bits == 16 else f"takes A of 16 bits (got {config.A_format.name})"


def _wants_groups(config: MatmulConfig, sizes: Sequence[int]) -> str | None:
    if config.with_scaling and (config.group in sizes or (-1 in sizes and config.group == config.K)):
        return None
    names = ", ".join("rows" if size == -1 else str(size) for size in sizes)
    return f"takes scales of groups of {names} (got {config.group if config.with_scaling else 'none'})"


class TorchLinear(Peer):
    """torch.nn.functional.linear on decode(W) in the type of A: cuBLAS on a GPU."""

    name = "torch linear"
    needs_cuda = False

    def refuses(self, config: MatmulConfig) -> str | None:
        """Refuse A of 8 bits, whose sums a 16-bit product would not hold."""
        return "takes A of 16 or 32 bits" if config.A_format.bits == 8 else None

    def pack(self, weights: Weights) -> Packed:
        """Return decode(W)."""
        return (weights.dequantized(weights.config.A_format.torch_dtype),)

    def run(self, packed: Packed, A: torch.Tensor) -> torch.Tensor:
        """Return A decode(W)^T."""
        return torch.nn.functional.linear(A, packed[0])


class TorchInt4(Peer):
    """torch's tinygemm, `_weight_int4pack_mm`, in bfloat16: decode(w) = (code - 8) * s + z."""

    name = "torch int4pack"

    def refuses(self, config: MatmulConfig) -> str | None:
        """Refuse what is not 4-bit integers in groups of 32 to 256."""
        if config.W_format.name not in ("uint4", "int4"):
            return f"takes 4-bit integers (got {config.W_format.name})"
        if config.N % 8 or config.K % 128:
            return f"takes N % 8 == 0 and K % 128 == 0 (got N={config.N}, K={config.K})"
        return _wants_16_bit_A(config) or _wants_groups(config, (32, 64, 128, 256))

    def pack(self, weights: Weights) -> Packed:
        """Return codes in tensor-core order (8 inner tiles), and (K / group, N, 2) of s and z."""
        codes = weights.codes
        packed = torch.ops.aten._convert_weight_to_int4pack(codes[:, ::2] << 4 | codes[:, 1::2], 8)  # noqa: SLF001  torch has no other door
        s, z = weights.affine()
        both = torch.stack((s, (8 - z) * s), dim=2).transpose(0, 1).contiguous().to(torch.bfloat16)
        return packed, weights.config.group, both

    def adapt(self, A: torch.Tensor) -> torch.Tensor:
        """Return A in bfloat16, the only type it takes."""
        return A.to(torch.bfloat16)

    def run(self, packed: Packed, A: torch.Tensor) -> torch.Tensor:
        """Return D."""
        return torch.ops.aten._weight_int4pack_mm(A, *packed)  # noqa: SLF001  torch has no other door


class TorchInt8(Peer):
    """torch._int_mm: int8 by int8 to int32.

    It scales nothing. Output scales are two more kernels, the least that torch does without being compiled: the sums
    times those of rows in float32, then times those of columns, rounded to the output.
    """

    name = "torch _int_mm"
    takes_output_scales = True

    def refuses(self, config: MatmulConfig) -> str | None:
        """Refuse what is not int8 by int8, and fewer than 17 rows."""
        if (config.A_format.name, config.W_format.name) != ("int8", "int8") or config.needs_decode:
            return "takes int8 by int8 without scales"
        rows = config.ladder[-1]
        return f"takes more than 16 rows (got {rows})" if rows <= 16 else _wants_both_output_scales(config)

    def pack(self, weights: Weights) -> Packed:
        """Return W, the scales of its rows, and the type of the output."""
        return weights.W, weights.channel_scale, weights.config.out_format.torch_dtype

    def run(self, packed: Packed, A: torch.Tensor) -> torch.Tensor:
        """Return D, int32."""
        return torch._int_mm(A, packed[0].t())  # noqa: SLF001  torch has no other door

    def run_scaled(self, packed: Packed, A: torch.Tensor, activation_scale: torch.Tensor) -> torch.Tensor:
        """Return D."""
        _, channel_scale, dtype = packed
        sums = self.run(packed, A) * activation_scale[:, None]
        return torch.mul(sums, channel_scale, out=torch.empty(sums.shape, dtype=dtype, device=sums.device))


class TorchFloat8(Peer):
    """torch._scaled_mm: float8 by float8 with output scales by row and column, or one scale of 1 for each operand."""

    name = "torch _scaled_mm"
    takes_output_scales = True

    def refuses(self, config: MatmulConfig) -> str | None:
        """Refuse what is not float8 by float8 without scales of groups."""
        both = config.A_format.name.startswith("float8") and config.W_format.name.startswith("float8")
        if not both or config.with_scaling:
            return "takes float8 by float8 without scales of groups"
        return _wants_both_output_scales(config)

    def pack(self, weights: Weights) -> Packed:
        """Return W, its scale or those of its rows, (1, N), and the type of the output."""
        scale = torch.ones(1, dtype=torch.float32, device=weights.W.device)
        if weights.channel_scale is not None:
            scale = weights.channel_scale[None]
        return weights.W, scale, weights.config.out_format.torch_dtype

    def run(self, packed: Packed, A: torch.Tensor) -> torch.Tensor:
        """Return D."""
        W, one, dtype = packed
        return torch._scaled_mm(A, W.t(), scale_a=one, scale_b=one, out_dtype=dtype)  # noqa: SLF001  torch has no other door

    def run_scaled(self, packed: Packed, A: torch.Tensor, activation_scale: torch.Tensor) -> torch.Tensor:
        """Return D."""
        W, scale, dtype = packed
        rows = activation_scale[:, None]
        return torch._scaled_mm(A, W.t(), scale_a=rows, scale_b=scale, out_dtype=dtype)  # noqa: SLF001  torch has no other door


class Humming(Peer):
    """Humming (humming-kernels), its kernel for the problem by its own heuristics.

    Weights are loaded as its checkpoints are: codes in one bit stream a row, int32; scales (N, K / group); integer
    zero points packed along N. Without zero points it takes code - 2^(bits - 1) as the value.
    """

    name = "Humming"
    package = ("humming", "humming-kernels")

    def refuses(self, config: MatmulConfig) -> str | None:
        """Refuse what its README does not list, and formats whose values differ from its own."""
        fmt = config.W_format
        if not (fmt.is_integer or fmt.name in ("fp4_e2m1", "float8_e4m3", "float8_e5m2")):
            return f"takes integers, fp4_e2m1 and float8 (got {fmt.name})"
        if fmt.step == 2 or (fmt.is_unsigned and not config.with_zeros):
            return f"takes unsigned integers with zero points alone (got {fmt.name})"
        if config.with_zeros and (not fmt.is_unsigned or config.zeros_mode == "rescale"):
            return "takes integer zero points of unsigned integers"
        if not config.with_scaling:
            return "takes scales alone (got none)"
        if config.N % 64 or config.K % 64:
            return f"takes N and K that are multiples of 64 (got N={config.N}, K={config.K})"
        return _wants_16_bit_A(config)

    def pack(self, weights: Weights) -> Packed:
        """Return the operands of its forward function: transformed tensors, its config, and its locks."""
        from humming import ops
        from humming.layer import HummingLayer

        config, fmt = weights.config, weights.config.W_format
        dtype = config.A_format.torch_dtype
        names = {"fp4_e2m1": "float4e2m1", "float8_e4m3": "float8e4m3", "float8_e5m2": "float8e5m2"}
        weight_config: dict[str, Any] = {
            "dtype": names.get(fmt.name, f"uint{fmt.bits}"),
            "group_size": 0 if config.group == config.K else config.group,
            "has_zero_point": config.with_zeros,
        }
        layer = HummingLayer(config.N, config.K, weight_config, torch_dtype=dtype).cuda()
        codes = weights.codes.to(torch.int32)
        tensors = {"weight": ops.pack_weight(codes, fmt.bits), "weight_scale": weights.own_scale.to(dtype)}
        if config.with_zeros:
            z = weights.affine()[1].to(torch.int32).t().contiguous()
            tensors["zero_point"] = ops.pack_weight(z, fmt.bits).t().contiguous()
        layer.load_from_tensors(tensors)
        layer.transform()
        parts = (getattr(layer, part, None) for part in ("weight", "weight_scale", "zero_point", "weight_scale_2"))
        tensors_of_layer = [None if part is None else part.detach() for part in parts]
        return layer.humming_config, *tensors_of_layer, layer.locks

    def run(self, packed: Packed, A: torch.Tensor) -> torch.Tensor:
        """Return D, by the kernel that its heuristics name for this m.

        Left to itself it compiles the kernels of all m up to 8192 at the first call of a shape: 33 of them, minutes of
        processor time.
        """
        from humming.forward import humming_forward
        from humming.tune import get_heuristics_config

        layer_config, weight, scale, zero_point, scale_2, locks = packed
        kernels = get_heuristics_config(layer_config)
        kernel = next(found for above, most, found in kernels if above < len(A) <= most)
        return humming_forward(
            layer_config,
            inputs=A,
            weight=weight,
            weight_scale=scale,
            zero_point=zero_point,
            weight_scale_2=scale_2,
            locks=locks,
            tuning_config=kernel,
        )


class GemLite(Peer):
    """GemLite's Triton kernels, by the helper for HQQ's format: decode(w) = (code - z) * s in the type of A."""

    name = "GemLite"
    package = ("gemlite", "gemlite")

    def refuses(self, config: MatmulConfig) -> str | None:
        """Refuse what its README does not list."""
        fmt = config.W_format
        if not fmt.is_integer or fmt.bits not in (1, 2, 4, 8):
            return f"takes integers of 1, 2, 4 and 8 bits (got {fmt.name})"
        if not config.with_scaling or config.group % 32 or config.K % 32:
            return f"takes groups that are multiples of 32 (got {config.group if config.with_scaling else 'no scales'})"
        if config.zeros_mode == "rescale" and config.with_zeros:
            return "takes zero points that are subtracted before scaling"
        return _wants_16_bit_A(config)

    def pack(self, weights: Weights) -> Packed:
        """Return the tensors and settings of its functional interface."""
        from gemlite.helper import A16Wn

        config = weights.config
        s, z = (part.to(config.A_format.torch_dtype) for part in weights.affine())
        maker = A16Wn(device=str(weights.W.device), dtype=config.A_format.torch_dtype)
        layer = maker.from_weights(weights.codes, s, z, config.W_format.bits, config.group)
        return *(part.detach() for part in layer.get_tensor_args()), layer.get_meta_args()

    def run(self, packed: Packed, A: torch.Tensor) -> torch.Tensor:
        """Return D."""
        from gemlite import forward_functional

        return forward_functional(A, None, list(packed[:-1]), packed[-1])


class Quack(Peer):
    """QuACK's ``gemm_w4a16``, bfloat16 by integers of 4 bits, with the tiles that its own heuristic names.

    Codes lie two a byte, the even column of K in the low half. Without zero points it takes code - 8 as the value.
    """

    name = "QuACK"
    package = ("quack", "quack-kernels")

    def refuses(self, config: MatmulConfig) -> str | None:
        """Refuse what it has no format for."""
        fmt = config.W_format
        if config.A_format.name != "bfloat16":
            return f"takes A in bfloat16 (got {config.A_format.name})"
        if fmt.name != ("uint4" if config.with_zeros else "int4") or config.zeros_mode == "rescale":
            return f"takes int4, and uint4 with integer zero points (got {fmt.name})"
        if config.N % 128 or config.K % 128:
            return f"takes N and K that are multiples of 128 (got N={config.N}, K={config.K})"
        return _wants_groups(config, (128,) if config.with_zeros else (32, 64, 128))

    def pack(self, weights: Weights) -> Packed:
        """Return its weight, its scales with the zero points, and the name of their format."""
        from quack.gemm_w4 import prepare_w4_weight

        config, codes, scale = weights.config, weights.codes, weights.own_scale.bfloat16()
        packed = codes[:, 0::2] | codes[:, 1::2] << 4
        if config.with_zeros:
            name = "int4awq"
            weight, factors = prepare_w4_weight(packed, (scale, weights.affine()[1].to(torch.uint8)), name)
        else:
            name = "int4" if config.group == 128 else f"int4_g{config.group}"
            weight, factors = prepare_w4_weight(packed, scale, name)
        return weight, factors, name

    def run(self, packed: Packed, A: torch.Tensor) -> torch.Tensor:
        """Return D."""
        from quack.gemm_w4 import gemm_w4a16

        weight, factors, name = packed
        return gemm_w4a16(A, weight, factors, wformat=name)


class BitsAndBytes(Peer):
    """bitsandbytes' nf4: blocks of consecutive weights, each with a float32 maximum."""

    name = "bitsandbytes"
    package = ("bitsandbytes", "bitsandbytes")

    def refuses(self, config: MatmulConfig) -> str | None:
        """Refuse all but nf4 in its block sizes; its fp4 has other codes than OCP's."""
        if config.W_format.name != "nf4" or config.with_zeros:
            return f"takes nf4 without zero points (got {config.W_format.name})"
        return _wants_16_bit_A(config) or _wants_groups(config, (64, 128, 256, 512, 1024, 2048, 4096))

    def pack(self, weights: Weights) -> Packed:
        """Return codes two a byte, the first in the high half, and the maxima of blocks."""
        codes = weights.codes
        return (codes[:, ::2] << 4 | codes[:, 1::2]).view(-1, 1), weights.own_scale.float().flatten(), weights.config

    def calls(
        self, copies: Sequence[Packed], A: torch.Tensor, _activation_scale: torch.Tensor | None = None
    ) -> list[Callable[[], torch.Tensor]]:
        """Return one call a copy; the state that describes a weight is made here, once."""
        import bitsandbytes as bnb
        from bitsandbytes.functional import QuantState, get_4bit_type

        code = get_4bit_type("nf4", device=A.device)

        def call(packed: Packed) -> Callable[[], torch.Tensor]:
            codes, maxima, config = packed
            state = QuantState(
                absmax=maxima,
                shape=torch.Size((config.N, config.K)),
                code=code,
                blocksize=config.group,
                quant_type="nf4",
                dtype=A.dtype,
            )
            return lambda: bnb.matmul_4bit(A, codes.t(), quant_state=state)

        return [call(packed) for packed in copies]

    def run(self, packed: Packed, A: torch.Tensor) -> torch.Tensor:
        """Return D."""
        return self.calls([packed], A)[0]()


class Marlin(Peer):
    """Marlin (the package of its authors): int4, groups of 128 or whole rows, float16."""

    name = "Marlin"
    package = ("marlin", "marlin")

    def refuses(self, config: MatmulConfig) -> str | None:
        """Refuse all but symmetric int4 by float16."""
        if config.W_format.name != "int4" or config.with_zeros:
            return f"takes int4 without zero points (got {config.W_format.name})"
        if config.A_format.name != "float16":
            return f"takes A in float16 (got {config.A_format.name})"
        if config.N % 256 or config.K % 128:
            return f"takes N % 256 == 0 and K % 128 == 0 (got N={config.N}, K={config.K})"
        return _wants_groups(config, (128, -1))

    def pack(self, weights: Weights) -> Packed:
        """Return what its layer packs from decode(W) and the scales."""
        import marlin

        config = weights.config
        linear = torch.nn.Linear(config.K, config.N, bias=False, dtype=torch.float16, device=weights.W.device)
        linear.weight.data = weights.dequantized(torch.float16)
        layer = marlin.Layer(config.K, config.N, groupsize=-1 if config.group == config.K else config.group)
        layer = layer.to(weights.W.device)
        layer.pack(linear, weights.scale)
        return layer.B, layer.s, layer.workspace

    def run(self, packed: Packed, A: torch.Tensor) -> torch.Tensor:
        """Return D."""
        import marlin

        B, s, workspace = packed
        D = torch.empty((len(A), s.shape[1]), dtype=A.dtype, device=A.device)
        marlin.mul(A, B, D, s, workspace)
        return D


#: All peers, in the order of their columns.
PEERS: tuple[Peer, ...] = (
    TorchLinear(), TorchInt4(), TorchInt8(), TorchFloat8(), Humming(), Quack(), GemLite(), BitsAndBytes(), Marlin(),
)  # fmt: skip


def peers_by_name(names: Sequence[str]) -> tuple[Peer, ...]:
    """Return the peers of these names, whatever the case, with or without spaces.

    Raises
    ------
    Refusal
        If there is none of a name.
    """
    known = {_plain(peer.name): peer for peer in PEERS}
    for name in names:
        if _plain(name) not in known:
            raise Refusal(f"no peer is called {name!r}; there are {', '.join(peer.name for peer in PEERS)}")
    return tuple(known[_plain(name)] for name in names)


def _plain(name: str) -> str:
    return name.lower().replace(" ", "").replace("_", "").replace("-", "")
