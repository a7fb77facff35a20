# SPDX-License-Identifier: Apache-2.0
"""Wrong calls: whatever is handed in, the error is bitquant's own, in a line or two. The table grows."""

from __future__ import annotations

import dataclasses
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
from bitquant.transformers import BitquantConfig

#: What stands where something else is meant.
ODD = {
    "array": np.zeros(2), "bytes": b"x", "float": 1.5, "-1.0": -1.0, "nan": float("nan"), "string": "x", "list": [1],
    "object": object(), "tensor": torch.zeros(2), "scalar tensor": torch.tensor(4), "numpy int": np.int64(4),
    "complex": 1j, "set": {1}, "type": int, "nested list": [[1]], "surrogate": "\ud800", "negative": -5, "huge": 10**40,
}  # fmt: skip
NEVER = ("array", "bytes", "float", "nan", "object", "tensor", "complex", "set", "type", "nested list")
FIELDS = [field.name for field in dataclasses.fields(bq.MatmulConfig)]


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


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_takes_what_is_none_of_its_values(field):
    """No field of a config is an array, bytes, a fraction or an object; the error names it."""
    for value in NEVER:
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


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_arguments_of_another_kind(argument):
    """What is no config, target, rule, record, path or layer is refused where it comes in."""
    for value in ODD.values():
        with pytest.raises(bq.BitquantError) as error:
            ARGUMENTS[argument](value)
        check_words(error)


@pytest.mark.parametrize("method", ["profile_latency", "kernel_for", "bytes_per_call"])
def test_rows_of_another_kind(operators, method):
    """`m` is a number of rows wherever a method takes one."""
    for value in ODD.values():
        with pytest.raises(bq.CallError, match="'m' must be") as error:
            getattr(operators["uint4"], method)(value)
        check_words(error)


# Layers and models.


def layers():
    """A model with layers that can be quantized."""
    return torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.Linear(16, 16))


def small(**fields):
    """A layer with all operands that it may have."""
    options = dict(group_size=16, with_scaling=True, with_zeros=True, opt_M=(1,), with_channel_scale=True)
    return bq.Linear(32, 16, True, W_dtype="uint4", with_permutation=True, **options, **fields)


def arguments_of(call, *names):
    """One function for each of these keyword arguments."""
    return {name: lambda value, name=name: call(**{name: value}) for name in names}


def nowhere(**arguments):
    return bq.load_model("nowhere", **arguments)


def quantized(**arguments):
    return bq.quantize_model(layers(), **{"group_size": 16, **arguments})


LAYER_ARGUMENTS = ("A_dtype", "W_dtype", "accum_dtype", "out_dtype", "group_size", "zeros_mode", "opt_M", "scale_dtype")
LAYER_FLAGS = (
    "bias", "with_scaling", "with_zeros", "enable_tuning", "with_activation_scale", "with_channel_scale",
    "quantize_activations", "with_permutation",
)  # fmt: skip
#: What takes models and layers, by the function's name and the argument's.
NN_ARGUMENTS = {
    "load_model": {
        "path": bq.load_model,
        **arguments_of(nowhere, "device", "dtype", "on_unsupported", "scale_dtype", "merge", "opt_M"),
        **arguments_of(nowhere, "quantize_activations"),
    },
    "read_checkpoint": {
        "path": bq.read_checkpoint,
        **arguments_of(lambda **a: bq.read_checkpoint("nowhere", **a), "on_unsupported", "device"),
    },
    "quantize_model": {
        "model": bq.quantize_model,
        **arguments_of(quantized, "W_dtype", "group_size", "zeros", "A_dtype", "skip", "method"),
        **arguments_of(quantized, "opt_M", "scale_dtype", "out_dtype", "accum_dtype", "target", "enable_tuning"),
    },
    "dequantize_model": {
        "model": bq.dequantize_model, "dtype": lambda value: bq.dequantize_model(layers(), value),
    },
    "prepare_model": {"model": bq.prepare_model, "device": lambda value: bq.prepare_model(layers(), value)},
    "BitquantConfig": arguments_of(
        BitquantConfig, "W_dtype", "group_size", "zeros", "A_dtype", "skip", "method", "opt_M", "layers", "bits",
    ),
    "Linear": {
        **arguments_of(lambda **a: bq.Linear(**{"in_features": 32, "out_features": 16, **a}), *LAYER_FLAGS),
        **arguments_of(lambda **a: bq.Linear(32, 16, **a), *LAYER_ARGUMENTS, "target"),
        **arguments_of(lambda **a: bq.Linear(**{"in_features": 32, "out_features": 16, **a}), "in_features"),
        **arguments_of(lambda **a: bq.Linear(**{"in_features": 32, "out_features": 16, **a}), "out_features"),
    },
    "Linear.from_float": arguments_of(
        lambda **a: bq.Linear.from_float(torch.nn.Linear(32, 16), **{"group_size": 16, **a}),
        "W_dtype", "group_size", "A_dtype", "out_dtype", "zeros_mode", "method", "opt_M",
    ),
    "Linear.from_quantized": {"weight": bq.Linear.from_quantized},
    "Linear.dequantize": {"dtype": lambda value: bq.Linear(32, 16, W_dtype="uint4", opt_M=1).dequantize(value)},
    "BitLinear": arguments_of(lambda **a: bq.BitLinear(32, 16, **a), "bias", "opt_M", "target", "weight_bits"),
}  # fmt: skip
#: What is right after all: a group may be as long as a row or longer, and a ladder may have one rung.
NN_RIGHT = {
    ("quantize_model", "group_size", "huge"), ("BitquantConfig", "group_size", "huge"),
    *((function, "opt_M", "list") for function in NN_ARGUMENTS),
}  # fmt: skip


@pytest.mark.parametrize(
    ("function", "argument"), [(function, name) for function, names in NN_ARGUMENTS.items() for name in names]
)
def test_arguments_of_layers_and_models(function, argument):
    """What is no model, layer, path, device, type, name or flag is refused where it comes in, before anything else."""
    values = {**ODD, "infinite": float("inf"), "mapping": {"a": 1}, "NUL": "a\0b", "long": "[" * 5000}
    if argument in LAYER_FLAGS:
        values |= {"int": 1, "zero": 0}
    for name, value in values.items():
        if (function, argument, name) not in NN_RIGHT:
            with pytest.raises(bq.BitquantError) as error:
                NN_ARGUMENTS[function][argument](value)
            check_words(error)
            if argument == "opt_M":  # M is what a config calls it.
                assert "'opt_M'" in str(error.value)


@pytest.mark.parametrize("operand", ["weight", "scales", "zeros", "bias", "channel_scale", "permutation"])
def test_operands_of_a_layer(operand):
    """A tensor that is none, or of another kind than the layer's, is refused by name, and nothing has been loaded."""
    right = {
        "weight": torch.ones(16, 32, dtype=torch.int8), "scales": torch.ones(16, 2).half(),
        "zeros": torch.ones(16, 2).half(), "bias": torch.zeros(16).half(), "channel_scale": torch.ones(16),
        "permutation": torch.arange(32),
    }  # fmt: skip
    layer = small()
    wrong = {
        **ODD, **ODD_TENSORS, "far": torch.arange(32) + 2**62, "twice": torch.arange(32) // 2,
        "nowhere": right[operand].to("meta"), "nothing": right[operand][:0],
    }  # fmt: skip
    for value in wrong.values():
        with pytest.raises(bq.ConfigError, match=f"'{operand}'") as error:
            layer.load_and_transform_weight(**{**right, operand: value})
        check_words(error)
    assert not layer.qweight.any()
    layer.load_and_transform_weight(**right)


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
@pytest.mark.parametrize(
    ("operator", "method"),
    [
        *itertools.product(("uint4", "nf4", "float8_e4m3"), ("transform_weight", "restore_weight")),
        ("packed", "transform_zeros"),
    ],
)
def test_tensors_that_are_no_weight(operators, operator, method):
    """A tensor that is not dense, holds no values or none of the format is refused, by name."""
    for tensor in ODD_TENSORS.values():
        with pytest.raises(bq.ConfigError, match=r"'(weight|qweight|stored|zeros)'") as error:
            getattr(operators[operator], method)(tensor)
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


@pytest.mark.thorough
def test_more_threads_than_a_machine_bears():
    """TVM_NUM_THREADS=100000 is an error, and not a call that waits for ever."""
    environment = {**os.environ, "TVM_NUM_THREADS": "100000"}
    answer = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=True, env=environment, timeout=300
    )
    assert "'TVM_NUM_THREADS' must be a number from 1 to" in answer.stdout
