# SPDX-License-Identifier: Apache-2.0
"""The command line, one file a command. `bitquant.cli.app` holds the group and its entry point.

Nothing heavy is imported before a command needs it: help appears at once, and `doctor` can say what is missing.
"""
