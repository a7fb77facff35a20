"""Wrong calls: whatever is handed in, the error is bitquant's own, in a line or two. The table grows."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch._subclasses import FakeTensorMode

import bitquant as bq
from bitquant.cli.app import cli
from bitquant.operator.persistence import problem_parts
from bitquant.schedule import Record, Records, load_records, save_records

#: What stands where something else is meant.
ODD = {
    "array": np.zeros(2), "bytes": b"x", "float": 1.5, "-1.0": -1.0, "nan": float("nan"), "string": "x", "list": [1],
    "object": object(), "tensor": torch.zeros(2), "scalar tensor": torch.tensor(4), "numpy int": np.int64(4),
    "complex": 1j, "set": {1}, "type": int, "nested list": [[1]], "surrogate": "\ud800", "negative": -5, "huge": 10**40,
}  # fmt: skip
NEVER = ("array", "bytes", "float", "nan", "object", "tensor", "complex", "set", "type", "nested list")
FIELDS = bq.MatmulConfig.__dataclass_fields__


def config(**fields):
    return bq.MatmulConfig(**{"M": 1, "N": 16, "K": 32, "W_dtype": "uint4", **fields})


@pytest.fixture(scope="module")
def operators():
    """An operator for a CPU by format of W; "packed": with packed zero points."""
    made = {name: bq.Matmul(config(W_dtype=name), target="cpu") for name in ("uint4", "nf4", "float8_e4m3")}
    zeros = {"group_size": 16, "with_scaling": True, "with_zeros": True, "zeros_mode": "quantized"}
    return {**made, "packed": bq.Matmul(config(**zeros), target="cpu")}


def check_words(error):
    """An error of ours says something, and not a screen of it."""
    assert 10 < len(str(error.value)) < 1500


# Fields and arguments.


@pytest.mark.parametrize("value", NEVER)
@pytest.mark.parametrize("field", FIELDS)
def test_no_field_takes_what_is_none_of_its_values(field, value):
    """No field of a config is an array, bytes, a fraction or an object; the error names it."""
    with pytest.raises(bq.ConfigError, match=f"'{field}'|rungs of 'M'") as error:
        config(**{field: ODD[value]})
    check_words(error)


@pytest.mark.parametrize(
    "fields",
    [
        {"group_size": -1.0}, {"group_size": True}, {"N": True}, {"M": True}, {"M": [1, True]}, {"N": 16.0},
        {"K": "32"}, {"N": 10**40}, {"M": 10**40}, {"with_bias": 1}, {"with_zeros": None}, {"layout": None},
        {"layout": b"nt"},
        {"zeros_mode": ["original"], "with_zeros": True}, {"storage_dtype": None}, {"W_dtype": "\ud800"},
    ],
    ids=str,
)  # fmt: skip
def test_fields_that_are_nearly_right(fields):
    """A number of another type, or a name that is no string, is not taken for what it resembles."""
    with pytest.raises(bq.ConfigError) as error:
        config(**fields)
    check_words(error)


ARGUMENTS = {
    "target": lambda value: bq.Matmul(config(), target=value),
    "config": lambda value: bq.Matmul(value, target="cpu"),
    "rules": lambda value: bq.Matmul(config(), target="cpu", rules=value),
    "rules on a GPU": lambda value: bq.Matmul(config(), target="sm_80", rules=value),
    "one of rules": lambda value: bq.Matmul(config(), target="cpu", rules=(value,)),
    "records": lambda value: bq.Matmul(config(), target="cpu", records=value),
    "records on a GPU": lambda value: bq.Matmul(config(), target="sm_80", records=value),
    "one of records": lambda value: bq.Matmul(config(), target="cpu", records=[value]),
    "enable_tuning": lambda value: bq.Matmul(config(), target="cpu", enable_tuning=value),
    "load": bq.Operator.load,
    "load_records": load_records,
    "Records": Records,
    "save_records": lambda value: save_records(value, "no-such-folder"),
    "Record.from_dict": Record.from_dict,
    "from_dict": bq.MatmulConfig.from_dict,
    "from_problem": bq.MatmulConfig.from_problem,
    "from_float": lambda value: bq.Linear.from_float(value, W_dtype="uint4"),
    "from_bit_linear": bq.BitLinear.from_bit_linear,
}


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_arguments_of_another_kind(argument, value):
    """What is no config, target, rule, record, path or layer is refused where it comes in."""
    with pytest.raises(bq.BitquantError) as error:
        ARGUMENTS[argument](ODD[value])
    check_words(error)


@pytest.mark.parametrize("value", [v for v in ODD if v not in ("numpy int", "huge")])
def test_topk_of_another_kind(operators, value):
    """`topk` is a number of candidates: an int from 1 on."""
    with pytest.raises(bq.CallError, match="'topk' must be an int, at least 1"):
        operators["uint4"].hardware_aware_finetune(topk=ODD[value])


@pytest.mark.parametrize("value", [v for v in ODD if v not in ("string", "surrogate")])
def test_export_to_what_is_no_path(operators, value):
    """A path is a string or a path object."""
    with pytest.raises(bq.BuildError, match="'path' must be a path"):
        operators["uint4"].export(ODD[value])


@pytest.mark.parametrize("target", ["cpu", "sm_80"])
@pytest.mark.parametrize(
    "path", ["", "a\0b", "\ud800", "missing", "~nosuchuser/records", "/dev/zero", "/dev/null", "x" * 5000]
)
def test_paths_that_name_no_records(tmp_path, monkeypatch, target, path):
    """Records that are not there are an error for a CPU as for a GPU, and nothing is read that has no end."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(bq.RecordError) as error:
        bq.Matmul(config(), target=target, records=path)
    check_words(error)
    with pytest.raises(bq.BuildError) as error:
        bq.Operator.load(path)
    assert path[:10] in str(error.value) or repr(path) in str(error.value)


# Tensors.


def odd_tensors():
    whole = torch.zeros(16, 32, dtype=torch.int8)
    with FakeTensorMode():
        fake = torch.zeros(16, 32, dtype=torch.int8)
    return {
        "nested": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        "sparse": whole.to_sparse(),
        "sparse rows": whole.to_sparse_csr(),
        "mkldnn": whole.float().to_mkldnn(),
        "quantized": torch.quantize_per_tensor(whole.float(), 1.0, 0, torch.qint8),
        "meta": whole.to("meta"),
        "fake": fake,
        "complex": whole.to(torch.complex64),
        "conjugated": torch.zeros(16, 32, dtype=torch.complex64).conj(),
        "bool": whole.bool(),
        "uint16": whole.to(torch.uint16),
        "NaN": torch.full((16, 32), float("nan")),
        "no dimension": torch.tensor(3),
        "few rows": whole[:3],
        "objects": np.zeros((16, 32), dtype=object),
        "dates": np.zeros((16, 32), dtype="M8[s]"),
        "strings": np.full((16, 32), "1"),
        "list": [[0] * 32] * 16,
        "none": None,
        "bytes": b"",
    }


ODD_TENSORS = odd_tensors()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ODD_TENSORS)
@pytest.mark.parametrize(
    ("operator", "method"),
    [
        *itertools.product(("uint4", "nf4", "float8_e4m3"), ("transform_weight", "restore_weight")),
        ("packed", "transform_zeros"),
    ],
)
def test_tensors_that_are_no_weight(operators, operator, method, kind):
    """A tensor that is not dense, holds no values or none of the format is refused, by name."""
    with pytest.raises(bq.ConfigError, match=r"'(weight|qweight|stored|zeros)'") as error:
        getattr(operators[operator], method)(ODD_TENSORS[kind])
    check_words(error)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("layer", ["BitLinear", "uint4", "nf4"])
def test_weights_that_are_not_finite(layer, value):
    """No layer rounds NaN or an infinity to a level; the error names the first one's index."""
    linear = torch.nn.Linear(32, 16)
    linear.weight.data[3, 5] = value
    rounded = {
        "BitLinear": bq.BitLinear.from_bit_linear,
        "uint4": lambda linear: bq.Linear.from_float(linear, W_dtype="uint4", group_size=16),
        "nf4": lambda linear: bq.Linear.from_float(linear, W_dtype="nf4", group_size=16),
    }[layer]
    with pytest.raises(bq.ConfigError, match=rf"'weight' must be finite \(got {value} at \(3, 5\)\)"):
        rounded(linear)


def test_layers_without_values():
    """A layer on torch's meta device has no weight that could be rounded: refused, or a layer that has none either."""
    linear = torch.nn.Linear(32, 16, device="meta")
    with pytest.raises(bq.ConfigError, match="'weight'"):
        bq.BitLinear.from_bit_linear(linear)
    assert bq.Linear.from_float(linear, W_dtype="uint4", group_size=16).qweight.is_meta


# Text and environment.


def test_text_that_is_nested_without_end():
    """JSON of a program that nobody could have written is refused, not a stack that overflows."""
    with pytest.raises(bq.BuildError, match="cannot be made again"):
        problem_parts("[" * 200_000)


@pytest.mark.parametrize("value", ["~nosuchuser/kernels", "x" * 5000 + "/y"])
@pytest.mark.filterwarnings("ignore::bitquant.cache.CacheWarning")
def test_cache_folders_that_cannot_be(monkeypatch, tmp_path, value):
    """A user that does not exist is an error; a name that is too long a warning, as any folder that cannot be used."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("BITQUANT_CACHE_DIR", value)
    if value.startswith("~"):
        with pytest.raises(bq.ConfigError, match=r"'BITQUANT_CACHE_DIR' must name a folder .*: there is no such user"):
            bq.Matmul(config(N=24), target="cpu")
    else:
        bq.Matmul(config(N=24), target="cpu")


@pytest.mark.parametrize("value", ["missing", "~nosuchuser", "x" * 5000])
@pytest.mark.parametrize("target", ["cpu", "sm_80"])
def test_schedules_that_are_not_there(monkeypatch, tmp_path, value, target):
    """BITQUANT_SCHEDULES is looked at whatever the target is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITQUANT_SCHEDULES", value)
    with pytest.raises(bq.RecordError, match="BITQUANT_SCHEDULES names"):
        bq.Matmul(config(N=24), target=target)


@pytest.mark.parametrize("command", [["cache"], ["cache", "clear", "--yes"]])
def test_commands_of_the_cache_on_a_file(monkeypatch, tmp_path, command):
    """A file in the place of the folder is told, and neither removed nor taken for another folder."""
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("BITQUANT_CACHE_DIR", str(tmp_path / "file"))
    result = CliRunner().invoke(cli, command)
    assert result.exit_code != 0
    assert isinstance(result.exception, (bq.ConfigError, SystemExit))
    assert (tmp_path / "file").read_text() == "mine"


THREADS = """
import torch, bitquant as bq
matmul = bq.Matmul(bq.MatmulConfig(M=64, N=64, K=64, W_dtype="uint4"), target="cpu")
try:
    matmul(torch.zeros(64, 64).half(), matmul.transform_weight(torch.zeros(64, 64, dtype=torch.int8)))
except bq.UnsupportedError as error:
    print(error)
"""


def test_more_threads_than_a_machine_bears():
    """TVM_NUM_THREADS=100000 is an error, and not a call that waits for ever."""
    environment = {**os.environ, "TVM_NUM_THREADS": "100000"}
    answer = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=True, env=environment, timeout=300
    )
    assert "'TVM_NUM_THREADS' must be a number from 1 to" in answer.stdout
