# SPDX-License-Identifier: Apache-2.0
"""Commands on whole models: quantize, generate, show; what they print, write and refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizer_models
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import bitquant as bq
from bitquant.arch import find_gpu, resolve_gpu
from bitquant.cli.app import cli
from bitquant.nn import BitLinear, Linear
from bitquant.nn.contents import read_contents
from bitquant.nn.layer_kind import format_name
from bitquant.nn.step import predict_step
from bitquant.operator.prediction import predict
from bitquant.operator.report import bytes_per_call

from .checkpoints import packers
from .checkpoints.packers import FIXTURES, draw, draw_scale

#: The fixtures that are models; the others are tensors of a file.
MODELS = sorted(path.name for path in FIXTURES.iterdir() if (path / "config.json").is_file())
GGUF = FIXTURES / "gguf-blocks" / "weights.gguf"
#: All linear layers but the output are of one size, so that they share one kernel.
SIZE = 64


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """Return a cache folder that the tests of this file share, so that they compile each kernel once."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(autouse=True)
def _environment(monkeypatch, kernels):
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(kernels))
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("BITQUANT_CACHE", "BITQUANT_DEBUG", "BITQUANT_SCHEDULES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def tokenizer(**fields):
    """A tokenizer of bytes, with the vocabulary 0 ... 257."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "</s>": 1, **{letter: i + 2 for i, letter in enumerate(alphabet)}}
    made = Tokenizer(tokenizer_models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made, **{"bos_token": "<s>", "eos_token": "</s>", **fields})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The directory of a small Llama with a tokenizer, not quantized."""
    directory = tmp_path_factory.mktemp("models") / "plain"
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=SIZE, intermediate_size=SIZE, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        vocab_size=258, max_position_embeddings=64, bos_token_id=0, eos_token_id=None, tie_word_embeddings=False,
        initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer().save_pretrained(directory)
    (directory / "LICENSE").write_text("as is")
    return directory


@pytest.fixture(scope="module")
def quantized(plain, tmp_path_factory):
    """The same model as the command quantizes it, and what the command printed."""
    directory = tmp_path_factory.mktemp("quantized") / "new" / "out"
    result = call("quantize", plain, directory, "--group_size", 32, "--opt_M", "16,")
    assert (result.exit_code, result.stderr) == (0, "")
    return directory, result.stdout


def call(*arguments, **options):
    """Run the command line in this process; results have exit_code, stdout and stderr."""
    return CliRunner().invoke(cli, [*map(str, arguments)], **options)


def printed(*arguments):
    """Return what a command prints that exits with 0."""
    result = call(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def complaint(*arguments, **options):
    """Return what a command says on standard error that exits with 2 and prints nothing else."""
    result = call(*arguments, **options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    return result.stderr


def layers_of(model):
    """The quantized layers of a model by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, (Linear, BitLinear))}


# quantize.


def test_quantize_says_what_it_did(plain, quantized):
    """Model, layers, what was skipped and copied, and sizes of files before and after."""
    directory, text = quantized
    sizes = [(d / "model.safetensors").stat().st_size for d in (plain, directory)]
    lines = text.splitlines()
    assert lines[0] == f"{plain} -> {directory}"
    assert lines[1:5] == [
        "  LlamaForCausalLM, float32",
        "  quantized  14 layers to uint4-g32-zeros, rtn",
        "  skipped    lm_head",
        "  copied     LICENSE, generation_config.json, tokenizer.json,",
    ]
    assert re.search(rf"weights    [\d.]+ KiB -> [\d.]+ KiB \({sizes[1] / sizes[0]:.0%}\), in [\d.]+ s$", text)


def test_quantize_writes_what_quantize_model_makes(plain, quantized):
    """The saved tensors are those of quantize_model; tokenizer and generation config are the source's own files."""
    directory, _ = quantized
    wanted = bq.quantize_model(bq.load_model(plain, "cpu"), group_size=32, opt_M=(16,)).state_dict()
    tensors = load_file(directory / "model.safetensors")
    assert set(tensors) == set(wanted)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in tensors.items())
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "LICENSE"):
        assert (directory / name).read_bytes() == (plain / name).read_bytes()
    assert sorted(path.name for path in directory.parent.iterdir()) == [directory.name]


def test_quantize_takes_the_fields_of_quantize_model(plain, tmp_path):
    """Formats, skipped layers and types are those that the options name."""
    arguments = ("--W-dtype", "int8", "--group_size", "none", "--A_dtype", "int8", "--dtype", "bfloat16")
    text = printed("quantize", plain, tmp_path / "out", *arguments, "--skip", "mlp,*.layers.0.*")
    assert "quantized  5 layers to int8:int8-row, rtn" in text
    assert "model.layers.*.mlp.gate_proj (2)" in text
    model = bq.load_model(tmp_path / "out", "cpu")
    assert model.dtype == torch.bfloat16
    assert set(layers_of(model)) == {"lm_head", *(f"model.layers.1.self_attn.{part}_proj" for part in "qkvo")}
    assert all(layer.quantize_activations for layer in layers_of(model).values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{tmp}/none", "{tmp}/out"), "no such directory; models on the hub are fetched with: hf download"),
        (("{plain}/config.json", "{tmp}/out"), "must be a directory (got a file)"),
        (("{tmp}", "{tmp}/out"), "must hold a config.json, which says what the model is"),
        (("{fixtures}/awq-w4g128-gemm", "{tmp}/out"), "is quantized already (format awq), and quantizing it again"),
        (("{quantized}", "{tmp}/out"), "is quantized already (format bitquant)"),
        (("{plain}", "{quantized}"), "must be empty or not there yet (it holds 6 files); name another directory, or"),
        (("{plain}", "{plain}/config.json"), "must be a directory (got a file)"),
        (("{plain}", "{plain}", "--overwrite"), "must be another directory than the model's"),
        (("{plain}", "{plain}/..", "--overwrite"), "must be another directory than the model's, and not one around"),
        (("{plain}", "{fixtures}", "--overwrite"), "must hold a model, with a config.json, to be overwritten"),
        (("{plain}", "{tmp}/out", "--W_dtype", "uint44"), "did you mean 'uint4'?"),
        (("{plain}", "{tmp}/out", "--W_dtype", "float32"), "'W_dtype' must have at most 8 bits (got 'float32')"),
        (("{plain}", "{tmp}/out", "--group_size", "36"), "'model.layers.0.self_attn.q_proj': 'group_size' must"),
        (("{plain}", "{tmp}/out", "--group_size", "x"), "'x' is not a whole number or none"),
        (("{plain}", "{tmp}/out", "--skip", "lm_haed"), "did you mean 'lm_head'?"),
        (("{plain}", "{tmp}/out", "--device", "cuda"), "needs a GPU and none is visible; use --device cpu"),
        (("{plain}", "{plain}/LICENSE/out"), "cannot be written (File exists); name another directory"),
        (("{plain}", "{tmp}/out", "--skip", "model,lm_head"), "'skip' does not name (LlamaForCausalLM has none)"),
        (("{plain}", "{tmp}/out", "--device", "gpu0"), "'--device' must be cpu, cuda or cuda:1 (got 'gpu0')"),
    ],
)
def test_quantize_refuses(arguments, message, plain, quantized, tmp_path):
    """A wrong argument is one error in words, exit code 2, and nothing is written."""
    before = sorted(quantized[0].iterdir())
    places = {"tmp": tmp_path, "plain": plain, "quantized": quantized[0], "fixtures": FIXTURES}
    assert message in complaint("quantize", *(text.format(**places) for text in arguments))
    assert list(tmp_path.iterdir()) == []
    assert sorted(quantized[0].iterdir()) == before


@pytest.mark.parametrize("how", ["control-c", "SIGTERM", "error"])
@pytest.mark.parametrize("holds_a_model", [False, True])
def test_an_interrupted_quantize_leaves_nothing(how, holds_a_model, plain, tmp_path, monkeypatch):
    """Whatever ends it while it writes, OUT is not there, or what it was before."""
    out = tmp_path / "out"
    if holds_a_model:
        out.mkdir()
        (out / "config.json").write_text("{}")

    def save(self, directory):
        shutil.copy(plain / "config.json", directory)
        assert os.fspath(directory) != os.fspath(out)
        if how == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        raise OSError(28, "No space left on device") if how == "error" else KeyboardInterrupt

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", save)
    result = call("quantize", plain, out, "--group_size", 32, "--overwrite")
    assert result.exit_code == (2 if how == "error" else 130)
    assert ("No space left on device" if how == "error" else "aborted") in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["out"] * holds_a_model
    assert not holds_a_model or (out / "config.json").read_text() == "{}"


def test_quantize_overwrites_a_model(plain, tmp_path):
    """--overwrite puts the new model in the place of one that is there; an empty directory needs no leave."""
    out = tmp_path / "out"
    out.mkdir()
    printed("quantize", plain, out, "--W_dtype", "int8", "--group_size", 32)
    (out / "old").write_text("")
    printed("quantize", plain, out, "--W_dtype", "int4", "--group_size", 32, "--overwrite")
    assert not (out / "old").exists()
    assert {layer.config.W_dtype for layer in layers_of(bq.load_model(out, "cpu")).values()} == {"int4"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# generate.


def generated(directory, *arguments, **options):
    """Return text and lines of figures of a run."""
    result = call("generate", directory, "--max-new-tokens", 12, *arguments, **options)
    assert result.exit_code == 0, result.stderr
    return result.stdout, result.stderr.splitlines()


@torch.no_grad()
def expected(directory, prompt, tokens=12):
    """What the likeliest tokens say, by forward passes without a cache."""
    model, words = bq.load_model(directory, "cpu"), AutoTokenizer.from_pretrained(directory)
    ids = words(prompt, return_tensors="pt").input_ids
    start = ids.shape[1]
    for _ in range(tokens):
        ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], 1)
    return words.decode(ids[0, start:], skip_special_tokens=True) + "\n"


def test_generate_greedily(quantized):
    """The text is that of the likeliest tokens; figures go to standard error."""
    text, lines = generated(quantized[0], "--prompt", "Hello", "--greedy")
    assert text == expected(quantized[0], "Hello")
    patterns = (
        r"loaded     LlamaForCausalLM, float32, on cpu, [\d.]+ KiB, in [\d.]+ s",
        r"kernels    of 14 layers, in [\d.]+ s",
        r"prompt     5 tokens, [\d.]+ tokens/s",
        r"generated  12 tokens, [\d.]+ tokens/s; stopped by --max-new-tokens",
    )
    assert len(lines) == len(patterns)
    assert all(re.fullmatch(pattern, line) for pattern, line in zip(patterns, lines, strict=True))
    assert generated(quantized[0], "--prompt", "-", "--temperature", "0", input="Hello\n")[0] == text


def test_generate_by_drawing(quantized):
    """A seed gives the same text again, another seed another one; the default is what generation_config says."""
    drawn = [generated(quantized[0], "--prompt", "Hi", "--temperature", "2", "--seed", seed)[0] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert generated(quantized[0], "--prompt", "Hi")[0] == expected(quantized[0], "Hi")  # It does not sample.


def test_generate_with_a_chat_template(plain, tmp_path):
    """The template of the tokenizer is used unless --no-chat is given; a model that is not quantized has no kernels."""
    directory = shutil.copytree(plain, tmp_path / "chat")
    tokenizer(chat_template="{% for m in messages %}[{{ m.content }}]{% endfor %}").save_pretrained(directory)
    text, lines = generated(directory, "--prompt", "Hi", "--greedy")
    assert text == expected(directory, "[Hi]")
    assert lines[1].startswith("prompt     4 tokens")
    assert generated(directory, "--prompt", "Hi", "--greedy", "--no-chat")[0] == expected(directory, "Hi")
    tokenizer(chat_template="{{ raise_exception('no users') }}").save_pretrained(directory)
    assert "chat template fails (no users); --no-chat does" in complaint("generate", directory, "--prompt", "a")


def test_generate_with_a_checkpoint_of_another_program(tmp_path):
    """AWQ with float16 kernels for one rung: the text is that of the loaded model."""
    directory = shutil.copytree(FIXTURES / "awq-w4g128-gemm", tmp_path / "awq")
    tokenizer().save_pretrained(directory)
    text, lines = generated(directory, "--prompt", "Hello", "--greedy", "--dtype", "float32", "--opt_M", "16,")
    assert len(text) > 1
    assert "float32, on cpu" in lines[0]
    assert lines[1].startswith("kernels    of 7 layers")


def test_generate_stops_where_positions_end(quantized):
    """A model of 64 positions gets no more tokens than fit, and says so; a prompt that fills them is refused."""
    text, lines = generated(quantized[0], "--prompt", "x" * 60, "--greedy")
    assert "the model has 64 positions: at most 4 tokens follow the prompt" in lines
    assert lines[-1].startswith("generated  4 tokens")
    assert text == expected(quantized[0], "x" * 60, 4)
    result = call("generate", quantized[0], "--prompt", "x" * 64)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the model has 64 positions (got 64 tokens); shorten it" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{tmp}/none", "--prompt", "a"), "no such directory; models on the hub are fetched with: hf download"),
        ((str(GGUF), "--prompt", "a"), "must be a directory (got a file); bitquant show reads .gguf files"),
        (("{fixtures}/awq-w4g128-gemm", "--prompt", "a"), "awq-w4g128-gemm: has no tokenizer; fetch tokenizer.json"),
        (("{plain}", "--prompt", ""), "'--prompt' must have a token or more (got none)"),
        (("{plain}",), "Missing option '--prompt'"),
        (("{plain}", "--prompt", "a", "--greedy", "--temperature", "1"), "--greedy takes no --temperature"),
        (("{plain}", "--prompt", "a", "--temperature", "-1"), "-1.0 is not in the range x>=0"),
        (("{plain}", "--prompt", "a", "--device", "cuda"), "'--device' cuda needs a GPU and none is visible"),
        (("{plain}", "--prompt", "a", "--compile"), "'--compile' needs a GPU (got cpu); leave it out"),
        (("{plain}", "--prompt", "a", "--dtype", "int8"), "'int8' is not one of 'float16', 'bfloat16', 'float32'"),
    ],
)
def test_generate_refuses(arguments, message, plain, tmp_path):
    """A wrong argument is one error in words and exit code 2, before anything is loaded."""
    places = {"tmp": tmp_path, "plain": plain, "fixtures": FIXTURES}
    assert message in complaint("generate", *(text.format(**places) for text in arguments))


def test_generate_refuses_rungs_that_a_saved_model_has_not(quantized, plain):
    """Layers of a saved model have the rungs that they were saved with: another --opt_M would change nothing."""
    for directory, why in ((quantized[0], "says itself how its layers"), (plain, "is not quantized")):
        result = call("generate", directory, "--prompt", "a", "--opt_M", "1,16")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "'opt_M' must be left out for this checkpoint" in result.stderr
        assert why in result.stderr


def test_generate_names_a_model_that_transformers_does_not_know(plain, tmp_path):
    """What transformers raises becomes an error that names the directory."""
    directory = shutil.copytree(plain, tmp_path / "odd")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({**config, "model_type": "llamma"}))
    text = complaint("generate", directory, "--prompt", "a")
    assert str(directory) in text
    assert "llamma" in text


@pytest.mark.parametrize("command", ["quantize", "generate"])
def test_without_transformers(command, plain, tmp_path, monkeypatch):
    """Where transformers is missing the error names the command that installs it; show does without."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    arguments = {"quantize": (tmp_path / "out",), "generate": ("--prompt", "a")}[command]
    text = complaint(command, plain, *arguments)
    assert f"bitquant {command} needs the package transformers (" in text
    assert "pip install 'bitquant[models]'" in text
    assert "not quantized" in printed("show", plain)


# show.


@pytest.mark.parametrize("path", [*(FIXTURES / name for name in MODELS), GGUF], ids=lambda path: path.name)
@pytest.mark.sample(shows=lambda path: {path.name.split("-")[0]})
def test_show_fits_80_columns(path):
    """Each fixture is shown for three numbers of rows in lines of at most 80 columns."""
    text = printed("show", path, "--target", "h200", "--m", "1,16,256")
    assert max(map(len, text.splitlines()[1:])) <= 80
    assert "H200 SXM (sm_90a, 4.80 TB/s)" in text
    assert re.search(r"^256 rows: [\d.]+ [um]s, [\d,]+ tokens/s", text, re.MULTILINE)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_shown_is_what_is_loaded(name):
    """Problems of layers and bytes in memory are those of load_model's result, bytes in files those of the tensors."""
    contents = read_contents(FIXTURES / name)
    model = bq.load_model(FIXTURES / name, "cpu")
    shown = {n: kind for kind in contents.kinds if kind.role == "quantized" for n in kind.names}
    layers = layers_of(model)
    assert set(shown) == set(layers)
    merged = {id(m._merged.whole): m._merged.whole.layer for m in layers.values() if m._merged is not None}
    called = [*merged.values(), *(layer for layer in layers.values() if layer._merged is None)]
    operators = [kind for kind in contents.operators if kind.role == "quantized"]
    predicted = Counter()
    for kind in operators:
        predicted[kind.config.key()] += kind.count
    assert Counter(layer.config.key() for layer in called) == predicted
    assert sum(kind.memory_bytes for kind in contents.operators) == contents.memory_bytes
    for path, layer in layers.items():
        assert shown[path].config.problem() == layer.config.problem()
        assert shown[path].is_permuted == (layer.permutation is not None)
    loaded = {t.data_ptr(): t for n, t in model.state_dict().items() if not n.endswith("_extra_state")}
    assert contents.memory_bytes == sum(tensor.nbytes for tensor in loaded.values())
    tensors = load_file(FIXTURES / name / "model.safetensors")
    assert contents.file_bytes == sum(tensor.nbytes for tensor in tensors.values())
    assert (contents.dtype, contents.model) == (str(model.dtype).removeprefix("torch."), type(model).__name__)


@pytest.mark.parametrize("name", ["gptq-w4g64-asym-actorder", "ct-w8a8-int8", "gptoss-mxfp4"])
def test_json(name):
    """The JSON has a documented set of fields, and its figures are those of the library's own functions."""
    found = json.loads(printed("show", FIXTURES / name, "--target", "h100", "--m", "1,16", "--json"))
    assert list(found) == [
        "path", "model", "format", "dtype", "file_bytes", "memory_bytes", "experts_used", "was_checked", "target",
        "unmerged", "operators", "kinds", "steps",
    ]  # fmt: skip
    assert found["target"] == {"arch": "sm_90a", "product": "H100 SXM", "bandwidth_bytes_per_s": 3350e9}
    target = resolve_gpu("h100")[0]
    contents = read_contents(FIXTURES / name)
    assert found["memory_bytes"] == sum(kind["memory_bytes"] for kind in found["kinds"])
    assert [step["m"] for step in found["steps"]] == [1, 16]
    for shown in found["kinds"]:
        assert list(shown) == [
            "role", "names", "count", "N", "K", "experts", "shape", "format", "bits", "file_bytes", "memory_bytes",
            "is_permuted", "is_tied", "reason", "problem",
        ]  # fmt: skip
    for step in found["steps"]:
        total = 0
        for kind, shown, times in zip(contents.operators, found["operators"], step["operators"], strict=True):
            assert shown == {
                "role": kind.role, "names": list(kind.names), "count": kind.count,
                "problem": kind.config.problem() if kind.config is not None else None,
            }  # fmt: skip
            total += times["total_us"]
            if kind.role == "quantized":
                wanted = predict(kind.config, step["m"], target)
                assert (times["rule"], times["time_us"], times["basis"]) == (wanted.rule, wanted.time_us, wanted.basis)
                assert times["total_us"] == pytest.approx(kind.count * wanted.time_us, rel=1e-12)
            elif kind.role == "float":
                floor = bytes_per_call(kind.config, step["m"]) / 3350e9 * 1e6
                assert (times["rule"], times["basis"]) == ("torch", "floor")
                assert times["total_us"] == pytest.approx(kind.count * floor, rel=1e-12)
        assert step["time_us"] == pytest.approx(total, rel=1e-12)


def test_experts_are_read_in_part():
    """gpt-oss's tokens meet 2 of 4 experts: one token reads a half, 16 evenly spread ones all but 2^-16."""
    contents = read_contents(FIXTURES / "gptoss-mxfp4")
    target, gpu = resolve_gpu("h200")
    index = next(i for i, kind in enumerate(contents.operators) if kind.role == "experts")
    kind = contents.operators[index]
    assert (contents.experts_used, kind.experts, kind.N, kind.K) == (0.5, 4, 128, 96)
    for m, share, rows in ((1, 0.5, 1), (16, 1 - 0.5**16, 9)):  # 16 tokens a half each: 8.0001 rows, 9 at most
        step = predict_step(contents, m, target, gpu)
        weight = 128 * 96 // 2 + 128 * 96 // 32  # MXFP4 with a scale of 8 bits for 32.
        wanted = 4 * share * (weight + (128 + rows * (128 + 96)) * 2) / 4800e9 * 1e6
        assert step.times_us[index] == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("model.layers.0.mlp.experts.3.up_proj", "experts"), ("model.layers.0.mlp.shared_experts.up_proj", "float"),
        ("model.layers.0.mlp.gate", "float"), ("model.layers.0.block_sparse_moe.experts.0.w1", "experts"),
        ("model.embed_tokens", "embedding"), ("transformer.wte", "embedding"), ("transformer.wpe", "embedding"),
        ("bert.embeddings.word_embeddings", "embedding"), ("lm_head", "float"), ("model.embedding_norm_proj", "float"),
    ],
)  # fmt: skip
def test_roles_of_matrices_by_name(name, role, tmp_path):
    """Experts of which a token meets some, embeddings of which it reads a row, and layers that it reads whole."""
    packers.write(tmp_path, {f"{name}.weight": torch.zeros(8, 16)}, None)
    kinds = read_contents(tmp_path).kinds
    assert [(kind.role, kind.names, kind.N, kind.K) for kind in kinds] == [(role, (name,), 8, 16)]


def test_show_without_a_gpu(quantized):
    """On a CPU the rule is named and no time; the summary says how to get one."""
    text = printed("show", quantized[0])
    assert re.search(r"^gate_proj\+up_proj +128 x 64 +cpu\w*$", text, re.MULTILINE)
    assert "no time is predicted for a CPU; --target h200" in text
    found = json.loads(printed("show", quantized[0], "--json"))
    assert found["target"] == {"arch": "cpu", "product": None, "bandwidth_bytes_per_s": None}
    assert found["steps"][0]["time_us"] is None


def test_show_a_model_that_bitquant_saved(quantized):
    """What save_pretrained wrote is shown from headers and formats: problems and bytes are those of loaded layers."""
    contents = read_contents(quantized[0])
    model = bq.load_model(quantized[0], "cpu")
    assert (contents.format, contents.was_checked) == ("bitquant", True)
    kinds = [kind for kind in contents.kinds if kind.role == "quantized"]
    assert [(kind.count, kind.format) for kind in kinds] == [(14, "uint4-g32-zeros")]
    assert kinds[0].config.problem() == model.model.layers[0].mlp.up_proj.config.problem()
    state = {name: t for name, t in model.state_dict().items() if not name.endswith("_extra_state")}
    assert contents.memory_bytes == sum(tensor.nbytes for tensor in state.values())
    assert "14 quantized layers, 6.00 bits a weight" in printed("show", quantized[0])


def test_show_a_model_with_a_codebook(plain, tmp_path):
    """Merged layers of code4 have the codebook of their parts; `show` and `load_model` know the same operators."""
    model = bq.quantize_model(bq.load_model(plain, "cpu"), W_dtype="code4", group_size=32, codebook=tuple(range(16)))
    model.save_pretrained(tmp_path)
    contents = read_contents(tmp_path)
    merged = [kind.config for kind in contents.operators if any("+" in name for name in kind.names)]
    assert {config.W_format.levels for config in merged} == {tuple(map(float, range(16)))}
    assert "code4" in printed("show", tmp_path)


def test_show_a_model_that_is_not_quantized(plain):
    """Layers, embedding and norms by shape; with --all each by its whole name."""
    text = printed("show", plain, "--target", "h200")
    assert re.search(r"^14  down_proj, gate_.* +64 x 64 +float32 +32\.00 +224\.0 KiB$", text, re.MULTILINE)
    assert "the embedding is the output layer" not in text
    names = [name.removesuffix(".weight") for name in load_file(plain / "model.safetensors")]
    text = printed("show", plain, "--all")
    lines = text[text.index("\nlayer ") :].splitlines()[2 : 2 + len(names)]
    shown = [line.split()[0].removesuffix(".weight") for line in lines]
    assert sorted(shown) == sorted(names)
    assert shown.index("model.layers.0.mlp.up_proj") < shown.index("model.layers.1.mlp.up_proj")
    assert "not quantized" in printed("show", plain / "model.safetensors")


def test_show_a_tied_embedding():
    """An embedding that is the output layer as well is read whole for a token; another one row by row."""
    contents, (target, gpu) = read_contents(FIXTURES / "hqq-4b-g64-axis1"), resolve_gpu("h200")
    index, kind = next((i, k) for i, k in enumerate(contents.operators) if k.role == "embedding")
    assert kind.is_tied
    step = predict_step(contents, 1, target, gpu)
    assert step.times_us[index] == pytest.approx(2 * (384 * 128 + 384 + 128) / 4800e9 * 1e6, rel=1e-9)
    untied = read_contents(FIXTURES / "gptoss-mxfp4")
    index = next(i for i, k in enumerate(untied.operators) if k.role == "embedding")
    assert predict_step(untied, 3, target, gpu).times_us[index] == pytest.approx(3 * 2 * 128 / 4800e9 * 1e6, rel=1e-9)


def test_show_what_no_kernel_computes(tmp_path):
    """Layers that load_model refuses are named with the reason, and counted in 16 bits."""
    matrix, scale, zero = draw((16, 32), 4), draw_scale((1, 32)), draw_scale((1, 32), seed=9)
    tensors = packers.layer("model.layers.0.mlp.up_proj", **packers.hqq(matrix, scale, zero, 4, 0, (8, 64)))
    packers.write(tmp_path, tensors, {"quant_method": "hqq"})
    text = printed("show", tmp_path)
    assert "no kernel computes 1 layers exactly (up_proj): each has axis 0" in text
    assert "float16: on_unsupported='dequantize'" in text
    assert re.search(r"^1  up_proj  8 x 64  float16  16\.00  1\.0 KiB$", text, re.MULTILINE)


def test_show_a_file_of_llama_cpp(tmp_path):
    """A .gguf file: experts in three dimensions, biases, a type that is not decoded; counts from its own fields."""
    gguf = pytest.importorskip("gguf")
    kinds, weight = gguf.GGMLQuantizationType, np.random.default_rng(0).standard_normal((2, 8, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_expert_count(2)
    writer.add_expert_used_count(1)
    packed = gguf.quants.quantize(weight, kinds.Q8_0)
    writer.add_tensor("blk.0.ffn_up_exps.weight", packed, raw_dtype=kinds.Q8_0)
    writer.add_tensor("blk.0.attn_q.weight", packed[0], raw_dtype=kinds.Q8_0)
    writer.add_tensor("blk.0.attn_q.bias", weight[0, :, 0].copy())
    writer.add_tensor("blk.0.attn_v.weight", gguf.quants.quantize(weight[0], kinds.Q5_0), raw_dtype=kinds.Q5_0)
    writer.add_tensor("token_embd.weight", packed[0], raw_dtype=kinds.Q8_0)
    writer.add_tensor("output_norm.weight", weight[0, 0].copy())
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    contents = read_contents(tmp_path / "model.gguf")
    assert contents.experts_used == 0.5
    roles = {kind.role: (kind.count, kind.format, kind.is_tied) for kind in contents.kinds}
    assert roles == {
        "quantized": (1, "int8-g32", False), "unsupported": (1, "float16", False), "experts": (2, "int8", False),
        "embedding": (1, "int8", True), "rest": (1, "float32", False),
    }  # fmt: skip
    assert contents.kinds[0].config.with_bias
    text = printed("show", tmp_path / "model.gguf")
    assert "experts are kept in float16" in text
    assert "int8 -> float16" in text


def test_one_layer_of_each_kind_is_read(tmp_path, monkeypatch):
    """Layers that headers do not tell apart are read once; --check reads all, and finds what the first did not show."""
    tensors = {}
    for index, zeros in enumerate((8, 8, 7)):  # The last is not symmetric.
        codes = draw((8, 64), 4, seed=index)
        packed = packers.gptq(codes, torch.full((8, 2), zeros), draw_scale((8, 2)), 4, torch.arange(64) // 32)
        tensors |= packers.layer(f"model.layers.{index}.mlp.up_proj", **packed)
    quantization = {"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq_v2"}
    packers.write(tmp_path, tensors, quantization)
    read = []
    own = bq.nn.checkpoints.Checkpoint.read
    monkeypatch.setattr(bq.nn.checkpoints.Checkpoint, "read", lambda self, path: read.append(path) or own(self, path))
    contents = read_contents(tmp_path)
    assert (len(read), contents.was_checked) == (1, False)
    assert [(kind.count, kind.format) for kind in contents.kinds] == [(3, "int4-g32")]
    assert "one quantized layer of each line was read; --check reads all" in printed("show", tmp_path)
    checked = read_contents(tmp_path, check=True)
    assert checked.was_checked
    assert [(kind.count, kind.format) for kind in checked.kinds] == [(2, "int4-g32"), (1, "uint4-g32-quantized")]
    assert "--check reads all" not in printed("show", tmp_path, "--check")
    stored = load_file(tmp_path / "model.safetensors")
    stored["model.layers.1.mlp.up_proj.scales"][0, 0] = float("nan")
    save_file(stored, tmp_path / "model.safetensors")
    printed("show", tmp_path)
    assert "layer 'model.layers.1.mlp.up_proj'" in complaint("show", tmp_path, "--check")


def test_transposed_sizes_are_told_apart(tmp_path):
    """Bitsandbytes and HQQ store a flattened weight: (N, K) and (K, N) look alike in headers, and are two kinds."""
    tensors = {}
    for index, shape in enumerate(((8, 64), (64, 8))):
        matrix, scale, zero = draw((64, 8), 4), draw_scale((64, 1)), draw_scale((64, 1), seed=9)
        tensors |= packers.layer(f"layers.{index}.proj", **packers.hqq(matrix, scale, zero, 4, 1, shape))
    packers.write(tmp_path / "hqq", tensors, {"quant_method": "hqq"})
    assert [(kind.N, kind.K) for kind in read_contents(tmp_path / "hqq").kinds] == [(8, 64), (64, 8)]
    tensors = {}
    for index, shape in enumerate(((8, 64), (64, 8))):
        stored = packers.bitsandbytes(draw(shape, 4), draw_scale((8,), torch.float32), packers.FP4_LEVELS, "fp4", 64)
        tensors |= packers.layer(f"layers.{index}.proj", **stored)
    packers.write(tmp_path / "bnb", tensors, {"quant_method": "bitsandbytes"})
    assert [(kind.N, kind.K) for kind in read_contents(tmp_path / "bnb").kinds] == [(8, 64), (64, 8)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{tmp}/none",), "no such file or directory; models on the hub are fetched with: hf download"),
        (("{tmp}",), "holds no .safetensors and no .gguf file"),
        (("{plain}/config.json",), "must be a .safetensors or .gguf file; for a directory, pass the directory itself"),
        (("{plain}", "--target", "h300"), "or a product: t4, a100"),
        (("{plain}", "--target", "cuda"), "needs a GPU and none is visible"),
        (("{plain}", "--m", "0"), "'0' is not a list of numbers from 1 on"),
        ((), "Missing argument 'PATH'"),
    ],
)
def test_show_refuses(arguments, message, plain, tmp_path):
    """A wrong argument is one error in words and exit code 2."""
    assert message in complaint("show", *(text.format(tmp=tmp_path, plain=plain) for text in arguments))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (dict(W_dtype="uint4", group_size=32, with_scaling=True, with_zeros=True), "uint4-g32-zeros"),
        (dict(W_dtype="uint4", with_scaling=True, with_zeros=True, zeros_mode="quantized"), "uint4-row-quantized"),
        (dict(W_dtype="nf4", group_size=64, with_scaling=True), "nf4-g64"),
        (dict(W_dtype="int2"), "int2"),
        (dict(A_dtype="int8", W_dtype="int8", with_activation_scale=True, with_channel_scale=True), "int8:int8-row"),
    ],
)
def test_format_names(fields, name):
    """Formats have the names that bitquant bench takes."""
    assert format_name(bq.MatmulConfig(N=64, K=128, **fields)) == name


def test_named_gpus_change_the_time(quantized):
    """The same model takes longer on an L4 than on an H200."""
    times = {}
    for name in ("h200", "l4"):
        found = json.loads(printed("show", quantized[0], "--target", name, "--json"))
        times[name] = found["steps"][0]["time_us"]
        assert found["target"]["product"] == find_gpu(name).example
    assert times["l4"] > times["h200"]
