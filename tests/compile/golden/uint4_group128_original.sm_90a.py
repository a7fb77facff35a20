# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m1(A: T.Buffer((1, 1024), "float16"), B: T.Buffer((1024, 512), "int8"), Scale: T.Buffer((1024, 8), "float16"), Zeros: T.Buffer((1024, 8), "float16"), D: T.Buffer((1, 1024), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 1024, "M": [1, 16], "N": 1024, "W_dtype": "uint4", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": True, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"n_per_warp": 1, "warps": 4}, "origin": "default", "pipeline": "tirx", "refusals": {"decode": "reads the fragment weight layout (got plain)", "wgmma": "reads the fragment weight layout (got plain)", "wgmma_dense": "needs M >= 8 (got 1)"}, "rule": "gemv", "smem_bytes": 0}})
        T.attr({"tirx.device_entry": T.bool(True)})
        block = T.cta_id([256])
        thread = T.thread_id([128])
        total: T.float32
        w = T.alloc_local((4,), "uint32")
        a = T.alloc_local((16,), "uint32")
        dot: T.float32
        sum_of_a: T.float32
        for r in T.unroll(1):
            total = T.float32(0.0)
        for step in range(1):
            if step * 32 + thread % 32 < 32:
                for r in T.unroll(1):
                    for part in T.unroll(1):
                        T.ptx.ld(w[r * 4 + part * 4], w[r * 4 + part * 4 + 1], w[r * 4 + part * 4 + 2], w[r * 4 + part * 4 + 3], T.address_of(B[T.min(block * 4 + thread // 32 + r, 1023), (step * 32 + thread % 32) * 16 + part * 16]), "", "", "global", "", "nc", "", "", "", "v4", "u32", "")
                for part in T.unroll(4):
                    T.ptx.ld(a[part * 4], a[part * 4 + 1], a[part * 4 + 2], a[part * 4 + 3], T.address_of(A[0, (step * 32 + thread % 32) * 32 + part * 16 * 8 // 16]), "", "", "global", "", "nc", "", "", "", "v4", "u32", "")
                for r in T.unroll(1):
                    dot = T.float32(0.0)
                sum_of_a = T.float32(0.0)
                for i in T.unroll(32):
                    sum_of_a = sum_of_a + T.Cast("float32", T.reinterpret("float16", T.Cast("uint16", a[i // 2] >> T.Cast("uint32", i % 2 * 16))))
                    for r in T.unroll(1):
                        dot = dot + T.Cast("float32", T.reinterpret("float16", T.Cast("uint16", a[i // 2] >> T.Cast("uint32", i % 2 * 16)))) * T.Cast("float32", T.Cast("uint8", w[r * 4 + i // 2 // 4] >> T.Cast("uint32", i // 2 % 4 * 8)) >> T.Cast("uint8", i % 2 * 4) & T.uint8(15))
                for r in T.unroll(1):
                    total = total + (dot - T.Cast("float32", Zeros[T.min(block * 4 + thread // 32 + r, 1023), (step * 32 + thread % 32) * 32 // 128]) * sum_of_a) * T.Cast("float32", Scale[T.min(block * 4 + thread // 32 + r, 1023), (step * 32 + thread % 32) * 32 // 128])
        for r in T.unroll(1):
            for s in T.unroll(5):
                total = total + T.tvm_warp_shuffle_xor(T.uint32(4294967295), total, 16 >> s, 32, 32)
        for r in T.unroll(1):
            if thread % 32 == 0 and block * 4 + thread // 32 + r < 1024:
                D[0, block * 4 + thread // 32 + r] = T.Cast("float16", total)

    @T.prim_func
    def matmul_m16(A: T.Buffer(("v", 1024), "float16"), B: T.Buffer((1024, 512), "int8"), Scale: T.Buffer((1024, 8), "float16"), Zeros: T.Buffer((1024, 8), "float16"), D: T.Buffer((v, 1024), "float16")):
        v = T.int32()
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 1024, "M": [1, 16], "N": 1024, "W_dtype": "uint4", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": True, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "bitquant.schedule": {"hint": {"block_k": 256, "block_m": 16, "block_n": 16, "stages": 4, "warps_k": 8, "warps_m": 1, "warps_n": 1}, "origin": "default", "pipeline": "tirx", "refusals": {"decode": "reads the fragment weight layout (got plain)", "gemv": "needs M == 1 (got 16)", "wgmma": "reads the fragment weight layout (got plain)", "wgmma_dense": "needs W of A's type, float16 or bfloat16, without scales (got uint4)"}, "rule": "mma", "smem_bytes": 58368}})
        T.attr({"tirx.device_entry": T.bool(True)})
        block = T.cta_id([(v + 16 - 1) // 16 * 64])
        thread = T.thread_id([256])
        arena = T.alloc_buffer((58368,), "uint8", scope="shared.dyn", align=128)
        buffer = T.alloc_local((2,), "int32")
        buffer[0] = (block // 512 * 8 + block % 512 % T.min((v + 15) // 16 - block // 512 * 8, 8)) * 16
        buffer[1] = block % 512 // T.min((v + 15) // 16 - block // 512 * 8, 8) * 16
        buffer_1 = T.alloc_local((8,))
        for v_1 in T.unroll(8):
            buffer_1[v_1] = T.float32(0.0)
        buffer_2: T.uint32
        buffer_3: T.uint32
        buffer_4: T.uint32
        for t in T.unroll(3):
            if t < 4:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + thread // 32 * 512 + (thread % 32 * 16 // 16 ^ thread // 32 % 8) * 16 + thread % 32 * 16 % 16])), T.address_of(A[T.Cast("int64", buffer[0] + thread // 32), t * 256 + thread % 32 * 16 // 2]), 16, T.Select(thread // 32 < v - buffer[0], T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + (256 + thread) // 32 * 512 + ((256 + thread) % 32 * 16 // 16 ^ (256 + thread) // 32 % 8) * 16 + (256 + thread) % 32 * 16 % 16])), T.address_of(A[T.Cast("int64", buffer[0] + (256 + thread) // 32), t * 256 + (256 + thread) % 32 * 16 // 2]), 16, T.Select((256 + thread) // 32 < v - buffer[0], T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                if thread < 128:
                    T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + t % 4 * 2304 + thread // 8 * 144 + thread % 8 * 16])), T.address_of(B[buffer[1] + thread // 8, t * 128 + thread % 8 * 16]), 16, "async", "cg", "shared", "global", "", "L2::128B", "")
            T.ptx.cp("async", "commit_group", "")
        buffer_2 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.Cast("float32", Scale[T.min(buffer[1] + thread % 16, 1023), T.min(thread // 16 * 32 // 128, 7)])))) * T.uint32(65537)
        buffer_5 = T.alloc_local((2,))
        buffer_5[1] = T.Cast("float32", Zeros[T.min(buffer[1] + thread % 16, 1023), T.min(thread // 16 * 32 // 128, 7)])
        buffer_5[0] = T.max(T.min(T.nearbyint(buffer_5[1]), T.float32(512.0)), T.float32(-512.0))
        buffer_3 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.float32(-1024.0) - buffer_5[0]))) | T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.float32(-64.0) - buffer_5[0]))) << T.uint32(16)
        buffer_4 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.Select(buffer_5[0] == buffer_5[1], T.float32(0.0), (buffer_5[0] - buffer_5[1]) * T.Cast("float32", Scale[T.min(buffer[1] + thread % 16, 1023), T.min(thread // 16 * 32 // 128, 7)]))))) * T.uint32(65537)
        T.ptx.cp(2, "async", "wait_group", "")
        T.cuda.cta_sync()
        if thread < 128:
            buffer_6 = T.alloc_local((4,), "uint32")
            T.ptx.ld(buffer_6[0], buffer_6[1], buffer_6[2], buffer_6[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + thread % 16 * 144 + thread // 16 * 16])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
            buffer_7 = T.alloc_local((4,), "uint32")
            buffer_8: T.uint32
            T.ptx.fma(buffer_8, T.call_pure_extern("uint32", "__byte_perm", buffer_6[0], T.uint32(0), T.uint32(0)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_9: T.uint32
            T.ptx.fma(buffer_9, buffer_8, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_7[0] = buffer_9
            buffer_10: T.uint32
            T.ptx.fma(buffer_10, T.call_pure_extern("uint32", "__byte_perm", buffer_6[0], T.uint32(0), T.uint32(4369)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_11: T.uint32
            T.ptx.fma(buffer_11, buffer_10, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_7[1] = buffer_11
            buffer_12: T.uint32
            T.ptx.fma(buffer_12, T.call_pure_extern("uint32", "__byte_perm", buffer_6[0], T.uint32(0), T.uint32(8738)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_13: T.uint32
            T.ptx.fma(buffer_13, buffer_12, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_7[2] = buffer_13
            buffer_14: T.uint32
            T.ptx.fma(buffer_14, T.call_pure_extern("uint32", "__byte_perm", buffer_6[0], T.uint32(0), T.uint32(13107)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_15: T.uint32
            T.ptx.fma(buffer_15, buffer_14, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_7[3] = buffer_15
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[41984 + thread % 16 * 512 + (thread // 16 * 4 ^ thread % 16 % 8) * 16])), buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_16 = T.alloc_local((4,), "uint32")
            buffer_17: T.uint32
            T.ptx.fma(buffer_17, T.call_pure_extern("uint32", "__byte_perm", buffer_6[1], T.uint32(0), T.uint32(0)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_18: T.uint32
            T.ptx.fma(buffer_18, buffer_17, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_16[0] = buffer_18
            buffer_19: T.uint32
            T.ptx.fma(buffer_19, T.call_pure_extern("uint32", "__byte_perm", buffer_6[1], T.uint32(0), T.uint32(4369)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_20: T.uint32
            T.ptx.fma(buffer_20, buffer_19, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_16[1] = buffer_20
            buffer_21: T.uint32
            T.ptx.fma(buffer_21, T.call_pure_extern("uint32", "__byte_perm", buffer_6[1], T.uint32(0), T.uint32(8738)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_22: T.uint32
            T.ptx.fma(buffer_22, buffer_21, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_16[2] = buffer_22
            buffer_23: T.uint32
            T.ptx.fma(buffer_23, T.call_pure_extern("uint32", "__byte_perm", buffer_6[1], T.uint32(0), T.uint32(13107)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_24: T.uint32
            T.ptx.fma(buffer_24, buffer_23, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_16[3] = buffer_24
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[41984 + thread % 16 * 512 + (thread // 16 * 4 + 1 ^ thread % 16 % 8) * 16])), buffer_16[0], buffer_16[1], buffer_16[2], buffer_16[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_25 = T.alloc_local((4,), "uint32")
            buffer_26: T.uint32
            T.ptx.fma(buffer_26, T.call_pure_extern("uint32", "__byte_perm", buffer_6[2], T.uint32(0), T.uint32(0)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_27: T.uint32
            T.ptx.fma(buffer_27, buffer_26, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_25[0] = buffer_27
            buffer_28: T.uint32
            T.ptx.fma(buffer_28, T.call_pure_extern("uint32", "__byte_perm", buffer_6[2], T.uint32(0), T.uint32(4369)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_29: T.uint32
            T.ptx.fma(buffer_29, buffer_28, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_25[1] = buffer_29
            buffer_30: T.uint32
            T.ptx.fma(buffer_30, T.call_pure_extern("uint32", "__byte_perm", buffer_6[2], T.uint32(0), T.uint32(8738)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_31: T.uint32
            T.ptx.fma(buffer_31, buffer_30, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_25[2] = buffer_31
            buffer_32: T.uint32
            T.ptx.fma(buffer_32, T.call_pure_extern("uint32", "__byte_perm", buffer_6[2], T.uint32(0), T.uint32(13107)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_33: T.uint32
            T.ptx.fma(buffer_33, buffer_32, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_25[3] = buffer_33
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[41984 + thread % 16 * 512 + (thread // 16 * 4 + 2 ^ thread % 16 % 8) * 16])), buffer_25[0], buffer_25[1], buffer_25[2], buffer_25[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_34 = T.alloc_local((4,), "uint32")
            buffer_35: T.uint32
            T.ptx.fma(buffer_35, T.call_pure_extern("uint32", "__byte_perm", buffer_6[3], T.uint32(0), T.uint32(0)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_36: T.uint32
            T.ptx.fma(buffer_36, buffer_35, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_34[0] = buffer_36
            buffer_37: T.uint32
            T.ptx.fma(buffer_37, T.call_pure_extern("uint32", "__byte_perm", buffer_6[3], T.uint32(0), T.uint32(4369)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_38: T.uint32
            T.ptx.fma(buffer_38, buffer_37, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_34[1] = buffer_38
            buffer_39: T.uint32
            T.ptx.fma(buffer_39, T.call_pure_extern("uint32", "__byte_perm", buffer_6[3], T.uint32(0), T.uint32(8738)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_40: T.uint32
            T.ptx.fma(buffer_40, buffer_39, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_34[2] = buffer_40
            buffer_41: T.uint32
            T.ptx.fma(buffer_41, T.call_pure_extern("uint32", "__byte_perm", buffer_6[3], T.uint32(0), T.uint32(13107)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
            buffer_42: T.uint32
            T.ptx.fma(buffer_42, buffer_41, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_34[3] = buffer_42
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[41984 + thread % 16 * 512 + (thread // 16 * 4 + 3 ^ thread % 16 % 8) * 16])), buffer_34[0], buffer_34[1], buffer_34[2], buffer_34[3], "", "", "shared", "", "", "", "v4", "u32", "")
        buffer_2 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.Cast("float32", Scale[T.min(buffer[1] + thread % 16, 1023), T.min((256 + thread // 16 * 32) // 128, 7)])))) * T.uint32(65537)
        buffer_6 = T.alloc_local((2,))
        buffer_6[1] = T.Cast("float32", Zeros[T.min(buffer[1] + thread % 16, 1023), T.min((256 + thread // 16 * 32) // 128, 7)])
        buffer_6[0] = T.max(T.min(T.nearbyint(buffer_6[1]), T.float32(512.0)), T.float32(-512.0))
        buffer_3 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.float32(-1024.0) - buffer_6[0]))) | T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.float32(-64.0) - buffer_6[0]))) << T.uint32(16)
        buffer_4 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.Select(buffer_6[0] == buffer_6[1], T.float32(0.0), (buffer_6[0] - buffer_6[1]) * T.Cast("float32", Scale[T.min(buffer[1] + thread % 16, 1023), T.min((256 + thread // 16 * 32) // 128, 7)]))))) * T.uint32(65537)
        for t in range(4):
            T.ptx.cp(1, "async", "wait_group", "")
            T.cuda.cta_sync()
            if t + 3 < 4:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[(t + 3) % 4 * 8192 + thread // 32 * 512 + (thread % 32 * 16 // 16 ^ thread // 32 % 8) * 16 + thread % 32 * 16 % 16])), T.address_of(A[T.Cast("int64", buffer[0] + thread // 32), (t + 3) * 256 + thread % 32 * 16 // 2]), 16, T.Select(thread // 32 < v - buffer[0], T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[(t + 3) % 4 * 8192 + (256 + thread) // 32 * 512 + ((256 + thread) % 32 * 16 // 16 ^ (256 + thread) // 32 % 8) * 16 + (256 + thread) % 32 * 16 % 16])), T.address_of(A[T.Cast("int64", buffer[0] + (256 + thread) // 32), (t + 3) * 256 + (256 + thread) % 32 * 16 // 2]), 16, T.Select((256 + thread) // 32 < v - buffer[0], T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                if thread < 128:
                    T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + (t + 3) % 4 * 2304 + thread // 8 * 144 + thread % 8 * 16])), T.address_of(B[buffer[1] + thread // 8, (t + 3) * 128 + thread % 8 * 16]), 16, "async", "cg", "shared", "global", "", "L2::128B", "")
            T.ptx.cp("async", "commit_group", "")
            if t + 1 < 4:
                if thread < 128:
                    buffer_7 = T.alloc_local((4,), "uint32")
                    T.ptx.ld(buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + (t + 1) % 4 * 2304 + thread % 16 * 144 + thread // 16 * 16])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                    buffer_8 = T.alloc_local((4,), "uint32")
                    buffer_9: T.uint32
                    T.ptx.fma(buffer_9, T.call_pure_extern("uint32", "__byte_perm", buffer_7[0], T.uint32(0), T.uint32(0)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_10: T.uint32
                    T.ptx.fma(buffer_10, buffer_9, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_8[0] = buffer_10
                    buffer_11: T.uint32
                    T.ptx.fma(buffer_11, T.call_pure_extern("uint32", "__byte_perm", buffer_7[0], T.uint32(0), T.uint32(4369)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_12: T.uint32
                    T.ptx.fma(buffer_12, buffer_11, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_8[1] = buffer_12
                    buffer_13: T.uint32
                    T.ptx.fma(buffer_13, T.call_pure_extern("uint32", "__byte_perm", buffer_7[0], T.uint32(0), T.uint32(8738)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_14: T.uint32
                    T.ptx.fma(buffer_14, buffer_13, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_8[2] = buffer_14
                    buffer_15: T.uint32
                    T.ptx.fma(buffer_15, T.call_pure_extern("uint32", "__byte_perm", buffer_7[0], T.uint32(0), T.uint32(13107)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_16: T.uint32
                    T.ptx.fma(buffer_16, buffer_15, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_8[3] = buffer_16
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[41984 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 ^ thread % 16 % 8) * 16])), buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_17 = T.alloc_local((4,), "uint32")
                    buffer_18: T.uint32
                    T.ptx.fma(buffer_18, T.call_pure_extern("uint32", "__byte_perm", buffer_7[1], T.uint32(0), T.uint32(0)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_19: T.uint32
                    T.ptx.fma(buffer_19, buffer_18, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_17[0] = buffer_19
                    buffer_20: T.uint32
                    T.ptx.fma(buffer_20, T.call_pure_extern("uint32", "__byte_perm", buffer_7[1], T.uint32(0), T.uint32(4369)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_21: T.uint32
                    T.ptx.fma(buffer_21, buffer_20, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_17[1] = buffer_21
                    buffer_22: T.uint32
                    T.ptx.fma(buffer_22, T.call_pure_extern("uint32", "__byte_perm", buffer_7[1], T.uint32(0), T.uint32(8738)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_23: T.uint32
                    T.ptx.fma(buffer_23, buffer_22, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_17[2] = buffer_23
                    buffer_24: T.uint32
                    T.ptx.fma(buffer_24, T.call_pure_extern("uint32", "__byte_perm", buffer_7[1], T.uint32(0), T.uint32(13107)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_25: T.uint32
                    T.ptx.fma(buffer_25, buffer_24, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_17[3] = buffer_25
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[41984 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 1 ^ thread % 16 % 8) * 16])), buffer_17[0], buffer_17[1], buffer_17[2], buffer_17[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_26 = T.alloc_local((4,), "uint32")
                    buffer_27: T.uint32
                    T.ptx.fma(buffer_27, T.call_pure_extern("uint32", "__byte_perm", buffer_7[2], T.uint32(0), T.uint32(0)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_28: T.uint32
                    T.ptx.fma(buffer_28, buffer_27, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_26[0] = buffer_28
                    buffer_29: T.uint32
                    T.ptx.fma(buffer_29, T.call_pure_extern("uint32", "__byte_perm", buffer_7[2], T.uint32(0), T.uint32(4369)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_30: T.uint32
                    T.ptx.fma(buffer_30, buffer_29, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_26[1] = buffer_30
                    buffer_31: T.uint32
                    T.ptx.fma(buffer_31, T.call_pure_extern("uint32", "__byte_perm", buffer_7[2], T.uint32(0), T.uint32(8738)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_32: T.uint32
                    T.ptx.fma(buffer_32, buffer_31, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_26[2] = buffer_32
                    buffer_33: T.uint32
                    T.ptx.fma(buffer_33, T.call_pure_extern("uint32", "__byte_perm", buffer_7[2], T.uint32(0), T.uint32(13107)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_34: T.uint32
                    T.ptx.fma(buffer_34, buffer_33, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_26[3] = buffer_34
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[41984 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 2 ^ thread % 16 % 8) * 16])), buffer_26[0], buffer_26[1], buffer_26[2], buffer_26[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_35 = T.alloc_local((4,), "uint32")
                    buffer_36: T.uint32
                    T.ptx.fma(buffer_36, T.call_pure_extern("uint32", "__byte_perm", buffer_7[3], T.uint32(0), T.uint32(0)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_37: T.uint32
                    T.ptx.fma(buffer_37, buffer_36, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_35[0] = buffer_37
                    buffer_38: T.uint32
                    T.ptx.fma(buffer_38, T.call_pure_extern("uint32", "__byte_perm", buffer_7[3], T.uint32(0), T.uint32(4369)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_39: T.uint32
                    T.ptx.fma(buffer_39, buffer_38, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_35[1] = buffer_39
                    buffer_40: T.uint32
                    T.ptx.fma(buffer_40, T.call_pure_extern("uint32", "__byte_perm", buffer_7[3], T.uint32(0), T.uint32(8738)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_41: T.uint32
                    T.ptx.fma(buffer_41, buffer_40, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_35[2] = buffer_41
                    buffer_42: T.uint32
                    T.ptx.fma(buffer_42, T.call_pure_extern("uint32", "__byte_perm", buffer_7[3], T.uint32(0), T.uint32(13107)) & T.uint32(15728655) | T.uint32(1677747200), T.uint32(738212864), buffer_3, "rn", "", "", "", "", "f16x2", "")
                    buffer_43: T.uint32
                    T.ptx.fma(buffer_43, buffer_42, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_35[3] = buffer_43
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[41984 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 3 ^ thread % 16 % 8) * 16])), buffer_35[0], buffer_35[1], buffer_35[2], buffer_35[3], "", "", "shared", "", "", "", "v4", "u32", "")
                buffer_2 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.Cast("float32", Scale[T.min(buffer[1] + thread % 16, 1023), T.min(((t + 1 + 1) * 256 + thread // 16 * 32) // 128, 7)])))) * T.uint32(65537)
                buffer_7 = T.alloc_local((2,))
                buffer_7[1] = T.Cast("float32", Zeros[T.min(buffer[1] + thread % 16, 1023), T.min(((t + 1 + 1) * 256 + thread // 16 * 32) // 128, 7)])
                buffer_7[0] = T.max(T.min(T.nearbyint(buffer_7[1]), T.float32(512.0)), T.float32(-512.0))
                buffer_3 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.float32(-1024.0) - buffer_7[0]))) | T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.float32(-64.0) - buffer_7[0]))) << T.uint32(16)
                buffer_4 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.Select(buffer_7[0] == buffer_7[1], T.float32(0.0), (buffer_7[0] - buffer_7[1]) * T.Cast("float32", Scale[T.min(buffer[1] + thread % 16, 1023), T.min(((t + 1 + 1) * 256 + thread // 16 * 32) // 128, 7)]))))) * T.uint32(65537)
            buffer_7 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + thread % 32 % 16 * 512 + (thread % 32 // 16 + 2 * (thread // 32 * 2) ^ thread % 32 % 16 % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            buffer_8 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[41984 + t % 2 * 8192 + (thread % 32 % 8 + thread % 32 // 16 * 8) * 512 + (thread % 32 // 8 % 2 + 2 * (thread // 32 * 2) ^ (thread % 32 % 8 + thread % 32 // 16 * 8) % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], buffer_8[0], buffer_8[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], buffer_8[2], buffer_8[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            buffer_9 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_9[0], buffer_9[1], buffer_9[2], buffer_9[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + thread % 32 % 16 * 512 + (thread % 32 // 16 + 2 * (thread // 32 * 2 + 1) ^ thread % 32 % 16 % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            buffer_10 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_10[0], buffer_10[1], buffer_10[2], buffer_10[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[41984 + t % 2 * 8192 + (thread % 32 % 8 + thread % 32 // 16 * 8) * 512 + (thread % 32 // 8 % 2 + 2 * (thread // 32 * 2 + 1) ^ (thread % 32 % 8 + thread % 32 // 16 * 8) % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_9[0], buffer_9[1], buffer_9[2], buffer_9[3], buffer_10[0], buffer_10[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_9[0], buffer_9[1], buffer_9[2], buffer_9[3], buffer_10[2], buffer_10[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
        T.cuda.cta_sync()
        if thread // 32 > 0:
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 - 1) * 8 * 32 + thread % 32) * 4])), buffer_1[0], "", "", "", "shared", "", "", "", "f32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 1) * 32 + thread % 32) * 4])), buffer_1[1], "", "", "", "shared", "", "", "", "f32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 2) * 32 + thread % 32) * 4])), buffer_1[2], "", "", "", "shared", "", "", "", "f32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 3) * 32 + thread % 32) * 4])), buffer_1[3], "", "", "", "shared", "", "", "", "f32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 4) * 32 + thread % 32) * 4])), buffer_1[4], "", "", "", "shared", "", "", "", "f32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 5) * 32 + thread % 32) * 4])), buffer_1[5], "", "", "", "shared", "", "", "", "f32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 6) * 32 + thread % 32) * 4])), buffer_1[6], "", "", "", "shared", "", "", "", "f32", "")
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(((thread // 32 - 1) * 8 + 7) * 32 + thread % 32) * 4])), buffer_1[7], "", "", "", "shared", "", "", "", "f32", "")
        T.cuda.cta_sync()
        if thread // 32 == 0:
            buffer_7: T.float32
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(32 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(64 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(96 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(128 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(160 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(192 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(224 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(256 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(288 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(320 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(352 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(384 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(416 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(448 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(480 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(512 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(544 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(576 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(608 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(640 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(672 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(704 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(736 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(768 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(800 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(832 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(864 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(896 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(928 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(960 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(992 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1024 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1056 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1088 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1120 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1152 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1184 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1216 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1248 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1280 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1312 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1344 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1376 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1408 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1440 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1472 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1504 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1536 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1568 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1600 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1632 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1664 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1696 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1728 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_7
            T.ptx.ld(buffer_7, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1760 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_7
        if thread // 32 == 0:
            if buffer[0] + thread % 32 // 4 < v:
                buffer_7 = T.alloc_local((2,), "uint16")
                if buffer[1] + thread % 32 % 4 * 2 < 1024:
                    buffer_7[0] = T.reinterpret("uint16", T.Cast("float16", buffer_1[0]))
                    buffer_7[1] = T.reinterpret("uint16", T.Cast("float16", buffer_1[1]))
                    T.ptx.st(T.address_of(D[T.Cast("int64", buffer[0] + thread % 32 // 4), buffer[1] + thread % 32 % 4 * 2]), T.Cast("uint32", buffer_7[0]) | T.Cast("uint32", buffer_7[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
                buffer_8 = T.alloc_local((2,), "uint16")
                if buffer[1] + (thread % 32 % 4 * 2 + 8) < 1024:
                    buffer_8[0] = T.reinterpret("uint16", T.Cast("float16", buffer_1[4]))
                    buffer_8[1] = T.reinterpret("uint16", T.Cast("float16", buffer_1[5]))
                    T.ptx.st(T.address_of(D[T.Cast("int64", buffer[0] + thread % 32 // 4), buffer[1] + (thread % 32 % 4 * 2 + 8)]), T.Cast("uint32", buffer_8[0]) | T.Cast("uint32", buffer_8[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
            if buffer[0] + (thread % 32 // 4 + 8) < v:
                buffer_7 = T.alloc_local((2,), "uint16")
                if buffer[1] + thread % 32 % 4 * 2 < 1024:
                    buffer_7[0] = T.reinterpret("uint16", T.Cast("float16", buffer_1[2]))
                    buffer_7[1] = T.reinterpret("uint16", T.Cast("float16", buffer_1[3]))
                    T.ptx.st(T.address_of(D[T.Cast("int64", buffer[0] + (thread % 32 // 4 + 8)), buffer[1] + thread % 32 % 4 * 2]), T.Cast("uint32", buffer_7[0]) | T.Cast("uint32", buffer_7[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
                buffer_8 = T.alloc_local((2,), "uint16")
                if buffer[1] + (thread % 32 % 4 * 2 + 8) < 1024:
                    buffer_8[0] = T.reinterpret("uint16", T.Cast("float16", buffer_1[6]))
                    buffer_8[1] = T.reinterpret("uint16", T.Cast("float16", buffer_1[7]))
                    T.ptx.st(T.address_of(D[T.Cast("int64", buffer[0] + (thread % 32 // 4 + 8)), buffer[1] + (thread % 32 % 4 * 2 + 8)]), T.Cast("uint32", buffer_8[0]) | T.Cast("uint32", buffer_8[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
