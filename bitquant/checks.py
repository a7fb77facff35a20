# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments that configs, layers and functions share. Each raises a ConfigError that names the argument."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from bitquant.errors import ConfigError

__all__ = [
    "MAX_ELEMENTS",
    "as_int_hint",
    "check_bool",
    "check_group_size",
    "check_positive_int",
    "check_rows",
    "check_rung",
]

#: Most elements of a tensor that kernels reach, which index with 32 bits.
MAX_ELEMENTS = 2**31 - 1
#: Most rungs of a ladder: more than any use of them, and fewer than a hostile file needs to keep a compiler busy.
_MAX_RUNGS = 256


def as_int_hint(value: Any) -> str:
    """Return the fix for an integer that is no int, such as NumPy's or a tensor's; "" for anything else.

    Configs keep what was passed, and JSON and keys of the cache need an int.
    """
    if isinstance(value, (bool, int)):
        return ""
    try:
        operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor without values.
        return ""
    return "; pass int(...) of it"


def check_positive_int(value: Any, argument: str) -> None:
    """Check an int from 1 on.

    Raises
    ------
    ConfigError
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"{argument!r} must be an int >= 1 (got {value!r:.200}){as_int_hint(value)}", **{argument: value}
        )


def check_rung(rung: Any, argument: str) -> None:
    """Check a number of rows that a kernel is made for.

    Raises
    ------
    ConfigError
        If it is no int from 1 to 2^31 - 1.
    """
    check_positive_int(rung, argument)
    if rung >= 2**31:
        raise ConfigError(
            f"{argument!r} must be below 2^31, which 32-bit indices reach (got {rung}); use {argument}=None, which "
            "takes any m",
            **{argument: rung},
        )


def check_rows(rows: Any, argument: str) -> None:
    """Check numbers of rows that kernels are made for: an int, several ints, or None for the default ones.

    Raises
    ------
    ConfigError
        If they are none.
    """
    if rows is None:
        return
    if isinstance(rows, int):
        check_rung(rows, argument)
        return
    if isinstance(rows, (str, bytes)) or not isinstance(rows, Sequence) or not rows:
        raise ConfigError(
            f"{argument!r} must be an int, a non-empty sequence of ints or None (got {rows!r:.200}){as_int_hint(rows)}",
            **{argument: rows},
        )
    if len(rows) > _MAX_RUNGS:
        raise ConfigError(
            f"{argument!r} must have at most {_MAX_RUNGS} rungs, each of which is a kernel (got {len(rows)})",
            **{argument: rows},
        )
    for rung in rows:
        check_rung(rung, argument)
    if len(set(rows)) != len(rows):
        raise ConfigError(f"the rungs of {argument!r} must differ (got {rows!r:.200})", **{argument: rows})


def check_group_size(group_size: Any) -> None:
    """Check a size of groups, of any K.

    Raises
    ------
    ConfigError
        If it is no int from 1 on, not -1 and not None.
    """
    g = group_size
    if g is not None and (isinstance(g, bool) or not isinstance(g, int) or (g < 1 and g != -1)):
        raise ConfigError(
            f"'group_size' must be an int >= 1, -1 or None (got {g!r:.200}){as_int_hint(g)}", group_size=g
        )


def check_bool(value: Any, argument: str) -> None:
    """Check a flag.

    Raises
    ------
    ConfigError
        If it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{argument!r} must be a bool (got {value!r:.200})", **{argument: value})
