# SPDX-License-Identifier: Apache-2.0
"""Numbers at the end of a type's range, infinities and NaN: what a result is then, whatever kernel computes it.

`check_...` functions take the target, so that `tests/gpu/test_extremes.py` asks the same of a GPU's kernels.
"""

from __future__ import annotations

import itertools

import pytest
import torch

import bitquant as bq
from bitquant.testing.oracle import code_values

INTEGERS = {"int8": torch.int8, "int32": torch.int32}
#: One row and few, as one kernel serves them, and many.
ROWS = (1, 3, 8, 40)


def make(target, **fields):
    M = (1, 16) if target == "cpu" else (1, 4, 16, 64)  # A CPU has one kind of kernel for all but a single row.
    return bq.Matmul(bq.MatmulConfig(**{"M": M, "N": 32, "K": 64, **fields}), target=target)


def check_integers_saturate(target, W_dtype, out_dtype):
    """int32 sums plus a bias: every combination of extremes is the exact sum, or the end of the type nearest to it."""
    operator = make(target, A_dtype="int8", W_dtype=W_dtype, out_dtype=out_dtype, with_bias=True)
    device, ends = ("cpu" if target == "cpu" else "cuda"), torch.iinfo(INTEGERS[out_dtype])
    biases = torch.tensor([ends.min, ends.min + 1, -1, 0, 1, ends.max - 1, ends.max, 7] * 4)
    for m, a, w in itertools.product(ROWS, (-128, -1, 0, 127), (operator.config.W_format.min_value, 1)):
        A = torch.full((m, 64), a, dtype=torch.int8, device=device)
        W = operator.transform_weight(torch.full((32, 64), int(w), dtype=torch.int8, device=device))
        D = operator(A, W, bias=biases.to(INTEGERS[out_dtype]).to(device)).cpu()
        expected = (64 * a * int(w) + biases).clamp(ends.min, ends.max)
        assert torch.equal(D.long(), expected.expand(m, 32)), (m, a, w)


def check_integers_of_what_is_no_number(target, out_dtype, **fields):
    """NaN is 0, infinities are the ends of the type, and what stands beside them is right."""
    operator = make(target, W_dtype="int8", out_dtype=out_dtype, **fields)
    device, ends = ("cpu" if target == "cpu" else "cuda"), torch.iinfo(INTEGERS[out_dtype])
    optional = {}
    if operator.config.with_scaling:
        optional["scale"] = torch.ones(operator.config.scale_shape, device=device).to(
            operator.signature.expected["scale"].dtype
        )
    for m in ROWS:
        A = torch.zeros(m, 64, device=device)
        A[:, 0] = 2.0
        values = {float("nan"): 0, float("inf"): ends.max, float("-inf"): ends.min}
        for row, value in enumerate((*values, 1.0)):
            if row < m:
                A[row, 3] = value
        W = operator.transform_weight(torch.ones(32, 64, dtype=torch.int8, device=device))
        D = operator(A.to(operator.config.A_format.torch_dtype), W, **optional).cpu()
        expected = torch.tensor([*values.values(), 3, *[2] * m][:m])
        assert torch.equal(D.long(), expected[:, None].expand(m, 32)), m


def check_not_finite_stays_in_its_row(target, **fields):
    """An infinity or NaN in a row of A leaves no number in that row of D, for any m, and no trace in others."""
    operator = make(target, K=128, out_dtype="float32", group_size=64, with_scaling=True, **fields)
    device = "cpu" if target == "cpu" else "cuda"
    config, expected = operator.config, operator.signature.expected
    torch.manual_seed(0)
    W = operator.transform_weight(torch.randint(0, 4, (32, 128), dtype=torch.int8, device=device))
    optional = {"scale": (torch.rand(config.scale_shape, device=device) + 0.5).to(expected["scale"].dtype)}
    if config.with_zeros:
        optional["zeros"] = (torch.rand(config.zeros_shape, device=device) * 4 + 0.1).to(expected["zeros"].dtype)
    for m, value in itertools.product(ROWS, (float("nan"), float("inf"), float("-inf"))):
        A = torch.randn(m, 128, device=device)
        right = operator(A.to(config.A_format.torch_dtype), W, **optional)
        A[m - 1, 40] = value
        D = operator(A.to(config.A_format.torch_dtype), W, **optional)
        assert torch.equal(D[: m - 1], right[: m - 1])
        assert not D[m - 1].isfinite().any(), (m, value)


def check_subnormals_count(target, **fields):
    """Subnormal float16 numbers in A, Scale and D are what they are: each result here has few digits, and is exact."""
    operator = make(target, K=128, W_dtype="uint4", group_size=64, with_scaling=True, **fields)
    device, config = ("cpu" if target == "cpu" else "cuda"), operator.config
    codes = torch.arange(16, device=device).to(torch.int8).repeat(16)[: 32 * 8].view(32, 8).repeat(1, 16)
    W = operator.transform_weight(codes)
    least = 2.0**-24
    # A, a scale, and what a product of A and a scale is: subnormal in turn.
    for a, s in ((least, 1.0), (3 * least, 0.25), (1.0, least), (4.0, 5 * least), (2.0**-12, 2.0**-12)):
        scale = torch.full(config.scale_shape, s, device=device).to(config.scale_format.torch_dtype)
        for m in ROWS:
            A = torch.zeros(m, 128, device=device)
            A[:, 0] = a
            D = operator(A.half(), W, scale=scale).double().cpu()
            expected = (a * s * codes[:, 0].double().cpu()).to(config.out_format.torch_dtype).double()
            assert torch.equal(D, expected.expand(m, 32)), (a, s, m)


def check_every_code_of_a_scale(target, scale_dtype, exponents=(-127, 127), **fields):
    """Each code of a scale of 8 bits counts as its number exactly, NaN included, in decode(W) and in products.

    Products are looked at where |scale| is 2^x with x among `exponents`: kernels may keep a power of two apart.
    """
    fields = {"A_dtype": "bfloat16", "W_dtype": "fp4_e2m1", "group_size": 32, **fields}
    operator = make(target, N=256, K=256, out_dtype="float32", with_scaling=True, scale_dtype=scale_dtype, **fields)
    config, device = operator.config, "cpu" if target == "cpu" else "cuda"
    rows, groups = config.scale_shape
    # Few rows, where several of W share one, have codes from all of the range, too.
    codes = (256 // rows * torch.arange(rows)[:, None] + 37 * torch.arange(groups)).to(torch.uint8)
    scale = codes.view(config.scale_format.torch_dtype)
    # 1, -1 and 0.5, which bfloat16 holds times each scale.
    weight = torch.tensor([2, 10, 1], dtype=torch.int8).repeat(256 * 256 // 3 + 1)[: 256 * 256].view(256, 256)
    values = torch.from_numpy(code_values(weight, config.W_format))
    of_rows = torch.from_numpy(code_values(codes, config.scale_format)).repeat_interleave(config.rows_per_scale, 0)
    decoded = values * of_rows[:256].repeat_interleave(config.group, 1)
    W, scale = operator.transform_weight(weight.to(device)), scale.to(device)
    got = operator.dequantize(W, scale, dtype=torch.float32).double().cpu()
    assert torch.equal(got.isnan(), decoded.isnan())
    assert torch.equal(got.nan_to_num(), decoded.nan_to_num())
    least, most = (2.0**x for x in exponents)
    counts = ((decoded.abs() >= least) & (decoded.abs() <= most)) | (decoded == 0)
    for m in ROWS:
        # A row of A picks a k; what is NaN in another group of a row of W is NaN in all.
        k = torch.arange(m) * 37 % 256
        A = torch.nn.functional.one_hot(k, 256).to(torch.bfloat16).to(device)
        D = operator(A, W, scale=scale).double().cpu()
        expected = torch.where(decoded.isnan().any(1), torch.nan, decoded[:, k].T)
        seen = counts[:, k].T | expected.isnan()
        assert seen.any(0).sum() > 150
        assert torch.equal(D[seen].nan_to_num(0.5), expected[seen].nan_to_num(0.5)), m


@pytest.mark.parametrize("out_dtype", INTEGERS)
@pytest.mark.parametrize("W_dtype", ["int8", "uint4"])
@pytest.mark.sample(shows=lambda W_dtype, out_dtype: {W_dtype, ("output", out_dtype)})
def test_integers_saturate(W_dtype, out_dtype):
    """The sum of two int32 has 33 bits: it does not wrap."""
    check_integers_saturate("cpu", W_dtype, out_dtype)


@pytest.mark.parametrize("out_dtype", INTEGERS)
@pytest.mark.parametrize("fields", [{}, {"A_dtype": "float32"}, {"with_scaling": True}], ids=str)
@pytest.mark.sample(shows=lambda fields, out_dtype: {str(fields), out_dtype})
def test_integers_of_what_is_no_number(fields, out_dtype):
    """There is no NaN among integers: it is 0, as PTX's conversions have it."""
    check_integers_of_what_is_no_number("cpu", out_dtype, **fields)


@pytest.mark.parametrize(
    "fields",
    [{"W_dtype": "uint4"}, {"W_dtype": "uint2", "with_zeros": True}, {"W_dtype": "nf4", "A_dtype": "bfloat16"}],
    ids=str,
)
def test_not_finite_stays_in_its_row(fields):
    """What no number is can be seen in the result of its row, and there alone."""
    check_not_finite_stays_in_its_row("cpu", **fields)


@pytest.mark.parametrize("rows_per_scale", [1, 24])
@pytest.mark.parametrize("scale_dtype", ["float8_e8m0", "float8_e4m3"])
@pytest.mark.sample(shows=lambda scale_dtype, rows_per_scale: {scale_dtype, rows_per_scale})
def test_every_code_of_a_scale(scale_dtype, rows_per_scale):
    """Scales of 8 bits are exact, also where rows share them."""
    # Products of bfloat16 on x86 (VDPBF16PS) take subnormal numbers for zero.
    check_every_code_of_a_scale("cpu", scale_dtype, exponents=(-126, 127), rows_per_scale=rows_per_scale)


@pytest.mark.parametrize("out_dtype", ["float16", "float32"])
@pytest.mark.thorough
def test_subnormals_count(out_dtype):
    """Nothing is flushed to zero."""
    check_subnormals_count("cpu", out_dtype=out_dtype)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("zeros", [False, True])
def test_numbers_near_overflow_do_not_depend_on_the_number_of_rows(dtype, zeros):
    """A of 3e37 by codes of 15 is beyond float32 until it is scaled: on a CPU the result is right for any m."""
    operator = make(
        "cpu", K=128, A_dtype=dtype, W_dtype="uint4", out_dtype=dtype, group_size=64, with_scaling=True,
        with_zeros=zeros,
    )  # fmt: skip
    W = operator.transform_weight(torch.full((32, 128), 15, dtype=torch.int8))
    kind = operator.config.scale_format.torch_dtype
    optional = {"scale": torch.full((32, 2), 2.0**-10, dtype=kind)}
    if zeros:
        optional["zeros"] = torch.full((32, 2), 7.0, dtype=kind)
    # Exactly: sums of one sign with few digits.
    expected = 128 * 2.0**124 * (8 if zeros else 15) * 2.0**-10
    for m in (1, 2, 3, 4, 8, 40):
        D = operator(torch.full((m, 128), 2.0**124).to(kind), W, **optional)
        assert D.double().sub(expected).abs().max() <= 2.0**-7 * expected, m


@pytest.mark.parametrize(("A_dtype", "W_dtype"), [("int8", "int8"), ("int8", "uint4"), ("float8_e4m3", "float8_e4m3")])
@pytest.mark.thorough
def test_not_finite_tokens_of_layers_that_round(A_dtype, W_dtype):
    """A token with NaN or an infinity, which 8 bits do not hold, can be seen in its row of D, and there alone."""
    torch.manual_seed(0)
    layer = bq.Linear.from_float(torch.nn.Linear(64, 8), W_dtype, group_size=-1, A_dtype=A_dtype, opt_M=(1, 4))
    packed = bq.BitLinear.from_bit_linear(torch.nn.Linear(64, 8))
    for m, value in itertools.product((1, 3), (float("nan"), float("inf"), float("-inf"))):
        x = torch.randn(m, 64)
        for module in (layer, packed):
            right = module(x)
            changed = x.clone()
            changed[m - 1, 5] = value
            D = module(changed)
            assert torch.equal(D[: m - 1], right[: m - 1])
            assert not D[m - 1].isfinite().any()
