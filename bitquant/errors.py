# SPDX-License-Identifier: Apache-2.0
"""Exceptions. Each message names the argument, the rule, the value and, where there is one, the fix."""

from __future__ import annotations

from typing import Any

__all__ = [
    "BitquantError",
    "BuildError",
    "CallError",
    "CheckpointError",
    "ConfigError",
    "RecordError",
    "ScheduleError",
    "UnsupportedError",
]


class BitquantError(Exception):
    """Base of every error that bitquant raises on purpose.

    Attributes
    ----------
    values
        The offending values by argument name, for programs that handle the error.
    """

    def __init__(self, message: str, **values: Any) -> None:
        super().__init__(message)
        self.values = values


class ConfigError(BitquantError, ValueError):
    """A `MatmulConfig`, or a value that belongs to one (a weight, a layout), breaks a rule."""


class CallError(BitquantError, ValueError):
    """A tensor handed to an operator has the wrong shape, dtype, device, strides or layout."""


class CheckpointError(BitquantError, ValueError):
    """A checkpoint is damaged, incomplete, or of a variant that is not read; file, layer and tensor are named."""


class UnsupportedError(BitquantError, RuntimeError):
    """This machine lacks what was asked for: a GPU, a driver, a compiler, a disassembler."""


class ScheduleError(BitquantError, RuntimeError):
    """No rule applies. The message lists every rule with the reason for its refusal."""


class RecordError(BitquantError, ValueError):
    """A tuned record is malformed, or does not belong to the problem or target it was given for."""


class BuildError(BitquantError, RuntimeError):
    """A kernel could not be compiled, linked, saved or loaded."""
