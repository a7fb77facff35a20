# SPDX-License-Identifier: Apache-2.0
"""The page on one kernel: what it says, without a browser."""

from __future__ import annotations

import dataclasses
import html
import html.parser
import itertools
import json
import re
import struct

import pytest
import torch
from click.testing import CliRunner

import bitquant as bq
from bitquant import relayout
from bitquant.arch import resolve_target
from bitquant.build import listing
from bitquant.cli.app import cli
from bitquant.compiler import KernelResources, compile_cuda_source, find_disassembler
from bitquant.compute import select_implementation
from bitquant.errors import CallError, UnsupportedError
from bitquant.explore import check_writable, explore
from bitquant.explore.drawings import draw_grid, draw_ring, draw_tile, waves
from bitquant.explore.facts import glossary, occupancy, refusals
from bitquant.explore.links import instruction_links, read_ptx, read_sass, statement_lines
from bitquant.explore.packing import first_byte, place_of
from bitquant.explore.parts import PARTS
from bitquant.explore.stages import make_stages
from bitquant.explore.tiling import Ring, Tiling, tiling_of
from bitquant.layouts import fragment_layout
from bitquant.markup import html_table
from bitquant.operator.report import floor_us
from bitquant.problem import Problem
from bitquant.schedule import Plan, plan, preferred_layout
from bitquant.schedule.planned import schedule_planned
from bitquant.schedule.rules import all_rules, default_rules
from bitquant.testing.bench.report import Table
from bitquant.tune import Trial, TuningResult
from bitquant.tune.candidates import Candidate

GROUPED = {"W_dtype": "uint4", "group_size": 128, "with_scaling": True, "with_zeros": True}
GPU_STAGES = ["te", "tir", "scheduled", "cuda", "ptx"] + (["sass"] if find_disassembler() else [])
CASES = {
    "wgmma": ("sm_90a", 16, GPU_STAGES),
    "decode": ("sm_90a", 1, GPU_STAGES),
    "cpu_float32": ("cpu", 16, ["te", "tir", "scheduled", "llvm", "asm"]),
}


class Reader(html.parser.HTMLParser):
    """The elements of a page: ids, text of each `pre` by its label, and what is not closed."""

    VOID = frozenset(("meta", "link", "input", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.ids, self.texts, self.addresses, self.svgs = [], [], {}, [], []
        self._label = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.addresses += [attrs[name] for name in ("src", "href", "srcdoc", "action") if name in attrs]
        if tag == "pre":
            self._label = attrs["aria-label"]
            self.texts[self._label] = ""
        if tag == "svg":
            self.svgs.append(attrs)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "pre":
            self._label = None

    def handle_data(self, data):
        if self._label:
            self.texts[self._label] += data


def problem_of(target, m, **fields):
    config = bq.MatmulConfig(M=m, **{"N": 4096, "K": 4096, **GROUPED, **fields})
    resolved = resolve_target(target)
    layout = preferred_layout(config, resolved)
    return Problem(config, config.ladder[-1], resolved, layout), plan(config, resolved, layout)


@pytest.fixture(scope="module", params=list(CASES))
def made(request):
    """Problem, plan, and stages of a kernel, with the page that was made of the same compilation."""
    target, m, keys = CASES[request.param]
    problem, planned = problem_of(target, m)
    unscheduled = select_implementation(problem.config, problem.weight_layout)
    kept = []

    def keep(*arguments):
        kept.append(make_stages(*arguments))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bitquant.explore.page.make_stages", keep)
        page = explore(problem, unscheduled, planned)
    ((stages, built),) = kept
    return request.param, problem, planned, keys, stages, built, page


def test_page_has_every_stage_and_their_text_whole(made):
    """Read back from HTML, each stage is the text that it was: what means something in HTML is escaped."""
    _, _, _, keys, stages, _, page = made
    assert [stage.key for stage in stages] == keys
    texts = Reader(page.html).texts
    for stage in stages:
        assert texts[stage.title] == "".join(f"{line}\n" for line in stage.lines)
    assert any("<" in line for stage in stages for line in stage.lines)


def test_page_is_well_formed_and_loads_nothing(made):
    """Elements are closed, ids are unique, and no address leads out of the page; drawings say what they show."""
    *_, page = made
    read = Reader(page.html)
    assert read.open == []
    assert len(read.ids) == len(set(read.ids))
    assert all(address == "data:," or address.removeprefix("#") in read.ids for address in read.addresses)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest", page.html)
    assert read.svgs
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 20 for svg in read.svgs)


def test_page_is_small_and_quick(made):
    """Below 1 MB for N = K = 4096; what is done beside the compilation takes less than half a second."""
    *_, page = made
    assert len(page.html.encode()) < 1_000_000
    assert page.page_s < 0.5 or page.page_s < page.compile_s  # The second where the machine is busy.


def test_links_lead_to_lines_that_are_there(made):
    """Every link is a line of CUDA C++, and one that is not empty; only a GPU's stages have some."""
    name, _, _, _, stages, _, page = made
    links = json.loads(re.search(r'id="links">(.*?)</script>', page.html)[1])
    if name == "cpu_float32":
        assert links == {}
        return
    cuda = next(stage for stage in stages if stage.key == "cuda")
    for key, found in links.items():
        stage = next(stage for stage in stages if stage.key == key)
        assert len(found) == len(stage.lines)
        assert all(cuda.lines[link - 1].strip() for link in found if link and key != "cuda")
        assert max(found) <= len(cuda.lines)


@pytest.mark.parametrize(
    ("key", "here", "there"),
    [
        ("ptx", r"^\s*(?:mma\.sync|ldmatrix|wgmma\.mma_async|stmatrix|cp\.async\.cg|setmaxnreg)", None),
        ("sass", r"\bHMMA\b|\bHGMMA\b", r"ptx_w?g?mma_"),
        ("scheduled", r"T\.ptx\.(?:mma|ldmatrix|wgmma|mbarrier|griddepcontrol)", None),
    ],
)
def test_linked_lines_have_the_same_instruction(made, key, here, there):
    """A line of PTX, SASS or scheduled TIR with an instruction leads to the call of that instruction in CUDA C++."""
    name, *_, stages, _, _ = made
    stage = next((stage for stage in stages if stage.key == key), None)
    if name == "cpu_float32":
        assert stage is None or not any(stage.links)
        return
    if stage is None:
        pytest.skip("no disassembler is here")
    cuda = next(stage for stage in stages if stage.key == "cuda").lines
    seen = 0
    for line, link in zip(stage.lines, stage.links, strict=True):
        if match := re.search(here, line):
            assert link, line
            kind = there or "ptx_" + re.search(r"(?:T\.ptx\.)?(\w+)(?:\.\w+)*$", match[0].strip())[1]
            assert re.search(kind, cuda[link - 1]), (line, cuda[link - 1])
            seen += 1
    assert seen >= 4


def test_parts_are_told(made):
    """TE and TIR name B_decode, C and D; a GPU's stages have each part, and products are products in all of them."""
    name, *_, stages, _, _ = made
    by_key = {stage.key: stage for stage in stages}
    for key in ("te", "tir"):
        assert {"B_decode", "C", "D"} == set(by_key[key].parts) - {""}
    for key in ("scheduled", "llvm", "asm") if name == "cpu_float32" else ():
        stage = by_key[key]
        assert set(stage.parts) - {""} == {"B_decode", "C", "D"}
        for line, part in zip(stage.lines, stage.parts, strict=True):
            if re.search(r"vfmadd|call.*llvm\.fma|^\s*total\w*\[.* \* ", line):
                assert part == "C", line
    for key in () if name == "cpu_float32" else ("scheduled", "cuda", "ptx"):
        stage = by_key[key]
        assert set(stage.parts) - {""} == set(PARTS)
        for line, part in zip(stage.lines, stage.parts, strict=True):
            if re.search(r"^\s*(T\.ptx\.w?g?mma|ptx_w?g?mma_|w?g?mma\.)", line) and "wait" not in line:
                assert part == "C", line


def test_overview_says_what_the_kernel_is(made):
    """Rule, every field of the hint with its meaning, resources, floor, prediction and refusals stand on the page."""
    name, problem, planned, _, _, built, page = made
    rule = next(rule for rule in default_rules() if rule.name == name)
    text = html.unescape(re.sub(r"<[^>]+>", "", page.html.split("<main>")[1].split('id="stages"')[0]))
    assert re.search(rf"\b{name}\b", text)
    for field, meaning in glossary(rule.hint_type).items():
        assert field in text
        assert meaning.replace("`", "") in text
    if name != "cpu_float32":
        (used,) = built.compiled.resources.values()
        assert f"registers a thread{used.registers}" in re.sub(r"\s+", "", text).replace(
            "registersathread", "registers a thread"
        )
        assert f"{floor_us(problem.config, problem.rung, problem.gpu):.2f} µs: bytes by bandwidth" in text
        assert "by the rule's model; not measured" in text
        assert f"{planned.planned[problem.rung].record.latency_us:.2f} µs, measured on" in text
    rest = page.html.split('id="rules"')[1]
    for other in default_rules():
        is_listed = other.name != name and (rule.is_for_cpu or not other.is_for_cpu)
        assert (f"<code>{other.name}</code>" in rest) == is_listed


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.name)
def test_every_field_of_a_hint_is_explained(rule):
    """The docstring of each hint says of each field what it is: the page has no other glossary."""
    meanings = glossary(rule.hint_type)
    assert set(meanings) == {field.name for field in dataclasses.fields(rule.hint_type)}
    assert all(len(meaning.split()) >= 2 for meaning in meanings.values())


def text_section(cubin):
    """The machine code of the one kernel in a cubin: the section ".text.<kernel>" of a 64-bit ELF file."""
    (offset,) = struct.unpack_from("<Q", cubin, 40)
    size, count, names = struct.unpack_from("<HHH", cubin, 58)
    headers = [struct.unpack_from("<IIQQQQ", cubin, offset + i * size) for i in range(count)]
    table = cubin[headers[names][4] :]
    found = [cubin[h[4] : h[4] + h[5]] for h in headers if table[h[0] :].startswith(b".text.")]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("m", [1, 16])
def test_line_numbers_change_no_instruction(m):
    """The page's kernel is compiled with line numbers, the one that runs without: their machine code is the same."""
    problem, planned = problem_of("sm_90a", m, N=256, K=512)
    unscheduled = select_implementation(problem.config, problem.weight_layout)
    built = listing(schedule_planned(unscheduled, problem.target, planned), problem.target)
    plain = compile_cuda_source(built.cuda_source, "sm_90a")
    assert text_section(plain.cubin) == text_section(built.compiled.cubin)
    assert plain.resources == built.compiled.resources
    assert ".loc" in built.compiled.ptx
    assert ".loc" not in plain.ptx


def test_notes_of_compilers_are_read():
    """Inlined functions count for the line that calls them; other files, and lines outside the kernel, for none."""
    ptx = """\
\t.loc\t1 20 3
\tadd.s32 \t%r1, %r2, 1;
\t.loc\t1 7 3, function_name $L__info_string0, inlined_at 1 21 5
\tmma.sync x;
\t.loc\t2 21 1
\tmul.f32 y;
\t.loc\t1 3 1
\tret;
\t.file\t1 "/somewhere/bitquant_kernel.cu"
\t.file\t2 "/cuda_fp16.h"
\t.section\t.debug_str
\t{
x
\t}"""
    lines, links = read_ptx(ptx, range(10, 30))
    assert lines == ["\tadd.s32 \t%r1, %r2, 1;", "\tmma.sync x;", "\tmul.f32 y;", "\tret;"]
    assert links == [20, 21, 0, 0]
    sass = """\
\t//## File "/x/bitquant_kernel.cu", line 7 inlined at "/x/bitquant_kernel.cu", line 21
\t//## File "/x/bitquant_kernel.cu", line 21
        /*0000*/ HMMA ;
        /*0010*/ NOP ;
\t//## File "/x/cuda_fp16.h", line 21
        /*0020*/ HADD2 ;
.L_x_1:"""
    assert read_sass(sass, range(10, 30))[1] == [21, 21, 0, 0]


def test_instructions_that_do_not_agree_are_not_linked():
    """Where TVM unrolled a loop, the text has an instruction more often: nothing of its kind is linked, others are."""
    scheduled = ["T.ptx.mma(", "T.ptx.ld(", "T.ptx.ld("]
    cuda = [
        "void ptx_mma_x() {",
        'extern "C" __global__ void f() {',
        "ptx_ld_x();",
        "ptx_mma_x();",
        "ptx_ld_x();",
        "ptx_ld_x();",
    ]
    assert instruction_links(scheduled, cuda) == [4, 0, 0]


def test_lines_of_a_statement_are_linked_together():
    """A statement of several lines counts as its first one; comments and blocks end what stands before them."""
    cuda = ["  ptx_mma_x(a,", "      b);", "  // Load.", "  x = 1;", "  if (y) {", "    z = 1", "        + 2;", "  }"]
    assert statement_lines(cuda) == [1, 1, 3, 4, 5, 6, 6, 8]


# Geometry.

LAUNCHES = [
    ("sm_90a", 16, {}), ("sm_90a", 2048, {}), ("sm_90a", 1, {}), ("sm_90a", 4, {"K": 8192}), ("sm_80", 300, {}),
    ("sm_90a", 1, {"fast_decoding": False}), ("sm_90a", 33, {"fast_decoding": False}),
    ("sm_75", 3, {"K": 4100, "group_size": -1}),
]  # fmt: skip


@pytest.mark.parametrize(("target", "m", "fields"), LAUNCHES)
def test_blocks_are_those_of_the_launch(target, m, fields):
    """The grid that is drawn has as many thread blocks as the scheduled function launches, of as many threads."""
    problem, planned = problem_of(target, m, **fields)
    scheduled = schedule_planned(select_implementation(problem.config, problem.weight_layout), problem.target, planned)
    ((_, func),) = scheduled.functions_items()
    text = func.script()
    choice = func.attrs["bitquant.schedule"]
    rule = next(rule for rule in default_rules() if rule.name == choice["rule"])
    hint = rule.hint_type.from_dict({str(k): str(v) if isinstance(v, str) else v for k, v in choice["hint"].items()})
    tiling = tiling_of(rule.geometry(problem, hint))
    found = re.search(r"T\.cta_id\(\[([\d, ]+)\]", text)
    blocks = 1
    for extent in found[1].split(","):
        blocks *= int(extent)
    assert tiling.blocks == blocks
    assert f"T.thread_id([{tiling.threads}])" in text or f'launch_thread("threadIdx.x", {tiling.threads})' in text


@pytest.mark.parametrize(("target", "m", "fields"), [*LAUNCHES, ("cpu", 16, {}), ("cpu", 300, {"W_dtype": "int3"})])
def test_parts_cover_the_tile(target, m, fields):
    """Each element of a tile of D is one worker's, and tiles cover D."""
    problem, _ = problem_of(target, m, **fields)
    rule = next(rule for rule in default_rules() if rule.refusal(problem) is None)
    tiling = tiling_of(rule.geometry(problem, rule.default_hint(problem)))
    owners = torch.zeros(tiling.tile_m, tiling.tile_n, dtype=torch.int32)
    for part in tiling.parts:
        owners[part.m : part.m + part.rows, part.n : part.n + part.columns] += 1
    assert bool((owners == 1).all())
    assert tiling.tiles_m * tiling.tile_m >= min(m, problem.rung)
    assert tiling.tiles_n * tiling.tile_n >= problem.config.N


def test_ring_holds_each_piece_until_it_is_multiplied():
    """Piece p is in slot p % slots, is multiplied in step p, and no slot holds another one before that."""
    drawn = draw_ring(Ring(3, 7, 64, "shared memory"))
    told = re.findall(r'class="(\w+)"><title>slot (\d+) holds piece (\d+) of k from step (\d+) on; step (\d+)', drawn)
    multiplied = [tuple(map(int, numbers)) for look, *numbers in told if look == "multiplied"]
    assert sorted(multiplied, key=lambda row: row[1]) == [(p % 3, p, max(0, p - 2), p) for p in range(7)]
    assert {int(piece) for look, _, piece, *_ in told if look == "filled"} == set(range(1, 7))  # Piece 0 is first.


def test_waves_are_counted():
    """300 blocks on a GPU that runs 132 of them together are three waves, the last one 36 of 132 full."""
    tiling = Tiling(64, 128, 64, 3, 100, "", blocks=300)
    assert waves(tiling, 132) == (3, pytest.approx(36 / 132))
    persistent = Tiling(128, 128, 64, 16, 32, "", blocks=132)
    assert waves(persistent, 132) == (4, pytest.approx(116 / 132))
    shared = Tiling(16, 64, 128, 1, 64, "", split_k=2, blocks=128)
    assert waves(shared, 264) == (1, pytest.approx(128 / 264))
    drawn = draw_grid(tiling, 132)
    assert len(re.findall("wave 3<", drawn)) == 36
    assert len(re.findall("wave [12]<", drawn)) == 264
    assert "300 tiles" in draw_grid(dataclasses.replace(tiling, tiles_n=1000, blocks=3000), 132).replace("3000", "300")


def test_pieces_of_stream_k_are_drawn():
    """72 tiles on 132 blocks: each piece is about 72 / 132 of a tile, and the pieces of a tile add up to its K."""
    tiling = Tiling(16, 128, 64, 1, 72, "", blocks=132, whole_tiles=0, rounds=100)
    drawn = draw_grid(tiling, 132)
    found = re.findall(r"tile (\d+): m 0, n \d+, (\d+)% to (\d+)% of K by block (\d+)", drawn)
    assert {int(block) for *_, block in found} == set(range(132))
    for tile in range(72):
        pieces = [(int(begin), int(end)) for index, begin, end, _ in found if int(index) == tile]
        assert pieces[0][0] == 0
        assert pieces[-1][1] == 100
        assert all(abs(before[1] - after[0]) <= 1 for before, after in itertools.pairwise(pieces))
    # Pieces are whole rounds: of 144, the first 12 blocks have two.
    few = draw_grid(dataclasses.replace(tiling, tiles_n=36, rounds=4), 132)
    assert re.findall(r"tile (?:0|6): m 0, n \d+, (\d+)% to (\d+)% of K by block (\d+)", few)[::2] == [
        ("0", "50", "0"), ("0", "25", "12"), ("50", "75", "14"),
    ]  # fmt: skip
    whole = dataclasses.replace(tiling, tiles_n=300, whole_tiles=132)
    assert len(re.findall("wave 1<", draw_grid(whole, 132))) == 132


def test_drawings_of_extreme_sizes_stay_drawings():
    """One row by a whole K, and more workers and tiles than can be drawn one by one."""
    config = bq.MatmulConfig(M=1, N=64, K=65536, W_dtype="uint4")
    tiling = Tiling(1, 8192, 65536, 5000, 5000, "", blocks=25_000_000, threads=32)
    for drawn in (draw_tile(tiling, config, 1), draw_grid(tiling, 132), draw_ring(Ring(40, 900, 64, "memory"))):
        assert len(drawn) < 60_000
        assert "nan" not in drawn


def test_occupancy_is_that_of_the_tightest_resource():
    """On sm_90a, 384 threads of 80 registers: 12 warps of 2560 registers, two blocks of which 65536 hold."""
    problem, _ = problem_of("sm_90a", 16)
    found = occupancy(problem, KernelResources(80, 0, 0, 0), 112992, 384)
    assert found.by == {"registers": 2, "shared memory": 2, "threads": 5}
    assert (found.blocks, found.warps, found.most_warps) == (2, 24, 64)


def test_rules_that_were_not_needed_say_so():
    """A rule after the one that was taken says why it refuses, or that it was not asked; a CPU's is not among them."""
    problem, planned = problem_of("sm_90a", 16)
    from bitquant.schedule.apply import choice_of

    ((_, func),) = schedule_planned(
        select_implementation(problem.config, problem.weight_layout), problem.target, planned
    ).functions_items()
    rows = dict(refusals(problem, choice_of(func), default_rules()))
    assert not any(name.startswith("cpu") for name in rows)
    assert "asked after" in rows["decode"]
    assert "asked after" in rows["fallback"]


# Packing.


@pytest.mark.parametrize(
    ("W_dtype", "A_dtype"),
    [("uint4", "float16"), ("uint3", "float16"), ("uint2", "int8"), ("nf4", "float16"), ("int8", "float16")],
)
def test_places_are_those_of_the_packed_weight(W_dtype, A_dtype):
    """An element of all ones among zeros is found in the stored bytes where the drawing says it is."""
    config = bq.MatmulConfig(M=1, N=16, K=512, W_dtype=W_dtype, A_dtype=A_dtype)
    layout = fragment_layout(config)
    ones = (1 << layout.bits) - 1
    for n, k in ((0, 0), (1, 3), (8, 0), (9, 17), (15, layout.tile_k - 1)):
        codes = torch.zeros(16, 512, dtype=torch.int64)
        if W_dtype == "int8":  # Its code 0 is 0.
            codes[n, k] = -1
            packed, empty = (relayout.pack(c, config, "fragment") for c in (codes, codes * 0))
        else:
            codes[n, k] = ones
            packed, empty = (relayout.pack(c, config, "fragment") for c in (codes, codes * 0))
        changed = (packed ^ empty).view(torch.uint8)[0].tolist()
        place = place_of(layout, n, k)
        wanted = [0] * len(changed)
        for index, plane in enumerate(layout.planes):
            word, bit = layout.bit_position(plane, place.register, place.e)
            byte = layout.chunk_offset(index, word // 4) + place.lane * 16 + word % 4 * 4 + bit // 8
            wanted[byte] |= ((1 << plane.bits) - 1) << bit % 8
        assert changed == wanted


@pytest.mark.parametrize("W_dtype", ["uint4", "int4", "uint2", "uint3", "nf4", "uint1"])
@pytest.mark.parametrize("layout", ["plain", "fragment"])
def test_the_byte_that_is_explained_is_the_stored_one(W_dtype, layout):
    """The bits that the page names for an element are the element's, and values are those of the format."""
    config = bq.MatmulConfig(M=1, N=16, K=512, W_dtype=W_dtype)
    byte = first_byte(config, layout)
    fmt = config.W_format
    torch.manual_seed(0)
    codes = torch.randint(0, 1 << fmt.bits, (16, 512))
    values = codes + (fmt.offset if fmt.is_integer else 0)
    stored = int(relayout.pack(values, config, layout).view(torch.uint8)[0, 0])
    assert sum(field.bits for field in byte.fields) == 8
    for field in byte.fields:
        got = stored >> field.begin & ((1 << field.bits) - 1)
        whole = int(codes[field.n, field.k])
        assert got == whole >> field.shift & ((1 << field.bits) - 1)
        if byte.values and fmt.is_integer:
            assert byte.values[got] == int(values[field.n, field.k])
    assert bool(byte.values) == (all(field.bits == fmt.bits for field in byte.fields))


# Around it.


def test_matmul_explores_the_rung_of_its_rows():
    """`explore` takes the rung that serves m, shows in a notebook without rights, and leaves the kernels alone."""
    matmul = bq.Matmul(bq.MatmulConfig(M=(1, 16), N=64, K=64, W_dtype="uint2"), target="cpu")
    before = matmul._archive
    page = matmul.explore(7)
    assert matmul._archive is before
    assert "matmul_nt(M=16" in page.html
    assert "matmul_nt(M=1," in matmul.explore().html
    frame = page._repr_html_()
    assert 'sandbox="allow-scripts"' in frame
    assert html.unescape(re.search(r'srcdoc="([^"]*)"', frame)[1]) == page.html
    with pytest.raises(CallError, match="'m' must be an int"):
        matmul.explore(0)


def test_a_foreign_rule_has_a_page():
    """A rule of TVM's own has no geometry, hint or prediction: the page says so and has its stages."""
    from tvm.s_tir import dlight

    config = bq.MatmulConfig(M=1, N=64, K=64, W_dtype="uint4")
    target = resolve_target("sm_80")
    page = explore(
        Problem(config, 1, target, "plain"), select_implementation(config, "plain"), Plan(), [dlight.gpu.Fallback()]
    )
    assert "tells no geometry" in page.html
    assert "This rule has no hint." in page.html


def test_page_is_written_whole(tmp_path):
    """`save` replaces a file; where it cannot write, it says why, and so does the check before the compilation."""
    from bitquant.explore import Page

    page = Page("<p>", 0.0, 0.0)
    file = tmp_path / "k.html"
    file.write_text("before")
    page.save(file)
    assert file.read_text() == "<p>"
    for path, why in ((tmp_path / "none" / "k.html", "there is no folder"), (tmp_path, "it is a folder")):
        with pytest.raises(UnsupportedError, match=why):
            page.save(path)
        with pytest.raises(UnsupportedError, match=why):
            check_writable(path)
    with pytest.raises(UnsupportedError, match="'path' must be a path"):
        page.save("")


def test_command_writes_a_page(tmp_path, monkeypatch):
    """`inspect --html` writes the page of a rung, and refuses what does not go with it before anything is compiled."""
    file = tmp_path / "k.html"
    words = [
        "inspect",
        "--html",
        str(file),
        "--M",
        "1,4",
        "--rung",
        "4",
        "--N",
        "64",
        "--K",
        "64",
        "--W_dtype",
        "uint4",
        "--target",
        "cpu",
    ]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert re.search(r"k\.html: \d+\.\d KiB; compiled in \d+\.\d s, the page in \d+\.\d\d s", result.output)
    assert "matmul_nt(M=4" in file.read_text(encoding="utf-8")

    def fail(*_arguments, **_fields):
        raise AssertionError("it compiles")

    monkeypatch.setattr("bitquant.explore.page.make_stages", fail)
    for more, why in (
        (["--stage", "te"], "got both"),
        (["--json"], "--json goes with --stage"),
        (["--full"], "--full goes with --stage"),
        (["--rung", "3"], "'--rung' must be one of 1, 4 (got 3)"),
        (["--html", str(tmp_path / "none" / "k.html")], "there is no folder"),
    ):
        refused = CliRunner().invoke(cli, words + more)
        assert refused.exit_code != 0
        assert why in " ".join((refused.output + str(refused.exception)).split())
    neither = CliRunner().invoke(cli, [words[0], *words[3:]])
    assert "one of --stage and --html is wanted" in neither.output


def test_tables_escape_what_they_show():
    """Cells, headers and captions are text; without headers the first cell of a row is one."""
    made = html_table(["a<b", "n"], [["<script>", 1]], "x & y", ["n"])
    assert "<script>" not in made
    assert "&lt;script&gt;" in made
    assert "x &amp; y" in made
    assert '<td style="text-align:right">1</td>' in made
    assert html_table(["", ""], [["k", "v"]]).count('<th scope="row">k</th><td>v</td>') == 1


def test_report_is_text_and_a_table():
    """A report prints as it did, and a notebook shows its kernels, refusals and calls as tables."""
    matmul = bq.Matmul(bq.MatmulConfig(M=(1, 16), N=64, K=64, W_dtype="uint2"), target="cpu")
    report = matmul.report()
    assert isinstance(report, str)
    assert f"{report}".startswith("matmul_nt(")
    shown = report._repr_html_()
    assert shown.count("<table>") == shown.count("</table>") >= 2
    assert "lanes=" in shown
    assert "MiB" in shown


def test_tuning_result_and_bench_table_show_as_tables():
    """Trials stand by rung with the best marked, times of a run with their empty columns left out."""
    problem, _ = problem_of("sm_90a", 16)
    rule = next(rule for rule in default_rules() if rule.name == "wgmma")
    candidate = Candidate(16, rule, rule.default_hint(problem))
    best, bad = Trial(candidate, "measured", 5.0, is_final=True), Trial(candidate, "failed", note="<no>")

    class Operator:
        config, target = problem.config, problem.target

    shown = TuningResult(Operator(), "H200", (best, bad), {16: best}, {})._repr_html_()
    assert shown.count("<tr>") == 3
    assert "<td>best</td>" in shown
    assert "&lt;no&gt;" in shown
    assert "2.6" in shown  # 5 us over a floor of 1.91 us.
    table = Table(["format", "N x K", "m", "ours", "peer"], [["uint4", "1 x 1", "1", "2.0", ""]])
    assert "peer" not in table._repr_html_()
    assert "2.0" in table._repr_html_()
