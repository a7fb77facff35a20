# SPDX-License-Identifier: Apache-2.0
"""Decoding registers of the fragment layout in kernels: code that compiles, and that takes few instructions."""

from __future__ import annotations

import re

import pytest
import tvm
from tvm.script import tirx as T

from bitquant.arch import cuda_target, gpu_arch
from bitquant.compiler import compile_cuda_source
from bitquant.intrin.decoders import RegisterDecoder
from bitquant.intrin.operations import PairTable
from bitquant.layouts import FragmentLayout
from bitquant.testing.generators import sample_format


def decode_kernel(decoder: RegisterDecoder) -> tvm.tirx.PrimFunc:
    """Return a kernel of a warp a tile: words of tiles (tiles, words) -> registers (tiles, registers, lanes)."""
    layout = decoder.fragment_layout
    tile_words, registers = layout.tile_bytes // 4, layout.registers * decoder.registers
    smem_bytes = max(16, decoder.table_bytes)

    def decode(W, D, tile, lane, arena):
        table = None
        if decoder.has_table:
            table = PairTable(arena, 0, lane)
            decoder.fill_table(arena, 0, lane, 32)
            T.evaluate(T.cuda.cta_sync())
        words = []
        for index, plane in enumerate(layout.planes):
            buffer = T.alloc_local((plane.words,), "uint32")
            for chunk in range(plane.chunks):
                at = layout.chunk_offset(index, chunk) // 4 + lane * 4
                part = [buffer[4 * chunk + i] for i in range(4)]
                T.evaluate(T.ptx["ld.global.nc.v4.u32"](*part, W.ptr_to([tile, at])))
            words.append(buffer)
        for r in range(layout.registers):
            for half, register in enumerate(decoder.decode(words, r, table)):
                T.buffer_store(D, register, [tile, r * decoder.registers + half, lane])

    @T.prim_func
    def kernel(W_handle: T.handle, D_handle: T.handle):
        tiles = T.meta_var(T.int32())
        W = T.match_buffer(W_handle, (tiles, tile_words), "uint32", align=16)
        D = T.match_buffer(D_handle, (tiles, registers, 32), "uint32", align=16)
        T.device_entry()
        tile = T.cta_id([tiles])
        lane = T.thread_id([32])
        arena = T.alloc_buffer((smem_bytes,), "uint8", scope="shared.dyn", align=128)
        decode(W, D, tile, lane, arena)

    return kernel


def compile_decoder(name: str, operand: str, operand_bits: int, arch: str, is_adjacent: bool, permutes: int = 0):
    """Return a decoder, its kernel as a TVM executable, and its machine code."""
    fmt = sample_format(name)
    layout = FragmentLayout(fmt.bits, operand_bits, is_adjacent)
    decoder = RegisterDecoder(
        fmt, layout, operand, converts_float8=gpu_arch(arch).has_float8_conversion, permutes=permutes
    )
    module = tvm.IRModule({"main": decode_kernel(decoder).with_attr("global_symbol", "main")})
    executable = tvm.compile(module, target=cuda_target(arch), tir_pipeline="tirx")
    return decoder, executable, compile_cuda_source(executable.mod.imports[0].inspect_source(), arch)


#: Logical instructions, shifts and permutations, and multiply-adds, for 16 bytes of weight a lane. The first is the
#: number of registers, twice it for planes, and a shift a word where one is needed.
COUNTS = {
    ("uint4", "float16", 16): (20, 16),
    ("int4", "bfloat16", 16): (20, 16),
    ("int2", "float16", 16): (36, 32),
    ("uint1", "bfloat16", 16): (68, 64),
    ("uint3", "float16", 16): (47, 43),
    ("int7", "bfloat16", 16): (32, 27),
    ("uint8", "bfloat16", 16): (8, 8),
    ("int8", "float16", 16): (12, 8),
    ("int5", "float16", 8): (34, 26),
    ("int4", "int8", 8): (12, 0),
    ("uint4", "float8_e4m3", 8): (12, 0),
}


@pytest.mark.parametrize(("name", "operand", "operand_bits"), COUNTS)
def test_integers_take_few_instructions(name, operand, operand_bits):
    """PTX has a mask for each field, a shift for each word, and a multiply-add for each pair and plane."""
    decoder, _, code = compile_decoder(name, operand, operand_bits, "sm_90a", False)
    scale = 4 / sum(plane.words for plane in decoder.fragment_layout.planes)
    body = code.ptx[code.ptx.index(".entry main_kernel") :]
    logical = len(re.findall(r"\b(?:and|or|xor|lop3|prmt|shr|shl)\.\w*\s", body))
    multiplied = len(re.findall(r"\bfma\.rn\.(?:b?f16x2)\b", body))
    allowed, multiply_adds = COUNTS[name, operand, operand_bits]
    # Three more make the addresses.
    assert (logical - 3) * scale <= allowed
    assert round(multiplied * scale) == multiply_adds


@pytest.mark.parametrize("arch", ["sm_80", "sm_90a"])
@pytest.mark.parametrize(
    ("name", "operand", "operand_bits", "is_adjacent", "permutes"),
    [
        ("int4", "float16", 8, False, 0),
        ("int8", "bfloat16", 16, False, 0),
        ("int3", "float8_e4m3", 8, False, 0),
        ("fp4_e2m1", "bfloat16", 16, False, 0),
        ("fp4_e2m1", "bfloat16", 16, True, 0),
        ("fp4_e2m1", "float16", 16, True, 2),
        ("fp4_e2m1", "float16", 8, False, 0),
        ("float6_e3m2", "float16", 16, False, 0),
        ("float6_e2m3", "bfloat16", 8, False, 0),
        ("float6_e3m2", "float8_e4m3", 8, False, 0),
        ("float8_e4m3", "float16", 16, False, 0),
        ("float8_e4m3", "bfloat16", 8, False, 0),
        ("float8_e5m2", "bfloat16", 16, False, 0),
        ("nf4", "float16", 16, True, 0),
        ("nf4", "float16", 16, True, 1),
    ],
)
def test_decoders_compile(name, operand, operand_bits, is_adjacent, permutes, arch):
    """Each way of decoding compiles for old and new devices, in registers alone."""
    _, _, code = compile_decoder(name, operand, operand_bits, arch, is_adjacent, permutes)
    (resources,) = code.resources.values()
    assert resources.spill_bytes == resources.stack_bytes == 0
