# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 128), "int8", align=1), B: T.Buffer((64, 32), "int8", align=1), D: T.Buffer((1, 64), "int32", align=1)):
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 128, "M": 1, "N": 64, "W_dtype": "int2", "accum_dtype": "int32", "group_size": 128, "layout": "nt", "out_dtype": "int32", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"buffered": False, "chunk": 1, "col_tile": 16, "cols": 4, "lanes": 8, "row_tile": 1, "rows": 1}, "origin": "default", "pipeline": "s_tir", "refusals": {}, "rule": "cpu_int8", "smem_bytes": 0}, "tirx.noalias": True})
        T.attr(0, "pragma_import_llvm", metadata["ir.StringImm"][0])
        buffer = T.alloc_buffer((1, 1, 4, 1, 32), "int8")
        buffer_1 = T.alloc_buffer((1, 1, 1, 8), "int32")
        for v in range(1):
            for v_1 in range(T.min(1, 1 - v)):
                for v_2 in range(1):
                    for v_3 in T.vectorized(32):
                        buffer[v_1, v_2, 0, 0, v_3] = A[T.min(v + v_1, 0), v_2 * 128 + v_3 * 4]
                    for v_3 in T.vectorized(32):
                        buffer[v_1, v_2, 1, 0, v_3] = A[T.min(v + v_1, 0), v_2 * 128 + v_3 * 4 + 1]
                    for v_3 in T.vectorized(32):
                        buffer[v_1, v_2, 2, 0, v_3] = A[T.min(v + v_1, 0), v_2 * 128 + v_3 * 4 + 2]
                    for v_3 in T.vectorized(32):
                        buffer[v_1, v_2, 3, 0, v_3] = A[T.min(v + v_1, 0), v_2 * 128 + v_3 * 4 + 3]
                for v_2 in range(1):
                    buffer_1[v_1, v_2, 0, 0:8] = T.Broadcast(0, 8)
                    for v_3 in range(T.min(1, 1 - v_2)):
                        buffer_1[v_1, v_2, 0, 0:8] = buffer_1[v_1, v_2, 0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", T.Broadcast(16843009, 8)), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_1, v_2 + v_3, 0, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                        buffer_1[v_1, v_2, 0, 0:8] = buffer_1[v_1, v_2, 0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", T.Broadcast(16843009, 8)), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_1, v_2 + v_3, 1, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                        buffer_1[v_1, v_2, 0, 0:8] = buffer_1[v_1, v_2, 0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", T.Broadcast(16843009, 8)), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_1, v_2 + v_3, 2, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                        buffer_1[v_1, v_2, 0, 0:8] = buffer_1[v_1, v_2, 0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", T.Broadcast(16843009, 8)), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_1, v_2 + v_3, 3, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
            for v_1 in T.parallel(4):
                for v_2, v_3 in T.grid(4, T.min(1, 1 - v)):
                    buffer_2 = T.alloc_buffer((4, 8), "int32")
                    buffer_2[0, 0:8] = T.Broadcast(0, 8)
                    buffer_2[1, 0:8] = T.Broadcast(0, 8)
                    buffer_2[2, 0:8] = T.Broadcast(0, 8)
                    buffer_2[3, 0:8] = T.Broadcast(0, 8)
                    buffer_3 = T.alloc_buffer((4, 8), "int32")
                    for v_4 in range(1):
                        buffer_3[0, 0:8] = T.Broadcast(0, 8)
                        buffer_3[1, 0:8] = T.Broadcast(0, 8)
                        buffer_3[2, 0:8] = T.Broadcast(0, 8)
                        buffer_3[3, 0:8] = T.Broadcast(0, 8)
                        for v_5 in range(1):
                            buffer_4 = T.alloc_buffer((8,), "int32")
                            buffer_4[0:8] = T.reinterpret("int32x8", B[v_1 * 16 + v_2 * 4, T.Ramp((v_4 + v_5) * 32, 1, 32)])
                            buffer_5 = T.alloc_buffer((8,), "int32")
                            buffer_5[0:8] = T.reinterpret("int32x8", B[v_1 * 16 + v_2 * 4 + 1, T.Ramp((v_4 + v_5) * 32, 1, 32)])
                            buffer_6 = T.alloc_buffer((8,), "int32")
                            buffer_6[0:8] = T.reinterpret("int32x8", B[v_1 * 16 + v_2 * 4 + 2, T.Ramp((v_4 + v_5) * 32, 1, 32)])
                            buffer_7 = T.alloc_buffer((8,), "int32")
                            buffer_7[0:8] = T.reinterpret("int32x8", B[v_1 * 16 + v_2 * 4 + 3, T.Ramp((v_4 + v_5) * 32, 1, 32)])
                            buffer_8 = T.alloc_buffer((8,), "int32")
                            buffer_8[0:8] = buffer_4[T.Ramp(0, 1, 8)] & T.Broadcast(50529027, 8)
                            buffer_9 = T.alloc_buffer((8,), "int32")
                            buffer_9[0:8] = buffer_5[T.Ramp(0, 1, 8)] & T.Broadcast(50529027, 8)
                            buffer_10 = T.alloc_buffer((8,), "int32")
                            buffer_10[0:8] = buffer_6[T.Ramp(0, 1, 8)] & T.Broadcast(50529027, 8)
                            buffer_11 = T.alloc_buffer((8,), "int32")
                            buffer_11[0:8] = buffer_7[T.Ramp(0, 1, 8)] & T.Broadcast(50529027, 8)
                            buffer_3[0, 0:8] = buffer_3[0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_8[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 0, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[1, 0:8] = buffer_3[1, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_9[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 0, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[2, 0:8] = buffer_3[2, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_10[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 0, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[3, 0:8] = buffer_3[3, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_11[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 0, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_12 = T.alloc_buffer((8,), "int32")
                            buffer_12[0:8] = buffer_4[T.Ramp(0, 1, 8)] >> T.Broadcast(2, 8) & T.Broadcast(50529027, 8)
                            buffer_13 = T.alloc_buffer((8,), "int32")
                            buffer_13[0:8] = buffer_5[T.Ramp(0, 1, 8)] >> T.Broadcast(2, 8) & T.Broadcast(50529027, 8)
                            buffer_14 = T.alloc_buffer((8,), "int32")
                            buffer_14[0:8] = buffer_6[T.Ramp(0, 1, 8)] >> T.Broadcast(2, 8) & T.Broadcast(50529027, 8)
                            buffer_15 = T.alloc_buffer((8,), "int32")
                            buffer_15[0:8] = buffer_7[T.Ramp(0, 1, 8)] >> T.Broadcast(2, 8) & T.Broadcast(50529027, 8)
                            buffer_3[0, 0:8] = buffer_3[0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_12[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 1, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[1, 0:8] = buffer_3[1, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_13[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 1, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[2, 0:8] = buffer_3[2, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_14[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 1, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[3, 0:8] = buffer_3[3, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_15[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 1, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_16 = T.alloc_buffer((8,), "int32")
                            buffer_16[0:8] = buffer_4[T.Ramp(0, 1, 8)] >> T.Broadcast(4, 8) & T.Broadcast(50529027, 8)
                            buffer_17 = T.alloc_buffer((8,), "int32")
                            buffer_17[0:8] = buffer_5[T.Ramp(0, 1, 8)] >> T.Broadcast(4, 8) & T.Broadcast(50529027, 8)
                            buffer_18 = T.alloc_buffer((8,), "int32")
                            buffer_18[0:8] = buffer_6[T.Ramp(0, 1, 8)] >> T.Broadcast(4, 8) & T.Broadcast(50529027, 8)
                            buffer_19 = T.alloc_buffer((8,), "int32")
                            buffer_19[0:8] = buffer_7[T.Ramp(0, 1, 8)] >> T.Broadcast(4, 8) & T.Broadcast(50529027, 8)
                            buffer_3[0, 0:8] = buffer_3[0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_16[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 2, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[1, 0:8] = buffer_3[1, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_17[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 2, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[2, 0:8] = buffer_3[2, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_18[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 2, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[3, 0:8] = buffer_3[3, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_19[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 2, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_20 = T.alloc_buffer((8,), "int32")
                            buffer_20[0:8] = buffer_4[T.Ramp(0, 1, 8)] >> T.Broadcast(6, 8) & T.Broadcast(50529027, 8)
                            buffer_21 = T.alloc_buffer((8,), "int32")
                            buffer_21[0:8] = buffer_5[T.Ramp(0, 1, 8)] >> T.Broadcast(6, 8) & T.Broadcast(50529027, 8)
                            buffer_22 = T.alloc_buffer((8,), "int32")
                            buffer_22[0:8] = buffer_6[T.Ramp(0, 1, 8)] >> T.Broadcast(6, 8) & T.Broadcast(50529027, 8)
                            buffer_23 = T.alloc_buffer((8,), "int32")
                            buffer_23[0:8] = buffer_7[T.Ramp(0, 1, 8)] >> T.Broadcast(6, 8) & T.Broadcast(50529027, 8)
                            buffer_3[0, 0:8] = buffer_3[0, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_20[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 3, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[1, 0:8] = buffer_3[1, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_21[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 3, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[2, 0:8] = buffer_3[2, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_22[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 3, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                            buffer_3[3, 0:8] = buffer_3[3, T.Ramp(0, 1, 8)] + T.call_llvm_pure_intrin("int32x8", "llvm.x86.avx2.pmadd.wd", T.call_llvm_pure_intrin("int16x16", "llvm.x86.avx2.pmadd.ub.sw", T.reinterpret("int8x32", buffer_23[T.Ramp(0, 1, 8)]), T.reinterpret("int8x32", T.reinterpret("int32x8", buffer[v_3, v_4 + v_5, 3, 0, T.Ramp(0, 1, 32)]))), T.Broadcast(T.int16(1), 16))
                        for v_5 in T.vectorized(8):
                            buffer_2[0, v_5] = buffer_2[0, v_5] + (buffer_3[0, v_5] + buffer_1[v_3, v_4, 0, v_5] * -2)
                        for v_5 in T.vectorized(8):
                            buffer_2[1, v_5] = buffer_2[1, v_5] + (buffer_3[1, v_5] + buffer_1[v_3, v_4, 0, v_5] * -2)
                        for v_5 in T.vectorized(8):
                            buffer_2[2, v_5] = buffer_2[2, v_5] + (buffer_3[2, v_5] + buffer_1[v_3, v_4, 0, v_5] * -2)
                        for v_5 in T.vectorized(8):
                            buffer_2[3, v_5] = buffer_2[3, v_5] + (buffer_3[3, v_5] + buffer_1[v_3, v_4, 0, v_5] * -2)
                    buffer_4 = T.alloc_buffer((1, 4), "int32")
                    buffer_4[0, 0] = T.call_llvm_pure_intrin("int32", "llvm.vector.reduce.add", buffer_2[0, T.Ramp(0, 1, 8)])
                    buffer_4[0, 1] = T.call_llvm_pure_intrin("int32", "llvm.vector.reduce.add", buffer_2[1, T.Ramp(0, 1, 8)])
                    buffer_4[0, 2] = T.call_llvm_pure_intrin("int32", "llvm.vector.reduce.add", buffer_2[2, T.Ramp(0, 1, 8)])
                    buffer_4[0, 3] = T.call_llvm_pure_intrin("int32", "llvm.vector.reduce.add", buffer_2[3, T.Ramp(0, 1, 8)])
                    for v_4, v_5 in T.grid(1, 4):
                        if v + v_3 + v_4 < 1:
                            D[v + v_3 + v_4, v_1 * 16 + v_2 * 4 + v_5] = buffer_4[v_4, v_5]

# Metadata omitted. Use show_meta=True in script() method to show it.
