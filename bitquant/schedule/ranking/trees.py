# SPDX-License-Identifier: Apache-2.0
"""Boosted regression trees as plain arrays: what XGBoost has trained, evaluated by NumPy.

A file is NumPy's ``.npz`` and loads without executing anything (``allow_pickle=False``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Trees"]


@dataclass(frozen=True)
class Trees:
    """The sum of regression trees.

    Nodes of all trees stand in one array, each tree's from its root on. A sample goes left where its feature is less
    than the threshold, and where it is missing (NaN) as `missing_left` says.

    Attributes
    ----------
    names
        Features, the columns of a sample.
    devices
        Products whose kernels the trees were trained on, as `GpuArch.example` names them.
    rules, least_rows
        Rules whose kernels they were trained on, and the least rows of A of each one's.
    roots
        The first node of each tree.
    feature, threshold, left, right, missing_left
        Of each node; `left` and `right` are nodes. A leaf leads to itself.
    value
        Of a leaf; 0 elsewhere.
    base
        What is added to the sum.
    """

    names: np.ndarray
    devices: np.ndarray
    rules: np.ndarray
    least_rows: np.ndarray
    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    base: np.ndarray

    @classmethod
    def load(cls, path: Path) -> Trees:
        """Return the trees of a file.

        Raises
        ------
        ValueError
            If it is no such file.
        """
        with np.load(path, allow_pickle=False) as arrays:
            if missing := {field.name for field in fields(cls)} - set(arrays.files):
                raise ValueError(f"{path} has no array {min(missing)!r}")
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def save(self, path: Path) -> None:
        """Write the trees to a file."""
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_xgboost(
        cls, booster: Any, names: list[str], devices: list[str], least_rows: Mapping[str, int] | None = None
    ) -> Trees:
        """Return the trees of a trained `xgboost.Booster`.

        Parameters
        ----------
        booster
            The model: the squared error of one target, without categories.
        names, devices
            As in the attributes.
        least_rows
            The least rows of A of the kernels of each rule, by its name: `rules` and `least_rows` of the attributes.
        """
        least_rows = least_rows or {}
        learner = json.loads(booster.save_raw("json"))["learner"]
        parts: dict[str, list[np.ndarray]] = {f.name: [] for f in fields(cls)}
        count = 0
        for tree in learner["gradient_booster"]["model"]["trees"]:
            left, right = (np.array(tree[f"{side}_children"], np.int64) for side in ("left", "right"))
            is_leaf, nodes = left < 0, np.arange(len(left))
            conditions = np.array(tree["split_conditions"], np.float32)
            parts["roots"].append(np.array([count]))
            parts["feature"].append(np.where(is_leaf, 0, np.array(tree["split_indices"])))
            parts["threshold"].append(np.where(is_leaf, np.float32(0), conditions))
            parts["left"].append(count + np.where(is_leaf, nodes, left))
            parts["right"].append(count + np.where(is_leaf, nodes, right))
            parts["missing_left"].append(np.array(tree["default_left"], bool))
            parts["value"].append(np.where(is_leaf, conditions, np.float32(0)))
            count += len(left)
        score = learner["learner_model_param"]["base_score"].strip("[]")
        return cls(
            names=np.array(names),
            devices=np.array(devices),
            rules=np.array(list(least_rows), np.str_),
            least_rows=np.array(list(least_rows.values()), np.int32),
            base=np.array(float(score)),
            **{
                name: np.concatenate(parts[name]).astype(dtype)
                for name, dtype in (
                    ("roots", np.int32), ("feature", np.int16), ("threshold", np.float32), ("left", np.int32),
                    ("right", np.int32), ("missing_left", bool), ("value", np.float32),
                )
            },
        )  # fmt: skip

    def covers(self, rule: str, rows: int) -> bool:
        """Return whether there were kernels of a rule, by its name, for so many rows of A or fewer."""
        return any(name == rule and least <= rows for name, least in zip(self.rules, self.least_rows, strict=True))

    def predict(self, samples: np.ndarray) -> np.ndarray:
        """Return the sum for each sample, (count).

        Parameters
        ----------
        samples
            (count, features), float32; NaN for a feature that a sample does not have.
        """
        count = len(samples)
        rows = np.arange(count)[:, None]
        nodes = np.broadcast_to(self.roots, (count, len(self.roots)))
        while True:
            values = samples[rows, self.feature[nodes]]
            goes_left = (values < self.threshold[nodes]) | (np.isnan(values) & self.missing_left[nodes])
            following = np.where(goes_left, self.left[nodes], self.right[nodes])
            if np.array_equal(following, nodes):
                break
            nodes = following
        total: np.ndarray = self.base + self.value[nodes].sum(axis=1, dtype=np.float64)
        return total
