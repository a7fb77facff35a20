# SPDX-License-Identifier: Apache-2.0
"""`python -m bitquant`, and the entry point of the `bitquant` program."""

from __future__ import annotations

from bitquant.cli.app import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
