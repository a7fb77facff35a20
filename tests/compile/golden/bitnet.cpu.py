# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 128), "int8", align=1), B: T.Buffer((64, 32), "int8", align=1), D: T.Buffer((1, 64), "int32", align=1)):
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 128, "M": 1, "N": 64, "W_dtype": "int2", "accum_dtype": "int32", "group_size": 128, "layout": "nt", "out_dtype": "int32", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"buffered": False, "chunk": 1, "col_tile": 16, "cols": 1, "lanes": 8, "prefetch": False, "row_tile": 1, "rows": 1}, "origin": "default", "pipeline": "s_tir", "refusals": {}, "rule": "cpu_int8", "smem_bytes": 0}, "tirx.noalias": True})
        T.attr(0, "pragma_import_llvm", metadata["ir.StringImm"][0])
        A_units = T.alloc_buffer((1, 1, 4, 1, 32), "int8")
        A_sum = T.alloc_buffer((1, 1, 1, 8), "int32")
        for v in range(1):
            for v_1, v_2 in T.grid(T.min(1, 1 - v), 1):
                for v_3 in range(1):
                    for v_4 in T.vectorized(32):
                        A_units[v_1, v_3, 0, v_2, v_4] = A[T.min(v + v_1 + v_2, 0), v_3 * 128 + v_4 * 4]
                    for v_4 in T.vectorized(32):
                        A_units[v_1, v_3, 1, v_2, v_4] = A[T.min(v + v_1 + v_2, 0), v_3 * 128 + v_4 * 4 + 1]
                    for v_4 in T.vectorized(32):
                        A_units[v_1, v_3, 2, v_2, v_4] = A[T.min(v + v_1 + v_2, 0), v_3 * 128 + v_4 * 4 + 2]
                    for v_4 in T.vectorized(32):
                        A_units[v_1, v_3, 3, v_2, v_4] = A[T.min(v + v_1 + v_2, 0), v_3 * 128 + v_4 * 4 + 3]
                for v_3 in range(1):
                    A_sum[v_1, v_3, v_2, 0:8] = T.Broadcast(0, 8)
                    for v_4 in range(T.min(1, 1 - v_3)):
                        A_sum[v_1, v_3, v_2, 0:8] = A_sum[v_1, v_3, v_2, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", T.Broadcast(16843009, 8)), T.reinterpret("int8x32", T.reinterpret("int32x8", A_units[v_1, v_3 + v_4, 0, v_2, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                        A_sum[v_1, v_3, v_2, 0:8] = A_sum[v_1, v_3, v_2, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", T.Broadcast(16843009, 8)), T.reinterpret("int8x32", T.reinterpret("int32x8", A_units[v_1, v_3 + v_4, 1, v_2, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                        A_sum[v_1, v_3, v_2, 0:8] = A_sum[v_1, v_3, v_2, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", T.Broadcast(16843009, 8)), T.reinterpret("int8x32", T.reinterpret("int32x8", A_units[v_1, v_3 + v_4, 2, v_2, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                        A_sum[v_1, v_3, v_2, 0:8] = A_sum[v_1, v_3, v_2, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", T.Broadcast(16843009, 8)), T.reinterpret("int8x32", T.reinterpret("int32x8", A_units[v_1, v_3 + v_4, 3, v_2, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
            for v_1 in T.parallel(4):
                for v_2, v_3 in T.grid(16, T.min(1, 1 - v)):
                    total = T.alloc_buffer((1, 8), "int32")
                    total[0, 0:8] = T.Broadcast(0, 8)
                    dot = T.alloc_buffer((1, 8), "int32")
                    for v_4 in range(1):
                        dot[0, 0:8] = T.Broadcast(0, 8)
                        for v_5 in range(1):
                            words = T.alloc_buffer((8,), "int32")
                            words[0:8] = T.reinterpret("int32x8", B[v_1 * 16 + v_2, T.Ramp((v_4 + v_5) * 32, 1, 32)])
                            B_decode = T.alloc_buffer((8,), "int32")
                            B_decode[0:8] = words[T.Ramp(0, 1, 8)] & T.Broadcast(50529027, 8)
                            dot[0, 0:8] = dot[0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", B_decode[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", A_units[v_3, v_4 + v_5, 0, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            B_decode_1 = T.alloc_buffer((8,), "int32")
                            B_decode_1[0:8] = words[T.Ramp(0, 1, 8)] >> T.Broadcast(2, 8) & T.Broadcast(50529027, 8)
                            dot[0, 0:8] = dot[0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", B_decode_1[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", A_units[v_3, v_4 + v_5, 1, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            B_decode_2 = T.alloc_buffer((8,), "int32")
                            B_decode_2[0:8] = words[T.Ramp(0, 1, 8)] >> T.Broadcast(4, 8) & T.Broadcast(50529027, 8)
                            dot[0, 0:8] = dot[0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", B_decode_2[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", A_units[v_3, v_4 + v_5, 2, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            B_decode_3 = T.alloc_buffer((8,), "int32")
                            B_decode_3[0:8] = words[T.Ramp(0, 1, 8)] >> T.Broadcast(6, 8) & T.Broadcast(50529027, 8)
                            dot[0, 0:8] = dot[0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", B_decode_3[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", A_units[v_3, v_4 + v_5, 3, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                        for v_5 in T.vectorized(8):
                            total[0, v_5] = total[0, v_5] + (dot[0, v_5] + A_sum[v_3, v_4, 0, v_5] * -2)
                    C_sum = T.alloc_buffer((1, 1), "int32")
                    C_sum[0, 0] = T.call_llvm_pure_intrin("int32", "llvm.vector.reduce.add", total[0, T.Ramp(0, 1, 8)])
                    for v_4, v_5 in T.grid(1, 1):
                        if v + v_3 + v_4 < 1:
                            D[v + v_3 + v_4, v_1 * 16 + v_2 + v_5] = C_sum[v_4, v_5]

# Metadata omitted. Use show_meta=True in script() method to show it.
