# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 128), "float16", align=1), B: T.Buffer((64, 64), "int8", align=1), Scale: T.Buffer((64, 2), "float16", align=1), D: T.Buffer((1, 64), "float16", align=1)):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 1, "N": 64, "W_dtype": "nf4", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"buffered": False, "chunk": 2, "col_tile": 16, "cols": 4, "lanes": 8, "row_tile": 1, "rows": 1}, "origin": "default", "pipeline": "s_tir", "refusals": {"cpu_bfloat16": "needs A of type bfloat16 (got float16)", "cpu_int8": "needs A of type int8 (got float16)"}, "rule": "cpu_float32", "smem_bytes": 0}, "tirx.noalias": True})
        T.attr(0, "pragma_import_llvm", metadata["ir.StringImm"][0])
        buffer = T.alloc_buffer((1, 2, 8, 1, 8))
        buffer_1 = T.alloc_buffer((1, 1, 1, 8), "int32")
        for v in range(1):
            for v_1, v_2 in T.grid(T.min(1, 1 - v), 2):
                for v_3 in T.vectorized(8):
                    buffer[v_1, v_2, 0, 0, v_3] = T.Cast("float32", A[T.min(v + v_1, 0), v_2 * 64 + v_3 * 8])
                for v_3 in T.vectorized(8):
                    buffer[v_1, v_2, 1, 0, v_3] = T.Cast("float32", A[T.min(v + v_1, 0), v_2 * 64 + v_3 * 8 + 1])
                for v_3 in T.vectorized(8):
                    buffer[v_1, v_2, 2, 0, v_3] = T.Cast("float32", A[T.min(v + v_1, 0), v_2 * 64 + v_3 * 8 + 2])
                for v_3 in T.vectorized(8):
                    buffer[v_1, v_2, 3, 0, v_3] = T.Cast("float32", A[T.min(v + v_1, 0), v_2 * 64 + v_3 * 8 + 3])
                for v_3 in T.vectorized(8):
                    buffer[v_1, v_2, 4, 0, v_3] = T.Cast("float32", A[T.min(v + v_1, 0), v_2 * 64 + v_3 * 8 + 4])
                for v_3 in T.vectorized(8):
                    buffer[v_1, v_2, 5, 0, v_3] = T.Cast("float32", A[T.min(v + v_1, 0), v_2 * 64 + v_3 * 8 + 5])
                for v_3 in T.vectorized(8):
                    buffer[v_1, v_2, 6, 0, v_3] = T.Cast("float32", A[T.min(v + v_1, 0), v_2 * 64 + v_3 * 8 + 6])
                for v_3 in T.vectorized(8):
                    buffer[v_1, v_2, 7, 0, v_3] = T.Cast("float32", A[T.min(v + v_1, 0), v_2 * 64 + v_3 * 8 + 7])
            for v_1 in T.parallel(4):
                buffer_2 = T.alloc_buffer((16, 2))
                for v_2, v_3 in T.grid(16, 2):
                    buffer_2[v_2, v_3] = T.Cast("float32", Scale[v_1 * 16 + v_2, v_3])
                buffer_3 = T.alloc_buffer((16,))
                code = T.uint8()
                buffer_3[0] = T.Let(T.Select(code & T.uint8(8) != T.uint8(0), T.Select(code & T.uint8(4) != T.uint8(0), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code & T.uint8(4) != T.uint8(0), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code: T.uint8(0)})
                code_1 = T.uint8()
                buffer_3[1] = T.Let(T.Select(code_1 & T.uint8(8) != T.uint8(0), T.Select(code_1 & T.uint8(4) != T.uint8(0), T.Select(code_1 & T.uint8(2) != T.uint8(0), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_1 & T.uint8(2) != T.uint8(0), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_1 & T.uint8(4) != T.uint8(0), T.Select(code_1 & T.uint8(2) != T.uint8(0), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_1 & T.uint8(2) != T.uint8(0), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_1 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_1: T.uint8(1)})
                code_2 = T.uint8()
                buffer_3[2] = T.Let(T.Select(code_2 & T.uint8(8) != T.uint8(0), T.Select(code_2 & T.uint8(4) != T.uint8(0), T.Select(code_2 & T.uint8(2) != T.uint8(0), T.Select(code_2 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_2 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_2 & T.uint8(2) != T.uint8(0), T.Select(code_2 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_2 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_2 & T.uint8(4) != T.uint8(0), T.Select(code_2 & T.uint8(2) != T.uint8(0), T.Select(code_2 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_2 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_2 & T.uint8(2) != T.uint8(0), T.Select(code_2 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_2 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_2: T.uint8(2)})
                code_3 = T.uint8()
                buffer_3[3] = T.Let(T.Select(code_3 & T.uint8(8) != T.uint8(0), T.Select(code_3 & T.uint8(4) != T.uint8(0), T.Select(code_3 & T.uint8(2) != T.uint8(0), T.Select(code_3 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_3 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_3 & T.uint8(2) != T.uint8(0), T.Select(code_3 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_3 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_3 & T.uint8(4) != T.uint8(0), T.Select(code_3 & T.uint8(2) != T.uint8(0), T.Select(code_3 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_3 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_3 & T.uint8(2) != T.uint8(0), T.Select(code_3 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_3 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_3: T.uint8(3)})
                code_4 = T.uint8()
                buffer_3[4] = T.Let(T.Select(code_4 & T.uint8(8) != T.uint8(0), T.Select(code_4 & T.uint8(4) != T.uint8(0), T.Select(code_4 & T.uint8(2) != T.uint8(0), T.Select(code_4 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_4 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_4 & T.uint8(2) != T.uint8(0), T.Select(code_4 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_4 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_4 & T.uint8(4) != T.uint8(0), T.Select(code_4 & T.uint8(2) != T.uint8(0), T.Select(code_4 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_4 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_4 & T.uint8(2) != T.uint8(0), T.Select(code_4 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_4 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_4: T.uint8(4)})
                code_5 = T.uint8()
                buffer_3[5] = T.Let(T.Select(code_5 & T.uint8(8) != T.uint8(0), T.Select(code_5 & T.uint8(4) != T.uint8(0), T.Select(code_5 & T.uint8(2) != T.uint8(0), T.Select(code_5 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_5 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_5 & T.uint8(2) != T.uint8(0), T.Select(code_5 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_5 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_5 & T.uint8(4) != T.uint8(0), T.Select(code_5 & T.uint8(2) != T.uint8(0), T.Select(code_5 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_5 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_5 & T.uint8(2) != T.uint8(0), T.Select(code_5 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_5 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_5: T.uint8(5)})
                code_6 = T.uint8()
                buffer_3[6] = T.Let(T.Select(code_6 & T.uint8(8) != T.uint8(0), T.Select(code_6 & T.uint8(4) != T.uint8(0), T.Select(code_6 & T.uint8(2) != T.uint8(0), T.Select(code_6 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_6 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_6 & T.uint8(2) != T.uint8(0), T.Select(code_6 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_6 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_6 & T.uint8(4) != T.uint8(0), T.Select(code_6 & T.uint8(2) != T.uint8(0), T.Select(code_6 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_6 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_6 & T.uint8(2) != T.uint8(0), T.Select(code_6 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_6 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_6: T.uint8(6)})
                code_7 = T.uint8()
                buffer_3[7] = T.Let(T.Select(code_7 & T.uint8(8) != T.uint8(0), T.Select(code_7 & T.uint8(4) != T.uint8(0), T.Select(code_7 & T.uint8(2) != T.uint8(0), T.Select(code_7 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_7 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_7 & T.uint8(2) != T.uint8(0), T.Select(code_7 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_7 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_7 & T.uint8(4) != T.uint8(0), T.Select(code_7 & T.uint8(2) != T.uint8(0), T.Select(code_7 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_7 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_7 & T.uint8(2) != T.uint8(0), T.Select(code_7 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_7 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_7: T.uint8(7)})
                code_8 = T.uint8()
                buffer_3[8] = T.Let(T.Select(code_8 & T.uint8(8) != T.uint8(0), T.Select(code_8 & T.uint8(4) != T.uint8(0), T.Select(code_8 & T.uint8(2) != T.uint8(0), T.Select(code_8 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_8 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_8 & T.uint8(2) != T.uint8(0), T.Select(code_8 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_8 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_8 & T.uint8(4) != T.uint8(0), T.Select(code_8 & T.uint8(2) != T.uint8(0), T.Select(code_8 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_8 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_8 & T.uint8(2) != T.uint8(0), T.Select(code_8 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_8 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_8: T.uint8(8)})
                code_9 = T.uint8()
                buffer_3[9] = T.Let(T.Select(code_9 & T.uint8(8) != T.uint8(0), T.Select(code_9 & T.uint8(4) != T.uint8(0), T.Select(code_9 & T.uint8(2) != T.uint8(0), T.Select(code_9 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_9 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_9 & T.uint8(2) != T.uint8(0), T.Select(code_9 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_9 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_9 & T.uint8(4) != T.uint8(0), T.Select(code_9 & T.uint8(2) != T.uint8(0), T.Select(code_9 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_9 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_9 & T.uint8(2) != T.uint8(0), T.Select(code_9 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_9 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_9: T.uint8(9)})
                code_10 = T.uint8()
                buffer_3[10] = T.Let(T.Select(code_10 & T.uint8(8) != T.uint8(0), T.Select(code_10 & T.uint8(4) != T.uint8(0), T.Select(code_10 & T.uint8(2) != T.uint8(0), T.Select(code_10 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_10 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_10 & T.uint8(2) != T.uint8(0), T.Select(code_10 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_10 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_10 & T.uint8(4) != T.uint8(0), T.Select(code_10 & T.uint8(2) != T.uint8(0), T.Select(code_10 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_10 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_10 & T.uint8(2) != T.uint8(0), T.Select(code_10 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_10 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_10: T.uint8(10)})
                code_11 = T.uint8()
                buffer_3[11] = T.Let(T.Select(code_11 & T.uint8(8) != T.uint8(0), T.Select(code_11 & T.uint8(4) != T.uint8(0), T.Select(code_11 & T.uint8(2) != T.uint8(0), T.Select(code_11 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_11 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_11 & T.uint8(2) != T.uint8(0), T.Select(code_11 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_11 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_11 & T.uint8(4) != T.uint8(0), T.Select(code_11 & T.uint8(2) != T.uint8(0), T.Select(code_11 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_11 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_11 & T.uint8(2) != T.uint8(0), T.Select(code_11 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_11 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_11: T.uint8(11)})
                code_12 = T.uint8()
                buffer_3[12] = T.Let(T.Select(code_12 & T.uint8(8) != T.uint8(0), T.Select(code_12 & T.uint8(4) != T.uint8(0), T.Select(code_12 & T.uint8(2) != T.uint8(0), T.Select(code_12 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_12 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_12 & T.uint8(2) != T.uint8(0), T.Select(code_12 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_12 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_12 & T.uint8(4) != T.uint8(0), T.Select(code_12 & T.uint8(2) != T.uint8(0), T.Select(code_12 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_12 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_12 & T.uint8(2) != T.uint8(0), T.Select(code_12 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_12 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_12: T.uint8(12)})
                code_13 = T.uint8()
                buffer_3[13] = T.Let(T.Select(code_13 & T.uint8(8) != T.uint8(0), T.Select(code_13 & T.uint8(4) != T.uint8(0), T.Select(code_13 & T.uint8(2) != T.uint8(0), T.Select(code_13 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_13 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_13 & T.uint8(2) != T.uint8(0), T.Select(code_13 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_13 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_13 & T.uint8(4) != T.uint8(0), T.Select(code_13 & T.uint8(2) != T.uint8(0), T.Select(code_13 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_13 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_13 & T.uint8(2) != T.uint8(0), T.Select(code_13 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_13 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_13: T.uint8(13)})
                code_14 = T.uint8()
                buffer_3[14] = T.Let(T.Select(code_14 & T.uint8(8) != T.uint8(0), T.Select(code_14 & T.uint8(4) != T.uint8(0), T.Select(code_14 & T.uint8(2) != T.uint8(0), T.Select(code_14 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_14 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_14 & T.uint8(2) != T.uint8(0), T.Select(code_14 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_14 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_14 & T.uint8(4) != T.uint8(0), T.Select(code_14 & T.uint8(2) != T.uint8(0), T.Select(code_14 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_14 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_14 & T.uint8(2) != T.uint8(0), T.Select(code_14 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_14 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_14: T.uint8(14)})
                code_15 = T.uint8()
                buffer_3[15] = T.Let(T.Select(code_15 & T.uint8(8) != T.uint8(0), T.Select(code_15 & T.uint8(4) != T.uint8(0), T.Select(code_15 & T.uint8(2) != T.uint8(0), T.Select(code_15 & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code_15 & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code_15 & T.uint8(2) != T.uint8(0), T.Select(code_15 & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code_15 & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code_15 & T.uint8(4) != T.uint8(0), T.Select(code_15 & T.uint8(2) != T.uint8(0), T.Select(code_15 & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code_15 & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code_15 & T.uint8(2) != T.uint8(0), T.Select(code_15 & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code_15 & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code_15: T.uint8(15)})
                for v_2, v_3 in T.grid(4, T.min(1, 1 - v)):
                    buffer_4 = T.alloc_buffer((4, 8))
                    buffer_4[0, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    buffer_4[1, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    buffer_4[2, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    buffer_4[3, 0:8] = T.Broadcast(T.float32(0.0), 8)
                    for v_4 in range(2):
                        buffer_5 = T.alloc_buffer((16,))
                        for v_5 in T.vectorized(16):
                            buffer_5[v_5] = buffer_3[v_5] * buffer_2[v_2 * 4, v_4]
                        buffer_6 = T.alloc_buffer((16,))
                        for v_5 in T.vectorized(16):
                            buffer_6[v_5] = buffer_3[v_5] * buffer_2[v_2 * 4 + 1, v_4]
                        buffer_7 = T.alloc_buffer((16,))
                        for v_5 in T.vectorized(16):
                            buffer_7[v_5] = buffer_3[v_5] * buffer_2[v_2 * 4 + 2, v_4]
                        buffer_8 = T.alloc_buffer((16,))
                        for v_5 in T.vectorized(16):
                            buffer_8[v_5] = buffer_3[v_5] * buffer_2[v_2 * 4 + 3, v_4]
                        for v_5 in range(1):
                            buffer_9 = T.alloc_buffer((8,), "int32")
                            buffer_9[0:8] = T.reinterpret("int32x8", B[v_1 * 16 + v_2 * 4, T.Ramp((v_4 + v_5) * 32, 1, 32)])
                            buffer_10 = T.alloc_buffer((8,), "int32")
                            buffer_10[0:8] = T.reinterpret("int32x8", B[v_1 * 16 + v_2 * 4 + 1, T.Ramp((v_4 + v_5) * 32, 1, 32)])
                            buffer_11 = T.alloc_buffer((8,), "int32")
                            buffer_11[0:8] = T.reinterpret("int32x8", B[v_1 * 16 + v_2 * 4 + 2, T.Ramp((v_4 + v_5) * 32, 1, 32)])
                            buffer_12 = T.alloc_buffer((8,), "int32")
                            buffer_12[0:8] = T.reinterpret("int32x8", B[v_1 * 16 + v_2 * 4 + 3, T.Ramp((v_4 + v_5) * 32, 1, 32)])
                            buffer_13 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_13[v_6] = T.Select(buffer_9[v_6] & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6], buffer_9[v_6]), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6 + 8], buffer_9[v_6]))
                            buffer_14 = T.alloc_buffer((8,))
                            buffer_14[0:8] = buffer_13[T.Ramp(0, 1, 8)]
                            buffer_15 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_15[v_6] = T.Select(buffer_10[v_6] & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6], buffer_10[v_6]), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6 + 8], buffer_10[v_6]))
                            buffer_16 = T.alloc_buffer((8,))
                            buffer_16[0:8] = buffer_15[T.Ramp(0, 1, 8)]
                            buffer_17 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_17[v_6] = T.Select(buffer_11[v_6] & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6], buffer_11[v_6]), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6 + 8], buffer_11[v_6]))
                            buffer_18 = T.alloc_buffer((8,))
                            buffer_18[0:8] = buffer_17[T.Ramp(0, 1, 8)]
                            buffer_19 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_19[v_6] = T.Select(buffer_12[v_6] & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6], buffer_12[v_6]), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6 + 8], buffer_12[v_6]))
                            buffer_20 = T.alloc_buffer((8,))
                            buffer_20[0:8] = buffer_19[T.Ramp(0, 1, 8)]
                            buffer_4[0, 0:8] = buffer_4[0, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 0, 0, T.Ramp(0, 1, 8)] * buffer_14[T.Ramp(0, 1, 8)]
                            buffer_4[1, 0:8] = buffer_4[1, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 0, 0, T.Ramp(0, 1, 8)] * buffer_16[T.Ramp(0, 1, 8)]
                            buffer_4[2, 0:8] = buffer_4[2, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 0, 0, T.Ramp(0, 1, 8)] * buffer_18[T.Ramp(0, 1, 8)]
                            buffer_4[3, 0:8] = buffer_4[3, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 0, 0, T.Ramp(0, 1, 8)] * buffer_20[T.Ramp(0, 1, 8)]
                            buffer_21 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_21[v_6] = T.Select(buffer_9[v_6] >> 4 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6], buffer_9[v_6] >> 4), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6 + 8], buffer_9[v_6] >> 4))
                            buffer_22 = T.alloc_buffer((8,))
                            buffer_22[0:8] = buffer_21[T.Ramp(0, 1, 8)]
                            buffer_23 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_23[v_6] = T.Select(buffer_10[v_6] >> 4 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6], buffer_10[v_6] >> 4), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6 + 8], buffer_10[v_6] >> 4))
                            buffer_24 = T.alloc_buffer((8,))
                            buffer_24[0:8] = buffer_23[T.Ramp(0, 1, 8)]
                            buffer_25 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_25[v_6] = T.Select(buffer_11[v_6] >> 4 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6], buffer_11[v_6] >> 4), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6 + 8], buffer_11[v_6] >> 4))
                            buffer_26 = T.alloc_buffer((8,))
                            buffer_26[0:8] = buffer_25[T.Ramp(0, 1, 8)]
                            buffer_27 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_27[v_6] = T.Select(buffer_12[v_6] >> 4 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6], buffer_12[v_6] >> 4), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6 + 8], buffer_12[v_6] >> 4))
                            buffer_28 = T.alloc_buffer((8,))
                            buffer_28[0:8] = buffer_27[T.Ramp(0, 1, 8)]
                            buffer_4[0, 0:8] = buffer_4[0, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 1, 0, T.Ramp(0, 1, 8)] * buffer_22[T.Ramp(0, 1, 8)]
                            buffer_4[1, 0:8] = buffer_4[1, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 1, 0, T.Ramp(0, 1, 8)] * buffer_24[T.Ramp(0, 1, 8)]
                            buffer_4[2, 0:8] = buffer_4[2, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 1, 0, T.Ramp(0, 1, 8)] * buffer_26[T.Ramp(0, 1, 8)]
                            buffer_4[3, 0:8] = buffer_4[3, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 1, 0, T.Ramp(0, 1, 8)] * buffer_28[T.Ramp(0, 1, 8)]
                            buffer_29 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_29[v_6] = T.Select(buffer_9[v_6] >> 8 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6], buffer_9[v_6] >> 8), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6 + 8], buffer_9[v_6] >> 8))
                            buffer_30 = T.alloc_buffer((8,))
                            buffer_30[0:8] = buffer_29[T.Ramp(0, 1, 8)]
                            buffer_31 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_31[v_6] = T.Select(buffer_10[v_6] >> 8 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6], buffer_10[v_6] >> 8), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6 + 8], buffer_10[v_6] >> 8))
                            buffer_32 = T.alloc_buffer((8,))
                            buffer_32[0:8] = buffer_31[T.Ramp(0, 1, 8)]
                            buffer_33 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_33[v_6] = T.Select(buffer_11[v_6] >> 8 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6], buffer_11[v_6] >> 8), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6 + 8], buffer_11[v_6] >> 8))
                            buffer_34 = T.alloc_buffer((8,))
                            buffer_34[0:8] = buffer_33[T.Ramp(0, 1, 8)]
                            buffer_35 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_35[v_6] = T.Select(buffer_12[v_6] >> 8 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6], buffer_12[v_6] >> 8), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6 + 8], buffer_12[v_6] >> 8))
                            buffer_36 = T.alloc_buffer((8,))
                            buffer_36[0:8] = buffer_35[T.Ramp(0, 1, 8)]
                            buffer_4[0, 0:8] = buffer_4[0, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 2, 0, T.Ramp(0, 1, 8)] * buffer_30[T.Ramp(0, 1, 8)]
                            buffer_4[1, 0:8] = buffer_4[1, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 2, 0, T.Ramp(0, 1, 8)] * buffer_32[T.Ramp(0, 1, 8)]
                            buffer_4[2, 0:8] = buffer_4[2, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 2, 0, T.Ramp(0, 1, 8)] * buffer_34[T.Ramp(0, 1, 8)]
                            buffer_4[3, 0:8] = buffer_4[3, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 2, 0, T.Ramp(0, 1, 8)] * buffer_36[T.Ramp(0, 1, 8)]
                            buffer_37 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_37[v_6] = T.Select(buffer_9[v_6] >> 12 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6], buffer_9[v_6] >> 12), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6 + 8], buffer_9[v_6] >> 12))
                            buffer_38 = T.alloc_buffer((8,))
                            buffer_38[0:8] = buffer_37[T.Ramp(0, 1, 8)]
                            buffer_39 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_39[v_6] = T.Select(buffer_10[v_6] >> 12 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6], buffer_10[v_6] >> 12), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6 + 8], buffer_10[v_6] >> 12))
                            buffer_40 = T.alloc_buffer((8,))
                            buffer_40[0:8] = buffer_39[T.Ramp(0, 1, 8)]
                            buffer_41 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_41[v_6] = T.Select(buffer_11[v_6] >> 12 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6], buffer_11[v_6] >> 12), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6 + 8], buffer_11[v_6] >> 12))
                            buffer_42 = T.alloc_buffer((8,))
                            buffer_42[0:8] = buffer_41[T.Ramp(0, 1, 8)]
                            buffer_43 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_43[v_6] = T.Select(buffer_12[v_6] >> 12 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6], buffer_12[v_6] >> 12), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6 + 8], buffer_12[v_6] >> 12))
                            buffer_44 = T.alloc_buffer((8,))
                            buffer_44[0:8] = buffer_43[T.Ramp(0, 1, 8)]
                            buffer_4[0, 0:8] = buffer_4[0, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 3, 0, T.Ramp(0, 1, 8)] * buffer_38[T.Ramp(0, 1, 8)]
                            buffer_4[1, 0:8] = buffer_4[1, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 3, 0, T.Ramp(0, 1, 8)] * buffer_40[T.Ramp(0, 1, 8)]
                            buffer_4[2, 0:8] = buffer_4[2, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 3, 0, T.Ramp(0, 1, 8)] * buffer_42[T.Ramp(0, 1, 8)]
                            buffer_4[3, 0:8] = buffer_4[3, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 3, 0, T.Ramp(0, 1, 8)] * buffer_44[T.Ramp(0, 1, 8)]
                            buffer_45 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_45[v_6] = T.Select(buffer_9[v_6] >> 16 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6], buffer_9[v_6] >> 16), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6 + 8], buffer_9[v_6] >> 16))
                            buffer_46 = T.alloc_buffer((8,))
                            buffer_46[0:8] = buffer_45[T.Ramp(0, 1, 8)]
                            buffer_47 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_47[v_6] = T.Select(buffer_10[v_6] >> 16 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6], buffer_10[v_6] >> 16), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6 + 8], buffer_10[v_6] >> 16))
                            buffer_48 = T.alloc_buffer((8,))
                            buffer_48[0:8] = buffer_47[T.Ramp(0, 1, 8)]
                            buffer_49 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_49[v_6] = T.Select(buffer_11[v_6] >> 16 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6], buffer_11[v_6] >> 16), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6 + 8], buffer_11[v_6] >> 16))
                            buffer_50 = T.alloc_buffer((8,))
                            buffer_50[0:8] = buffer_49[T.Ramp(0, 1, 8)]
                            buffer_51 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_51[v_6] = T.Select(buffer_12[v_6] >> 16 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6], buffer_12[v_6] >> 16), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6 + 8], buffer_12[v_6] >> 16))
                            buffer_52 = T.alloc_buffer((8,))
                            buffer_52[0:8] = buffer_51[T.Ramp(0, 1, 8)]
                            buffer_4[0, 0:8] = buffer_4[0, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 4, 0, T.Ramp(0, 1, 8)] * buffer_46[T.Ramp(0, 1, 8)]
                            buffer_4[1, 0:8] = buffer_4[1, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 4, 0, T.Ramp(0, 1, 8)] * buffer_48[T.Ramp(0, 1, 8)]
                            buffer_4[2, 0:8] = buffer_4[2, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 4, 0, T.Ramp(0, 1, 8)] * buffer_50[T.Ramp(0, 1, 8)]
                            buffer_4[3, 0:8] = buffer_4[3, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 4, 0, T.Ramp(0, 1, 8)] * buffer_52[T.Ramp(0, 1, 8)]
                            buffer_53 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_53[v_6] = T.Select(buffer_9[v_6] >> 20 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6], buffer_9[v_6] >> 20), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6 + 8], buffer_9[v_6] >> 20))
                            buffer_54 = T.alloc_buffer((8,))
                            buffer_54[0:8] = buffer_53[T.Ramp(0, 1, 8)]
                            buffer_55 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_55[v_6] = T.Select(buffer_10[v_6] >> 20 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6], buffer_10[v_6] >> 20), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6 + 8], buffer_10[v_6] >> 20))
                            buffer_56 = T.alloc_buffer((8,))
                            buffer_56[0:8] = buffer_55[T.Ramp(0, 1, 8)]
                            buffer_57 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_57[v_6] = T.Select(buffer_11[v_6] >> 20 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6], buffer_11[v_6] >> 20), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6 + 8], buffer_11[v_6] >> 20))
                            buffer_58 = T.alloc_buffer((8,))
                            buffer_58[0:8] = buffer_57[T.Ramp(0, 1, 8)]
                            buffer_59 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_59[v_6] = T.Select(buffer_12[v_6] >> 20 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6], buffer_12[v_6] >> 20), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6 + 8], buffer_12[v_6] >> 20))
                            buffer_60 = T.alloc_buffer((8,))
                            buffer_60[0:8] = buffer_59[T.Ramp(0, 1, 8)]
                            buffer_4[0, 0:8] = buffer_4[0, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 5, 0, T.Ramp(0, 1, 8)] * buffer_54[T.Ramp(0, 1, 8)]
                            buffer_4[1, 0:8] = buffer_4[1, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 5, 0, T.Ramp(0, 1, 8)] * buffer_56[T.Ramp(0, 1, 8)]
                            buffer_4[2, 0:8] = buffer_4[2, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 5, 0, T.Ramp(0, 1, 8)] * buffer_58[T.Ramp(0, 1, 8)]
                            buffer_4[3, 0:8] = buffer_4[3, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 5, 0, T.Ramp(0, 1, 8)] * buffer_60[T.Ramp(0, 1, 8)]
                            buffer_61 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_61[v_6] = T.Select(buffer_9[v_6] >> 24 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6], buffer_9[v_6] >> 24), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6 + 8], buffer_9[v_6] >> 24))
                            buffer_62 = T.alloc_buffer((8,))
                            buffer_62[0:8] = buffer_61[T.Ramp(0, 1, 8)]
                            buffer_63 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_63[v_6] = T.Select(buffer_10[v_6] >> 24 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6], buffer_10[v_6] >> 24), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6 + 8], buffer_10[v_6] >> 24))
                            buffer_64 = T.alloc_buffer((8,))
                            buffer_64[0:8] = buffer_63[T.Ramp(0, 1, 8)]
                            buffer_65 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_65[v_6] = T.Select(buffer_11[v_6] >> 24 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6], buffer_11[v_6] >> 24), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6 + 8], buffer_11[v_6] >> 24))
                            buffer_66 = T.alloc_buffer((8,))
                            buffer_66[0:8] = buffer_65[T.Ramp(0, 1, 8)]
                            buffer_67 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_67[v_6] = T.Select(buffer_12[v_6] >> 24 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6], buffer_12[v_6] >> 24), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6 + 8], buffer_12[v_6] >> 24))
                            buffer_68 = T.alloc_buffer((8,))
                            buffer_68[0:8] = buffer_67[T.Ramp(0, 1, 8)]
                            buffer_4[0, 0:8] = buffer_4[0, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 6, 0, T.Ramp(0, 1, 8)] * buffer_62[T.Ramp(0, 1, 8)]
                            buffer_4[1, 0:8] = buffer_4[1, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 6, 0, T.Ramp(0, 1, 8)] * buffer_64[T.Ramp(0, 1, 8)]
                            buffer_4[2, 0:8] = buffer_4[2, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 6, 0, T.Ramp(0, 1, 8)] * buffer_66[T.Ramp(0, 1, 8)]
                            buffer_4[3, 0:8] = buffer_4[3, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 6, 0, T.Ramp(0, 1, 8)] * buffer_68[T.Ramp(0, 1, 8)]
                            buffer_69 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_69[v_6] = T.Select(buffer_9[v_6] >> 28 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6], buffer_9[v_6] >> 28), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_5[v_6 + 8], buffer_9[v_6] >> 28))
                            buffer_70 = T.alloc_buffer((8,))
                            buffer_70[0:8] = buffer_69[T.Ramp(0, 1, 8)]
                            buffer_71 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_71[v_6] = T.Select(buffer_10[v_6] >> 28 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6], buffer_10[v_6] >> 28), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_6[v_6 + 8], buffer_10[v_6] >> 28))
                            buffer_72 = T.alloc_buffer((8,))
                            buffer_72[0:8] = buffer_71[T.Ramp(0, 1, 8)]
                            buffer_73 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_73[v_6] = T.Select(buffer_11[v_6] >> 28 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6], buffer_11[v_6] >> 28), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_7[v_6 + 8], buffer_11[v_6] >> 28))
                            buffer_74 = T.alloc_buffer((8,))
                            buffer_74[0:8] = buffer_73[T.Ramp(0, 1, 8)]
                            buffer_75 = T.alloc_buffer((8,))
                            for v_6 in T.vectorized(8):
                                buffer_75[v_6] = T.Select(buffer_12[v_6] >> 28 & 8 == 0, T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6], buffer_12[v_6] >> 28), T.call_llvm_pure_intrin("float32", "llvm.x86.avx2.permps", buffer_8[v_6 + 8], buffer_12[v_6] >> 28))
                            buffer_76 = T.alloc_buffer((8,))
                            buffer_76[0:8] = buffer_75[T.Ramp(0, 1, 8)]
                            buffer_4[0, 0:8] = buffer_4[0, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 7, 0, T.Ramp(0, 1, 8)] * buffer_70[T.Ramp(0, 1, 8)]
                            buffer_4[1, 0:8] = buffer_4[1, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 7, 0, T.Ramp(0, 1, 8)] * buffer_72[T.Ramp(0, 1, 8)]
                            buffer_4[2, 0:8] = buffer_4[2, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 7, 0, T.Ramp(0, 1, 8)] * buffer_74[T.Ramp(0, 1, 8)]
                            buffer_4[3, 0:8] = buffer_4[3, T.Ramp(0, 1, 8)] + buffer[v_3, v_4 + v_5, 7, 0, T.Ramp(0, 1, 8)] * buffer_76[T.Ramp(0, 1, 8)]
                    buffer_5 = T.alloc_buffer((1, 4))
                    buffer_5[0, 0] = T.call_pure_extern("float32", "bitquant_sum_8", buffer_4[0, T.Ramp(0, 1, 8)])
                    buffer_5[0, 1] = T.call_pure_extern("float32", "bitquant_sum_8", buffer_4[1, T.Ramp(0, 1, 8)])
                    buffer_5[0, 2] = T.call_pure_extern("float32", "bitquant_sum_8", buffer_4[2, T.Ramp(0, 1, 8)])
                    buffer_5[0, 3] = T.call_pure_extern("float32", "bitquant_sum_8", buffer_4[3, T.Ramp(0, 1, 8)])
                    for v_4, v_5 in T.grid(1, 4):
                        if v + v_3 + v_4 < 1:
                            D[v + v_3 + v_4, v_1 * 16 + v_2 * 4 + v_5] = T.Cast("float16", buffer_5[v_4, v_5])

# Metadata omitted. Use show_meta=True in script() method to show it.
