# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m16(A: T.Buffer((16, 128), "float16", align=1), B: T.Buffer((64, 128), "float16", align=1), D: T.Buffer((16, 64), "float16", align=1)):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 16, "N": 64, "W_dtype": "float16", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "bitquant.schedule": {"hint": {"buffered": True, "chunk": 16, "col_tile": 16, "cols": 2, "lanes": 8, "row_tile": 128, "rows": 4, "scale_sums": False, "simd_lookup": False}, "origin": "default", "pipeline": "s_tir", "refusals": {"cpu_bfloat16": "needs A of type bfloat16 (got float16)", "cpu_float32": "needs W of 1, 2, 4 or 8 bits (got float16)", "cpu_int8": "needs A of type int8 (got float16)"}, "rule": "cpu", "smem_bytes": 0}, "tirx.noalias": True})
        A_lanes = T.alloc_buffer((4, 16, 4, 8))
        A_sum = T.alloc_buffer((4, 1, 4, 8))
        for ib in T.parallel(4):
            for r, v in T.grid(4, 16):
                for l in T.vectorized(8):
                    A_lanes[ib, v, r, l] = T.Cast("float32", A[T.min(ib * 4 + r, 15), v * 8 + l])
        for tile in T.parallel(4):
            table = T.alloc_buffer((1,))
            C = T.alloc_buffer((32, 8, 4, 2, 8))
            for ib, jb in T.grid(4, 8):
                for r in T.unroll(4):
                    for q in T.unroll(2):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = T.float32(0.0)
            for c in range(1):
                B_decode = T.alloc_buffer((8, 16, 2, 8))
                for j, s, v, t in T.grid(16, 1, 16, 1):
                    for l in T.vectorized(8):
                        B_decode[(j + t) // 2, s * 16 + v, (j + t) % 2, l] = T.Cast("float32", B[tile * 16 + (j + t), (c * 16 + s * 16 + v) * 8 + l])
                for ib, jb in T.grid(4, 8):
                    dot = T.alloc_buffer((4, 2, 8))
                    for r in T.unroll(4):
                        for q in T.unroll(2):
                            for l in T.vectorized(8):
                                dot[r, q, l] = T.float32(0.0)
                    for s, v in T.grid(1, 16):
                        for q in T.unroll(2):
                            for r in T.unroll(4):
                                for l in T.vectorized(8):
                                    dot[r, q, l] = dot[r, q, l] + A_lanes[ib, c * 16 + s * 16 + v, r, l % 8] * B_decode[jb, s * 16 + v, q, l]
                    for r in T.unroll(4):
                        for q in T.unroll(2):
                            for l in T.vectorized(8):
                                C[ib, jb, r, q, l] = C[ib, jb, r, q, l] + dot[r, q, l]
            for ib, r, j, l in T.grid(4, 4, 16, 1):
                if ib * 4 + r < 16 and tile * 16 + j + l < 64:
                    D[ib * 4 + r, tile * 16 + j + l] = T.Cast("float16", C[ib, j // 2, r, j % 2, l] + C[ib, j // 2, r, j % 2, l + 4] + (C[ib, j // 2, r, j % 2, l + 2] + C[ib, j // 2, r, j % 2, l + 6]) + (C[ib, j // 2, r, j % 2, l + 1] + C[ib, j // 2, r, j % 2, l + 5] + (C[ib, j // 2, r, j % 2, l + 3] + C[ib, j // 2, r, j % 2, l + 7])))
