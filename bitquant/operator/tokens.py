# SPDX-License-Identifier: Apache-2.0
"""Tokens rounded to 8 bits: from a torch tensor to the kernels of `bitquant.schedule.tokens`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from tvm.target import Target

from bitquant.arch import cpu_target, cuda_target, detected_cuda_arch, resolve_target
from bitquant.archive import Archive
from bitquant.checks import MAX_ELEMENTS
from bitquant.compute.tokens import TokenConfig
from bitquant.errors import CallError, UnsupportedError
from bitquant.formats import NumberFormat, number_format
from bitquant.operator.archives import find_archive, present_archive
from bitquant.schedule.tokens import TOKENS_SYMBOL, TokensHint, schedule_tokens, tokens_hint
from bitquant.threads import follow_torch_threads

__all__ = ["TokenKernel", "check_tokens", "compute_tokens", "empty_tokens", "token_format", "x_name"]

#: What tokens are rounded to, by name and by the type of the result.
_FORMATS: dict[Any, NumberFormat] = {
    key: fmt
    for fmt in map(number_format, ("int8", "float8_e4m3", "float8_e5m2"))
    for key in (fmt.name, fmt.torch_dtype)
}
#: Types of x that kernels read; others are made float32 first.
_X_NAMES = {number_format(name).torch_dtype: name for name in ("float16", "bfloat16", "float32")}
#: What wide loads begin at a multiple of, in bytes.
_ALIGNMENT = 16
_FLOAT32_MAX = torch.finfo(torch.float32).max


def token_format(dtype: Any) -> NumberFormat:
    """Return the format of x' from its name or its type.

    Raises
    ------
    CallError
        If tokens are not rounded to it.
    """
    fmt = _FORMATS.get(dtype) if isinstance(dtype, (str, torch.dtype)) else None
    if fmt is None and isinstance(dtype, str):
        fmt = _FORMATS.get(number_format(dtype).name)  # In another spelling.
    if fmt is None:
        names = ", ".join(key for key in _FORMATS if isinstance(key, str))
        raise CallError(f"'dtype' must be one of {names} (got {dtype!r})")
    return fmt


def x_name(dtype: torch.dtype) -> str:
    """Return the name of the type in which kernels read x of this type."""
    return _X_NAMES.get(dtype, "float32")


@dataclass(frozen=True)
class TokenKernel:
    """The kernel for rows of K elements, on a type of device, of what `prepare_model` builds.

    Parameters
    ----------
    config, K
        The problem and the elements of a row, which begin at whole 16 bytes.
    target
        What the layer's own kernels on a GPU are for, None for the GPU that is there.
    """

    config: TokenConfig
    K: int
    target: str | Target | None = None

    #: How many functions are built for it.
    rungs = 1
    #: It is built faster than a worker process starts, and is not tuned.
    is_heavy = enable_tuning = False

    def find(self, device_type: str) -> bool:
        """Return whether the kernel is there now, made without compiling anything."""
        return _is_present(self._key(device_type))

    def prepare(self, device_type: str) -> None:
        """Make the kernel."""
        self.build(device_type)

    def build(self, device_type: str) -> Archive:
        """Make the kernel, and return its archive."""
        return _archive(self._key(device_type))

    def _key(self, device_type: str) -> _Key:
        target = cpu_target()
        if device_type == "cuda":
            target = resolve_target("cuda" if self.target is None else self.target)
        return _Key.of(self.config, self.K, True, target)


class _Key(NamedTuple):
    """What decides a kernel."""

    config: TokenConfig
    hint: TokensHint | None
    target: str

    @classmethod
    def of(cls, config: TokenConfig, K: int, is_aligned: bool, target: Target) -> _Key:
        """Return that of the kernel for rows of K elements."""
        return cls(config, tokens_hint(config, K, is_aligned, target), str(target))

    @property
    def parts(self) -> dict[str, Any]:
        """What decides it beside problem and target, for the cache."""
        return {"operation": TOKENS_SYMBOL, "hint": None if self.hint is None else self.hint.to_dict()}


#: Kernels of this process, which stay: there are few, and they are small.
_archives: dict[_Key, Archive] = {}


def _archive(key: _Key) -> Archive:
    """Return a kernel, compiled where neither this process nor the disk has it."""
    if key not in _archives:
        target = resolve_target(Target(key.target))
        schedule = functools.partial(schedule_tokens, key.config, key.hint, target)
        _archives[key] = find_archive(key.parts, schedule, key.config, target)
    return _archives[key]


def _is_present(key: _Key) -> bool:
    """Return whether this process or the disk has a kernel; keep it then."""
    if key not in _archives:
        archive = present_archive(key.parts, key.config, resolve_target(Target(key.target)))
        if archive is not None:
            _archives[key] = archive
    return key in _archives


@functools.cache
def _target_of(device: torch.device) -> Target:
    if device.type == "cpu":
        return cpu_target()
    arch = detected_cuda_arch(device.index) if device.type == "cuda" else None
    if arch is None:
        raise UnsupportedError(f"'x' must be on a CPU or a GPU from sm_75 on (got one on {device})")
    return cuda_target(arch)


@functools.cache
def _function(
    device: torch.device, x_dtype: torch.dtype, dtype: torch.dtype, K: int, is_aligned: bool, with_weight_scale: bool
) -> Any:
    """Return the function that serves rows of a kind. The module that it belongs to lives as long as this process."""
    config = TokenConfig(_X_NAMES[x_dtype], _FORMATS[dtype].name, with_weight_scale)
    return _archive(_Key.of(config, K, is_aligned, _target_of(device))).runtime_module()[TOKENS_SYMBOL]


def check_tokens(x: Any, weight_scale: Any, dtype: Any, least: Any, inverse: Any) -> None:
    """Check what tokens are made of.

    Raises
    ------
    CallError
        If x is no tensor of floats with K columns, the last dimension; if x' cannot have the type, `least` is too
        small, or `weight_scale` is not one float32 on the device of x, or not asked for.
    """
    if isinstance(x, torch.Tensor) and (x.is_nested or x.layout is not torch.strided):
        kind = "a nested tensor" if x.is_nested else f"layout {x.layout}"
        raise CallError(f"'x' must be a dense tensor (got {kind}); use .to_dense(), or .to_padded_tensor(0.0)")
    if not isinstance(x, torch.Tensor) or not x.is_floating_point() or not x.ndim or x.shape[-1] == 0:
        got = f"{x.dtype}, shape {tuple(x.shape)}" if isinstance(x, torch.Tensor) else type(x).__name__
        raise CallError(f"'x' must be a tensor of floats of shape (..., K), K at least 1 (got {got})")
    fmt = token_format(dtype)
    limit = TokenConfig("float32", fmt.name).limit
    if not isinstance(least, (int, float)) or not limit / _FLOAT32_MAX <= least <= _FLOAT32_MAX:
        raise CallError(
            f"'least' must be a number from {limit / _FLOAT32_MAX:.1e}, for which {limit:g} / least is a float32, to "
            f"{_FLOAT32_MAX:.1e} (got {least!r:.80})"
        )
    if weight_scale is None:
        return
    if not inverse:
        raise CallError("'weight_scale' must be None without inverse=True: it is part of 1 / (s * weight_scale)")
    if (
        not isinstance(weight_scale, torch.Tensor)
        or weight_scale.shape != (1,)
        or weight_scale.dtype is not torch.float32
        or weight_scale.device != x.device
    ):
        is_tensor = isinstance(weight_scale, torch.Tensor)
        got = (
            f"{weight_scale.dtype}, shape {tuple(weight_scale.shape)}, on {weight_scale.device}"
            if is_tensor
            else type(weight_scale).__name__
        )
        raise CallError(f"'weight_scale' must be a float32 tensor of shape (1,) on {x.device} (got {got})")


def empty_tokens(x: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x' and its factor without values, (..., K) of `dtype` and (..., 1) float32, contiguous."""
    return x.new_empty(x.shape, dtype=dtype), x.new_empty((*x.shape[:-1], 1), dtype=torch.float32)


def compute_tokens(
    x: torch.Tensor, weight_scale: torch.Tensor | None, dtype: torch.dtype, least: float, inverse: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return x' and its factor for tensors that hold memory; no gradient, and nothing that torch could trace.

    Parameters
    ----------
    x, weight_scale, dtype, least, inverse
        As `bitquant.nn.activations.quantize_tokens` takes them, with the type of x' as `dtype`.

    Raises
    ------
    CallError
        As `check_tokens`.
    """
    check_tokens(x, weight_scale, dtype, least, inverse)
    rows = _plain(x)
    K = x.shape[-1]
    m = x.numel() // K
    if x.ndim != 2:
        rows = rows.view(m, K)
    values = torch.empty((m, K), dtype=dtype, device=x.device)
    factor = torch.empty((m, 1), dtype=torch.float32, device=x.device)
    if m:
        is_aligned = rows.data_ptr() % _ALIGNMENT == 0
        function = _function(x.device, rows.dtype, dtype, K, is_aligned, weight_scale is not None)
        scales = () if weight_scale is None else (_plain(weight_scale),)
        if x.is_cuda and x.device.index != torch.cuda.current_device():
            with torch.cuda.device(x.device):  # TVM's launcher leaves the device of its operands current.
                _launch(function, rows, scales, values, factor, least, inverse)
        else:
            if not x.is_cuda:
                follow_torch_threads()
            _launch(function, rows, scales, values, factor, least, inverse)
    if x.ndim == 2:
        return values, factor
    return values.view(x.shape), factor.view(*x.shape[:-1], 1)


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    """Return numbers of a type that kernels read, one after the other in memory."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.dtype not in _X_NAMES:
        tensor = tensor.to(torch.float32)
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _launch(
    function: Any,
    rows: torch.Tensor,
    scales: tuple[torch.Tensor, ...],
    values: torch.Tensor,
    factor: torch.Tensor,
    least: float,
    inverse: bool,
) -> None:
    m, K = rows.shape
    step = MAX_ELEMENTS // K  # A call with more elements is made in slices of rows.
    if m <= step:
        function(rows, *scales, values, factor, least, int(inverse))
        return
    for first in range(0, m, step):
        part = slice(first, first + step)
        function(rows[part], *scales, values[part], factor[part], least, int(inverse))
