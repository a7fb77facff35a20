# SPDX-License-Identifier: Apache-2.0
"""`python -m bitquant`, and the entry point of the `bitquant` program."""

from __future__ import annotations

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line; an interrupt ends it with a word while its modules are still imported, too."""
    try:
        from bitquant.cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("aborted\n")
        sys.exit(128 + 2)
    run()


if __name__ == "__main__":
    main()
