# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func(s_tir=True)
    def matmul_m1(A: T.Buffer((1, 128), "float16"), B: T.Buffer((64, 64), "int8"), Scale: T.Buffer((64, 2), "float16"), D: T.Buffer((1, 64), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 1, "N": 64, "W_dtype": "nf4", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "tirx.noalias": True})
        # with T.sblock("root"):
        B_decode = T.sblock_alloc_buffer((64, 128), "float16")
        C = T.sblock_alloc_buffer((1, 64))
        for n, k in T.grid(64, 128):
            with T.sblock("B_decode"):
                v_n, v_k = T.axis.remap("SS", [n, k])
                T.reads(B[v_n, v_k // 2], Scale[v_n, v_k // 64])
                T.writes(B_decode[v_n, v_k])
                code = T.uint8()
                B_decode[v_n, v_k] = T.Cast("float16", T.Let(T.Select(code & T.uint8(8) != T.uint8(0), T.Select(code & T.uint8(4) != T.uint8(0), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code & T.uint8(4) != T.uint8(0), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code: T.Cast("uint8", B[v_n, v_k // 2]) >> T.Cast("uint8", v_k % 2 * 4) & T.uint8(15)}) * T.Cast("float32", Scale[v_n, v_k // 64]))
        for i, j, k in T.grid(1, 64, 128):
            with T.sblock("C"):
                v_i, v_j, v_k = T.axis.remap("SSR", [i, j, k])
                T.reads(A[v_i, v_k], B_decode[v_j, v_k])
                T.writes(C[v_i, v_j])
                with T.init():
                    C[v_i, v_j] = T.float32(0.0)
                C[v_i, v_j] = C[v_i, v_j] + T.Cast("float32", A[v_i, v_k]) * T.Cast("float32", B_decode[v_j, v_k])
        for i, j in T.grid(1, 64):
            with T.sblock("D"):
                v_i, v_j = T.axis.remap("SS", [i, j])
                T.reads(C[v_i, v_j])
                T.writes(D[v_i, v_j])
                D[v_i, v_j] = T.Cast("float16", C[v_i, v_j])
