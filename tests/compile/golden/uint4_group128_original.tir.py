# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 1024), "float16"), B: T.Buffer((1024, 512), "int8"), Scale: T.Buffer((1024, 8), "float16"), Zeros: T.Buffer((1024, 8), "float16"), D: T.Buffer((1, 1024), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 1024, "M": [1, 16], "N": 1024, "W_dtype": "uint4", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": True, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "tirx.noalias": True})
        # with T.sblock("root"):
        B_decode = T.sblock_alloc_buffer((1024, 1024), "float16")
        C = T.sblock_alloc_buffer((1, 1024))
        for n, k in T.grid(1024, 1024):
            with T.sblock("B_decode"):
                v_n, v_k = T.axis.remap("SS", [n, k])
                T.reads(B[v_n, v_k // 2], Zeros[v_n, v_k // 128], Scale[v_n, v_k // 128])
                T.writes(B_decode[v_n, v_k])
                B_decode[v_n, v_k] = T.Cast("float16", (T.Cast("float32", T.Cast("uint8", B[v_n, v_k // 2]) >> T.Cast("uint8", v_k % 2 * 4) & T.uint8(15)) - T.Cast("float32", Zeros[v_n, v_k // 128])) * T.Cast("float32", Scale[v_n, v_k // 128]))
        for i, j, k in T.grid(1, 1024, 1024):
            with T.sblock("C"):
                v_i, v_j, v_k = T.axis.remap("SSR", [i, j, k])
                T.reads(A[v_i, v_k], B_decode[v_j, v_k])
                T.writes(C[v_i, v_j])
                with T.init():
                    C[v_i, v_j] = T.float32(0.0)
                C[v_i, v_j] = C[v_i, v_j] + T.Cast("float32", A[v_i, v_k]) * T.Cast("float32", B_decode[v_j, v_k])
        for i, j in T.grid(1, 1024):
            with T.sblock("D"):
                v_i, v_j = T.axis.remap("SS", [i, j])
                T.reads(C[v_i, v_j])
                T.writes(D[v_i, v_j])
                D[v_i, v_j] = T.Cast("float16", C[v_i, v_j])

    @T.prim_func(s_tir=True)
    def matmul_m16(A: T.Buffer(("m", 1024), "float16"), B: T.Buffer((1024, 512), "int8"), Scale: T.Buffer((1024, 8), "float16"), Zeros: T.Buffer((1024, 8), "float16"), D: T.Buffer((m, 1024), "float16")):
        m = T.int32()
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 1024, "M": [1, 16], "N": 1024, "W_dtype": "uint4", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": True, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "tirx.noalias": True})
        # with T.sblock("root"):
        B_decode = T.sblock_alloc_buffer((1024, 1024), "float16")
        C = T.sblock_alloc_buffer((m, 1024))
        for n, k in T.grid(1024, 1024):
            with T.sblock("B_decode"):
                v_n, v_k = T.axis.remap("SS", [n, k])
                T.reads(B[v_n, v_k // 2], Zeros[v_n, v_k // 128], Scale[v_n, v_k // 128])
                T.writes(B_decode[v_n, v_k])
                B_decode[v_n, v_k] = T.Cast("float16", (T.Cast("float32", T.Cast("uint8", B[v_n, v_k // 2]) >> T.Cast("uint8", v_k % 2 * 4) & T.uint8(15)) - T.Cast("float32", Zeros[v_n, v_k // 128])) * T.Cast("float32", Scale[v_n, v_k // 128]))
        for i, j, k in T.grid(m, 1024, 1024):
            with T.sblock("C"):
                v_i, v_j, v_k = T.axis.remap("SSR", [i, j, k])
                T.reads(A[v_i, v_k], B_decode[v_j, v_k])
                T.writes(C[v_i, v_j])
                with T.init():
                    C[v_i, v_j] = T.float32(0.0)
                C[v_i, v_j] = C[v_i, v_j] + T.Cast("float32", A[v_i, v_k]) * T.Cast("float32", B_decode[v_j, v_k])
        for i, j in T.grid(m, 1024):
            with T.sblock("D"):
                v_i, v_j = T.axis.remap("SS", [i, j])
                T.reads(C[v_i, v_j])
                T.writes(D[v_i, v_j])
                D[v_i, v_j] = T.Cast("float16", C[v_i, v_j])
