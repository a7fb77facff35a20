# SPDX-License-Identifier: Apache-2.0
"""`bitquant bench --model`: whole models through one harness."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from bitquant.cli.app import cli
from bitquant.errors import ConfigError
from bitquant.nn import Linear
from bitquant.testing.bench import cached_model, generation
from bitquant.testing.bench import methods as methods_module
from bitquant.testing.bench.methods import MODELS, make_model, parse_method

CPU = torch.device("cpu")


@pytest.mark.thorough
def test_command(tmp_path):
    """A table with figures for each method and batch, the same in JSON, and logits as near as the formats are."""
    path = tmp_path / "figures.json"
    methods = "float16,int8-row+int8-row,uint4-g32-zeros"
    arguments = ["bench", "--model", "tiny", "--methods", methods, "--target", "cpu", "--no-compile", "--layers", "1"]
    arguments += ["--batch", "1,3", "--prompt", "4", "--cache", "8", "--json", str(path), "--jobs", "3"]
    answer = CliRunner().invoke(cli, arguments)
    assert answer.exit_code == 0, answer.output
    results = json.loads(path.read_text())
    runs = {run["method"]: run for run in results["runs"]}
    assert list(runs) == methods.split(",")
    for name, run in runs.items():
        assert run["failure"] is None
        assert all(run["decode_ms"][batch] > 0 and run["prefill_ms"][batch] > 0 for batch in ("1", "3"))
        assert sum(line.startswith(f"{name} ") for line in answer.output.splitlines()) == 2
        assert run["graph_error"] == 0  # Nothing is compiled here.
        assert name == "float16" or 0 < run["weight_error"] < 2e-3
    assert runs["float16"]["logits_error"] == 0
    assert 0 < runs["int8-row+int8-row"]["logits_error"] < 0.03 < runs["uint4-g32-zeros"]["logits_error"] < 0.3
    # Per value: 16 bits; 8 and a float16 scale a row; 4, and for 32 a float16 scale and zero point.
    fields = MODELS["tiny"]
    hidden, inner = fields["hidden_size"], fields["intermediate_size"]
    weights = hidden * (2 * hidden + 2 * 64) + 3 * hidden * inner
    rows = 2 * hidden + 2 * 64 + 2 * inner + hidden
    head = hidden * fields["vocab_size"]
    expected = {
        "float16": (2 * weights, 2 * head),
        "int8-row+int8-row": (weights + 2 * rows, head + 2 * fields["vocab_size"]),
        "uint4-g32-zeros": (weights // 2 + 4 * weights // 32, 2 * head),
    }
    assert {name: (run["linear_bytes"], run["head_bytes"]) for name, run in runs.items()} == expected


@pytest.mark.thorough
def test_a_method_that_fails_does_not_end_the_others(monkeypatch):
    """A fault of one method, and the end of its process, are words in its row."""
    monkeypatch.setattr(generation, "_child", _faulty_child)
    options = generation.GenerationOptions("tiny", device="cpu", is_compiled=False)
    runs = list(generation.time_methods(options, ["float16", "bfloat16"], lambda _: None))
    assert runs[0].failure == "its process ended with 3"
    assert runs[1].failure == "RuntimeError: no such kernel"


def _faulty_child(connection, _options, name, _making):
    if name == "float16":
        raise SystemExit(3)
    connection.send(generation.Run(name, failure="RuntimeError: no such kernel"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("float64", "'format' must be one of"),
        ("uint4-g128", "zero points for unsigned integers alone"),
        ("int4-g128-zeros", "zero points for unsigned integers alone"),
        ("nf4", "scales"),
        ("float16-row", "at most 8 bits"),
        ("uint4-g128-zeros+int8", "scales"),
        ("Humming:uint4-g128-zeros", "not installed"),
    ],
)
def test_wrong_methods(text, words):
    """A name that is none says what names there are."""
    with pytest.raises(ConfigError, match=words):
        parse_method(text)


def test_wrong_models(tmp_path):
    """A model is a name that is known, or a directory, which has its own number of layers."""
    method = parse_method("float16")
    with pytest.raises(ConfigError, match=r"must be a directory or one of llama-3-8b.*got 'llama-9'"):
        make_model("llama-9", method, None, CPU)
    with pytest.raises(ConfigError, match="'layers' must be left out for a checkpoint"):
        make_model(str(tmp_path), method, 2, CPU)


def test_lm_head_has_a_format_of_its_own():
    """What stands behind the + is the format of lm_head, and of it alone."""
    model = make_model("tiny", parse_method("nf4-g64+int8-row"), 1, CPU)
    kinds = {name: m.config.W_dtype for name, m in model.named_modules() if isinstance(m, Linear)}
    assert kinds.pop("lm_head") == "int8"
    assert len(kinds) == 7
    assert set(kinds.values()) == {"nf4"}


def test_a_peer_is_an_operation(monkeypatch):
    """The kernel of a peer stands in the model as an operation that torch can compile, and gives its numbers."""
    from bitquant.testing.bench import methods, peers

    peer = peers.peers_by_name(["torch linear"])[0]
    monkeypatch.setattr(peers.TorchLinear, "refusal", lambda *_: None)
    method = methods._OfPeer("torch", peer, methods.parse_kind("uint4-g32-zeros"), torch.float16)
    model = make_model("tiny", method, 1, CPU)
    plain = make_model("tiny", parse_method("float16"), 1, CPU)
    ids = torch.arange(6).reshape(2, 3)
    wanted, got = (m(ids).logits.detach().double().numpy() for m in (plain, model))
    assert 0.03 < np.linalg.norm(got - wanted) / np.linalg.norm(wanted) < 0.3
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(ids).logits, model(ids).logits)


def test_overlapping_kernels_count_once():
    """A kernel counts from the end of those before it."""
    spans = [(0, 10, "a"), (8, 15, "b"), (9, 12, "c"), (20, 21, "a")]
    assert cached_model.kernel_sums(spans, 1) == [("a", 2, 11), ("b", 1, 5), ("c", 1, 0)]
    assert cached_model.kernel_sums(spans * 2, 2)[0][1] == 2


def test_attention_without_copies_of_grouped_heads():
    """Attention of the harness equals that of transformers, for prompts and steps, with a static cache."""
    model = make_model("tiny", parse_method("bfloat16"), 2, CPU).float()
    wanted = {}
    for name in ("sdpa", methods_module.ATTENTION):
        model.set_attn_implementation(name)
        options = generation.GenerationOptions("tiny", device="cpu", is_compiled=False, prompt=5, cache=9)
        cached = cached_model.CachedModel(model, 2, options)
        with torch.inference_mode():
            cached.prefill()
            cached.step()
            wanted[name] = cached.logits.clone()
    torch.testing.assert_close(*wanted.values(), rtol=1e-4, atol=1e-5)


def test_parts():
    """Kernels are counted with what they belong to."""
    kernels = [("matmul_m1_kernel", 7, 70.0), ("triton_red_fused_1", 2, 5.0), ("nvjet_hsh_128x64", 1, 20.0)]
    kernels += [("pytorch_flash::flash_fwd_splitkv_kernel", 1, 4.0), ("kgemm_4bit_inference_naive", 7, 9.0)]
    kernels += [("void at::native::index_copy", 1, 1.0), ("humming", 7, 3.0), ("gemlite_gemv_kernel", 2, 2.5)]
    kernels += [("void gemm_4bit_simt<__half, 1>", 7, 3.5), ("void at::native::tinygemm_m16n8k16_chunk", 7, 2.0)]
    assert cached_model.parts_of(kernels) == {
        "bitquant": 70.0, "Inductor": 5.0, "dense": 20.0, "attention": 4.0, "torch": 1.0, "other": 20.0,
    }  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_here_is_one_error(monkeypatch):
    """It is said once, before any method starts."""
    monkeypatch.setattr("bitquant.cli.bench_model.bench_model", lambda *_: pytest.fail("a method has started"))
    answer = CliRunner().invoke(cli, ["bench", "--model", "llama-3-8b", "--target", "cuda"])
    assert answer.exit_code != 0
    assert "'--target' cuda needs a GPU and none is visible; use --target cpu" in answer.output
