# SPDX-License-Identifier: Apache-2.0
"""`bitquant records`: what is listed, merged and compared, and which records still give kernels."""

from __future__ import annotations

import dataclasses

import pytest
from click.testing import CliRunner

import bitquant as bq
from bitquant.arch import cuda_target
from bitquant.cli.app import cli
from bitquant.problem import Problem
from bitquant.schedule import Record, load_records, save_records
from bitquant.schedule.rules import MmaRule
from bitquant.schedule.rules.hopper.hint import WgmmaHint
from bitquant.tune.verify import verify

CONFIG = bq.MatmulConfig(M=16, N=64, K=64, W_dtype="uint4", fast_decoding=False)
HINT = MmaRule().default_hint(Problem(CONFIG, 16, cuda_target("sm_90a"))).to_dict()


def record(us=2.0, *, rung=16, device="NVIDIA H200", rule="mma", hint=HINT, **fields):
    config = dataclasses.replace(CONFIG, M=rung, **fields)
    problem = {k: v for k, v in config.problem().items() if k != "M"}
    return Record(problem, rung, "sm_90a", device, rule, hint, us, 1.0, {"date": "2026-01-02"})


def run(*arguments):
    result = CliRunner().invoke(cli, ["records", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def folders(tmp_path):
    """Two folders of records: one differs in a latency and in a hint, and each has one that the other lacks."""
    old, new = tmp_path / "old", tmp_path / "new"
    other = {**HINT, "stages": 5}
    save_records([record(), record(3.0, rung=1), record(4.0, rung=64), record(9.0, device="NVIDIA H100")], old)
    save_records([record(), record(1.5, rung=1), record(4.0, rung=64, hint=other), record(5.0, N=128)], new)
    return old, new


@pytest.mark.parametrize("group", ["records", "trials"])
def test_a_group_alone_lists_its_commands(group):
    """Without a command of its own it prints its help, as the program does."""
    result = CliRunner().invoke(cli, [group])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("Usage: ")
    assert "merge" in result.stdout


def test_list_counts_and_selects(folders):
    """A line for each device and pair of types; options leave out the others."""
    old, new = folders
    code, out, _ = run("list", old, new)
    assert code == 0
    assert out.splitlines()[-1] == "5 records"
    assert "\nNVIDIA H200, sm_90a\n" in out
    assert "float16 x uint4        4       2  2026-01-02  1, 16, 64" in out
    assert run("list", old, new, "--device", "h100")[1].splitlines()[-1] == "1 record"
    assert run("list", old, new, "--N", 128, "--m", 16)[1].splitlines()[-1] == "1 record"


def test_show_has_latency_and_hint(folders):
    """Each record is a line: of what it is, its time beside the floor, and what to schedule with."""
    lines = run("show", folders[0], "--m", 1)[1].splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("NVIDIA H200     1  64 x 64  float16 x uint4  plain        3.00     3.00  mma ")
    assert "stages=" in lines[1]


def test_merge_keeps_the_faster(folders, tmp_path):
    """Of two records of one problem and device the faster one stays, and nothing is lost."""
    target = tmp_path / "all"
    assert run("merge", *folders, target)[0] == 0
    merged = {(r.problem["N"], r.rung, r.device): r.latency_us for r in load_records(target)}
    h200 = "NVIDIA H200"
    assert merged == {
        (64, 1, h200): 1.5, (64, 16, h200): 2.0, (64, 64, h200): 4.0, (128, 16, h200): 5.0,
        (64, 16, "NVIDIA H100"): 9.0,
    }  # fmt: skip


def test_diff_says_what_differs(folders):
    """Latencies, hints, and what only one has; equal records are left out."""
    old, new = folders
    code, out, _ = run("diff", old, new)
    assert code == 0
    assert out.splitlines()[-1] == "4 of 5 records differ"
    assert "3.00    1.50      2.000  latency" in out
    assert "4.00    4.00      1.000  hint" in out
    assert f"only in {old}" in out
    assert f"only in {new}" in out
    assert run("diff", old, old)[1].splitlines()[-1] == "0 of 4 records differ"


def test_diff_compares_hints_as_they_are_read(tmp_path):
    """Older records lack fields that a hint has now, or have them under other names: their kernels are the same."""
    hint = WgmmaHint(block_m=16, stages=5)
    fields = hint.to_dict()
    older = {former: fields.pop(name) for former, name in WgmmaHint.former_names.items()}
    older |= {name: value for name, value in fields.items() if name != "stream_k"}
    for folder, values in (("old", older), ("new", hint.to_dict()), ("other", {**hint.to_dict(), "stream_k": True})):
        save_records([record(rule="wgmma", hint=values)], tmp_path / folder)
    assert run("diff", tmp_path / "old", tmp_path / "new")[1].splitlines()[-1] == "0 of 1 records differ"
    assert run("diff", tmp_path / "old", tmp_path / "other")[1].splitlines()[-1] == "1 of 1 records differ"


def test_verify_compiles_each_without_a_gpu(tmp_path):
    """A record whose rule is gone, or whose hint does not fit, is named with its file; the exit code is 1."""
    big = {**HINT, "stages": 1000}
    save_records([record(), record(rung=1, rule="gone"), record(rung=32, hint=big)], tmp_path)
    code, out, errors = run("verify", tmp_path, "--workers", 0)
    assert (code, out) == (1, "1 of 3 records give kernels\n")
    gone, unfit = sorted(errors.splitlines(), key=lambda line: "gone" not in line)
    assert "matmul_nt-float16-uint4.json: m <= 1, N=64, K=64, float16 x uint4 by rule gone: there is no rule" in gone
    assert "m <= 32" in unfit
    assert [v.complaint for v in verify([record()], workers=0)] == [""]


def test_records_of_experts_say_whose_they_are(tmp_path):
    """They are listed apart, shown with their routing, selected by it, compared, and compiled."""
    fields = {"W_dtype": "uint4", "fast_decoding": False, "M": 4}
    grouped = bq.GroupedMatmulConfig(8, 64, 64, **fields)
    indexed = dataclasses.replace(
        grouped, routing="indexed", top_k=2, A_rows="slots", D_rows="tokens", with_routing_weights=True
    )
    hint = {"warps": 4, "m_per_warp": 1}

    def of(config, us):
        problem = {k: v for k, v in config.problem().items() if k != "M"}
        return Record(problem, 4, "sm_90a", "NVIDIA H200", "grouped_fallback", hint, us, 1.0, {"date": "2026-01-02"})

    old, new = tmp_path / "old", tmp_path / "new"
    save_records(
        [record(), of(grouped, 3.0), of(indexed, 4.0), of(dataclasses.replace(grouped, num_experts=9), 5.0)], old
    )
    save_records([of(grouped, 3.0), of(indexed, 2.0)], new)
    code, out, _ = run("list", old)
    lines = {" ".join(line.split()) for line in out.splitlines()}
    assert code == 0
    assert "float16 x uint4, sorted experts 2 2 2026-01-02 4" in lines
    assert "float16 x uint4, indexed experts 1 1 2026-01-02 4" in lines
    shown = run("show", old, "--routing", "indexed")[1].splitlines()
    assert len(shown) == 2
    assert "plain 8 experts, indexed top 2, slots to tokens weighted" in " ".join(shown[1].split())
    assert len(run("show", old, "--num_experts", 9)[1].splitlines()) == 2
    assert "2.000  latency" in run("diff", old, new)[1]
    assert run("merge", new, old)[0] == 0
    assert {r.latency_us for r in load_records(old) if r.problem.get("routing") == "indexed"} == {2.0}
    assert run("verify", new, "--workers", 0)[:2] == (0, "2 of 2 records give kernels\n")
    save_records([dataclasses.replace(of(indexed, 1.0), rule="gone")], new)
    assert "m <= 4, N=64, K=64, 8 experts, indexed, top 2, float16 x uint4 by rule gone" in run("verify", new)[2]


def test_nowhere_to_look_is_an_error(monkeypatch):
    """Without folders, and with records switched off, the error says what to name."""
    monkeypatch.setenv("BITQUANT_SCHEDULES", "off")
    code, _, errors = run("list")
    assert code == 2
    assert "BITQUANT_SCHEDULES is off; name a file or folder" in errors
