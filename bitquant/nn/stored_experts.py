# SPDX-License-Identifier: Apache-2.0
"""Experts of checkpoints, stored one by one or as one tensor: packed one by one into the products of `Experts`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from bitquant.errors import CheckpointError, ConfigError
from bitquant.formats import number_format
from bitquant.nn.checkpoints.checkpoint import Checkpoint
from bitquant.nn.checkpoints.weight import QuantizedWeight
from bitquant.nn.experts import Experts, ExpertsLinear
from bitquant.nn.outline import ExpertPlace
from bitquant.nn.stock import StockExperts, alternating

__all__ = ["StoredExperts", "stored_experts"]

#: What makes a product, of what is stored one by one.
_PARTS = {"gate_up": ("gate", "up"), "down": ("down",)}
_ONE_FORM = "quantize it again with one format for all experts of a layer"


@dataclass(frozen=True)
class _Form:
    """What the weights of a product must have in common.

    Attributes
    ----------
    W_dtype, codebook, zeros_mode, group_size, rows_per_scale
        As in `QuantizedWeight`; `zeros_mode` is None where there are no zero points.
    scale
        Type of scales; None where there are none.
    kernel_scale
        Type of scales that the operator takes.
    has_channel_scale, has_permutation
        Whether there are such.
    """

    W_dtype: str
    codebook: tuple[float, ...] | None
    zeros_mode: str | None
    group_size: int
    rows_per_scale: int
    scale: torch.dtype | None
    kernel_scale: str | None
    has_channel_scale: bool
    has_permutation: bool

    @classmethod
    def of(cls, weight: QuantizedWeight, dtype: str, scale_dtype: str | None) -> _Form:
        """Return that of one weight, for A and D of type `dtype`."""
        w = weight
        return cls(
            w.W_dtype, w.codebook, None if w.zeros is None else w.zeros_mode, w.group_size, w.rows_per_scale,
            None if w.scale is None else w.scale.dtype, w.config_fields(dtype, dtype, scale_dtype)["scale_dtype"],
            w.channel_scale is not None, w.permutation is not None,
        )  # fmt: skip

    def join(self, other: _Form) -> _Form | None:
        """Return the form that weights of both can have, None where there is none."""
        if self == other:
            return self
        W_dtype, zeros_mode = self.W_dtype, self.zeros_mode
        if {self.W_dtype, other.W_dtype} == {f"int{(bits := number_format(W_dtype).bits)}", f"uint{bits}"}:
            # Readers give signed weights where zero points are all in the middle.
            W_dtype, zeros_mode = f"uint{bits}", self.zeros_mode or other.zeros_mode
        both = dataclasses.replace(
            self,
            W_dtype=W_dtype,
            zeros_mode=zeros_mode,
            scale=self.scale if self.scale == other.scale else torch.float32,
            kernel_scale=self.kernel_scale if self.kernel_scale == other.kernel_scale else "float32",
            has_channel_scale=self.has_channel_scale or other.has_channel_scale,
            has_permutation=self.has_permutation or other.has_permutation,
        )
        fixed = [(f.codebook, f.group_size, f.rows_per_scale, f.scale is None) for f in (self, other)]
        is_alike = fixed[0] == fixed[1] and (other.W_dtype == W_dtype or other.zeros_mode is None)
        return both if is_alike and (other.zeros_mode in (None, zeros_mode)) else None

    def apply(self, w: QuantizedWeight) -> QuantizedWeight:
        """Return a weight, equal to `w`, in this form."""
        changed: dict[str, Any] = {}
        if w.W_dtype != self.W_dtype:
            bits = w.W_format.bits
            unsigned = w.values.view(torch.uint8) ^ 0x80 if bits == 8 else w.values + (1 << (bits - 1))
            middle = torch.full((w.N, w.K // w.group_size), 1 << (bits - 1), dtype=torch.uint8, device=w.values.device)
            changed = {"values": unsigned, "W_dtype": self.W_dtype, "zeros": middle, "zeros_mode": self.zeros_mode}
        if w.scale is not None and w.scale.dtype != self.scale:
            changed["scale"] = w.scale.to(self.scale)
        if "zeros" in changed and self.zeros_mode != "quantized":
            changed["zeros"] = changed["zeros"].to(self.scale)
        if self.has_channel_scale and w.channel_scale is None:
            changed["channel_scale"] = torch.ones(w.N, dtype=torch.float32, device=w.values.device)
        if self.has_permutation and w.permutation is None:
            changed["permutation"] = torch.arange(w.K, device=w.values.device)
        return dataclasses.replace(w, **changed) if changed else w


def _in_turn(gate: QuantizedWeight, up: QuantizedWeight) -> QuantizedWeight:
    """Return the weight whose rows are those of gate and up in turn.

    Rows that share scales with their neighbours do so no longer: each has its own.
    """
    rows = gate.rows_per_scale

    def each(scale: torch.Tensor | None) -> torch.Tensor | None:
        return scale if scale is None or rows == 1 else scale.repeat_interleave(rows, 0)[: gate.N]

    def both(name: str) -> torch.Tensor | None:
        first, second = getattr(gate, name), getattr(up, name)
        if name == "scale":
            first, second = each(first), each(second)
        return None if first is None else alternating(first, second)

    joined: dict[str, Any] = {name: both(name) for name in ("values", "scale", "zeros", "bias", "channel_scale")}
    return dataclasses.replace(gate, **joined, rows_per_scale=1)


@dataclass
class StoredExperts:
    """The experts module that some weights of a checkpoint make.

    Attributes
    ----------
    stock
        The module of the model.
    name
        Its name.
    checkpoint
        Where its weights are.
    paths
        Paths of the weights by part and expert, None for those of all.
    fitting_bias
        Returns the weight of a path of one expert, with a bias where the module has one.
    """

    stock: StockExperts
    name: str
    checkpoint: Checkpoint
    paths: dict[tuple[str, int | None], str]
    fitting_bias: Callable[[str, bool], QuantizedWeight]

    def check(self) -> None:
        """Check that there is a weight for each product of each expert.

        Raises
        ------
        CheckpointError
            If one is missing, or there are more experts than the model has.
        """
        E = self.stock.num_experts
        for product, parts in _PARTS.items():
            if (product, None) in self.paths:
                continue
            for part in parts:
                lost = next((e for e in range(E) if (part, e) not in self.paths), None)
                if lost is not None:
                    raise self._error(self.name, f"has no quantized weight for {part!r} of expert {lost} of {E}")
        for (part, e), path in self.paths.items():
            if e is not None and e >= E:
                raise self._error(path, f"is {part!r} of expert {e}, and the model has {E} experts")

    def signature(self) -> tuple[Any, ...]:
        """Return what headers say of it: those with equal signatures differ in the numbers of their tensors alone."""
        paths = self._paths("gate_up") + self._paths("down")
        kinds = {self.checkpoint.signature(path): None for path in paths}
        sizes = (self.stock.num_experts, self.stock.top_k, type(self.stock.module))
        return (*sizes, *kinds)

    def empty(self, dtype: str, scale_dtype: str | None, **options: Any) -> Experts:
        """Return empty experts on the meta device, as the first expert has them."""
        made = []
        for product in _PARTS:
            weights = self._weights(product, dtype, scale_dtype)
            path, weight, form = next(iter(weights))
            made.append(self._empty(product, path, weight, form, dtype, **options))
        return self.stock.join(*made)

    def load(self, device: torch.device, dtype: str, scale_dtype: str | None, **options: Any) -> Experts:
        """Return the experts, packed one by one on a device.

        Parameters
        ----------
        device
            Where they go.
        dtype
            Type of A and D.
        scale_dtype
            As in `QuantizedWeight.config_fields`.
        **options
            Further parameters of `ExpertsLinear`.

        Raises
        ------
        CheckpointError
            If a weight breaks a rule of the format, does not fit the model, or has another form than that of the other
            experts; the message names it.
        """
        products = [self._load(product, device, dtype, scale_dtype, **options) for product in _PARTS]
        return self.stock.join(*products)

    def _load(
        self, product: str, device: torch.device, dtype: str, scale_dtype: str | None, **options: Any
    ) -> ExpertsLinear:
        form: _Form | None = None
        while True:  # Once, mostly; again for a form that holds an expert unlike those before.
            layer: ExpertsLinear | None = None
            for e, (path, weight, own) in enumerate(self._weights(product, dtype, scale_dtype)):
                wider = own if form is None else form.join(own)
                if wider is None:
                    raise self._error(path, f"must have the form of the experts before, {form} (got {own})", _ONE_FORM)
                if layer is not None and wider != form:
                    form = wider
                    break
                form = wider
                if layer is None:
                    layer = self._empty(product, path, weight, form, dtype, **options)
                    layer.allocate(device)
                self._load_expert(layer, e, path, form.apply(weight))
            else:
                if layer is None:
                    raise self._error(self.name, f"has no experts for {product!r}")
                return layer

    def _empty(
        self, product: str, path: str, weight: QuantizedWeight, form: _Form, dtype: str, **options: Any
    ) -> ExpertsLinear:
        fields = form.apply(weight).config_fields(dtype, dtype, form.kernel_scale)
        size = {name: fields.pop(name) for name in ("N", "K")}
        for name in ("with_bias", "with_activation_scale"):
            fields.pop(name)
        layer = self.stock.product(product, with_permutation=form.has_permutation, **fields, **options)
        if size != {"N": layer.out_features, "K": layer.in_features}:
            wanted = {"N": layer.out_features, "K": layer.in_features}
            raise self._error(path, f"must be {wanted}, as the module is (got {size})")
        return layer

    def _load_expert(self, layer: ExpertsLinear, e: int, path: str, weight: QuantizedWeight) -> None:
        try:
            operands: dict[str, Any] = dict(weight.operands(layer.config.matmul))
            layer.load_expert(
                e, operands["weight"], operands["scale"], operands["zeros"], operands["bias"],
                operands["channel_scale"], weight.permutation,
            )  # fmt: skip
        except ConfigError as error:
            raise self._error(path, f"does not fit the experts before ({error})") from error

    def _paths(self, product: str) -> list[str]:
        """Return the paths of a product, in the order in which they are read."""
        if (stack := self.paths.get((product, None))) is not None:
            return [stack]
        return [self.paths[part, e] for e in range(self.stock.num_experts) for part in _PARTS[product]]

    def _weights(
        self, product: str, dtype: str, scale_dtype: str | None
    ) -> Iterator[tuple[str, QuantizedWeight, _Form]]:
        """Yield the weight of each expert, (N, K) in the terms of `ExpertsLinear`, with where it is and its form."""
        paths, parts = self._paths(product), _PARTS[product]
        if (product, None) in self.paths:
            for weight in self._stacked(product, paths[0]):
                yield paths[0], weight, _Form.of(weight, dtype, scale_dtype)
            return
        turn = self.checkpoint.in_turn(paths)
        for path in turn:
            weight = self.fitting_bias(path, self.stock.has_bias)
            if len(parts) > 1:
                weight = self._joined(path, weight, next(turn), dtype, scale_dtype)
            yield path, weight, _Form.of(weight, dtype, scale_dtype)

    def _joined(
        self, path: str, gate: QuantizedWeight, path_of_up: str, dtype: str, scale_dtype: str | None
    ) -> QuantizedWeight:
        up = self.fitting_bias(path_of_up, self.stock.has_bias)
        own, other = (_Form.of(weight, dtype, scale_dtype) for weight in (gate, up))
        form = own.join(other)
        if form is None or gate.values.shape != up.values.shape:
            raise self._error(
                path_of_up,
                f"must have the form of {path!r}, {own}, shape {tuple(gate.values.shape)} (got {other}, "
                f"{tuple(up.values.shape)}), to be one weight with it",
                _ONE_FORM,
            )
        gate, up = form.apply(gate), form.apply(up)
        orders = [weight.permutation for weight in (gate, up)]
        if orders[0] is not None and not torch.equal(*orders):  # type: ignore[arg-type]
            raise self._error(
                path_of_up, f"must have its columns in the order of {path!r} to be one weight with it", _ONE_FORM
            )
        return _in_turn(gate, up)

    def _stacked(self, product: str, path: str) -> Iterator[QuantizedWeight]:
        count = 0
        for weight in self.checkpoint.experts(path):
            if self.stock.has_bias != (weight.bias is not None):
                raise self._error(path, "must have a bias exactly where the module has one")
            if product == "gate_up" and not self.stock.is_interleaved:
                half = weight.N // 2
                weight = _in_turn(_rows(weight, slice(half)), _rows(weight, slice(half, None)))  # noqa: PLW2901
            yield weight
            count += 1
            if count > self.stock.num_experts:
                break
        if count != self.stock.num_experts:
            raise self._error(path, f"must hold {self.stock.num_experts} experts, as the model has (got {count})")

    def _error(self, path: str, rule: str, fix: str = "save or fetch the checkpoint again") -> CheckpointError:
        return CheckpointError(
            f"{self.checkpoint.path}, layer {path!r}: {rule}; {fix}",
            file=str(self.checkpoint.path), layer=path,
        )  # fmt: skip


def _rows(w: QuantizedWeight, rows: slice) -> QuantizedWeight:
    """Return some rows of a weight."""
    parts: dict[str, Any] = {n: getattr(w, n) for n in ("values", "scale", "zeros", "bias", "channel_scale")}
    if w.rows_per_scale > 1 and parts["scale"] is not None:
        parts["scale"] = parts["scale"].repeat_interleave(w.rows_per_scale, 0)[: w.N]
    parts = {name: None if t is None else t[rows] for name, t in parts.items()}
    return dataclasses.replace(w, **parts, rows_per_scale=1)


def stored_experts(
    checkpoint: Checkpoint,
    places: dict[str, ExpertPlace],
    modules: dict[str, Any],
    fitting_bias: Callable[[str, bool], QuantizedWeight],
) -> Iterable[StoredExperts]:
    """Return the experts modules of which a checkpoint has quantized weights.

    Parameters
    ----------
    checkpoint
        Where they are.
    places
        The place of each path that belongs to experts.
    modules
        The experts modules of the model by name.
    fitting_bias
        As in `StoredExperts`.

    Raises
    ------
    CheckpointError
        If a weight is missing.
    """
    paths: dict[str, dict[tuple[str, int | None], str]] = {}
    for path, place in places.items():
        paths.setdefault(place.module, {})[place.part, place.e] = path
    found = [
        StoredExperts(StockExperts.of(modules[name]), name, checkpoint, own, fitting_bias)
        for name, own in paths.items()
    ]
    for experts in found:
        experts.check()
    return found
