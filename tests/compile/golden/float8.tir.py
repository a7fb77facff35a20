# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m16(A: T.Buffer((16, 128), "float8_e4m3fn"), B: T.Buffer((64, 128), "float8_e4m3fn"), D: T.Buffer((16, 64), "bfloat16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float8_e4m3", "K": 128, "M": 16, "N": 64, "W_dtype": "float8_e4m3", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "bfloat16", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "tirx.noalias": True})
        # with T.sblock("root"):
        C = T.sblock_alloc_buffer((16, 64))
        for i, j, k in T.grid(16, 64, 128):
            with T.sblock("C"):
                v_i, v_j, v_k = T.axis.remap("SSR", [i, j, k])
                T.reads(A[v_i, v_k], B[v_j, v_k])
                T.writes(C[v_i, v_j])
                with T.init():
                    C[v_i, v_j] = T.float32(0.0)
                bits = T.uint16()
                bits_1 = T.uint16()
                C[v_i, v_j] = C[v_i, v_j] + T.Let(T.Select(bits & T.uint16(127) == T.uint16(127), T.float32("nan"), T.Cast("float32", T.reinterpret("float16", (bits & T.uint16(127)) << T.uint16(7) | (bits & T.uint16(128)) << T.uint16(8))) * T.float32(256.0)), where={bits: T.Cast("uint16", T.reinterpret("uint8", A[v_i, v_k]))}) * T.Let(T.Select(bits_1 & T.uint16(127) == T.uint16(127), T.float32("nan"), T.Cast("float32", T.reinterpret("float16", (bits_1 & T.uint16(127)) << T.uint16(7) | (bits_1 & T.uint16(128)) << T.uint16(8))) * T.float32(256.0)), where={bits_1: T.Cast("uint16", T.reinterpret("uint8", B[v_j, v_k]))})
        for i, j in T.grid(16, 64):
            with T.sblock("D"):
                v_i, v_j = T.axis.remap("SS", [i, j])
                T.reads(C[v_i, v_j])
                T.writes(D[v_i, v_j])
                D[v_i, v_j] = T.Cast("bfloat16", C[v_i, v_j])
