# SPDX-License-Identifier: Apache-2.0
"""What will run and for how long: the rule that operators get, records, models, and floors."""

from __future__ import annotations

import dataclasses

import pytest
from tvm.target import Target

import bitquant as bq
from bitquant.arch import SUPPORTED_ARCHS, find_gpu, gpu_arch, resolve_gpu, resolve_target, target_gpu
from bitquant.compute import select_implementation
from bitquant.compute.matmul import symbol
from bitquant.operator.persistence import target_name
from bitquant.operator.prediction import predict
from bitquant.operator.report import floor_us
from bitquant.problem import Problem
from bitquant.schedule import apply_plan, choice_of, load_records, plan, preferred_layout, schedule_module
from bitquant.schedule.records import shipped_directory
from bitquant.schedule.rules import DecodeRule, WgmmaRule

UINT4 = dict(W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True)
#: No record is of this shape.
OTHER = bq.MatmulConfig(N=1088, K=1536, **UINT4)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("BITQUANT_SCHEDULES", raising=False)


@pytest.mark.parametrize("target", ["cpu", "sm_75", "sm_80", "sm_90a"])
@pytest.mark.parametrize("m", [1, 16, 300])
def test_the_rule_is_the_one_that_schedules(target, m):
    """Rule and origin are those of the function that Matmul builds for the rung."""
    resolved = resolve_target(target)
    config = OTHER.with_M((1, 16, 256))
    found = predict(config, m, resolved)
    assert found.rung == {1: 1, 16: 16, 300: 256}[m]
    layout = preferred_layout(config, resolved)
    mod = apply_plan(select_implementation(config, layout), resolved, plan(config, resolved, layout))
    choice = choice_of(schedule_module(mod, resolved)[symbol(found.rung)])
    assert (found.rule, found.origin) == (choice.rule, choice.origin)


def test_a_record_says_what_was_measured():
    """Where a record was measured on the product, rule and time are its own; elsewhere its hint is predicted."""
    record = next(r for r in load_records(shipped_directory()) if r.rung == 1 and r.rule == "decode")
    config, target = record.config.with_M(None), resolve_target(record.arch)
    found = predict(config, 1, target)
    assert (found.rule, found.time_us, found.basis) == ("decode", record.latency_us, "record")
    assert found.origin.startswith("record sm_90a/nvidia-h200/")
    other = predict(config, 1, resolve_target("h100"))
    hint = DecodeRule.hint_type.from_dict(dict(record.hint))
    assert (other.rule, other.basis) == ("decode", "model")
    assert other.time_us == DecodeRule().predicted_us(Problem(config, 1, resolve_target("h100"), "fragment"), hint)
    assert other.time_us > found.time_us


def test_models_predict_what_no_record_says():
    """The time is that of the rule's model for its default hint: for the rung, and for m beyond the last one."""
    target = resolve_target("sm_90a")
    rule = WgmmaRule()
    for m, rows in ((200, 256), (3000, 3000)):
        found = predict(OTHER, m, target)
        hint = rule.default_hint(Problem(OTHER, found.rung, target))
        assert (found.rule, found.basis, found.origin) == ("wgmma", "model", "default")
        assert found.time_us == rule.predicted_us(Problem(OTHER, rows, target, "fragment"), hint)


def test_floors_where_no_model_predicts():
    """Without a model the time is bytes by bandwidth, computed here from shapes."""
    target, t4 = resolve_target("sm_75"), gpu_arch("sm_75")
    found = predict(OTHER, 1, target)
    N, K = OTHER.N, OTHER.K
    bytes_moved = N * K // 2 + 2 * 2 * N * K // 128 + 2 * (N + K)
    assert (found.rule, found.basis) == ("gemv", "floor")
    assert found.time_us == pytest.approx(bytes_moved / 320e9 * 1e6, rel=1e-12)
    assert found.time_us == floor_us(OTHER, 1, t4)


def test_no_time_on_a_cpu():
    """The rule of a CPU is named; no time is."""
    found = predict(OTHER, 1, resolve_target("cpu"))
    assert found.rule.startswith("cpu")
    assert (found.time_us, found.basis) == (None, None)


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("h200", "H200 SXM"), ("H100", "H100 SXM"), ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"), ("rtx4090", "RTX 4090"), ("NVIDIA GeForce RTX 5090", "RTX 5090"),
        ("NVIDIA L4", "L4"), ("NVIDIA L40S", "L40S"), ("NVIDIA A100-SXM4-40GB", "A100 40GB SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB SXM"), ("sm_90a", None), ("h300", None), ("", None),
    ],
)  # fmt: skip
def test_products_by_name(name, product):
    """A user's word and a driver's name lead to the same product; unknown ones to none."""
    found = find_gpu(name)
    assert (found.example if found else None) == product
    if found:
        of_product = {"example": "", "sm_count": 0, "bandwidth_bytes_per_s": 0, "clock_hz": 0}
        assert dataclasses.replace(found, **of_product) == dataclasses.replace(gpu_arch(found.name), **of_product)


def test_every_architecture_has_a_product():
    """The example of each architecture is found by its own name, and an architecture stands for it."""
    for name in SUPPORTED_ARCHS:
        target, gpu = resolve_gpu(name)
        assert (str(target.arch), gpu) == (name, gpu_arch(name))
        assert find_gpu(gpu.example) == gpu
    assert resolve_gpu("cpu")[1] is None
    with pytest.raises(bq.ConfigError, match="or a product: t4, a100"):
        resolve_gpu("h300")


@pytest.mark.parametrize(
    ("words", "arch"),
    [
        (("sm_90a", "sm_90", "sm90", "SM90a", "90a", "90", "9.0", "h100", "H200", "NVIDIA H100 80GB HBM3"), "sm_90a"),
        (("sm_89", "89", "8.9", "rtx 4090", "L40S"), "sm_89"),
        (("120", "sm_120a", "12.0", "5090"), "sm_120a"),
        (("75", "t4"), "sm_75"),
    ],
)
def test_words_for_a_target(words, arch):
    """An architecture is understood as it is written here, by its number alone, and by the name of a product."""
    for word in words:
        assert str(resolve_target(word).arch) == arch, word


@pytest.mark.parametrize("word", ["h300", "gpu1", "9000", "sm", ""])
def test_words_that_name_no_target(word):
    """An error says which words are understood."""
    with pytest.raises(bq.ConfigError, match=r"also as 90a, sm90 or 9\.0; or a product: t4, a100, .* \(got '"):
        resolve_target(word)


@pytest.mark.parametrize("product", ["h100", "h100 pcie", "a100 40gb", "3090", "l4", "4090"])
def test_a_target_names_its_product(product):
    """What is not its architecture's example is part of the target, and of what is written of it."""
    target = resolve_target(product)
    assert target_gpu(target) == find_gpu(product) == target_gpu(resolve_target(Target(str(target))))
    assert str(resolve_target(target_name(target))) == str(target)
    assert Problem(OTHER, 1, target).gpu == find_gpu(product)


@pytest.mark.parametrize("name", ["h200", "sm_90a", "l40s", "t4", "5090"])
def test_an_example_stands_for_its_architecture(name):
    """The example of an architecture and the architecture are one target, and so one key of the cache."""
    target = resolve_target(name)
    assert "model" not in target.attrs
    assert str(target) == str(resolve_target(str(target.arch))) == str(resolve_target(target_name(target)))


def test_kernels_are_chosen_for_a_product():
    """Fewer multiprocessors and less bandwidth make another default; the kernel is for the same architecture."""
    config = bq.MatmulConfig(M=(16,), N=4096, K=4096, A_dtype="int8", W_dtype="int8", out_dtype="int32")
    problems = [Problem(config, 16, resolve_target(name), "fragment") for name in ("h200", "h100 pcie")]
    h200, pcie = (WgmmaRule().default_hint(problem) for problem in problems)
    assert h200 != pcie
    operator = bq.Matmul(config, target="h100 pcie", records=[])
    assert (operator.arch, operator.choices[16].hint) == ("sm_90a", pcie.to_dict())
    assert "3.35" not in operator.report()
    assert "2.00 TB/s (H100 PCIe)" in operator.report()


def test_the_gpu_that_is_here(monkeypatch):
    """Without a name the product is that of the attached GPU, by the name that its driver gives."""
    monkeypatch.setattr("bitquant.arch.detected_cuda_arch", lambda *_: "sm_90a")
    attributes = {13: 1980000, 16: 132, 36: 3201000, 37: 5120, 81: 228 << 10, 97: 227 << 10}
    monkeypatch.setattr("bitquant.arch._driver_attributes", lambda _: attributes.__getitem__)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: "NVIDIA H100 80GB HBM3")
    assert resolve_gpu(None)[1].example == "H100 SXM"
    assert resolve_gpu("cuda")[1].example == "H100 SXM"
    assert resolve_gpu("sm_90a")[1].example == "H200 SXM"
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: "NVIDIA H300")
    target, gpu = resolve_gpu(None)
    assert (gpu.sm_count, gpu.clock_hz, gpu.bandwidth_bytes_per_s) == (132, 1980e6, 4097.28e9)
    assert gpu.in_flight_bytes < gpu_arch("sm_90a").in_flight_bytes
    assert gpu.decode_l2_bytes_per_s > gpu_arch("sm_90a").decode_l2_bytes_per_s
    # The facts are part of the target, so that another process chooses the same kernels.
    for text in (target_name(target), str(target)):
        assert target_gpu(resolve_target(Target(text) if text[0] == "{" else text)) == gpu
    # Fewer multiprocessors than the product of that name has: a slice of it, or one for laptops.
    attributes[16] = 16
    monkeypatch.setattr("torch.cuda.get_device_name", lambda *_: "NVIDIA H100 80GB HBM3 MIG 1g.10gb")
    assert resolve_gpu(None)[1].sm_count == 16
