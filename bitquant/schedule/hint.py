"""Hints: how a rule solves a problem, as plain data (tile sizes and the like)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from bitquant.errors import RecordError

__all__ = ["Hint"]


@dataclass(frozen=True)
class Hint:
    """Base of every rule's hint: a frozen dataclass whose fields are ints, strings and bools.

    The same rule, problem, target and hint give the same kernel.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Hint:
        """Return the hint with these fields.

        Raises
        ------
        RecordError
            If a field is unknown.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known):
            raise RecordError(f"{cls.__name__} has no field {unknown[0]!r}; its fields are {', '.join(sorted(known))}")
        return cls(**fields)

    def __str__(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.to_dict().items())
