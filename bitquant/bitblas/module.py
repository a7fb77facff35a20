# SPDX-License-Identifier: Apache-2.0
"""The module `bitblas.module`: BitBLAS's layer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bitquant import layouts, relayout
from bitquant.bitblas.cache import get_database_path, global_operator_cache
from bitquant.bitblas.config import MatmulConfig
from bitquant.bitblas.matmul import Matmul
from bitquant.bitblas.serialized import unpack_serialized_weight
from bitquant.bitblas.utils import auto_detect_nvidia_target
from bitquant.errors import ConfigError
from bitquant.nn.checkpoints.bits import codes_of_words

__all__ = ["Linear"]

logger = logging.getLogger("bitquant.bitblas")

#: What a state dict has beside BitBLAS's tensors, so that its weight is not taken for one that
#: BitBLAS permuted.
_TAG = "weight_format"


class Linear(torch.nn.Module):
    """A linear layer with the interface of BitBLAS's class of this name.

    Its operator is made at once, for the GPU where there is one, else for the CPU, or taken from
    `global_operator_cache`. `bitquant.Linear` serves any device and makes its operators when they
    are needed.

    A state dict holds BitBLAS's tensors, the weight in the plain packing, and one more that names
    the format. A state dict without it, as BitBLAS writes them, is refused;
    `load_serialized_state_dict` takes it.

    Parameters ---------- in_features, out_features, bias, A_dtype, W_dtype, accum_dtype, out_dtype,
    group_size, with_scaling, with_zeros
        As in `MatmulConfig`.
    zeros_mode
        As in `MatmulConfig`.
    opt_M
        M of the config.
    enable_tuning
        Whether to tune an operator that is not in the cache, and to keep it there and in
        `get_database_path`. BitBLAS's default is True.
    fast_decoding, propagate_b
        As in `MatmulConfig`.

    Attributes
    ----------
    bitblas_matmul : Matmul
        The operator.
    bits, source_format
        Those of the operator.
    consistent : bool
        Whether W has the type of A. The weight is `weight` then, and `qweight`, with `scales` and
        `zeros`, otherwise.

    Raises
    ------
    ConfigError
        If bitquant has no such problem.
    """

    opt_M: int | Sequence[int] = (16, 32, 64, 128, 256, 512)
    bias: torch.Tensor | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = False,
        A_dtype: str = "float16",
        W_dtype: str = "float16",
        accum_dtype: str = "float16",
        out_dtype: str = "float16",
        group_size: int | None = -1,
        with_scaling: bool | None = None,
        with_zeros: bool | None = False,
        zeros_mode: str | None = None,
        opt_M: int | Sequence[int] = opt_M,
        enable_tuning: bool = False,
        fast_decoding: bool | None = None,
        propagate_b: bool | int = False,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.opt_M = in_features, out_features, opt_M
        self.group_size = in_features if group_size in (-1, None) else group_size
        config = MatmulConfig(
            M=opt_M if isinstance(opt_M, int) else tuple(opt_M), N=out_features, K=in_features, A_dtype=A_dtype,
            W_dtype=W_dtype, out_dtype=out_dtype, accum_dtype=accum_dtype, with_bias=bias, group_size=self.group_size,
            with_scaling=with_scaling, with_zeros=with_zeros, zeros_mode=zeros_mode, fast_decoding=fast_decoding,
            propagate_b=propagate_b,
        )  # fmt: skip
        self.bitblas_matmul = _operator(config, enable_tuning)
        self.bits, self.source_format = self.bitblas_matmul.bit, self.bitblas_matmul.source_format
        native = config.native
        self.consistent = native.W_format == native.A_format
        self.torch_dtype, self.zeros_mode = native.A_format.torch_dtype, config.zeros_mode
        shape = self.bitblas_matmul.retrieve_weight_shape()
        stored_dtype = self.bitblas_matmul.operator.signature.expected["W"].dtype if self.consistent else torch.int8
        self.register_buffer(self._weight_name, torch.zeros(shape, dtype=stored_dtype))
        if not self.consistent:  # As in BitBLAS they are there whether they are used or not.
            scale_dtype = native.scale_format.torch_dtype
            groups = in_features // int(self.group_size or 1)
            packed = zeros_mode == "quantized" and native.W_format.is_packed
            zeros_shape = (groups, out_features * self.bits // 8) if packed else (out_features, groups)
            zeros_shape = native.zeros_shape if native.with_zeros else zeros_shape
            zeros_dtype = torch.int8 if zeros_mode == "quantized" else scale_dtype
            self.register_buffer("scales", torch.zeros((out_features, groups), dtype=scale_dtype))
            self.register_buffer("zeros", torch.zeros(zeros_shape, dtype=zeros_dtype))
        self.register_buffer("bias", torch.zeros(out_features, dtype=native.out_format.torch_dtype) if bias else None)

    @property
    def _weight_name(self) -> str:
        return "weight" if self.consistent else "qweight"

    def warmup(self, topk: int = 20) -> None:
        """Tune the operator (`Matmul.hardware_aware_finetune`)."""
        self.bitblas_matmul.hardware_aware_finetune(topk=topk)

    def forward(self, A: torch.Tensor, output: torch.Tensor | None = None) -> torch.Tensor:
        """Return D = A x decode(W)^T (+ bias), as `bitquant.Operator.forward` does."""
        config = self.bitblas_matmul.config
        return self.bitblas_matmul(
            A,
            getattr(self, self._weight_name),
            self.scales if config.with_scaling else None,
            self.zeros if config.with_zeros else None,
            self.bias,
            output,
        )

    # Weights.

    def load_and_transform_weight(
        self,
        weight: torch.Tensor,
        scales: torch.Tensor | None = None,
        zeros: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
    ) -> None:
        """Pack a weight and take the operands that go with it as they are.

        Parameters
        ----------
        weight
            (N, K) values as `Matmul.transform_weight` takes them.
        scales, zeros, bias
            As the operator takes them; None leaves what is there.

        Raises
        ------
        ConfigError
            If the weight does not fit, or scales or zero points are given to a layer that has none.
        """
        for name, tensor in (("scales", scales), ("zeros", zeros)):
            if self.consistent and tensor is not None:
                raise ConfigError(
                    f"{name!r} was given, but a W of the type of A has none; leave it out", **{name: tensor}
                )
        stored = self.bitblas_matmul.transform_weight(weight)
        if self.consistent:
            self.weight = torch.nn.Parameter(stored, requires_grad=False)
        else:
            self.qweight = stored
        for name, tensor in (("scales", scales), ("zeros", zeros), ("bias", bias)):
            if tensor is not None:
                setattr(self, name, tensor)

    def load_serialized_state_dict(self, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Load the state dict of a layer that BitBLAS wrote (`unpack_serialized_weight`).

        Parameters
        ----------
        state_dict
            BitBLAS's tensors of this layer by their bare names. It was made with the config that
            this layer has.

        Raises
        ------
        ConfigError
            If the weight is missing or does not fit.
        """
        name = self._weight_name
        if name not in state_dict:
            raise ConfigError(f"'state_dict' must have {name!r} (got {', '.join(state_dict) or 'nothing'})")
        config = self.bitblas_matmul.config
        values = unpack_serialized_weight(state_dict[name], config)
        stored = self.bitblas_matmul.transform_weight(values).to(getattr(self, name).device)
        plain = relayout.from_layout(self.bitblas_matmul.as_stored(stored), config.native, self._layout)
        self.load_state_dict({**state_dict, name: plain.view(stored.dtype), _TAG: self._tag()})

    def repack_from_gptq(self, gptq_module: torch.nn.Module, device: str | torch.device | None = None) -> None:
        """Take weight, scales, zero points and bias of a layer in GPTQ's format, v1: zero points stored minus one.

        Parameters
        ----------
        gptq_module
            It has `qweight` (K * bits / 32, N) and `qzeros` (K / group_size, N * bits / 32) int32,
            `scales` (K / group_size, N), and perhaps `g_idx` and `bias`.
        device
            Where to put the tensors; None: the GPU that the operator is for, or where the layer is.

        Raises
        ------
        ConfigError
            If the layer has another shape, an order of activations (`g_idx`), or zero points that
            this one has none of.
        """
        self._repack(gptq_module, 1, device)

    def repack_from_gptq_v2(self, gptq_module: torch.nn.Module) -> None:
        """Take a layer in GPTQ's format, v2: zero points stored as they are. Otherwise as `repack_from_gptq`."""
        self._repack(gptq_module, 0, None)

    def _repack(self, source: Any, zero_offset: int, device: str | torch.device | None) -> None:
        matmul, native = self.bitblas_matmul, self.bitblas_matmul.config.native
        bits, N, K, groups = self.bits, native.N, native.K, native.num_groups
        fmt = native.W_format
        if not fmt.is_integer or self.consistent:
            raise ConfigError(f"'W_dtype' must be an integer format for GPTQ's weights (got {fmt.name!r})")
        _check_order(getattr(source, "g_idx", None), K, native.group)
        words = _checked(source, "qweight", (K * bits // 32, N))
        codes = codes_of_words(words.T, bits, K)
        middle = 1 << (bits - 1)
        zeros = codes_of_words(_checked(source, "qzeros", (groups, N * bits // 32)), bits, N).to(torch.int32)
        if zero_offset and bool((zeros == 2 * middle - 1).any()):
            raise ConfigError(
                f"'qzeros' holds {2 * middle - 1}, a zero point of 0 that was stored minus one, which writers lose or "
                "carry into the next; convert the layer to GPTQ's v2 format and use repack_from_gptq_v2"
            )
        zeros += zero_offset
        if not native.with_zeros and not (not fmt.is_unsigned and bool((zeros == middle).all())):
            raise ConfigError(
                f"'gptq_module' must have zero points of {middle} throughout where the layer is {fmt.name} without "
                f"zeros (got {int(zeros.min())}..{int(zeros.max())}); make the layer with W_dtype='uint{bits}', "
                "with_zeros=True"
            )
        if device is None and matmul.operator.is_cuda and torch.cuda.is_available():
            device = "cuda"
        device = self.qweight.device if device is None else torch.device(device)
        values = codes if fmt.is_unsigned else (codes.to(torch.int16) - middle).to(torch.int8)
        scales = _checked(source, "scales", (groups, N)).T.to(native.scale_format.torch_dtype).contiguous()
        self.qweight = matmul.transform_weight(values).to(device)
        self.scales = scales.to(device)
        if native.with_zeros:
            if native.zeros_mode == "quantized":
                new = matmul.operator.transform_zeros(zeros)
            else:
                new = zeros.T.to(scales.dtype)
                new = new * scales if native.zeros_mode == "rescale" else new
            self.zeros = new.contiguous().to(device)
        if self.bias is not None:
            self.bias = _checked(source, "bias", (N,)).detach().to(device, native.out_format.torch_dtype)

    # State dicts.

    @property
    def _layout(self) -> layouts.WeightLayout:
        return self.bitblas_matmul.operator.weight_layout

    def _tag(self) -> torch.Tensor:
        """Return the format of the weight in a state dict, as text in bytes."""
        c = self.bitblas_matmul.config.native
        zeros = c.zeros_mode if c.with_zeros else "none"
        text = f"bitquant plain {c.W_format.name} group {c.group} zeros {zeros}"
        return torch.tensor(list(text.encode()), dtype=torch.uint8)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}{_TAG}"] = self._tag()
        if self._layout != "plain":
            weight = destination[f"{prefix}{self._weight_name}"]
            destination[f"{prefix}{self._weight_name}"] = relayout.from_layout(
                weight.detach(), self.bitblas_matmul.config.native, self._layout
            )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        key, own = f"{prefix}{self._weight_name}", self._tag()
        tag = state_dict.pop(f"{prefix}{_TAG}", None)
        if key in state_dict:
            if tag is None:
                error_msgs.append(
                    f"{key}: there is no {prefix}{_TAG} beside it, as in what BitBLAS wrote; its weights may be "
                    "permuted, which their shape does not show. Load them with load_serialized_state_dict of the layer"
                )
                return
            if not torch.equal(tag.cpu(), own):
                error_msgs.append(f"{key}: must be {_text(own)!r} (got {_text(tag)!r})")
                return
            if self._layout != "plain":
                state_dict[key] = relayout.to_layout(state_dict[key], self.bitblas_matmul.config.native, self._layout)
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )

    def extra_repr(self) -> str:
        """Return sizes and formats for ``repr``."""
        summary = self.bitblas_matmul.config.native.problem_summary()
        return f"in_features={self.in_features}, out_features={self.out_features}, {summary}"


def _operator(config: MatmulConfig, enable_tuning: bool) -> Matmul:
    """Return the operator of a config: from the cache, from the folder of tuned ones, or a new one."""
    target = auto_detect_nvidia_target()
    if global_operator_cache.size() == 0:
        global_operator_cache.load_from_database(get_database_path(), target)
    operator = global_operator_cache.get(config)
    if operator is None:
        operator = Matmul(config, target=target, enable_tuning=enable_tuning)
        if enable_tuning:
            global_operator_cache.add(config, operator)
            global_operator_cache.save_into_database(get_database_path(), target)
            logger.info("tuned %s, and kept it in %s", operator, get_database_path())
    return operator


def _checked(source: Any, name: str, shape: tuple[int, ...]) -> torch.Tensor:
    tensor = getattr(source, name, None)
    if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != shape:
        got = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise ConfigError(f"'gptq_module' must have {name} of shape {shape} (got {got})", **{name: got})
    return tensor.detach()


def _check_order(g_idx: Any, K: int, group: int) -> None:
    """Check that the columns of a GPTQ weight stand in the order of their groups."""
    if (
        isinstance(g_idx, torch.Tensor)
        and g_idx.numel()
        and not torch.equal(g_idx.cpu().to(torch.int64), torch.arange(K) // group)
    ):
        raise ConfigError(
            "'gptq_module' must have its columns in the order of their groups (its g_idx has another one, desc_act); "
            "bitquant.read_checkpoint reads such weights"
        )


def _text(tag: torch.Tensor) -> str:
    return bytes(tag.to(torch.uint8).cpu().tolist()).decode(errors="replace")
