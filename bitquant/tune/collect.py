# SPDX-License-Identifier: Apache-2.0
"""Collecting trials: hints of all rules are drawn for many problems, compiled, checked and timed (`trials`).

The hints of a problem are drawn without a model of time having a part in it, but for a share of "likely" ones: what is
learned from those alone would know nothing of what the model leaves out.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitquant.archive import Archive
from bitquant.errors import UnsupportedError
from bitquant.problem import Problem
from bitquant.schedule.hint import Hint
from bitquant.schedule.ranking.order import interleaved
from bitquant.schedule.records import problem_without_rows
from bitquant.schedule.rules import default_rules
from bitquant.schedule.rules.contract import Rule
from bitquant.tune.candidates import Candidate
from bitquant.tune.compile import Builder
from bitquant.tune.measurer import Measurer
from bitquant.tune.trial import Verdict
from bitquant.tune.trials import Measurement, append_to_journal, read_journal
from bitquant.workers import Outcome

__all__ = ["Draw", "collect", "draw_hints"]

#: Of a problem, the kernels that are timed again in turns, and in how many.
FINALISTS, ROUNDS = 8, 3
#: Of the hints of a problem, the shares that are drawn uniformly and by mutation; the rest is likely ones.
UNIFORM_SHARE, MUTATED_SHARE = 0.35, 0.35
#: Rows of A up to which the rule for few of them may well be the fastest.
FEW_ROWS = 64
#: Kernels that are compiled ahead of the problem that is measured, for each process.
AHEAD = 8
#: Attempts at a mutation that fits, for each that is wanted.
ATTEMPTS = 20
#: Most characters of what is kept of a failure.
NOTE_LENGTH = 200


@dataclass(frozen=True)
class Draw:
    """What is drawn for a problem.

    Attributes
    ----------
    problem
        For exactly `rung` rows.
    counts
        How many hints of each rule, by its name, at most; none of rules that it does not name.
    is_blind
        Whether no model names any of them, but for the defaults.
    stratum
        A field of hints: those that no model names are drawn from each of its values in turn, so that rare ones count.
    """

    problem: Problem
    counts: Mapping[str, int]
    is_blind: bool = False
    stratum: str = ""

    @classmethod
    def of(cls, problem: Problem, rules: Sequence[Rule], count: int, is_blind: bool = False, stratum: str = "") -> Draw:
        """Return a draw of so many hints of all rules that apply: most of those that are likely to win."""
        applying = [rule.name for rule in rules if rule.refusal(problem) is None]
        weights = dict.fromkeys(applying, 1.0)
        if "decode" in weights and problem.rung > FEW_ROWS:
            weights["decode"] = 0.2
        total = sum(weights.values())
        return cls(
            problem, {name: round(count * weight / total) for name, weight in weights.items()}, is_blind, stratum
        )


def draw_hints(draw: Draw, rules: Sequence[Rule], seed: int = 0) -> list[tuple[Rule, Hint, str]]:
    """Return hints for a problem with how each was drawn: the default of each rule first, the others in any order."""
    chance = random.Random(f"{draw.problem} {seed}")  # noqa: S311 - not for secrets
    hints = [
        (rule, hint, how)
        for rule in rules
        if draw.counts.get(rule.name) and rule.refusal(draw.problem) is None
        for hint, how in _draw(rule, draw, draw.counts[rule.name], chance)
    ]
    defaults = [choice for choice in hints if choice[2] == "default"]
    others = [choice for choice in hints if choice[2] != "default"]
    chance.shuffle(others)
    return defaults + others


def _draw(rule: Rule, draw: Draw, count: int, chance: random.Random) -> Iterator[tuple[Hint, str]]:
    problem = draw.problem
    default = rule.default_hint(problem)
    yield default, "default"
    seen = {default}
    everything = [hint for hint in rule.population(problem) if hint not in seen]
    chance.shuffle(everything)
    strata: dict[Any, list[Hint]] = {}
    for hint in everything:
        strata.setdefault(getattr(hint, draw.stratum, None), []).append(hint)
    everything = list(interleaved(strata.values()))
    left = count - 1
    wanted = {"mutated": int(count * (0.5 if draw.is_blind else MUTATED_SHARE))}
    wanted["likely"] = 0 if draw.is_blind else count - int(count * UNIFORM_SHARE) - wanted["mutated"]
    for hint in rule.space(problem):
        if wanted["likely"] == 0:
            break
        if hint not in seen and chance.random() < 0.5:
            seen.add(hint)
            wanted["likely"] -= 1
            left -= 1
            yield hint, "likely"
    bases = everything or [default]
    for _ in range(ATTEMPTS * wanted["mutated"]):
        if wanted["mutated"] == 0:
            break
        hint = mutated(chance.choice(bases), chance)
        if hint not in seen and hint.fault() is None and rule.fault(problem, hint) is None:
            seen.add(hint)
            wanted["mutated"] -= 1
            left -= 1
            yield hint, "mutated"
    for hint in everything:
        if left <= 0:
            break
        if hint not in seen and rule.fault(problem, hint) is None:
            seen.add(hint)
            left -= 1
            yield hint, "uniform"


def mutated(hint: Hint, chance: random.Random) -> Hint:
    """Return a hint in which one to three fields are other values: the next ones up or down, or any of few."""
    fields = dataclasses.fields(hint)
    changes: dict[str, Any] = {}
    for field in chance.sample(fields, min(len(fields), chance.randint(1, 3))):
        value = getattr(hint, field.name)
        if "values" in field.metadata:
            changes[field.name] = chance.choice(field.metadata["values"])
        elif isinstance(value, int) and "least" in field.metadata:
            changes[field.name] = chance.choice((value - 1, value + 1, value // 2, 2 * value))
    return replace(hint, **changes)


def collect(
    draws: Sequence[Draw],
    journal: str | Path,
    workers: int,
    measurers: Sequence[Measurer],
    rules: Sequence[Rule] | None = None,
    seed: int = 0,
    commit: str = "",
    progress: Callable[[str], object] = lambda _: None,
) -> None:
    """Compile, check and time the hints of many problems; each problem ends with its journal.

    Kernels are compiled ahead of the problems that are being measured. What the journal has is not measured again. A
    kernel that takes the process of a `ProcessMeasurer` down has failed, and the collection goes on.

    Parameters
    ----------
    draws
        Problems in the order in which they are begun.
    journal
        The file at whose end measurements are written.
    workers
        Processes that compile.
    measurers
        Who runs the kernels: one for each GPU, all of one product. Each takes the next problem when it is free.
    rules
        The rules; default: bitquant's.
    seed
        Of the drawing.
    commit
        What measurements say of the sources.
    progress
        Called with a line of text for each problem.

    Raises
    ------
    UnsupportedError
        If the measurers are on different devices, or on none.
    """
    devices = sorted({measurer.device for measurer in measurers})
    if len(devices) != 1:
        raise UnsupportedError(f"collecting trials needs GPUs of one product (got {', '.join(devices) or 'none'})")
    rules = default_rules() if rules is None else rules
    known = {m.key for m in read_journal(journal)}
    builder = Builder(workers)
    following = _compiled(draws, builder, AHEAD * max(1, workers), rules, seed, known, devices[0])
    lock, done = threading.Lock(), 0

    def serve(measurer: Measurer) -> None:
        nonlocal done
        while True:
            with lock:
                drawn = next(following, None)
            if drawn is None:
                return
            try:
                measurements = _measure(*drawn, measurer)
            except UnsupportedError as error:  # Its operands do not fit the memory, say.
                measurements, said = [], str(error)
            else:
                said = _summary(measurements)
            today = dt.datetime.now(dt.timezone.utc).date().isoformat()
            with lock:
                append_to_journal(journal, [replace(m, date=today, commit=commit) for m in measurements])
                done += 1
                progress(f"{done} of {len(draws)}: {drawn[0].problem}: {said}")

    pool = ThreadPoolExecutor(len(measurers), "bitquant-collect")
    try:
        for served in as_completed([pool.submit(serve, measurer) for measurer in measurers]):
            served.result()
    finally:  # After Ctrl-C or an error, threads that wait for a kernel get an exception.
        builder.stop()
        for measurer in measurers:
            measurer.stop()
        pool.shutdown()


def _summary(measurements: Sequence[Measurement]) -> str:
    timed = [m for m in measurements if m.status == "measured"]
    best = min((m.latency_us for m in timed), default=0.0)
    default = min((m.latency_us for m in timed if m.draw == "default"), default=0.0)
    return f"{len(timed)} of {len(measurements)} kernels, best {best:.2f} us, default {default:.2f} us"


def _compiled(
    draws: Sequence[Draw], builder: Builder, ahead: int, rules: Sequence[Rule], seed: int, known: set[Any], device: str
) -> Iterator[tuple[Draw, list[tuple[Measurement, Candidate, Future[Outcome]]]]]:
    """Yield each draw with its hints, as measurements without a time, and what will become of each in the compiler.

    Hints of later draws are drawn and compiled meanwhile, until so many kernels are `ahead`.
    """
    waiting: deque[tuple[Draw, list[tuple[Measurement, Candidate, Future[Outcome]]]]] = deque()
    left = iter(draws)
    while True:
        while sum(len(made) for _, made in waiting) < ahead and (draw := next(left, None)) is not None:
            made = []
            for rule, hint, how in draw_hints(draw, rules, seed):
                candidate = Candidate(draw.problem.rung, rule, hint)
                measurement = _unmeasured(draw.problem, candidate, how, device)
                if measurement.key not in known:
                    made.append((measurement, candidate, builder.submit(draw.problem, candidate)))
            waiting.append((draw, made))
        if not waiting:
            return
        yield waiting.popleft()


def _unmeasured(problem: Problem, candidate: Candidate, how: str, device: str) -> Measurement:
    return Measurement(
        problem=problem_without_rows(problem.config),
        rung=problem.rung,
        device=device,
        target=str(problem.target),
        rule=candidate.rule.name,
        hint=candidate.hint.to_dict(),
        draw=how,
        status="failed",
        smem_bytes=candidate.rule.smem_bytes(problem, candidate.hint),
    )


def _measure(
    draw: Draw, made: Sequence[tuple[Measurement, Candidate, Future[Outcome]]], measurer: Measurer
) -> list[Measurement]:
    """Return what became of the kernels of a problem: all in a short sample, the best and the defaults in turns too."""
    problem = draw.problem
    results: list[Measurement] = []
    ready: dict[int, tuple[Candidate, Archive]] = {}
    for place, (measurement, candidate, future) in enumerate(made):
        outcome = future.result()
        if not isinstance(outcome, Archive):
            results.append(replace(measurement, note=outcome))
            continue
        built = measurement
        for resources in outcome.resources.values():
            built = replace(built, registers=resources.registers, spill_bytes=resources.spill_bytes)
        results.append(_told(built, measurer.sample(problem, candidate, outcome)))
        if results[place].status == "measured":
            ready[place] = candidate, outcome
    order = sorted(ready, key=lambda place: results[place].latency_us)
    again = list(dict.fromkeys([*order[:FINALISTS], *(p for p in order if results[p].draw == "default")]))
    if again:
        verdicts = measurer.compare(problem, [ready[p] for p in again], rounds=ROUNDS, is_precise=False)
        for place, verdict in zip(again, verdicts, strict=True):
            results[place] = _told(replace(results[place], rounds=ROUNDS), verdict)
    return results


def _told(measurement: Measurement, verdict: Verdict) -> Measurement:
    """Return a measurement with what a measurer says of it."""
    return replace(
        measurement, status=verdict.status, latency_us=verdict.latency_us or 0.0, note=verdict.note[:NOTE_LENGTH]
    )
