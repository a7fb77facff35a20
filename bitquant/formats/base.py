# SPDX-License-Identifier: Apache-2.0
"""What a number format is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bitquant.errors import ConfigError, ScheduleError
from bitquant.formats.registers import Decoding, RegisterPlan
from bitquant.formats.words import PackedPair

if TYPE_CHECKING:
    import torch

__all__ = ["ACTIVATION_DTYPES", "Bounds", "NumberFormat", "ZerosMode"]

Expr = Any

ZerosMode = Literal["original", "rescale", "quantized"]

#: Formats of A.
ACTIVATION_DTYPES: tuple[str, ...] = (
    "float16", "bfloat16", "int8", "float8_e4m3", "float8_e5m2", "float32",
)  # fmt: skip


class Bounds(NamedTuple):
    """Which values a format takes: low, low + step, ..., high; all from low to high where step is 0.

    Attributes
    ----------
    low, high, step
        The values.
    held
        What is held, in words, for an error.
    fix
        What to do with others.
    """

    low: float
    high: float
    held: str
    fix: str
    step: int = 0


@dataclass(frozen=True)
class NumberFormat(ABC):
    """How one number is written down.

    A subclass says what a code is worth and how registers of tensor cores are decoded. Rules of kernels ask it: what a
    format does not say, they refuse. docs/architecture.md says how to add one.

    Formats of fewer than 8 bits are packed (see `bitquant.packing`); those of 8 bits and more are stored as tensors of
    their own type. The *code* of a number is its unsigned bits where it is packed, else the element of that tensor.

    Attributes
    ----------
    name
        Canonical name, as `MatmulConfig` prints it.
    bits
        Bits a value.
    tvm_dtype
        The type of a tensor that holds values of this format one an element; for packed formats the type of the packed
        storage (int8). torch calls it the same.
    aliases
        Other spellings of the name.
    """

    name: str
    bits: int
    tvm_dtype: str = "int8"
    aliases: tuple[str, ...] = field(default=(), compare=False, kw_only=True)

    # What kind of format it is.

    @cached_property
    def torch_dtype(self) -> torch.dtype:
        """The type of torch. What only compiles needs none, and imports no torch (`bitquant.worker`)."""
        import torch

        found: Any = getattr(torch, self.tvm_dtype)
        return found

    @property
    def is_packed(self) -> bool:
        """Whether several values share a byte."""
        return self.bits < 8

    @property
    def is_integer(self) -> bool:
        """Whether every value is an integer."""
        return False

    def is_exact_in(self, dtype: str) -> bool:
        """Whether every number of the format is one of the TVM type `dtype`; asked of formats of scales."""
        return dtype == self.tvm_dtype

    @property
    def is_unsigned(self) -> bool:
        """Whether values are the integers 0 ... 2^bits - 1, which zero points shift."""
        return False

    @property
    def step(self) -> int:
        """Of integers: value = step * code + offset. 1 for other formats."""
        return 1

    @property
    def offset(self) -> int:
        """Of integers: value = step * code + offset. 0 for other formats."""
        return 0

    @property
    def has_infinity(self) -> bool:
        """Whether a code is infinity."""
        return False

    @property
    @abstractmethod
    def min_value(self) -> float:
        """Least finite value."""

    @property
    @abstractmethod
    def max_value(self) -> float:
        """Greatest finite value."""

    @property
    def levels(self) -> tuple[float, ...] | None:
        """The value of each code, for packed formats of other numbers than integers."""
        return None

    @property
    def codebook(self) -> tuple[float, ...] | None:
        """The values of 16 codes that kernels may look up, also where they can be computed."""
        return None

    @property
    def needs_table(self) -> bool:
        """Whether a code becomes a value by `codebook` alone."""
        return False

    @property
    def takes_codebook(self) -> bool:
        """Whether the levels are those of a config's `codebook`."""
        return False

    def with_codebook(self, codebook: Any) -> NumberFormat:
        """Return the format with these levels.

        Raises
        ------
        ConfigError
            If it takes no codebook, or this is none.
        """
        raise ConfigError(
            f"'codebook' must be None where W has levels of its own (got W_dtype={self.name!r}); use W_dtype='code4'",
            codebook=codebook, W_dtype=self.name,
        )  # fmt: skip

    def is_looked_up(self, operand_bits: int) -> bool:
        """Whether tensor cores that take operands of so many bits get values from a table of pairs of codes."""
        del operand_bits
        return False

    # What it goes with.

    @property
    def activations(self) -> tuple[str, ...]:
        """Formats of A that a weight of this format is multiplied with."""
        return tuple(name for name in ACTIVATION_DTYPES if name != "int8")

    @property
    def zeros_modes(self) -> tuple[ZerosMode, ...]:
        """Modes of zero points that a weight of this format may have."""
        return ("original", "rescale")

    # Values and codes.

    @abstractmethod
    def value(self, code: Expr, dtype: str) -> Expr:
        """Return the value of a stored code as an expression in `dtype`, exactly where `dtype` holds it.

        Parameters
        ----------
        code
            The code as `bitquant.compute.decode.unpack_code` gives it, or an element of the stored tensor where the
            format is not packed.
        dtype
            TVM type of the result: a float type, or a signed integer type for integer formats.
        """

    @abstractmethod
    def bounds(self, dtype: torch.dtype) -> Bounds | None:
        """Return which values of a tensor of this type `encode` takes; None where it takes all.

        Raises
        ------
        ConfigError
            If it takes none of that type.
        """

    @abstractmethod
    def encode(self, values: torch.Tensor) -> torch.Tensor:
        """Return what is stored for values within `bounds`: contiguous uint8 codes, or elements of `torch_dtype`."""

    @abstractmethod
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the values of int8 codes, or of elements of `torch_dtype`, in `value_dtype`."""

    @property
    def value_dtype(self) -> torch.dtype:
        """Type of what `decode` gives."""
        return self.torch_dtype

    # Tensor cores.

    def register_refusal(self, operand: str) -> str | None:
        """Return why the left operand of tensor cores is not made of it in that type, as "needs ... (got ...)".

        `operand` is float16, bfloat16, int8, uint8, float8_e4m3 or float8_e5m2.
        """
        return self._untold("registers are", operand)

    def register_decoding(self, plan: RegisterPlan) -> Decoding:
        """Return how registers are decoded in the fragment layout, where `register_refusal` is None."""
        raise ScheduleError(self._untold("registers are", plan.operand), fmt=self.name, operand=plan.operand)

    def in_place_refusal(self, operand: str) -> str | None:
        """Return why codes are no numbers where they stand (`bitquant.formats.integers`), as "needs ... (got ...)"."""
        if operand != "float16":
            return f"needs an operand of type float16 (got {operand})"
        return f"needs integers of at most 7 bits (got {self.name})"

    def unit_refusal(self, operand: str) -> str | None:
        """Return why the plain layout is not decoded to that type, as "needs ... (got ...)".

        `operand` is float16, bfloat16 or int8.
        """
        return self._untold("plain layout is", operand)

    def unit_pair(
        self, words: Sequence[Expr], pair: int, dtype: str, byte_perm: Callable[[Expr, int], Expr]
    ) -> PackedPair:
        """Return elements 2 * pair and 2 * pair + 1 of a unit as two `dtype` numbers, exactly.

        Parameters
        ----------
        words
            A unit of 32 elements in the plain layout, as 32-bit unsigned words.
        pair
            0 to 15.
        dtype
            "float16"; "bfloat16" for integers of at most 7 bits, whose codes its mantissa holds, and for bfloat16
            itself.
        byte_perm
            (word, selector) -> PRMT of (word, 0): byte i of the result is byte (selector >> 4i) & 7 of the eight.
        """
        del words, pair, byte_perm  # A format that tells no decoding looks at none of them.
        raise ScheduleError(self._untold("plain layout is", dtype), fmt=self.name, operand=dtype)

    def _untold(self, what: str, operand: str) -> str:
        """Return why kernels do not take a format that does not say how it is decoded."""
        return f"needs a format whose {what} decoded to {operand} (got {self.name})"
