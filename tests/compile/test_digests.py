# SPDX-License-Identifier: Apache-2.0
"""Scheduled functions are those whose digests are in the file; `make digests` rewrites it."""

from __future__ import annotations

import functools
import itertools

import pytest

import bitquant as bq
from bitquant.arch import cuda_target
from bitquant.compute.matmul import matmul_dequantize_b
from bitquant.problem import Problem
from bitquant.schedule.apply import schedule_with
from bitquant.schedule.rules import MmaRule
from tests.compile import digests

#: One entry of so many is in the sample.
STRIDE = 100
TARGET = cuda_target("sm_80")

entries = functools.cache(digests.entries)


def scheduled(config, hint=None, **options):
    rule, func = MmaRule(), matmul_dequantize_b(config, 16)
    return schedule_with(func, rule, hint or rule.default_hint(Problem(config, 16, TARGET)), TARGET, **options)


@pytest.fixture
def config():
    return bq.MatmulConfig(M=16, N=64, K=128, W_dtype="uint4", fast_decoding=False)


def test_file_has_a_line_for_every_problem():
    """No problem is missing, none is left over, and no two have one name."""
    names = [entry.name for entry in entries()]
    assert len(set(names)) == len(names)
    assert list(digests.read()) == names, "`make digests` rewrites the file"


def kind_of(entry):
    """The first word of an entry's name, such as "record"."""
    return entry.name.split()[0]


def check(part):
    """Compare one entry of `STRIDE` of each kind with the file, and return the kinds."""
    kinds = itertools.groupby(sorted(entries(), key=kind_of), key=kind_of)
    of = [entry for _, entries_of_kind in kinds for entry in list(entries_of_kind)[part::STRIDE]]
    wanted = digests.read()
    differing = digests.differences({entry.name: wanted.get(entry.name, "") for entry in of}, digests.compute(of, 1))
    assert not differing, "\n".join(["if this is meant, `make digests` rewrites the file", *differing])
    return {kind_of(entry) for entry in of}


def test_sample_of_schedules_is_what_it_was():
    """One function of 100, some of each kind, is scheduled as the file says."""
    assert check(0) == {"default", "golden", "hinted", "record"}


@pytest.mark.thorough
@pytest.mark.parametrize("part", range(1, STRIDE))
def test_every_schedule_is_what_it_was(part):
    """All others are, too."""
    check(part)


def test_every_rule_and_record_is_in_the_file():
    """Each rule has schedules there, and every shipped record fits its problem."""
    lines = digests.read().values()
    assert "does not fit" not in lines
    rules = {part.split()[1] for line in lines for part in line.split(", ")}
    assert rules == {rule.name for rule in bq.schedule.rules.default_rules()}


def test_digest_does_not_tell_where_a_schedule_comes_from(config):
    """Origin, refusals and the spelling of the problem do not count."""
    plain = digests.digest_of(scheduled(config))
    other = bq.MatmulConfig(**{**config.to_dict(), "accum_dtype": "float32"})
    assert digests.digest_of(scheduled(other, origin="record a/b.json", refusals={"gemv": "no"})) == plain


def test_digest_tells_hints_and_functions_apart(config):
    """Another hint changes both parts; another problem with the same hint the second alone."""
    rule, how, function = digests.digest_of(scheduled(config)).split()
    hint = MmaRule().default_hint(Problem(config, 16, TARGET))
    other = type(hint)(**{**hint.to_dict(), "stages": hint.to_dict()["stages"] + 1})
    assert rule == "mma"
    of_hint = digests.digest_of(scheduled(config, other)).split()
    assert of_hint[1] != how
    assert of_hint[2] != function
    of_problem = digests.digest_of(scheduled(bq.MatmulConfig(**{**config.to_dict(), "N": 72}), hint)).split()
    assert of_problem[1] == how
    assert of_problem[2] != function


def test_differences_name_what_changed_came_and_went():
    """A line that is equal is left out."""
    lines = digests.differences({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "4", "d": "5"})
    assert lines == ["b\n  - 2\n  + 4", "c\n  - 3\n  + (no entry)", "d\n  - (no entry)\n  + 5"]
