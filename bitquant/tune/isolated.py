# SPDX-License-Identifier: Apache-2.0
"""Measuring in a process of its own, which a kernel that hangs, crashes or breaks the GPU costs, and nothing else.

The process is told of a problem and the file of an archive in a line of JSON (`bitquant.child`), says what it does
next, and answers with a verdict. Where it says nothing for too long it is killed; where it dies, or its GPU is of no
use to it any more, the next request starts another. Either way the candidate has failed, and the search goes on.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tvm.target import Target

from bitquant.arch import detected_cuda_arch, resolve_target
from bitquant.archive import Archive
from bitquant.child import Child, ChildError, answering
from bitquant.errors import UnsupportedError
from bitquant.files import scratch_folder
from bitquant.grouped_config import config_from_problem
from bitquant.problem import Problem
from bitquant.tune.candidates import Candidate
from bitquant.tune.measurer import ROUNDS, BrokenContextError, LocalMeasurer
from bitquant.tune.trial import Verdict
from bitquant.workers import describe

__all__ = ["ProcessMeasurer", "main"]

#: Longest time until the process has started, and has drawn operands and computed what is right, in seconds.
_SETUP_TIMEOUT_S = 300.0
#: Longest time for checking or timing one kernel, in seconds; a kernel that is worth a thought takes 1 on a GPU.
KERNEL_TIMEOUT_S = {"cuda": 30.0, "cpu": 120.0}


class ProcessMeasurer:
    """Measures in a process of its own, which is replaced whenever a kernel has taken it down.

    Parameters
    ----------
    device_type
        "cuda" or "cpu".
    gpu
        The GPU, as CUDA_VISIBLE_DEVICES names it; None: the first that this process sees.
    timeout_s
        Longest time for checking or timing one kernel, in seconds; default: `KERNEL_TIMEOUT_S`.

    Raises
    ------
    UnsupportedError
        If the process cannot start or cannot use the device.
    """

    def __init__(self, device_type: str, gpu: str | None = None, timeout_s: float | None = None) -> None:
        self._device_type = device_type
        self._timeout_s = KERNEL_TIMEOUT_S[device_type] if timeout_s is None else timeout_s
        environment = {"CUDA_VISIBLE_DEVICES": ""} if device_type == "cpu" else {}
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        self._child = Child(
            Child.for_module("bitquant.tune.isolated"), _SETUP_TIMEOUT_S, is_isolated=True, environment=environment
        )
        #: One request at a time, of whichever search.
        self._lock = threading.Lock()
        self._is_stopped = False
        #: How many processes there have been, and for how many seconds they were busy.
        self.started, self.busy_s = 1, 0.0
        #: The same, by what it did: "load", "operands", "check", "time", "round" (turns with others).
        self.phases_s: dict[str, float] = defaultdict(float)
        try:
            hello = self._child.ask({"do": "hello", "device": device_type})
        except ChildError as error:
            raise UnsupportedError(f"the measuring process {error}") from error
        if error_text := hello["error"]:
            self.stop()
            raise UnsupportedError(f"the measuring process cannot use the device: {error_text}")
        self._device, self.arch = str(hello["name"]), hello["arch"]

    @property
    def device(self) -> str:
        """Where kernels run, by name."""
        return self._device

    @property
    def pid(self) -> int | None:
        """The number of the process; None where none runs."""
        return self._child.pid

    def sample(self, problem: Problem, candidate: Candidate, archive: Archive) -> Verdict:  # noqa: ARG002
        """Check the result of a kernel, and time it shortly if it is right.

        Raises
        ------
        UnsupportedError
            If the operands of the problem cannot be made, for want of memory, say.
        """
        with scratch_folder() as folder:
            archive.save(folder / "0.bqk")
            phase = ["start"]

            def note(line: dict[str, Any]) -> float:
                phase[0] = line["done"][0]
                return self._limit(phase[0])

            try:
                (verdict,) = self._ask("sample", problem, [folder / "0.bqk"], note)
            except ChildError as error:
                return Verdict("failed", note=_complaint(error, phase[0]))
        return verdict

    def compare(
        self,
        problem: Problem,
        finalists: Sequence[tuple[Candidate, Archive]],
        rounds: int = ROUNDS,
        *,
        is_precise: bool = True,
    ) -> list[Verdict]:
        """Time right kernels in turns, and check each once more, as `LocalMeasurer.compare` does.

        Where one takes the process down the others begin anew.

        Raises
        ------
        UnsupportedError
            As `sample` does.
        """
        verdicts: dict[int, Verdict] = {}
        with scratch_folder() as folder:
            for i, (_, archive) in enumerate(finalists):
                archive.save(folder / f"{i}.bqk")
            while left := [i for i in range(len(finalists)) if i not in verdicts]:
                now = [left[0]]

                def note(line: dict[str, Any], left: list[int] = left, now: list[int] = now) -> float:
                    phase, *which = line["done"]
                    if which:
                        now[0] = left[which[0]]
                    return self._limit(phase)

                try:
                    paths = [folder / f"{i}.bqk" for i in left]
                    found = self._ask("compare", problem, paths, note, rounds=rounds, is_precise=is_precise)
                except ChildError as error:
                    verdicts[now[0]] = Verdict("failed", note=_complaint(error, "round"))
                else:
                    verdicts.update(zip(left, found, strict=True))
        return [verdicts[i] for i in range(len(finalists))]

    def _limit(self, phase: str) -> float:
        return _SETUP_TIMEOUT_S if phase == "operands" else self._timeout_s

    def _ask(
        self,
        what: str,
        problem: Problem,
        paths: Sequence[Path],
        note: Callable[[dict[str, Any]], float],
        **options: Any,
    ) -> list[Verdict]:
        request = {
            "do": what,
            "device": self._device_type,
            "problem": problem.config.problem(),
            "rung": problem.rung,
            "target": str(problem.target),
            "layout": problem.weight_layout,
            "archives": [str(path) for path in paths],
            "options": options,
        }
        with self._lock:
            if self._is_stopped:
                raise StoppedError
            self.started += self._child.pid is None
            begin = since = time.monotonic()
            phase = "load"

            def timed(line: dict[str, Any]) -> float:
                nonlocal phase, since
                self.phases_s[phase] += time.monotonic() - since
                phase, since = line["done"][0], time.monotonic()
                return note(line)

            try:
                answer = self._child.ask(request, timed)
            except ChildError as error:
                if self._is_stopped:
                    raise StoppedError from error
                raise
            finally:
                self.busy_s += time.monotonic() - begin
                self.phases_s[phase] += time.monotonic() - since
            if answer.get("is_broken"):
                self._child.kill()
                self._child.stop()
                raise ChildError(answer["error"])
        if answer.get("error"):
            raise UnsupportedError(f"{problem} cannot be measured: {answer['error']}")
        return [Verdict(**fields) for fields in answer["verdicts"]]

    def stop(self) -> None:
        """End the process, whatever it does; whoever waits for it gets a `StoppedError`."""
        self._is_stopped = True
        self._child.kill()
        with self._lock:
            self._child.stop()


class StoppedError(Exception):
    """The measuring was stopped."""


def _complaint(error: ChildError, phase: str) -> str:
    """Return what a trial says of a kernel that took its process down."""
    doing = {"check": "while its result was checked", "time": "while it was timed", "round": "while it was timed again"}
    return f"the measuring process {error}, {doing.get(phase, 'while it was loaded')}"


# What runs in the process.


def main() -> None:
    """Measure what is requested (`bitquant.child.answering`)."""
    measurers: dict[str, LocalMeasurer] = {}

    def answer(request: dict[str, Any], say: Callable[..., None]) -> dict[str, Any]:
        place = torch.device("cuda", 0) if request["device"] == "cuda" else torch.device("cpu")
        try:
            if request["do"] == "hello":
                return _hello(place)
            measurer = measurers.setdefault(request["device"], LocalMeasurer(place, tell=lambda *what: say(done=what)))
            config = config_from_problem(request["problem"])
            target = resolve_target(Target(request["target"]))
            problem = Problem(config, request["rung"], target, request["layout"])
            archives = [Archive.load(Path(path)) for path in request["archives"]]
            if request["do"] == "sample":
                verdicts = [measurer.sample(problem, None, archives[0])]
            else:
                verdicts = measurer.compare(problem, [(None, archive) for archive in archives], **request["options"])
        except BrokenContextError as error:
            return {"error": describe(error), "is_broken": True}
        except Exception as error:  # noqa: BLE001 - the parent reports it.
            return {"error": describe(error)}
        return {"error": None, "verdicts": [asdict(verdict) for verdict in verdicts]}

    answering(answer)


def _hello(place: torch.device) -> dict[str, Any]:
    if place.type == "cpu":
        return {"error": None, "name": "CPU", "arch": None}
    torch.zeros(1, device=place)  # An error where there is no GPU, or another process has it for itself.
    return {"error": None, "name": torch.cuda.get_device_name(place), "arch": detected_cuda_arch(0)}
