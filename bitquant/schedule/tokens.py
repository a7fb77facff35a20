# SPDX-License-Identifier: Apache-2.0
"""The kernels of `bitquant.compute.tokens`: each token, a row of x, is rounded to 8 bits.

A kernel serves any number of rows m and any K. Beside tensors it takes two numbers: the least maximum, and whether what
goes with x' is s (0) or its inverse (1), which is 1 / (s * w) where there is a factor of the weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.ir import IRModule
from tvm.script import tirx as T
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant.arch import gpu_arch
from bitquant.arithmetic import ceil_div
from bitquant.compute.matmul import RUNG_ATTR
from bitquant.compute.tokens import TokenConfig, magnitude_bits, maximum_of_bits, rounded, token_factor, widened
from bitquant.intrin.launch import trigger_dependent_launch, wait_for_dependency, with_dependent_launch
from bitquant.intrin.mma import load_coherent, local, store_local
from bitquant.intrin.words import word_value
from bitquant.schedule import parsing
from bitquant.schedule.apply import CHOICE_ATTR, Choice
from bitquant.schedule.hint import Hint, one_of, size

__all__ = ["TOKENS_SYMBOL", "TokensHint", "schedule_tokens", "tokens_hint"]

Expr = Any

#: Name of the function.
TOKENS_SYMBOL = "quantize_tokens"
#: Bytes of a wide load, the widest there is.
_WIDE_BYTES = 16
#: Loads of a thread that stay in registers. What a row has beyond these is loaded again, then from a cache.
_KEPT = 2
_MAX_WARPS = 32
#: Elements of a step on a CPU: four vectors of 16 bits of AVX2.
_LANES = 64


@dataclass(frozen=True)
class TokensHint(Hint):
    """Shape of the kernel.

    Attributes
    ----------
    warps
        Warps of a block, which takes a row.
    elements
        Elements that a thread loads at a time: 16 bytes, or 1 where rows are not whole 16 bytes.
    """

    warps: int = size(8, 1, _MAX_WARPS)
    elements: int = one_of(8, 4, 1)


def tokens_hint(config: TokenConfig, K: int, is_aligned: bool, target: Target) -> TokensHint | None:
    """Return the shape for rows of K elements; there are at most a dozen shapes, so that kernels are shared.

    A row stays in registers as far as a block of 1024 threads holds it: 16384 numbers of 16 bits. Small blocks leave
    room for others beside them, which matters for many rows; with one row the time of a launch counts.

    Parameters
    ----------
    config, target
        As for `schedule_tokens`.
    K
        Elements of a row.
    is_aligned
        Whether x begins at a multiple of 16 bytes.

    Returns
    -------
    TokensHint or None
        None for a CPU, which has one kernel.
    """
    if target.kind.name != "cuda":
        return None
    wide = _WIDE_BYTES * 8 // config.x_format.bits
    elements = wide if is_aligned and K % wide == 0 else 1
    warps = ceil_div(K, elements * _KEPT * 32)
    return TokensHint(min(_MAX_WARPS, 1 << (warps - 1).bit_length()), elements)


def schedule_tokens(config: TokenConfig, hint: TokensHint | None, target: Target) -> IRModule:
    """Return a module with the kernel that rounds tokens.

    Parameters
    ----------
    config
        The problem.
    hint
        As `tokens_hint` returns it.
    target
        What to schedule for.
    """
    if hint is None:
        kernel, fields, pipeline = _cpu_kernel(config), {}, "s_tir"
    else:
        kernel, fields, pipeline = _CudaKernel(config, hint, target).function(), hint.to_dict(), "tirx"
    choice = Choice("tokens", pipeline, fields, 0, {})
    attrs = {"global_symbol": TOKENS_SYMBOL, RUNG_ATTR: 0, CHOICE_ATTR: choice.to_dict()}
    return IRModule({TOKENS_SYMBOL: _bound(kernel, config).with_attrs(attrs)})


def _bound(kernel: PrimFunc, config: TokenConfig) -> PrimFunc:
    """Return a kernel that declares (X, WeightScale, Values, Factor, least, is_inverse) with what the problem has."""
    params = [p for p in kernel.params if config.with_weight_scale or not str(p.name).startswith("WeightScale")]
    return PrimFunc(params, kernel.body, kernel.ret_type, kernel.attrs)


def _returned(factor: Expr, weight_scale: Expr | None, is_inverse: Expr) -> Expr:
    """Return what goes with x': s, or 1 / (s * w)."""
    product = factor if weight_scale is None else factor * weight_scale
    return tirx.if_then_else(is_inverse != 0, tirx.const(1.0, "float32") / product, factor)


def _cpu_kernel(config: TokenConfig) -> PrimFunc:
    """Write the kernel for a CPU: threads take rows, and read each twice."""
    x_format, fmt, limit = config.x_format, config.format, config.limit
    bits_dtype = f"uint{x_format.bits}"

    def magnitude(X: Any, row: Expr, k: Expr) -> Expr:
        return magnitude_bits(tirx.reinterpret(bits_dtype, X[row, k]))

    def product(X: Any, row: Expr, k: Expr, factor: Expr) -> Expr:
        return widened(X[row, k], x_format) * factor

    @parsing.prim_func
    def kernel(
        X_handle: T.handle, WeightScale_handle: T.handle, Values_handle: T.handle, Factor_handle: T.handle,
        least: T.float32, is_inverse: T.int32,
    ) -> None:  # fmt: skip
        m, K = T.int32(), T.int32()
        X = T.match_buffer(X_handle, (m, K), x_format.tvm_dtype, align=1)
        WeightScale = T.match_buffer(WeightScale_handle, (1,), "float32", align=1)
        Values = T.match_buffer(Values_handle, (m, K), fmt.tvm_dtype, align=1)
        Factor = T.match_buffer(Factor_handle, (m, 1), "float32", align=1)
        for row in T.parallel(m):
            steps = T.meta_var(T.truncdiv(K, _LANES))
            tail = T.meta_var(T.truncmod(K, _LANES))
            greatest = T.alloc_buffer((_LANES,), bits_dtype)
            scaled = T.alloc_buffer((_LANES,), "float32")
            factor = T.alloc_buffer((1,), "float32")
            for lane in T.vectorized(_LANES):
                greatest[lane] = T.cast(0, bits_dtype)
            for step in T.serial(steps):
                for lane in T.vectorized(_LANES):
                    greatest[lane] = T.max(greatest[lane], magnitude(X, row, step * _LANES + lane))
            for lane in T.serial(tail):
                greatest[0] = T.max(greatest[0], magnitude(X, row, steps * _LANES + lane))
            for lane in T.serial(_LANES - 1):
                greatest[0] = T.max(greatest[0], greatest[lane + 1])
            factor[0] = token_factor(maximum_of_bits(greatest[0], x_format), least, limit)
            for step in T.serial(steps):
                for lane in T.vectorized(_LANES):
                    scaled[lane] = product(X, row, step * _LANES + lane, factor[0])
                for lane in T.vectorized(_LANES):
                    Values[row, step * _LANES + lane] = rounded(scaled[lane], fmt)
            for lane in T.serial(tail):
                scaled[lane] = product(X, row, steps * _LANES + lane, factor[0])
                Values[row, steps * _LANES + lane] = rounded(scaled[lane], fmt)
            weight_scale = T.meta_var(WeightScale[0] if config.with_weight_scale else None)
            Factor[row, 0] = _returned(factor[0], weight_scale, is_inverse)

    return kernel


class _CudaKernel:
    """The kernel for a GPU: a block takes a row, in loads of `elements`, which its threads take in turn.

    Maxima are those of bits (`magnitude_bits`), of both halves of a word where x has 16: one shift and one maximum an
    element, and what lies below a number's own bits decides nothing but between equal ones.

    From sm_90 on it is launched so that it may begin before the kernel before it has ended, and triggers the launch
    of the next at once: a product fetches its weight meanwhile (docs/architecture.md, "Programmatic dependent launch").
    """

    def __init__(self, config: TokenConfig, hint: TokensHint, target: Target) -> None:
        self.config, self.hint = config, hint
        self.arch = gpu_arch(str(target.arch))
        self.threads = hint.warps * 32
        self.is_wide = hint.elements > 1
        #: 32-bit words of a load, and elements of a word.
        self.words = _WIDE_BYTES // 4 if self.is_wide else 1
        self.in_word = hint.elements // self.words if self.is_wide else 1

    def function(self) -> PrimFunc:
        """Write the kernel."""
        x_format, fmt = self.config.x_format, self.config.format
        has_dependents = self.arch.has_dependent_launch

        @parsing.prim_func
        def kernel(
            X_handle: T.handle, WeightScale_handle: T.handle, Values_handle: T.handle, Factor_handle: T.handle,
            least: T.float32, is_inverse: T.int32,
        ) -> None:  # fmt: skip
            m, K = T.int32(), T.int32()
            X = T.match_buffer(X_handle, (m, K), x_format.tvm_dtype)
            WeightScale = T.match_buffer(WeightScale_handle, (1,), "float32")
            Values = T.match_buffer(Values_handle, (m, K), fmt.tvm_dtype)
            Factor = T.match_buffer(Factor_handle, (m, 1), "float32")
            T.device_entry()
            row = T.cta_id([m])
            thread = T.thread_id([self.threads])
            if has_dependents:
                wait_for_dependency()
                trigger_dependent_launch()
            self.emit(X, WeightScale, Values, Factor, K, row, thread, least, is_inverse)

        return with_dependent_launch(kernel) if has_dependents else kernel

    def emit(
        self, X: Any, WeightScale: Any, Values: Any, Factor: Any, K: Expr, row: Expr, thread: Expr, least: Expr,
        is_inverse: Expr,
    ) -> None:  # fmt: skip
        """Emit what a thread does: the maximum over its row, then the rounding.

        Parameters
        ----------
        X, WeightScale, Values, Factor
            The operands: x, the scale of the weight, x rounded, and the factor of each row.
        K
            Elements of a row.
        row, thread
            Indices of the block, which is a row, and of the thread.
        least
            The least maximum of |x| that a factor is made from (`bitquant.compute.tokens`).
        is_inverse
            Whether Factor is 1 / (s * weight scale), and not s.
        """
        words, elements = self.words, self.hint.elements
        loads = tirx.truncdiv(K, elements) if elements > 1 else K
        kept, again = T.alloc_local((_KEPT * words,), "uint32"), T.alloc_local((words,), "uint32")
        greatest = T.alloc_local((1,), "uint32")
        store_local(greatest, 0, T.uint32(0))
        weight_scale = load_coherent(WeightScale, 0) if self.config.with_weight_scale else None
        has_more = loads > _KEPT * self.threads
        rest = tirx.truncdiv(loads - (_KEPT * self.threads + 1) + self.threads, self.threads)

        def more(use: Any) -> None:
            """Emit `use` of each load that is not kept."""
            with T.If(has_more), T.Then(), T.serial(rest) as step:
                index = local("int32", (step + _KEPT) * self.threads + thread)
                with T.If(index < loads), T.Then():
                    self._load(again, 0, X, row, index)
                    use(again, 0, index)

        for i in range(_KEPT):
            with T.If(i * self.threads + thread < loads), T.Then():
                self._load(kept, i * words, X, row, i * self.threads + thread)
        for i in range(_KEPT):
            with T.If(i * self.threads + thread < loads), T.Then():
                self._compare(greatest, kept, i * words)
        more(lambda buffer, first, _index: self._compare(greatest, buffer, first))
        bits = self._greatest_of_block(greatest, thread)
        x_format = self.config.x_format
        if x_format.bits == 16:
            bits = tirx.shift_right(bits, tirx.const(16, "uint32")).astype("uint16")
        factor = local("float32", token_factor(maximum_of_bits(bits, x_format), least, self.config.limit))
        for i in range(_KEPT):
            with T.If(i * self.threads + thread < loads), T.Then():
                self._store(Values, row, i * self.threads + thread, kept, i * words, factor)
        more(lambda buffer, first, index: self._store(Values, row, index, buffer, first, factor))
        with T.If(thread == 0), T.Then():
            T.buffer_store(Factor, _returned(factor, weight_scale, is_inverse), [row, 0])

    def _load(self, buffer: Any, first: int, X: Any, row: Expr, index: Expr) -> None:
        """Emit a load. It is coherent, and stands behind the wait: x may be what the kernel before this one writes."""
        pointer = X.ptr_to([row, index * self.hint.elements])
        if self.is_wide:
            T.evaluate(T.ptx["ld.global.v4.u32"](*[buffer[first + i] for i in range(self.words)], pointer))
        elif self.config.x_format.bits == 32:
            T.evaluate(T.ptx["ld.global.u32"](buffer[first], pointer))
        else:
            half = T.alloc_local((1,), "uint16")
            T.evaluate(T.ptx["ld.global.u16"](half[0], pointer))
            store_local(buffer, first, half[0].astype("uint32"))

    def _compare(self, greatest: Any, buffer: Any, first: int) -> None:
        """Emit the maximum with what was loaded."""
        for i in range(self.words):
            word = buffer[first + i]
            if self.in_word == 2 or self.config.x_format.bits == 32:
                store_local(greatest, 0, T.max(greatest[0], magnitude_bits(word)))
            if self.config.x_format.bits == 16:
                lower = tirx.shift_left(word, tirx.const(16, "uint32"))
                store_local(greatest, 0, T.max(greatest[0], magnitude_bits(lower)))

    def _greatest_of_block(self, greatest: Any, thread: Expr) -> Expr:
        """Emit the maximum over all threads of the block, and return it."""
        warps = self.hint.warps

        def over_lanes(lanes: int) -> None:
            while (lanes := lanes // 2) > 0:
                other = T.tvm_warp_shuffle_xor(T.uint32(0xFFFFFFFF), greatest[0], lanes, 32, 32)
                store_local(greatest, 0, T.max(greatest[0], other))

        over_lanes(32)
        if warps > 1:
            shared = T.alloc_shared((warps,), "uint32")
            with T.If(thread % 32 == 0), T.Then():
                T.buffer_store(shared, greatest[0], [thread // 32])
            T.evaluate(T.cuda.cta_sync())
            store_local(greatest, 0, shared[thread % warps])
            over_lanes(warps)
        return greatest[0]

    def _store(self, Values: Any, row: Expr, index: Expr, buffer: Any, first: int, factor: Expr) -> None:
        """Emit the rounding and the store of what was loaded."""
        x_format, fmt, elements = self.config.x_format, self.config.format, self.hint.elements
        values = [word_value(buffer, first, T.int32(i), x_format, "float32") for i in range(elements)]
        target = [row, index * elements]
        if not self.is_wide:
            T.buffer_store(Values, rounded(local("float32", values[0] * factor), fmt), target)
            return
        words = [self._packed([local("float32", x * factor) for x in values[i : i + 4]]) for i in range(0, elements, 4)]
        kind = "v2.u32" if len(words) == 2 else "u32"
        T.evaluate(T.ptx[f"st.global.{kind}"](Values.ptr_to(target), *words))

    def _packed(self, scaled: list[Expr]) -> Expr:
        """Emit the rounding of four products, and return them as one word."""
        fmt = self.config.format
        result = T.alloc_local((1,), "uint32")
        if fmt.is_integer:
            integers = T.alloc_local((4,), "int32")
            for i, x in enumerate(scaled):
                T.evaluate(T.ptx["cvt.rni.s32.f32"](integers[i], x))  # 0 for NaN.
            name = "cvt_pack.sat.s8.s32.b32"
            T.evaluate(T.ptx[name](result[0], integers[3], integers[2], T.uint32(0)))
            T.evaluate(T.ptx[name](result[0], integers[1], integers[0], result[0]))
        elif self.arch.has_float8_conversion:
            pairs = T.alloc_local((2,), "uint16")
            name = f"cvt.rn.satfinite.{fmt.name.removeprefix('float8_')}x2.f32"
            for i in range(2):
                T.evaluate(T.ptx[name](pairs[i], scaled[2 * i + 1], scaled[2 * i]))
            upper = tirx.shift_left(pairs[1].astype("uint32"), tirx.const(16, "uint32"))
            store_local(result, 0, tirx.bitwise_or(pairs[0].astype("uint32"), upper))
        else:
            codes = [tirx.reinterpret("uint8", rounded(x, fmt)).astype("uint32") for x in scaled]
            word = codes[0]
            for i in range(1, 4):
                word = tirx.bitwise_or(word, tirx.shift_left(codes[i], tirx.const(8 * i, "uint32")))
            store_local(result, 0, word)
        return result[0]
