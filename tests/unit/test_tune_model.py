# SPDX-License-Identifier: Apache-2.0
"""Tuning models: their distinct problems, files that name them, what the command shows, and its picture."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess

import pytest
from click.testing import CliRunner
from rich.console import Console

import bitquant as bq
from bitquant.arch import cpu_target, cuda_target, driver_version
from bitquant.cli.app import cli
from bitquant.cli.tune import _usage
from bitquant.cli.tune_file import problems_of_file, without_shapes
from bitquant.cli.tune_live import TuneDisplay, duration
from bitquant.nn import Experts
from bitquant.nn.model_sizes import KNOWN_MODELS
from bitquant.nn.shapes import model_problems
from bitquant.testing.shape_sets import SHAPE_SETS
from bitquant.tune import fleet
from bitquant.tune.fleet import Here, Rung
from bitquant.tune.predictor import Analytical
from bitquant.tune.result import Subject
from bitquant.tune.search import Finished
from bitquant.tune.work import Bench, LocalSlot

from .checkpoints.packers import FIXTURES
from .test_experts import make, quantized
from .test_tune_search import CONFIG, RULE, Builder, Measurer, trial

FORMAT = {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True}
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 2, "vocab_size": 1000,
}  # fmt: skip


def shapes(problems):
    return {(p.config.N, p.config.K): p.name for p in problems}


# Problems of a model.


def test_sets_of_shapes_follow_from_known_models():
    """What is timed under a model's name is what is tuned; Llama 3 has gate alone too, DeepSeek lacks two layers."""
    assert SHAPE_SETS["llama-3-8b"] == ((6144, 4096), (4096, 4096), (28672, 4096), (14336, 4096), (4096, 14336))
    assert SHAPE_SETS["qwen3-235b-a22b"] == ((9216, 4096), (4096, 8192), (3072, 4096), (4096, 1536))
    latents = {(1536 + 576, 7168), (128 * 256, 512)}
    assert SHAPE_SETS["deepseek-v3"] == (
        (24576, 1536), (7168, 16384), (36864, 7168), (7168, 18432), (4096, 7168), (7168, 2048)
    )  # fmt: skip
    for name in ("llama-3-70b", "llama-2-7b", "gemma-3-27b", "deepseek-v3"):
        alone = {SHAPE_SETS[name][3]} if name == "llama-3-70b" else set()
        left_out = latents if name == "deepseek-v3" else set()
        found = shapes(model_problems(name, {**FORMAT, "group_size": 64}, with_experts=False))
        assert set(found) == set(SHAPE_SETS[name]) - alone | left_out


def test_a_folder_needs_no_weights(tmp_path):
    """A config.json alone gives what the model of that name has; the output embedding is left out."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    assert shapes(model_problems(tmp_path, FORMAT, (1, 4))) == shapes(model_problems("llama-3-8b", FORMAT, (1, 4)))


def test_tensor_parallel_cuts_pairs_of_layers():
    """Along N, and along K what is behind; heads of k and v are never cut; what does not divide is an error."""
    assert shapes(model_problems("qwen3-235b-a22b", {**FORMAT, "group_size": 64}, (8,))) == {
        ((64 // 8 + 2) * 128, 4096): "q_proj+k_proj+v_proj / 8",
        (4096, 8192 // 8): "o_proj / 8",
        (2 * 1536 // 8, 4096): "experts.gate_up_proj / 8, indexed, of 128",
        (4096, 1536 // 8): "experts.down_proj / 8, indexed, of 128",
    }
    assert (2112, 7168) in shapes(model_problems("deepseek-v3", FORMAT, (2,)))
    with pytest.raises(bq.ConfigError, match=r"llama-3-8b, q_proj.* / 3: 'tensor_parallel' must divide the heads"):
        model_problems("llama-3-8b", FORMAT, (3,))
    with pytest.raises(bq.ConfigError, match="llama-3-8b, o_proj / 64: 'group_size' must divide K"):
        model_problems("llama-3-8b", FORMAT, (64,))
    with pytest.raises(bq.ConfigError, match=r"'tensor_parallel' must be ints, at least 1 \(got 0\)"):
        model_problems("llama-3-8b", FORMAT, (0,))


def test_one_group_a_row_stays_one():
    """Of a weight that is cut along K each part has one group a row."""
    fields = {"W_dtype": "int4", "with_scaling": True}
    for problem in model_problems("llama-3-8b", fields, (2,)):
        assert problem.config.num_groups == 1


@pytest.mark.parametrize("name", KNOWN_MODELS)
def test_every_known_model_has_problems(name):
    """Each is legal for one GPU and cut over two, and has attention's two."""
    found = model_problems(name, {"W_dtype": "int8", "with_scaling": True}, (1, 2))
    assert len(found) >= 4
    assert {p.config.with_bias for p in found} == {name.startswith("gpt-oss")}


@pytest.mark.parametrize("name", ["qwen3-30b-a3b", "gpt-oss-20b", "mixtral-8x7b"])
def test_experts_of_known_models_are_those_of_the_layer(name):
    """Both products in both forms of a call, with the activation that the first product has; none for A of 8 bits."""
    sizes = {
        "qwen3-30b-a3b": (128, 8, 2048, 768),
        "gpt-oss-20b": (32, 4, 2880, 2880),
        "mixtral-8x7b": (8, 2, 4096, 14336),
    }
    E, top_k, hidden, inner = sizes[name]
    found = [
        p for p in model_problems(name, {**FORMAT, "group_size": 32}) if isinstance(p.config, bq.GroupedMatmulConfig)
    ]
    activation = "clamped_swiglu" if name == "gpt-oss-20b" else "silu_mul"
    assert [(c.N, c.K, c.routing, c.activation, c.D_rows) for c in (p.config for p in found)] == [
        (2 * inner, hidden, "sorted", activation, "slots"), (2 * inner, hidden, "indexed", activation, "slots"),
        (hidden, inner, "sorted", None, "slots"), (hidden, inner, "indexed", None, "tokens"),
    ]  # fmt: skip
    assert {p.config.num_experts for p in found} == {E}
    assert {p.config.top_k for p in found} == {None, top_k}
    assert "experts.down_proj, indexed, of " in found[-1].name
    assert not any(p.name.startswith("experts") for p in model_problems(name, {"W_dtype": "int8", "A_dtype": "int8"}))


@pytest.mark.parametrize("name", ["qwen3", "gpt_oss"])
def test_experts_of_folders_are_those_that_load_model_makes(name, tmp_path):
    """Of a quantized checkpoint, and of a model that is not, whose format the fields say."""
    model = make(name)
    model.save_pretrained(tmp_path / "plain")
    quantized(model, opt_M=None, W_dtype="uint4", group_size=16).save_pretrained(tmp_path / "few")
    loaded = bq.load_model(tmp_path / "few", device="cpu")
    layers = [layer for m in loaded.modules() if isinstance(m, Experts) for layer in (m.gate_up, m.down)]
    wanted = {k.config.key() for layer in layers for k in layer.needed_kernels(())}
    fields = {"A_dtype": "float32", "out_dtype": "float32", "W_dtype": "uint4"}
    fields |= {"group_size": 16, "with_scaling": True, "with_zeros": True}
    for found in (model_problems(tmp_path / "few", {"W_dtype": None}), model_problems(tmp_path / "plain", fields)):
        assert {p.config.key() for p in found if isinstance(p.config, bq.GroupedMatmulConfig)} >= wanted


def test_a_quantized_checkpoint_says_its_format():
    """Without a format the problems are those that load_model makes."""
    found = model_problems(FIXTURES / "gptq-w4g128-sym", {"W_dtype": None, "M": (1, 16)})
    assert {(p.config.W_dtype, p.config.group_size, p.config.M) for p in found} == {("int4", 128, (1, 16))}
    assert "q_proj+k_proj+v_proj" in {p.name for p in found}


def test_what_is_missing_is_an_error(tmp_path):
    """A model that nobody knows, and one whose format nobody says."""
    with pytest.raises(bq.ConfigError, match=r"'model' must be a folder with a config.json, or one of llama-3-8b, "):
        model_problems(tmp_path, FORMAT)
    with pytest.raises(bq.ConfigError, match=r"\(got 'llama3-8b'\); did you mean 'llama-3-8b'"):
        model_problems("llama3-8b", FORMAT)
    with pytest.raises(bq.ConfigError, match="'W_dtype' must be given"):
        model_problems("llama-3-8b", {"W_dtype": None})


# Files.


def test_a_file_names_models_and_problems(tmp_path):
    """Fields at the top are those of every table; equal problems are one."""
    path = tmp_path / "shapes.toml"
    path.write_text("""
        W_dtype = "uint4"
        M = [1, 16]
        tensor_parallel = [1, 2]
        [[model]]
        model = "llama-3-8b"
        [[model]]
        model = "mistral-7b"
        tensor_parallel = 1
        [[problem]]
        N = 4096
        K = 4096
        [[problem]]
        N = 96
        K = 64
        W_dtype = "nf4"
    """)
    found = problems_of_file(path)
    assert len(found) == len(model_problems("llama-3-8b", {"W_dtype": "uint4"}, (1, 2))) + 1
    assert {tuple(p.config.ladder) for p in found} == {(1, 16)}
    assert (found[-1].config.W_dtype, found[-1].name) == ("nf4", "96 x 64")


def test_a_file_takes_lists_of_models_and_sets_of_shapes(tmp_path):
    """A table of several models is each of them; `shapes` is as `bitquant bench` takes it; sizes can be left out."""
    path = tmp_path / "shapes.toml"
    path.write_text(
        "W_dtype = 'uint4'\n[[model]]\nmodel = ['llama-3-8b', 'mistral-small-24b']\n"
        "[[problem]]\nshapes = 'bitblas,64x96'"
    )
    found = shapes(problems_of_file(path))
    models = [shapes(model_problems(m, {"W_dtype": "uint4"})) for m in ("llama-3-8b", "mistral-small-24b")]
    assert set(found) == {*models[0], *models[1], *SHAPE_SETS["bitblas"], (64, 96)}
    assert (6144, 5120) in found
    left = shapes(without_shapes(problems_of_file(path), "held-out,64x96"))
    assert set(left) == set(found) - {(6144, 5120), (64, 96)}
    with pytest.raises(bq.ConfigError, match="'--leave-out' must leave something"):
        without_shapes(problems_of_file(path)[:1], "6144x4096")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[problem]]\nN = 3\nshapes = '4x4'\nW_dtype = 'uint4'", r"\[\[problem\]\] 1: 'N' is no field"),
        ("[[problem]]\nshapes = 'some'\nW_dtype = 'uint4'", "'shapes' must be sizes NxK or names of"),
        ("[[problem]]\nN = 3\nK = 4\nbits = 4", r"\[\[problem\]\] 1: 'bits' is no field; there are M, N, K"),
        ("[[model]]\nW_dtype = 'uint4'", r"\[\[model\]\] 1: needs the field 'model'"),
        ("[[model]]\nmodel = 'llama-3-8b'\nN = 4\nW_dtype = 'uint4'", "'N' is no field"),
        ("[[problem]]\nN = 3\nW_dtype = 'uint4'", r"\[\[problem\]\] 1: .*'K'"),
        ("W_dtype = 'uint4'", r"must have \[\[model\]\] tables"),
        ("[model", "is no TOML file"),
        ("[[model]]\nmodel = []\nW_dtype = 'uint4'", r"\[\[model\]\] 1: needs the field 'model'"),
        ("[[model]]\nmodel = 'llama-3-8b'\nexperts = 'false'\nW_dtype = 'uint4'", "'experts' must be a bool"),
        ("[[problem]]\nshapes = ['4x4']\nW_dtype = 'uint4'", r"\[\[problem\]\] 1: 'shapes' must be a string"),
        ("[[problem]]\nshapes = 7\nW_dtype = 'uint4'", r"\[\[problem\]\] 1: 'shapes' must be a string"),
    ],
)
def test_a_file_that_says_something_else_is_an_error(tmp_path, text, message):
    """The message names the file, and the table."""
    path = tmp_path / "shapes.toml"
    path.write_text(text)
    with pytest.raises(bq.ConfigError, match=message) as error:
        problems_of_file(path)
    assert str(path) in str(error.value)


# The command, with times that are made up.


@pytest.fixture
def made_up(monkeypatch, tmp_path):
    """`bitquant tune` searches the space of a rule of the tests, whose times a formula says; the measurer."""
    measurer = Measurer()
    rules = (RULE,)

    @contextlib.contextmanager
    def slots(*_):
        bench = Bench(Builder(), measurer, rules, Analytical())
        bench.builder.busy_s, bench.builder.first_s = 0.0, 0.0
        yield Here([LocalSlot(bench)], bench.builder, [measurer])

    monkeypatch.setattr(fleet, "slots_here", slots)
    monkeypatch.setattr("bitquant.schedule.rules.all_rules", lambda: rules)
    monkeypatch.setattr("bitquant.tune.api.all_rules", lambda: rules)
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path / "cache"))
    return measurer


def test_the_command_tunes_a_model(made_up, tmp_path):
    """A line for each rung while it works, a table of all, a picture; again, it answers from its journals."""
    arguments = ["tune", "--model", "llama-3-8b", "--M", "1,16", "--W_dtype", "uint4", "--target", "cpu"]
    picture = tmp_path / "tuned.png"
    result = CliRunner().invoke(cli, [*arguments, "--plot", str(picture), "--topk", "12"], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    told = result.stderr.splitlines()
    assert len(told) == 8
    assert told[-1].startswith("down_proj, uint4, m <= 16: best ")
    assert "; 8 of 8 done" in told[-1]
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["gate_proj+up_proj", "28672", "x", "4096", "float16", "x", "uint4", "16"] in [row[:8] for row in rows]
    assert picture.read_bytes().startswith(b"\x89PNG")
    count = len(made_up.sampled)
    again = CliRunner().invoke(cli, [*arguments, "--topk", "12"])
    assert f"{count} trials, {count} of them from before" in again.stdout
    assert len(made_up.sampled) == count
    assert len(list((tmp_path / "cache" / "tuning").glob("cpu-*.jsonl"))) == 4


def test_an_interrupt_writes_what_is_done(made_up, tmp_path, monkeypatch):
    """Ctrl-C keeps records of the rungs that are done, as the time limit does."""
    written = []

    def tune_until(self, rungs, **_):
        for rung in rungs[:2]:
            done = trial(1, 9.0, is_final=True, rung=rung.rung)
            rung.trials[done.candidate.key] = done
        raise KeyboardInterrupt

    monkeypatch.setattr(fleet.Fleet, "tune", tune_until)
    monkeypatch.setattr("bitquant.cli.tune._write", lambda results, *_: written.extend(results))
    monkeypatch.setattr("bitquant.tune.api.check_gpu", lambda _: None)
    arguments = ["tune", "--model", "llama-3-8b", "--M", "1,16", "--W_dtype", "uint4", "--target", "sm_90a"]
    CliRunner().invoke(cli, [*arguments, "--topk", "8", "--write", str(tmp_path)])
    assert [sorted(result.best) for result in written] == [[1, 16], [], [], []]


def test_the_command_ends_at_its_time_limit(made_up):
    """It says how many rungs are left, and how to go on."""
    arguments = ["tune", "--model", "llama-3-8b", "--M", "1,16", "--W_dtype", "uint4", "--target", "cpu"]
    result = CliRunner().invoke(cli, [*arguments, "--time-limit", "1e-6"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "time limit: 8 of 8 rungs are left; run the same command again to go on\n0 trials" in result.stdout
    assert not made_up.sampled


def test_a_time_limit_is_no_failure_of_what_was_begun_before(made_up, monkeypatch):
    """A rung with trials of an interrupted search, whose best were not compared, is left for the next time."""
    arguments = ["tune", "--N", "24", "--K", "64", "--M", "1", "--W_dtype", "uint4", "--target", "cpu", "--topk", "12"]

    def interrupt(problem, finalists, rounds=5, *, is_precise=True):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(made_up, "compare", interrupt)
        CliRunner().invoke(cli, arguments)
    count = len(made_up.sampled)
    assert count
    result = CliRunner().invoke(cli, [*arguments, "--time-limit", "1e-6"], catch_exceptions=False)
    assert (result.exit_code, result.stderr.count("no candidate works")) == (0, 0)
    assert "time limit: 1 of 1 rungs are left" in result.stdout
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert (result.exit_code, len(made_up.sampled)) == (0, count)


def test_what_a_tuning_took_is_said_as_far_as_it_is_known():
    """Nothing was measured, so there are no phases to list."""
    tried = Rung(Subject(CONFIG, cpu_target(), "plain"), 1, None, finished=Finished(1, 1, "1 trials"))
    tried.trials["a"] = trial(1, 9.0)
    builder = Builder()
    builder.busy_s, builder.first_s = 2.0, 1.0
    idle = Measurer()
    idle.busy_s, idle.phases_s = 0.0, {}
    words = _usage([tried], Here([], builder, [idle]), 1, 10.0)
    assert words.endswith("the first kernel after 1 s), the CPU for 0%")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "llama-3-8b", "--N", "64", "--W_dtype", "uint4"], "'N' must be left out with --model"),
        (["--N", "64", "--K", "64", "--tensor-parallel", "2"], "'--tensor-parallel' needs --model"),
        (["--config", "{file}", "--model", "llama-3-8b"], "'--model' must be left out with --config"),
        (["--config", "{file}", "--K", "64"], "'K' must be left out with --config"),
        (["--config", "{file}", "--no-experts"], "'--no-experts' must be left out with --config"),
        (["--N", "64", "--K", "64", "--no-experts"], "'--no-experts' needs --model"),
        (["--config", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["--model", "llama-4"], "or one of llama-3-8b, llama-3-70b"),
    ],
)
def test_options_that_exclude_each_other(tmp_path, arguments, message):
    """The message names the option and what to do."""
    file = tmp_path / "shapes.toml"
    file.write_text("[[problem]]\nN = 64\nK = 64\nW_dtype = 'uint4'")
    result = CliRunner().invoke(cli, ["tune", *(a.format(file=file) for a in arguments), "--target", "cpu"])
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_terminal_shows_a_table(monkeypatch):
    """Rungs under way stand first, with what they have found; the title says what is left."""
    subject = Subject(CONFIG, cpu_target(), "plain")
    running, done, waiting = (Rung(subject, m, None) for m in (1, 8, 16))
    for rung, us in ((running, 12.0), (done, 20.0)):
        for x, factor in ((1, 1.0), (2, 0.5)):
            made = trial(x, us * factor, rung=rung.rung)
            rung.trials[made.candidate.key] = made
    done.finished = Finished(8, 10, "no better one is likely")
    display = TuneDisplay([done, running, waiting], ["down_proj", "o_proj", "o_proj"], 10)
    console = Console(file=io.StringIO(), width=100, height=30)
    console.print(display._table())
    title, header, *rows = console.file.getvalue().splitlines()
    assert title.startswith("1 of 3 rungs, 4 trials, 0 s, at most ")
    assert header.split() == ["layer", "m", "<=", "trials", "before", "us", "best", "us", "gain"]
    assert rows[0].split() == ["o_proj", "1", "2/10", "12.00", "6.00", "2.00", "searching"]
    assert rows[1].split() == ["o_proj", "16", "0/10"]
    assert rows[2].split()[:6] == ["down_proj", "8", "2/10", "20.00", "10.00", "2.00"]
    assert [duration(s) for s in (48, 200, 3900)] == ["48 s", "3 min 20 s", "1 h 05 min"]


def test_many_problems_ask_for_the_driver_once(monkeypatch):
    """Asking starts a program; 500 problems took half a minute to begin."""
    asked = []

    def run(command, **options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, stdout="580.95.05\n", stderr="")

    monkeypatch.setattr("bitquant.arch.shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("bitquant.arch.subprocess.run", run)
    driver_version.cache_clear()
    try:
        target = cuda_target("sm_90a")
        subjects = [Subject(bq.MatmulConfig(M=1, N=64 * n, K=64), target, "plain") for n in range(1, 5)]
        assert {fleet.provenance_of(s)["versions"]["driver"] for s in subjects} == {"580.95.05"}
        assert len(asked) == 1
    finally:
        driver_version.cache_clear()
