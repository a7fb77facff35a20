"""Left operands of the wgmma kernel: codes to numbers, scaled and shifted with one rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.decode import apply_scale_and_zero
from bitquant.formats.words import MINUS_ZERO_PAIR
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.intrin.mma import fma_pair, local, rounded_pair, store_local
from bitquant.intrin.operations import TirxOps
from bitquant.schedule.rules.hopper.emit.factors import TURN, FactorLoads, unpacked

if TYPE_CHECKING:
    from bitquant.schedule.rules.hopper.emit.kernel import Kernel

__all__ = ["Factors", "HeldMasks", "Words", "record"]

Expr = Any

#: Of the operand's types: bits of the mantissa, the exponent's bias, the least number, the greatest n such that all
#: integers up to n are numbers of the type, and the name of a pair in PTX.
_MANTISSA = {"float16": 10, "bfloat16": 7}
_BIAS = {"float16": 15, "bfloat16": 127}
_LEAST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
_MOST = {"float16": 2.0**11, "bfloat16": 2.0**8}
_PAIR = {"float16": "f16x2", "bfloat16": "bf16x2"}


class Factors:
    """Scales and zero points of one block of 64 rows, as a thread applies them to its two rows (g and g + 8).

    The four lanes that share rows hold the factors of four consecutive groups, and pass them on as groups begin; the
    next ones are on their way meanwhile (`wgmma_factors`).

    decode(w) = (w - i) s + decode(i) with an integer i near the zero point: w - i is exact and the product is added to
    decode(i) with one rounding. decode(i) is zero for integer zero points, and rounded once for others.
    """

    def __init__(self, kernel: Kernel, row: int) -> None:
        self.kernel, self.row = kernel, row
        c = kernel.config
        self.group_steps, self.groups_per_step = c.group // kernel.step_k, max(1, kernel.step_k // c.group)
        self.has_rest = c.with_zeros and not c.has_packed_zeros
        self.subtracts = c.with_zeros and c.zeros_mode != "rescale"
        self.loads = FactorLoads(kernel, row)
        #: What a lane holds for its own group: pairs, of rows g and g + 8.
        kinds = ("scale", "near", "rest")
        self.held = {kind: T.alloc_local((1,), "uint32") for kind in kinds}
        self.current = {kind: T.alloc_local((2,), "uint32") for kind in kinds}
        #: For either row: what decoding adds, less the zero point.
        self.offsets: list[dict[float, Expr]] = [{}, {}]
        for half in range(2) if self.subtracts else ():
            constants = sorted(record(kernel.decoder, half).constants)
            registers = T.alloc_local((max(1, len(constants)),), "uint32")
            self.offsets[half] = {constant: registers[i] for i, constant in enumerate(constants)}

    def begin_tile(self) -> None:
        """Emit the loads for the first groups of a tile."""
        self.loads.begin(self._group_of(self.kernel.first_step, 0))

    def _group_of(self, step: Expr, j: int) -> Expr:
        c, kernel = self.kernel.config, self.kernel
        if c.num_groups == 1:
            return T.int32(0)
        if self.group_steps:
            return step // self.group_steps
        return step * self.groups_per_step + j * kernel.op.step_k // c.group

    def _pack(self, first: Expr) -> None:
        """Emit the factors of this lane's group of four from `first` on, and the loads that follow."""
        c = self.kernel.config
        first = local("int32", first)
        scale, zero = self.loads.deal(first)
        if scale is not None:
            store_local(self.held["scale"], 0, scale[0])
        if zero is not None:
            self._pack_zeros([None, None] if scale is None else unpacked(scale, c), unpacked(zero, c, is_zero=True))
        self.loads.follow(first)

    def _pack_zeros(self, scale: Sequence[Expr | None], zero: Sequence[Expr]) -> None:
        """Emit what this lane's group has of zero points, from scales and zero points of both rows in float32."""
        c, operand = self.kernel.config, self.kernel.operand
        near = [T.float32(0), T.float32(0)]
        if self.subtracts:
            near = list(zero)
            if self.has_rest:
                low, high = (T.float32(bound) for bound in self._bounds())
                near = [T.max(T.min(tirx.nearbyint(z), high), low) for z in zero]
            store_local(self.held["near"], 0, rounded_pair(near[0], near[1], operand))
        if self.has_rest:
            rest = [apply_scale_and_zero(i, s, z, c.zeros_mode) for i, s, z in zip(near, scale, zero, strict=True)]
            store_local(self.held["rest"], 0, rounded_pair(rest[0], rest[1], operand))

    def _bounds(self) -> tuple[float, float]:
        """Return the least and the greatest i: w - i and what `offsets` hold are integers that the type has."""
        fmt, most = self.kernel.decoder.fmt, _MOST[self.kernel.operand]
        constants = [0.0, *self.offsets[0], *self.offsets[1]]
        return fmt.max_value - most, min(fmt.min_value, *constants) + most

    def begin_part(self) -> None:
        """Emit the change to the group in which this consumer's part of K begins."""
        group = self._group_of(self.kernel.first_step, 0)
        self._pack(group // TURN * TURN)
        self._take(group)

    def enter(self, step: Expr, place: int, j: int) -> None:
        """Emit the change to the group of mma step j of step `step`, where that is the first of its group.

        `place` is the step's place in the body of the loop; a part is a whole number of bodies. Nothing changes at the
        first step of the part, which `begin_part` has entered, though that may be the first of a group, too.
        """
        kernel, c = self.kernel, self.kernel.config
        if c.num_groups == 1 or (self.group_steps and j) or j * kernel.op.step_k % c.group:
            return
        body = kernel.body_stages * kernel.steps
        # Groups begin at places that are multiples of this.
        distance = math.gcd(body, self.group_steps) if self.group_steps else 1
        if place % distance:
            return
        conditions = []
        if self.group_steps and self.group_steps != distance:
            conditions.append(step % self.group_steps == 0)
        if place == 0 and j == 0:
            conditions.append(step != kernel.first_step)
        if conditions:
            with T.If(tirx.all(*conditions)), T.Then():
                self._advance(self._group_of(step, j))
        else:
            self._advance(self._group_of(step, j))

    def _advance(self, group: Expr) -> None:
        if self.kernel.config.num_groups > TURN:
            with T.If(group % TURN == 0), T.Then():
                self._pack(group)
        self._take(group)

    def _take(self, group: Expr) -> None:
        """Emit the passing of a group's factors to all lanes, each as pairs of equal numbers for both rows."""
        c, kernel = self.kernel.config, self.kernel
        kinds = [("scale", c.with_scaling), ("near", self.subtracts), ("rest", self.has_rest)]
        for kind, is_there in kinds:
            if not is_there:
                continue
            both = self.held[kind][0]
            if c.num_groups > 1:
                both = local("uint32", kernel.from_group(both, group))
            for half in range(2):
                selector = T.uint32(0x1010 if half == 0 else 0x3232)
                value = T.call_pure_extern("uint32", "__byte_perm", both, T.uint32(0), selector)
                store_local(self.current[kind], half, value)
        for half, offsets in enumerate(self.offsets):
            for constant, register in offsets.items():
                name = f"sub.{_PAIR[kernel.operand]}"
                T.evaluate(T.ptx[name](register, _constant(constant, kernel.operand), self.current["near"][half]))
        if self.subtracts:
            # Where the subtraction is not part of decoding it is one of the number less the pair.
            for half in range(2):
                store_local(self.current["near"], half, self.current["near"][half] ^ T.uint32(MINUS_ZERO_PAIR))

    def decode(self, planes: Sequence[Any], register: int) -> Expr:
        """Return a register of a tile, scaled."""
        kernel, c, dtype = self.kernel, self.kernel.config, self.kernel.operand
        half = register % 2
        ops = _ExactOps(kernel.decoder, self.offsets[half] if self.subtracts else {}, kernel.masks)
        value = kernel.decoder.decode(planes, register, kernel.table, ops)[0]
        if not ops.is_exact and (self.subtracts or kernel.decoder.value_scale != 1.0):
            # Adding -0 keeps a zero's sign.
            less = self.current["near"][half] if self.subtracts else T.uint32(MINUS_ZERO_PAIR)
            value = fma_pair(value, _constant(kernel.decoder.value_scale, dtype), less, dtype)
        if not c.with_scaling and not self.has_rest:
            return value
        scale = self.current["scale"][half] if c.with_scaling else _constant(1.0, dtype)
        rest = self.current["rest"][half] if self.has_rest else T.uint32(MINUS_ZERO_PAIR)
        return fma_pair(value, scale, rest, dtype)


class HeldMasks(TirxOps):
    """Decoding with masks in registers."""

    def __init__(self, masks: dict[int, Expr]) -> None:
        self.masks = masks

    def mask(self, bits: int, x: Expr) -> Expr:
        """Return the register."""
        return self.masks.get(bits, super().mask(bits, x))


class _ExactOps(HeldMasks):
    """Decoding of integers to their values, less a zero point, in one operation where a format's decoding is one.

    The decoder's numbers are the values times a power of two, which a scale of float16 may be too small to take up.
    """

    def __init__(self, decoder: RegisterDecoder, offsets: dict[float, Expr], masks: dict[int, Expr]) -> None:
        super().__init__(masks)
        self.decoder, self.offsets = decoder, offsets
        self.is_exact = False

    def place(self, mul: int, dtype: str) -> int | None:
        """Return the bit of a half at which codes stand, where an exponent beside them makes their unit 1."""
        fmt = self.decoder.fmt
        if not fmt.is_integer or len(self.decoder.layout.planes) > 1 or fmt.bits == 8:
            return None
        # The product is the value over value_scale; codes at bit b are multiples of 2^b times the least number.
        bit = round(math.log2(fmt.step / (_value(mul & 0xFFFF, dtype) * self.decoder.value_scale * _LEAST[dtype])))
        fits = bit + fmt.bits <= _MANTISSA[dtype] and -self.constant(bit, dtype) <= _MOST[dtype]
        return bit if fits else None

    def constant(self, bit: int, dtype: str) -> float:
        """Return what takes the exponent and the code's offset away."""
        fmt = self.decoder.fmt
        return -(2.0 ** (_MANTISSA[dtype] - bit)) * fmt.step + fmt.offset

    def fma(self, x: Expr, mul: int, add: int | Expr, dtype: str) -> Expr:
        """Emit x * mul + add, or the same number with its unit restored and the zero point subtracted."""
        bit = self.place(mul, dtype)
        if bit is None:
            return super().fma(x, mul, add, dtype)
        self.is_exact = True
        # Where bit b has unit 1 the exponent is the bits of the mantissa less b.
        exponent = _BIAS[dtype] + _MANTISSA[dtype] - bit << _MANTISSA[dtype]
        x = (x.a & self.masks[int(x.b)]) | T.uint32(exponent * 0x10001)
        constant = self.constant(bit, dtype)
        offset = self.offsets.get(constant, _constant(constant, dtype))
        return fma_pair(x, _constant(float(self.decoder.fmt.step), dtype), offset, dtype)


class Recorder(_ExactOps):
    """Collects masks and constants of a decoding without emitting it."""

    def __init__(self, decoder: RegisterDecoder) -> None:
        super().__init__(decoder, {}, {})
        self.masks_found: set[int] = set()
        self.constants: set[float] = set()

    def hold(self, x: Expr) -> Expr:
        """Return x."""
        return x

    def mask(self, bits: int, x: Expr) -> Expr:
        """Collect."""
        self.masks_found.add(bits)
        return super().mask(bits, x)

    def lookup(self, table: Any, word: Expr, byte: int) -> Expr:
        """Return what is looked up."""
        return word

    def fma(self, x: Expr, mul: int, add: int | Expr, dtype: str) -> Expr:
        """Collect."""
        if (bit := self.place(mul, dtype)) is not None:
            self.masks_found.add(int(x.b))
            self.constants.add(self.constant(bit, dtype))
        return x


def record(decoder: RegisterDecoder, half: int) -> Recorder:
    """Return what decoding adds to, and the masks of, the registers of row g + 8 * half."""
    recorder = Recorder(decoder)
    for register in range(half, decoder.layout.registers, 2):
        words = [lambda _: tirx.Var("word", "uint32") for _ in decoder.layout.planes]
        decoder.decode(words, register, None, recorder)
    return recorder


def _constant(value: float, dtype: str) -> Expr:
    """Return a pair of equal 16-bit floats as a word."""
    one = tirx.const(value, dtype)
    return tirx.reinterpret("uint16", one).astype("uint32") * T.uint32(0x10001)


def _value(bits: int, dtype: str) -> float:
    """Return the number that 16 bits are."""
    if dtype == "float16":
        return float(np.uint16(bits).view(np.float16))
    return float(np.uint32(bits << 16).view(np.float32))


@dataclass(frozen=True)
class Words:
    """Part of a buffer of words, from `first` on."""

    buffer: Any
    first: int

    def __call__(self, i: int) -> Expr:
        """Return word i."""
        return self.buffer[self.first + i]
