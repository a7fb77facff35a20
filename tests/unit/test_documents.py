# SPDX-License-Identifier: Apache-2.0
"""Every block of code in README.md and docs/ does what its page says.

Blocks of Python are run, those of a page one after the other in one namespace; a block of text that follows is what
they print. There ``...`` stands for anything, and numbers with a point or an exponent may differ a little: kernels of
another CPU sum in another order. Without a GPU a block is run up to a line that ends in ``# on a GPU``. Commands are
run or, where `PARSED` says why not, parsed.
"""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from bitquant.cli.app import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
#: Whatever a tokenizer does not know.
UNKNOWN = "<unk>"
#: Pages whose blocks take more than some seconds.
SLOW = {
    "README.md", "docs/experts.md", "docs/models.md", "docs/numerics.md", "docs/training.md", "docs/tutorial.md",
    "docs/tuning.md",
}  # fmt: skip
#: Libraries that a page is about.
NEEDS = {
    "README.md": "transformers", "docs/models.md": "transformers", "docs/training.md": "peft",
    "docs/tutorial.md": "transformers",
}  # fmt: skip
#: Blocks that are no programs, by how they begin.
FRAGMENTS = {
    "LOG4_LEVELS = ": "a line of a table within formats/codebooks.py",
    'Operand(\n    "RowBias"': "a line of a table within operands.py",
    'GpuArch("sm_121a"': "an entry of a table within arch.py",
}
#: Commands that are parsed and not run.
PARSED = {
    "bench": "times a GPU for minutes, or wants results that a reader has",
    "tune": "measures on a GPU",
    "trials": "measures on a GPU, or wants what that gave; tests/unit/test_ranking.py runs it",
    "records": "wants folders that a reader has; tests/unit/test_cli_records.py runs it",
    "show": "looks at a checkpoint of 8 billion weights; tests/unit/test_cli_models.py runs it on small ones",
    "quantize": "tests/unit/test_cli_models.py runs it", "generate": "tests/unit/test_cli_models.py runs it",
    "inspect": "tests/unit/test_cli.py prints every stage", "doctor": "tests/unit/test_cli.py runs it",
}  # fmt: skip


@dataclass
class Block:
    """A block between fences."""

    line: int
    language: str
    text: str
    #: The block of text right after it.
    output: str | None = None


def blocks(path):
    """The blocks of a page, in order."""
    text = path.read_text(encoding="utf-8")
    found, end = [], None
    for match in FENCE.finditer(text):
        indent, language, body = match.groups()
        block = Block(text.count("\n", 0, match.start()) + 2, language, textwrap.dedent(indent + body[len(indent) :]))
        if language == "text" and end is not None and not text[end : match.start()].strip():
            found[-1].output = block.text
        found.append(block)
        end = match.end() if language == "python" else None
    return found


def name(path):
    """A page's name from the root."""
    return path.relative_to(ROOT).as_posix()


# What pages find on the reader's disk.


def tiny_tokenizer(folder, size):
    """Write a tokenizer of single characters."""
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate([UNKNOWN, *map(chr, range(32, 127))][:size])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token=UNKNOWN))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("."), "isolated")
    PreTrainedTokenizerFast(tokenizer_object=made, unk_token=UNKNOWN).save_pretrained(folder)


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A folder with what pages read: a quantized checkpoint, one that is not, records, an exported program."""
    pytest.importorskip("transformers", reason="writes the models that pages load; the extra `test` has it")
    from transformers import LlamaConfig, LlamaForCausalLM

    import bitquant as bq

    folder = tmp_path_factory.mktemp("disk")
    checkpoint = folder / "path" / "to" / "checkpoint"
    shutil.copytree(ROOT / "tests" / "fixtures" / "checkpoints" / "gptq-w4g128-sym", checkpoint)
    tiny_tokenizer(checkpoint, json.loads((checkpoint / "config.json").read_text())["vocab_size"])
    torch.manual_seed(0)
    sizes = dict(hidden_size=256, intermediate_size=512, num_hidden_layers=1, num_attention_heads=4, vocab_size=128)
    model = folder / "path" / "to" / "model"
    LlamaForCausalLM(LlamaConfig(**sizes)).half().save_pretrained(model)
    tiny_tokenizer(model, 128)
    shutil.copytree(ROOT / "schedules", folder / "my-schedules")
    layer = bq.Linear(64, 64, W_dtype="uint4", A_dtype="float16", opt_M=1, bias=False, group_size=64).eval()
    torch.export.save(torch.export.export(layer, (torch.zeros(1, 64, dtype=torch.float16),)), folder / "model.pt2")
    return folder


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """A folder for compiled kernels, of all pages."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def desk(disk, kernels, tmp_path, monkeypatch):
    """A folder to work in, with what pages read; nothing that a page does outlives it."""
    from bitquant.nn.checkpoints import reader

    shutil.copytree(disk, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(kernels))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(reader, "_registered", list(reader.all_readers()))
    modules = set(sys.modules)
    state = torch.get_rng_state()
    yield tmp_path
    torch.set_rng_state(state)
    for module in set(sys.modules) - modules:
        if module.split(".")[0] == "bitblas":
            del sys.modules[module]


# What is printed.


def same(said, printed):
    """Whether a line is what the page says: ``...`` is anything, and numbers that were computed are near."""
    number = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?")
    pattern = "(.*)".join(re.escape(part) for part in number.sub("\0", said).split("..."))
    match = re.fullmatch(pattern.replace("\0", number.pattern), printed.rstrip())
    if match is None:
        return False
    pairs = zip(number.findall(said), number.findall(printed), strict=False) if "..." not in said else ()
    return all(
        a == b or (("." in a or "e" in a) and math.isclose(float(a), float(b), rel_tol=0.35, abs_tol=1e-9))
        for a, b in pairs
    )


def compare(said, printed, where):
    """Compare lines; a line ``...`` stands for any number of them."""
    said, printed = said.rstrip().splitlines(), printed.rstrip().splitlines()
    rest = iter(printed)
    for i, line in enumerate(said):
        if line.strip() == "...":
            continue
        skipping = i > 0 and said[i - 1].strip() == "..."
        found = next((other for other in rest if not skipping or same(line, other)), None)
        assert found is not None, f"{where}: nothing is printed for {line!r}\n" + "\n".join(printed)
        assert same(line, found), f"{where}:\npage    {line}\nprinted {found}"
    if not said or said[-1].strip() != "...":
        assert not (more := list(rest)), f"{where}: more is printed: {more[:3]}"


@pytest.mark.parametrize(
    ("said", "printed", "is_same"),
    [
        ("error 2.0e-04", "error 2.1e-04", True), ("error 2.0e-04", "error 2.0e-03", False),
        ("(1, 1024) x", "(1, 1024) x", True), ("(1, 1024) x", "(1, 1025) x", False),
        ("a ... b", "a 17 c b", True), ("a ... b", "a 17 c", False), ("word", "words", False),
    ],
)  # fmt: skip
def test_lines_are_compared_as_readers_do(said, printed, is_same):
    """Words and whole numbers are equal, computed numbers near."""
    assert same(said, printed) == is_same


# Python.


def program(block, where):
    """The compiled block, and whether it is whole: without a GPU it ends before the line ``# on a GPU``."""
    tree = ast.parse(block.text, where)
    marked = [i for i, line in enumerate(block.text.splitlines(), 1) if line.endswith("# on a GPU")]
    is_whole = not marked or torch.cuda.is_available()
    if not is_whole:
        tree.body = [statement for statement in tree.body if statement.end_lineno < marked[0]]
    return compile(tree, where, "exec"), is_whole


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=name(path), marks=[pytest.mark.thorough] if name(path) in SLOW else [])
        for path in PAGES
        if any(block.language == "python" for block in blocks(path))
    ],
)
def test_python_of_a_page_runs(path, desk, capfd):
    """The blocks run one after the other and print what the page says."""
    if needed := NEEDS.get(name(path)):
        pytest.importorskip(needed, reason="the page is about that library")
    namespace = {"__name__": "__main__"}
    for block in blocks(path):
        if block.language != "python":
            continue
        where = f"{name(path)}:{block.line}"
        code, is_whole = program(block, where)
        if any(block.text.startswith(begin) for begin in FRAGMENTS):
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, namespace)  # noqa: S102  the page is ours
        if block.output is not None and is_whole:
            compare(block.output, printed.getvalue(), where)
    capfd.readouterr()


def test_fragments_are_there():
    """What is left out is on a page, so that the list holds nothing that is gone."""
    texts = [block.text for path in PAGES for block in blocks(path)]
    for begin in FRAGMENTS:
        assert any(text.startswith(begin) for text in texts), begin


# Commands.


def commands(path):
    """The commands of a page with their lines: in blocks of a shell, and indented by four columns."""
    text = path.read_text(encoding="utf-8")
    lines = []
    for block in blocks(path):
        if block.language in ("bash", "sh", "console", "text"):
            body = block.text.replace("\\\n", " ").splitlines()
            prompts = [line[2:] for line in body if line.startswith("$ ")]
            lines += prompts or (body if block.language in ("bash", "sh") else [])
    lines += re.findall(
        r"^    (?:\$ )?((?:bitquant|make|pip|python) .+)$", FENCE.sub("", text.replace("\\\n", " ")), re.MULTILINE
    )
    return [line.strip() for line in lines if line.strip()]


def words_of(line):
    """The words of a command without comments and redirections; variables are a word that goes everywhere."""
    line = re.sub(r"\$\(?\w+\)?", "1", line)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>&;")
    lexer.whitespace_split = True
    return list(itertools.takewhile(lambda word: word[:1] not in "|>&;", lexer))


ALL_COMMANDS = [(path, line) for path in PAGES for line in commands(path)]


def test_commands_are_found():
    """The search for commands finds those that are known to be there."""
    found = {words_of(line)[1] for _, line in ALL_COMMANDS if line.startswith("bitquant ")}
    assert {"run", "bench", "tune", "inspect", "quantize", "generate", "show", "cache"} <= found


@pytest.mark.parametrize(
    ("path", "line"),
    [pytest.param(p, line, id=f"{name(p)}-{line[:40]}") for p, line in ALL_COMMANDS if line.startswith("bitquant ")],
)
def test_commands_are_understood(path, line, desk):
    """The command line has each command and option that a page shows, and takes the values."""
    shell = "\n".join(block.text for block in blocks(path)) + path.read_text(encoding="utf-8")
    for variable, value in re.findall(r'^ *(?:export )?(\w+)="?([^"\n]*)"?$', shell, re.MULTILINE):
        line = re.sub(rf"\${variable}\b", value, line)
    line = line.replace("$NARROW", "uint2").replace("$OTHERS", "nf4-g64").replace("$1", "4096").replace("$2", "4096")
    command, *arguments = words_of(line)[1:]
    for word in arguments:
        if word.endswith((".json", ".jsonl")):
            (desk / word).parent.mkdir(parents=True, exist_ok=True)
            (desk / word).write_text('{"cells": []}')
        elif re.fullmatch(r"llama-[\w.-]+", word) and f"--model {word}" not in line:
            (desk / word).mkdir(exist_ok=True)
        elif re.fullmatch(r"schedules/\w+", word):
            (desk / word).mkdir(parents=True, exist_ok=True)
    found = cli.get_command(click.Context(cli), command)
    assert found is not None, f"{name(path)}: there is no command {command}"
    while isinstance(found, click.Group) and arguments and arguments[0] in found.commands:
        found = found.commands[arguments.pop(0)]
    if "--help" in arguments or (isinstance(found, click.Group) and not arguments):
        return
    if isinstance(found, click.Group):  # Options of its own follow.
        assert arguments[0].startswith("-"), f"{name(path)}: there is no command {command} {arguments[0]}"
    found.make_context(command, arguments)


@pytest.mark.thorough
@pytest.mark.parametrize("line", sorted({
    line for _, line in ALL_COMMANDS if line.startswith("bitquant ") and words_of(line)[1] not in PARSED
}))  # fmt: skip
def test_commands_run(line, desk):
    """What a page shows runs on a machine without a GPU."""
    result = subprocess.run(
        [sys.executable, "-m", "bitquant", *words_of(line)[1:]], capture_output=True, text=True, check=False,
        env={**__import__("os").environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


def test_other_commands_name_what_is_there():
    """Targets of make, extras of pip and files that pages name exist."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    extras = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE))
    for path, line in ALL_COMMANDS:
        words, where = words_of(line), f"{name(path)}: {line}"
        if words[:1] == ["make"]:
            assert {word for word in words[1:] if "=" not in word} <= targets, where
        for word in words:
            if found := re.fullmatch(r"(?:\.|bitquant)\[([\w,]+)\]", word):
                assert set(found[1].split(",")) <= extras, where
            if re.fullmatch(r"(tests|docs|bitquant)/[\w/.-]+\.py", word) and "bitquant/tests" not in word:
                assert (ROOT / word).is_file(), where
        if words[:2] == ["python", "-m"] and words[2].startswith("tests."):
            assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file(), where


STAGES = {
    "te": "Tensor expressions", "tir": "Unscheduled TIR", "scheduled": "Scheduled TIR", "cuda": "CUDA C++",
    "ptx": "PTX and machine code",
}  # fmt: skip


def test_the_stages_of_a_kernel_are_those_that_are_printed():
    """What docs/inspect.md shows of each stage stands in the output of its command, in this order.

    Lines end with " ..." where they are cut. Of PTX the instructions are compared: registers are the compiler's choice.
    """
    page = (ROOT / "docs/inspect.md").read_text(encoding="utf-8")
    options = shlex.split(re.search(r'^    P="(.*)"$', page, re.MULTILINE)[1])
    for stage, section in STAGES.items():
        _, _, body = re.search(FENCE, page[page.index(f"\n## {section}\n") :]).groups()
        result = CliRunner().invoke(cli, ["inspect", "--stage", stage, *options])
        assert result.exit_code == 0, result.output
        printed = iter(result.output.splitlines())
        for line in body.splitlines():
            shown = line.strip().removesuffix(" ...")
            if shown in ("", "..."):
                continue
            if stage == "ptx":
                shown = re.split(r"\s", shown)[0]
            first, *rest = map(re.escape, shown.split("{...}"))
            pattern = re.compile(rf"\s*{first}" + "".join(rf"\{{.*\}}{each}" for each in rest))
            assert any(pattern.match(other) for other in printed), f"{stage}: {line}"


# Files and names of the source.

#: Files that pages name and other projects have, or that a reader makes.
FOREIGN = {
    "general_matmul/__init__.py", "bitblas_awq.py", "backends/bitblas.py", "BitNet/utils_quant.py",
    "qlinear/bitblas.py", "test_awq_bitblas.py", "tests/test_bitblas.py",
}  # fmt: skip


def sources(file):
    """The files of the checkout that a page may mean by the end of a path."""
    places = (ROOT / "bitquant", ROOT / "tests", ROOT / "docs", ROOT)
    ends = [path for place in places[:3] for path in place.rglob(file.rsplit("/")[-1])]
    return [path for path in (*ends, ROOT / file) if f"/{path.as_posix()}".endswith(f"/{file}") and path.is_file()]


@pytest.mark.parametrize("path", [pytest.param(path, id=name(path)) for path in PAGES])
def test_files_that_a_page_names_are_there(path):
    """A file of Python that a page names exists, and has what "`name` in `file`" says that it has."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    for file in re.findall(r"`([\w./]+\.py)(?:::\w+)?`", text):
        assert sources(file) or any(file.endswith(end) for end in FOREIGN), f"{name(path)}: there is no {file}"
    for word, file in re.findall(r"`([\w.]+)` (?:in |of |\()`([\w./]+\.py)`", text):
        found = "".join(source.read_text(encoding="utf-8") for source in sources(file))
        last = word.split(".")[-1]
        assert re.search(rf"\b{last}\b", found), f"{name(path)}: {file} has no {last}"
