# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m1(A: T.Buffer((1, 96), "float16"), B: T.Buffer((33, 36), "int8"), Scale: T.Buffer((33, 3), "float16"), Zeros: T.Buffer((33, 3), "float16"), Bias: T.Buffer((33,), "float16"), D: T.Buffer((1, 33), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 96, "M": [1, 16], "N": 33, "W_dtype": "int3", "accum_dtype": "float16", "group_size": 32, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": True, "with_scaling": True, "with_zeros": True, "zeros_mode": "rescale"}, "bitquant.layout": "plain", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"n_per_warp": 1, "warps": 4}, "origin": "default", "pipeline": "tirx", "refusals": {"decode": "reads the fragment weight layout (got plain)", "wgmma": "reads the fragment weight layout (got plain)", "wgmma_dense": "needs M >= 8 (got 1)"}, "rule": "gemv", "smem_bytes": 0}})
        T.attr({"tirx.device_entry": T.bool(True)})
        block = T.cta_id([9])
        thread = T.thread_id([128])
        total: T.float32
        w = T.alloc_local((3,), "uint32")
        a = T.alloc_local((16,), "uint32")
        dot: T.float32
        sum_of_a: T.float32
        for r in T.unroll(1):
            total = T.float32(0.0)
        for step in range(1):
            if step * 32 + thread % 32 < 3:
                for r in T.unroll(1):
                    for part in T.unroll(3):
                        T.ptx.ld(w[r * 3 + part], T.address_of(B[T.min(block * 4 + thread // 32 + r, 32), (step * 32 + thread % 32) * 12 + part * 4]), "", "", "", "global", "", "nc", "", "", "", "u32", "")
                for part in T.unroll(4):
                    T.ptx.ld(a[part * 4], a[part * 4 + 1], a[part * 4 + 2], a[part * 4 + 3], T.address_of(A[0, (step * 32 + thread % 32) * 32 + part * 16 * 8 // 16]), "", "", "global", "", "nc", "", "", "", "v4", "u32", "")
                for r in T.unroll(1):
                    dot = T.float32(0.0)
                sum_of_a = T.float32(0.0)
                for i in T.unroll(32):
                    sum_of_a = sum_of_a + T.Cast("float32", T.reinterpret("float16", T.Cast("uint16", a[i // 2] >> T.Cast("uint32", i % 2 * 16))))
                    for r in T.unroll(1):
                        dot = dot + T.Cast("float32", T.reinterpret("float16", T.Cast("uint16", a[i // 2] >> T.Cast("uint32", i % 2 * 16)))) * (T.Cast("float32", (T.Cast("uint8", w[r * 3 + i * 3 // 8 // 4] >> T.Cast("uint32", i * 3 // 8 % 4 * 8)) >> T.Cast("uint8", i * 3 % 8) | T.if_then_else(i * 3 % 8 + 3 > 8, T.Cast("uint8", w[r * 3 + (i * 3 // 8 + 1) // 4] >> T.Cast("uint32", (i * 3 // 8 + 1) % 4 * 8)), T.uint8(0)) << T.Cast("uint8", (8 - i * 3 % 8) % 8)) & T.uint8(7)) - T.float32(4.0))
                for r in T.unroll(1):
                    total = total + (dot * T.Cast("float32", Scale[T.min(block * 4 + thread // 32 + r, 32), (step * 32 + thread % 32) * 32 // 32]) - T.Cast("float32", Zeros[T.min(block * 4 + thread // 32 + r, 32), (step * 32 + thread % 32) * 32 // 32]) * sum_of_a)
        for r in T.unroll(1):
            for s in T.unroll(5):
                total = total + T.tvm_warp_shuffle_xor(T.uint32(4294967295), total, 16 >> s, 32, 32)
        for r in T.unroll(1):
            if thread % 32 == 0 and block * 4 + thread // 32 + r < 33:
                D[0, block * 4 + thread // 32 + r] = T.Cast("float16", total + T.Cast("float32", Bias[block * 4 + thread // 32 + r]))

    @T.prim_func
    def matmul_m16(A: T.Buffer(("v", 96), "float16"), B: T.Buffer((33, 36), "int8"), Scale: T.Buffer((33, 3), "float16"), Zeros: T.Buffer((33, 3), "float16"), Bias: T.Buffer((33,), "float16"), D: T.Buffer((v, 33), "float16")):
        v = T.int32()
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 96, "M": [1, 16], "N": 33, "W_dtype": "int3", "accum_dtype": "float16", "group_size": 32, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": True, "with_scaling": True, "with_zeros": True, "zeros_mode": "rescale"}, "bitquant.layout": "plain", "bitquant.rung": 16, "bitquant.schedule": {"hint": {"block_k": 256, "block_m": 16, "block_n": 16, "stages": 4, "warps_k": 8, "warps_m": 1, "warps_n": 1}, "origin": "default", "pipeline": "tirx", "refusals": {"decode": "reads the fragment weight layout (got plain)", "gemv": "needs M == 1 (got 16)", "wgmma": "reads the fragment weight layout (got plain)", "wgmma_dense": "needs W of A's type, float16 or bfloat16, without scales (got int3)"}, "rule": "mma", "smem_bytes": 56320}})
        T.attr({"tirx.device_entry": T.bool(True)})
        block = T.cta_id([(v + 16 - 1) // 16 * 3])
        thread = T.thread_id([256])
        arena = T.alloc_buffer((56320,), "uint8", scope="shared.dyn", align=128)
        buffer = T.alloc_local((2,), "int32")
        buffer[0] = (block // 24 * 8 + block % 24 % T.min((v + 15) // 16 - block // 24 * 8, 8)) * 16
        buffer[1] = block % 24 // T.min((v + 15) // 16 - block // 24 * 8, 8) * 16
        buffer_1 = T.alloc_local((8,))
        for v_1 in T.unroll(8):
            buffer_1[v_1] = T.float32(0.0)
        buffer_2: T.uint32
        buffer_3: T.uint32
        buffer_4: T.uint32
        for t in T.unroll(3):
            if t < 1:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + thread // 32 * 512 + (thread % 32 * 16 // 16 ^ thread // 32 % 8) * 16 + thread % 32 * 16 % 16])), T.address_of(A[T.Cast("int64", buffer[0] + thread // 32), t * 256 + thread % 32 * 16 // 2]), 16, T.Select(thread // 32 < v - buffer[0] and thread % 32 * 16 < (96 - t * 256) * 2, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + (256 + thread) // 32 * 512 + ((256 + thread) % 32 * 16 // 16 ^ (256 + thread) // 32 % 8) * 16 + (256 + thread) % 32 * 16 % 16])), T.address_of(A[T.Cast("int64", buffer[0] + (256 + thread) // 32), t * 256 + (256 + thread) % 32 * 16 // 2]), 16, T.Select((256 + thread) // 32 < v - buffer[0] and (256 + thread) % 32 * 16 < (96 - t * 256) * 2, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                if thread < 384:
                    T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + t % 4 * 1792 + thread // 24 * 112 + thread % 24 * 4])), T.address_of(B[buffer[1] + thread // 24, t * 96 + thread % 24 * 4]), 4, T.Select(thread // 24 < 33 - buffer[1] and thread % 24 * 4 < 36 - t * 96, T.uint32(4), T.uint32(0)), "async", "ca", "shared", "global", "", "", "")
                if 256 + thread < 384:
                    T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + t % 4 * 1792 + (256 + thread) // 24 * 112 + (256 + thread) % 24 * 4])), T.address_of(B[buffer[1] + (256 + thread) // 24, t * 96 + (256 + thread) % 24 * 4]), 4, T.Select((256 + thread) // 24 < 33 - buffer[1] and (256 + thread) % 24 * 4 < 36 - t * 96, T.uint32(4), T.uint32(0)), "async", "ca", "shared", "global", "", "", "")
            T.ptx.cp("async", "commit_group", "")
        buffer_2 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.Cast("float32", Scale[T.min(T.min(buffer[1] + thread % 16, 32), 32), T.min(thread // 16 * 32 // 32, 2)])))) * T.uint32(65537)
        buffer_4 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.float32(0.0) - T.Cast("float32", Zeros[T.min(T.min(buffer[1] + thread % 16, 32), 32), T.min(thread // 16 * 32 // 32, 2)])))) * T.uint32(65537)
        T.ptx.cp(2, "async", "wait_group", "")
        T.cuda.cta_sync()
        if thread < 128:
            buffer_5 = T.alloc_local((3,), "uint32")
            T.ptx.ld(buffer_5[0], T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + thread % 16 * 112 + thread // 16 * 12])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            T.ptx.ld(buffer_5[1], T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + thread % 16 * 112 + thread // 16 * 12 + 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            T.ptx.ld(buffer_5[2], T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + thread % 16 * 112 + thread // 16 * 12 + 8])), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_6 = T.alloc_local((4,), "uint32")
            buffer_7: T.uint32
            T.ptx.fma(buffer_7, buffer_5[0] << T.uint32(13) & T.uint32(458752) | (buffer_5[0] & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_8: T.uint32
            T.ptx.fma(buffer_8, buffer_7, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_6[0] = T.Select(96 - thread // 16 * 32 > 1, buffer_8, T.Select(96 - thread // 16 * 32 > 0, buffer_8 & T.uint32(65535), T.uint32(0)))
            buffer_9: T.uint32
            T.ptx.fma(buffer_9, buffer_5[0] << T.uint32(7) & T.uint32(458752) | (buffer_5[0] >> T.uint32(6) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_10: T.uint32
            T.ptx.fma(buffer_10, buffer_9, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_6[1] = T.Select(96 - thread // 16 * 32 > 3, buffer_10, T.Select(96 - thread // 16 * 32 > 2, buffer_10 & T.uint32(65535), T.uint32(0)))
            buffer_11: T.uint32
            T.ptx.fma(buffer_11, buffer_5[0] << T.uint32(1) & T.uint32(458752) | (buffer_5[0] >> T.uint32(12) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_12: T.uint32
            T.ptx.fma(buffer_12, buffer_11, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_6[2] = T.Select(96 - thread // 16 * 32 > 5, buffer_12, T.Select(96 - thread // 16 * 32 > 4, buffer_12 & T.uint32(65535), T.uint32(0)))
            buffer_13: T.uint32
            T.ptx.fma(buffer_13, buffer_5[0] >> T.uint32(5) & T.uint32(458752) | (buffer_5[0] >> T.uint32(18) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_14: T.uint32
            T.ptx.fma(buffer_14, buffer_13, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_6[3] = T.Select(96 - thread // 16 * 32 > 7, buffer_14, T.Select(96 - thread // 16 * 32 > 6, buffer_14 & T.uint32(65535), T.uint32(0)))
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[39936 + thread % 16 * 512 + (thread // 16 * 4 ^ thread % 16 % 8) * 16])), buffer_6[0], buffer_6[1], buffer_6[2], buffer_6[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_15 = T.alloc_local((4,), "uint32")
            buffer_16: T.uint32
            T.ptx.fma(buffer_16, buffer_5[0] >> T.uint32(11) & T.uint32(458752) | (buffer_5[0] >> T.uint32(24) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_17: T.uint32
            T.ptx.fma(buffer_17, buffer_16, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_15[0] = T.Select(96 - thread // 16 * 32 > 9, buffer_17, T.Select(96 - thread // 16 * 32 > 8, buffer_17 & T.uint32(65535), T.uint32(0)))
            buffer_18: T.uint32
            T.ptx.fma(buffer_18, buffer_5[1] << T.uint32(15) & T.uint32(458752) | ((buffer_5[0] >> T.uint32(30) | buffer_5[1] << T.uint32(2)) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_19: T.uint32
            T.ptx.fma(buffer_19, buffer_18, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_15[1] = T.Select(96 - thread // 16 * 32 > 11, buffer_19, T.Select(96 - thread // 16 * 32 > 10, buffer_19 & T.uint32(65535), T.uint32(0)))
            buffer_20: T.uint32
            T.ptx.fma(buffer_20, buffer_5[1] << T.uint32(9) & T.uint32(458752) | (buffer_5[1] >> T.uint32(4) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_21: T.uint32
            T.ptx.fma(buffer_21, buffer_20, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_15[2] = T.Select(96 - thread // 16 * 32 > 13, buffer_21, T.Select(96 - thread // 16 * 32 > 12, buffer_21 & T.uint32(65535), T.uint32(0)))
            buffer_22: T.uint32
            T.ptx.fma(buffer_22, buffer_5[1] << T.uint32(3) & T.uint32(458752) | (buffer_5[1] >> T.uint32(10) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_23: T.uint32
            T.ptx.fma(buffer_23, buffer_22, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_15[3] = T.Select(96 - thread // 16 * 32 > 15, buffer_23, T.Select(96 - thread // 16 * 32 > 14, buffer_23 & T.uint32(65535), T.uint32(0)))
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[39936 + thread % 16 * 512 + (thread // 16 * 4 + 1 ^ thread % 16 % 8) * 16])), buffer_15[0], buffer_15[1], buffer_15[2], buffer_15[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_24 = T.alloc_local((4,), "uint32")
            buffer_25: T.uint32
            T.ptx.fma(buffer_25, buffer_5[1] >> T.uint32(3) & T.uint32(458752) | (buffer_5[1] >> T.uint32(16) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_26: T.uint32
            T.ptx.fma(buffer_26, buffer_25, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_24[0] = T.Select(96 - thread // 16 * 32 > 17, buffer_26, T.Select(96 - thread // 16 * 32 > 16, buffer_26 & T.uint32(65535), T.uint32(0)))
            buffer_27: T.uint32
            T.ptx.fma(buffer_27, buffer_5[1] >> T.uint32(9) & T.uint32(458752) | (buffer_5[1] >> T.uint32(22) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_28: T.uint32
            T.ptx.fma(buffer_28, buffer_27, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_24[1] = T.Select(96 - thread // 16 * 32 > 19, buffer_28, T.Select(96 - thread // 16 * 32 > 18, buffer_28 & T.uint32(65535), T.uint32(0)))
            buffer_29: T.uint32
            T.ptx.fma(buffer_29, (buffer_5[1] >> T.uint32(31) | buffer_5[2] << T.uint32(1)) << T.uint32(16) & T.uint32(458752) | (buffer_5[1] >> T.uint32(28) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_30: T.uint32
            T.ptx.fma(buffer_30, buffer_29, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_24[2] = T.Select(96 - thread // 16 * 32 > 21, buffer_30, T.Select(96 - thread // 16 * 32 > 20, buffer_30 & T.uint32(65535), T.uint32(0)))
            buffer_31: T.uint32
            T.ptx.fma(buffer_31, buffer_5[2] << T.uint32(11) & T.uint32(458752) | (buffer_5[2] >> T.uint32(2) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_32: T.uint32
            T.ptx.fma(buffer_32, buffer_31, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_24[3] = T.Select(96 - thread // 16 * 32 > 23, buffer_32, T.Select(96 - thread // 16 * 32 > 22, buffer_32 & T.uint32(65535), T.uint32(0)))
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[39936 + thread % 16 * 512 + (thread // 16 * 4 + 2 ^ thread % 16 % 8) * 16])), buffer_24[0], buffer_24[1], buffer_24[2], buffer_24[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_33 = T.alloc_local((4,), "uint32")
            buffer_34: T.uint32
            T.ptx.fma(buffer_34, buffer_5[2] << T.uint32(5) & T.uint32(458752) | (buffer_5[2] >> T.uint32(8) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_35: T.uint32
            T.ptx.fma(buffer_35, buffer_34, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_33[0] = T.Select(96 - thread // 16 * 32 > 25, buffer_35, T.Select(96 - thread // 16 * 32 > 24, buffer_35 & T.uint32(65535), T.uint32(0)))
            buffer_36: T.uint32
            T.ptx.fma(buffer_36, buffer_5[2] >> T.uint32(1) & T.uint32(458752) | (buffer_5[2] >> T.uint32(14) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_37: T.uint32
            T.ptx.fma(buffer_37, buffer_36, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_33[1] = T.Select(96 - thread // 16 * 32 > 27, buffer_37, T.Select(96 - thread // 16 * 32 > 26, buffer_37 & T.uint32(65535), T.uint32(0)))
            buffer_38: T.uint32
            T.ptx.fma(buffer_38, buffer_5[2] >> T.uint32(7) & T.uint32(458752) | (buffer_5[2] >> T.uint32(20) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_39: T.uint32
            T.ptx.fma(buffer_39, buffer_38, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_33[2] = T.Select(96 - thread // 16 * 32 > 29, buffer_39, T.Select(96 - thread // 16 * 32 > 28, buffer_39 & T.uint32(65535), T.uint32(0)))
            buffer_40: T.uint32
            T.ptx.fma(buffer_40, buffer_5[2] >> T.uint32(13) & T.uint32(458752) | (buffer_5[2] >> T.uint32(26) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
            buffer_41: T.uint32
            T.ptx.fma(buffer_41, buffer_40, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
            buffer_33[3] = T.Select(96 - thread // 16 * 32 > 31, buffer_41, T.Select(96 - thread // 16 * 32 > 30, buffer_41 & T.uint32(65535), T.uint32(0)))
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[39936 + thread % 16 * 512 + (thread // 16 * 4 + 3 ^ thread % 16 % 8) * 16])), buffer_33[0], buffer_33[1], buffer_33[2], buffer_33[3], "", "", "shared", "", "", "", "v4", "u32", "")
        buffer_2 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.Cast("float32", Scale[T.min(T.min(buffer[1] + thread % 16, 32), 32), T.min((256 + thread // 16 * 32) // 32, 2)])))) * T.uint32(65537)
        buffer_4 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.float32(0.0) - T.Cast("float32", Zeros[T.min(T.min(buffer[1] + thread % 16, 32), 32), T.min((256 + thread // 16 * 32) // 32, 2)])))) * T.uint32(65537)
        for t in range(1):
            T.ptx.cp(1, "async", "wait_group", "")
            T.cuda.cta_sync()
            if t + 3 < 1:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[(t + 3) % 4 * 8192 + thread // 32 * 512 + (thread % 32 * 16 // 16 ^ thread // 32 % 8) * 16 + thread % 32 * 16 % 16])), T.address_of(A[T.Cast("int64", buffer[0] + thread // 32), (t + 3) * 256 + thread % 32 * 16 // 2]), 16, T.Select(thread // 32 < v - buffer[0] and thread % 32 * 16 < (96 - (t + 3) * 256) * 2, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[(t + 3) % 4 * 8192 + (256 + thread) // 32 * 512 + ((256 + thread) % 32 * 16 // 16 ^ (256 + thread) // 32 % 8) * 16 + (256 + thread) % 32 * 16 % 16])), T.address_of(A[T.Cast("int64", buffer[0] + (256 + thread) // 32), (t + 3) * 256 + (256 + thread) % 32 * 16 // 2]), 16, T.Select((256 + thread) // 32 < v - buffer[0] and (256 + thread) % 32 * 16 < (96 - (t + 3) * 256) * 2, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                if thread < 384:
                    T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + (t + 3) % 4 * 1792 + thread // 24 * 112 + thread % 24 * 4])), T.address_of(B[buffer[1] + thread // 24, (t + 3) * 96 + thread % 24 * 4]), 4, T.Select(thread // 24 < 33 - buffer[1] and thread % 24 * 4 < 36 - (t + 3) * 96, T.uint32(4), T.uint32(0)), "async", "ca", "shared", "global", "", "", "")
                if 256 + thread < 384:
                    T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + (t + 3) % 4 * 1792 + (256 + thread) // 24 * 112 + (256 + thread) % 24 * 4])), T.address_of(B[buffer[1] + (256 + thread) // 24, (t + 3) * 96 + (256 + thread) % 24 * 4]), 4, T.Select((256 + thread) // 24 < 33 - buffer[1] and (256 + thread) % 24 * 4 < 36 - (t + 3) * 96, T.uint32(4), T.uint32(0)), "async", "ca", "shared", "global", "", "", "")
            T.ptx.cp("async", "commit_group", "")
            if t + 1 < 1:
                if thread < 128:
                    buffer_5 = T.alloc_local((3,), "uint32")
                    T.ptx.ld(buffer_5[0], T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + (t + 1) % 4 * 1792 + thread % 16 * 112 + thread // 16 * 12])), "", "", "", "shared", "", "", "", "", "", "u32", "")
                    T.ptx.ld(buffer_5[1], T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + (t + 1) % 4 * 1792 + thread % 16 * 112 + thread // 16 * 12 + 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
                    T.ptx.ld(buffer_5[2], T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + (t + 1) % 4 * 1792 + thread % 16 * 112 + thread // 16 * 12 + 8])), "", "", "", "shared", "", "", "", "", "", "u32", "")
                    buffer_6 = T.alloc_local((4,), "uint32")
                    buffer_7: T.uint32
                    T.ptx.fma(buffer_7, buffer_5[0] << T.uint32(13) & T.uint32(458752) | (buffer_5[0] & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_8: T.uint32
                    T.ptx.fma(buffer_8, buffer_7, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_6[0] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 1, buffer_8, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 0, buffer_8 & T.uint32(65535), T.uint32(0)))
                    buffer_9: T.uint32
                    T.ptx.fma(buffer_9, buffer_5[0] << T.uint32(7) & T.uint32(458752) | (buffer_5[0] >> T.uint32(6) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_10: T.uint32
                    T.ptx.fma(buffer_10, buffer_9, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_6[1] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 3, buffer_10, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 2, buffer_10 & T.uint32(65535), T.uint32(0)))
                    buffer_11: T.uint32
                    T.ptx.fma(buffer_11, buffer_5[0] << T.uint32(1) & T.uint32(458752) | (buffer_5[0] >> T.uint32(12) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_12: T.uint32
                    T.ptx.fma(buffer_12, buffer_11, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_6[2] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 5, buffer_12, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 4, buffer_12 & T.uint32(65535), T.uint32(0)))
                    buffer_13: T.uint32
                    T.ptx.fma(buffer_13, buffer_5[0] >> T.uint32(5) & T.uint32(458752) | (buffer_5[0] >> T.uint32(18) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_14: T.uint32
                    T.ptx.fma(buffer_14, buffer_13, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_6[3] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 7, buffer_14, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 6, buffer_14 & T.uint32(65535), T.uint32(0)))
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[39936 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 ^ thread % 16 % 8) * 16])), buffer_6[0], buffer_6[1], buffer_6[2], buffer_6[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_15 = T.alloc_local((4,), "uint32")
                    buffer_16: T.uint32
                    T.ptx.fma(buffer_16, buffer_5[0] >> T.uint32(11) & T.uint32(458752) | (buffer_5[0] >> T.uint32(24) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_17: T.uint32
                    T.ptx.fma(buffer_17, buffer_16, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_15[0] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 9, buffer_17, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 8, buffer_17 & T.uint32(65535), T.uint32(0)))
                    buffer_18: T.uint32
                    T.ptx.fma(buffer_18, buffer_5[1] << T.uint32(15) & T.uint32(458752) | ((buffer_5[0] >> T.uint32(30) | buffer_5[1] << T.uint32(2)) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_19: T.uint32
                    T.ptx.fma(buffer_19, buffer_18, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_15[1] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 11, buffer_19, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 10, buffer_19 & T.uint32(65535), T.uint32(0)))
                    buffer_20: T.uint32
                    T.ptx.fma(buffer_20, buffer_5[1] << T.uint32(9) & T.uint32(458752) | (buffer_5[1] >> T.uint32(4) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_21: T.uint32
                    T.ptx.fma(buffer_21, buffer_20, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_15[2] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 13, buffer_21, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 12, buffer_21 & T.uint32(65535), T.uint32(0)))
                    buffer_22: T.uint32
                    T.ptx.fma(buffer_22, buffer_5[1] << T.uint32(3) & T.uint32(458752) | (buffer_5[1] >> T.uint32(10) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_23: T.uint32
                    T.ptx.fma(buffer_23, buffer_22, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_15[3] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 15, buffer_23, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 14, buffer_23 & T.uint32(65535), T.uint32(0)))
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[39936 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 1 ^ thread % 16 % 8) * 16])), buffer_15[0], buffer_15[1], buffer_15[2], buffer_15[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_24 = T.alloc_local((4,), "uint32")
                    buffer_25: T.uint32
                    T.ptx.fma(buffer_25, buffer_5[1] >> T.uint32(3) & T.uint32(458752) | (buffer_5[1] >> T.uint32(16) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_26: T.uint32
                    T.ptx.fma(buffer_26, buffer_25, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_24[0] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 17, buffer_26, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 16, buffer_26 & T.uint32(65535), T.uint32(0)))
                    buffer_27: T.uint32
                    T.ptx.fma(buffer_27, buffer_5[1] >> T.uint32(9) & T.uint32(458752) | (buffer_5[1] >> T.uint32(22) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_28: T.uint32
                    T.ptx.fma(buffer_28, buffer_27, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_24[1] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 19, buffer_28, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 18, buffer_28 & T.uint32(65535), T.uint32(0)))
                    buffer_29: T.uint32
                    T.ptx.fma(buffer_29, (buffer_5[1] >> T.uint32(31) | buffer_5[2] << T.uint32(1)) << T.uint32(16) & T.uint32(458752) | (buffer_5[1] >> T.uint32(28) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_30: T.uint32
                    T.ptx.fma(buffer_30, buffer_29, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_24[2] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 21, buffer_30, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 20, buffer_30 & T.uint32(65535), T.uint32(0)))
                    buffer_31: T.uint32
                    T.ptx.fma(buffer_31, buffer_5[2] << T.uint32(11) & T.uint32(458752) | (buffer_5[2] >> T.uint32(2) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_32: T.uint32
                    T.ptx.fma(buffer_32, buffer_31, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_24[3] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 23, buffer_32, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 22, buffer_32 & T.uint32(65535), T.uint32(0)))
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[39936 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 2 ^ thread % 16 % 8) * 16])), buffer_24[0], buffer_24[1], buffer_24[2], buffer_24[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_33 = T.alloc_local((4,), "uint32")
                    buffer_34: T.uint32
                    T.ptx.fma(buffer_34, buffer_5[2] << T.uint32(5) & T.uint32(458752) | (buffer_5[2] >> T.uint32(8) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_35: T.uint32
                    T.ptx.fma(buffer_35, buffer_34, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_33[0] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 25, buffer_35, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 24, buffer_35 & T.uint32(65535), T.uint32(0)))
                    buffer_36: T.uint32
                    T.ptx.fma(buffer_36, buffer_5[2] >> T.uint32(1) & T.uint32(458752) | (buffer_5[2] >> T.uint32(14) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_37: T.uint32
                    T.ptx.fma(buffer_37, buffer_36, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_33[1] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 27, buffer_37, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 26, buffer_37 & T.uint32(65535), T.uint32(0)))
                    buffer_38: T.uint32
                    T.ptx.fma(buffer_38, buffer_5[2] >> T.uint32(7) & T.uint32(458752) | (buffer_5[2] >> T.uint32(20) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_39: T.uint32
                    T.ptx.fma(buffer_39, buffer_38, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_33[2] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 29, buffer_39, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 28, buffer_39 & T.uint32(65535), T.uint32(0)))
                    buffer_40: T.uint32
                    T.ptx.fma(buffer_40, buffer_5[2] >> T.uint32(13) & T.uint32(458752) | (buffer_5[2] >> T.uint32(26) & T.uint32(7) | T.uint32(1677747200)), T.uint32(1006648320), T.uint32(3825525764), "rn", "", "", "", "", "f16x2", "")
                    buffer_41: T.uint32
                    T.ptx.fma(buffer_41, buffer_40, buffer_2, buffer_4, "rn", "", "", "", "", "f16x2", "")
                    buffer_33[3] = T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 31, buffer_41, T.Select(96 - (t + 1) * 256 - thread // 16 * 32 > 30, buffer_41 & T.uint32(65535), T.uint32(0)))
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[39936 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 3 ^ thread % 16 % 8) * 16])), buffer_33[0], buffer_33[1], buffer_33[2], buffer_33[3], "", "", "shared", "", "", "", "v4", "u32", "")
                buffer_2 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.Cast("float32", Scale[T.min(T.min(buffer[1] + thread % 16, 32), 32), T.min(((t + 1 + 1) * 256 + thread // 16 * 32) // 32, 2)])))) * T.uint32(65537)
                buffer_4 = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", T.float32(0.0) - T.Cast("float32", Zeros[T.min(T.min(buffer[1] + thread % 16, 32), 32), T.min(((t + 1 + 1) * 256 + thread // 16 * 32) // 32, 2)])))) * T.uint32(65537)
            buffer_5 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + thread % 32 % 16 * 512 + (thread % 32 // 16 + 2 * (thread // 32 * 2) ^ thread % 32 % 16 % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            buffer_6 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_6[0], buffer_6[1], buffer_6[2], buffer_6[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[39936 + t % 2 * 8192 + (thread % 32 % 8 + thread % 32 // 16 * 8) * 512 + (thread % 32 // 8 % 2 + 2 * (thread // 32 * 2) ^ (thread % 32 % 8 + thread % 32 // 16 * 8) % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_6[0], buffer_6[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_6[2], buffer_6[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            buffer_7 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + thread % 32 % 16 * 512 + (thread % 32 // 16 + 2 * (thread // 32 * 2 + 1) ^ thread % 32 % 16 % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            buffer_8 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[39936 + t % 2 * 8192 + (thread % 32 % 8 + thread % 32 // 16 * 8) * 512 + (thread % 32 // 8 % 2 + 2 * (thread // 32 * 2 + 1) ^ (thread % 32 % 8 + thread % 32 // 16 * 8) % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], buffer_8[0], buffer_8[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], buffer_8[2], buffer_8[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
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
            buffer_5: T.float32
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(32 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(64 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(96 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(128 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(160 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(192 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(224 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(256 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(288 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(320 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(352 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(384 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(416 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(448 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(480 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(512 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(544 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(576 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(608 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(640 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(672 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(704 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(736 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(768 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(800 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(832 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(864 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(896 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(928 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(960 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(992 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1024 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1056 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1088 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1120 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1152 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1184 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1216 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1248 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1280 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1312 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1344 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1376 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1408 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1440 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1472 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1504 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1536 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1568 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1600 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1632 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1664 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1696 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1728 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_5
            T.ptx.ld(buffer_5, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1760 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_5
        if thread // 32 == 0:
            if buffer[0] + thread % 32 // 4 < v:
                if buffer[1] + thread % 32 % 4 * 2 < 33:
                    D[T.Cast("int64", buffer[0] + thread % 32 // 4), buffer[1] + thread % 32 % 4 * 2] = T.Cast("float16", buffer_1[0] + T.Cast("float32", Bias[buffer[1] + thread % 32 % 4 * 2]))
                if buffer[1] + thread % 32 % 4 * 2 + 1 < 33:
                    D[T.Cast("int64", buffer[0] + thread % 32 // 4), buffer[1] + thread % 32 % 4 * 2 + 1] = T.Cast("float16", buffer_1[1] + T.Cast("float32", Bias[buffer[1] + thread % 32 % 4 * 2 + 1]))
                if buffer[1] + (thread % 32 % 4 * 2 + 8) < 33:
                    D[T.Cast("int64", buffer[0] + thread % 32 // 4), buffer[1] + (thread % 32 % 4 * 2 + 8)] = T.Cast("float16", buffer_1[4] + T.Cast("float32", Bias[buffer[1] + (thread % 32 % 4 * 2 + 8)]))
                if buffer[1] + (thread % 32 % 4 * 2 + 8) + 1 < 33:
                    D[T.Cast("int64", buffer[0] + thread % 32 // 4), buffer[1] + (thread % 32 % 4 * 2 + 8) + 1] = T.Cast("float16", buffer_1[5] + T.Cast("float32", Bias[buffer[1] + (thread % 32 % 4 * 2 + 8) + 1]))
            if buffer[0] + (thread % 32 // 4 + 8) < v:
                if buffer[1] + thread % 32 % 4 * 2 < 33:
                    D[T.Cast("int64", buffer[0] + (thread % 32 // 4 + 8)), buffer[1] + thread % 32 % 4 * 2] = T.Cast("float16", buffer_1[2] + T.Cast("float32", Bias[buffer[1] + thread % 32 % 4 * 2]))
                if buffer[1] + thread % 32 % 4 * 2 + 1 < 33:
                    D[T.Cast("int64", buffer[0] + (thread % 32 // 4 + 8)), buffer[1] + thread % 32 % 4 * 2 + 1] = T.Cast("float16", buffer_1[3] + T.Cast("float32", Bias[buffer[1] + thread % 32 % 4 * 2 + 1]))
                if buffer[1] + (thread % 32 % 4 * 2 + 8) < 33:
                    D[T.Cast("int64", buffer[0] + (thread % 32 // 4 + 8)), buffer[1] + (thread % 32 % 4 * 2 + 8)] = T.Cast("float16", buffer_1[6] + T.Cast("float32", Bias[buffer[1] + (thread % 32 % 4 * 2 + 8)]))
                if buffer[1] + (thread % 32 % 4 * 2 + 8) + 1 < 33:
                    D[T.Cast("int64", buffer[0] + (thread % 32 // 4 + 8)), buffer[1] + (thread % 32 % 4 * 2 + 8) + 1] = T.Cast("float16", buffer_1[7] + T.Cast("float32", Bias[buffer[1] + (thread % 32 % 4 * 2 + 8) + 1]))
