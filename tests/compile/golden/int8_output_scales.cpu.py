# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 64), "int8", align=1), B: T.Buffer((33, 64), "int8", align=1), Bias: T.Buffer((33,), "bfloat16", align=1), ActivationScale: T.Buffer((1,), "float32", align=1), ChannelScale: T.Buffer((33,), "float32", align=1), D: T.Buffer((1, 33), "bfloat16", align=1)):
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 64, "M": [1, 16], "N": 33, "W_dtype": "int8", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "bfloat16", "plain_layout": False, "scale_dtype": None, "with_activation_scale": True, "with_bias": True, "with_channel_scale": True, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"buffered": False, "chunk": 8, "col_tile": 4, "cols": 4, "lanes": 8, "row_tile": 1, "rows": 1, "scale_sums": False, "simd_lookup": False}, "origin": "default", "pipeline": "s_tir", "refusals": {"cpu_bfloat16": "needs A of type bfloat16 (got int8)", "cpu_float32": "needs a floating-point A (got int8)", "cpu_int8": "needs a CPU with avx512vnni or avxvnni for W of 8 bits: sums of two products pass 16 bits"}, "rule": "cpu", "smem_bytes": 0}, "tirx.noalias": True})
        A_lanes = T.alloc_buffer((1, 8, 1, 8), "int16")
        A_sum = T.alloc_buffer((1, 1, 1, 8), "int32")
        for ib, r, v in T.grid(1, 1, 8):
            for l in T.vectorized(8):
                A_lanes[ib, v, r, l] = T.Cast("int16", A[T.min(ib + r, 0), v * 8 + l])
        for tile in T.parallel(9):
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
                for s, v in T.grid(1, 8):
                    for q in T.unroll(4):
                        for r in T.unroll(1):
                            for l in T.vectorized(8):
                                dot[r, q, l] = dot[r, q, l] + T.Cast("int32", A_lanes[ib, c * 8 + s * 8 + v, r, l % 8]) * T.Cast("int32", B[T.min(tile * 4 + jb * 4 + q, 32), (c * 8 + s * 8 + v) * 8 + l])
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = C[ib, jb, r, q, l] + dot[r, q, l]
            for ib, r, j, l in T.grid(1, 1, 4, 1):
                if ib + r < 1 and tile * 4 + j + l < 33:
                    D[ib + r, tile * 4 + j + l] = T.Cast("bfloat16", T.Cast("float32", C[ib, j // 4, r, j % 4, l] + C[ib, j // 4, r, j % 4, l + 4] + (C[ib, j // 4, r, j % 4, l + 2] + C[ib, j // 4, r, j % 4, l + 6]) + (C[ib, j // 4, r, j % 4, l + 1] + C[ib, j // 4, r, j % 4, l + 5] + (C[ib, j // 4, r, j % 4, l + 3] + C[ib, j // 4, r, j % 4, l + 7]))) * ActivationScale[ib + r] * ChannelScale[tile * 4 + j + l] + T.Cast("float32", Bias[tile * 4 + j + l]))

    @T.prim_func(s_tir=True)
    def matmul_m16(A: T.Buffer(("m", 64), "int8", align=1), B: T.Buffer((33, 64), "int8", align=1), Bias: T.Buffer((33,), "bfloat16", align=1), ActivationScale: T.Buffer((m,), "float32", align=1), ChannelScale: T.Buffer((33,), "float32", align=1), D: T.Buffer((m, 33), "bfloat16", align=1)):
        m = T.int32()
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 64, "M": [1, 16], "N": 33, "W_dtype": "int8", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "bfloat16", "plain_layout": False, "scale_dtype": None, "with_activation_scale": True, "with_bias": True, "with_channel_scale": True, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "bitquant.schedule": {"hint": {"buffered": True, "chunk": 8, "col_tile": 16, "cols": 2, "lanes": 8, "row_tile": 128, "rows": 4, "scale_sums": False, "simd_lookup": False}, "origin": "default", "pipeline": "s_tir", "refusals": {"cpu_bfloat16": "needs A of type bfloat16 (got int8)", "cpu_float32": "needs a floating-point A (got int8)", "cpu_int8": "needs a CPU with avx512vnni or avxvnni for W of 8 bits: sums of two products pass 16 bits"}, "rule": "cpu", "smem_bytes": 0}, "tirx.noalias": True})
        A_lanes = T.alloc_buffer((T.Cast("int64", (m + 4 - 1) // 4), 8, 4, 8), "int16")
        A_sum = T.alloc_buffer((T.Cast("int64", (m + 4 - 1) // 4), 1, 4, 8), "int32")
        for ib in T.parallel((m + 3) // 4):
            for r, v in T.grid(4, 8):
                for l in T.vectorized(8):
                    A_lanes[T.Cast("int64", ib), v, r, l] = T.Cast("int16", A[T.min(ib * 4 + r, m - 1), v * 8 + l])
        for tile in T.parallel((m + 127) // 128 * 3):
            table = T.alloc_buffer((1,))
            C = T.alloc_buffer((32, 8, 4, 2, 8), "int32")
            for ib, jb in T.grid(T.min(32, (m + 4 - 1) // 4 - tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32), 8):
                for r in T.unroll(4):
                    for q in T.unroll(2):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = 0
            for c in range(1):
                B_decode = T.alloc_buffer((8, 8, 2, 8), "int16")
                for j, s, v, t in T.grid(16, 1, 8, 1):
                    for l in T.vectorized(8):
                        B_decode[(j + t) // 2, s * 8 + v, (j + t) % 2, l] = T.Cast("int16", B[T.min(tile // (((m + 4 - 1) // 4 + 32 - 1) // 32) * 16 + (j + t), 32), (c * 8 + s * 8 + v) * 8 + l])
                for ib, jb in T.grid(T.min(32, (m + 4 - 1) // 4 - tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32), 8):
                    dot = T.alloc_buffer((4, 2, 8), "int32")
                    for r in T.unroll(4):
                        for q in T.unroll(2):
                            for l in T.vectorized(8):
                                dot[r, q, l] = 0
                    for s, v in T.grid(1, 8):
                        for q in T.unroll(2):
                            for r in T.unroll(4):
                                for l in T.vectorized(8):
                                    dot[r, q, l] = dot[r, q, l] + T.Cast("int32", A_lanes[T.Cast("int64", tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32 + ib), c * 8 + s * 8 + v, r, l % 8]) * T.Cast("int32", B_decode[jb, s * 8 + v, q, l])
                    for r in T.unroll(4):
                        for q in T.unroll(2):
                            for l in T.vectorized(8):
                                C[ib, jb, r, q, l] = C[ib, jb, r, q, l] + dot[r, q, l]
            for ib, r, j, l in T.grid(T.min(32, (m + 4 - 1) // 4 - tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32), 4, 16, 1):
                if (tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32 + ib) * 4 + r < m and tile // (((m + 4 - 1) // 4 + 32 - 1) // 32) * 16 + j + l < 33:
                    D[(tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32 + ib) * 4 + r, tile // (((m + 4 - 1) // 4 + 32 - 1) // 32) * 16 + j + l] = T.Cast("bfloat16", T.Cast("float32", C[ib, j // 2, r, j % 2, l] + C[ib, j // 2, r, j % 2, l + 4] + (C[ib, j // 2, r, j % 2, l + 2] + C[ib, j // 2, r, j % 2, l + 6]) + (C[ib, j // 2, r, j % 2, l + 1] + C[ib, j // 2, r, j % 2, l + 5] + (C[ib, j // 2, r, j % 2, l + 3] + C[ib, j // 2, r, j % 2, l + 7]))) * ActivationScale[(tile % (((m + 4 - 1) // 4 + 32 - 1) // 32) * 32 + ib) * 4 + r] * ChannelScale[tile // (((m + 4 - 1) // 4 + 32 - 1) // 32) * 16 + j + l] + T.Cast("float32", Bias[tile // (((m + 4 - 1) // 4 + 32 - 1) // 32) * 16 + j + l]))
