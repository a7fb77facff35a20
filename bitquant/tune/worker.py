# SPDX-License-Identifier: Apache-2.0
"""The process that builds candidates (`bitquant.workers`)."""

from __future__ import annotations

from typing import Any

from bitquant.archive import Archive
from bitquant.schedule.rules import all_rules
from bitquant.tune.compile import build_request
from bitquant.workers import serve

__all__ = ["main"]


def main() -> None:
    """Serve requests until standard input ends."""

    def build(request: dict[str, Any]) -> Archive:
        return build_request(request, all_rules())

    serve(build)
