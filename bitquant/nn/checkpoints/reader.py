# SPDX-License-Identifier: Apache-2.0
"""The contract of a checkpoint format, and the registry of formats.

A format is one file in `bitquant.nn.checkpoints.readers` with one subclass of `Reader`: which
checkpoints it accepts, which tensors make a layer, and how these become a `QuantizedWeight`.
Defining the class registers it.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from bitquant.errors import CheckpointError
from bitquant.nn.checkpoints.layer import (
    ANOTHER_VARIANT,
    StoredLayer,
    TensorSource,
    checkpoint_error,
)
from bitquant.nn.checkpoints.weight import QuantizedWeight

__all__ = ["Inexpressible", "Reader", "all_readers", "find_reader"]

_registered: list[type[Reader]] = []


@dataclass(frozen=True)
class Inexpressible:
    """A weight that is understood but that no kernel computes exactly.

    Attributes
    ----------
    rule
        Why, in words.
    dequantize
        Makes the weight as float32, (N, K), exactly as the format's own reference does.
    bias
        (N,), where there is one.
    """

    rule: str
    dequantize: Callable[[], torch.Tensor]
    bias: torch.Tensor | None = None


class Reader(ABC):
    """One format: from the stored tensors of a layer to its `QuantizedWeight`.

    Parameters
    ----------
    source
        All tensors of the checkpoint.
    parameters
        The quantization config that the checkpoint carries.
    dtype
        float16, bfloat16 or float32: the type that the checkpoint computes in.
    origin
        The file that `parameters` are from, for errors about them.

    Raises
    ------
    CheckpointError
        If `parameters` ask for a variant that is not read.

    Attributes
    ----------
    name
        Name of the format, as `Checkpoint.format` gives it.
    methods
        Values of ``quant_method`` that stand for it.
    required, optional
        Roles: ends of the names of a layer's tensors, behind its path and `separator`.
    marks
        Roles of which a single one makes a module a layer, so that a layer with a lost tensor is
        not overlooked. Default: `required`.
    """

    name: ClassVar[str]
    methods: ClassVar[tuple[str, ...]] = ()
    required: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    marks: ClassVar[tuple[str, ...]] = ()
    separator: ClassVar[str] = "."

    def __init__(self, source: TensorSource, parameters: Mapping[str, Any], dtype: str, origin: str) -> None:
        self.source, self.parameters, self.dtype, self.origin = (
            source,
            dict(parameters),
            dtype,
            origin,
        )
        self.check_parameters()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            _registered.append(cls)

    @classmethod
    def accepts(cls, parameters: Mapping[str, Any]) -> bool:
        """Whether checkpoints with this quantization config are of this format."""
        return parameters.get("quant_method") in cls.methods

    def check_parameters(self) -> None:  # noqa: B027  most formats have no variants
        """Check that the variant is one that is read, from `parameters` alone."""

    def variant_error(self, rule: str, fix: str | None = None) -> CheckpointError:
        """Return the error for parameters that ask for what is not read."""
        return checkpoint_error(self.origin, f"{self.name}: {rule}", fix=fix or ANOTHER_VARIANT)

    def group_size(self, K: int, *keys: str) -> int:
        """Return the size of groups that `parameters` give under one of `keys`: K for -1, None or nothing.

        Raises
        ------
        CheckpointError
            If it is no positive int.
        """
        found = next((self.parameters[key] for key in keys if self.parameters.get(key) is not None), -1)
        if found == -1:
            return K
        if isinstance(found, bool) or not isinstance(found, int) or found < 1:
            raise self.variant_error(f"{keys[0]!r} must be an int >= 1, or -1 (got {found!r})")
        return found

    def layers(self) -> dict[str, StoredLayer]:
        """Return the layers by path, from the names of tensors alone.

        Raises
        ------
        CheckpointError
            If a layer lacks a required tensor.
        """
        roles = (*self.required, *self.optional)
        found: dict[str, dict[str, str]] = {}
        for name in self.source.names:
            for role in roles:
                if name == role or name.endswith(self.separator + role):
                    path = name[: -len(role)].removesuffix(self.separator)
                    found.setdefault(path, {})[role] = name
        marks = self.marks or self.required
        layers = {
            path: StoredLayer(self.source, path, tensors)
            for path, tensors in found.items()
            if any(mark in tensors for mark in marks)
        }
        for layer in layers.values():
            for role in self.required:
                if role not in layer:
                    raise layer.missing(role)
        return layers

    def variant(self, layer: StoredLayer) -> Hashable:  # noqa: ARG002  most formats have none
        """Return what decides how a layer is read, and shapes and types of its tensors do not tell; of headers' size.

        Layers of equal `variant`, shapes and types differ in their numbers alone.
        """
        return None

    @abstractmethod
    def read(self, layer: StoredLayer) -> QuantizedWeight | Inexpressible:
        """Return the weight of a layer.

        Raises
        ------
        CheckpointError
            If a tensor breaks a rule of the format.
        """

    def experts(self, layer: StoredLayer) -> Iterator[QuantizedWeight]:
        """Yield the weights of the experts of a layer whose weights are stored as one, each unpacked when it is due.

        Raises
        ------
        CheckpointError
            As `read`, or if it is no such layer.
        """
        weight = self.read(layer)
        if isinstance(weight, Inexpressible) or weight.experts is None:
            raise layer.error("must hold the weights of several experts (got one weight)")
        for e in range(weight.experts):
            yield weight.expert(e)


def all_readers() -> tuple[type[Reader], ...]:
    """Return every format that is read, in the order in which they are asked."""
    from bitquant.nn.checkpoints import readers

    for module in pkgutil.iter_modules(readers.__path__, f"{readers.__name__}."):
        importlib.import_module(module.name)
    return tuple(_registered)


def find_reader(parameters: Mapping[str, Any]) -> type[Reader] | None:
    """Return the format of checkpoints with this quantization config, or None."""
    return next((reader for reader in all_readers() if reader.accepts(parameters)), None)
