# SPDX-License-Identifier: Apache-2.0
"""An operator: a built problem, called with torch tensors and open to reading at every stage."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from tvm.ir import IRModule
from tvm.target import Target

from bitquant import profiling
from bitquant.arch import resolve_target
from bitquant.archive import Archive
from bitquant.config import MatmulConfig
from bitquant.errors import BuildError, CallError, ConfigError, UnsupportedError
from bitquant.layouts import WeightLayout
from bitquant.operator.archives import compile_archive, find_archive, present_archive
from bitquant.operator.call import Launcher, mark_written
from bitquant.operator.dispatch import dequantize, dispatch
from bitquant.operator.persistence import (
    Parts,
    export_archive,
    lenient_plan,
    load_archive,
    problem_parts,
    problem_text,
    target_name,
)
from bitquant.operator.reading import Readable, check_rows
from bitquant.operator.registry import register, set_rebuild
from bitquant.operator.signature import DeviceCheck, Operands, Signature
from bitquant.operator.weight import WeightDecoder
from bitquant.schedule import Plan, plan, preferred_layout
from bitquant.schedule.planned import check_declarations
from bitquant.schedule.tuned import RecordSource
from bitquant.worker import build_request

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Operator"]


class Operator(Readable):
    """D = A x decode(W)^T (+ Bias) for one `MatmulConfig` and target.

    Construction takes the kernels from the disk cache, or schedules and compiles them. No GPU is needed to construct
    for a named one and to read what is generated.

    Parameters
    ----------
    config
        The problem.
    target
        "cpu", "cuda", an architecture such as "sm_90a", or a TVM target; None: the GPU if there is one, else the CPU.
    rules
        Schedule rules in order of preference in place of the default ones; such operators bypass the cache, and look
        for no records but those of `records`.
    records
        What was tuned before: a `Records`, a file or folder of them, `Record` objects, or a `Plan`. None: the folders
        of BITQUANT_SCHEDULES and the records that come with bitquant (docs/tuning.md).

    Attributes
    ----------
    config : MatmulConfig
    target : tvm.target.Target
    weight_layout : str
        Layout of the weight that the kernels read, "plain" or "fragment" (`bitquant.layouts`).
    problem : str
        What names it in programs that call it (`bitquant.operator.torch_op`).
    """

    #: What its config is.
    config_type: ClassVar[type] = MatmulConfig
    #: What is made of configs of another operation, where a program or a file names one.
    _classes: ClassVar[dict[type, type[Operator]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.config_type is not MatmulConfig:
            Operator._classes.setdefault(cls.config_type, cls)

    def __init__(
        self,
        config: MatmulConfig,
        target: str | Target | None = None,
        rules: Sequence[Any] | None = None,
        records: RecordSource | Plan | None = None,
    ) -> None:
        if not isinstance(config, self.config_type):
            raise ConfigError(
                f"'config' must be a {self.config_type.__name__} (got {type(config).__name__})", config=config
            )
        target = resolve_target(target)
        layout = preferred_layout(config, target, rules)
        # What follows from the problem need not be said by a program that calls the operator.
        is_default = records is None and rules is None
        if not isinstance(records, Plan):
            source = () if records is None and rules is not None else records
            records = plan(config, target, layout, source, rules)
        self._set_up(Parts(config, target, layout, records), rules, is_default)
        self._bind(self._build())

    # Making.

    def _set_up(self, parts: Parts, rules: Sequence[Any] | None, is_default: bool) -> None:
        """Set what does not depend on the kernels."""
        self.config, self.target, self.weight_layout, planned = parts
        self._plan, self._rules = planned or Plan(), rules
        self._retired: list[Archive] = []
        self.signature = self._signature_of(self.config, self.weight_layout, "cuda" if self.is_cuda else "cpu")
        self._check_device = DeviceCheck(self.arch if self.is_cuda else None)
        self._decoder = self._decoder_of(self._check_device)
        #: Whether its kernels are others than those that follow from the problem.
        self.is_tuned = not is_default
        if rules is None:
            self._name_problem()
        else:
            self.problem = f"{self.config} with rules of its own, {uuid.uuid4()}"

    # What an operation has of its own.

    def _signature_of(self, config: Any, layout: WeightLayout, device_type: str) -> Signature:
        return Signature(config, layout, device_type)

    def _launcher_of(self, archive: Archive) -> Launcher:
        return Launcher(self.signature, archive, self._check_device)

    def _decoder_of(self, check_device: DeviceCheck) -> WeightDecoder:
        return WeightDecoder(self.signature, self.target, check_device)

    def _name_problem(self) -> None:
        plan = self._plan if self.is_tuned else None
        self.problem = problem_text(self.config, self.target, self.weight_layout, plan)

    @classmethod
    def _from_parts(cls, parts: Parts, archive: Archive | None = None) -> Operator:
        """Return the operator that is made from `parts`, with the kernels of `archive` if there are any."""
        own = cls if isinstance(parts.config, cls.config_type) else cls._classes.get(type(parts.config), Operator)
        operator = own.__new__(own)
        is_default = parts.plan is None
        if is_default:
            parts = parts._replace(plan=plan(parts.config, parts.target, parts.layout, None, None))
        operator._set_up(parts, None, is_default)
        operator._bind(operator._build() if archive is None else archive)
        return operator

    def _build(self) -> Archive:
        def schedule() -> IRModule:
            scheduled = self.scheduled_mod
            check_declarations(scheduled, self.prim_func_mod)
            return scheduled

        if self._rules is not None:
            return compile_archive(schedule, self.config, self.target)
        request = build_request(self.config, self.target, self.weight_layout, self._plan)
        return find_archive(self._deciding, schedule, self.config, self.target, request)

    @property
    def _deciding(self) -> dict[str, Any]:
        """What decides the kernels beside problem and target."""
        return {"weight_layout": self.weight_layout, "plan": self._plan.to_dict()}

    @classmethod
    def find(cls, config: MatmulConfig, target: str | Target | None = None) -> Self | None:
        """Return the operator of a problem where its kernels are in this process or in the disk cache, else None.

        Nothing is compiled.

        Parameters
        ----------
        config, target
            As in the constructor.

        Raises
        ------
        RecordError, UnsupportedError
            As the constructor does.
        """
        target = resolve_target(target)
        layout = preferred_layout(config, target)
        operator = cls.__new__(cls)
        operator._set_up(Parts(config, target, layout, plan(config, target, layout)), None, is_default=True)
        archive = present_archive(operator._deciding, config, target)
        if archive is None:
            return None
        operator._bind(archive)
        return operator

    def _bind(self, archive: Archive) -> None:
        """Set what depends on the kernels."""
        self._archive = archive
        self._launcher = self._launcher_of(archive)
        register(self.problem, self)

    def _follow(self, new: Plan) -> None:
        """Take the kernels of a plan; rungs that it does not name keep theirs."""
        before = self._plan
        self._plan = Plan({**before.planned, **new.planned}, before.refusals)
        self.__dict__.pop("scheduled_mod", None)
        try:
            archive = self._build()
        except BaseException:
            self._plan = before
            self.__dict__.pop("scheduled_mod", None)
            raise
        self._retired.append(self._archive)  # CUDA graphs captured before still run its kernels.
        self._bind(archive)  # Programs that name the problem as it was get these kernels, too.
        if self._rules is None:
            self.is_tuned = True
            self._name_problem()
            register(self.problem, self)

    # Calling.

    def kernel_for(self, m: int) -> Callable[..., None]:
        """Return the bare function that serves `m` rows.

        It takes (A, W, [scale], [zeros], [bias], [activation_scale], [channel_scale], D): A and D with two dimensions,
        activation_scale and channel_scale, like bias, with one.

        Raises
        ------
        CallError
            If `m` is no number of rows.
        """
        check_rows(m, 0)
        return self._launcher.kernel_for(m)

    @property
    def torch_func(self) -> Callable[..., None]:
        """The bare function of the last rung (`kernel_for`)."""
        return self.kernel_for(self.config.ladder[-1])

    def forward(
        self,
        A: torch.Tensor,
        W: torch.Tensor,
        scale: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        output: torch.Tensor | None = None,
        *,
        activation_scale: torch.Tensor | None = None,
        channel_scale: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return D = A x decode(W)^T (* activation_scale) (* channel_scale) (+ bias).

        A and bias have a gradient (`bitquant.operator.torch_op`); W, scales, zero points, and A of 8 bits have none.

        Parameters
        ----------
        A
            (..., K), contiguous. All leading dimensions together are the rows m. Under autocast it is cast to the type
            that the operator multiplies.
        W
            What `Matmul.transform_weight` returned.
        scale, zeros, bias
            Present exactly where the config says so; shapes and types as in `MatmulConfig`.
        output
            Where to write D, (..., N), contiguous; allocated where None. No gradient passes through it.
        activation_scale
            float32, one number a row of A: of the leading dimensions of A, (...), or (..., 1) as a reduction with
            ``keepdim=True`` leaves it. Present exactly where the config says so.
        channel_scale
            float32, (N,). Present exactly where the config says so.

        Raises
        ------
        CallError
            If a tensor has the wrong shape, dtype, device or strides, is missing, or is not part of the config; if
            `output` shares memory with another operand; if a gradient is wanted that is not there. Nothing has been
            launched then.
        """
        operands = (A, W, scale, zeros, bias, activation_scale, channel_scale)
        if not torch.compiler.is_compiling():
            try:
                result = self._launcher.short(*operands, output)
            except Exception:  # noqa: BLE001 - whatever is wrong, `dispatch` finds it and says it in the user's words.
                result = None
            if result is not None:
                return result
        return dispatch(self, self.problem, operands, output)

    __call__ = forward

    def launch(self, operands: Operands, output: torch.Tensor | None) -> torch.Tensor:
        """Return what `forward` does for tensors that hold memory, where torch only computes."""
        result = self._launcher.run(operands, output)
        if output is not None:
            mark_written(output)
        return result

    def compute(self, operands: Operands, output: torch.Tensor | None = None) -> torch.Tensor:
        """Return what `forward` does for tensors that hold memory; no gradient, and nothing that torch could trace."""
        if output is None and (result := self._launcher.attempt(operands)) is not None:
            return result
        return self._launcher.run(operands, output)

    def dequantize(
        self,
        W: torch.Tensor,
        scale: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        dtype: torch.dtype | None = None,
    ) -> torch.Tensor:
        """Return decode(W), (N, K), on the device of W. It has no gradient.

        Parameters
        ----------
        W, scale, zeros
            As `forward` takes them.
        dtype
            torch.float16, bfloat16 or float32; None: the type of A, float32 where A has 8 bits. Scales and fractional
            zero points are applied in float32, and rounded to it once.

        Raises
        ------
        CallError
            If an operand does not fit.
        UnsupportedError
            If N * K exceeds 2^31 - 1, which 32-bit indices reach.
        """
        return dequantize(self, self.problem, W, scale, zeros, self._decoded_dtype(dtype))

    def _decoded_dtype(self, dtype: torch.dtype | None) -> torch.dtype:
        """Return the type of decode(W) where `dequantize` is given this one."""
        if dtype is not None:
            return dtype
        return self.signature.A_dtype if self.signature.A_dtype.itemsize > 1 else torch.float32

    def compute_weight(
        self, W: torch.Tensor, scale: torch.Tensor | None, zeros: torch.Tensor | None, dtype: torch.dtype
    ) -> torch.Tensor:
        """Return what `dequantize` does for tensors that hold memory."""
        return self._decoder(W, scale, zeros, dtype)

    def profile_latency(self, m: int | None = None) -> float:
        """Return the median time of a call, in microseconds.

        Weights rotate so that each call finds its own outside the cache; on a GPU the calls are replayed as one CUDA
        graph, so that host time does not count (`bitquant.profiling`).

        Parameters
        ----------
        m
            Rows of A; default: the static M, or the first rung.

        Raises
        ------
        UnsupportedError
            If the target is a GPU that is not here.
        CallError
            If `m` is not what the config serves.
        """
        return profiling.operator_latency_us(self, self._rows(m))

    def _rows(self, m: int | None) -> int:
        """Return a number of rows that the config serves: `m`, or by default the first rung.

        Raises
        ------
        CallError
            If `m` is none.
        """
        m = self.config.ladder[0] if m is None else m
        check_rows(m, 1)
        if self.config.is_static and m != self.config.M:
            raise CallError(f"'m' must be {self.config.M}, the static M of the config (got {m})")
        return m

    # Keeping.

    def export(self, path: str | Path) -> None:
        """Write the operator to one file, which `load` runs in another process without compiling anything.

        Raises
        ------
        UnsupportedError
            If the host code could not be linked because this machine has no linker.
        BuildError
            If the file cannot be written.
        """
        export_archive(self._archive, path)

    @classmethod
    def load(cls, path: str | Path) -> Operator:
        """Return the operator that `export` wrote. No compiler is needed.

        `Operator.load` takes operators of every operation; those of others take their own.

        Raises
        ------
        BuildError
            If the file is not an exported operator, or one of another operation.
        """
        archive, parts = load_archive(path)
        if cls is not Operator and not isinstance(parts.config, cls.config_type):
            own = type(parts.config).__name__.removesuffix("Config")
            raise BuildError(
                f"{path} holds a {parts.config.operation}, which {cls.__name__} does not call; use {own}.load"
            )
        return cls._from_parts(parts, archive)

    def __copy__(self) -> Operator:
        return self  # A weight fits whatever kernels tuning brings; a copy shares them.

    def __deepcopy__(self, memo: dict[int, Any]) -> Operator:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was made from, tuned hints included; kernels come from the cache where it is loaded."""
        if self._rules is not None:
            raise UnsupportedError("an operator made with rules of its own cannot be pickled; use export")
        return _rebuild, (type(self), self.config, target_name(self.target), self._plan.to_dict())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config}, target={self.arch})"


def _rebuild(cls: type[Operator], config: MatmulConfig, target: str, plan: Mapping[str, Any]) -> Operator:
    return cls(config, target=target, records=lenient_plan(plan))


set_rebuild(lambda problem: Operator._from_parts(problem_parts(problem)))
