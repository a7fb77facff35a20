# SPDX-License-Identifier: Apache-2.0
"""What a layer does to be part of a merged operator, in which layers that share an input are one product."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch

from bitquant.nn.module import KernelModule

__all__ = ["MergeableModule"]


class MergeableModule(KernelModule):
    """A layer whose buffers may be rows of those of a merged operator (`bitquant.nn.merged`).

    Whatever changes the buffers, or must see each call of the layer, first joins them again or takes the set apart.
    """

    #: Its place in a merged operator (`bitquant.nn.merged`), if it is part of one.
    _merged: Any = None

    def _join(self) -> None:
        """Make the buffers rows of the merged operands again, where they may be others now."""
        if self._merged is not None:
            self._merged.whole.join()

    def _take_apart(self) -> None:
        if self._merged is not None:
            self._merged.whole.take_apart()

    def needed_kernels(self, dtypes: Collection[torch.dtype]) -> list[Any]:
        """Return the kernels that calls run: those of the merged operator for a layer that is part of one."""
        if self._merged is not None and self._merged.whole.is_wanted:
            return self._merged.whole.layer.needed_kernels(dtypes)
        return super().needed_kernels(dtypes)

    def register_forward_hook(self, *arguments: Any, **options: Any) -> Any:
        """Register a hook as torch.nn.Module does. A layer that is merged becomes one of its own before."""
        self._take_apart()
        return super().register_forward_hook(*arguments, **options)

    def register_forward_pre_hook(self, *arguments: Any, **options: Any) -> Any:
        """Register a hook as torch.nn.Module does. A layer that is merged becomes one of its own before."""
        self._take_apart()
        return super().register_forward_pre_hook(*arguments, **options)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_old_forward":  # What accelerate sets first where it adds a hook.
            self._take_apart()
        super().__setattr__(name, value)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self._join()
        return self

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._join()

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._merged is not None and not self._merged.whole.adopt(self._merged.index, self):
            self._merged = None
