# SPDX-License-Identifier: Apache-2.0
"""Programs of BitBLAS's users, and what `bitquant.bitblas` offers them; tests/gpu runs the same scripts on a GPU."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import logging
import pickle
import sys
import threading
import types

import numpy as np
import pytest
import torch

from bitquant import bitblas as compat
from bitquant.bitblas import TransformKind
from bitquant.bitblas.cache import OperatorCache, get_database_path, global_operator_cache
from bitquant.bitblas.quantization.utils import general_compress
from bitquant.errors import BuildError, CallError, ConfigError, UnsupportedError


@pytest.fixture
def device():
    return "cpu"


@pytest.fixture(params=["bitquant", "bitquant.bitblas"])
def bitblas(request):
    """What a user imports as bitblas: for plain scripts the native names serve as well."""
    return importlib.import_module(request.param)


def close(output, reference, magnitude=None):
    """Whether the error is that of float16 operands and output; of sums that cancel, relative to their terms."""
    return torch.linalg.norm(output.double() - reference) <= 1e-3 * torch.linalg.norm(
        reference if magnitude is None else magnitude
    )


# Scripts.


def test_tiny_matrix_without_scaling(bitblas, device):
    """M=1, K=8, N=5, 4-bit weights, no scaling, group_size=-1."""
    matmul_config = bitblas.MatmulConfig(
        M=1, N=5, K=8, A_dtype="float16", W_dtype="uint4", accum_dtype="float16", out_dtype="float16", layout="nt",
        with_bias=False, group_size=-1, with_scaling=False, with_zeros=False, zeros_mode=None,
    )  # fmt: skip
    matmul = bitblas.Matmul(config=matmul_config, target=device)
    input_tensor = torch.rand((1, 8), dtype=torch.float16).to(device)
    weight_tensor = torch.randint(0, 7, (5, 8), dtype=torch.int8).to(device)
    weight_tensor_int4 = matmul.transform_weight(weight_tensor)
    output_tensor = matmul(input_tensor, weight_tensor_int4)
    assert close(output_tensor, input_tensor.double() @ weight_tensor.double().T)


def test_rescale_with_negative_zeros(bitblas, device):
    """storage_dtype int8, groups of 4, zeros_mode rescale, int64 weights, negative zero points among them."""
    matmul_config = bitblas.MatmulConfig(
        M=1, N=5, K=8, A_dtype="float16", W_dtype="uint4", accum_dtype="float16", out_dtype="float16", layout="nt",
        with_bias=False, group_size=4, with_scaling=True, with_zeros=True, zeros_mode="rescale", storage_dtype="int8",
    )  # fmt: skip
    matmul = bitblas.Matmul(config=matmul_config, enable_tuning=False, target=device)
    input_tensor = torch.rand((1, 8), dtype=torch.float16).to(device)
    weight_tensor = torch.randint(0, 16, (5, 8), dtype=torch.int64).to(device)
    scale = torch.rand((5, 2), dtype=torch.float16).to(device)
    zeros = (torch.rand((5, 2)) * 4 - 2).half().to(device)
    assert (zeros < 0).any()
    output_tensor = matmul(input_tensor, matmul.transform_weight(weight_tensor), scale=scale, zeros=zeros)
    weight = weight_tensor.double() * scale.double().repeat_interleave(4, 1) - zeros.double().repeat_interleave(4, 1)
    assert close(output_tensor, input_tensor.double() @ weight.T, input_tensor.double().abs() @ weight.abs().T)


def test_quick_start(bitblas, device):
    """1024 x 1024, groups of 128, zeros_mode original."""
    in_features, out_features, group_size = 1024, 1024, 128
    matmul_config = bitblas.MatmulConfig(
        M=1, N=out_features, K=in_features, A_dtype="float16", W_dtype="uint4", accum_dtype="float16",
        out_dtype="float16", layout="nt", with_bias=False, group_size=group_size, with_scaling=True, with_zeros=True,
        zeros_mode="original",
    )  # fmt: skip
    matmul = bitblas.Matmul(config=matmul_config, target=device)
    input_shape, weight_shape = (1, 1024), (1024, 1024)
    scaling_shape = zeros_shape = (1024, 1024 // 128)
    input_tensor = torch.rand(input_shape, dtype=torch.float16).to(device)
    weight_tensor = torch.randint(0, 7, weight_shape, dtype=torch.int8).to(device)
    scaling = torch.rand(scaling_shape, dtype=torch.float16).to(device)
    zeros = torch.rand(zeros_shape, dtype=torch.float16).to(device)
    output_tensor = matmul(input_tensor, matmul.transform_weight(weight_tensor), scale=scaling, zeros=zeros)
    rescaled = (weight_tensor.double() - zeros.double().repeat_interleave(128, 1)) * scaling.double().repeat_interleave(
        128, 1
    )
    assert close(output_tensor, input_tensor.double() @ rescaled.T)


def test_codes_of_signed_weights(device):
    """What a client gives to weight_transform is the value plus 2^(bits - 1); transform_weight takes the value."""
    config = compat.MatmulConfig(M=[1, 16], N=48, K=64, W_dtype="int4", with_bias=True)
    matmul = compat.Matmul(config, target=device)
    weight = torch.randint(-8, 8, (48, 64), dtype=torch.int8, device=device)
    stored = matmul.transform_weight(weight)
    assert torch.equal(matmul.weight_transform(weight.cpu() + 8).to(device), stored)
    assert torch.equal(matmul.transform_weight(weight.half()), stored)
    assert list(stored.shape) == matmul.retrieve_weight_shape()
    A, bias = torch.randn(3, 64, device=device).half(), torch.randn(48, device=device).half()
    reference = A.double() @ weight.double().T + bias.double()
    assert close(matmul(A, stored, bias), reference)  # The bias stands where the scale would.
    output = torch.full((3, 48), torch.nan, dtype=torch.float16, device=device)
    matmul.torch_func(A, stored, bias, output)
    assert close(output, reference)


def test_nf4_codes_and_table(device):
    """weight_transform takes codes of nf4, lut has their values, and torch_func takes it among the operands."""
    matmul = compat.Matmul(compat.MatmulConfig(M=1, N=32, K=64, W_dtype="nf4"), target=device)
    codes = torch.randint(0, 16, (32, 64), dtype=torch.int8)
    stored = matmul.weight_transform(codes).to(device)
    A = torch.randn(1, 64, device=device).half()
    reference = A.double() @ matmul.lut.double()[codes.to(device, torch.int64)].T
    assert close(matmul(A, stored), reference)
    output = torch.full((1, 32), torch.nan, dtype=torch.float16, device=device)
    matmul.torch_func(A, stored, matmul.lut, output)
    assert close(output, reference)
    assert matmul.source_format == "nf"


def test_uint8_in_int8(device):
    """uint8 weights come and are stored as int8, bit by bit."""
    matmul = compat.Matmul(compat.MatmulConfig(M=[1], N=32, K=64, W_dtype="uint8", with_scaling=True), target=device)
    weight = torch.randint(0, 256, (32, 64), device=device)
    stored = matmul.transform_weight(weight.to(torch.uint8).view(torch.int8))
    assert stored.dtype is torch.int8
    A, scale = torch.rand(1, 64, device=device).half(), torch.rand(32, 1, device=device).half() / 64
    assert close(matmul(A, stored, scale), A.double() @ (weight.double() * scale.double()).T)


def test_layer_of_gptq(device):
    """A layer takes weights of GPTQ, v1 and v2, for every zeros_mode, and its result is that of the codes."""
    torch.manual_seed(0)
    N, K, g = 32, 64, 32
    codes, zeros = torch.randint(0, 16, (K, N)), torch.randint(1, 16, (K // g, N))
    source = types.SimpleNamespace(
        qweight=torch.from_numpy(_words(codes.numpy())),
        scales=(torch.rand(K // g, N) * 0.05 + 0.01).half(),
        g_idx=torch.arange(K) // g,
        bias=torch.randn(N).half(),
    )
    expanded = source.scales.double().repeat_interleave(g, 0)
    weight = ((codes - zeros.repeat_interleave(g, 0)) * expanded).T.to(device)
    A = torch.randn(2, 3, K, device=device).half()
    reference = A.double() @ weight.T + source.bias.to(device).double()
    for mode in ("original", "rescale", "quantized"):
        layer = compat.Linear(
            K, N, bias=True, W_dtype="uint4", group_size=g, with_scaling=True, with_zeros=True, zeros_mode=mode,
            opt_M=[1],
        )  # fmt: skip
        source.qzeros = torch.from_numpy(_words((zeros - 1).numpy().T).T.copy())
        layer.repack_from_gptq(source, device)
        v1 = layer.to(device)(A)
        source.qzeros = torch.from_numpy(_words(zeros.numpy().T).T.copy())
        layer.repack_from_gptq_v2(source)
        layer.to(device)
        # Rescaled zero points are rounded to float16 beside the scales.
        bound = None if mode != "rescale" else A.double().abs() @ weight.abs().T + reference.abs()
        assert close(v1, reference, bound)
        assert torch.equal(layer(A), v1)
    source.g_idx = source.g_idx.flip(0)
    with pytest.raises(ConfigError, match="order of their groups"):
        layer.repack_from_gptq(source)


def test_symmetric_layer_of_gptq(device):
    """An int8 or int4 layer without zero points takes symmetric GPTQ weights, and refuses others."""
    N, K = 32, 64
    for bits in (4, 8):
        middle = 1 << (bits - 1)
        codes = torch.randint(0, 2 * middle, (K, N))
        source = types.SimpleNamespace(
            qweight=torch.from_numpy(_words(codes.numpy(), bits)),
            qzeros=torch.from_numpy(_words(np.full((N, 1), middle), bits).T.copy()),
            scales=torch.full((1, N), 1 / middle).half(),
        )
        layer = compat.Linear(K, N, W_dtype=f"int{bits}", with_scaling=True, opt_M=[1])
        layer.repack_from_gptq_v2(source)
        A = torch.randn(1, K, device=device).half()
        assert close(layer.to(device)(A), A.double() @ ((codes - middle).double().T / middle).to(device).T)
        source.qzeros = source.qzeros + 1
        with pytest.raises(ConfigError, match="zero points"):
            layer.repack_from_gptq_v2(source)


def _words(codes, bits=4):
    """Pack codes (K, N) down the columns into int32 words, (K * bits / 32, N), as GPTQ does."""
    per_word = 32 // bits
    words = np.zeros((codes.shape[0] // per_word, codes.shape[1]), np.uint32)
    for i in range(per_word):
        words |= codes[i::per_word].astype(np.uint32) << np.uint32(bits * i)
    return words.view(np.int32)


# Configs.


def test_config_is_resolved_as_in_bitblas():
    """None becomes what BitBLAS makes of it, and equal fields make equal configs."""
    config = compat.MatmulConfig(N=64, K=64, W_dtype="uint4", with_bias=None, with_scaling=None, with_zeros=None,
                                 zeros_mode=None, group_size=32, storage_dtype="uint32")  # fmt: skip
    assert config.M == (1, 16, 32, 64, 128, 256, 512, 1024)
    assert (config.with_bias, config.zeros_mode, config.fast_decoding, config.propagate_b) == (
        False,
        "original",
        True,
        0,
    )
    assert config.native.group_size == -1  # There is nothing that a group shares.
    again = compat.MatmulConfig(**json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)
    assert again.native == config.native
    assert compat.MatmulConfig(M=[1, 32], N=64, K=64) == compat.MatmulConfig(M=(1, 32), N=64, K=64)
    batching = compat.MatmulConfig(N=64, K=64, optimize_stratety=1)
    assert batching.M[0] == 16
    assert batching.propagate_b is TransformKind.LDMatrixTransform
    assert compat.MatmulConfig(M=16, N=64, K=64, propagate_b=False).propagate_a is TransformKind.NonTransform
    assert compat.MatmulConfig(N=64, K=64, A_dtype="bfloat16", accum_dtype="bfloat16").W_dtype == "bfloat16"


@pytest.mark.parametrize(
    ("fields", "is_plain"),
    [
        ({}, False),
        ({"fast_decoding": False}, True),
        ({"propagate_b": False}, False),
        ({"fast_decoding": False, "W_dtype": "nf4"}, False),  # BitBLAS has no other way for it.
    ],
)
def test_what_asks_for_the_plain_layout(fields, is_plain):
    """fast_decoding=False where BitBLAS would have interleaved, and nothing else; so does a copy."""
    config = compat.MatmulConfig(**{"N": 64, "K": 64, "W_dtype": "uint4", **fields})
    for c in (config, dataclasses.replace(config)):
        assert c.native.wants_plain_layout is is_plain


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"A_dtype": "int4"}, "'A_dtype' must be one of"),
        ({"layout": "tt"}, "'layout' must be"),
        ({"propagate_b": 7}, "'propagate_b' must be a bool, None or a TransformKind"),
        ({"optimize_stratety": 5}, "'optimize_stratety' must be one of 0"),
        ({"storage_dtype": None}, "'storage_dtype' must be a string"),
        ({"K": None}, "'K' must be an int"),
    ],
)
def test_config_refuses_in_words(fields, words):
    """What bitquant does not compute is refused when the config is made."""
    with pytest.raises(ConfigError, match=words):
        compat.MatmulConfig(**{"N": 64, "K": 64, **fields})


# Packing.


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_general_compress_of_arrays(bits):
    """float16 arrays of integers, tensors and other storage types give the bytes of the codes."""
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (3, 32))
    expected = np.zeros((3, 32 * bits // 8), np.uint8)
    for j in range(32):
        expected[:, j * bits // 8] |= (codes[:, j] << (j * bits % 8)).astype(np.uint8)
    for given in (codes, codes.astype(np.float16), codes.astype(np.uint8)):
        assert np.array_equal(general_compress(given, bits).view(np.uint8), expected)
    assert torch.equal(general_compress(torch.from_numpy(codes), bits, torch.uint8), torch.from_numpy(expected))
    assert np.array_equal(general_compress(codes, bits, np.int32), expected.view(np.int32))


def test_general_compress_refuses():
    """A code that would reach its neighbour's bits, a fraction, NaN, and bytes that fill no word are errors."""
    with pytest.raises(ConfigError, match="out of range"):
        general_compress(np.full((1, 8), 16), 4)
    for value in (0.5, np.nan, 1e6):
        with pytest.raises(ConfigError, match="must hold integers"):
            general_compress(np.full((1, 8), value, np.float32), 4)
    with pytest.raises(ConfigError, match="multiple of 4 bytes"):
        general_compress(np.zeros((1, 4), np.int8), 4, "int32")


# Weights that BitBLAS stored. Here is how its kernels read them: what they take for element i of the weight.


def _decoded(stored, bits, A_dtype):
    """The codes that BitBLAS's decode functions take out of a row of bytes (bitblas/gpu/intrin/lop3.py)."""
    found = []
    if A_dtype == "int8" or bits == 4:
        step, mask = (16, None) if A_dtype == "float16" else (8, None)
        if bits == 1:  # decode_i1u_to_i8s: two bytes for sixteen values
            for half in stored.view(np.uint16).tolist():
                word = (half & 0x0F0F) | ((half & 0xF0F0) << 12)
                found += [word >> (i + 8 * lane) & 1 for i in range(4) for lane in range(4)]
            return found
        mask = (1 << bits) - 1
        for word in stored.view(np.uint32).tolist():
            found += [
                word >> (i * bits + step * lane) & mask for i in range(step // bits) for lane in range(32 // step)
            ]
        return found
    assert bits == 2  # decode_i2u_to_f16: two bytes for eight values
    for half in stored.view(np.uint16).tolist():
        word = (half & 0x00FF) | ((half & 0xFF00) << 8)
        found += [word >> (i * 2 + 16 * lane) & 3 for i in range(4) for lane in range(2)]
    return found


@pytest.mark.parametrize(("bits", "A_dtype"), [(4, "float16"), (2, "float16"), (4, "int8"), (2, "int8"), (1, "int8")])
def test_interleaved_weight(bits, A_dtype):
    """Unpacking gives the values that BitBLAS's decode functions find in the bytes, whatever these are."""
    N, K = 3, 64
    rng = np.random.default_rng(bits)
    stored = rng.integers(-128, 128, (N, K * bits // 8)).astype(np.int8)
    config = compat.MatmulConfig(M=[1], N=N, K=K, A_dtype=A_dtype, W_dtype=f"uint{bits}", out_dtype="float32",
                                 fast_decoding=True)  # fmt: skip
    expected = torch.tensor([_decoded(row, bits, A_dtype) for row in stored])
    assert torch.equal(compat.unpack_serialized_weight(torch.from_numpy(stored), config).long(), expected)
    signed = dataclasses.replace(config, W_dtype=f"int{bits}")
    values = 2 * expected - 1 if bits == 1 else expected - (1 << (bits - 1))
    assert torch.equal(compat.unpack_serialized_weight(stored, signed).long(), values)


def _tiled(weight, kind, width):
    """BitBLAS's tiles of a weight, element by element as its tensor expressions have it."""
    half, (N, K) = width // 2, weight.shape
    order = np.empty((16, width, 2), int)
    for i in range(16):
        for j in range(width):
            thread, local = 2 * i + j // half, j % half
            # kind 2: the matrix row that ldmatrix's thread points at
            source = (i, j) if kind == 1 else (thread // 16 * 8 + thread % 8, thread % 16 // 8 * half + local)
            target = (i, j)
            if kind == 3:  # the register in which mma wants it
                per = half // 4
                flat = (thread % 8 * 4 + local // per) * half + thread // 8 * per + local % per
                target = divmod(flat, width)
            order[target] = source
    tiles = np.empty_like(weight).reshape(N // 16, K // width, 16, width)
    for n in range(N // 16):
        for k in range(K // width):
            tile = weight[16 * n : 16 * n + 16, width * k : width * k + width]
            tiles[n, k] = tile[order[..., 0], order[..., 1]]
    return tiles.reshape(N, K)


@pytest.mark.parametrize("kind", [1, 2, 3])
@pytest.mark.parametrize(("A_dtype", "width"), [("float16", 16), ("int8", 32)])
def test_tiled_weight(A_dtype, width, kind):
    """Unpacking undoes each kind of tile, of a packed weight and of one of A's type."""
    rng = np.random.default_rng(kind)
    codes = rng.integers(0, 16, (32, 64)).astype(np.int8)
    config = compat.MatmulConfig(M=16, N=32, K=64, A_dtype=A_dtype, W_dtype="uint4", out_dtype="float32",
                                 fast_decoding=False, propagate_b=kind)  # fmt: skip
    packed = general_compress(_tiled(codes, kind, width), 4)
    assert np.array_equal(compat.unpack_serialized_weight(packed, config).numpy(), codes)
    native = dataclasses.replace(config, W_dtype=A_dtype)
    plain = rng.integers(-100, 100, (32, 64)).astype(A_dtype)
    assert np.array_equal(compat.unpack_serialized_weight(_tiled(plain, kind, width), native).numpy(), plain)


def test_unpacking_refuses():
    """A lost weight, another size, another type, and a width that BitBLAS does not have are errors."""
    config = compat.MatmulConfig(M=[1], N=4, K=64, W_dtype="uint1")
    with pytest.raises(UnsupportedError, match="is lost"):
        compat.unpack_serialized_weight(np.zeros((4, 8), np.int8), config)
    plain = dataclasses.replace(config, fast_decoding=False)
    assert compat.unpack_serialized_weight(np.full((4, 8), 0x55, np.int8), plain)[0, :2].tolist() == [1, 0]
    with pytest.raises(ConfigError, match="must have 32 elements"):
        compat.unpack_serialized_weight(np.zeros((4, 4), np.int8), plain)
    with pytest.raises(ConfigError, match=r"must be torch\.int8"):
        compat.unpack_serialized_weight(np.zeros((4, 8), np.float16), plain)
    with pytest.raises(UnsupportedError, match="1, 2 and 4 bits"):
        compat.unpack_serialized_weight(
            np.zeros((4, 24), np.int8), compat.MatmulConfig(M=[1], N=4, K=64, W_dtype="uint3")
        )


def test_state_dict_of_bitblas_is_not_taken_for_ones_own():
    """A layer refuses a state dict without its mark, loads BitBLAS's by name, and its own as it is."""
    layer = compat.Linear(64, 16, W_dtype="uint4", with_scaling=True, opt_M=[1])
    weight = torch.randint(0, 16, (16, 64))
    layer.load_and_transform_weight(weight, torch.rand(16, 1).half())
    A = torch.randn(1, 64).half()
    other = compat.Linear(64, 16, W_dtype="uint4", with_scaling=True, opt_M=[1])
    other.load_state_dict(copy.deepcopy(layer.state_dict()))
    assert torch.equal(other(A), layer(A))
    of_bitblas = {name: t.clone() for name, t in layer.state_dict().items() if name != "weight_format"}
    with pytest.raises(RuntimeError, match="load_serialized_state_dict"):
        other.load_state_dict(of_bitblas)
    with pytest.raises(RuntimeError, match="uint4"):
        compat.Linear(64, 16, W_dtype="int4", with_scaling=True, opt_M=[1]).load_state_dict(layer.state_dict())
    of_bitblas["qweight"] = general_compress(_interleaved(weight), 4)
    other.load_serialized_state_dict(of_bitblas)
    assert torch.equal(other.qweight, layer.qweight)
    assert torch.equal(other(A), layer(A))


def test_state_dict_of_a_layer_for_a_gpu(monkeypatch):
    """State dicts hold the plain packing where the layer does not, so that they load anywhere."""
    monkeypatch.setattr("bitquant.bitblas.module.auto_detect_nvidia_target", lambda: "sm_90a")
    layer, other = (compat.Linear(128, 64, W_dtype="uint4", with_scaling=True, opt_M=[1]) for _ in range(2))
    assert layer.bitblas_matmul.operator.weight_layout == "fragment"
    weight = torch.randint(0, 16, (64, 128))
    layer.load_and_transform_weight(weight, torch.rand(64, 1).half())
    state = layer.state_dict()
    assert torch.equal(state["qweight"], general_compress(weight, 4))
    other.load_state_dict(state)
    assert torch.equal(other.qweight, layer.qweight)
    plain = {name: tensor for name, tensor in state.items() if name != "weight_format"}
    other.load_serialized_state_dict({**plain, "qweight": general_compress(_interleaved(weight), 4)})
    assert torch.equal(other.qweight, layer.qweight)


def _interleaved(codes):
    """BitBLAS's order of eight codes in a word: the even ones below the odd ones."""
    return codes.unflatten(1, (-1, 8))[..., [0, 2, 4, 6, 1, 3, 5, 7]].flatten(1)


def test_layer_of_the_type_of_A():
    """A float16 layer keeps its weight under the name weight, and takes a state dict of its own."""
    layer = compat.Linear(64, 32, bias=True, opt_M=[1, 16])
    assert layer.consistent
    plain = torch.nn.Linear(64, 32).half()
    layer.load_and_transform_weight(plain.weight.detach(), bias=plain.bias.detach())
    A = torch.randn(2, 64).half()
    assert close(layer(A), A.double() @ plain.weight.double().T + plain.bias.double())
    with pytest.raises(ConfigError, match="has none"):
        layer.load_and_transform_weight(plain.weight.detach(), scales=plain.bias)
    layer.warmup()


# Operators.


def test_operands_are_counted():
    """Too many or too few tensors after W are named before anything is launched."""
    matmul = compat.Matmul(compat.MatmulConfig(M=1, N=16, K=64, W_dtype="uint4", with_scaling=True), target="cpu")
    A, W = torch.rand(1, 64).half(), torch.zeros(16, 32, dtype=torch.int8)
    with pytest.raises(CallError, match="must be scale, which the config has \\(got 0 tensors\\)"):
        matmul(A, W)
    with pytest.raises(CallError, match="got 2 tensors"):
        matmul(A, W, A, A)
    with pytest.raises(CallError, match="where D is written"):
        matmul.torch_func(A, W)


def test_attributes_that_clients_read():
    """Config fields, map of formats, ranges, sources, and a latency in milliseconds."""
    config = compat.MatmulConfig(M=[1, 16], N=64, K=64, W_dtype="uint2")
    matmul = compat.Matmul(config, target="cpu", name="mine")
    assert (matmul.N, matmul.W_dtype, matmul.bit, matmul.name) == (64, "uint2", 2, "mine")
    assert matmul.BITBLAS_TRICK_DTYPE_MAP["e4m3_float8"] == ("fp_e4m3", 8)
    assert matmul.BITBLAS_TRICK_DTYPE_MAP["bfloat16"] == ("bf", 16)
    assert matmul.dynamic_range == {"m": (1, 16)}
    assert (matmul.lib, matmul.lut, matmul.input_transform) == (None, None, None)
    assert matmul.torch_output_dtype is torch.float16
    assert not matmul.propagate_b
    assert "define" in matmul.get_source(target="llvm")
    assert len(matmul.scheduled_ir_module.functions) == 2
    assert 0 < matmul.profile_latency({"m": 1}) < 50
    assert compat.Matmul(compat.MatmulConfig(M=1, N=16, K=16), target="cpu").weight_transform is None
    again = pickle.loads(pickle.dumps(matmul))  # noqa: S301
    assert again.config == config
    with pytest.raises(ConfigError, match=r"MatmulConfig of bitquant\.bitblas"):
        compat.Matmul(config.native)


def test_tuning_on_a_cpu_does_nothing_and_says_so(caplog):
    """A client that tunes by itself runs on a CPU, where what is measured could not be kept."""
    with caplog.at_level(logging.INFO, "bitquant.bitblas"):
        compat.Matmul(compat.MatmulConfig(M=1, N=16, K=64, W_dtype="uint4"), target="cpu", enable_tuning=True)
    assert "not tuned, because records are of GPUs" in caplog.text


def test_layer_is_compiled_whole():
    """torch.compile takes a layer without a graph break, for a growing number of rows."""
    layer = compat.Linear(64, 16, W_dtype="uint4", with_scaling=True, opt_M=[1, 16])
    layer.load_and_transform_weight(torch.randint(0, 16, (16, 64)), torch.rand(16, 1).half())
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    for rows in (1, 3, 4):
        A = torch.randn(rows, 64).half()
        assert torch.equal(compiled(A), layer(A))


# The cache of operators.


def test_database_keeps_operators(tmp_path):
    """What is saved is found by an equal config in another cache; an entry that is damaged is left out, and logged."""
    cache, config = OperatorCache(), compat.MatmulConfig(M=[1], N=16, K=64, W_dtype="uint4", group_size=None)
    assert cache.get(config) is None
    cache.load_from_database(tmp_path / "none", "cpu")
    cache.add(config, compat.Matmul(config, target="cpu"))
    threads = [threading.Thread(target=cache.save_into_database, args=(tmp_path, "cpu")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (file,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    other = OperatorCache()
    other.load_from_database(str(tmp_path), "llvm")
    assert other.size() == 1
    assert other.get(dataclasses.replace(config)).config == config
    elsewhere = OperatorCache()
    elsewhere.load_from_database(tmp_path, "sm_90a")
    assert elsewhere.size() == 0
    with pytest.raises(BuildError, match="cannot be written"):
        cache.save_into_database(file, "cpu")
    file.write_text(file.read_text()[:-20])
    elsewhere.load_from_database(tmp_path, "cpu")
    assert elsewhere.size() == 0


def test_database_keeps_what_tuning_found(tmp_path):
    """Records of a tuned operator come back with it, and a tuned operator replaces an entry that was not."""
    from bitquant.schedule.records import Record

    config = compat.MatmulConfig(M=[1], N=64, K=128, W_dtype="uint4")
    matmul = compat.Matmul(config, target="sm_90a")
    cache = OperatorCache()
    cache.add(config, matmul)
    cache.save_into_database(tmp_path)
    choice = matmul.operator.choices[1]
    problem = {k: v for k, v in config.native.problem().items() if k != "M"}
    matmul.records = (Record(problem, 1, "sm_90a", "a GPU", choice.rule, choice.hint, 2.0, 1.0),)
    cache.save_into_database(tmp_path)
    other = OperatorCache()
    other.load_from_database(tmp_path, "cuda -arch=sm_90")
    loaded = other.get(config)
    assert loaded.records == matmul.records
    assert loaded.operator.choices[1].origin.startswith("record")


def test_database_path_is_in_the_cache(monkeypatch, tmp_path):
    """Clients keep operators inside bitquant's own folder, which is made for this user alone; layers look there."""
    config = compat.MatmulConfig(M=1, N=16, K=16)
    matmul = compat.Matmul(config, target="cpu")
    folder = tmp_path / "new"
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(folder))
    assert get_database_path() == str(folder / "bitblas")
    assert not folder.exists()
    global_operator_cache.clear()
    global_operator_cache.add(config, matmul)
    global_operator_cache.save_into_database()
    assert folder.stat().st_mode & 0o077 == 0
    global_operator_cache.clear()
    compat.Linear(64, 16, W_dtype="uint4", opt_M=[1], enable_tuning=True)
    assert global_operator_cache.size() == 2
    global_operator_cache.clear()
    compat.Linear(64, 16, W_dtype="uint4", opt_M=[1])
    assert global_operator_cache.size() == 2
    global_operator_cache.clear()


# The module.


@pytest.fixture
def not_installed(monkeypatch):
    """No module has the name bitblas, and none keeps it."""

    def names():
        return [name for name in sys.modules if name.split(".")[0] == "bitblas"]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in names():
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in names():
        del sys.modules[name]


@pytest.mark.usefixtures("not_installed")
def test_install_makes_imports_find_it(monkeypatch):
    """Import bitblas and its submodules are this package, after install() and not before; others are not found."""
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("bitblas")
    compat.install()
    compat.install()
    names = {
        "": ("tvm", "Linear"),
        ".cache": ("OperatorCache", "get_database_path", "global_operator_cache"),
        ".module": ("Linear",),
        ".ops.general_matmul": ("Matmul", "MatmulConfig"),
        ".quantization.utils": ("general_compress",),
        ".testing": (),
        ".utils": ("auto_detect_nvidia_target",),
    }
    for module, wanted in names.items():
        assert set(wanted) <= set(dir(importlib.import_module(f"bitblas{module}")))
    import bitblas

    assert bitblas is compat
    assert bitblas.cache is compat.cache
    assert sys.modules["bitblas.ops.general_matmul"].Matmul is bitblas.ops.Matmul is compat.Matmul
    assert sys.modules["bitblas.module"].Linear is bitblas.Linear
    assert bitblas.__spec__.name == "bitquant.bitblas"
    monkeypatch.setattr(bitblas, "auto_detect_nvidia_target", lambda gpu_id=0: "llvm")
    with pytest.raises(ModuleNotFoundError) as missing:
        importlib.import_module("bitblas.tl.lower")
    assert missing.value.name == "bitblas.tl"


def test_install_refuses_another_bitblas(monkeypatch):
    """A BitBLAS that has been imported is not replaced under its users."""
    monkeypatch.setitem(sys.modules, "bitblas", types.ModuleType("bitblas"))
    with pytest.raises(UnsupportedError, match="imported already"):
        compat.install()


def test_version_and_log_level():
    """Clients ask for 0.1.0.post1 at least, and set a level by name or number."""
    from packaging.version import parse

    assert parse(compat.__version__) >= parse("0.1.0.post1")
    log = logging.getLogger("bitquant.bitblas")
    before = log.level
    compat.set_log_level("debug")
    assert log.level == logging.DEBUG
    compat.set_log_level(before)
    assert log.level == before


def test_marks_of_tests():
    """torch_assert_close counts elements, NaN among them; marks skip what is not here."""
    from bitquant.bitblas import testing

    a = torch.zeros(1000)
    b = a.clone()
    b[0] = 1
    assert testing.torch_assert_close(a, b)
    b[1] = torch.nan
    with pytest.raises(AssertionError, match="2 of 1000"):
        testing.torch_assert_close(a, b)
    assert testing.requires_package("no_such_package").args == (True,)
    assert testing.requires_package("torch").args == (False,)
