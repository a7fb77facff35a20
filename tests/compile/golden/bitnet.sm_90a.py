# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m1(A: T.Buffer((1, 128), "int8"), B: T.Buffer((64, 32), "int8"), D: T.Buffer((1, 64), "int32")):
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 128, "M": 1, "N": 64, "W_dtype": "int2", "accum_dtype": "int32", "group_size": 128, "layout": "nt", "out_dtype": "int32", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"n_per_warp": 1, "warps": 4}, "origin": "default", "pipeline": "tirx", "refusals": {"decode": "reads the fragment weight layout (got plain)", "wgmma": "reads the fragment weight layout (got plain)", "wgmma_dense": "needs M >= 8 (got 1)"}, "rule": "gemv", "smem_bytes": 0}})
        T.attr({"tirx.device_entry": T.bool(True)})
        block = T.cta_id([16])
        thread = T.thread_id([128])
        total: T.int32
        w = T.alloc_local((2,), "uint32")
        a = T.alloc_local((8,), "uint32")
        dot: T.int32
        sum_of_a: T.int32
        for r in T.unroll(1):
            total = 0
        for step in range(1):
            if step * 32 + thread % 32 < 4:
                for r in T.unroll(1):
                    for part in T.unroll(1):
                        T.ptx.ld(w[r * 2 + part * 2], w[r * 2 + part * 2 + 1], T.address_of(B[T.min(block * 4 + thread // 32 + r, 63), (step * 32 + thread % 32) * 8 + part * 8]), "", "", "global", "", "nc", "", "", "", "v2", "u32", "")
                for part in T.unroll(2):
                    T.ptx.ld(a[part * 4], a[part * 4 + 1], a[part * 4 + 2], a[part * 4 + 3], T.address_of(A[0, (step * 32 + thread % 32) * 32 + part * 16 * 8 // 8]), "", "", "global", "", "nc", "", "", "", "v4", "u32", "")
                for r in T.unroll(1):
                    dot = 0
                sum_of_a = 0
                for i in T.unroll(32):
                    for r in T.unroll(1):
                        dot = dot + T.Cast("int32", T.reinterpret("int8", T.Cast("uint8", a[i // 4] >> T.Cast("uint32", i % 4 * 8)))) * (T.Cast("int32", T.Cast("uint8", w[r * 2 + i // 4 // 4] >> T.Cast("uint32", i // 4 % 4 * 8)) >> T.Cast("uint8", i % 4 * 2) & T.uint8(3)) - 2)
                for r in T.unroll(1):
                    total = total + dot
        for r in T.unroll(1):
            for s in T.unroll(5):
                total = total + T.tvm_warp_shuffle_xor(T.uint32(4294967295), total, 16 >> s, 32, 32)
        for r in T.unroll(1):
            if thread % 32 == 0 and block * 4 + thread // 32 + r < 64:
                D[0, block * 4 + thread // 32 + r] = total
