# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 96), "float16", align=1), B: T.Buffer((33, 36), "int8", align=1), Scale: T.Buffer((33, 3), "float16", align=1), Zeros: T.Buffer((33, 3), "float16", align=1), Bias: T.Buffer((33,), "float16", align=1), D: T.Buffer((1, 33), "float16", align=1)):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 96, "M": [1, 16], "N": 33, "W_dtype": "int3", "accum_dtype": "float16", "group_size": 32, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": True, "with_scaling": True, "with_zeros": True, "zeros_mode": "rescale"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"buffered": False, "chunk": 4, "col_tile": 4, "cols": 4, "lanes": 8, "row_tile": 1, "rows": 1, "scale_sums": True, "simd_lookup": False}, "origin": "default", "pipeline": "s_tir", "refusals": {"cpu_bfloat16": "needs A of type bfloat16 (got float16)", "cpu_float32": "needs W of 1, 2, 4 or 8 bits (got int3) below 5 rows", "cpu_int8": "needs A of type int8 (got float16)"}, "rule": "cpu", "smem_bytes": 0}, "tirx.noalias": True})
        A_lanes = T.alloc_buffer((1, 12, 1, 8))
        A_sum = T.alloc_buffer((1, 3, 1, 8))
        for ib, r in T.grid(1, 1):
            for v in range(12):
                for l in T.vectorized(8):
                    A_lanes[ib, v, r, l] = T.Cast("float32", A[T.min(ib + r, 0), v * 8 + l])
            for c in range(3):
                for l in T.vectorized(8):
                    A_sum[ib, c, r, l] = T.float32(0.0)
                for v in range(4):
                    for l in T.vectorized(8):
                        A_sum[ib, c, r, l] = A_sum[ib, c, r, l] + A_lanes[ib, c * 4 + v, r, l]
        for tile in T.parallel(9):
            table = T.alloc_buffer((1,))
            C = T.alloc_buffer((1, 1, 1, 4, 8))
            for ib, jb in T.grid(1, 1):
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = T.float32(0.0)
            for c, ib, jb in T.grid(3, 1, 1):
                dot = T.alloc_buffer((1, 4, 8))
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            dot[r, q, l] = T.float32(0.0)
                for s, v in T.grid(1, 4):
                    for q in T.unroll(4):
                        for r in T.unroll(1):
                            for l in T.vectorized(8):
                                dot[r, q, l] = dot[r, q, l] + A_lanes[ib, c * 4 + s * 4 + v, r, l % 8] * (T.Cast("float32", (T.Cast("int32", T.reinterpret("uint16", B[T.min(tile * 4 + jb * 4 + q, 32), T.Ramp((c * 4 + s * 4 + v) * 3, 1, 2)])) | T.Cast("int32", T.reinterpret("uint8", B[T.min(tile * 4 + jb * 4 + q, 32), (c * 4 + s * 4 + v) * 3 + 2])) << 16) >> l % 8 * 3 + ((c * 4 + s * 4 + v) * 3 - (c * 4 + s * 4 + v) * 3) * 8 & 7) - T.float32(4.0))
                for r in T.unroll(1):
                    for q in T.unroll(4):
                        for l in T.vectorized(8):
                            C[ib, jb, r, q, l] = C[ib, jb, r, q, l] + (dot[r, q, l] * T.Cast("float32", Scale[T.min(tile * 4 + jb * 4 + q, 32), c * 4 // 4]) - T.Cast("float32", Zeros[T.min(tile * 4 + jb * 4 + q, 32), c * 4 // 4]) * A_sum[ib, c, r, l % 8])
            for ib, r, j, l in T.grid(1, 1, 4, 1):
                if ib + r < 1 and tile * 4 + j + l < 33:
                    D[ib + r, tile * 4 + j + l] = T.Cast("float16", C[ib, j // 4, r, j % 4, l] + C[ib, j // 4, r, j % 4, l + 4] + (C[ib, j // 4, r, j % 4, l + 2] + C[ib, j // 4, r, j % 4, l + 6]) + (C[ib, j // 4, r, j % 4, l + 1] + C[ib, j // 4, r, j % 4, l + 5] + (C[ib, j // 4, r, j % 4, l + 3] + C[ib, j // 4, r, j % 4, l + 7])) + T.Cast("float32", Bias[tile * 4 + j + l]))

    @T.prim_func(s_tir=True)
    def matmul_m16(A: T.Buffer(("m", 96), "float16", align=1), B: T.Buffer((33, 36), "int8", align=1), Scale: T.Buffer((33, 3), "float16", align=1), Zeros: T.Buffer((33, 3), "float16", align=1), Bias: T.Buffer((33,), "float16", align=1), D: T.Buffer((m, 33), "float16", align=1)):
        m = T.int32()
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 96, "M": [1, 16], "N": 33, "W_dtype": "int3", "accum_dtype": "float16", "group_size": 32, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": True, "with_scaling": True, "with_zeros": True, "zeros_mode": "rescale"}, "bitquant.layout": "plain", "bitquant.rung": 16, "bitquant.schedule": {"hint": {"buffered": True, "chunk": 12, "col_tile": 16, "cols": 2, "lanes": 8, "prefetch": True, "row_tile": 64, "rows": 4}, "origin": "default", "pipeline": "s_tir", "refusals": {"cpu_bfloat16": "needs A of type bfloat16 (got float16)", "cpu_int8": "needs A of type int8 (got float16)"}, "rule": "cpu_float32", "smem_bytes": 0}, "tirx.noalias": True})
        T.attr(0, "pragma_import_llvm", metadata["ir.StringImm"][0])
        A_units = T.alloc_buffer((16, 12, 1, 4, 8))
        A_sum = T.alloc_buffer((16, 1, 4, 8), "int32")
        for v in range((m + 63) // 64):
            for v_1 in T.parallel((T.min(64, m - v * 64) + 3) // 4):
                for v_2, v_3 in T.grid(4, 12):
                    for v_4 in T.vectorized(8):
                        A_units[v_1, v_3, 0, v_2, v_4] = T.Cast("float32", A[T.min(v * 64 + v_1 * 4 + v_2, m - 1), v_3 * 8 + v_4])
            for v_1 in T.parallel(3):
                Scale_tile = T.alloc_buffer((16, 3))
                Zeros_tile = T.alloc_buffer((16, 3))
                for v_2, v_3 in T.grid(16, 3):
                    Scale_tile[v_2, v_3] = T.Cast("float32", Scale[T.min(v_1 * 16 + v_2, 32), v_3])
                    Zeros_tile[v_2, v_3] = T.Cast("float32", Zeros[T.min(v_1 * 16 + v_2, 32), v_3])
                B_decode = T.alloc_buffer((8, 12, 1, 2, 8))
                for v_2, v_3, v_4 in T.grid(16, 12, 1):
                    T.call_extern("int32", "bitquant_prefetch", T.address_of(B[T.min(v_1 * 16 + v_2 + 16, 32), (v_3 + v_4) * 3]))
                    decoded = T.alloc_buffer((8,))
                    for v_5 in T.vectorized(8):
                        decoded[v_5] = (T.Cast("float32", (T.Cast("int32", T.reinterpret("uint16", B[T.min(v_1 * 16 + v_2, 32), T.Ramp((v_3 + v_4) * 3, 1, 2)])) | T.Cast("int32", T.reinterpret("uint8", B[T.min(v_1 * 16 + v_2, 32), (v_3 + v_4) * 3 + 2])) << 16) >> v_5 % 8 * 3 + ((v_3 + v_4) * 3 - (v_3 + v_4) * 3) * 8 & 7) - T.float32(4.0)) * Scale_tile[v_2, (v_3 + v_4) // 4] - Zeros_tile[v_2, (v_3 + v_4) // 4]
                    B_decode[v_2 // 2, v_3 + v_4, 0, v_2 % 2, 0:8] = decoded[T.Ramp(0, 1, 8)]
                for v_2, v_3 in T.grid(8, (T.min(64, m - v * 64) + 3) // 4):
                    total = T.alloc_buffer((2, 8))
                    total_1 = T.alloc_buffer((2, 8))
                    total_2 = T.alloc_buffer((2, 8))
                    total_3 = T.alloc_buffer((2, 8))
                    total[0, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    total[1, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    total_1[0, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    total_1[1, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    total_2[0, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    total_2[1, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    total_3[0, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    total_3[1, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    for v_4, v_5 in T.grid(1, 12):
                        B_decode_1 = T.alloc_buffer((8,))
                        B_decode_1[0:8] = B_decode[v_2, v_4 * 12 + v_5, 0, 0, T.Ramp(0, 1, 8)]
                        B_decode_2 = T.alloc_buffer((8,))
                        B_decode_2[0:8] = B_decode[v_2, v_4 * 12 + v_5, 0, 1, T.Ramp(0, 1, 8)]
                        total[0, 0:8] = total[0, T.Ramp(0, 1, 8)] + A_units[v_3, v_4 * 12 + v_5, 0, 0, T.Ramp(0, 1, 8)] * B_decode_1[T.Ramp(0, 1, 8)]
                        total[1, 0:8] = total[1, T.Ramp(0, 1, 8)] + A_units[v_3, v_4 * 12 + v_5, 0, 0, T.Ramp(0, 1, 8)] * B_decode_2[T.Ramp(0, 1, 8)]
                        total_1[0, 0:8] = total_1[0, T.Ramp(0, 1, 8)] + A_units[v_3, v_4 * 12 + v_5, 0, 1, T.Ramp(0, 1, 8)] * B_decode_1[T.Ramp(0, 1, 8)]
                        total_1[1, 0:8] = total_1[1, T.Ramp(0, 1, 8)] + A_units[v_3, v_4 * 12 + v_5, 0, 1, T.Ramp(0, 1, 8)] * B_decode_2[T.Ramp(0, 1, 8)]
                        total_2[0, 0:8] = total_2[0, T.Ramp(0, 1, 8)] + A_units[v_3, v_4 * 12 + v_5, 0, 2, T.Ramp(0, 1, 8)] * B_decode_1[T.Ramp(0, 1, 8)]
                        total_2[1, 0:8] = total_2[1, T.Ramp(0, 1, 8)] + A_units[v_3, v_4 * 12 + v_5, 0, 2, T.Ramp(0, 1, 8)] * B_decode_2[T.Ramp(0, 1, 8)]
                        total_3[0, 0:8] = total_3[0, T.Ramp(0, 1, 8)] + A_units[v_3, v_4 * 12 + v_5, 0, 3, T.Ramp(0, 1, 8)] * B_decode_1[T.Ramp(0, 1, 8)]
                        total_3[1, 0:8] = total_3[1, T.Ramp(0, 1, 8)] + A_units[v_3, v_4 * 12 + v_5, 0, 3, T.Ramp(0, 1, 8)] * B_decode_2[T.Ramp(0, 1, 8)]
                    C_sum = T.alloc_buffer((4, 2))
                    C_sum[0, 0] = T.call_pure_extern("float32", "bitquant_sum_8", total[0, T.Ramp(0, 1, 8)])
                    C_sum[0, 1] = T.call_pure_extern("float32", "bitquant_sum_8", total[1, T.Ramp(0, 1, 8)])
                    C_sum[1, 0] = T.call_pure_extern("float32", "bitquant_sum_8", total_1[0, T.Ramp(0, 1, 8)])
                    C_sum[1, 1] = T.call_pure_extern("float32", "bitquant_sum_8", total_1[1, T.Ramp(0, 1, 8)])
                    C_sum[2, 0] = T.call_pure_extern("float32", "bitquant_sum_8", total_2[0, T.Ramp(0, 1, 8)])
                    C_sum[2, 1] = T.call_pure_extern("float32", "bitquant_sum_8", total_2[1, T.Ramp(0, 1, 8)])
                    C_sum[3, 0] = T.call_pure_extern("float32", "bitquant_sum_8", total_3[0, T.Ramp(0, 1, 8)])
                    C_sum[3, 1] = T.call_pure_extern("float32", "bitquant_sum_8", total_3[1, T.Ramp(0, 1, 8)])
                    for v_4, v_5 in T.grid(4, 2):
                        if v * 64 + v_3 * 4 + v_4 < m and v_1 * 16 + v_2 * 2 + v_5 < 33:
                            D[v * 64 + v_3 * 4 + v_4, v_1 * 16 + v_2 * 2 + v_5] = T.Cast("float16", C_sum[v_4, v_5] + T.Cast("float32", Bias[v_1 * 16 + v_2 * 2 + v_5]))

# Metadata omitted. Use show_meta=True in script() method to show it.
