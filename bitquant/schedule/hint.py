# SPDX-License-Identifier: Apache-2.0
"""Hints: how a rule solves a problem, as plain data (tile sizes and the like)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from bitquant.errors import RecordError

__all__ = ["Fault", "Hint", "one_of", "size"]

_TYPES = {"int": int, "str": str, "bool": bool}


class Fault(NamedTuple):
    """What is wrong with a hint: the field, what it must be, and what it is."""

    field: str
    rule: str
    value: Any

    def __str__(self) -> str:
        return f"the hint's field {self.field!r} must be {self.rule} (got {_short(self.value)})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def size(default: int, least: int, most: int) -> Any:
    """Return a field of a `Hint`: an int of `least` to `most`, whatever the problem; a rule may allow fewer."""
    return dataclasses.field(default=default, metadata={"least": least, "most": most})


def one_of(default: Any, *others: Any) -> Any:
    """Return a field of a `Hint` that is one of these values."""
    return dataclasses.field(default=default, metadata={"values": (default, *others)})


@dataclass(frozen=True)
class Hint:
    """Base of every rule's hint: a frozen dataclass whose fields are ints, strings and bools.

    Ints are declared with `size` or `one_of`, strings with `one_of`, so that each has a range whatever the problem is.
    The same rule, problem, target and hint give the same kernel.
    """

    #: Names that fields had in records of schema 1, with those that they have now.
    former_names: ClassVar[Mapping[str, str]] = {}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Hint:
        """Return the hint with these fields; a field may have its name of schema 1 (`former_names`).

        Raises
        ------
        RecordError
            If a field is unknown.
        """
        fields = {cls.former_names.get(name, name) if isinstance(name, str) else name: v for name, v in fields.items()}
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(fields) - known, key=str):
            raise RecordError(f"{cls.__name__} has no field {unknown[0]!r}; its fields are {', '.join(sorted(known))}")
        return cls(**fields)

    def fault(self) -> Fault | None:
        """Return the first field that is of another type than declared, or out of its range, or None."""
        for f in dataclasses.fields(self):
            value, rules = getattr(self, f.name), f.metadata
            wanted = _TYPES.get(str(f.type))
            if wanted is not None and type(value) is not wanted:  # A bool is no int here.
                return Fault(f.name, f"of type {f.type}", value)
            if "values" in rules and value not in rules["values"]:
                return Fault(f.name, f"one of {', '.join(map(repr, sorted(rules['values'])))}", value)
            if "least" in rules and not rules["least"] <= value <= rules["most"]:
                return Fault(f.name, f"{rules['least']} to {rules['most']}", value)
        return None

    def __str__(self) -> str:
        return ", ".join(f"{k}={_short(v) if not isinstance(v, str) else v}" for k, v in self.to_dict().items())
