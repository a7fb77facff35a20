# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 128), "int8"), B: T.Buffer((64, 32), "int8"), D: T.Buffer((1, 64), "int32")):
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 128, "M": 1, "N": 64, "W_dtype": "int2", "accum_dtype": "int32", "group_size": 128, "layout": "nt", "out_dtype": "int32", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "tirx.noalias": True})
        # with T.sblock("root"):
        B_decode = T.sblock_alloc_buffer((64, 128), "int8")
        C = T.sblock_alloc_buffer((1, 64), "int32")
        for n, k in T.grid(64, 128):
            with T.sblock("B_decode"):
                v_n, v_k = T.axis.remap("SS", [n, k])
                T.reads(B[v_n, v_k // 4])
                T.writes(B_decode[v_n, v_k])
                B_decode[v_n, v_k] = T.Cast("int8", T.Cast("uint8", B[v_n, v_k // 4]) >> T.Cast("uint8", v_k % 4 * 2) & T.uint8(3)) - T.int8(2)
        for i, j, k in T.grid(1, 64, 128):
            with T.sblock("C"):
                v_i, v_j, v_k = T.axis.remap("SSR", [i, j, k])
                T.reads(A[v_i, v_k], B_decode[v_j, v_k])
                T.writes(C[v_i, v_j])
                with T.init():
                    C[v_i, v_j] = 0
                C[v_i, v_j] = C[v_i, v_j] + T.Cast("int32", A[v_i, v_k]) * T.Cast("int32", B_decode[v_j, v_k])
        for i, j in T.grid(1, 64):
            with T.sblock("D"):
                v_i, v_j = T.axis.remap("SS", [i, j])
                T.reads(C[v_i, v_j])
                T.writes(D[v_i, v_j])
                D[v_i, v_j] = C[v_i, v_j]
