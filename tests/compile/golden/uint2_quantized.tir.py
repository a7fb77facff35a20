# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m16(A: T.Buffer((16, 128), "float16"), B: T.Buffer((64, 32), "int8"), Scale: T.Buffer((64, 2), "float16"), Zeros: T.Buffer((2, 16), "int8"), D: T.Buffer((16, 64), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 16, "N": 64, "W_dtype": "uint2", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": True, "zeros_mode": "quantized"}, "bitquant.layout": "plain", "bitquant.rung": 16, "tirx.noalias": True})
        # with T.sblock("root"):
        B_decode = T.sblock_alloc_buffer((64, 128), "float16")
        C = T.sblock_alloc_buffer((16, 64))
        for n, k in T.grid(64, 128):
            with T.sblock("B_decode"):
                v_n, v_k = T.axis.remap("SS", [n, k])
                T.reads(B[v_n, v_k // 4], Zeros[v_k // 64, v_n // 4], Scale[v_n, v_k // 64])
                T.writes(B_decode[v_n, v_k])
                B_decode[v_n, v_k] = T.Cast("float16", (T.Cast("float32", T.Cast("uint8", B[v_n, v_k // 4]) >> T.Cast("uint8", v_k % 4 * 2) & T.uint8(3)) - T.Cast("float32", T.Cast("uint8", Zeros[v_k // 64, v_n // 4]) >> T.Cast("uint8", v_n % 4 * 2) & T.uint8(3))) * T.Cast("float32", Scale[v_n, v_k // 64]))
        for i, j, k in T.grid(16, 64, 128):
            with T.sblock("C"):
                v_i, v_j, v_k = T.axis.remap("SSR", [i, j, k])
                T.reads(A[v_i, v_k], B_decode[v_j, v_k])
                T.writes(C[v_i, v_j])
                with T.init():
                    C[v_i, v_j] = T.float32(0.0)
                C[v_i, v_j] = C[v_i, v_j] + T.Cast("float32", A[v_i, v_k]) * T.Cast("float32", B_decode[v_j, v_k])
        for i, j in T.grid(16, 64):
            with T.sblock("D"):
                v_i, v_j = T.axis.remap("SS", [i, j])
                T.reads(C[v_i, v_j])
                T.writes(D[v_i, v_j])
                D[v_i, v_j] = T.Cast("float16", C[v_i, v_j])
