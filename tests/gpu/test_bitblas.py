# SPDX-License-Identifier: Apache-2.0
"""The scripts of tests/unit/test_bitblas.py on a GPU."""

from __future__ import annotations

import pytest
import torch

import bitquant.bitblas as bq_bitblas
from tests.unit.test_bitblas import (  # noqa: F401  pytest collects them here with this file's fixture
    bitblas,
    test_codes_of_signed_weights,
    test_layer_of_gptq,
    test_nf4_codes_and_table,
    test_quick_start,
    test_rescale_with_negative_zeros,
    test_symmetric_layer_of_gptq,
    test_tiny_matrix_without_scaling,
    test_uint8_in_int8,
)


@pytest.fixture
def device():
    return "cuda"


def test_state_dict_holds_the_plain_weight():
    """A layer on the GPU saves its weight in the plain packing, and loads it, BitBLAS's own too, into its layout."""
    layers = [bq_bitblas.Linear(128, 64, W_dtype="uint4", with_scaling=True, opt_M=[1, 16]).cuda() for _ in range(3)]
    weight = torch.randint(0, 16, (64, 128))
    layers[0].load_and_transform_weight(weight.cuda(), torch.rand(64, 1).half().cuda())
    state = layers[0].state_dict()
    assert torch.equal(state["qweight"].cpu(), bq_bitblas.quantization.general_compress(weight, 4))
    layers[1].load_state_dict(dict(state))
    # BitBLAS's order of eight codes in a word: the even ones below the odd ones.
    interleaved = weight.view(64, 16, 8)[..., [0, 2, 4, 6, 1, 3, 5, 7]].reshape(64, 128)
    state = {name: tensor for name, tensor in state.items() if name != "weight_format"}
    layers[2].load_serialized_state_dict({**state, "qweight": bq_bitblas.quantization.general_compress(interleaved, 4)})
    A = torch.randn(3, 128, device="cuda").half()
    for layer in layers[1:]:
        assert torch.equal(layer.qweight, layers[0].qweight)
        assert torch.equal(layer(A), layers[0](A))


def test_tuned_operator_comes_back(tmp_path):
    """hardware_aware_finetune keeps its records in a folder, and an operator that is loaded runs the same kernels."""
    config = bq_bitblas.MatmulConfig(M=[1], N=256, K=256, W_dtype="uint4")
    matmul, cache = bq_bitblas.Matmul(config), bq_bitblas.cache.OperatorCache()
    matmul.hardware_aware_finetune(topk=3)
    cache.add(config, matmul)
    cache.save_into_database(tmp_path)
    cache.clear()
    cache.load_from_database(tmp_path)
    loaded = cache.get(config)
    assert loaded.records == matmul.records
    hints = [operator.operator.choices[1].hint for operator in (matmul, loaded)]
    assert hints[0] == hints[1]
    assert 0 < loaded.profile_latency() < 10
