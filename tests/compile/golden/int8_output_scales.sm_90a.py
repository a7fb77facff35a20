# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m1(A: T.Buffer((1, 64), "int8"), B: T.Buffer((33, 64), "int8"), Bias: T.Buffer((33,), "bfloat16"), ActivationScale: T.Buffer((1,), "float32"), ChannelScale: T.Buffer((33,), "float32"), D: T.Buffer((1, 33), "bfloat16")):
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 64, "M": [1, 16], "N": 33, "W_dtype": "int8", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "bfloat16", "plain_layout": False, "scale_dtype": None, "with_activation_scale": True, "with_bias": True, "with_channel_scale": True, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"n_per_warp": 1, "warps": 4}, "origin": "default", "pipeline": "tirx", "refusals": {"decode": "reads the fragment weight layout (got plain)", "wgmma": "reads the fragment weight layout (got plain)", "wgmma_dense": "needs M >= 8 (got 1)"}, "rule": "gemv", "smem_bytes": 0}})
        T.attr({"tirx.device_entry": T.bool(True)})
        block = T.cta_id([9])
        thread = T.thread_id([128])
        total: T.int32
        w = T.alloc_local((4,), "uint32")
        a = T.alloc_local((4,), "uint32")
        dot: T.int32
        sum_of_a: T.int32
        for r in T.unroll(1):
            total = 0
        for step in range(1):
            if step * 32 + thread % 32 < 4:
                for r in T.unroll(1):
                    for part in T.unroll(1):
                        T.ptx.ld(w[r * 4 + part * 4], w[r * 4 + part * 4 + 1], w[r * 4 + part * 4 + 2], w[r * 4 + part * 4 + 3], T.address_of(B[T.min(block * 4 + thread // 32 + r, 32), (step * 32 + thread % 32) * 16 + part * 16]), "", "", "global", "", "nc", "", "", "", "v4", "u32", "")
                for part in T.unroll(1):
                    T.ptx.ld(a[part * 4], a[part * 4 + 1], a[part * 4 + 2], a[part * 4 + 3], T.address_of(A[0, (step * 32 + thread % 32) * 16 + part * 16 * 8 // 8]), "", "", "global", "", "nc", "", "", "", "v4", "u32", "")
                for r in T.unroll(1):
                    dot = 0
                sum_of_a = 0
                for i in T.unroll(16):
                    for r in T.unroll(1):
                        dot = dot + T.Cast("int32", T.reinterpret("int8", T.Cast("uint8", a[i // 4] >> T.Cast("uint32", i % 4 * 8)))) * T.Cast("int32", T.reinterpret("int8", T.Cast("uint8", w[r * 4 + i // 4] >> T.Cast("uint32", i % 4 * 8))))
                for r in T.unroll(1):
                    total = total + dot
        for r in T.unroll(1):
            for s in T.unroll(5):
                total = total + T.tvm_warp_shuffle_xor(T.uint32(4294967295), total, 16 >> s, 32, 32)
        for r in T.unroll(1):
            if thread % 32 == 0 and block * 4 + thread // 32 + r < 33:
                D[0, block * 4 + thread // 32 + r] = T.Cast("bfloat16", T.Cast("float32", total) * ActivationScale * ChannelScale[block * 4 + thread // 32 + r] + T.Cast("float32", Bias[block * 4 + thread // 32 + r]))

    @T.prim_func
    def matmul_m16(A: T.Buffer(("v", 64), "int8"), B: T.Buffer((33, 64), "int8"), Bias: T.Buffer((33,), "bfloat16"), ActivationScale: T.Buffer((v,), "float32"), ChannelScale: T.Buffer((33,), "float32"), D: T.Buffer((v, 33), "bfloat16")):
        v = T.int32()
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 64, "M": [1, 16], "N": 33, "W_dtype": "int8", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "bfloat16", "plain_layout": False, "scale_dtype": None, "with_activation_scale": True, "with_bias": True, "with_channel_scale": True, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "bitquant.schedule": {"hint": {"block_k": 256, "block_m": 16, "block_n": 16, "stages": 4, "warps_k": 8, "warps_m": 1, "warps_n": 1}, "origin": "default", "pipeline": "tirx", "refusals": {"decode": "reads the fragment weight layout (got plain)", "gemv": "needs M == 1 (got 16)", "wgmma": "reads the fragment weight layout (got plain)", "wgmma_dense": "needs W of A's type, float16 or bfloat16, without scales (got int8)"}, "rule": "mma", "smem_bytes": 32768}})
        T.attr({"tirx.device_entry": T.bool(True)})
        block = T.cta_id([(v + 16 - 1) // 16 * 3])
        thread = T.thread_id([256])
        arena = T.alloc_buffer((32768,), "uint8", scope="shared.dyn", align=128)
        buffer = T.alloc_local((2,), "int32")
        buffer[0] = (block // 24 * 8 + block % 24 % T.min((v + 15) // 16 - block // 24 * 8, 8)) * 16
        buffer[1] = block % 24 // T.min((v + 15) // 16 - block // 24 * 8, 8) * 16
        buffer_1 = T.alloc_local((8,), "uint32")
        for v_1 in T.unroll(8):
            buffer_1[v_1] = T.uint32(0)
        for t in T.unroll(3):
            if t < 1:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 4096 + thread // 16 * 256 + (thread % 16 * 16 // 16 ^ thread // 16 % 8) * 16 + thread % 16 * 16 % 16])), T.address_of(A[T.Cast("int64", buffer[0] + thread // 16), t * 256 + thread % 16 * 16]), 16, T.Select(thread // 16 < v - buffer[0] and thread % 16 * 16 < 64 - t * 256, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[16384 + t % 4 * 4096 + thread // 16 * 256 + (thread % 16 * 16 // 16 ^ thread // 16 % 8) * 16 + thread % 16 * 16 % 16])), T.address_of(B[buffer[1] + thread // 16, t * 256 + thread % 16 * 16]), 16, T.Select(thread // 16 < 33 - buffer[1] and thread % 16 * 16 < 64 - t * 256, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
            T.ptx.cp("async", "commit_group", "")
        for t in range(1):
            T.ptx.cp(2, "async", "wait_group", "")
            T.cuda.cta_sync()
            if t + 3 < 1:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[(t + 3) % 4 * 4096 + thread // 16 * 256 + (thread % 16 * 16 // 16 ^ thread // 16 % 8) * 16 + thread % 16 * 16 % 16])), T.address_of(A[T.Cast("int64", buffer[0] + thread // 16), (t + 3) * 256 + thread % 16 * 16]), 16, T.Select(thread // 16 < v - buffer[0] and thread % 16 * 16 < 64 - (t + 3) * 256, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[16384 + (t + 3) % 4 * 4096 + thread // 16 * 256 + (thread % 16 * 16 // 16 ^ thread // 16 % 8) * 16 + thread % 16 * 16 % 16])), T.address_of(B[buffer[1] + thread // 16, (t + 3) * 256 + thread % 16 * 16]), 16, T.Select(thread // 16 < 33 - buffer[1] and thread % 16 * 16 < 64 - (t + 3) * 256, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
            T.ptx.cp("async", "commit_group", "")
            if t + 1 < 1:
                T.evaluate(0)
            buffer_2 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 4096 + thread % 32 % 16 * 256 + (thread % 32 // 16 + 2 * (thread // 32) ^ thread % 32 % 16 % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            buffer_3 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[16384 + t % 4 * 4096 + (thread % 32 % 8 + thread % 32 // 16 * 8) * 256 + (thread % 32 // 8 % 2 + 2 * (thread // 32) ^ (thread % 32 % 8 + thread % 32 // 16 * 8) % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_3[0], buffer_3[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "s8", "s8", "s32", "", "", "")
            T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_3[2], buffer_3[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "s8", "s8", "s32", "", "", "")
        T.cuda.cta_sync()
        if thread // 32 > 0:
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 - 1) * 8 * 32 + thread % 32) * 4])), buffer_1[0], "", "", "", "shared", "", "", "", "u32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 1) * 32 + thread % 32) * 4])), buffer_1[1], "", "", "", "shared", "", "", "", "u32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 2) * 32 + thread % 32) * 4])), buffer_1[2], "", "", "", "shared", "", "", "", "u32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 3) * 32 + thread % 32) * 4])), buffer_1[3], "", "", "", "shared", "", "", "", "u32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 4) * 32 + thread % 32) * 4])), buffer_1[4], "", "", "", "shared", "", "", "", "u32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 5) * 32 + thread % 32) * 4])), buffer_1[5], "", "", "", "shared", "", "", "", "u32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 6) * 32 + thread % 32) * 4])), buffer_1[6], "", "", "", "shared", "", "", "", "u32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 7) * 32 + thread % 32) * 4])), buffer_1[7], "", "", "", "shared", "", "", "", "u32", "")
        T.cuda.cta_sync()
        if thread // 32 == 0:
            buffer_2: T.uint32
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(32 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(64 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(96 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(128 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(160 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(192 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(224 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(256 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(288 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(320 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(352 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(384 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(416 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(448 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(480 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(512 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(544 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(576 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(608 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(640 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(672 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(704 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(736 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(768 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(800 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(832 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(864 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(896 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(928 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(960 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(992 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1024 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1056 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1088 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1120 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1152 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1184 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1216 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1248 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1280 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1312 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1344 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1376 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1408 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1440 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1472 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1504 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1536 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1568 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1600 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1632 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1664 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1696 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1728 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1760 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
        if thread // 32 == 0:
            if buffer[0] + thread % 32 // 4 < v:
                if buffer[1] + thread % 32 % 4 * 2 < 33:
                    D[T.Cast("int64", buffer[0] + thread % 32 // 4), buffer[1] + thread % 32 % 4 * 2] = T.Cast("bfloat16", T.Cast("float32", T.reinterpret("int32", buffer_1[0])) * ActivationScale[buffer[0] + thread % 32 // 4] * ChannelScale[buffer[1] + thread % 32 % 4 * 2] + T.Cast("float32", Bias[buffer[1] + thread % 32 % 4 * 2]))
                if buffer[1] + thread % 32 % 4 * 2 + 1 < 33:
                    D[T.Cast("int64", buffer[0] + thread % 32 // 4), buffer[1] + thread % 32 % 4 * 2 + 1] = T.Cast("bfloat16", T.Cast("float32", T.reinterpret("int32", buffer_1[1])) * ActivationScale[buffer[0] + thread % 32 // 4] * ChannelScale[buffer[1] + thread % 32 % 4 * 2 + 1] + T.Cast("float32", Bias[buffer[1] + thread % 32 % 4 * 2 + 1]))
                if buffer[1] + (thread % 32 % 4 * 2 + 8) < 33:
                    D[T.Cast("int64", buffer[0] + thread % 32 // 4), buffer[1] + (thread % 32 % 4 * 2 + 8)] = T.Cast("bfloat16", T.Cast("float32", T.reinterpret("int32", buffer_1[4])) * ActivationScale[buffer[0] + thread % 32 // 4] * ChannelScale[buffer[1] + (thread % 32 % 4 * 2 + 8)] + T.Cast("float32", Bias[buffer[1] + (thread % 32 % 4 * 2 + 8)]))
                if buffer[1] + (thread % 32 % 4 * 2 + 8) + 1 < 33:
                    D[T.Cast("int64", buffer[0] + thread % 32 // 4), buffer[1] + (thread % 32 % 4 * 2 + 8) + 1] = T.Cast("bfloat16", T.Cast("float32", T.reinterpret("int32", buffer_1[5])) * ActivationScale[buffer[0] + thread % 32 // 4] * ChannelScale[buffer[1] + (thread % 32 % 4 * 2 + 8) + 1] + T.Cast("float32", Bias[buffer[1] + (thread % 32 % 4 * 2 + 8) + 1]))
            if buffer[0] + (thread % 32 // 4 + 8) < v:
                if buffer[1] + thread % 32 % 4 * 2 < 33:
                    D[T.Cast("int64", buffer[0] + (thread % 32 // 4 + 8)), buffer[1] + thread % 32 % 4 * 2] = T.Cast("bfloat16", T.Cast("float32", T.reinterpret("int32", buffer_1[2])) * ActivationScale[buffer[0] + (thread % 32 // 4 + 8)] * ChannelScale[buffer[1] + thread % 32 % 4 * 2] + T.Cast("float32", Bias[buffer[1] + thread % 32 % 4 * 2]))
                if buffer[1] + thread % 32 % 4 * 2 + 1 < 33:
                    D[T.Cast("int64", buffer[0] + (thread % 32 // 4 + 8)), buffer[1] + thread % 32 % 4 * 2 + 1] = T.Cast("bfloat16", T.Cast("float32", T.reinterpret("int32", buffer_1[3])) * ActivationScale[buffer[0] + (thread % 32 // 4 + 8)] * ChannelScale[buffer[1] + thread % 32 % 4 * 2 + 1] + T.Cast("float32", Bias[buffer[1] + thread % 32 % 4 * 2 + 1]))
                if buffer[1] + (thread % 32 % 4 * 2 + 8) < 33:
                    D[T.Cast("int64", buffer[0] + (thread % 32 // 4 + 8)), buffer[1] + (thread % 32 % 4 * 2 + 8)] = T.Cast("bfloat16", T.Cast("float32", T.reinterpret("int32", buffer_1[6])) * ActivationScale[buffer[0] + (thread % 32 // 4 + 8)] * ChannelScale[buffer[1] + (thread % 32 % 4 * 2 + 8)] + T.Cast("float32", Bias[buffer[1] + (thread % 32 % 4 * 2 + 8)]))
                if buffer[1] + (thread % 32 % 4 * 2 + 8) + 1 < 33:
                    D[T.Cast("int64", buffer[0] + (thread % 32 // 4 + 8)), buffer[1] + (thread % 32 % 4 * 2 + 8) + 1] = T.Cast("bfloat16", T.Cast("float32", T.reinterpret("int32", buffer_1[7])) * ActivationScale[buffer[0] + (thread % 32 // 4 + 8)] * ChannelScale[buffer[1] + (thread % 32 % 4 * 2 + 8) + 1] + T.Cast("float32", Bias[buffer[1] + (thread % 32 % 4 * 2 + 8) + 1]))
