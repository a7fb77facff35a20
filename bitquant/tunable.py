# SPDX-License-Identifier: Apache-2.0
"""What operators of every operation have besides their calls: tuning, and a page on a kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm.target import Target

from bitquant.arch import resolve_target
from bitquant.errors import UnsupportedError
from bitquant.operator import Operator
from bitquant.problem import Problem

if TYPE_CHECKING:
    from bitquant.explore import Page
    from bitquant.tune import TuningResult

__all__ = ["TunableOperator"]


class TunableOperator(Operator):
    """An operator that can be tuned and explored (see the module)."""

    def hardware_aware_finetune(
        self, topk: int = 20, target: str | Target | None = None, parallel_build: bool = True
    ) -> TuningResult:
        """Build and measure the likely kernels of each rung on the device that is here, and take the best from now on.

        Weights, and CUDA graphs that were captured before, stay good; the latter run the kernels from before. See
        docs/tuning.md.

        Parameters
        ----------
        topk
            The most candidates a rung.
        target
            Accepted for BitBLAS: None, or that of this operator.
        parallel_build
            Whether candidates are compiled in as many processes as there are CPUs, else in this one.

        Returns
        -------
        TuningResult
            Every candidate and what became of it; `write_record` keeps the best for later operators.

        Raises
        ------
        UnsupportedError
            If the operator's GPU is not here, or `target` is another one.
        CallError
            If `topk` is not positive.
        BuildError
            If no candidate of a rung works. The operator is unchanged then.

        Warns
        -----
        TuningWarning
            For each candidate that gave a wrong result, or could not be built or run.
        """
        from bitquant.tune import tune

        if target is not None and _compiles_for(resolve_target(target)) != _compiles_for(self.target):
            raise UnsupportedError(
                f"'target' must be that of the operator, {self.arch} (got {target}); "
                "construct an operator for each target"
            )
        result = tune(self, topk, workers=None if parallel_build else 0, rules=self._rules)
        result.warn()
        self._follow(result.plan())
        return result

    def explore(self, m: int | None = None) -> Page:
        """Return a page on the kernel that serves `m` rows; a notebook shows it, ``save`` writes it to a file.

        It has the stages side by side, drawings of the tile, the ring and the grid, the roofline, resources, the hint
        explained, and why other rules refused. The kernel is compiled once more, with line numbers; the one that runs
        stays as it is.

        Parameters
        ----------
        m
            Rows of A; default: the static M, or the first rung.

        Raises
        ------
        CallError
            If `m` is not what the config serves.
        """
        from bitquant.explore import explore

        ladder, rows = self.config.ladder, self._rows(m)
        rung = next((rung for rung in ladder if rows <= rung), ladder[-1])
        problem = Problem(self.config, rung, self.target, self.weight_layout)
        return explore(problem, self.prim_func_mod, self._plan, self._rules)


def _compiles_for(target: Target) -> tuple[str, str]:
    """Return kind and architecture of a target; products of one architecture run the same kernels."""
    return target.kind.name, str(target.arch) if target.kind.name == "cuda" else str(target)
