# SPDX-License-Identifier: Apache-2.0
"""What became of a candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bitquant.errors import RecordError
from bitquant.schedule.rules.contract import Rule
from bitquant.schedule.tuned import read_hint
from bitquant.tune.candidates import Candidate

__all__ = ["Status", "Trial", "TuningWarning", "Verdict"]

#: "measured"; "wrong": its result is; "failed": it could not be built or run.
Status = Literal["measured", "wrong", "failed"]


class TuningWarning(UserWarning):
    """A candidate gave a wrong result, or could not be built or run. It is never chosen, but it should not happen."""


@dataclass(frozen=True)
class Verdict:
    """What a measurement of a kernel says.

    Attributes
    ----------
    status, latency_us, note
        As of a `Trial`.
    """

    status: Status
    latency_us: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Trial:
    """What became of a candidate.

    Attributes
    ----------
    candidate
        Rung, rule and hint.
    status
        "measured"; "wrong": its result is; "failed": it could not be built or run.
    latency_us
        Median time of a call with as many rows as the rung has, in microseconds; None where it was not measured.
    is_final
        Whether the latency is that of the second, precise pass.
    note
        The complaint or error.
    """

    candidate: Candidate
    status: Status
    latency_us: float | None = None
    is_final: bool = False
    note: str = ""

    @classmethod
    def of(cls, candidate: Candidate, verdict: Verdict, *, is_final: bool = False) -> Trial:
        """Return the trial of a candidate that was measured with this verdict."""
        is_final = is_final and verdict.status == "measured"
        return cls(candidate, verdict.status, verdict.latency_us, is_final, verdict.note)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        c = self.candidate
        return {
            "rung": c.rung,
            "rule": c.rule.name,
            "hint": c.hint.to_dict(),
            "status": self.status,
            "latency_us": self.latency_us,
            "is_final": self.is_final,
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], rules: Sequence[Rule]) -> Trial:
        """Return the trial whose `to_dict` is `fields`.

        Raises
        ------
        RecordError
            If a field is missing, or the hint is none of a rule of `rules`.
        """
        try:
            rule = next(rule for rule in rules if rule.name == fields["rule"])
            candidate = Candidate(int(fields["rung"]), rule, read_hint(rule, fields["hint"]))
            rest = {name: fields[name] for name in ("status", "latency_us", "is_final", "note")}
        except (StopIteration, KeyError, TypeError, ValueError) as error:
            raise RecordError(f"is no trial of these rules: {fields!r:.200}") from error
        return cls(candidate, **rest)
