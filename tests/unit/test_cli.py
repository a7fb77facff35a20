# SPDX-License-Identifier: Apache-2.0
"""The command line: what it prints, and how it exits."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import re
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import click
import pytest
import torch
import tvm_ffi
from click.testing import CliRunner

import bitquant as bq
from bitquant.__main__ import main as entry_point
from bitquant.cli import app
from bitquant.cli import doctor as doctor_module
from bitquant.cli import run as run_module
from bitquant.cli.app import cli
from bitquant.cli.output import print_table, wrapped
from bitquant.cli.progress import Progress
from bitquant.compiler import find_disassembler
from bitquant.compute import select_implementation
from bitquant.compute.expressions import te_source
from bitquant.testing.oracle import tolerance

SMALL = ["--N", "64", "--K", "128", "--W_dtype", "uint4", "--group_size", "32", "--with_scaling", "--with_zeros"]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """Return a cache folder that the tests of this file share, so that they compile each kernel once."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(autouse=True)
def _environment(monkeypatch, kernels):
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(kernels))
    for name in ("BITQUANT_CACHE", "BITQUANT_CACHE_LIMIT", "BITQUANT_DEBUG", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def call(*arguments, **options):
    """Run the command line in this process; results have exit_code, stdout and stderr."""
    return CliRunner().invoke(cli, [*map(str, arguments)], **options)


def printed(*arguments):
    """Return what a command prints that exits with 0."""
    result = call(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def complaint(*arguments):
    """Return what a command says on standard error that exits with 2 and prints nothing else."""
    result = call(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    return result.stderr


# The group.


def test_version():
    """--version prints the version of the package."""
    assert printed("--version") == f"bitquant {bq.__version__}\n"


def test_help_of_the_group_names_every_command():
    """Without arguments and with --help the group prints its help."""
    text = printed("--help")
    assert printed() == text
    for name in ("run", "inspect", "tune", "bench", "doctor", "cache", "quantize", "generate", "show"):
        assert re.search(rf"^  {name} +\w", text, re.MULTILINE)


@pytest.mark.parametrize(
    "command",
    [
        [], ["run"], ["inspect"], ["tune"], ["bench"], ["doctor"], ["cache"], ["cache", "clear"], ["quantize"],
        ["generate"], ["show"],
    ],
)  # fmt: skip
def test_help_has_examples(command):
    """Each command's help has an example of its use."""
    assert re.search(r"Examples?:\n  +bitquant " + " ".join(command), printed(*command, "--help"))


@pytest.mark.parametrize("command", ["run", "inspect", "tune"])
def test_options_are_the_fields_of_the_config(command):
    """Each field of MatmulConfig is an option with its default and a text of its own; booleans can be negated."""
    fields = dataclasses.fields(bq.MatmulConfig)
    options = cli.commands[command].get_params(click.Context(cli.commands[command]))[: len(fields)]
    assert [option.name for option in options] == [field.name for field in fields]
    for option, field in zip(options, fields, strict=True):
        assert option.opts == [f"--{field.name}"]
        assert option.default == field.default
        assert option.secondary_opts == ([f"--no-{field.name}"] if "bool" in str(field.type) else [])
    assert len({option.help for option in options}) == len(options)


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ("--M 1", {"M": 1}),
        ("--M 1,16,64", {"M": (1, 16, 64)}),
        ("--M 16,", {"M": (16,)}),
        ("--M none --group_size none --zeros_mode none", {"group_size": None, "zeros_mode": None}),
        ("--with_bias --no-with_scaling", {"with_bias": True}),
        ("--with-bias --no-fast-decoding --W-dtype nf4", {"with_bias": True, "fast_decoding": False, "W_dtype": "nf4"}),
        ("--no-propagate_b --propagate_a", {"propagate_a": True, "propagate_b": False}),
        ("--A_dtype int8 --out_dtype int32", {"A_dtype": "int8", "out_dtype": "int32"}),
    ],
)  # fmt: skip
def test_flags_make_the_config(arguments, fields, monkeypatch):
    """Flags give the config that their values give in Python."""
    seen = []
    monkeypatch.setattr("bitquant.compute.expressions.te_source", lambda config, mod: seen.append(config) or "")
    printed("inspect", "--stage", "te", "--target", "cpu", "--N", 64, "--K", 64, *arguments.split())
    wanted = bq.MatmulConfig(N=64, K=64, **fields)
    assert [seen[0].to_dict()] == [wanted.to_dict()]


def commands(command, context):
    """Yield a command and all below it, each with its context."""
    yield command, context
    for name in getattr(command, "commands", ()):
        below = command.commands[name]
        yield from commands(below, click.Context(below, context, info_name=name, terminal_width=80))


def test_help_fits_80_columns_and_every_option_has_its_own():
    """No line of any command's help is wider than a terminal, and no option goes without an explanation."""
    for command, context in commands(cli, click.Context(cli, info_name="bitquant", terminal_width=80)):
        assert max(map(len, command.get_help(context).splitlines())) <= 80, context.command_path
        for option in command.get_params(context):
            assert isinstance(option, click.Argument) or option.help, f"{context.command_path} {option.name}"


# Errors.


@pytest.mark.parametrize("command", [["run"], ["inspect", "--stage", "te"]])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--N", 64, "--K", 100, "--group_size", 64], "'group_size' must divide K (got group_size=64, K=100"),
        (["--N", 64, "--K", 64, "--W_dtype", "uint44"], "did you mean 'uint4'?"),
        (["--N", 64, "--K", 64, "--M", 0], "'M' must be an int >= 1 (got 0)"),
        (["--N", 64, "--K", 64, "--target", "sm_42"], "'target' must name one of sm_75,"),
    ],
)  # fmt: skip
def test_errors_of_the_config_are_those_of_the_command(command, arguments, message):
    """What breaks a rule of the config is one error on standard error, in the config's words, and exit code 2."""
    text = complaint(*command, *arguments)
    assert text.startswith("error: ")
    assert message in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--N", "many"], "Invalid value for '--N': 'many' is not a whole number"),
        (["run", "--M", "1,x"], "Invalid value for '--M': '1,x' is not a number or a list such as 1,16,64 or none"),
        (["run", "--m", "4,x"], "Invalid value for '--m': '4,x' is not a list of numbers"),
        (["run", "--m", "0"], "Invalid value for '--m': '0' has a number of rows below 1"),
        (["run", "--bits", "4"], "No such option"),
        (["run", "--K", "64"], "Missing option '--N'"),
        (["tune", "--N", "64"], "Missing option '--K'"),
        (["inspect", "--N", "64", "--K", "64"], "one of --stage and --html is wanted"),
        (["inspect", "--stage", "llvm"], "'llvm' is not one of"),
        (["inspect", "--stage"], "Option '--stage' requires an argument"),
        (["solve"], "No such command 'solve'"),
    ],
)
def test_errors_of_usage(arguments, message):
    """A wrong option is one error, the command whose help to read, and exit code 2."""
    text = complaint(*arguments)
    assert text.startswith("error: ")
    assert message in text
    assert re.search(r"^see: \w+.* --help$", text, re.MULTILINE)


@pytest.mark.parametrize("command", ["run"])
@pytest.mark.parametrize("option", ["--num_experts", "--num-experts", "--A_rows", "--with_routing_weights"])
def test_what_takes_one_weight_says_which_command_takes_experts(command, option):
    """Options of grouped problems are known where they have no meaning; others are not."""
    result = call(command, *SMALL, option, "4")
    name = option[2:].replace("-", "_").lower()
    assert result.exit_code == 2
    assert f"--{name} states a product with the weights of experts, which {command} does not take; use inspect" in (
        result.stderr
    )
    assert "No such option" in call(command, *SMALL, "--number_of_experts", "4").stderr


def test_an_unexpected_error_is_one_line(monkeypatch):
    """What is not bitquant's own error is a line with a hint and exit code 3, and a traceback if it is asked for."""

    def fail(*args, **options):
        raise KeyError("lost")

    monkeypatch.setattr("bitquant.compute.expressions.te_source", fail)
    arguments = ["inspect", "--stage", "te", "--target", "cpu", "--N", "64", "--K", "64"]
    result = call(*arguments)
    assert result.exit_code == 3
    assert result.stderr == "error: unexpected KeyError: 'lost'\nset BITQUANT_DEBUG=1 to see where it comes from\n"
    result = call(*arguments, env={"BITQUANT_DEBUG": "1"})
    assert result.exit_code == 3
    assert "Traceback" in result.stderr


def test_an_interrupt_is_130(monkeypatch):
    """Control-C ends a command with the exit code of SIGINT and without a traceback."""

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("bitquant.matmul.Matmul.__init__", interrupt)
    result = call("run", "--M", 1, "--target", "cpu", *SMALL)
    assert result.exit_code == 130
    assert result.stderr.strip() == "aborted"


@pytest.mark.parametrize("group", [(), ("records",), ("trials",), ("cache",)])
def test_lists_of_commands_fit_80_columns(group):
    """No line about a command is cut off."""
    result = CliRunner().invoke(cli, [*group, "--help"], terminal_width=80)
    assert result.exit_code == 0
    assert not re.search(r"\.\.\.$", result.stdout.split("Commands:")[1], re.MULTILINE)


def test_an_interrupt_at_the_very_start(monkeypatch, capsys):
    """Control-C while the command's own modules are imported has no traceback either."""

    class Interrupted(ModuleType):
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "bitquant.cli.app", Interrupted("bitquant.cli.app"))
    with pytest.raises(SystemExit) as ended:
        entry_point()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "aborted\n"


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line(tmp_path, monkeypatch):
    """A cache that cannot be used is a warning without source lines, and the command goes on."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(blocked / "kernels"))
    result = call("run", "--M", 1, "--target", "cpu", "--N", 8, "--K", 64)
    assert result.exit_code == 0
    assert re.fullmatch(r"(warning: kernel cache: .* cannot be used .*\n)+", result.stderr)
    assert "pass" in result.stdout


def test_help_imports_neither_torch_nor_tvm():
    """Help of the group and of a command appears at once: nothing heavy is imported for it."""
    program = (
        "import sys\n"
        "from bitquant.cli.app import cli\n"
        "try:\n"
        "    cli.main(sys.argv[1:])\n"
        "finally:\n"
        "    print(sorted({'torch', 'tvm', 'numpy', 'rich'} & set(sys.modules)))\n"
    )
    for arguments in (["--help"], ["run", "--help"], ["run", "--bits", "4"]):
        result = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
        )
        assert "Usage: " in result.stdout or "No such option" in result.stderr
        assert result.stdout.splitlines()[-1] == "[]"


# A terminal.


def on_terminal(*arguments, columns=80):
    """Return what a command shows on a terminal, and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
        environment |= {"TERM": "xterm-256color", "COLUMNS": str(columns)}
        os.execve(sys.executable, [sys.executable, "-m", "bitquant", *map(str, arguments)], environment)  # noqa: S606
    shown = bytearray()
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # What a terminal says whose program has ended.
            part = b""
        if not part:
            break
        shown += part
    os.close(terminal)
    return shown.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_terminal_shows_what_is_done_and_no_line_is_too_wide():
    """On a terminal the first words are what is loaded; nothing of them stays, and no line exceeds 80 columns."""
    shown, code = on_terminal("run", "--M", "1,16", "--target", "cpu", *SMALL)
    assert code == 0
    plain = ANSI.sub("", re.sub(r"\x1b\[(?:\?25[lh]|\d*[AK])", "", shown))
    assert plain.index("loading torch and TVM") < plain.index("checking and timing") < plain.index("rel. error")
    result = plain[plain.index("matmul_nt(") :]
    assert "pass" in result
    assert max(map(len, result[result.index("m  rel. error") :].split("\n"))) <= 80


def test_a_warning_stands_above_the_line_of_progress(monkeypatch, capsys):
    """What is said while a line of progress is shown begins a line of its own, and the other goes on below it."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    with Progress() as progress:
        progress.say("working")
        app._show_warning("careful")
    app._show_warning("done")
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", capsys.readouterr().err))
    assert {"warning: careful", "warning: done"} <= set(lines)


def test_tables_are_wrapped_between_words(monkeypatch, capsys):
    """On a terminal the last column is wrapped between words; a word that is too long stays whole."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "40"}.items():
        monkeypatch.setenv(name, value)
    long = "/a/path/that/is/longer/than/its/column/is"
    print_table(["a", "b"], [["first", f"some words that are wrapped {long} and more"]])
    assert ANSI.sub("", capsys.readouterr().out).splitlines() == [
        "a      b", "first  some words that are wrapped", f"       {long}", "       and more",
    ]  # fmt: skip


def test_sentences_without_room_stand_below_their_rows(monkeypatch, capsys):
    """Where the other columns take the window, the last one has lines of its own; short words stay behind."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "40"}.items():
        monkeypatch.setenv(name, value)
    wide = "a" * 30
    print_table(["a", "b"], [[wide, "words that have no room beside the other one"], [wide, "x=1"]])
    assert ANSI.sub("", capsys.readouterr().out).splitlines() == [
        "a", wide, "    words that have no room beside the", "    other one", wide, "    x=1",
    ]  # fmt: skip
    print_table(["a", "b"], [[wide, "short words"]])
    assert ANSI.sub("", capsys.readouterr().out).splitlines() == [f"a{' ' * 31}b", f"{wide}  short words"]


def test_words_are_wrapped_on_a_terminal_alone(monkeypatch):
    """A line that is too long is continued under what it says; in a pipe it stays whole."""
    text = "title\n\n  rule   one two, three four\n  short"
    assert wrapped(text, hang=" " * 9) == text
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "20")
    assert wrapped(text, hang=" " * 9) == "title\n\n  rule   one two,\n         three four\n  short"
    assert wrapped("one two three", "    ") == "    one two three"
    assert wrapped("one two three four", "    ") == "    one two three\n    four"


# run.


def table(text):
    """Return the lines of the table of results as lists of words."""
    lines = text.split("\n\n", 1)[1].splitlines()
    columns = ["m", "rel. error", "tolerance", "result", "latency us", "GB/s", "TFLOP/s", "rule"]
    assert re.split("  +", lines[0].strip()) == columns
    return [line.split() for line in lines[1:] if line[:1] in " 0123456789" and line.split()[0].isdigit()]


def test_run_prints_a_line_for_each_m():
    """A run says what was built and gives error, bound, time and rates for each m."""
    text = printed("run", "--M", "1,16", "--m", "1,5,16,20", "--target", "cpu", *SMALL)
    config = bq.MatmulConfig(M=(1, 16), N=64, K=128, W_dtype="uint4", group_size=32, with_scaling=True, with_zeros=True)
    assert text.startswith(f"{config}\n")
    rows = table(text)
    assert [row[0] for row in rows] == ["1", "5", "16", "20"]
    operator = bq.Matmul(config, target="cpu")
    for row in rows:
        m, error, bound, result, latency_us, gb_per_s, tflop_per_s, rule = row
        assert result == "pass"
        assert 0 < float(error) <= float(bound)
        assert bound == f"{tolerance(config):.1e}"
        assert float(latency_us) > 0
        seconds = operator.bytes_per_call(int(m)) / (float(gb_per_s) * 1e9)
        assert seconds == pytest.approx(float(latency_us) * 1e-6, rel=0.01)
        assert float(tflop_per_s) == pytest.approx(2 * int(m) * 64 * 128 / seconds / 1e12, rel=0.01)
        assert rule.startswith("cpu")


def test_run_prints_json():
    """--json is what the table says, for programs, and nothing else is printed."""
    arguments = ["run", "--M", "1,16", "--m", "1,5", "--target", "cpu", *SMALL]
    found = json.loads(printed(*arguments, "--json"))
    config = bq.MatmulConfig(M=(1, 16), N=64, K=128, W_dtype="uint4", group_size=32, with_scaling=True, with_zeros=True)
    assert found["problem"] == config.problem()
    assert (found["target"], found["weight_layout"]) == ("llvm", "plain")
    for result, row in zip(found["results"], table(printed(*arguments)), strict=True):
        assert [str(result["m"]), f"{result['relative_error']:.1e}", f"{result['tolerance']:.1e}"] == row[:3]
        assert (result["is_right"], result["complaint"], result["checked_columns"]) == (True, None, 64)
        assert result["flop"] == 2 * result["m"] * 64 * 128
        assert result["bytes"] == bq.Matmul(config, target="cpu").bytes_per_call(result["m"])


def test_run_says_where_the_kernel_comes_from(tmp_path, monkeypatch):
    """The first construction compiles and a later one reads the cache; without a cache each one compiles."""
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path))
    arguments = ["run", "--M", 1, "--N", 24, "--K", 64, "--target", "cpu"]
    assert "compiled; the next run takes it from the cache" in printed(*arguments)
    assert re.search(r"constructed  in \d+\.\d\d s, from the cache\n", printed(*arguments))
    monkeypatch.setenv("BITQUANT_CACHE", "0")
    monkeypatch.setattr("bitquant.operator.archives._in_use", {})
    assert "compiled; the cache is off" in printed(*arguments)


def test_run_takes_the_first_rungs_of_a_ladder(monkeypatch):
    """Without --m the first rungs are run, and the others are named."""
    monkeypatch.setattr(run_module, "_MAX_RUNGS", 1)
    text = printed("run", "--M", "1,16", "--target", "cpu", *SMALL)
    assert [row[0] for row in table(text)] == ["1"]
    assert "not run: m = 16; --m names others\n" in text
    assert "not run" not in printed("run", "--M", "1,16", "--m", 16, "--target", "cpu", *SMALL)


@pytest.mark.parametrize(
    ("arguments", "bound"),
    [
        ("--A_dtype int8 --W_dtype int2 --accum_dtype int32 --out_dtype int32", "exact"),
        ("--A_dtype int8 --W_dtype int4 --accum_dtype int32 --out_dtype int8 --with_scaling", "ties"),
        ("--A_dtype float16 --layout nn --with_bias", None),
    ],
)
def test_run_checks_other_kinds_of_problems(arguments, bound):
    """Integer outputs and unquantized weights are checked in their own way."""
    (row,) = table(printed("run", "--M", 3, "--N", 64, "--K", 128, "--target", "cpu", *arguments.split()))
    assert "pass" in row
    assert bound is None or bound in row


@pytest.mark.parametrize(
    "problem", ["--W_dtype uint4 --with_scaling --with_zeros --zeros_mode quantized --with_bias", "--layout nn"]
)
def test_run_checks_some_columns_of_a_large_problem(problem, monkeypatch):
    """Where the reference would take long, random columns are checked, and the output says so."""
    monkeypatch.setattr(run_module, "_MAX_WORK", 0)
    monkeypatch.setattr(run_module, "_CHECKED_COLUMNS", 24)
    arguments = ["run", "--M", 2, "--N", 64, "--K", 128, "--target", "cpu", *problem.split()]
    text = printed(*arguments)
    assert "checked for m = 2: 24 of 64 columns, drawn at random\n" in text
    assert "pass" in table(text)[0]


@pytest.mark.parametrize("most_work", [2**32, 0])
def test_a_wrong_result_is_1(most_work, monkeypatch):
    """A kernel that gets a wrong weight fails the check: FAIL in the table, the worst element, exit code 1."""
    monkeypatch.setattr(run_module, "_MAX_WORK", most_work)
    monkeypatch.setattr(run_module, "_CHECKED_COLUMNS", 16)
    right = bq.Matmul.transform_weight
    monkeypatch.setattr(bq.Matmul, "transform_weight", lambda self, weight: right(self, weight).roll(1, 0))
    result = call("run", "--M", 1, "--target", "cpu", *SMALL)
    assert result.exit_code == 1
    assert "FAIL" in table(result.stdout)[0]
    assert result.stderr.startswith("wrong result for m = 1: matmul_nt(")


def test_run_needs_the_gpu_that_it_is_for():
    """A kernel for a GPU that is not here is refused before it is built, with a way to read it."""
    text = complaint("run", "--M", 1, "--target", "sm_90a", *SMALL)
    assert "needs that GPU" in text
    assert "bitquant inspect --target sm_90a" in text


def test_run_refuses_another_m_than_a_static_one():
    """--m cannot differ from a static M."""
    assert "'--m' must be 4 where M is static (got 2,4)" in complaint("run", "--M", 4, "--m", "2,4", *SMALL)


# inspect.


@pytest.mark.parametrize(
    "config",
    [
        bq.MatmulConfig(
            M=(1, 16), N=64, K=128, W_dtype="uint3", group_size=64, with_scaling=True, with_zeros=True,
            zeros_mode="quantized", with_bias=True,
        ),
        bq.MatmulConfig(M=7, N=64, K=128, A_dtype="bfloat16", W_dtype="nf4", with_scaling=True),
        bq.MatmulConfig(M=(5,), N=64, K=128, A_dtype="float8_e4m3", layout="nn", out_dtype="int32"),
        bq.MatmulConfig(M=7, N=64, K=128, A_dtype="int8", W_dtype="int2", accum_dtype="int32", out_dtype="int8"),
        bq.MatmulConfig(M=7, N=64, K=128, A_dtype="float8_e5m2", W_dtype="fp4_e2m1", with_zeros=True),
    ],
    ids=str,
)  # fmt: skip
def test_tensor_expressions_are_those_of_the_function(config):
    """The text of stage te is a program that makes the unscheduled function again."""
    mod = select_implementation(config)
    namespace = {}
    exec(te_source(config, mod), namespace)  # noqa: S102
    wanted = mod[f"matmul_m{config.ladder[-1]}"]
    for attr in ("config", "rung", "layout"):
        wanted = wanted.without_attr(f"bitquant.{attr}")
    made = namespace["func"].with_attr("global_symbol", wanted.attrs["global_symbol"])
    assert tvm_ffi.get_first_structural_mismatch(wanted, made, map_free_vars=True) is None


def operator_text(stage, config, target):
    """Return what the operator itself says at a stage."""
    operator = bq.Matmul(config, target=target)
    return {
        "tir": operator.prim_func_mod.script,
        "scheduled": operator.scheduled_mod.script,
        "cuda": operator.get_source,
        "ptx": operator.get_ptx,
        "sass": operator.get_sass,
        "report": operator.report,
    }[stage]()


INSPECTED = bq.MatmulConfig(M=(1, 4), N=64, K=128, W_dtype="uint4", group_size=32, with_scaling=True, with_zeros=True)


@pytest.mark.parametrize("stage", ["tir", "scheduled", "cuda", "ptx", "sass", "report"])
def test_inspect_prints_what_the_operator_has(stage):
    """Without a GPU, each stage for a named one is printed whole and without colours."""
    arguments = ["inspect", "--stage", stage, "--full", "--M", "1,4", "--target", "sm_90a", *SMALL]
    if stage == "sass" and find_disassembler() is None:
        assert "no disassembler found" in complaint(*arguments)
        return
    text = printed(*arguments)
    assert text.strip("\n") == operator_text(stage, INSPECTED, "sm_90a").strip("\n")
    assert not ANSI.search(text)


@pytest.mark.parametrize("stage", ["tir", "scheduled", "report"])
def test_inspect_for_the_cpu(stage):
    """The stages that a CPU has are printed for it."""
    text = printed("inspect", "--stage", stage, "--M", "1,4", "--target", "cpu", *SMALL)
    assert text.strip("\n") == operator_text(stage, INSPECTED, "cpu").strip("\n")


@pytest.mark.parametrize("target", ["cpu", "sm_90a"])
def test_inspect_prints_the_report_as_json(target):
    """--json has every kernel, rule, refusal and size of the report; other stages have no such form."""
    arguments = ["inspect", "--M", "1,4", "--target", target, *SMALL, "--stage"]
    found, text = json.loads(printed(*arguments, "report", "--json")), printed(*arguments, "report")
    assert found["problem"] == INSPECTED.problem()
    for kernel in found["kernels"]:
        assert f"{kernel['name']}: m <= {', '.join(map(str, kernel['rungs']))}" in text.replace("==", "<=")
        assert f"  rule       {kernel['rule']} (" in text
        for rule, reason in kernel["refusals"].items():
            assert f"  not {rule:<6} {reason}\n" in text
        for used in kernel["resources"]:
            assert f"{used['registers']} registers, {used['smem_bytes']} bytes shared memory" in text
    assert [call["m"] for call in found["calls"]] == [1, 4]
    assert all((call["floor_us"] is None) == (target == "cpu") for call in found["calls"])
    assert "--json goes with --stage report (got tir)" in complaint(*arguments, "tir", "--json")


def test_inspect_leaves_out_the_preamble():
    """Of each kernel's program, CUDA C++ is the end of what --full prints, from the first line after TVM's preamble."""
    arguments = ["inspect", "--stage", "cuda", "--M", "1,4", "--target", "sm_90a", *SMALL]
    texts, fulls = (
        re.split(r"(?m)^// ---- (matmul_m\d+) ----\n", text)
        for text in (printed(*arguments), printed(*arguments, "--full"))
    )
    assert texts[:2] == fulls[:2] == ["", "matmul_m1"]
    assert texts[3] == fulls[3] == "matmul_m4"
    for kernel, program, full in zip(texts[1::2], texts[2::2], fulls[2::2], strict=True):
        first, text = program.split("\n", 1)
        assert full.endswith(text)
        left_out = full[: -len(text)]
        assert first == f"// {left_out.count(chr(10))} lines of TVM's preamble are left out; --full prints them."
        assert "__global__" not in left_out
        assert left_out.endswith("#endif\n")
        assert re.search(rf"__global__ void .*\b{kernel}_kernel", text)


def test_inspect_one_rung():
    """--rung prints one function of a ladder, and must be one of its rungs."""
    arguments = ["inspect", "--stage", "tir", "--M", "1,4", *SMALL]
    text = printed(*arguments, "--rung", 4)
    assert re.findall(r"def (matmul_m\d+)", text) == ["matmul_m4"]
    assert "'--rung' must be one of 1, 4 (got 3)" in complaint(*arguments, "--rung", 3)


@pytest.mark.parametrize("stage", ["tir", "scheduled"])
def test_a_rung_alone_is_that_of_the_ladder(stage):
    """The function that --rung prints is the one that the ladder has: of fixed rows where that one's are fixed."""
    arguments = ["inspect", "--stage", stage, "--M", "1,4", "--target", "sm_90a", "--no-fast_decoding", *SMALL]
    ladder = printed(*arguments)
    for rung in (1, 4):
        alone = printed(*arguments, "--rung", rung)
        body = alone[alone.index("    def matmul_m") :].split("T.func_attr", 1)
        assert body[0] in ladder
        assert body[1].split("\n", 1)[1].strip() in ladder


@pytest.mark.parametrize("stage", ["cuda", "ptx", "sass"])
@pytest.mark.parametrize("target", [[], ["--target", "cpu"]])
def test_inspect_of_cuda_needs_a_cuda_target(stage, target):
    """Without a GPU or a named one there is no CUDA to print; the error says how to name one."""
    text = complaint("inspect", "--stage", stage, "--M", 1, *SMALL, *target)
    assert f"'--stage' {stage} needs a CUDA target" in text
    assert "--target sm_90a" in text


def test_inspect_writes_a_file(tmp_path):
    """--out writes the same text to a file and prints nothing; a file that cannot be written is an error."""
    arguments = ["inspect", "--stage", "scheduled", "--M", 1, "--target", "sm_80", *SMALL]
    file = tmp_path / "scheduled.py"
    assert printed(*arguments, "--out", file) == ""
    assert file.read_text() == printed(*arguments)
    assert "No such file" in complaint(*arguments, "--out", tmp_path / "nowhere" / "scheduled.py")


@pytest.mark.parametrize("stage", ["te", "tir", "cuda", "ptx"])
def test_colours_change_no_character(stage, monkeypatch):
    """On a terminal, however narrow, the text is the same but for its colours."""
    arguments = ["inspect", "--stage", stage, "--M", "1,4", "--target", "sm_90a", *SMALL]
    plain = printed(*arguments)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = printed(*arguments)
    assert ANSI.search(coloured)
    assert ANSI.sub("", coloured) == plain


@pytest.mark.thorough
def test_a_closed_pipe_ends_a_command_quietly():
    """A reader that has read enough, such as head, ends the command without a word."""
    ladder = ",".join(map(str, range(1, 81)))  # More text than a pipe holds.
    arguments = ["inspect", "--stage", "tir", "--target", "cpu", "--M", ladder, *SMALL]
    # Unbuffered, Python does not notice that its one write was cut short.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [sys.executable, "-m", "bitquant", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout.readline() == b"# from tvm.script import ir as I\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


# doctor.


def rows_of(text):
    """Return state and finding of each row of `bitquant doctor` by name."""
    lines = text.split("\n\n")[0].splitlines()
    rows, name = {}, ""
    for line in lines:
        if match := re.match(r"(ok|absent|broken) +(\S+(?: \S+)*)  +(.*)", line):
            name = match[2]
            rows[name] = (match[1], match[3])
        else:
            rows[name] = (rows[name][0], f"{rows[name][1]}\n{line.strip()}")
    return rows


@pytest.fixture
def _no_proof(monkeypatch):
    """Spare the multiplication at the end of `bitquant doctor`."""
    monkeypatch.setattr(doctor_module, "_multiply", lambda device: f"not run on {device}")


def test_doctor_shows_what_is_here(kernels):
    """Here a matmul runs on the CPU: exit code 0, and a row for everything."""
    result = call("doctor")
    assert result.exit_code == 0
    assert not ANSI.search(result.stdout)
    rows = rows_of(result.stdout)
    assert rows["bitquant"][1].startswith(bq.__version__)
    assert rows["torch"][0] == "ok"
    assert rows["torch"][1].startswith(f"{torch.__version__}, built for ")
    assert rows["tvm"][0] == rows["numpy"][0] == rows["python"][0] == rows["CPU"][0] == "ok"
    assert rows["GPU"][0] == "absent"
    assert rows["CUDA compiler"][1].startswith(("nvrtc ", "nvcc "))
    assert rows["cache"][1].startswith(str(kernels))
    assert "is right" in rows["matmul on the CPU"][1]
    assert result.stdout.endswith("a matmul runs here, on the CPU\n")


@pytest.mark.usefixtures("_no_proof")
def test_doctor_prints_json():
    """--json has the rows of the table, and where a matmul runs."""
    found = json.loads(printed("doctor", "--json"))
    assert found["runs_on"] == ["the CPU"]
    rows = rows_of(printed("doctor"))
    assert [row["name"] for row in found["rows"]] == list(rows)
    assert [row["state"] for row in found["rows"]] == [state for state, _ in rows.values()]


@pytest.mark.usefixtures("_no_proof")
def test_doctor_shows_a_gpu(monkeypatch):
    """A GPU is shown with its capability, target, memory and driver."""
    gpu = SimpleNamespace(name="NVIDIA H200", major=9, minor=0, total_memory=140 << 30, multi_processor_count=132)
    answers = {"is_available": True, "device_count": 1, "get_device_properties": gpu, "get_device_capability": (9, 0)}
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *args, answer=answer: answer)
    monkeypatch.setattr("bitquant.arch.driver_version", lambda: "580.1")
    text = printed("doctor")
    wanted = "NVIDIA H200, compute capability 9.0, 140.0 GiB, 132 multiprocessors, driver 580.1, target sm_90a"
    assert rows_of(text)["GPU 0"] == ("ok", wanted)
    assert text.endswith("a matmul runs here, on the CPU and the GPU\n")


@pytest.mark.usefixtures("_no_proof")
@pytest.mark.parametrize(
    ("driver", "cuda", "advice"),
    [
        (None, None, "install NVIDIA's driver"),
        ("580.1", None, "install torch's CUDA build"),
        ("580.1", "13.0", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_doctor_says_why_there_is_no_gpu(driver, cuda, advice, monkeypatch):
    """No driver, a torch without CUDA and a hidden GPU get different advice, and are no failure."""
    monkeypatch.setattr("bitquant.arch.driver_version", lambda: driver)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    state, found = rows_of(printed("doctor"))["GPU"]
    assert state == "absent"
    assert advice in found


@pytest.mark.usefixtures("_no_proof")
def test_doctor_survives_failing_probes(monkeypatch):
    """A probe that raises is a row with the reason and the remedy; what is not essential does not fail the command."""

    def fail(*args, **options):
        raise OSError("libnvrtc.so.13 is\nbroken")

    for function in ("cuda_compiler", "find_disassembler", "find_linker"):
        monkeypatch.setattr(f"bitquant.compiler.{function}", fail)
    monkeypatch.setattr("bitquant.arch.driver_version", fail)
    monkeypatch.setenv("BITQUANT_CACHE_LIMIT", "much")
    rows = rows_of(printed("doctor"))
    for name in ("CUDA compiler", "disassembler", "linker", "GPU"):
        assert rows[name][0] == "absent"
        assert "OSError: libnvrtc.so.13 is broken" in rows[name][1]
    assert "pip install 'bitquant[cuda]'" in rows["CUDA compiler"][1]
    assert "'BITQUANT_CACHE_LIMIT' must be" in rows["cache"][1]


@pytest.mark.usefixtures("_no_proof")
def test_doctor_fails_without_an_essential_package(monkeypatch):
    """A package that cannot be imported is broken, with how to install it, and exit code 1."""
    monkeypatch.setitem(sys.modules, "tvm", None)
    result = call("doctor")
    assert result.exit_code == 1
    state, found = rows_of(result.stdout)["tvm"]
    assert state == "broken"
    assert "pip install 'apache-tvm==0.27.*'" in found
    assert "something essential is broken" in result.stdout


def test_doctor_fails_where_a_matmul_is_wrong(monkeypatch):
    """A kernel that computes wrongly is broken, with exit code 1."""
    right = bq.Operator.launch

    def wrong(self, *operands):
        return right(self, *operands).mul_(1.1)

    monkeypatch.setattr(bq.Operator, "launch", wrong)
    result = call("doctor")
    assert result.exit_code == 1
    state, found = rows_of(result.stdout)["matmul on the CPU"]
    assert state == "broken"
    assert "AssertionError" in found
    assert "relative error" in found


# cache.


def test_cache_lists_and_clears(tmp_path, monkeypatch):
    """The cache command lists kernels with their size and age, and clears them when it is told to."""
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path))
    assert printed("cache", "path") == f"{tmp_path}\n"
    assert printed("cache") == f"{tmp_path}: 0 entries, 0 B of at most 2.0 GiB\n"
    printed("run", "--M", 1, "--N", 40, "--K", 64, "--target", "cpu")
    text = printed("cache")
    assert text.startswith(f"{tmp_path}: 1 entry, ")
    header, row, hint = text.splitlines()[1:]
    assert header.split() == ["target", "entries", "size", "oldest", "last", "used"]
    assert re.fullmatch(r"llvm +1 +[\d.]+ KiB +\d+ s +\d+ s", row)
    assert hint == "bitquant cache --all lists each"
    (entry,) = json.loads(printed("cache", "--json"))["entries"]
    header, row = printed("cache", "--all").splitlines()[1:]
    assert header.split() == ["key", "size", "age", "used", "kernel"]
    title = (
        "matmul_nt(M=1, N=40, K=64, float16 x float16), float16 x float16 -> float16, sums in float32, plain weight "
        "on llvm"
    )
    assert entry["title"] == title
    assert re.fullmatch(rf"{entry['key'][:8]} +[\d.]+ KiB +\d+ s +\d+ s +{re.escape(title)}", row)
    assert "go with bitquant cache alone" in complaint("cache", "--all", "path")
    result = call("cache", "clear", input="n\n")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "nothing removed")
    assert call("cache", "clear", input="").exit_code == 130
    assert len(list(tmp_path.glob("*.bqk"))) == 1
    assert "removed 1 entry" in printed("cache", "clear", "--yes")
    assert not list(tmp_path.glob("*.bqk"))
    assert printed("cache", "clear") == "removed 0 entries, 0 B\n"


def test_cache_tells_alike_kernels_apart(tmp_path, monkeypatch):
    """Problems of one size that differ in groups, zero points or what is made of them have titles of their own."""
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path))
    problem = ["run", "--M", 1, "--N", 40, "--K", 64, "--W_dtype", "uint4", "--target", "cpu", "--with_scaling"]
    for more in ([], ["--group_size", 32], ["--with_zeros"], ["--with_zeros", "--zeros_mode", "rescale"]):
        printed(*problem, *more)
    titles = [entry["title"] for entry in json.loads(printed("cache", "--json"))["entries"]]
    assert len(set(titles)) == 4


def test_cache_says_that_it_is_off(monkeypatch):
    """A cache that is switched off says so."""
    monkeypatch.setenv("BITQUANT_CACHE", "off")
    assert "switched off by BITQUANT_CACHE" in printed("cache")


def test_the_program_ends_at_once_when_its_handlers_have_run():
    """Functions registered with atexit run, output arrives, the exit code stays, and nothing is taken down."""
    script = """
import atexit, sys
from bitquant.cli import app

class Kept:
    def __del__(self):
        print("taken down")

@app.cli.command("late")
def late():
    global kept
    kept = Kept()
    atexit.register(print, "handler")
    print("command")
    return 5

sys.argv = ["bitquant", "late"]
app.main()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (5, "command\nhandler\n", "")
