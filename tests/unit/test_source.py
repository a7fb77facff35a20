# SPDX-License-Identifier: Apache-2.0
"""CUDA C++ that is made readable: what becomes of each form, and that machine code does not change."""

from __future__ import annotations

import re
import struct
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitquant as bq
from bitquant import build
from bitquant.arch import cuda_target
from bitquant.compiler import compile_cuda_source
from bitquant.compute import select_implementation
from bitquant.schedule import preferred_layout, schedule_module
from bitquant.schedule.rules.contract import MemoryPart
from bitquant.source import About, readable
from bitquant.source.lines import WIDTH, broken, is_continued
from bitquant.source.text import Unknown, readable_literal, tokenize, without_parentheses

PREAMBLE = """\
__forceinline__ __device__ void tvm_builtin_ptx_ld_global_nc_u32(uint32_t& __d, const void* __addr) {
  asm volatile("ld.global.nc.u32 %0, [%1];" : "=r"(__d) : "l"(__addr) : "memory");
}
__forceinline__ __device__ void tvm_builtin_ptx_mma_sync(float& __d0, uint32_t __a0, uint32_t __b0, float __c0) {
  asm volatile("mma.sync.f32 {%0}, {%1}, {%2}, {%3};" : "=f"(__d0) : "r"(__a0), "r"(__b0), "f"(__c0));
}
__forceinline__ __device__ unsigned int tvm_builtin_cluster_ctaid_x() {
  unsigned int ctaid;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(ctaid) :);
  return ctaid;
}
"""
HEAD = 'extern "C" __global__ void __launch_bounds__(32) f(int* __restrict__ B_ptr, float* __restrict__ D_ptr, int v)'


def made(*lines: str, preamble: str = PREAMBLE) -> str:
    """The readable form of a kernel with this body, without what stands before it."""
    text = f"{preamble}{HEAD};\n{HEAD} {{\n" + "".join(f"  {line}\n" for line in lines) + "}\n"
    result = readable(text)
    assert readable(result) == result
    return result[result.index("{\n", result.rindex(" f(")) + 2 :].removesuffix("}\n")


def test_a_product_is_named_by_its_operands():
    """Words of the weight, masks, operands of mma and sums are called so; names tell two of a kind apart."""
    got = made(
        "int cse_v1 = (((int)threadIdx.x) & 31);",
        "alignas(64) float _ptr[4];",
        "alignas(64) uint _ptr_1[1];",
        "tvm_builtin_ptx_ld_global_nc_u32("
        "_ptr_1[0], (&(B_ptr[((((int)blockIdx.x) * 32) + (((int)threadIdx.x) & 31))])));",
        "alignas(64) uint _ptr_2[1];",
        "_ptr_2[0] = (_ptr_1[0] & (uint)16711935);",
        "alignas(64) uint _ptr_3[1];",
        "_ptr_3[0] = ((_ptr_1[0] >> (uint)8) & (uint)16711935);",
        "tvm_builtin_ptx_mma_sync(_ptr[0], _ptr_2[0], _ptr_3[0], 0x0p+0f/*0.000000e+00*/);",
        "  D_ptr[((((int)blockIdx.x) * v) + ((int)threadIdx.x))] = (_ptr[0] * 0x1p+24f/*1.677722e+07*/);",
    )
    assert (
        got
        == """\
  alignas(64) float acc[4];
  // Load B.
  uint B_words;
  ptx_ld_global_nc_u32(B_words, &B_ptr[BLOCK * 32 + LANE]);
  // Decode W.
  uint left = B_words & 0x00ff00ffu;
  uint right = (B_words >> 8u) & 0x00ff00ffu;
  // Tensor cores.
  ptx_mma_sync_f32(acc[0], left, right, 0.0f);
  // Epilogue: store D.
  D_ptr[BLOCK * m + THREAD] = acc[0] * 16777216.0f;
"""
    )


def test_indices_are_macros_of_those_that_occur():
    """The indices that a kernel uses are defined before it, lanes by threads, and no others."""
    text = f"{PREAMBLE}{HEAD} {{\n  D_ptr[(((int)threadIdx.x) & 31)] = 0x1p+0f/*1.000000e+00*/;\n}}\n"
    defined = re.findall(r"^#define .*$", readable(text), re.MULTILINE)
    assert defined == ["#define THREAD ((int)threadIdx.x)", "#define LANE (THREAD & 31)"]


def test_names_that_are_taken_are_left_alone():
    """A temporary gets another name where the text has the first, be it a function's."""
    got = made(
        "alignas(64) uint _ptr[1];",
        "_ptr[0] = (uint)word(1);",
        "D_ptr[0] = ((float)_ptr[0]);",
        preamble="__device__ int word(int x) {\n  return x;\n}\n",
    )
    assert got == "  uint word_1 = (uint)word(1);\n  // Epilogue: store D.\n  D_ptr[0] = (float)word_1;\n"


def test_scalars_end_at_a_branch():
    """What is written twice, or used beyond a branch, stays an array, so that it gets the register it had."""
    got = made(
        "alignas(64) int _ptr[1];",
        "_ptr[0] = 1;",
        "alignas(64) int _ptr_1[1];",
        "_ptr_1[0] = 2;",
        "_ptr_1[0] = (_ptr_1[0] + 1);",
        "alignas(64) int _ptr_2[1];",
        "_ptr_2[0] = 3;",
        "if (_ptr_2[0] < v) {",
        "  D_ptr[_ptr[0]] = 0x1p+0f/*1.000000e+00*/;",
        "}",
        "D_ptr[_ptr_1[0]] = 0x1p+0f/*1.000000e+00*/;",
    )
    assert "  int index[1];\n  index[0] = 1;\n  int index_1[1];\n  index_1[0] = 2;\n" in got
    assert "  int index_2 = 3;\n  if (index_2 < m) {\n" in got


def test_unused_variables_go_and_volatile_instructions_stay():
    """A value that nobody reads is gone; the instructions in it, which may not be left out, are not."""
    got = made(
        "int cse_v1 = ((((int)threadIdx.x) >> 5) * 4);",
        "int cse_v2 = ((((int)tvm_builtin_cluster_ctaid_x()) * 4) + ((int)tvm_builtin_cluster_ctaid_x()));",
        "int warp_id_in_cta = __shfl_sync((uint)4294967295, (((int)threadIdx.x) >> 5), 0, 32);",
        "alignas(64) half _ptr[16];",
        "for (int v_1 = 0; v_1 < 4; ++v_1) {",
        "  int cse_v3 = (v_1 + 1);",
        "  int cse_v4 = ((v_1 + 1) * 2);",
        "  int cse_v5 = (v_1 * 2);",
        "  D_ptr[v_1] = 0x1p+0f/*1.000000e+00*/;",
        "}",
    )
    assert (
        got
        == """\
  // TVM emits this, and nothing uses the result.
  cluster_rank(); cluster_rank();
  // TVM emits this, and nothing uses the result.
  __shfl_sync(0xffffffffu, WARP, 0, 32);
  for (int i = 0; i < 4; ++i) {
    int index = i + 1;
    // Epilogue: store D.
    D_ptr[i] = 1.0f;
  }
"""
    )


def test_names_return_when_what_had_them_is_gone():
    """Blocks one after the other may call what they declare alike, but not as what stands around them."""
    text = f"""{PREAMBLE}{HEAD} {{
  uint _ptr_1 = n;
  for (int v_ = 0; v_ < 4; ++v_) {{
    uint _ptr_2 = (_ptr_1 + v_);
    D_ptr[v_] = _ptr_2;
  }}
  for (int v__1 = 0; v__1 < 4; ++v__1) {{
    uint _ptr_3 = (_ptr_1 + v__1);
    D_ptr[v__1] = _ptr_3;
  }}
}}
"""
    body = readable(text).partition(" {\n")[2]
    assert body.count("for (int i = 0; i < 4; ++i) {") == 2, body
    assert body.count("uint word_1 = word + i;\n") == 2, body


@pytest.mark.parametrize(("value", "wanted"), [
    ("(ushort)(x >> (uint)0)", "(ushort)x"),
    ("((x << (uint)0) & (uint)3)", "x & 3u"),
    ("((((uchar)x >> (uchar)0) | ((uchar)0 << (uchar)5)) & (uchar)7)", "(uchar)x & (uchar)7"),
    ("((((uchar)x >> (uchar)0) | ((uchar)0 << (uchar)0)) & (uchar)7)", "(uchar)x & (uchar)7"),
    ("(x >> (uint)10)", "x >> 10u"),
    ("((uint)0 - (x >> (uint)1))", "0u - (x >> 1u)"),
])  # fmt: skip
def test_shifts_by_nothing_go(value, wanted):
    """Formats of any width print them; what is shifted is unsigned, so that its type is the same without."""
    text = f"{PREAMBLE}{HEAD} {{\n  uint x = n;\n  D_ptr[0] = {value};\n}}\n"
    assert f"D_ptr[0] = {wanted};" in readable(text)


def test_inputs_are_const():
    """A parameter a line; const are those that instructions read, not those that are stored or that C++ loads."""
    text = f"{PREAMBLE}{HEAD};\n{HEAD} {{\n"
    text += "  tvm_builtin_ptx_ld_global_nc_u32(x, (&(B_ptr[0])));\n  D_ptr[0] = 0x1p+0f/*1.000000e+00*/;\n}\n"
    head = ("    const int* __restrict__ B_ptr,\n    float* __restrict__ D_ptr,\n    int m) {\n",)
    assert head[0] in readable(text)
    assert readable(text).count('extern "C"') == 1
    text = text.replace("(&(B_ptr[0]))", "B_ptr[0]")
    assert "(\n    int* __restrict__ B_ptr,\n" in readable(text)


def test_long_statements_are_broken():
    """Lines end between arguments or before operators, where the fewest brackets are, and join to what they were."""
    name = "ptx_" + 70 * "x"
    line = f"  {name}(a[0], (void*)(b + {20 * 'c'} * 2u), d + e);"
    lines = [f"  {name}(a[0],", f"      (void*)(b + {20 * 'c'} * 2u), d + e);"]
    assert broken(line) == lines
    assert [is_continued(part) for part in lines] == [True, False]
    sums = "  total = " + " + ".join(f"f({'x' * 20}, {i})" for i in range(9)) + ";"
    assert all(part.startswith("      + f(") for part in broken(sums)[1:])
    for whole in (line, sums, f"  {'y' * 120};"):
        assert " ".join(part.strip() for part in broken(whole)) == whole.strip()
        assert broken(whole)[0].startswith("  ")
    assert broken("  x = 1;") == ["  x = 1;"]


@pytest.mark.parametrize(
    "line",
    [
        "x->y = 1;",
        "goto out;",
        'asm volatile("exit;");',
        "int a = 1, b = 2;",
        "D_ptr[0] = 1; D_ptr[1] = 2;",
        "f((1);",
        "@",
    ],
)
def test_what_is_not_known_is_left_alone(line):
    """A kernel with a statement that TVM does not print stays as it is, but for the names of functions."""
    body = f"  alignas(64) uint _ptr[1];\n  _ptr[0] = (uint)16711935;\n  {line}\n  tvm_builtin_cluster_ctaid_x();\n"
    text = f"{PREAMBLE}{HEAD} {{\n{body}}}\n"
    assert readable(text).endswith(f"{HEAD} {{\n{body.replace('tvm_builtin_cluster_ctaid_x', 'cluster_rank')}}}\n")


ABOUT = About(
    ("a problem " * 12,),
    {"f": "grid 1, block 32"},
    (
        MemoryPart("A", 0, 64, "A"), MemoryPart("SUMS", 0, 32, "sums"), MemoryPart("B", 64, 128, "B"),
        MemoryPart("FULL", 128, 192, "mbarriers"), MemoryPart("EMPTY", 192, 256, "mbarriers"),
    ),
)  # fmt: skip


def test_the_head_tells_problem_launch_and_memory():
    """What is known of the kernel stands above it, in lines that are not too long, with the offsets as constants."""
    body = [
        "extern __shared__ __align__(128) uchar arena_ptr[];",
        "tvm_builtin_ptx_ld_global_nc_u32(x, (&(arena_ptr[64])));",
        "tvm_builtin_ptx_ld_global_nc_u32(x, (&(arena_ptr[((((int)threadIdx.x) * 64) + 72)])));",
        "tvm_builtin_ptx_ld_global_nc_u32(x, (&(arena_ptr[((((int)threadIdx.x) * 64) + 8)])));",
        "tvm_builtin_ptx_ld_global_nc_u32(x, (&(arena_ptr[(((((int)threadIdx.x) + 128) + 64) + 40)])));",
        "tvm_builtin_ptx_ld_global_nc_u32(x, (&(arena_ptr[((((int)threadIdx.x) + 64) + (8 * ((int)blockIdx.x)))])));",
        "D_ptr[((((int)threadIdx.x) * 64) + 64)] = 0x1p+0f/*1.000000e+00*/;",
    ]
    text = f"{PREAMBLE}{HEAD} {{\n" + "".join(f"  {line}\n" for line in body) + "}\n"
    result = readable(text, ABOUT)
    assert readable(result) == result
    assert "// f: grid 1, block 32\n// Parts of shared memory, by offset in bytes.\nenum : int {\n" in result
    assert "  SMEM_A = 0,        // to 64: A\n  SMEM_SUMS = 0,     // to 32: sums\n" in result
    assert re.search(r"\n//   \w", result)
    assert "&arena_ptr[SMEM_B]" in result
    assert "&arena_ptr[THREAD * 64 + SMEM_B + 8]" in result
    assert "&arena_ptr[THREAD * 64 + 8]" in result
    assert "&arena_ptr[THREAD + SMEM_EMPTY + 8 * 5]" in result
    assert "&arena_ptr[THREAD + SMEM_B + 8 * BLOCK]" in result
    assert "D_ptr[THREAD * 64 + 64]" in result
    assert "SMEM_" not in readable(text.replace("arena_ptr[]", "SMEM_ptr[]"), ABOUT).split("extern __shared__")[0]


def test_text_without_kernels_is_left_alone():
    """A kernel that does not end is not rewritten, nor is text without any, or with a macro's name."""
    assert readable("int x;\n") == "int x;\n"
    taken = f"{PREAMBLE}{HEAD} {{\n  alignas(64) int BLOCK[1];\n}}\n"
    assert readable(taken) == taken
    text = f"{PREAMBLE}{HEAD} {{\n  int v_1 = 1;\n"
    assert readable(text).endswith(f"{HEAD} {{\n  int v_1 = 1;\n")


@pytest.mark.parametrize(
    ("token", "around", "wanted"),
    [
        ("(uint)1677747200", (" | ", ")"), "0x64006400u"),
        ("(uint)4294967295", ("(", ", "), "0xffffffffu"),
        ("(uint)17217", (", ", ")"), "0x4341u"),
        ("(uint)230400", (" + ", ")"), "230400u"),
        ("(uint)65537", (" * ", ")"), "0x00010001u"),
        ("(uint)8", (" >> ", ")"), "8u"),
        ("(ushort)32767", (" & ", ")"), "(ushort)0x7fff"),
        ("(uchar)4", (" << ", ")"), "(uchar)4"),
        ("(uint64_t)4611686293305294848ULL", (" | ", ")"), "0x4000004000000000ull"),
        ("-0x1p+10f/*-1.024000e+03*/", ("(", ")"), "-1024.0f"),
        ("0x1.5555555555555p-2f/*3.333333e-01*/", ("(", ")"), "0x1.5555555555555p-2f/*3.333333e-01*/"),
        ("0x1p-24f/*5.960464e-08*/", ("(", ")"), "0x1p-24f/*5.960464e-08*/"),
    ],
)
def test_literals(token, around, wanted):
    """Patterns of bits are hexadecimal, numbers are not; a float is decimal where that is short and exact."""
    assert readable_literal(token, *around) == wanted


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_floats_are_the_same_number(value):
    """A float that becomes decimal is read as the number it was."""
    token = f"{value.hex()}f/*{value:e}*/"
    text = readable_literal(token, "(", ")")
    if text != token:
        assert struct.pack("f", float(text.removesuffix("f"))) == struct.pack("f", value)


#: C++'s binary operators, those that bind least first. An oracle of its own: `bitquant.source` has another table.
GRAMMAR = ("||", "&&", "|", "^", "&", "== !=", "< > <= >=", "<< >>", "+ -", "* / %")


def parse(text: str) -> object:
    """Return an expression of C++ as a tree, by precedence; parentheses are not in it."""
    tokens = re.findall(r"\w+|<<|>>|[<>=!]=|&&|\|\||\S", text)

    def binary(level: int) -> object:
        if level == len(GRAMMAR):
            return unary()
        left = binary(level + 1)
        while tokens and tokens[0] in GRAMMAR[level].split():
            left = (tokens.pop(0), left, binary(level + 1))
        return left

    def conditional() -> object:
        condition = binary(0)
        if not tokens or tokens[0] != "?":
            return condition
        tokens.pop(0)
        first = conditional()
        assert tokens.pop(0) == ":"
        return ("?", condition, first, conditional())

    def unary() -> object:
        first = tokens.pop(0)
        if first in "-!~&*":
            return (first, unary())
        if first == "(" and tokens[0] == "int":
            assert [tokens.pop(0), tokens.pop(0)] == ["int", ")"]
            return ("cast", unary())
        tree: object = first
        if first == "(":
            tree = conditional()
            assert tokens.pop(0) == ")"
        while tokens and tokens[0] in ("[", "("):
            close = {"[": "]", "(": ")"}[tokens.pop(0)]
            arguments = [conditional()]
            while tokens[0] == ",":
                tokens.pop(0)
                arguments.append(conditional())
            assert tokens.pop(0) == close
            tree = (close, tree, *arguments)
        return tree

    tree = conditional()
    assert not tokens
    return tree


def printed(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions as TVM prints them, of those given."""
    operators = st.sampled_from(" ".join(GRAMMAR).split())
    return st.one_of(
        st.builds("({} {} {})".format, children, operators, children),
        st.builds("({} ? {} : {})".format, children, children, children),
        st.builds("((int){})".format, children),
        st.builds("(-{})".format, children),
        st.builds("(!({}))".format, children),
        st.builds("min({}, {})".format, children, children),
        st.builds("x[{}]".format, children),
        st.builds("(&(x[{}]))".format, children),
        st.builds("({})".format, children),
    )


@given(st.recursive(st.sampled_from(["a", "b", "7", "x[3]"]), printed, max_leaves=24))
def test_parentheses_that_go_change_nothing(text):
    """By C++'s grammar, an expression is the same with and without those parentheses; a second pass finds none."""
    short = without_parentheses([*tokenize(text), ";"])
    assert parse("".join(short).removesuffix(";")) == parse(text)
    assert without_parentheses(short) == short


def test_parentheses_that_do_not_match_are_not_known():
    """Brackets that do not close each other are none that TVM prints."""
    for text in ("(a + b", "a + b)", "(a[0 + b)]"):
        with pytest.raises(Unknown):
            without_parentheses([*tokenize(f"{text};"), "("])


# Whole kernels.

KERNELS = {
    "decode": ("sm_90a", dict(M=1, N=256, K=512, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True)),
    "wgmma": ("sm_90a", dict(M=64, N=256, K=512, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True)),
    "grouped_wgmma": (
        "sm_90a",
        dict(num_experts=8, M=512, N=512, K=512, W_dtype="uint4", group_size=128, with_scaling=True, with_zeros=True),
    ),
    "mma": ("sm_80", dict(M=16, N=64, K=128, W_dtype="int4", group_size=32, with_scaling=True, fast_decoding=False)),
    "gemv": ("sm_75", dict(M=1, N=64, K=256, W_dtype="nf4", group_size=64, with_scaling=True)),
}


@pytest.fixture(scope="module")
def texts() -> dict[str, tuple[str, str, str]]:
    """For each rule an architecture, what TVM prints, and the readable form of it that is compiled."""
    result = {}
    for rule, (arch, fields) in KERNELS.items():
        config: Any = (bq.GroupedMatmulConfig if "num_experts" in fields else bq.MatmulConfig)(**fields)
        target = cuda_target(arch)
        module = schedule_module(select_implementation(config, preferred_layout(config, target)), target)
        ((name, scheduled),) = module.functions_items()
        assert build.choice_of(scheduled).rule == rule
        _, device = build._lower(name, scheduled, target)
        result[rule] = (arch, build._cuda_source(device, target), build._shown_source(device, scheduled, target))
    return result


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"[A-Za-z_]\w*", text[text.index('extern "C"') :]))


@pytest.mark.parametrize("rule", KERNELS)
def test_machine_code_is_the_same(texts, rule):
    """The compiler makes the same file of both texts, byte by byte."""
    arch, text, result = texts[rule]
    before, after = (compile_cuda_source(source, arch) for source in (text, result))
    assert before.cubin == after.cubin
    assert before.resources == after.resources


@pytest.mark.parametrize("rule", KERNELS)
def test_kernels_are_readable(texts, rule):
    """No name, pattern, index or empty variable of TVM's is left, and each part is said to be one."""
    _, text, result = texts[rule]
    assert readable(result) == result
    found = words(result)
    assert not [name for name in found if re.fullmatch(r"_ptr(_\d+)?|buffer(_\d+)?|cse_v\d+|tvm_builtin_\w+", name)]
    body = result[result.rindex('extern "C"') :]
    assert not re.search(r"\(uint\)\d{4,}|threadIdx|blockIdx|\(\(int\)", body.split("{", 1)[1])
    assert body.count(";\n") <= text.count(";\n")
    assert max(map(len, body.split("\n"))) <= WIDTH
    assert body.count('extern "C"') == result.count('extern "C"') == 1
    comments = set(re.findall(r"^ *// (.*)$", body, re.MULTILINE))
    wanted = {
        "decode": {"Decode W.", "Tensor cores.", "Scale the sums of a group, and add them up.",
                   "Epilogue: store D."},
        "wgmma": {"Set up the barriers of the ring.", "Copy to the ring slot: A.", "Copy to the ring slot: W.",
                  "Wait until the ring slot is filled.", "Decode W.", "Tensor cores.", "Release the ring slot.",
                  "Epilogue: store D."},
        "grouped_wgmma": {"Tiles along m of each expert, one expert a lane.", "Prefix sum over the lanes.",
                          "Search for the expert that has the tile.", "Tile after tile of this block.",
                          "Tiles go in groups along m, so that what a group reads stays in L2."},
        "mma": {"Copy to shared memory: A.", "Tensor cores.", "Epilogue: store D."},
        "gemv": {"Load A.", "Load B.", "Epilogue: store D."},
    }[rule]  # fmt: skip
    assert wanted <= comments


@pytest.mark.parametrize("rule", KERNELS)
def test_kernels_have_a_head(texts, rule):
    """Problem, hint and launch stand above a kernel, and the map of its shared memory where there is one."""
    _, text, result = texts[rule]
    head = result[len(text) - len(text.lstrip()) : result.rindex('extern "C"')]
    assert re.search(r"^// (grouped_)?matmul_\w+\(.*M=", head, re.MULTILINE)
    assert f"// rule {rule}: " in head
    assert re.search(r"_kernel: grid \d+, block \d+\n", head)
    if rule == "mma":
        assert "\n  SMEM_A = 0, " in head
        assert "SMEM_W_DECODED" in result[result.rindex('extern "C"') :]
    if rule in ("decode", "wgmma", "grouped_wgmma"):
        offsets = dict(re.findall(r"^  SMEM_(\w+) = (\d+),", head, re.MULTILINE))
        assert {"A", "BARRIERS"} <= set(offsets)
        body = result[result.rindex('extern "C"') :]
        assert "SMEM_BARRIERS" in body
        assert not re.search(rf"\b{offsets['BARRIERS']}u?\b", body)


def test_the_schedule_of_tiles_has_names(texts):
    """Producer and consumers call what they compute alike: the tile, its group along m, its place, and its expert."""
    for rule, wanted in (
        ("wgmma", ("tile", "group_m", "m0", "n0", "is_last")),
        ("grouped_wgmma", ("tile", "tile_m", "searched", "expert", "tiles_m", "tile_of_expert", "group_m", "m0", "n0")),
    ):
        body = texts[rule][2][texts[rule][2].rindex('extern "C"') :]
        producer, _, consumer = body.partition("} else {")
        assert "// The producer fills the ring; the consumers (else) decode W and multiply." in producer
        for half in (producer, consumer):
            declared = re.findall(r"^ +\w+ (\w+)(?:\[1\];| = )", half, re.MULTILINE)
            found = {re.sub(r"_\d+$", "", name) for name in declared}
            assert set(wanted) <= found
        assert "flag" not in body


def test_only_arrays_that_ptxas_would_place_elsewhere_stay(texts):
    """Outside of wgmma no temporary of one element is an array, but for what lives beyond a branch."""
    for rule, most in (("decode", 1), ("mma", 2)):
        body = texts[rule][2][texts[rule][2].rindex('extern "C"') :]
        assert len(re.findall(r"^ +\w+ \w+\[1\];$", body, re.MULTILINE)) <= most, rule


@given(st.data())
def test_damaged_kernels_never_raise(texts, data):
    """Whatever lines are missing or doubled, the text comes back as text."""
    _, text, _ = texts[data.draw(st.sampled_from(sorted(KERNELS)))]
    begin = text.rindex('extern "C"')
    lines = text[begin:].split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        lines[at : at + 1] = data.draw(st.sampled_from([[], [lines[at]] * 2, [lines[at][: len(lines[at]) // 2]]]))
    assert isinstance(readable(text[:begin] + "\n".join(lines)), str)


def test_operators_show_what_was_compiled():
    """The text that an operator gives is the readable one, and its machine code was made of that."""
    fields = dict(M=1, N=64, K=128, W_dtype="uint2", fast_decoding=False)
    operator = bq.Matmul(bq.MatmulConfig(**fields), target="sm_80")
    source = operator.get_source()
    assert readable(source) == source
    assert "// " in source[source.index('extern "C"') :]
    (program,) = operator._archive.programs.values()
    assert compile_cuda_source(source, "sm_80").cubin == program.cubin
