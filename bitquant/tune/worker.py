"""The process that builds candidates: a request a line on standard input, an answer a line on standard output."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from bitquant.parallel import in_one_thread
from bitquant.schedule.rules import default_rules
from bitquant.tune.compile import build_request, describe

__all__ = ["main"]


def main() -> None:
    """Serve requests until standard input ends."""
    # Compilers may print; answers have standard output for themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        error = None
        try:
            with in_one_thread():  # There is a process like this one for each CPU.
                build_request(request, default_rules()).save(Path(request["path"]))
        except Exception as failure:  # noqa: BLE001 - a rule may fail in any way; the parent reports it.
            error = describe(failure)
        answers.write(json.dumps({"error": error}) + "\n")
        answers.flush()
