"""An operator: a built problem, called with torch tensors and open to reading at every stage."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import weakref
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
import tvm
from tvm.ir import IRModule
from tvm.target import Target
from tvm.tirx import PrimFunc

from bitquant import cache, profiling
from bitquant.arch import gpu_arch, resolve_target
from bitquant.build import Archive, build
from bitquant.compiler import cuda_compiler, disassemble, find_linker
from bitquant.compute import select_implementation
from bitquant.compute.matmul import symbol
from bitquant.config import MatmulConfig
from bitquant.errors import BuildError, CallError, ConfigError, ScheduleError, UnsupportedError
from bitquant.layouts import Layout, weight_dtype, weight_shape
from bitquant.schedule import Choice, Plan, apply_plan, choice_of, plan, preferred_layout, schedule_module
from bitquant.schedule.tuned import RecordSource

__all__ = ["Operator"]

#: Kernels index their operands with 32 bits; a call with more elements is made in slices of rows.
_MAX_ELEMENTS = 2**31 - 1

#: Archives in use, so that equal operators share one module. It keeps nothing alive.
_in_use: weakref.WeakValueDictionary[str, Archive] = weakref.WeakValueDictionary()

#: Operators by a name of their own, for the custom op that torch.compile sees: a string, because numbers become
#: symbolic there. It keeps nothing alive.
_by_name: weakref.WeakValueDictionary[str, Operator] = weakref.WeakValueDictionary()
_numbers = itertools.count()


class Operator:
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
    """

    weight_layout: Layout

    def __init__(
        self,
        config: MatmulConfig,
        target: str | Target | None = None,
        rules: Sequence[Any] | None = None,
        records: RecordSource | Plan | None = None,
    ) -> None:
        if not isinstance(config, MatmulConfig):
            raise ConfigError(f"'config' must be a MatmulConfig (got {type(config).__name__})", config=config)
        target = resolve_target(target)
        layout = preferred_layout(config, target, rules)
        if not isinstance(records, Plan):
            source = () if records is None and rules is not None else records
            records = plan(config, target, layout, source, rules)
        self._set_up(config, target, layout, records, rules)
        self._bind(self._build())

    # Making.

    def _set_up(
        self, config: MatmulConfig, target: Target, layout: Layout, plan: Plan, rules: Sequence[Any] | None
    ) -> None:
        """Set what does not depend on the kernels."""
        self.config, self.target, self.weight_layout = config, target, layout
        self._plan, self._rules = plan, rules
        self._retired: list[Archive] = []
        self._checked_devices: set[int | None] = set()
        c = config
        self._device_type = "cuda" if self.is_cuda else "cpu"
        self._A_dtype, self._W_dtype = c.A_format.torch_dtype, weight_dtype(c, layout)
        self._W_shape = weight_shape(c, layout)
        self._out_dtype = c.out_format.torch_dtype
        self._K, self._N = c.K, c.N
        scale_dtype = c.scale_format.torch_dtype
        zeros_dtype = torch.int8 if c.has_packed_zeros else scale_dtype
        # Name, whether the config has it, its field, shape, dtype: the optional operands in the order of the kernels'
        # parameters. The shape of activation_scale follows that of A.
        self._optional = (
            ("scale", c.with_scaling, "with_scaling", c.scale_shape, scale_dtype),
            ("zeros", c.with_zeros, "with_zeros", c.zeros_shape, zeros_dtype),
            ("bias", c.with_bias, "with_bias", (c.N,), self._out_dtype),
            ("activation_scale", c.with_activation_scale, "with_activation_scale", None, torch.float32),
            ("channel_scale", c.with_channel_scale, "with_channel_scale", (c.N,), torch.float32),
        )
        # Kernels for GPUs load up to 16 bytes at a time from rows whose length allows it, and so must the first row.
        self._alignment = {
            "A": math.gcd(16, c.K * self._A_dtype.itemsize),
            "W": math.gcd(16, self._W_shape[1] * self._W_dtype.itemsize),
            "scale": math.gcd(16, c.num_groups * scale_dtype.itemsize),
            "zeros": 1 if c.has_packed_zeros else math.gcd(16, c.num_groups * scale_dtype.itemsize),
            "output": math.gcd(16, c.N * self._out_dtype.itemsize),
        }
        # Compiled graphs are cached on disk with this name in them: it must say which problem it stands for.
        digest = hashlib.sha256(c.key().encode()).hexdigest()[:16]
        self._name = f"{digest}-{self.arch}-{next(_numbers)}"
        _by_name[self._name] = self

    def _build(self) -> Archive:
        def make() -> Archive:
            with tvm.transform.PassContext():  # Not the caller's: what is built here, others take from the cache.
                scheduled = self.scheduled_mod
                _check_declarations(scheduled, self.prim_func_mod)
                return build(scheduled, self.target, self.config.problem())

        if self._rules is not None:
            return make()
        parts: dict[str, Any] = {
            "problem": self.config.problem(),
            "weight_layout": self.weight_layout,
            "plan": self._plan.to_dict(),
            "target": str(self.target),
            "linked": find_linker() is not None,
        }
        if self.is_cuda:
            parts["compiler"] = cuda_compiler().key
        key = cache.cache_key(parts)
        if (archive := _in_use.get(key)) is None:
            title = f"{self.config} on {self.arch}"
            archive = cache.KernelCache().get_or_build(key, Archive.load, make, Archive.save, title)
            _in_use[key] = archive
        return archive

    def _bind(self, archive: Archive) -> None:
        """Set what depends on the kernels."""
        self._archive = archive
        self._functions: list[tuple[int, Any]] | None = None
        self._attempt: Callable[..., torch.Tensor | None] = _attempt_nothing

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
        self._bind(archive)

    @property
    def choices(self) -> dict[int, Choice]:
        """How each rung was scheduled: rule, hint, and the refusals before."""
        return self._archive.choices

    @cached_property
    def is_cuda(self) -> bool:
        """Whether the target is a CUDA GPU."""
        return self.target.kind.name == "cuda"

    @property
    def arch(self) -> str:
        """Architecture of a CUDA target, for example "sm_90a"; else the kind of the target, "llvm"."""
        return str(self.target.arch) if self.is_cuda else self.target.kind.name

    # Calling.

    def _functions_by_rung(self) -> list[tuple[int, Any]]:
        if self._functions is None:
            module, symbols = self._archive.runtime_module(), self._archive.symbols
            self._functions = [(rung, module[symbols[rung]]) for rung in self.config.ladder]
        return self._functions

    def kernel_for(self, m: int) -> Callable[..., None]:
        """Return the bare function that serves `m` rows.

        It takes (A, W, [scale], [zeros], [bias], [activation_scale], [channel_scale], D): A and D with two dimensions,
        activation_scale and channel_scale, like bias, with one.
        """
        functions = self._functions_by_rung()
        for rung, function in functions:
            if m <= rung:
                return function
        return functions[-1][1]

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
        """Return D = A x decode(W)^T (* activation_scale) (* channel_scale) (+ bias). Not differentiable.

        Parameters
        ----------
        A
            (..., K), contiguous. All leading dimensions together are the rows m.
        W
            What `Matmul.transform_weight` returned.
        scale, zeros, bias
            Present exactly where the config says so; shapes and types as in `MatmulConfig`.
        output
            Where to write D, (..., N), contiguous; allocated where None.
        activation_scale
            float32, one number a row of A: of the leading dimensions of A, (...), or (..., 1) as a reduction with
            ``keepdim=True`` leaves it. Present exactly where the config says so.
        channel_scale
            float32, (N,). Present exactly where the config says so.

        Raises
        ------
        CallError
            If a tensor has the wrong shape, dtype, device or strides, is missing, or is not part of the config. Nothing
            has been launched then.
        """
        if torch.compiler.is_compiling():
            if output is not None:
                self._check("output", output, (*A.shape[:-1], self._N), self._out_dtype, A.device)
            result = _forward_op(self._name, A, W, scale, zeros, bias, activation_scale, channel_scale)
            return result if output is None else output.copy_(result)
        try:
            result = self._attempt(A, W, scale, zeros, bias, activation_scale, channel_scale, output)
        except Exception:  # noqa: BLE001 - whatever is wrong, `_forward` finds it and says it in the user's words.
            result = None
        if result is not None:
            return result
        return self._forward(A, W, scale, zeros, bias, activation_scale, channel_scale, output)

    __call__ = forward

    def _forward(
        self,
        A: Any,
        W: Any,
        scale: Any,
        zeros: Any,
        bias: Any,
        activation_scale: Any,
        channel_scale: Any,
        output: Any,
    ) -> torch.Tensor:
        """Check every operand, and compute; the first call that passes makes the next ones short (`_short_call`)."""
        if not isinstance(A, torch.Tensor):
            raise CallError(f"'A' must be a torch.Tensor (got {type(A).__name__})")
        shape, device = A.shape, A.device
        if (
            shape[-1:] != (self._K,)
            or A.dtype is not self._A_dtype
            or device.type != self._device_type
            or not A.is_contiguous()
            or A.is_neg()
        ):
            self._reject_A(A)
        self._check("W", W, self._W_shape, self._W_dtype, device)
        if device.index not in self._checked_devices:
            self._check_device(device)
        arguments = [A.detach() if A.requires_grad else A, W]
        rows_shape = shape[:-1]
        if isinstance(activation_scale, torch.Tensor) and activation_scale.shape == (*rows_shape, 1):
            rows_shape = activation_scale.shape  # As a reduction over K leaves it.
        for (name, is_configured, field, fixed_shape, dtype), tensor in zip(
            self._optional, (scale, zeros, bias, activation_scale, channel_scale), strict=True
        ):
            wanted = rows_shape if fixed_shape is None else fixed_shape
            if tensor is None:
                if is_configured:
                    raise CallError(
                        f"{name!r} is missing: the config has {field}=True; "
                        f"pass a tensor of shape {tuple(wanted)} and type {dtype}"
                    )
            elif not is_configured:
                raise CallError(
                    f"{name!r} was given, but the config has {field}=False; leave it out or set {field}=True"
                )
            else:
                self._check(name, tensor, wanted, dtype, device)
                arguments.append(tensor)
        out_shape = (*shape[:-1], self._N)
        if output is None:
            output = torch.empty(out_shape, dtype=self._out_dtype, device=device)
        else:
            self._check("output", output, out_shape, self._out_dtype, device)
        if self.is_cuda:
            self._check_alignment(A=A, W=W, scale=scale, zeros=zeros, output=output)
        m = A.numel() // self._K
        if self.config.is_static and m not in (self.config.M, 0):
            raise CallError(
                f"'A' must have {self.config.M} rows (got {m}): the config has a static M; "
                "make it with M=None or a sequence of rungs to serve any number of rows"
            )
        if m and self.is_cuda and device.index != torch.cuda.current_device():
            with torch.cuda.device(device):  # TVM's launcher leaves the device of its operands current.
                self._launch(m, arguments, output)
        elif m:
            self._launch(m, arguments, output)
        if m and self._attempt is _attempt_nothing:
            self._attempt = _short_call(self)
        return output

    def _launch(self, m: int, arguments: list[torch.Tensor], output: torch.Tensor) -> None:
        function = self.kernel_for(m)
        by_row, D = {0: arguments[0].view(m, self._K)}, output.view(m, self._N)
        if self.config.with_activation_scale:
            at = len(arguments) - (2 if self.config.with_channel_scale else 1)
            by_row[at] = arguments[at].view(m)
        step = _MAX_ELEMENTS // max(self._K, self._N)
        if m <= step:
            function(*(by_row.get(i, argument) for i, argument in enumerate(arguments)), D)
            return
        for first in range(0, m, step):
            rows = slice(first, first + step)
            part = [by_row[i][rows] if i in by_row else argument for i, argument in enumerate(arguments)]
            self._launch(min(step, m - first), part, D[rows])

    def _check(self, name: str, tensor: Any, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        """Check one operand: the cheap comparison first, the words only where it fails."""
        if (
            isinstance(tensor, torch.Tensor)
            and tensor.shape == shape
            and tensor.dtype is dtype
            and tensor.device == device
            and tensor.is_contiguous()
            and not tensor.is_neg()
        ):
            return
        if not isinstance(tensor, torch.Tensor):
            raise CallError(f"{name!r} must be a torch.Tensor (got {type(tensor).__name__})")
        if tensor.dtype is not dtype:
            fix = "; pass what transform_weight returned" if name == "W" else f"; use .to({dtype})"
            raise CallError(f"{name!r} must be of type {dtype} (got {tensor.dtype}){fix}")
        if tuple(tensor.shape) != tuple(shape):
            fix = f"; pass what transform_weight returned ({self.weight_layout} layout)" if name == "W" else ""
            fix = f", or {(*shape, 1)}: one number a row of A" if name == "activation_scale" else fix
            raise CallError(f"{name!r} must have shape {tuple(shape)} (got {tuple(tensor.shape)}){fix}")
        if tensor.device != device:
            raise CallError(f"{name!r} must be on the device of A, {device} (got {tensor.device}); use .to('{device}')")
        if tensor.is_neg():
            raise CallError(f"{name!r} must hold its own numbers (got a view that negates them); use .resolve_neg()")
        fix = "it is written in place" if name == "output" else "use .contiguous()"
        raise CallError(
            f"{name!r} must be contiguous (got strides {tensor.stride()} for shape {tuple(tensor.shape)}); {fix}"
        )

    def _reject_A(self, A: torch.Tensor) -> None:
        """Raise for the first rule that A breaks."""
        if A.device.type != self._device_type:
            other = f", or construct with target='{A.device.type}'" if A.device.type in ("cpu", "cuda") else ""
            raise CallError(
                f"'A' must be on {self._device_type}, where this operator was built for (got {A.device}); "
                f"use .to('{self._device_type}'){other}"
            )
        if A.shape[-1:] != (self._K,):
            raise CallError(f"'A' must have shape (..., {self._K}), K last (got {tuple(A.shape)})")
        if A.dtype is not self._A_dtype:
            raise CallError(f"'A' must be of type {self._A_dtype} (got {A.dtype}); use .to({self._A_dtype})")
        if A.is_neg():
            raise CallError("'A' must hold its own numbers (got a view that negates them); use .resolve_neg()")
        raise CallError(
            f"'A' must be contiguous (got strides {A.stride()} for shape {tuple(A.shape)}); use .contiguous()"
        )

    def _check_alignment(self, **operands: torch.Tensor | None) -> None:
        """Check that views begin where wide loads may; whole tensors and slices of rows do."""
        for name, tensor in operands.items():
            wanted = self._alignment[name]
            if tensor is not None and (past := tensor.data_ptr() % wanted):
                raise CallError(
                    f"{name!r} must begin at a multiple of {wanted} bytes (got {past} bytes past one): "
                    "it is a view into a larger tensor; use .clone()"
                )

    def _check_device(self, device: torch.device) -> None:
        """Check once a GPU that it runs code of this architecture."""
        if self.is_cuda:
            here, wanted = torch.cuda.get_device_capability(device), gpu_arch(self.arch)
            if here != (wanted.major, wanted.minor):
                raise CallError(
                    f"'A' is on a GPU of compute capability {here[0]}.{here[1]}, and this operator was built for "
                    f"{self.arch}; construct it with target='cuda' there"
                )
        self._checked_devices.add(device.index)

    # Reading.

    @cached_property
    def prim_func_mod(self) -> IRModule:
        """The unscheduled module, one prim_func a rung: the meaning of the operator."""
        return select_implementation(self.config, self.weight_layout)

    @property
    def prim_func(self) -> PrimFunc:
        """The unscheduled function of the last rung."""
        return self.prim_func_mod[symbol(self.config.ladder[-1])]

    @cached_property
    def scheduled_mod(self) -> IRModule:
        """The scheduled module, one function a rung."""
        mod = self.prim_func_mod
        if self._plan.planned or self._plan.refusals:
            mod = apply_plan(mod, self.target, self._plan, self._rules)
        return schedule_module(mod, self.target, self._rules)

    @property
    def rt_mod(self) -> tvm.runtime.Module:
        """TVM's runtime module."""
        return self._archive.runtime_module()

    @property
    def torch_func(self) -> Callable[..., None]:
        """The bare function of the last rung (`kernel_for`)."""
        return self.kernel_for(self.config.ladder[-1])

    def get_source(self) -> str:
        """Return the CUDA C++ of the kernels; for a CPU, the LLVM assembly of the scheduled functions."""
        if self._archive.cuda_source is not None:
            return self._archive.cuda_source
        with tvm.transform.PassContext():
            return str(tvm.compile(self.scheduled_mod, target=self.target).mod.inspect_source("ll"))

    def get_ptx(self) -> str:
        """Return the PTX of the kernels.

        Raises
        ------
        UnsupportedError
            If the target is a CPU.
        """
        if self._archive.ptx is None:
            raise UnsupportedError(
                f"PTX exists for CUDA targets alone (got {self.arch}); construct with target='sm_90a', say"
            )
        return self._archive.ptx

    def get_sass(self) -> str:
        """Return the machine code of the kernels, disassembled.

        Raises
        ------
        UnsupportedError
            If the target is a CPU, or there is no disassembler.
        """
        if self._archive.cubin is None:
            raise UnsupportedError(
                f"SASS exists for CUDA targets alone (got {self.arch}); construct with target='sm_90a', say"
            )
        return disassemble(self._archive.cubin)

    def bytes_per_call(self, m: int) -> int:
        """Return the least bytes that a call of `m` rows moves: every operand read once, D written once."""
        c = self.config
        total = math.prod(c.W_shape) * c.W_format.torch_dtype.itemsize
        if c.with_scaling:
            total += math.prod(c.scale_shape) * c.scale_format.torch_dtype.itemsize
        if c.with_zeros:
            total += math.prod(c.zeros_shape) * (1 if c.has_packed_zeros else c.scale_format.torch_dtype.itemsize)
        if c.with_bias:
            total += self._N * self._out_dtype.itemsize
        total += 4 * (m * c.with_activation_scale + self._N * c.with_channel_scale)
        return total + m * (self._K * self._A_dtype.itemsize + self._N * self._out_dtype.itemsize)

    def report(self) -> str:
        """Return one screen on how the problem is solved.

        For each kernel: the rungs it serves, rule and hint, why other rules refused the first of them, registers,
        shared memory, spills; then bytes and operations a call, and the time that memory alone would take.
        """
        c, archive = self.config, self._archive
        lines = [str(c), f"  {c.problem_summary()}", f"  target {self.arch}, weight layout {self.weight_layout}", ""]
        for name in dict.fromkeys(archive.symbols.values()):
            rungs = [r for r, s in archive.symbols.items() if s == name]
            choice = archive.choices[rungs[0]]
            served = f"m == {rungs[0]}" if c.is_static else f"m <= {', '.join(map(str, rungs))}"
            more = " and more" if not c.is_static and rungs[-1] == c.ladder[-1] else ""
            lines.append(f"{name}: {served}{more}")
            hint = ", ".join(f"{k}={v}" for k, v in choice.hint.items()) or "no hint"
            lines.append(f"  rule       {choice.rule} ({hint})")
            if choice.origin != "default":
                lines.append(f"  from       {choice.origin}")
            lines += [f"  not {rule:<6} {reason}" for rule, reason in choice.refusals.items()]
            for kernel, r in archive.resources.items():
                if kernel.startswith(name + "_"):
                    smem_bytes = r.smem_bytes + choice.smem_bytes
                    lines.append(
                        f"  kernel     {r.registers} registers, {smem_bytes} bytes shared memory, "
                        f"{r.spill_bytes} bytes spilled"
                    )
        lines.append("")
        for m in c.ladder:
            moved, flop = self.bytes_per_call(m), 2 * m * self._N * self._K
            floor = ""
            if self.is_cuda:
                arch = gpu_arch(self.arch)
                bandwidth = arch.bandwidth_bytes_per_s
                floor = f", floor {moved / bandwidth * 1e6:.1f} us at {bandwidth / 1e12:.2f} TB/s ({arch.example})"
            lines.append(f"m = {m:<5} {moved / 2**20:.2f} MiB, {flop / 1e9:.2f} GFLOP{floor}")
        return "\n".join(lines)

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
        m = self.config.ladder[0] if m is None else m
        if m < 1 or (self.config.is_static and m != self.config.M):
            wanted = f"{self.config.M}, the static M of the config" if self.config.is_static else "at least 1"
            raise CallError(f"'m' must be {wanted} (got {m})")
        return profiling.operator_latency_us(self, m)

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
        if self._archive.host_library is None:
            raise UnsupportedError("export needs a linker to make a library: put cc, gcc, clang or ld on PATH")
        whole, part = Path(path), Path(f"{path}.part")
        try:
            self._archive.save(part)
            part.replace(whole)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise BuildError(f"{whole} cannot be written: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Operator:
        """Return the operator that `export` wrote. No compiler is needed.

        Raises
        ------
        BuildError
            If the file is not an exported operator.
        """
        archive = Archive.load(Path(path))
        operator = cls.__new__(cls)
        try:
            config = MatmulConfig.from_problem(archive.manifest["problem"])
            target = resolve_target(Target(archive.manifest["target"]))
            plan = Plan.from_choices(archive.choices)  # So `scheduled_mod` and pickles are of the kernels that run.
        except (TypeError, ValueError, KeyError) as error:
            raise BuildError(f"{path} was exported by another version of bitquant: {error}; export it again") from error
        operator._set_up(config, target, archive.manifest["weight_layout"], plan, None)
        operator._bind(archive)
        return operator

    def __copy__(self) -> Operator:
        return self  # A weight fits whatever kernels tuning brings; a copy shares them.

    def __deepcopy__(self, memo: dict[int, Any]) -> Operator:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what it was made from, tuned hints included; kernels come from the cache where it is loaded."""
        if self._rules is not None:
            raise UnsupportedError("an operator made with rules of its own cannot be pickled; use export")
        return _rebuild, (type(self), self.config, self.arch if self.is_cuda else "cpu", self._plan.to_dict())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config}, target={self.arch})"


def _rebuild(cls: type[Operator], config: MatmulConfig, target: str, fields: dict[str, Any]) -> Operator:
    plan = Plan.from_dict(fields)
    # Another version's rules may not take the hints. A model must load all the same: the default serves then.
    planned = {rung: dataclasses.replace(p, is_required=False) for rung, p in plan.planned.items()}
    return cls(config, target=target, records=Plan(planned, plan.refusals))


def _check_declarations(scheduled: IRModule, unscheduled: IRModule) -> None:
    """Check that every kernel declares its operands as its meaning does: TVM's launcher compares tensors with that."""
    for name, func in scheduled.functions_items():
        meaning = unscheduled[name]
        names = [str(param.name) for param in meaning.params]
        for operand, got, wanted in itertools.zip_longest(names, _declared(func), _declared(meaning)):
            if got != wanted:
                choice = choice_of(func)
                rule = choice.rule if choice else "no rule"
                what = f"{operand or 'no further operand'} of {name.name_hint}"
                raise ScheduleError(
                    f"{rule}: {what} must be declared as {wanted} (got {got}); "
                    "a rule keeps the parameters of the function that it schedules",
                    rule=rule,
                )


def _declared(func: PrimFunc) -> list[str]:
    """Return type and shape of each parameter, as text; a symbolic size by the number of its first mention."""
    variables: list[Any] = []

    def size(dim: Any) -> str:
        if not isinstance(dim, tvm.tirx.Var):
            return str(dim)
        if not any(dim.same_as(v) for v in variables):
            variables.append(dim)
        return f"m{next(i for i, v in enumerate(variables) if dim.same_as(v)) or ''}"

    return [
        f"{p.dtype} ({', '.join(map(size, p.shape))})" + (f" with strides {p.strides}" if len(p.strides) else "")
        if hasattr(p, "shape")
        else f"a {p.ty}"
        for p in func.params
    ]


def _attempt_nothing(*_operands: Any) -> None:
    """Stand in for `_short_call` before the first call."""


def _short_call(operator: Operator) -> Callable[..., torch.Tensor | None]:
    """Return a function that computes what `Operator._forward` does from right operands, in a fraction of the time.

    Where it finds a fault it returns None or raises, and nothing has been launched. Most checks it leaves to TVM's
    launcher, which compares number, type, shape, strides and device of the operands with what the kernel declares
    (`_check_declarations`), and m and device with each other, in machine code and before it launches anything. It
    compares sizes modulo 2^32, which lets no access out of bounds. What it does not see is checked here. Nothing is
    remembered of an operand: the same tensor may be another one at the next call, since it can be changed in place.
    """
    functions = operator._functions_by_rung()
    rungs, kernels = [rung for rung, _ in functions], [function for _, function in functions]
    kernels.append(kernels[-1])  # For m beyond the last rung.
    K, N, dtype, is_cuda = operator._K, operator._N, operator._out_dtype, operator.is_cuda
    most = _MAX_ELEMENTS // max(K, N)
    configured = [is_configured for _, is_configured, *_ in operator._optional]
    has_scale, has_zeros, has_bias, has_activation_scale, has_channel_scale = configured
    pick = itemgetter(0, 1, *(i for i, has in enumerate(configured, 2) if has), 7)
    past_A, past_W, past_scale, past_zeros, past_output = (
        operator._alignment[name] - 1 for name in ("A", "W", "scale", "zeros", "output")
    )
    has_several_gpus = is_cuda and torch.cuda.device_count() > 1
    gpus, current_gpu = operator._checked_devices, torch.accelerator.current_device_index
    # The function of the class, since it fails for whatever is no torch.Tensor; the launcher takes NumPy's arrays too.
    empty, is_neg = torch.empty, torch.Tensor.is_neg

    def attempt(
        A: Any,
        W: Any,
        scale: Any,
        zeros: Any,
        bias: Any,
        activation_scale: Any,
        channel_scale: Any,
        output: Any,
    ) -> torch.Tensor | None:
        shape = A.shape
        is_matrix = len(shape) == 2
        m = shape[0] if is_matrix else A.numel() // K
        if (
            shape[-1] != K
            or not 0 < m <= most
            or (scale is None) is has_scale
            or (zeros is None) is has_zeros
            or (bias is None) is has_bias
            or (activation_scale is None) is has_activation_scale
            or (channel_scale is None) is has_channel_scale
        ):
            return None
        if has_several_gpus and not (A.get_device() == current_gpu() and A.get_device() in gpus):
            return None
        if is_matrix:
            rows = A
            D = result = empty(m, N, dtype=dtype, device=A.device) if output is None else output
        else:
            *leading, _ = shape
            if output is not None and output.shape != (*leading, N):
                return None
            result = empty(*leading, N, dtype=dtype, device=A.device) if output is None else output
            rows, D = A.view(m, K), result.view(m, N)
        if has_activation_scale:
            if activation_scale.shape not in (shape[:-1], (*shape[:-1], 1)):
                return None
            if activation_scale.ndim != 1:
                activation_scale = activation_scale.view(m)
        operands = pick((rows, W, scale, zeros, bias, activation_scale, channel_scale, D))
        if any(map(is_neg, operands)):
            return None
        if is_cuda and (
            A.data_ptr() & past_A
            or W.data_ptr() & past_W
            or result.data_ptr() & past_output
            or (has_scale and scale.data_ptr() & past_scale)
            or (has_zeros and zeros.data_ptr() & past_zeros)
        ):
            return None
        kernels[bisect_left(rungs, m)](*operands)
        return result

    return attempt


@torch.library.custom_op("bitquant::matmul", mutates_args=())
def _forward_op(
    name: str,
    A: torch.Tensor,
    W: torch.Tensor,
    scale: torch.Tensor | None,
    zeros: torch.Tensor | None,
    bias: torch.Tensor | None,
    activation_scale: torch.Tensor | None,
    channel_scale: torch.Tensor | None,
) -> torch.Tensor:
    """The call as torch.compile sees it; `name` is that of a live operator of this process."""
    return _by_name[name]._forward(A, W, scale, zeros, bias, activation_scale, channel_scale, None)


@_forward_op.register_fake
def _(name: str, A: Any, *_operands: Any) -> torch.Tensor:
    operator = _by_name[name]
    return A.new_empty((*A.shape[:-1], operator._N), dtype=operator._out_dtype)
