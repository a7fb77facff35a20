# SPDX-License-Identifier: Apache-2.0
"""Timing of kernels against the memory's speed and against other libraries: `bitquant bench`.

Modules, in the order in which a run goes through them: `problems` (what is timed), `protocol` (how), `machine` (on
what), `ahead` (kernels that are made meanwhile), `check` (of results), `floor` (the time of the bytes alone), `grouped`
(calls of grouped products), `peers` (other libraries), `limits` (bounds on the time of a stage), `run` (the loop over
cells), `report` and `plots` (tables and plots of its figures). Of `bitquant bench --model`: `methods` (models and their
layers), `cached_model` (one that decodes), `generation` (the loop over methods).

Scripts that compare something else, and are no part of the package, are in `tests/bench`.
"""
