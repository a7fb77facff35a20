# SPDX-License-Identifier: Apache-2.0
"""Timing of kernels against the memory's speed and against other libraries: `bitquant bench`.

Modules, in the order in which a run goes through them: `problems` (what is timed), `protocol` (how), `floor` (the time
of the bytes alone), `peers` (other libraries), `limits` (bounds on the time of a stage), `run` (the loop over cells),
`report` (tables and plots of its figures).
"""
