# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 128), "int8", align=1), B: T.Buffer((64, 32), "int8", align=1), D: T.Buffer((1, 64), "int32", align=1)):
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 128, "M": 1, "N": 64, "W_dtype": "int2", "accum_dtype": "int32", "group_size": 128, "layout": "nt", "out_dtype": "int32", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"buffered": False, "chunk": 16, "col_tile": 4, "cols": 4, "lanes": 8, "row_tile": 1, "rows": 1, "scale_sums": False, "simd_lookup": False}, "origin": "default", "pipeline": "s_tir", "refusals": {}, "rule": "cpu", "smem_bytes": 0}, "tirx.noalias": True})
        A_lanes = T.alloc_buffer((1, 16, 1, 8), "int16")
        A_sum = T.alloc_buffer((1, 1, 1, 8), "int32")
        for ib, r, v in T.grid(1, 1, 16):
            for l in T.vectorized(8):
                A_lanes[ib, v, r, l] = T.Cast("int16", A[T.min(ib + r, 0), v * 8 + l])
        for tile in T.parallel(16):
            table = T.alloc_buffer((1,))
            C = T.alloc_buffer((1, 1, 1, 4, 8), "int32")
            for ib, jb in T.grid(1, 1):
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = 0
            for c, ib, jb in T.grid(1, 1, 1):
                dot = T.alloc_buffer((1, 4, 8), "int32")
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            dot[r, q, l] = 0
                for s, v in T.grid(1, 16):
                    for q in T.unroll(4):
                        for r in T.unroll(1):
                            for l in T.vectorized(8):
                                dot[r, q, l] = dot[r, q, l] + T.Cast("int32", A_lanes[ib, c * 16 + s * 16 + v, r, l % 8]) * ((T.Cast("int32", T.reinterpret("uint16", B[tile * 4 + jb * 4 + q, T.Ramp((c * 16 + s * 16 + v) * 2, 1, 2)])) >> l % 8 * 2 + ((c * 16 + s * 16 + v) * 2 - (c * 16 + s * 16 + v) * 2) * 8 & 3) - 2)
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = C[ib, jb, r, q, l] + dot[r, q, l]
            for ib, r, j, l in T.grid(1, 1, 4, 1):
                if ib + r < 1 and tile * 4 + j + l < 64:
                    D[ib + r, tile * 4 + j + l] = C[ib, j // 4, r, j % 4, l] + C[ib, j // 4, r, j % 4, l + 4] + (C[ib, j // 4, r, j % 4, l + 2] + C[ib, j // 4, r, j % 4, l + 6]) + (C[ib, j // 4, r, j % 4, l + 1] + C[ib, j // 4, r, j % 4, l + 5] + (C[ib, j // 4, r, j % 4, l + 3] + C[ib, j // 4, r, j % 4, l + 7]))
