# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 1024), "float16", align=1), B: T.Buffer((1024, 512), "int8", align=1), Scale: T.Buffer((1024, 8), "float16", align=1), Zeros: T.Buffer((1024, 8), "float16", align=1), D: T.Buffer((1, 1024), "float16", align=1)):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 1024, "M": [1, 16], "N": 1024, "W_dtype": "uint4", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": True, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"buffered": False, "chunk": 16, "col_tile": 4, "cols": 4, "lanes": 8, "row_tile": 1, "rows": 1, "scale_sums": True, "simd_lookup": False}, "origin": "default", "pipeline": "s_tir", "refusals": {}, "rule": "cpu", "smem_bytes": 0}, "tirx.noalias": True})
        A_lanes = T.alloc_buffer((1, 128, 1, 8))
        A_sum = T.alloc_buffer((1, 8, 1, 8))
        for ib, r in T.grid(1, 1):
            for v in range(128):
                for l in T.vectorized(8):
                    A_lanes[ib, v, r, l] = T.Cast("float32", A[T.min(ib + r, 0), v * 8 + l])
            for c in range(8):
                for l in T.vectorized(8):
                    A_sum[ib, c, r, l] = T.float32(0.0)
                for v in range(16):
                    for l in T.vectorized(8):
                        A_sum[ib, c, r, l] = A_sum[ib, c, r, l] + A_lanes[ib, c * 16 + v, r, l]
        for tile in T.parallel(256):
            table = T.alloc_buffer((1,))
            C = T.alloc_buffer((1, 1, 1, 4, 8))
            for ib, jb in T.grid(1, 1):
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = T.float32(0.0)
            for c, ib, jb in T.grid(8, 1, 1):
                dot = T.alloc_buffer((1, 4, 8))
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            dot[r, q, l] = T.float32(0.0)
                for s, v in T.grid(1, 16):
                    for q in T.unroll(4):
                        for r in T.unroll(1):
                            for l in T.vectorized(8):
                                dot[r, q, l] = dot[r, q, l] + A_lanes[ib, c * 16 + s * 16 + v, r, l % 8] * T.Cast("float32", T.Cast("int32", T.reinterpret("uint32", B[tile * 4 + jb * 4 + q, T.Ramp((c * 16 + s * 16 + v) * 4, 1, 4)])) >> l % 8 * 4 + ((c * 16 + s * 16 + v) * 4 - (c * 16 + s * 16 + v) * 4) * 8 & 15)
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = C[ib, jb, r, q, l] + (dot[r, q, l] - T.Cast("float32", Zeros[tile * 4 + jb * 4 + q, c * 16 // 16]) * A_sum[ib, c, r, l % 8]) * T.Cast("float32", Scale[tile * 4 + jb * 4 + q, c * 16 // 16])
            for ib, r, j, l in T.grid(1, 1, 4, 1):
                if ib + r < 1 and tile * 4 + j + l < 1024:
                    D[ib + r, tile * 4 + j + l] = T.Cast("float16", C[ib, j // 4, r, j % 4, l] + C[ib, j // 4, r, j % 4, l + 4] + (C[ib, j // 4, r, j % 4, l + 2] + C[ib, j // 4, r, j % 4, l + 6]) + (C[ib, j // 4, r, j % 4, l + 1] + C[ib, j // 4, r, j % 4, l + 5] + (C[ib, j // 4, r, j % 4, l + 3] + C[ib, j // 4, r, j % 4, l + 7])))

    @T.prim_func(s_tir=True)
    def matmul_m16(A: T.Buffer(("m", 1024), "float16", align=1), B: T.Buffer((1024, 512), "int8", align=1), Scale: T.Buffer((1024, 8), "float16", align=1), Zeros: T.Buffer((1024, 8), "float16", align=1), D: T.Buffer((m, 1024), "float16", align=1)):
        m = T.int32()
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 1024, "M": [1, 16], "N": 1024, "W_dtype": "uint4", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": True, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "bitquant.schedule": {"hint": {"buffered": True, "chunk": 64, "col_tile": 16, "cols": 2, "lanes": 8, "row_tile": 128, "rows": 4, "scale_sums": False, "simd_lookup": False}, "origin": "default", "pipeline": "s_tir", "refusals": {}, "rule": "cpu", "smem_bytes": 0}, "tirx.noalias": True})
        A_lanes = T.alloc_buffer(((m + 4 - 1) // 4, 128, 4, 8))
        A_sum = T.alloc_buffer(((m + 4 - 1) // 4, 1, 4, 8))
        for ib in T.parallel((m + 3) // 4):
            for r, v in T.grid(4, 128):
                for l in T.vectorized(8):
                    A_lanes[ib, v, r, l] = T.Cast("float32", A[T.min(ib * 4 + r, m - 1), v * 8 + l])
        for tile in T.parallel((m + 127) // 128 * 64):
            table = T.alloc_buffer((1,))
            C = T.alloc_buffer((32, 8, 4, 2, 8))
            for ib, jb in T.grid(T.min(32, (m + 4 - 1) // 4 - tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32), 8):
                for r in T.unroll(4):
                    for q in T.unroll(2):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = T.float32(0.0)
            for c in range(2):
                B_decode = T.alloc_buffer((8, 64, 2, 8))
                for j, s, v, t in T.grid(16, 4, 16, 1):
                    for l in T.vectorized(8):
                        B_decode[(j + t) // 2, s * 16 + v, (j + t) % 2, l] = (T.Cast("float32", T.Cast("int32", T.reinterpret("uint32", B[tile // (((m + 4 - 1) // 4 + 32 - 1) // 32) * 16 + (j + t), T.Ramp((c * 64 + s * 16 + v) * 4, 1, 4)])) >> l % 8 * 4 + ((c * 64 + s * 16 + v) * 4 - (c * 64 + s * 16 + v) * 4) * 8 & 15) - T.Cast("float32", Zeros[tile // (((m + 4 - 1) // 4 + 32 - 1) // 32) * 16 + (j + t), (c * 64 + s * 16) // 16])) * T.Cast("float32", Scale[tile // (((m + 4 - 1) // 4 + 32 - 1) // 32) * 16 + (j + t), (c * 64 + s * 16) // 16])
                for ib, jb in T.grid(T.min(32, (m + 4 - 1) // 4 - tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32), 8):
                    dot = T.alloc_buffer((4, 2, 8))
                    for r in T.unroll(4):
                        for q in T.unroll(2):
                            for l in T.vectorized(8):
                                dot[r, q, l] = T.float32(0.0)
                    for s, v in T.grid(1, 64):
                        for q in T.unroll(2):
                            for r in T.unroll(4):
                                for l in T.vectorized(8):
                                    dot[r, q, l] = dot[r, q, l] + A_lanes[tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32 + ib, c * 64 + s * 64 + v, r, l % 8] * B_decode[jb, s * 64 + v, q, l]
                    for r in T.unroll(4):
                        for q in T.unroll(2):
                            for l in T.vectorized(8):
                                C[ib, jb, r, q, l] = C[ib, jb, r, q, l] + dot[r, q, l]
            for ib, r, j, l in T.grid(T.min(32, (m + 4 - 1) // 4 - tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32), 4, 16, 1):
                if (tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32 + ib) * 4 + r < m and tile // (((m + 4 - 1) // 4 + 32 - 1) // 32) * 16 + j + l < 1024:
                    D[(tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32 + ib) * 4 + r, tile // (((m + 4 - 1) // 4 + 32 - 1) // 32) * 16 + j + l] = T.Cast("float16", C[ib, j // 2, r, j % 2, l] + C[ib, j // 2, r, j % 2, l + 4] + (C[ib, j // 2, r, j % 2, l + 2] + C[ib, j // 2, r, j % 2, l + 6]) + (C[ib, j // 2, r, j % 2, l + 1] + C[ib, j // 2, r, j % 2, l + 5] + (C[ib, j // 2, r, j % 2, l + 3] + C[ib, j // 2, r, j % 2, l + 7])))
