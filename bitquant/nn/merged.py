# SPDX-License-Identifier: Apache-2.0
"""Layers that share an input, merged: one operator computes what all of them return.

The weight of the merged operator is those of the parts, one below the other, and so are its other operands. The parts
stay what they are, layers with names, formats and state dicts of their own; their buffers are the rows of the merged
operands that are theirs, in the same memory.

The first part that is called with an input computes for all of them, and opens a *round*; the others, called with the
same tensor, return their columns of that product. What allows that is read from the source of the module that calls
them (`bitquant.nn.siblings`). A round keeps its input alive no longer than it would live without, and the product no
longer than the input, or until every part has been asked.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.dlpack import from_dlpack

from bitquant.layouts import TILE_N
from bitquant.nn.device import check_module
from bitquant.nn.linear import Linear
from bitquant.nn.module import KernelModule
from bitquant.nn.siblings import children_of_one_input
from bitquant.operator.dispatch import is_exporting

__all__ = ["merge_layers", "unmerge_layers"]

#: Rounds in a row that may end before every part was asked for its product, by an exception for one, until the parts
#: compute alone.
_PATIENCE = 3


def merge_layers(model: torch.nn.Module) -> list[tuple[str, ...]]:
    """Merge `Linear` layers that share an input (q, k and v; gate and up), and return the names of what was merged.

    Where autograd does not record (``torch.no_grad``, ``torch.inference_mode``), one operator then computes what the
    layers of a set return: one kernel instead of two or three. A layer's result is a view, its columns of the common
    one. With gradients, and in exported programs, each layer computes alone.

    Layers are merged where all of this holds:

    - one module calls them with one variable, once each, and nothing can have changed it in between
      (`bitquant.nn.siblings.children_of_one_input`);
    - they are `Linear`, equal but for N, each with a bias or none, with equal `permutation`; N of all but the last is a
      multiple of 16;
    - none has forward hooks or adapters, or takes activation scales from its caller.

    Layers keep their names, formats and state dicts. Memory is not used twice. Moving a model, loading a state dict
    into it, copying and pickling it keep layers merged. A layer that gets a forward hook or an adapter takes its set
    apart; where the layers of a set turn out not to be called with one tensor, they compute alone from then on.

    Parameters
    ----------
    model
        Any module. What is merged already stays as it is.

    Raises
    ------
    ConfigError
        If `model` is none.

    See Also
    --------
    unmerge_layers
    """
    check_module(model)
    names = {id(module): name for name, module in model.named_modules()}
    merged = []
    for parent in list(model.modules()):
        for children in children_of_one_input(parent):
            for parts in _sets(parent, children):
                _Merged(parts).join()
                merged.append(tuple(names[id(part)] for part in parts))
    return merged


def unmerge_layers(model: torch.nn.Module) -> None:
    """Undo `merge_layers`: each layer of a model, or one layer and its set, has memory of its own again."""
    for module in list(model.modules()):
        if isinstance(module, Linear) and module._merged is not None:
            module._merged.whole.take_apart()


def _sets(parent: torch.nn.Module, children: tuple[str, ...]) -> Iterator[list[Linear]]:
    """Yield those of some children that can be merged."""
    modules = [getattr(parent, name, None) for name in children]
    present = [module for module in modules if module is not None]
    # What others do with their input is not known.
    if not all(isinstance(module, (KernelModule, torch.nn.Linear)) for module in present):
        return
    sets: dict[Any, list[Linear]] = {}
    for module in dict.fromkeys(present):
        if type(module) is Linear and (key := _key(module)) is not None:
            sets.setdefault(key, []).append(module)
    for members in sets.values():
        # A stored weight is made of tiles, and rows may share scales; none of either may belong to two layers.
        whole = math.lcm(TILE_N, members[0].config.rows_per_scale)
        ragged = [layer for layer in members if layer.out_features % whole]
        parts = [layer for layer in members if layer not in ragged] + ragged[:1]
        if len(parts) > 1:
            yield parts


def _key(layer: Linear) -> Any:
    """Return what is equal for layers that can be merged; None for one that cannot be."""
    takes_scale = layer.config.with_activation_scale and not layer.quantize_activations
    has_hooks = hasattr(layer, "_hf_hook") or layer._forward_hooks or layer._forward_pre_hooks
    if layer._merged is not None or takes_scale or has_hooks:
        return None
    fields = sorted(layer.constructor_fields().items())
    permutation = layer.permutation
    order = None if permutation is None or permutation.is_meta else permutation.cpu().numpy().tobytes()
    return (
        layer.in_features,
        repr(fields),
        layer.bias is None,
        str(layer._kernels.target),
        layer._kernels.enable_tuning,
        order,
    )


class Part:
    """What a layer knows of the merged operator that it is part of.

    Attributes
    ----------
    whole
        The merged operator.
    index, start, length
        Which part it is, and its columns of the product.
    rows
        The buffers of the layer where they are rows of the merged operands. A layer with others computes alone.
    """

    start = length = 0

    def __init__(self, whole: _Merged, index: int) -> None:
        self.whole, self.index = whole, index
        self.rows: _Rows | None = None

    def product(self, A: torch.Tensor, buffers: dict[str, torch.Tensor | None]) -> torch.Tensor | None:
        """Return what the layer with these buffers returns for A; None: it is to compute alone."""
        whole = self.whole
        if not whole.is_on or torch.is_grad_enabled() or is_exporting():
            return None
        # In a program it would be a guard for each layer, and only copies that share `_merged` have other dicts.
        if not torch.compiler.is_dynamo_compiling() and buffers is not self.rows:
            return None
        D = whole.product(A, self.index)
        return None if D is None else D.narrow(-1, self.start, self.length)

    def __getstate__(self) -> dict[str, Any]:
        return {"whole": self.whole, "index": self.index}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["whole"], state["index"])  # type: ignore[misc]  # no subclass changes its parameters


class _Rows(dict[str, "torch.Tensor | None"]):
    """The buffers of a layer that is part of a merged operator: rows of its operands, until one is replaced.

    Whoever replaces one (an attribute that is set, ``.to``, ``torch.func.functional_call``) writes to this; that layers
    look at each buffer at each call would double the guards of a compiled program.
    """

    def __init__(self, buffers: dict[str, torch.Tensor | None], whole: _Merged) -> None:
        super().__init__(buffers)
        self.whole = whole
        self.rows = [(name, tensor, tensor.data_ptr()) for name, tensor in buffers.items() if tensor is not None]

    def __setitem__(self, name: str, tensor: torch.Tensor | None) -> None:
        self.whole.is_on = False
        super().__setitem__(name, tensor)

    def __delitem__(self, name: str) -> None:
        self.whole.is_on = False
        super().__delitem__(name)

    def are_rows(self) -> bool:
        """Return whether all are the tensors that they were, in the same memory."""
        present = sum(tensor is not None for tensor in self.values())
        return present == len(self.rows) and all(
            self.get(name) is tensor and tensor.data_ptr() == address for name, tensor, address in self.rows
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class _Round(weakref.ref[torch.Tensor]):
    """The product of an input, for the parts that have not asked for it yet; empty once the input is gone."""

    __slots__ = ("D", "key", "left", "version", "whole")

    whole: _Merged
    D: torch.Tensor | None
    left: int
    key: int
    version: int | None

    @classmethod
    def opened(cls, A: torch.Tensor, whole: _Merged, D: torch.Tensor, left: int) -> _Round:
        """Return a round; the bits of `left` are the parts that have not asked."""
        round_ = cls(A, _forget)
        round_.whole, round_.D, round_.left = whole, D, left
        round_.key, round_.version = id(A), _version(A)
        return round_

    def serves(self, A: torch.Tensor, whole: _Merged, part: int) -> bool:
        """Return whether this is the round of an input that a part has not asked for."""
        # While the round is not empty, nothing else has the address of its input.
        return (
            self.whole is whole
            and self.key == id(A)
            and bool(self.left & part)
            and self.D is not None
            and self.version == _version(A)
        )


def _forget(round_: weakref.ref[torch.Tensor]) -> None:
    round_.D = None  # type: ignore[attr-defined]  # a subclass of weakref.ref has it


def _version(A: torch.Tensor) -> int | None:
    return None if A.is_inference() else A._version


class _Rounds(threading.local):
    """The open round of each thread."""

    current: _Round | None = None


class _Trace:
    """The open round of what torch.compile traces: (whole, A, D, parts that have not asked for it)."""

    def __init__(self) -> None:
        self.current: tuple[Any, ...] | None = None


_rounds, _trace = _Rounds(), _Trace()


class _Merged:
    """The operator of several layers that share an input.

    Attributes
    ----------
    layer
        A layer with the rows of all parts; on the meta device where they are not joined.
    is_wanted
        Whether the parts are to be joined.
    is_on
        Whether they are, and calls compute with `layer`.
    """

    layer: Linear

    def __init__(self, parts: list[Linear]) -> None:
        self._begin(len(parts))
        for index, part in enumerate(parts):
            part._merged = Part(self, index)
            self._parts[index] = weakref.ref(part)
        self._make_layer(parts)

    def _begin(self, count: int) -> None:
        self._parts: list[weakref.ref[Linear] | None] = [None] * count
        self.is_wanted, self.is_on, self._misses = True, False, 0

    def _make_layer(self, parts: list[Linear]) -> None:
        first = parts[0]
        N = sum(part.out_features for part in parts)
        with torch.device("meta"):
            self.layer = Linear(
                first.in_features,
                N,
                first.bias is not None,
                target=first._kernels.target,
                enable_tuning=first._kernels.enable_tuning,
                **first.constructor_fields(),
            )

    # Calls.

    def product(self, A: torch.Tensor, index: int) -> torch.Tensor | None:
        """Return the product of all parts, computed now or in the open round; None: the part is to compute alone."""
        if torch.compiler.is_dynamo_compiling():
            return self._traced_product(A, index)
        round_, part = _rounds.current, 1 << index
        if round_ is not None and round_.serves(A, self, part):
            D = round_.D
            round_.left &= ~part
            if not round_.left:
                _rounds.current, self._misses = None, 0
            return D
        if round_ is not None:
            round_.whole.miss()
            _rounds.current = None
            if not self.is_on:
                return None
        D = self.layer.forward(A)
        _rounds.current = _Round.opened(A, self, D, (1 << len(self._parts)) - 1 & ~part)
        return D

    def _traced_product(self, A: torch.Tensor, index: int) -> torch.Tensor | None:
        current = _trace.current
        if current is not None and current[0] is self and current[1] is A and index in current[3]:
            left = tuple(i for i in current[3] if i != index)
            _trace.current = (self, A, current[2], left) if left else None
            return current[2]
        if current is not None:  # What a program does once, it always does.
            _trace.current = None
            current[0].is_on = current[0].is_wanted = False
            if not self.is_on:
                return None
        D = self.layer.forward(A)
        _trace.current = (self, A, D, tuple(i for i in range(len(self._parts)) if i != index))
        return D

    def miss(self) -> None:
        """Count a round that ended before every part was asked."""
        self._misses += 1
        if self._misses >= _PATIENCE:
            self.is_on = self.is_wanted = False

    # Memory.

    def join(self) -> None:
        """Make one operand of each operand of the parts, and their buffers rows of it; where they are, do nothing.

        Where they cannot be joined (now), nothing holds on to operands that were joined before.
        """
        parts = self._alive() if self.is_wanted else None
        if parts is None or not all(map(_is_row, parts)):
            self.is_on = False
            self.layer.to("meta")
            if parts is None or not self._can_join(parts):
                return
            with torch.inference_mode(False), torch.no_grad():
                self._join(parts)
        # It may have been loaded into memory that was there.
        orders: list[Any] = [part.permutation for part in parts]
        self.is_on = orders[0] is None or all(torch.equal(orders[0], order) for order in orders[1:])
        self._misses = 0

    def _alive(self) -> list[Linear] | None:
        parts = [None if part is None else part() for part in self._parts]
        alive = [part for part in parts if part is not None]
        return alive if len(alive) == len(parts) else None

    def _can_join(self, parts: list[Linear]) -> bool:
        tensors = [tensor for part in parts for _, tensor in _operands(part)]
        devices = {tensor.device for tensor in tensors}
        if len(devices) > 1 or any(t.is_meta or (t.device.type == "cpu" and t.is_shared()) for t in tensors):
            return False
        layout = self.layer._kernels.layout(next(iter(devices)).type)
        return all(part.weight_layout == layout for part in parts)

    def _join(self, parts: list[Linear]) -> None:
        config, start = self.layer.config, 0
        rows: list[dict[str, torch.Tensor]] = [{} for _ in parts]
        for name, buffer in _operands(parts[0]):
            tensors: list[torch.Tensor] = [part.get_buffer(name) for part in parts]
            if name == "permutation":
                setattr(self.layer, name, buffer)
            else:
                dim = 1 if name == "zeros" and config.has_packed_zeros else 0
                whole = torch.cat(tensors, dim)
                setattr(self.layer, name, whole)
                views = whole.split([tensor.shape[dim] for tensor in tensors], dim)
                # By way of DLPack they have storages of their own: what saves, copies or compares tensors by storage
                # does not take them for one. As bytes, because it has not always known float8.
                tensors = [from_dlpack(view.view(torch.uint8)).view(view.dtype) for view in views]
            for row, tensor in zip(rows, tensors, strict=True):
                row[name] = tensor
        for part, row in zip(parts, rows, strict=True):
            part._buffers = part._merged.rows = _Rows({**part._buffers, **row}, self)
            part._merged.start, part._merged.length = start, part.out_features
            start += part.out_features
        if self.layer.qweight.is_cuda:
            # As where a weight is converted (`bitquant.relayout`): kernels may read it before the kernel ahead of them
            # has ended.
            torch.zeros(1, device=self.layer.qweight.device)

    def take_apart(self) -> None:
        """Give each part memory of its own; there is no merged operator any more."""
        self.is_on = self.is_wanted = False
        for part in (p for ref in self._parts if ref is not None and (p := ref()) is not None):
            if _is_row(part):
                with torch.inference_mode(False):
                    own = {
                        name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in _operands(part)
                    }
                part._buffers.update(own)
            part._buffers = dict(part._buffers)
            part._merged = None
        self.layer.to("meta")

    # Copies.

    def adopt(self, index: int, part: Linear) -> bool:
        """Take a copy of a layer for that part of this, a copy as well; return whether it had none yet."""
        if (ref := self._parts[index]) is not None and ref() is not None:
            return False
        self._parts[index] = weakref.ref(part)
        if (parts := self._alive()) is not None and self.is_wanted:
            self._make_layer(parts)
            self.join()
        return True

    def __getstate__(self) -> dict[str, Any]:
        return {"count": len(self._parts), "is_wanted": self.is_wanted}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._begin(state["count"])
        self.is_wanted = state["is_wanted"]


def _operands(part: Linear) -> list[tuple[str, torch.Tensor]]:
    """Return the buffers that a layer has, with their names."""
    return [(name, tensor) for name, tensor in part._buffers.items() if tensor is not None]


def _is_row(part: Linear) -> bool:
    """Whether the buffers of a part are still rows of merged operands."""
    return isinstance(part._buffers, _Rows) and part._buffers.are_rows()
