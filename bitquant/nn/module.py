# SPDX-License-Identifier: Apache-2.0
"""What layers have in common: operators made at first use, and a weight in the layout for its device."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
import weakref
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import torch
from tvm.target import Target

from bitquant import layouts, relayout
from bitquant.arch import resolve_target
from bitquant.checks import check_bool
from bitquant.config import MatmulConfig
from bitquant.errors import CallError, ConfigError, UnsupportedError
from bitquant.grouped_config import GroupedMatmulConfig
from bitquant.grouped_matmul import GroupedMatmul
from bitquant.layouts import WeightLayout
from bitquant.matmul import Matmul
from bitquant.nn.activations import token_kernels
from bitquant.nn.format import describe_format, format_difference, pack_format, unpack_format
from bitquant.nn.pickled import plain_state, whole_state
from bitquant.operands import operands_of
from bitquant.operator.tokens import TokenKernel
from bitquant.schedule import preferred_layout

__all__ = ["AnyConfig", "KernelModule", "Kernels", "check_device", "fence", "shared_kernels"]

#: Where a state dict has the format, behind the prefix of the layer; the name is torch's.
_FORMAT_KEY = "_extra_state"


_Function = TypeVar("_Function", bound=Callable[..., Any])
AnyConfig = MatmulConfig | GroupedMatmulConfig


def _marked(**marks: Any) -> Callable[[_Function], _Function]:
    """Return a decorator that sets attributes of a function."""

    def mark(function: _Function) -> _Function:
        for name, value in marks.items():
            setattr(function, name, value)
        return function

    return mark


class Kernels:
    """The operators of one problem by type of device, made when they are first needed.

    Equal layers share one of these: torch.compile's guards on one layer then hold for the next, so that a block that
    was compiled once serves every block of its kind.
    """

    def __init__(self, config: AnyConfig, target: str | Target | None, enable_tuning: bool) -> None:
        self.config, self._target, self.enable_tuning = config, target, enable_tuning
        self._operator_type: Any = GroupedMatmul if isinstance(config, GroupedMatmulConfig) else Matmul
        self.operators: dict[str, Any] = {}
        #: Shapes of the weights that they read.
        self.weight_shapes: dict[str, tuple[int, ...]] = {}
        self._gpu_layout: WeightLayout | None = None

    # What torch.compiler.assume_constant_result sets, which imports torch._dynamo: 1.4 s for those who never compile.
    @_marked(_dynamo_marked_constant=True)
    def prepare(self, device_type: str) -> None:
        """Make the operator for a type of device. torch.compile runs this where it stands, and does not trace it."""
        if device_type not in self.operators:
            target = self.target_on(device_type)
            self._keep(device_type, self._operator_type(self.config, target=target, enable_tuning=self.enable_tuning))

    def build(self, device_type: str) -> Any:
        """Return an operator for a type of device, without tuning, and keep none: it leaves kernels in the cache."""
        return self._operator_type(self.config, target=self.target_on(device_type))

    #: Whether it takes long enough to build for a worker process.
    is_heavy = True

    @property
    def rungs(self) -> int:
        """How many functions are built for it."""
        return len(self.config.ladder)

    def find(self, device_type: str) -> bool:
        """Return whether the operator for a type of device is there now, made without compiling or tuning anything."""
        if device_type not in self.operators and not self.enable_tuning:
            operator = self._operator_type.find(self.config, self.target_on(device_type))
            if operator is not None:
                self._keep(device_type, operator)
        return device_type in self.operators

    def _keep(self, device_type: str, operator: Any) -> None:
        self.weight_shapes[device_type] = _weight_shape(self.config, operator.weight_layout)
        self.operators[device_type] = operator

    def layout(self, device_type: str) -> WeightLayout:
        """Return the layout in which a layer keeps its weight on a type of device; no operator is made for that."""
        if device_type != "cuda":
            return "plain"
        if device_type in self.operators:
            layout: WeightLayout = self.operators[device_type].weight_layout
            return layout
        if self._gpu_layout is None:
            try:
                target = resolve_target(self.target_on(device_type))
            except UnsupportedError:  # No kernels run on this GPU, which is for the first call to say.
                return "plain"
            self._gpu_layout = preferred_layout(self.config, target)
        return self._gpu_layout

    @property
    def target(self) -> str | Target | None:
        """The one target, or None where it follows from the device."""
        return self._target

    def target_on(self, device_type: str) -> str | Target:
        """Return what kernels for a type of device are made for."""
        return device_type if self._target is None else self._target

    def with_output(self, out_dtype: str) -> Kernels:
        """Return those of the same problem with another type of D; they read the weight in the same layout."""
        config = dataclasses.replace(self.config, out_dtype=out_dtype)
        return shared_kernels(config, self._target, self.enable_tuning)

    def __reduce__(self) -> tuple[Any, ...]:
        return shared_kernels, (self.config, self._target, self.enable_tuning)


#: It keeps nothing alive.
_in_use: weakref.WeakValueDictionary[tuple[str, str, bool], Kernels] = weakref.WeakValueDictionary()


def shared_kernels(config: AnyConfig, target: str | Target | None, enable_tuning: bool = False) -> Kernels:
    """Return the operators of a problem, the same ones for equal arguments while they are in use."""
    fields = [config.operation, *(getattr(config, field.name) for field in dataclasses.fields(config))]
    key = (repr(fields), str(target), enable_tuning)  # Of texts: it is hashed when a process ends.
    if (kernels := _in_use.get(key)) is None:
        kernels = _in_use[key] = Kernels(config, target, enable_tuning)
    return kernels


def _product(config: AnyConfig) -> MatmulConfig:
    """Return the problem of one matrix: an expert's where there are several."""
    return config.matmul if isinstance(config, GroupedMatmulConfig) else config


def _weight_shape(config: AnyConfig, layout: WeightLayout) -> tuple[int, ...]:
    """Return the shape of a stored weight, with E in front where there are experts."""
    _, weight, *_ = operands_of(config)
    return tuple(weight.shape(config, 0, layout))


def _converted(weight: torch.Tensor, config: AnyConfig, layout: WeightLayout, wanted: WeightLayout) -> torch.Tensor:
    """Return a weight that is in one layout in another.

    Raises
    ------
    CallError
        If a CUDA graph is being captured: a replay would convert again.
    """
    if torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing():
        raise CallError(
            f"the weight cannot be converted from the layout {layout!r} to {wanted!r} while a CUDA graph is captured; "
            "call the layer once, or move it with .to(device), before that"
        )
    one = _product(config)
    shape, dtype = _weight_shape(config, wanted), layouts.weight_dtype(one, wanted)
    if weight.is_meta:
        return torch.empty(shape, dtype=dtype, device="meta")

    def convert(part: torch.Tensor) -> torch.Tensor:
        return relayout.to_layout(relayout.from_layout(part, one, layout), one, wanted)

    with torch.inference_mode(False):  # What is made in inference mode, load_state_dict could not write to later.
        if not isinstance(config, GroupedMatmulConfig):
            return convert(weight)
        result = torch.empty(shape, dtype=dtype, device=weight.device)
        for e, part in enumerate(weight):
            result[e] = convert(part)
        fence(result)
        return result


def fence(weight: torch.Tensor) -> None:
    """Let the kernel before a product be another than the one that wrote its weight (`bitquant.relayout`)."""
    if weight.is_cuda:
        torch.zeros(1, device=weight.device)


def check_device(A: torch.Tensor, device: torch.device) -> None:
    """Check that an input is on the device of a layer.

    Raises
    ------
    CallError
        If it is not.
    """
    if A.device != device:
        raise CallError(
            f"the input must be on {device}, where the layer is (got {A.device}); use .to('{device}'), or move "
            "the layer"
        )


class KernelModule(torch.nn.Module):
    """A layer that calls the operators of one config, one for each type of device, made at first use.

    Its buffer `qweight` is a weight in the layout that the operator for its device reads, `weight_layout`: on the CPU
    plain, on a GPU mostly fragment (`bitquant.layouts`). It is converted when the layer arrives on a device (by ``.to``
    and the like, ``load_state_dict``, or where a weight is packed there) in place of the tensor before; where a plain
    one came some other way, the first call converts it. A state dict always holds the plain weight, so that it loads
    on any device; of a fragment one it is a copy, on the same device.

    Beside the weight a state dict has its format (`bitquant.nn.format`), under the name that torch has for what is no
    parameter, ``_extra_state``. Of a state dict with another format than its own a layer loads nothing, whatever
    `strict` and `assign` say, and ``load_state_dict`` raises. A weight without format, as they were written before
    there was any, is loaded with a warning; ``strict=True`` then raises for the missing key.

    Buffers keep their types: ``.half()``, ``.to(torch.bfloat16)`` and the like move them and cast parameters only, for
    kernels are made for fixed types.

    Parameters
    ----------
    config
        The problem.
    target
        None: kernels for the GPU where tensors are on one, else for the CPU. Otherwise the one target, as in `Matmul`.
    enable_tuning
        Passed to the operator when a call first needs it.

    Attributes
    ----------
    config : MatmulConfig or GroupedMatmulConfig
    qweight : torch.Tensor or None
        The weight; None until there is one. Subclasses register the buffer.
    """

    config: Any
    qweight: torch.Tensor | None
    #: Whether a call rounds its input, of any floating-point type, to the type of A.
    quantize_activations: bool = False

    def __init__(self, config: AnyConfig, target: str | Target | None = None, enable_tuning: bool = False) -> None:
        super().__init__()
        check_bool(enable_tuning, "enable_tuning")
        if target is not None:
            with contextlib.suppress(UnsupportedError):  # The first call says that there is no GPU.
                resolve_target(target)
        self.config = config
        self._kernels = shared_kernels(config, target, enable_tuning)

    def _format(self) -> dict[str, Any]:
        """Return `format_fields` of the stored weight."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        return plain_state(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(whole_state(state))

    def get_extra_state(self) -> torch.Tensor:
        """Return the format of the stored weight as a uint8 tensor, for state dicts."""
        return pack_format(self._format())

    def set_extra_state(self, state: Any) -> None:
        """Check that the format in a state dict is that of this layer.

        Raises
        ------
        ConfigError
            If it is another one. The message says in what.
        """
        if (problem := self._format_problem(state)) is not None:
            raise ConfigError(problem, format=state)

    def _format_problem(self, state: Any) -> str | None:
        """Return why tensors of a format do not fit this layer, or None."""
        own = self._format()
        try:
            stored = unpack_format(state)
        except ConfigError as error:
            return str(error)
        if (difference := format_difference(stored, own)) is None:
            return None
        return (
            f"the stored weight is another one than the layer's: {difference} (got {describe_format(stored)}; "
            f"the layer is {describe_format(own)}); construct the layer as the one that was saved"
        )

    def operator(self, device_type: str) -> Any:
        """Return the operator that serves tensors on a device of that type, "cuda" or "cpu"; else that for a CPU.

        Raises
        ------
        UnsupportedError
            If it is for a GPU and there is none.
        """
        device_type = "cuda" if device_type == "cuda" else "cpu"
        self._kernels.prepare(device_type)
        return self._kernels.operators[device_type]

    def needed_kernels(self, dtypes: Collection[torch.dtype]) -> list[Kernels | TokenKernel]:
        """Return the kernels that calls run, with inputs of these types where the layer takes any."""
        return [self._kernels, *(self._rounding_kernels(dtypes) if self.quantize_activations else ())]

    def _rounding_kernels(
        self, dtypes: Collection[torch.dtype], *, with_weight_scale: bool = False
    ) -> list[TokenKernel]:
        """Return the kernels that round inputs of these types."""
        c = self.config
        return token_kernels(dtypes, c.A_format.name, c.K, self._kernels.target, with_weight_scale)

    @property
    def weight_layout(self) -> WeightLayout | None:
        """Layout of `qweight`, "plain" or "fragment"; None where there is no weight, or it is none of this problem.

        Shape and type tell: a weight has other ones in each layout. So no record can disagree with what is in memory.
        """
        weight, c = self.qweight, self.config
        if weight is None:
            return None
        for layout in layouts.WEIGHT_LAYOUTS:
            if layout == "fragment" and layouts.fragment_refusal(_product(c)) is not None:
                continue
            dtype = layouts.weight_dtype(_product(c), layout)
            if weight.shape == _weight_shape(c, layout) and weight.dtype is dtype:
                return layout
        return None

    def _multiply(
        self,
        A: torch.Tensor,
        *others: torch.Tensor | None,
        kernels: Kernels | None = None,
        **by_name: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return what the operator for the device of `A` makes of it, the weight and its other operands.

        `kernels` are those of a problem that reads the same weight, where they are not the layer's own.
        """
        device_type = "cuda" if isinstance(A, torch.Tensor) and A.is_cuda else "cpu"
        kernels = kernels or self._kernels
        kernels.prepare(device_type)
        if isinstance(A, torch.Tensor) and A.layout is torch.strided and not A.is_contiguous():
            A = A.contiguous()  # As torch's layers do, for models pass slices. Operators refuse them.
        weight = self.qweight
        if weight is None or weight.shape != kernels.weight_shapes[device_type]:
            weight = self._mended_weight(A)
        result: torch.Tensor = kernels.operators[device_type](A, weight, *others, **by_name)
        return result

    # What torch.compiler.disable sets, which imports torch._dynamo. A graph breaks here; with fullgraph it is an error.
    @_marked(
        _torchdynamo_disable=True,
        _torchdynamo_disable_msg=(
            "its weight must be converted; call the layer once, or move it with .to(device), before it is compiled"
        ),
    )
    def _mended_weight(self, A: Any) -> torch.Tensor:
        """Convert a weight that the operator for `A` does not read, and return it; or as it is, for that to say more.

        Raises
        ------
        CallError
            If there is no weight, `A` is on another device, or a CUDA graph is being captured.
        """
        weight = self.qweight
        if weight is None:
            raise CallError("the layer has no weight yet; pack one, or load a state dict")
        if isinstance(A, torch.Tensor):
            check_device(A, weight.device)
        self.qweight = weight = self._arranged(weight)
        return weight

    def _arrange_weight(self, wanted: WeightLayout | None = None) -> None:
        """Convert `qweight` where it is to a layout, by default the one for its device."""
        if self.qweight is not None:
            self.qweight = self._arranged(self.qweight, wanted)

    def _arranged(self, weight: torch.Tensor, wanted: WeightLayout | None = None) -> torch.Tensor:
        """Return `qweight`, which is `weight`, in a layout; as it is where it is no weight of this problem."""
        layout, wanted = self.weight_layout, wanted or self._kernels.layout(weight.device.type)
        if layout is None or layout == wanted:
            return weight
        return _converted(weight, self.config, layout, wanted)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        def keep_type(tensor: torch.Tensor) -> torch.Tensor:
            result = fn(tensor)
            if isinstance(tensor, torch.nn.Parameter) or result.dtype is tensor.dtype:
                return result
            return tensor.to(result.device)

        if self.qweight is not None and self.weight_layout != "plain":
            # Only GPUs have other layouts, and they convert fast: before the weight leaves, as after it came.
            destination = fn(self.qweight.new_empty(0)).device
            if destination.type == "meta":
                self.qweight = self.qweight.to(destination)
            self._arrange_weight(self._kernels.layout(destination.type))
        super()._apply(keep_type, recurse)
        self._arrange_weight()
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        weight, layout = self.qweight, self.weight_layout
        if weight is None:
            destination.pop(prefix + _FORMAT_KEY, None)
        elif layout not in (None, "plain"):
            destination[f"{prefix}qweight"] = _converted(weight, self.config, layout, "plain")

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        before = self.qweight
        problem = None if before is None else self._state_dict_problem(state_dict, prefix)
        if problem is not None:
            error_msgs.append(problem)
            return
        self._arrange_weight("plain")
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if before is None and prefix + _FORMAT_KEY in missing_keys:
            missing_keys.remove(prefix + _FORMAT_KEY)
        self._arrange_weight()
        after = self.qweight
        if before is None or after is None or local_metadata.get("assign_to_params_buffers", False):
            return
        if after is not before and after.shape == before.shape:
            # Without assign=True memory is kept: captured graphs read it.
            self.qweight = before.copy_(after)

    def _state_dict_problem(self, state_dict: dict[str, Any], prefix: str) -> str | None:
        """Return why nothing of a state dict can be loaded into this layer, or None."""
        name, key = prefix.removesuffix(".") or type(self).__name__, prefix + _FORMAT_KEY
        if key in state_dict:
            problem = self._format_problem(state_dict[key])
            return None if problem is None else f"{name!r}: {problem}"
        if f"{prefix}qweight" not in state_dict:
            return None
        # torch says here that every load is strict. Where it is, the missing key is an error in the end.
        warnings.warn(
            f"{name!r}: the state dict has 'qweight' but no format, {key!r}, as before there were formats: it is taken "
            f"for a {describe_format(self._format())}, which strict=True refuses",
            stacklevel=2,
        )
        return None
