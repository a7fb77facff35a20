# SPDX-License-Identifier: Apache-2.0
"""The page: everything about one kernel in one HTML file that loads nothing."""

from __future__ import annotations

import functools
import html
import json
import re
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from tvm.ir import IRModule

from bitquant.build import Listing
from bitquant.compute.matmul import symbol
from bitquant.config import MatmulConfig
from bitquant.errors import UnsupportedError
from bitquant.explore.colours import coloured
from bitquant.explore.drawings import draw_grid, draw_ring, draw_tile, waves
from bitquant.explore.facts import Occupancy, glossary, occupancy, refusals, times
from bitquant.explore.packing import draw_fragment, draw_word, first_byte
from bitquant.explore.parts import PARTS
from bitquant.explore.roofline import draw_roofline
from bitquant.explore.stages import Stage, make_stages
from bitquant.explore.tiling import Tiling, tiling_of
from bitquant.files import as_path, write_whole
from bitquant.layouts import WeightLayout, fragment_layout, fragment_refusal
from bitquant.problem import Problem
from bitquant.schedule.apply import Choice, choice_of
from bitquant.schedule.planned import schedule_planned
from bitquant.schedule.rules import default_rules
from bitquant.schedule.rules.contract import Geometry, Rule
from bitquant.schedule.tuned import Plan, read_hint

__all__ = ["Page", "check_writable", "explore"]

#: Height of the page in a notebook's cell.
_CELL_HEIGHT = "900px"


@dataclass(frozen=True)
class Page:
    """One self-contained page in HTML; a notebook shows it.

    Attributes
    ----------
    html
        The whole document.
    compile_s, page_s
        Seconds that the compilation took, and what was done besides.
    """

    html: str
    compile_s: float
    page_s: float

    def save(self, path: str | Path) -> None:
        """Write the page to a file, which appears whole or not at all; one that is there is replaced.

        Raises
        ------
        UnsupportedError
            If the file cannot be written.
        """
        path = check_writable(path)
        try:
            write_whole(path, self.html.encode())
        except OSError as error:
            raise _unwritable(path, error) from error

    def _repr_html_(self) -> str:
        source = html.escape(self.html)
        return (
            f'<iframe srcdoc="{source}" sandbox="allow-scripts" title="bitquant kernel" '
            f'style="width:100%;height:{_CELL_HEIGHT};border:0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"Page({len(self.html.encode())} bytes; save(path) writes it, a notebook shows it)"


def check_writable(path: str | Path) -> Path:
    """Return a path to which a page can be written, before anything is compiled for it.

    Raises
    ------
    UnsupportedError
        If its folder is not there, or something is there that is no file.
    """
    path = as_path(path, "path", UnsupportedError)
    if path.is_dir():
        raise _unwritable(path, "it is a folder")
    if not path.parent.is_dir():
        raise _unwritable(path, f"there is no folder {path.parent}")
    return path


def _unwritable(path: Path, why: object) -> UnsupportedError:
    return UnsupportedError(
        f"the page cannot be written to {path}: {why}; name a file in a folder that is there", path=path
    )


def explore(problem: Problem, unscheduled: IRModule, plan: Plan, rules: Any = None) -> Page:
    """Return the page of one kernel. It is compiled once, with line numbers; nothing runs, and no GPU is needed.

    Parameters
    ----------
    problem
        The kernel's rung of a config, with target and layout.
    unscheduled
        The config's module.
    plan, rules
        As the operator has them.

    Raises
    ------
    BuildError, UnsupportedError, ScheduleError
        As the operator's construction does.
    """
    begin = time.perf_counter()
    name = symbol(problem.rung, problem.operation)
    one = IRModule({name: unscheduled[name]})
    scheduled = schedule_planned(one, problem.target, plan, rules)
    stages, built = make_stages(problem.config, one, scheduled, problem.target)
    compiled = time.perf_counter()
    choice = choice_of(scheduled[name])
    text = _render(problem, stages, built, choice, plan, tuple(rules or default_rules(problem.operation)))
    return Page(text, compiled - begin, time.perf_counter() - compiled)


def _render(
    problem: Problem, stages: list[Stage], built: Listing, choice: Choice | None, plan: Plan, rules: tuple[Any, ...]
) -> str:
    ours = tuple(rule for rule in rules if isinstance(rule, Rule))
    rule = next((rule for rule in ours if choice is not None and rule.name == choice.rule), None)
    geometry = rule.geometry(problem, read_hint(rule, choice.hint)) if rule is not None and choice is not None else None
    tiling = tiling_of(geometry) if geometry is not None else None
    planned = plan.planned.get(problem.rung)
    predicted = rule.cost_us(geometry) if rule is not None and geometry is not None else None
    found = times(problem, predicted, planned)
    resident = _occupancy(problem, built, choice, tiling)
    together = None if resident is None else resident.blocks * problem.gpu.sm_count
    # The product of an expert where there are several.
    one = problem.config if isinstance(problem.config, MatmulConfig) else problem.config.matmul
    rows = problem.rung * getattr(problem.config, "rows_per_m", 1)
    return _template().render(
        problem=problem,
        config=problem.config,
        one=one,
        target=problem.target.arch if problem.is_cuda else "CPU",
        gpu=problem.gpu if problem.is_cuda else None,
        choice=choice,
        hint=_hint_rows(geometry, choice),
        resources=_resource_rows(built, choice, resident, tiling),
        refusals=refusals(problem, choice, ours) if choice is not None else [],
        times=found,
        roofline=Markup(draw_roofline(problem.gpu, found, problem.config.A_format.bits)) if problem.is_cuda else None,
        stages=[_shown(stage) for stage in stages],
        parts={part: meaning for part, meaning in PARTS.items() if any(part in stage.parts for stage in stages)},
        links=Markup(_json({stage.key: stage.links for stage in stages if any(stage.links)})),
        tiling=tiling,
        tile=Markup(draw_tile(tiling, one, rows)) if tiling else None,
        ring=Markup(draw_ring(tiling.ring)) if tiling and tiling.ring else None,
        grid=Markup(draw_grid(tiling, together)) if tiling else None,
        together=together,
        waves=waves(tiling, together) if tiling and together and tiling.whole_tiles is None else None,
        **_packing(one, problem.weight_layout),
        style=Markup(_data("style.css")),
        script=Markup(_data("script.js")),
    )


def _packing(config: MatmulConfig, layout: WeightLayout) -> dict[str, Any]:
    byte = first_byte(config, layout)
    is_fragment = layout == "fragment" and fragment_refusal(config) is None
    return {
        "byte": byte,
        "byte_data": Markup(_json(None if byte is None else {
            "fields": [[f.begin, f.bits, f.n, f.k] for f in byte.fields], "values": byte.values,
        })),
        "fragment": Markup(draw_fragment(config)) if is_fragment else None,
        "word": Markup(draw_word(config)) if is_fragment else None,
        "is_adjacent": is_fragment and fragment_layout(config).is_adjacent,
        "decoding": _decoding(config),
    }  # fmt: skip


def _decoding(config: MatmulConfig) -> str:
    """Return what an element is, by the value w of its code, scale s and zero point z."""
    if not config.with_zeros:
        return "w * s" if config.with_scaling else "w"
    if not config.with_scaling:
        return "w - z"
    return "w * s - z" if config.zeros_mode == "rescale" else "(w - z) * s"


def _json(value: Any) -> str:
    """Return JSON that may stand in an element ``script``."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


@functools.cache
def _data(name: str) -> str:
    return (resources.files("bitquant.explore") / name).read_text(encoding="utf-8")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_data("page.html"))


def _shown(stage: Stage) -> dict[str, Any]:
    short = {part: part[0].lower() if part != "B_decode" else "b" for part in PARTS}
    lines = [
        f"<span class={short[part]}>{coloured(line, stage.language)}\n</span>" if part
        else f"<span>{coloured(line, stage.language)}\n</span>"
        for line, part in zip(stage.lines, stage.parts, strict=True)
    ]  # fmt: skip
    return {
        "key": stage.key, "title": stage.title, "count": len(stage.lines), "note": stage.note,
        "text": Markup("".join(lines)),
    }  # fmt: skip


def _hint_rows(geometry: Geometry | None, choice: Choice | None) -> list[tuple[str, Any, Markup]]:
    if choice is None:
        return []
    meanings = glossary(type(geometry.hint)) if geometry is not None else {}
    return [(name, value, _prose(meanings.get(name, ""))) for name, value in choice.hint.items()]


def _prose(text: str) -> Markup:
    """Return a sentence of a docstring as HTML: what stands in backticks is code."""
    return Markup(re.sub(r"`+([^`]+)`+", r"<code>\1</code>", html.escape(text, quote=False)))


def _occupancy(problem: Problem, built: Listing, choice: Choice | None, tiling: Tiling | None) -> Occupancy | None:
    if built.compiled is None or tiling is None or choice is None or not built.compiled.resources:
        return None
    resources_of_kernel = next(iter(built.compiled.resources.values()))
    return occupancy(problem, resources_of_kernel, choice.smem_bytes, tiling.threads)


def _resource_rows(
    built: Listing, choice: Choice | None, resident: Occupancy | None, tiling: Tiling | None
) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if built.compiled is not None:
        for used in built.compiled.resources.values():
            smem = used.smem_bytes + (choice.smem_bytes if choice is not None else 0)
            rows += [
                ("registers a thread", f"{used.registers}"),
                ("shared memory a block", f"{smem} bytes"),
                ("spilled", f"{used.spill_bytes} bytes"),
            ]
    if tiling is not None and tiling.threads:
        rows.append(("threads a block", f"{tiling.threads}"))
    if resident is not None:
        limits = ", ".join(f"{name} {count}" for name, count in resident.by.items())
        rows += [
            ("blocks a multiprocessor", f"{resident.blocks} (by {limits})"),
            (
                "occupancy",
                f"{resident.warps} of {resident.most_warps} warps, {resident.warps / resident.most_warps:.0%}",
            ),
        ]
    return rows
