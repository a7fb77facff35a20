# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m1(A: T.Buffer((1, 128), "float16"), B: T.Buffer((64, 64), "int8"), Scale: T.Buffer((64, 2), "float16"), D: T.Buffer((1, 64), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 1, "N": 64, "W_dtype": "nf4", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"n_per_warp": 1, "warps": 4}, "origin": "default", "pipeline": "tirx", "refusals": {"decode": "reads the fragment weight layout (got plain)", "wgmma": "reads the fragment weight layout (got plain)", "wgmma_dense": "needs M >= 8 (got 1)"}, "rule": "gemv", "smem_bytes": 0}})
        T.attr({"tirx.device_entry": T.bool(True)})
        block = T.cta_id([16])
        thread = T.thread_id([128])
        total: T.float32
        w = T.alloc_local((4,), "uint32")
        a = T.alloc_local((16,), "uint32")
        dot: T.float32
        sum_of_a: T.float32
        for r in T.unroll(1):
            total = T.float32(0.0)
        for step in range(1):
            if step * 32 + thread % 32 < 4:
                for r in T.unroll(1):
                    for part in T.unroll(1):
                        T.ptx.ld(w[r * 4 + part * 4], w[r * 4 + part * 4 + 1], w[r * 4 + part * 4 + 2], w[r * 4 + part * 4 + 3], T.address_of(B[T.min(block * 4 + thread // 32 + r, 63), (step * 32 + thread % 32) * 16 + part * 16]), "", "", "global", "", "nc", "", "", "", "v4", "u32", "")
                for part in T.unroll(4):
                    T.ptx.ld(a[part * 4], a[part * 4 + 1], a[part * 4 + 2], a[part * 4 + 3], T.address_of(A[0, (step * 32 + thread % 32) * 32 + part * 16 * 8 // 16]), "", "", "global", "", "nc", "", "", "", "v4", "u32", "")
                for r in T.unroll(1):
                    dot = T.float32(0.0)
                sum_of_a = T.float32(0.0)
                for i in T.unroll(32):
                    for r in T.unroll(1):
                        code = T.uint8()
                        dot = dot + T.Cast("float32", T.reinterpret("float16", T.Cast("uint16", a[i // 2] >> T.Cast("uint32", i % 2 * 16)))) * T.Let(T.Select(code & T.uint8(8) != T.uint8(0), T.Select(code & T.uint8(4) != T.uint8(0), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(1.0), T.float32(0.72295683622360229)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.56261700391769409), T.float32(0.44070982933044434))), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.33791524171829224), T.float32(0.24611230194568634)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.16093020141124725), T.float32(0.079580299556255341)))), T.Select(code & T.uint8(4) != T.uint8(0), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(0.0), T.float32(-0.091050036251544952)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(-0.18477343022823334), T.float32(-0.28444138169288635))), T.Select(code & T.uint8(2) != T.uint8(0), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(-0.39491748809814453), T.float32(-0.52507305145263672)), T.Select(code & T.uint8(1) != T.uint8(0), T.float32(-0.69619280099868774), T.float32(-1.0))))), where={code: T.Cast("uint8", w[r * 4 + i // 2 // 4] >> T.Cast("uint32", i // 2 % 4 * 8)) >> T.Cast("uint8", i % 2 * 4) & T.uint8(15)})
                for r in T.unroll(1):
                    total = total + dot * T.Cast("float32", Scale[T.min(block * 4 + thread // 32 + r, 63), (step * 32 + thread % 32) * 32 // 64])
        for r in T.unroll(1):
            for s in T.unroll(5):
                total = total + T.tvm_warp_shuffle_xor(T.uint32(4294967295), total, 16 >> s, 32, 32)
        for r in T.unroll(1):
            if thread % 32 == 0 and block * 4 + thread // 32 + r < 64:
                D[0, block * 4 + thread // 32 + r] = T.Cast("float16", total)
