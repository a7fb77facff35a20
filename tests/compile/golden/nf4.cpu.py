# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 128), "float16", align=1), B: T.Buffer((64, 64), "int8", align=1), Scale: T.Buffer((64, 2), "float16", align=1), D: T.Buffer((1, 64), "float16", align=1)):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 1, "N": 64, "W_dtype": "nf4", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"buffered": False, "chunk": 8, "col_tile": 4, "cols": 4, "lanes": 8, "row_tile": 1, "rows": 1, "scale_sums": True, "simd_lookup": True}, "origin": "default", "pipeline": "s_tir", "refusals": {}, "rule": "cpu", "smem_bytes": 0}, "tirx.noalias": True})
        A_lanes = T.alloc_buffer((1, 16, 1, 8))
        A_sum = T.alloc_buffer((1, 1, 1, 8))
        for ib, r, v in T.grid(1, 1, 16):
            for l in T.vectorized(8):
                A_lanes[ib, v, r, l] = T.Cast("float32", A[T.min(ib + r, 0), v * 8 + l])
        for tile in T.parallel(16):
            table = T.alloc_buffer((16,))
            for code in T.unroll(16):
                code_1 = T.uint8()
                table[code] = T.Let(T.Select(code_1 & T.uint8(8) != T.uint8(0), T.Select(code_1 & T.uint8(4) != T.uint8(0), T.Select(code_1 & T.uint8(2) != T.uint8(0), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_1 & T.uint8(2) != T.uint8(0), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_1 & T.uint8(4) != T.uint8(0), T.Select(code_1 & T.uint8(2) != T.uint8(0), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_1 & T.uint8(2) != T.uint8(0), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_1: T.Cast("uint8", code)})
            C = T.alloc_buffer((1, 1, 1, 4, 8))
            for ib, jb in T.grid(1, 1):
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = T.float32(0.0)
            for c, ib, jb in T.grid(2, 1, 1):
                dot = T.alloc_buffer((1, 4, 8))
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            dot[r, q, l] = T.float32(0.0)
                for s, v in T.grid(1, 8):
                    for q in T.unroll(4):
                        for r in T.unroll(1):
                            for l in T.vectorized(8):
                                dot[r, q, l] = dot[r, q, l] + A_lanes[ib, c * 8 + s * 8 + v, r, l % 8] * T.Select(T.Cast("int32", T.reinterpret("uint32", B[tile * 4 + jb * 4 + q, T.Ramp((c * 8 + s * 8 + v) * 4, 1, 4)])) >> l % 8 * 4 + ((c * 8 + s * 8 + v) * 4 - (c * 8 + s * 8 + v) * 4) * 8 & 15 < 8, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", table[l], T.Cast("int32", T.reinterpret("uint32", B[tile * 4 + jb * 4 + q, T.Ramp((c * 8 + s * 8 + v) * 4, 1, 4)])) >> l % 8 * 4 + ((c * 8 + s * 8 + v) * 4 - (c * 8 + s * 8 + v) * 4) * 8 & 15), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", table[l + 8], T.Cast("int32", T.reinterpret("uint32", B[tile * 4 + jb * 4 + q, T.Ramp((c * 8 + s * 8 + v) * 4, 1, 4)])) >> l % 8 * 4 + ((c * 8 + s * 8 + v) * 4 - (c * 8 + s * 8 + v) * 4) * 8 & 15))
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = C[ib, jb, r, q, l] + dot[r, q, l] * T.Cast("float32", Scale[tile * 4 + jb * 4 + q, c * 8 // 8])
            for ib, r, j, l in T.grid(1, 1, 4, 1):
                if ib + r < 1 and tile * 4 + j + l < 64:
                    D[ib + r, tile * 4 + j + l] = T.Cast("float16", C[ib, j // 4, r, j % 4, l] + C[ib, j // 4, r, j % 4, l + 4] + (C[ib, j // 4, r, j % 4, l + 2] + C[ib, j // 4, r, j % 4, l + 6]) + (C[ib, j // 4, r, j % 4, l + 1] + C[ib, j // 4, r, j % 4, l + 5] + (C[ib, j // 4, r, j % 4, l + 3] + C[ib, j // 4, r, j % 4, l + 7])))
