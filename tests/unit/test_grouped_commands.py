# SPDX-License-Identifier: Apache-2.0
"""Products with the weights of experts on the command line: the same options for tune, bench and inspect."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import bitquant as bq
from bitquant.cli.app import cli
from bitquant.cli.tune_file import problems_of_file
from bitquant.testing.bench.problems import Grouping, parse_kind

from .test_grouped import make

SIZES = ["--N", "24", "--K", "64", "--W_dtype", "uint4", "--group_size", "32", "--with_scaling"]
ROUTING = ["--num-experts", "4", "--routing", "indexed", "--top-k", "2"]


def run(*arguments):
    return CliRunner().invoke(cli, [*map(str, arguments)])


def text_of(result):
    return " ".join((result.stdout + result.stderr).split())


COMMANDS = {
    "tune": ["tune", *SIZES, "--M", "1,8", "--m", "1", "--target", "cpu", "--workers", "0", "--topk", "2"],
    "bench": [
        "bench",
        "--shapes",
        "24x64",
        "--formats",
        "uint4-g32",
        "--m",
        "1",
        "--target",
        "cpu",
        "--target-ms",
        "0.5",
    ],
    "inspect": ["inspect", *SIZES, "--M", "4", "--stage", "te", "--target", "cpu"],
}


@pytest.mark.usefixtures("measured_here")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_are_those_of_every_command(command, monkeypatch, tmp_path):
    """With the number of experts a problem is one of experts, spelled with dashes or without."""
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path))
    underscored = ["--num_experts", "4", "--routing", "indexed", "--top_k", "2"]
    for options in (ROUTING, underscored):
        result = run(*COMMANDS[command], *options)
        assert result.exit_code == 0, result.output
        assert {"tune": "grouped_cpu", "bench": "indexed, 4 experts, top 2", "inspect": "ExpertIds"}[command] in (
            text_of(result)
        )
    lonely = run(*COMMANDS[command], "--top_k", "2")
    assert lonely.exit_code == 2
    assert "--top_k goes with --num_experts; add it, or leave --top_k out" in text_of(lonely)
    wrong = run(*COMMANDS[command], "--num_experts", "4", "--routing", "indexed")
    assert "'top_k' must be an int from 1 to 1024 (got None)" in text_of(wrong)


def test_bench_writes_what_it_times(tmp_path):
    """Results are checked, their bytes are those of experts that are met, and calls have several routings."""
    path = tmp_path / "bench.json"
    arguments = ["--shapes", "32x64,16x128", "--formats", "uint4-g32-quantized,bfloat16:int4-g32", "--m", "1,6"]
    rows = ["--A_rows", "slots", "--D_rows", "tokens", "--with_routing_weights"]
    options = ["--target", "cpu", "--target-ms", "0.5", "--json", str(path)]
    result = run("bench", *arguments, *ROUTING, *rows, *options)
    assert result.exit_code == 0, result.output
    cells = json.loads(path.read_text())["cells"]
    assert len(cells) == 8
    for cell in cells:
        assert cell["format"].endswith("indexed, 4 experts, top 2, slots to tokens, weighted")
        assert cell["flop"] == 2 * 2 * cell["m"] * cell["N"] * cell["K"]
        assert cell["ours"]["error"] <= cell["ours"]["bound"]
        assert cell["ours"]["routings"] >= 8
        assert (cell["ours"]["rule"], cell["peers"]) == ("grouped_cpu", {})
    assert cells[0]["bytes"] < cells[1]["bytes"] < 8 * cells[0]["bytes"]
    named = run("bench", *arguments, *ROUTING, *options, "--peers", "torch linear", "--m", "1")
    assert "computes no products with the weights of experts" in text_of(named)


def test_bench_reports_a_wrong_kernel(monkeypatch):
    """What differs from the reference is a failure, and the exit code is 1."""
    monkeypatch.setattr(
        "bitquant.testing.bench.grouped.grouped_reference", lambda calls: [calls[0].given["A"].double() * 0]
    )
    kind = parse_kind("uint4-g32").of_experts(Grouping(4))
    assert kind.config(64, 64, 3).num_experts == 4
    result = run(
        "bench", "--shapes", "64x64", "--formats", "uint4-g32", "--num_experts", "4", "--m", "3", "--target", "cpu"
    )
    assert result.exit_code == 1
    assert "wrong result" in text_of(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "--model", "qwen3-30b-a3b", *ROUTING], "'num_experts' must be left out with --model (got 4)"),
        (["tune", "--config", "x.toml", *ROUTING], "'num_experts' must be left out with --config (got 4)"),
        (["bench", "--model", "tiny", *ROUTING], "--num_experts goes without --model"),
        (["inspect", *SIZES, "--stage", "te", "--layout", "nn", *ROUTING], "'layout' must be 'nt' where there are"),
    ],
)  # fmt: skip
def test_options_that_exclude_each_other(arguments, message):
    """The message names the option and what to do."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in text_of(result)


def test_a_file_names_problems_of_experts(tmp_path):
    """A table with num_experts has the fields of a grouped problem, and others do not."""
    path = tmp_path / "shapes.toml"
    path.write_text("""
        W_dtype = "uint4"
        M = [1, 16]
        [[problem]]
        N = 64
        K = 64
        [[problem]]
        N = 64
        K = 64
        num_experts = 8
        routing = "indexed"
        top_k = 2
        [[problem]]
        N = 64
        K = 64
        num_experts = 8
    """)
    one, indexed, by_order = problems_of_file(path)
    assert isinstance(one.config, bq.MatmulConfig)
    assert (indexed.config.top_k, indexed.name) == (2, "64 x 64, indexed, of 8")
    assert (by_order.config.routing, by_order.name) == ("sorted", "64 x 64, sorted, of 8")
    path.write_text("[[problem]]\nN = 3\nK = 4\ntop_k = 2")
    with pytest.raises(bq.ConfigError, match="'top_k' is no field"):
        problems_of_file(path)


@pytest.mark.parametrize("target", ["cpu", "h200"])
def test_pages_of_kernels_for_experts(target, tmp_path, monkeypatch):
    """`inspect --html` and `GroupedMatmul.explore` show every stage, and how many tiles are expected."""
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "page.html"
    sizes = ["--N", "256", "--K", "256", "--W_dtype", "uint4", "--group_size", "32", "--with_scaling", "--M", "4,64"]
    result = run("inspect", "--html", path, "--target", target, *sizes, *ROUTING)
    assert result.exit_code == 0, result.output
    page = path.read_text()
    assert "grouped_matmul_indexed(E=4, M=4, N=256, K=256, float16 x uint4)" in page
    assert ("are expected" in page) == (target == "h200")
    assert "grouped_cpu" in page if target == "cpu" else "grouped_cpu" not in page.split("<pre", 1)[0]
    sorted_rows = run("inspect", "--html", path, "--rung", 64, "--target", target, *sizes, "--num_experts", 4)
    assert sorted_rows.exit_code == 0, sorted_rows.output
    if target == "cpu":
        assert "grouped_matmul_sorted(E=4, M=16" in make().explore(16).html
