# SPDX-License-Identifier: Apache-2.0
"""Records: files, lookup, merging; and what becomes of one that does not fit."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import threading

import pytest
import torch
import tvm
import tvm_ffi

import bitquant as bq
from bitquant.arch import cpu_target, cuda_target
from bitquant.compute import select_implementation
from bitquant.files import lock_folder
from bitquant.problem import Problem
from bitquant.schedule import (
    ApplyDefaultSchedule,
    ApplyTunedSchedule,
    Plan,
    Record,
    Records,
    apply_plan,
    choice_of,
    load_records,
    plan,
    save_records,
    schedule_module,
)
from bitquant.schedule import records as records_module
from bitquant.schedule.records import record_path, records_for, shipped_directory
from bitquant.schedule.rules import MmaRule, default_rules
from bitquant.schedule.rules.gemv import GemvHint
from bitquant.schedule.rules.mma.hint import MmaHint
from bitquant.schedule.tuned import read_hint
from bitquant.testing.shape_sets import HELD_OUT_SHAPES
from bitquant.tune.trials import read_trials

SM90 = cuda_target("sm_90a")
#: Not the default, which has 4 slots.
HINT = MmaHint(16, 16, 128, 1, 1, 4, 5)


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    """No records but those of a test: shipped ones stand in a folder that is empty at first."""
    monkeypatch.delenv("BITQUANT_SCHEDULES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr(records_module, "shipped_directory", lambda: tmp_path / "shipped")


def config_for(**fields):
    return bq.MatmulConfig(
        **{"M": (1, 16, 64), "N": 256, "K": 256, "W_dtype": "uint4", "fast_decoding": False} | fields
    )


def record(config=None, **fields):
    config = config or config_for()
    values = {
        "problem": {k: v for k, v in config.problem().items() if k != "M"},
        "rung": 16,
        "arch": "sm_90a",
        "device": "NVIDIA H200",
        "rule": "mma",
        "hint": HINT.to_dict(),
        "latency_us": 10.0,
        "floor_us": 5.0,
        "provenance": {"date": "2025-01-01"},
    }
    return Record.from_dict(values | fields)


def values_of(**fields):
    """The fields of a record in JSON, changed; None takes one out."""
    values = record().to_dict() | fields
    return {k: v for k, v in values.items() if v is not None}


def write(path, *values, schema=2):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": schema, "records": list(values)}))
    return path


def schedule(config, target, *passes):
    with target:
        return tvm.transform.Sequential(list(passes))(select_implementation(config))


def choices(mod):
    return {int(f.attrs["bitquant.rung"]): choice_of(f) for _, f in mod.functions_items()}


# Files.


def test_round_trip(tmp_path):
    """What is written is read back, from where the path says that its problem stands."""
    mine = [record(), record(rung=64, latency_us=20.5), record(config_for(N=512), rung=1)]
    changed = save_records(mine, tmp_path)
    assert changed == [tmp_path / "sm_90a" / "nvidia-h200" / "matmul_nt-float16-uint4.json"]
    assert sorted(load_records(tmp_path), key=str) == sorted(mine, key=str)
    assert {r.source for r in load_records(tmp_path)} == set(changed)
    assert list(load_records(changed[0])) == list(load_records(tmp_path))


def test_processes_that_write_one_file_lose_nothing(tmp_path):
    """Threads, which lock each other out as processes do, write different records to one file: all are there."""
    threads = [
        threading.Thread(target=lambda rung=rung: save_records([record(rung=rung)], tmp_path)) for rung in range(1, 17)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {r.rung for r in load_records(tmp_path)} == set(range(1, 17))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    """A folder in the place of a file, a file in the place of a folder, a lock that another holds: a RecordError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(bq.RecordError, match=r"file/sm_90a/.*cannot be written: Not a directory; name a folder"):
        save_records([record()], tmp_path / "file")
    (file,) = save_records([record()], tmp_path)
    monkeypatch.setattr(records_module, "_LOCK_TIMEOUT_S", 0.05)
    with (
        lock_folder(file.parent, 1.0),
        pytest.raises(bq.RecordError, match=r"cannot be written: another process has locked it for 0\.05 s"),
    ):
        save_records([record(rung=64)], tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(bq.RecordError, match="it is a folder, and no file"):
        save_records([record()], tmp_path)


@pytest.mark.parametrize("kind", ["fifo", "device", "deep", "large"])
def test_file_that_is_a_trap_is_named(tmp_path, monkeypatch, kind):
    """A pipe, a device, JSON that is nested without end or a file without end: an error, at once."""
    path = tmp_path / "records.json"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "deep":
        path.write_text('{"schema": 2, "records": ' + "[" * 200_000)
    else:
        monkeypatch.setattr(records_module, "_LIMIT_BYTES", 1000)
        path.write_text(" " * 2000)
    with pytest.raises(bq.RecordError, match=r"records\.json: (is no JSON file|cannot be read)"):
        load_records(path)


@pytest.mark.parametrize("rule", default_rules(), ids=lambda rule: rule.name)
def test_fields_of_hints_keep_their_former_names(rule):
    """A hint of schema 1 is read under the names of now."""
    former = {new: old for old, new in rule.hint_type.former_names.items()}
    hint = rule.hint_type()
    assert read_hint(rule, {former.get(name, name): value for name, value in hint.to_dict().items()}) == hint


def test_files_of_schema_1_are_read(tmp_path):
    """A record that an earlier version wrote serves."""
    old = values_of(rung=1, rule="gemv", hint={"warps": 8, "rows": 1})
    path = write(tmp_path / "records.json", old, schema=1)
    mod = schedule(config_for(), SM90, ApplyTunedSchedule(path), ApplyDefaultSchedule())
    assert choices(mod)[1].hint == {"warps": 8, "n_per_warp": 1}


def test_files_are_one_record_a_line_in_a_fixed_order(tmp_path):
    """A record is a line, and the order does not depend on that of tuning: diffs are small."""
    mine = [record(rung=rung) for rung in (64, 1, 16)]
    (file,) = save_records(mine, tmp_path / "a")
    (other,) = save_records(reversed(mine), tmp_path / "b")
    lines = file.read_text().splitlines()
    assert file.read_text() == other.read_text()
    assert lines[:3] == ["{", '"schema": 2,', '"records": [']
    assert [json.loads(line.rstrip(","))["rung"] for line in lines[3:-2]] == [1, 16, 64]
    assert save_records([record(rung=16, latency_us=8.0)], tmp_path / "a") == [file]
    assert [a == b for a, b in zip(lines, file.read_text().splitlines(), strict=True)].count(False) == 1


def test_problems_of_other_formats_have_files_of_their_own():
    """The path names architecture, device, operation and formats."""
    config = bq.MatmulConfig(M=1, N=64, K=64, A_dtype="int8", W_dtype="int2", accum_dtype="int32", out_dtype="int32")
    path = record_path(config, "sm_80", "NVIDIA A100-SXM4-80GB")
    assert path.as_posix() == "sm_80/nvidia-a100-sxm4-80gb/matmul_nt-int8-int2.json"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rung": "16"}, "field 'rung' must be a whole number (got '16')"),
        ({"rung": True}, "field 'rung' must be a whole number (got True)"),
        ({"rung": 0}, "field 'rung' must be above 0 (got 0)"),
        ({"latency_us": float("nan")}, "field 'latency_us' must be above 0 (got nan)"),
        ({"hint": [1]}, "field 'hint' must be an object (got [1])"),
        ({"rule": None}, "lacks the field 'rule'"),
        ({"speed": 1}, "unknown field 'speed'"),
        ({"problem": {"N": 64}}, "field 'problem' is no problem"),
        ({"problem": record().problem | {"W_dtype": "uint9"}}, "'W_dtype' must be one of"),
    ],
)
def test_a_malformed_record_names_file_and_field(values, words, tmp_path):
    """Each message names the file, the record and the field."""
    path = write(tmp_path / "mine.json", values_of(**values))
    with pytest.raises(bq.RecordError) as error:
        load_records(path)
    assert str(path) in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON file"),
        ("[]", "must be an object with"),
        ('{"schema": 9, "records": []}', "must be 1 or 2 (got 9)"),
    ],
)
def test_a_malformed_file_is_named(text, words, tmp_path):
    """A file that holds no records says so, and is not overwritten."""
    path = tmp_path / record_path(config_for(), "sm_90a", "NVIDIA H200")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for attempt in (lambda: load_records(path), lambda: save_records([record()], tmp_path)):
        with pytest.raises(bq.RecordError) as error:
            attempt()
        assert str(path) in str(error.value)
        assert words in str(error.value)
    assert path.read_text() == text


def test_a_field_that_is_new_in_the_problem_gets_its_default():
    """A record from before a field was added to the problem still serves it."""
    problem = dict(record().problem)
    del problem["scale_dtype"]
    assert Record.from_dict(values_of(problem=problem)).key == record().key


# Lookup.


def test_lookup_is_exact():
    """Only the same problem, rung and architecture matches; M does not matter."""
    found = Records([record()])
    assert found.find(config_for(), 16, "sm_90a") == record()
    assert found.find(config_for(M=16), 16, "sm_90a") == record()
    assert found.find(config_for(), 1, "sm_90a") is None
    assert found.find(config_for(), 16, "sm_80") is None
    for change in ({"N": 128}, {"with_bias": True}, {"fast_decoding": None}, {"out_dtype": "float32"}):
        assert found.find(config_for(**change), 16, "sm_90a") is None


def test_the_least_precision_of_sums_makes_no_difference():
    """Kernels sum in float32 or int32 whatever accum_dtype allows, so that a record serves every accum_dtype."""
    records = Records([record(config_for(accum_dtype="float16"))])
    assert records.find(config_for(accum_dtype="float32"), 16, "sm_90a") is not None
    assert not records.add(record(config_for(accum_dtype="float32"), latency_us=11.0))
    assert len(records) == 1


def test_the_same_device_is_preferred():
    """Of several devices of an architecture the attached one's record is taken, else the first by name."""
    h100, h200 = record(device="NVIDIA H100"), record(device="NVIDIA H200", latency_us=5.0)
    found = Records([h200, h100])
    assert found.find(config_for(), 16, "sm_90a", "NVIDIA H200") == h200
    assert found.find(config_for(), 16, "sm_90a", "NVIDIA GH200") == h100
    assert found.find(config_for(), 16, "sm_90a") == h100


def test_the_attached_device_decides_a_plan(monkeypatch):
    """A plan asks which GPU is here where records of several compete."""
    other = record(device="NVIDIA H100", hint=MmaHint(16, 16, 256, 1, 1, 8, 3).to_dict())
    mine = Records([record(), other])
    assert plan(config_for(), SM90, records=mine).planned[16].hint == other.hint
    monkeypatch.setattr("bitquant.schedule.tuned._attached_device", lambda arch: "NVIDIA H200")
    assert plan(config_for(), SM90, records=mine).planned[16].hint == HINT.to_dict()


def test_merging_keeps_the_faster():
    """A record is replaced by one that is faster by more than the noise, or on demand."""
    records = Records([record(latency_us=10.0)])
    assert not records.add(record(latency_us=11.0))
    assert not records.add(record(latency_us=9.95))
    assert records.add(record(latency_us=9.0))
    assert records.add(record(latency_us=12.0), replace=True)
    assert [r.latency_us for r in records] == [12.0]
    assert records.add(record(latency_us=15.0, device="NVIDIA H100"))
    assert len(records) == 2


def test_saving_merges(tmp_path):
    """What is in a file stays; a slower record changes nothing, also not the file's time."""
    (file,) = save_records([record(), record(rung=1)], tmp_path)
    assert save_records([record(latency_us=11.0)], tmp_path) == []
    assert save_records([record(latency_us=11.0), record(rung=64)], tmp_path) == [file]
    assert [(r.rung, r.latency_us) for r in load_records(file)] == [(1, 10.0), (16, 10.0), (64, 10.0)]
    assert save_records([record(latency_us=11.0)], tmp_path, replace=True) == [file]
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_changed_file_is_read_again(tmp_path):
    """Files are read once, and again when they change."""
    (file,) = save_records([record()], tmp_path)
    found = records_for(tmp_path, config_for(), "sm_90a")
    assert len(found) == 1
    assert records_for(tmp_path, config_for(), "sm_90a") is found
    write(file, values_of(), values_of(rung=64))
    os.utime(file, ns=(1, 1))
    assert len(records_for(tmp_path, config_for(), "sm_90a")) == 2
    assert len(records_for(tmp_path, config_for(), "sm_80")) == 0


# Plans and the pass.


def test_tuned_then_default():
    """A function with a record gets its hint, another kernel than the default's; the others get the default."""
    config = config_for()
    mod = schedule(config, SM90, ApplyTunedSchedule([record()]), ApplyDefaultSchedule())
    default = schedule_module(select_implementation(config), SM90)
    chosen = choices(mod)
    assert (chosen[16].rule, chosen[16].hint, chosen[16].origin) == ("mma", HINT.to_dict(), "record")
    assert chosen[16].smem_bytes == MmaRule().smem_bytes(Problem(config, 16, SM90), HINT)
    assert choices(default)[16].hint != HINT.to_dict()
    assert not tvm_ffi.structural_equal(mod["matmul_m16"].body, default["matmul_m16"].body, map_free_vars=True)
    for rung in (1, 64):
        assert chosen[rung] == choices(default)[rung]
        tvm.ir.assert_structural_equal(mod[f"matmul_m{rung}"], default[f"matmul_m{rung}"])


def test_the_pass_leaves_the_rest_unscheduled():
    """Without a record a function stays as it is."""
    mod = schedule(config_for(), SM90, ApplyTunedSchedule([record()]))
    assert {rung: c is not None for rung, c in choices(mod).items()} == {1: False, 16: True, 64: False}


def test_static_m_and_the_rung_share_a_record():
    """A record of a rung serves the static M of that size."""
    assert plan(config_for(M=16), SM90, records=[record()]).planned[16].hint == HINT.to_dict()


@functools.cache
def default_choice():
    """How a function is scheduled where there is no record."""
    return choices(schedule_module(select_implementation(config_for()), SM90))[16]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rule": "magic"}, "there is no rule 'magic'; there are "),
        ({"hint": {"block_q": 1}}, "MmaHint has no field 'block_q'"),
        ({"hint": HINT.to_dict() | {"stages": "5"}}, "'stages' must be of type int (got '5')"),
        ({"rule": "gemv", "hint": {}}, "rule gemv refuses: needs M == 1 (got 16)"),
        ({"hint": HINT.to_dict() | {"stages": 99}}, "the hint's field 'stages' must be 3 to 9 (got 99)"),
        ({"hint": HINT.to_dict() | {"warps_m": 0}}, "does not fit"),
    ],
)
def test_a_stale_record(fields, words, tmp_path, monkeypatch):
    """The user's own is an error that names file and rule; a shipped one is a refusal, and the default serves."""
    config = config_for()
    stale = record(**fields)
    (file,) = save_records([stale], tmp_path / "mine")

    def scheduled():
        return apply_plan(select_implementation(config), SM90, plan(config, SM90))

    monkeypatch.setenv("BITQUANT_SCHEDULES", str(tmp_path / "mine"))
    with pytest.raises(bq.RecordError) as error:
        scheduled()
    assert str(file) in str(error.value)
    assert stale.rule in str(error.value)
    assert words in str(error.value)

    monkeypatch.delenv("BITQUANT_SCHEDULES")
    (shipped,) = save_records([stale], tmp_path / "shipped")
    chosen = choices(schedule_module(scheduled(), SM90))[16]
    default = default_choice()
    reason = chosen.refusals["record"]
    assert reason.startswith(shipped.relative_to(tmp_path / "shipped").as_posix() + ": ")
    assert words in reason or words == "does not fit"
    assert dataclasses.replace(chosen, refusals=default.refusals) == default


class FragmentRule(MmaRule):
    """A rule for few rows and another layout."""

    name = "fragments"
    weight_layouts = ("fragment",)

    def refuses(self, problem):
        return None if problem.rung <= 16 else f"needs at most 16 rows (got {problem.rung})"


@pytest.mark.parametrize(
    ("ladder", "flag", "fields", "words"),
    [
        (
            (1,),
            False,
            {"rung": 1, "rule": "gemv", "hint": GemvHint().to_dict()},
            "gemv refuses: needs M == 1 (got 1 as",
        ),
        ((16, 64), None, {"rule": "fragments"}, "fragments refuses: reads the fragment weight layout (got plain)"),
    ],
)
@pytest.mark.parametrize("whose", ["mine", "shipped"])
def test_a_record_of_another_ladder_is_not_stale(ladder, flag, fields, words, whose, tmp_path, monkeypatch):
    """One that fits its rung alone, but not in this ladder, is listed; the next record or the default serves."""
    rules = (FragmentRule(), *default_rules())
    own = record(config_for(fast_decoding=flag), **fields)
    alone, config = config_for(M=own.rung, fast_decoding=flag), config_for(M=ladder, fast_decoding=flag)
    save_records([own], tmp_path / whose)
    monkeypatch.setenv("BITQUANT_SCHEDULES", str(tmp_path / "mine") if whose == "mine" else "")
    layout = "fragment" if own.rule == "fragments" else "plain"
    assert plan(alone, SM90, layout, rules=rules).planned[own.rung].rule == own.rule
    refused = plan(config, SM90, "plain", rules=rules)
    assert refused.planned == {}
    assert list(refused.refusals) == [own.rung]
    assert words in refused.refusals[own.rung]
    if whose == "mine":
        save_records([record(config, rung=own.rung)], tmp_path / "shipped")
        planned = plan(config, SM90, "plain", rules=rules)
        assert planned.planned[own.rung].hint == HINT.to_dict()
        assert planned.refusals == {}


def test_the_users_records_beat_the_shipped(tmp_path, monkeypatch):
    """Folders of BITQUANT_SCHEDULES come first, then the shipped one; an argument takes the place of both."""
    hints = {
        name: HINT.to_dict() | {"stages": stages} for name, stages in (("own", 6), ("shipped", 7), ("argument", 8))
    }
    for name in ("own", "shipped"):
        save_records([record(hint=hints[name])], tmp_path / name)
    config = config_for(M=16)
    file = record_path(config, "sm_90a", "NVIDIA H200")

    def found(**arguments):
        planned = plan(config, SM90, **arguments).planned[16]
        return planned.hint, planned.origin

    assert found() == (hints["shipped"], f"record {file}")
    monkeypatch.setenv("BITQUANT_SCHEDULES", os.pathsep.join([str(tmp_path / "shipped"), str(tmp_path / "own")]))
    assert found() == (hints["shipped"], f"record {tmp_path / 'shipped' / file}")
    monkeypatch.setenv("BITQUANT_SCHEDULES", str(tmp_path / "own"))
    assert found() == (hints["own"], f"record {tmp_path / 'own' / file}")
    assert found(records=[record(hint=hints["argument"])]) == (hints["argument"], "record")
    assert found(records=tmp_path / "shipped") == (hints["shipped"], f"record {tmp_path / 'shipped' / file}")
    assert plan(config, SM90, records=()) == Plan()


def test_records_can_be_switched_off(tmp_path, monkeypatch):
    """BITQUANT_SCHEDULES=off leaves the defaults; a folder that is not there is an error."""
    save_records([record()], tmp_path / "shipped")
    monkeypatch.setenv("BITQUANT_SCHEDULES", "off")
    assert plan(config_for(), SM90) == Plan()
    monkeypatch.setenv("BITQUANT_SCHEDULES", str(tmp_path / "gone"))
    with pytest.raises(bq.RecordError, match=r"names .*gone, which does not exist"):
        plan(config_for(), SM90)


def test_a_plan_is_json():
    """Plans go into cache keys and manifests, and come back."""
    of_records = plan(config_for(), SM90, records=[record()])
    planned = Plan(of_records.planned, {1: "reason"})
    assert Plan.from_dict(json.loads(json.dumps(planned.to_dict()))) == planned


def test_records_are_for_gpus():
    """On a CPU nothing is planned."""
    assert plan(config_for(), cpu_target(), records=[record()]) == Plan()


# What ships.


@pytest.mark.parametrize("path", sorted(shipped_directory().rglob("*.json")), ids=lambda p: p.stem)
def test_every_shipped_record_applies(path):
    """Each shipped record is where a lookup finds it, and is planned for its rung, fixed or in a ladder.

    The first one of each rule schedules its problem; that all do is what their digests show.
    """
    scheduled = set()
    for shipped in load_records(path):
        config, target = shipped.config, cuda_target(shipped.arch)
        assert path == shipped_directory() / record_path(config, shipped.arch, shipped.device)
        rule = next(rule for rule in default_rules() if rule.name == shipped.rule)
        layouts = rule.weight_layouts
        #: A field that is younger than the record has its default.
        hint = rule.hint_type.from_dict(dict(shipped.hint)).to_dict()
        layout = "plain" if config.wants_plain_layout or "fragment" not in layouts else "fragment"
        symbolic = config.with_M((shipped.rung, 2 * shipped.rung))
        for problem in (config, symbolic):
            planned = plan(problem, target, layout, Records([shipped]))
            assert planned.planned[shipped.rung].rule == shipped.rule
            assert planned.planned[shipped.rung].hint == shipped.hint
            assert not planned.refusals
            if (shipped.rule, problem.is_static) not in scheduled:
                scheduled.add((shipped.rule, problem.is_static))
                mod = apply_plan(select_implementation(problem, layout), target, planned)
                assert choices(mod)[shipped.rung].hint == hint


def test_no_record_and_no_trial_is_of_a_held_out_shape():
    """What the benchmarks say of shapes without records is checked on these: nothing may be tuned on them."""
    assert not {(r.problem["N"], r.problem["K"]) for r in load_records(shipped_directory())} & HELD_OUT_SHAPES
    pytest.importorskip("pyarrow")
    shapes = {(t.problem["N"], t.problem["K"]) for t in read_trials(shipped_directory() / "trials")}
    assert len(shapes) > 100
    assert not shapes & HELD_OUT_SHAPES


def test_shipped_records_stand_in_the_checkout():
    """The folder is found, so that the test above does not pass for want of files."""
    assert (shipped_directory() / "README.md").is_file()


def test_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    """A folder that this user may not read is an error, and does not count as one without records."""

    def denied(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("bitquant.schedule.records.os.scandir", denied)
    config = bq.MatmulConfig(M=1, N=16, K=32, W_dtype="uint4")
    for read in (load_records, lambda path: bq.Matmul(config, target="cpu", records=path)):
        with pytest.raises(bq.RecordError, match="cannot be read: Permission denied"):
            read(tmp_path)
