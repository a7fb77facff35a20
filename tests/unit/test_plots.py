# SPDX-License-Identifier: Apache-2.0
"""What the plots of `bitquant bench` show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bitquant.errors import UnsupportedError
from bitquant.testing.bench import plots, report
from bitquant.testing.bench.ranking_plot import plot_ranking
from tests.unit.test_bench import call, canned, entry


def test_plots_of_canned_figures(tmp_path):
    """Plots of each format and each device; the same figures give the same files."""
    pytest.importorskip("matplotlib")
    results = canned(entry(), entry(m=16, ours=6.0), entry(fmt="int8:int8", peers={}))
    written = plots.plot(results, tmp_path / "one")
    names = ["speedup-float16-uint4-g128", "floor-float16-uint4-g128", "roofline-h200", "errors-h200",
             "latency-float16-uint4-g128-h200"]  # fmt: skip
    assert [path.name for path in written] == [f"{name}.{suffix}" for name in names for suffix in ("png", "svg")]
    for path, again in zip(written, plots.plot(results, tmp_path / "two"), strict=True):
        assert path.read_bytes() == again.read_bytes()
    texts = written[-1].read_text()
    assert "<!-- bitquant -->" in texts
    assert "<!-- floor -->" in texts


def drawn(axes):
    """The points of each line by its label, in data and as shares of the frame."""
    lines = {}
    axes.get_xlim(), axes.get_ylim()  # They are made from the data when they are asked for.
    for line in axes.get_lines():
        data = line.get_xydata()
        lines[line.get_label()] = data, axes.transAxes.inverted().transform(line.get_transform().transform(data))
    return lines


def test_roofline_shows_every_point():
    """Points and roofs lie inside the frame, as far apart as their logarithms, and not all on one of its edges."""
    figures = pytest.importorskip("matplotlib.figure")
    rows = (1, 16, 256, 4096)
    linear = {"torch linear": {"latency_us": 12.0}}
    results = canned(*(entry(m=m, ours=4.0 * (1 + m / 64), peers=linear if m > 16 else {}) for m in rows))
    axes = plots._roofline(results, figures.Figure).axes[0]
    lines = drawn(axes)
    memory, library = (next(label for label in lines if label.startswith(roof)) for roof in ("memory", "torch linear,"))
    assert set(lines) == {"bitquant", "torch linear", memory, library}
    assert len(lines["bitquant"][0]) == len(rows)
    for label, (_, places) in lines.items():
        assert ((places >= 0) & (places <= 1)).all(), f"{label} leaves the frame"
    data, places = lines["bitquant"]
    heights = np.ptp(places, axis=0)
    assert (heights > 0.3).all(), "the points do not use the frame"
    assert np.allclose(np.diff(places, axis=0) / heights, np.diff(np.log(data), axis=0) / np.ptp(np.log(data), axis=0))


def held(N, m, ours, origin, peer=8.0):
    """A cell whose kernel comes from a record or from the model."""
    found = entry(N=N, m=m, ours=ours, peers={"P": {"latency_us": peer}, "torch linear": {"latency_us": 2 * peer}})
    return {**found, "ours": {**found["ours"], "origin": origin}}


@pytest.mark.parametrize("kind", ["speedup", "floor"])
def test_ratios_against_m_show_every_shape(kind):
    """Each shape is a thin line and each class its geometric mean, a panel a device, inside a linear frame from 0."""
    figures = pytest.importorskip("matplotlib.figure")
    cells = [held(N, m, 4.0 + m / N, "record x.json") for N in (4096, 8192) for m in (1, 16, 64)]
    cells += [held(1024, m, 6.0 + m, "default") for m in (1, 16, 64)]
    devices = [canned(*cells), {**canned(*cells[-3:]), "device": {"name": "H100", "arch": "sm_90a"}}]
    draw = {"speedup": plots._speedup_figure, "floor": plots._floor_figure}[kind]
    figure = draw(devices, "float16:uint4-g128", figures.Figure)
    first, second = figure.axes
    assert [axes.get_title() for axes in (first, second)] == ["H200", "H100"]
    for axes, shapes, means in ((first, 3, 2), (second, 1, 1)):
        lines = [line for line in axes.get_lines() if not line.get_label().startswith("_as ")
                 and line.get_label() != "_floor"]  # fmt: skip
        assert axes.get_ylim()[0] == 0
        assert axes.get_yscale() == "linear"
        for line in lines:
            assert line.get_xdata().tolist() == [1, 16, 64]
            places = axes.transAxes.inverted().transform(axes.transData.transform(line.get_xydata()))
            assert ((places >= 0) & (places <= 1)).all()
        assert sum(line.get_label() == "_shape" for line in lines) == shapes
        assert len(axes.get_legend().get_texts()) == means
    marked = [text.get_text() for text in first.get_legend().get_texts()]
    assert marked == ["2 shapes with records: geometric mean", "1 shape without records: geometric mean"]
    mean = next(line for line in first.get_lines() if line.get_label() == marked[0])
    wanted = 8.0 / 4.0 if kind == "speedup" else 100 * 3.2 / 4.0
    assert mean.get_ydata()[0] == pytest.approx(wanted, rel=1e-3)


@pytest.mark.thorough
def test_command_takes_files_of_several_devices(tmp_path):
    """Each device has its table, and the plots of a format show all of them beside each other."""
    pytest.importorskip("matplotlib")
    for device in ("H200", "H100"):
        results = {**canned(entry(), entry(m=16)), "device": {"name": device, "arch": "sm_90a"}}
        (tmp_path / device).write_text(json.dumps(results))
    document = tmp_path / "figures.md"
    result = call(
        "--from-json", tmp_path / "H200", "--from-json", tmp_path / "H100", "--plots", tmp_path, "--markdown", document
    )
    assert result.exit_code == 0, result.output
    for text in (result.stdout, document.read_text()):
        assert text.index("H200 (sm_90a") < text.index("H100 (sm_90a")
    drawing = (tmp_path / "speedup-float16-uint4-g128.svg").read_text()
    assert "<!-- H200 -->" in drawing
    assert "<!-- H100 -->" in drawing
    assert {path.name for path in tmp_path.glob("roofline-*.png")} == {"roofline-h200.png", "roofline-h100.png"}


def test_ratios_without_a_peer_or_with_one_m_have_no_plot():
    """Nothing is drawn that would say nothing."""
    figures = pytest.importorskip("matplotlib.figure")
    alone = [canned(entry(peers={}), entry(m=16, peers={}))]
    assert plots._speedup_figure(alone, "float16:uint4-g128", figures.Figure) is None
    assert plots._speedup_figure([canned(entry())], "float16:uint4-g128", figures.Figure) is None
    many = [canned(entry(m=128), entry(m=256))]
    assert plots._floor_figure(many, "float16:uint4-g128", figures.Figure) is None


def test_errors_by_format_show_every_cell():
    """A line a format, the first at the top: its errors, its bound, and results that are exact."""
    figures = pytest.importorskip("matplotlib.figure")
    cells = [entry(), entry(m=16), entry(fmt="int8:int8")]
    for cell, error, bound in zip(cells, (2e-4, 3e-4, 0.0), (1e-3, 1e-3, 0.0), strict=True):
        cell["ours"].update(error=error, bound=bound)
    axes = plots._error_figure(canned(*cells), figures.Figure).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["int8:int8", "float16:uint4-g128"]
    lines = drawn(axes)
    assert {label: len(data) for label, (data, _) in lines.items()} == {
        "bound of the tests": 1, "a shape and M": 2, "0: equal in every element": 1,
    }  # fmt: skip
    for _, places in lines.values():
        assert ((places > 0) & (places < 1)).all()


def test_figures_say_device_date_and_commit(tmp_path):
    """What a plot is of stands in it: of several runs each with its date, commit and peers."""
    figures = pytest.importorskip("matplotlib.figure")
    files = (
        canned(entry(), entry(m=16), commit="abc1234", versions={"P": "1.0"}),
        canned(entry(m=64), begun="2026-02-03T00:00:00+00:00", versions={"bitquant": "0.3"}),
    )
    for i, results in enumerate(files):
        (tmp_path / str(i)).write_text(json.dumps(results))
    (device,) = report.by_device([tmp_path / "0", tmp_path / "1"])
    said = "H200; 2026-01-02, commit abc1234, P 1.0; 2026-02-03, bitquant 0.3"
    figure = plots._speedup_figure([device], "float16:uint4-g128", figures.Figure)
    assert figure.get_supxlabel() == f"Each thin line is a shape.\n{said}"
    assert report.with_runs(device)["cells"] == device["cells"]
    title = plots._roofline(device, figures.Figure).axes[0].get_title()
    assert title == f"speed against arithmetic intensity\n{said}"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("float16:uint4-g128-zeros", "float16 A, uint4 W, groups of 128, zero points"),
        ("int8:int8-scaled", "int8 A, int8 W, outputs scaled by row and column"),
        ("bfloat16:int4-row", "bfloat16 A, int4 W, one scale a row"),
    ],
)
def test_formats_in_words(name, words):
    """A format is said so that nobody has to know the short form."""
    assert plots._words(name) == words


def test_committed_results_are_those_of_the_page():
    """Each time of docs/figures.md is that of docs/results/h200-records.json, and the other way round."""
    docs = Path(__file__).parents[2] / "docs"
    results = report.load([docs / "results" / "h200-records.json"])
    wanted = {}
    for block in re.split(r"^### ", (docs / "figures.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        lines = [
            [part.strip() for part in line.strip("|").split("|")] for line in block.splitlines() if line[:1] == "|"
        ]
        for line in lines[2:]:
            row = dict(zip(lines[0], line, strict=True))
            wanted[block.splitlines()[0], row["N x K"], row["m"]] = {
                name: row[name] for name in ("ours", "floor", *report.peers(results)) if row.get(name)
            }
    headers, rows = report.table(results)
    found = {}
    for line in rows:
        row = dict(zip(headers, line, strict=True))
        found[row["format"], row["N x K"], row["m"]] = {
            name: row[name] for name in ("ours", "floor", *report.peers(results)) if row[name]
        }
    assert found == wanted
    assert len(found) == 376


def test_committed_results_name_their_commit():
    """Every file of docs/results says device, date and commit, and for held-out shapes that the model chose."""
    folder = Path(__file__).parents[2] / "docs" / "results"
    for path in folder.glob("*.json"):
        results = json.loads(path.read_text(encoding="utf-8"))
        assert results["device"]["name"], path
        assert re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", results["commit"]), path
        if "no-records" in path.name or "held-out" in path.name:
            assert {cell["ours"]["origin"] for cell in results["cells"]} == {"default"}


def test_latencies_lie_inside_their_panel():
    """Each panel shows the points of every implementation."""
    figures = pytest.importorskip("matplotlib.figure")
    entries = [entry(m=m, ours=4.0 + m) for m in (1, 16, 256)]
    (axes,) = plots._latency_figure(entries, "title", figures.Figure).axes
    lines = drawn(axes)
    assert {"bitquant", "floor", "P"} <= set(lines)
    for _, places in lines.values():
        assert ((places >= 0) & (places <= 1)).all()
    assert np.ptp(lines["bitquant"][1], axis=0).min() > 0.3


def test_boundaries_between_rules():
    """Plots mark where, between two m, another rule makes the kernel."""
    rules = {1: "decode", 8: "decode", 16: "wgmma", 64: "wgmma"}
    entries = [{"m": m, "ours": {"rule": rule}} for m, rule in reversed(rules.items())]
    assert plots._boundaries(entries) == [(pytest.approx(128**0.5), "decode", "wgmma")]


def test_plots_without_matplotlib(monkeypatch, tmp_path):
    """The message says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(UnsupportedError, match=re.escape("bitquant[bench]")):
        plots.plot(canned(entry()), tmp_path)


def test_the_subject_of_a_ranking_fits_the_picture(tmp_path, monkeypatch):
    """Trials of many days make a long subject, which takes more lines."""
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    subject = "NVIDIA H200, " + ", ".join(["2026-11-29 at 092ecf9"] * 12)
    plot_ranking({"learned": np.ones(3)}, {"rows": 1.0}, subject, tmp_path / "ranking.png")
    (figure,) = drawn
    FigureCanvasAgg(figure).draw()
    box = figure._supxlabel.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
