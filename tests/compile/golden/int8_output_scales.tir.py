# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 64), "int8"), B: T.Buffer((33, 64), "int8"), Bias: T.Buffer((33,), "bfloat16"), ActivationScale: T.Buffer((1,), "float32"), ChannelScale: T.Buffer((33,), "float32"), D: T.Buffer((1, 33), "bfloat16")):
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 64, "M": [1, 16], "N": 33, "W_dtype": "int8", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "bfloat16", "plain_layout": False, "scale_dtype": None, "with_activation_scale": True, "with_bias": True, "with_channel_scale": True, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "tirx.noalias": True})
        # with T.sblock("root"):
        C = T.sblock_alloc_buffer((1, 33), "int32")
        for i, j, k in T.grid(1, 33, 64):
            with T.sblock("C"):
                v_i, v_j, v_k = T.axis.remap("SSR", [i, j, k])
                T.reads(A[v_i, v_k], B[v_j, v_k])
                T.writes(C[v_i, v_j])
                with T.init():
                    C[v_i, v_j] = 0
                C[v_i, v_j] = C[v_i, v_j] + T.Cast("int32", A[v_i, v_k]) * T.Cast("int32", B[v_j, v_k])
        for i, j in T.grid(1, 33):
            with T.sblock("D"):
                v_i, v_j = T.axis.remap("SS", [i, j])
                T.reads(C[v_i, v_j], ActivationScale[v_i], ChannelScale[v_j], Bias[v_j])
                T.writes(D[v_i, v_j])
                D[v_i, v_j] = T.Cast("bfloat16", T.Cast("float32", C[v_i, v_j]) * ActivationScale[v_i] * ChannelScale[v_j] + T.Cast("float32", Bias[v_j]))

    @T.prim_func(s_tir=True)
    def matmul_m16(A: T.Buffer(("m", 64), "int8"), B: T.Buffer((33, 64), "int8"), Bias: T.Buffer((33,), "bfloat16"), ActivationScale: T.Buffer((m,), "float32"), ChannelScale: T.Buffer((33,), "float32"), D: T.Buffer((m, 33), "bfloat16")):
        m = T.int32()
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 64, "M": [1, 16], "N": 33, "W_dtype": "int8", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "bfloat16", "plain_layout": False, "scale_dtype": None, "with_activation_scale": True, "with_bias": True, "with_channel_scale": True, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "tirx.noalias": True})
        # with T.sblock("root"):
        C = T.sblock_alloc_buffer((m, 33), "int32")
        for i, j, k in T.grid(m, 33, 64):
            with T.sblock("C"):
                v_i, v_j, v_k = T.axis.remap("SSR", [i, j, k])
                T.reads(A[v_i, v_k], B[v_j, v_k])
                T.writes(C[v_i, v_j])
                with T.init():
                    C[v_i, v_j] = 0
                C[v_i, v_j] = C[v_i, v_j] + T.Cast("int32", A[v_i, v_k]) * T.Cast("int32", B[v_j, v_k])
        for i, j in T.grid(m, 33):
            with T.sblock("D"):
                v_i, v_j = T.axis.remap("SS", [i, j])
                T.reads(C[v_i, v_j], ActivationScale[v_i], ChannelScale[v_j], Bias[v_j])
                T.writes(D[v_i, v_j])
                D[v_i, v_j] = T.Cast("bfloat16", T.Cast("float32", C[v_i, v_j]) * ActivationScale[v_i] * ChannelScale[v_j] + T.Cast("float32", Bias[v_j]))
