# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m1(A: T.Buffer((1, 128), "float16"), B: T.Buffer((4, 512), "int8"), Scale: T.Buffer((64, 2), "float16"), Zeros: T.Buffer((2, 16), "int8"), D: T.Buffer((1, 64), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 1, "N": 64, "W_dtype": "uint2", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": True, "zeros_mode": "quantized"}, "bitquant.layout": "fragment", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"activations": "digits", "ahead": 1, "block_m": 1, "blocks_per_sm": 1, "chains": 4, "multicast": 1, "n_blocks_per_cta": 1, "n_tiles_per_warp": 1, "phase": 0, "split_k": 1, "stream_k": False, "unroll": 1, "warps_k": 4, "warps_n": 1, "weights": "registers"}, "origin": "default", "pipeline": "tirx", "refusals": {"wgmma": "needs M >= 8 (got 1)"}, "rule": "decode", "smem_bytes": 5760}, "tirx.kernel_launch_params": ["tirx.use_programtic_dependent_launch"]})
        T.attr({"tirx.device_entry": T.bool(True), "tirx.launch_bounds_min_blocks_per_sm": 1})
        block = T.cta_id([4])
        thread = T.thread_id([128])
        arena = T.alloc_buffer((5760,), "uint8", scope="shared.dyn", align=128)
        buffer = T.alloc_local((2,))
        buffer_1 = T.alloc_local((16,), "uint32")
        buffer_2 = T.alloc_local((8,), "uint32")
        buffer_3 = T.alloc_local((4,), "uint32")
        for v in T.unroll(4):
            buffer_3[v] = T.uint32(0)
        buffer_4 = T.alloc_local((4,))
        buffer_5 = T.alloc_local((4,))
        buffer_6 = T.alloc_local((4,), "float16")
        buffer_7 = T.alloc_local((4,), "uint8")
        if thread == 0:
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[5248])), T.uint32(0), "", "", "", "shared", "", "", "", "u32", "")
        if thread == 0:
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[5632])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[5640])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[5648])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[5656])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.fence("mbarrier_init", "release", "cluster", "")
            T.ptx.fence("proxy", "async", "shared::cta", "")
        if thread < 16:
            T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[5264 + thread * 16])), T.address_of(Scale[block * 16 + thread, 0]), 4, T.Select(T.bool(True), T.uint32(4), T.uint32(0)), "async", "ca", "shared", "global", "", "", "")
        T.ptx.cp("async", "commit_group", "")
        buffer_8: T.int32 = T.Div(block * 16, 16) * 512 + (thread // 32 * 512 + thread % 32 * 16)
        if thread // 32 < 1:
            T.ptx.ld(buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], T.address_of(B[0, buffer_8]), "", "", "global", "", "nc", "L1::no_allocate", "", "L2::256B", "v4", "u32", "")
        buffer_9: T.int32 = block * 16 + thread % 32 // 4
        buffer_7[0] = T.Cast("uint8", Zeros[T.min(thread // 32 * 128 // 64, 1), buffer_9 // 4]) >> T.Cast("uint8", buffer_9 % 4 * 2) & T.uint8(3)
        buffer_7[1] = T.Cast("uint8", Zeros[T.min((thread // 32 * 128 + 64) // 64, 1), buffer_9 // 4]) >> T.Cast("uint8", buffer_9 % 4 * 2) & T.uint8(3)
        buffer_10: T.int32 = block * 16 + 8 + thread % 32 // 4
        buffer_7[2] = T.Cast("uint8", Zeros[T.min(thread // 32 * 128 // 64, 1), buffer_10 // 4]) >> T.Cast("uint8", buffer_10 % 4 * 2) & T.uint8(3)
        buffer_7[3] = T.Cast("uint8", Zeros[T.min((thread // 32 * 128 + 64) // 64, 1), buffer_10 // 4]) >> T.Cast("uint8", buffer_10 % 4 * 2) & T.uint8(3)
        if T.bool(True):
            for v in range(1):
                if v * 128 + thread < 64 and (v * 128 + thread) % 64 * 16 >= 256:
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(v * 128 + thread) // 64 * 1040 + (v * 128 + thread) % 64 * 16])), T.uint32(0), T.uint32(0), T.uint32(0), T.uint32(0), "", "", "shared", "", "", "", "v4", "u32", "")
        T.ptx.cp(0, "async", "wait_group", "")
        T.cuda.cta_sync()
        T.ptx.griddepcontrol("wait", "")
        T.ptx.griddepcontrol("launch_dependents", "")
        buffer_11: T.int32 = T.max(T.min(256 - thread // 32 * 256, 256), 0)
        if T.bool(True):
            if thread % 32 == 0:
                T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[5632 + thread // 32 * 8])), T.Cast("uint32", T.max(T.min(256 - thread // 32 * 256, 256), 0)), "arrive", "expect_tx", "", "", "shared::cta", "b64", "")
            T.ptx.bar(T.uint32(4294967295), "warp", "sync", "")
            if thread % 32 < 1 and T.max(T.min(256 - thread // 32 * 256, 256), 0) > 0:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 * 1040 + thread // 32 * 256])), T.address_of(A[thread % 32, thread // 32 * 256 // 2]), T.Cast("uint32", buffer_11), T.cuda.cvta_generic_to_shared(T.address_of(arena[5632 + thread // 32 * 8])), "async", "bulk", "", "", "shared::cluster", "global", "mbarrier::complete_tx::bytes", "", "", "", "")
        T.cuda.mbarrier_wait(T.address_of(arena[5632 + thread // 32 * 8]), 0)
        buffer_12: T.int32 = thread % 32 // 4
        buffer_13: T.float32 = T.reinterpret("float32", T.Cast("uint32", 28 - thread % 32 // 4 % 2 * 4 + 127) << T.uint32(23))
        buffer_14: T.uint32
        for v in T.unroll(1):
            buffer_14 = T.uint32(0)
        for v in range(1):
            buffer_15: T.int32 = v * 8 + buffer_12
            if buffer_15 < 8:
                buffer_16: T.int32 = thread // 32 * 8 + buffer_15
                buffer_17: T.uint32
                T.ptx.ld(buffer_17, T.cuda.cvta_generic_to_shared(T.address_of(arena[2 * (buffer_16 // 2 * 32 + buffer_16 % 2 * 8 + thread % 32 % 4 * 2)])), "", "", "", "shared", "", "", "", "", "", "u32", "")
                buffer_18: T.uint32
                T.ptx.ld(buffer_18, T.cuda.cvta_generic_to_shared(T.address_of(arena[2 * (buffer_16 // 2 * 32 + buffer_16 % 2 * 8 + thread % 32 % 4 * 2 + 16)])), "", "", "", "shared", "", "", "", "", "", "u32", "")
                buffer_19: T.float32 = T.Cast("float32", T.reinterpret("float16", T.Cast("uint16", buffer_17 >> T.uint32(0) & T.uint32(65535)))) * buffer_13
                buffer_14 = T.max(buffer_14, T.reinterpret("uint32", buffer_19) & T.uint32(2147483647))
                buffer_20: T.float32 = T.Cast("float32", T.reinterpret("float16", T.Cast("uint16", buffer_18 >> T.uint32(0) & T.uint32(65535)))) * buffer_13
                buffer_14 = T.max(buffer_14, T.reinterpret("uint32", buffer_20) & T.uint32(2147483647))
                buffer_21: T.float32 = T.Cast("float32", T.reinterpret("float16", T.Cast("uint16", buffer_17 >> T.uint32(16) & T.uint32(65535)))) * buffer_13
                buffer_14 = T.max(buffer_14, T.reinterpret("uint32", buffer_21) & T.uint32(2147483647))
                buffer_22: T.float32 = T.Cast("float32", T.reinterpret("float16", T.Cast("uint16", buffer_18 >> T.uint32(16) & T.uint32(65535)))) * buffer_13
                buffer_14 = T.max(buffer_14, T.reinterpret("uint32", buffer_22) & T.uint32(2147483647))
                buffer_23: T.float32 = buffer_19 * T.float32(2.2737367544323206e-13) + T.float32(12582912.0)
                buffer_24: T.uint32 = T.reinterpret("uint32", buffer_23)
                buffer_25: T.float32 = buffer_19 - (buffer_23 - T.float32(12582912.0)) * T.float32(4398046511104.0)
                buffer_26: T.float32 = buffer_25 * T.float32(4.76837158203125e-07) + T.float32(12582912.0)
                buffer_27: T.uint32 = T.reinterpret("uint32", buffer_26)
                buffer_28: T.float32 = buffer_25 - (buffer_26 - T.float32(12582912.0)) * T.float32(2097152.0)
                buffer_29: T.float32 = buffer_28 + T.float32(12582912.0)
                buffer_30: T.uint32 = T.reinterpret("uint32", buffer_29)
                buffer_31: T.float32 = buffer_20 * T.float32(2.2737367544323206e-13) + T.float32(12582912.0)
                buffer_32: T.uint32 = T.reinterpret("uint32", buffer_31)
                buffer_33: T.float32 = buffer_20 - (buffer_31 - T.float32(12582912.0)) * T.float32(4398046511104.0)
                buffer_34: T.float32 = buffer_33 * T.float32(4.76837158203125e-07) + T.float32(12582912.0)
                buffer_35: T.uint32 = T.reinterpret("uint32", buffer_34)
                buffer_36: T.float32 = buffer_33 - (buffer_34 - T.float32(12582912.0)) * T.float32(2097152.0)
                buffer_37: T.float32 = buffer_36 + T.float32(12582912.0)
                buffer_38: T.uint32 = T.reinterpret("uint32", buffer_37)
                buffer_39: T.float32 = buffer_21 * T.float32(2.2737367544323206e-13) + T.float32(12582912.0)
                buffer_40: T.uint32 = T.reinterpret("uint32", buffer_39)
                buffer_41: T.float32 = buffer_21 - (buffer_39 - T.float32(12582912.0)) * T.float32(4398046511104.0)
                buffer_42: T.float32 = buffer_41 * T.float32(4.76837158203125e-07) + T.float32(12582912.0)
                buffer_43: T.uint32 = T.reinterpret("uint32", buffer_42)
                buffer_44: T.float32 = buffer_41 - (buffer_42 - T.float32(12582912.0)) * T.float32(2097152.0)
                buffer_45: T.float32 = buffer_44 + T.float32(12582912.0)
                buffer_46: T.uint32 = T.reinterpret("uint32", buffer_45)
                buffer_47: T.float32 = buffer_22 * T.float32(2.2737367544323206e-13) + T.float32(12582912.0)
                buffer_48: T.uint32 = T.reinterpret("uint32", buffer_47)
                buffer_49: T.float32 = buffer_22 - (buffer_47 - T.float32(12582912.0)) * T.float32(4398046511104.0)
                buffer_50: T.float32 = buffer_49 * T.float32(4.76837158203125e-07) + T.float32(12582912.0)
                buffer_51: T.uint32 = T.reinterpret("uint32", buffer_50)
                buffer_52: T.float32 = buffer_49 - (buffer_50 - T.float32(12582912.0)) * T.float32(2097152.0)
                buffer_53: T.float32 = buffer_52 + T.float32(12582912.0)
                buffer_54: T.uint32 = T.reinterpret("uint32", buffer_53)
                buffer_55: T.uint32 = buffer_30 + T.uint32(3033538624)
                buffer_56: T.uint32 = buffer_55 << T.uint32(0) & T.uint32(127) | buffer_55 << T.uint32(1) & T.uint32(32512) | buffer_55 << T.uint32(2) & T.uint32(16711680)
                buffer_57: T.uint32 = buffer_38 + T.uint32(3033538624)
                buffer_58: T.uint32 = buffer_57 << T.uint32(0) & T.uint32(127) | buffer_57 << T.uint32(1) & T.uint32(32512) | buffer_57 << T.uint32(2) & T.uint32(16711680)
                buffer_59: T.uint32 = buffer_46 + T.uint32(3033538624)
                buffer_60: T.uint32 = buffer_59 << T.uint32(0) & T.uint32(127) | buffer_59 << T.uint32(1) & T.uint32(32512) | buffer_59 << T.uint32(2) & T.uint32(16711680)
                buffer_61: T.uint32 = buffer_54 + T.uint32(3033538624)
                buffer_62: T.uint32 = buffer_61 << T.uint32(0) & T.uint32(127) | buffer_61 << T.uint32(1) & T.uint32(32512) | buffer_61 << T.uint32(2) & T.uint32(16711680)
                buffer_63: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_56, buffer_58, T.uint32(20800))
                buffer_64: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_60, buffer_62, T.uint32(20800))
                buffer_65: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_56, buffer_58, T.uint32(29538))
                buffer_66: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_60, buffer_62, T.uint32(29538))
                buffer_67: T.uint32 = buffer_27 + T.uint32(3033538624)
                buffer_68: T.uint32 = buffer_67 << T.uint32(0) & T.uint32(127) | buffer_67 << T.uint32(1) & T.uint32(32512) | buffer_67 << T.uint32(2) & T.uint32(16711680)
                buffer_69: T.uint32 = buffer_35 + T.uint32(3033538624)
                buffer_70: T.uint32 = buffer_69 << T.uint32(0) & T.uint32(127) | buffer_69 << T.uint32(1) & T.uint32(32512) | buffer_69 << T.uint32(2) & T.uint32(16711680)
                buffer_71: T.uint32 = buffer_43 + T.uint32(3033538624)
                buffer_72: T.uint32 = buffer_71 << T.uint32(0) & T.uint32(127) | buffer_71 << T.uint32(1) & T.uint32(32512) | buffer_71 << T.uint32(2) & T.uint32(16711680)
                buffer_73: T.uint32 = buffer_51 + T.uint32(3033538624)
                buffer_74: T.uint32 = buffer_73 << T.uint32(0) & T.uint32(127) | buffer_73 << T.uint32(1) & T.uint32(32512) | buffer_73 << T.uint32(2) & T.uint32(16711680)
                buffer_75: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_68, buffer_70, T.uint32(20800))
                buffer_76: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_72, buffer_74, T.uint32(20800))
                buffer_77: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_68, buffer_70, T.uint32(29538))
                buffer_78: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_72, buffer_74, T.uint32(29538))
                buffer_79: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_24, buffer_32, T.uint32(20800))
                buffer_80: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_40, buffer_48, T.uint32(20800))
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[1152 + buffer_16 // 4 * 512 + thread % 32 % 4 * 16 + buffer_16 % 4 * 4])), T.call_pure_extern("uint32", "__byte_perm", buffer_63, buffer_64, T.uint32(21520)) + T.uint32(1077952576) ^ T.uint32(2155905152), "", "", "", "shared", "", "", "", "u32", "")
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[1152 + buffer_16 // 4 * 512 + thread % 32 % 4 * 16 + buffer_16 % 4 * 4 + 64])), T.call_pure_extern("uint32", "__byte_perm", buffer_63, buffer_64, T.uint32(30258)) + T.uint32(1077952576) ^ T.uint32(2155905152), "", "", "", "shared", "", "", "", "u32", "")
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[1152 + buffer_16 // 4 * 512 + thread % 32 % 4 * 16 + buffer_16 % 4 * 4 + 128])), T.call_pure_extern("uint32", "__byte_perm", buffer_65, buffer_66, T.uint32(21520)) + T.uint32(1077952576) ^ T.uint32(2155905152), "", "", "", "shared", "", "", "", "u32", "")
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[1152 + buffer_16 // 4 * 512 + thread % 32 % 4 * 16 + buffer_16 % 4 * 4 + 192])), T.call_pure_extern("uint32", "__byte_perm", buffer_75, buffer_76, T.uint32(21520)) + T.uint32(1077952576) ^ T.uint32(2155905152), "", "", "", "shared", "", "", "", "u32", "")
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[1152 + buffer_16 // 4 * 512 + thread % 32 % 4 * 16 + buffer_16 % 4 * 4 + 256])), T.call_pure_extern("uint32", "__byte_perm", buffer_75, buffer_76, T.uint32(30258)) + T.uint32(1077952576) ^ T.uint32(2155905152), "", "", "", "shared", "", "", "", "u32", "")
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[1152 + buffer_16 // 4 * 512 + thread % 32 % 4 * 16 + buffer_16 % 4 * 4 + 320])), T.call_pure_extern("uint32", "__byte_perm", buffer_77, buffer_78, T.uint32(21520)) + T.uint32(1077952576) ^ T.uint32(2155905152), "", "", "", "shared", "", "", "", "u32", "")
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[1152 + buffer_16 // 4 * 512 + thread % 32 % 4 * 16 + buffer_16 % 4 * 4 + 384])), T.call_pure_extern("uint32", "__byte_perm", buffer_79, buffer_80, T.uint32(21520)), "", "", "", "shared", "", "", "", "u32", "")
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[1152 + buffer_16 // 4 * 512 + thread % 32 % 4 * 16 + buffer_16 % 4 * 4 + 448])), T.uint32(0), "", "", "", "shared", "", "", "", "u32", "")
        if buffer_14 >= T.uint32(2139095040):
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[5248])), T.uint32(2147483647), "", "", "", "shared", "", "", "", "u32", "")
        T.cuda.cta_sync()
        buffer_15: T.uint32
        T.ptx.ld(buffer_15, T.cuda.cvta_generic_to_shared(T.address_of(arena[5248])), "", "", "", "shared", "", "", "", "", "", "u32", "")
        for iteration in range(1):
            for v in T.unroll(2):
                buffer[v] = T.float32(0.0)
            T.cuda.mbarrier_wait(T.address_of(arena[5632 + thread // 32 * 8]), 0)
            for body in range(1):
                buffer_16: T.uint16
                T.ptx.ld(buffer_16, T.cuda.cvta_generic_to_shared(T.address_of(arena[5264 + thread % 32 // 4 * 16 + T.min((thread // 32 + body) * 128 // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_4[0] = T.Cast("float32", T.reinterpret("float16", buffer_16))
                buffer_5[0] = T.Cast("float32", buffer_7[0])
                buffer_17: T.uint16
                T.ptx.ld(buffer_17, T.cuda.cvta_generic_to_shared(T.address_of(arena[5264 + thread % 32 // 4 * 16 + T.min(((thread // 32 + body) * 128 + 64) // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_4[1] = T.Cast("float32", T.reinterpret("float16", buffer_17))
                buffer_5[1] = T.Cast("float32", buffer_7[1])
                buffer_18: T.uint16
                T.ptx.ld(buffer_18, T.cuda.cvta_generic_to_shared(T.address_of(arena[5264 + (8 + thread % 32 // 4) * 16 + T.min((thread // 32 + body) * 128 // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_4[2] = T.Cast("float32", T.reinterpret("float16", buffer_18))
                buffer_5[2] = T.Cast("float32", buffer_7[2])
                buffer_19: T.uint16
                T.ptx.ld(buffer_19, T.cuda.cvta_generic_to_shared(T.address_of(arena[5264 + (8 + thread % 32 // 4) * 16 + T.min(((thread // 32 + body) * 128 + 64) // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_4[3] = T.Cast("float32", T.reinterpret("float16", buffer_19))
                buffer_5[3] = T.Cast("float32", buffer_7[3])
                if body + 1 < 1:
                    buffer_20: T.int32 = block * 16 + thread % 32 // 4
                    buffer_7[0] = T.Cast("uint8", Zeros[T.min((thread // 32 + (body + 1)) * 128 // 64, 1), buffer_20 // 4]) >> T.Cast("uint8", buffer_20 % 4 * 2) & T.uint8(3)
                    buffer_7[1] = T.Cast("uint8", Zeros[T.min(((thread // 32 + (body + 1)) * 128 + 64) // 64, 1), buffer_20 // 4]) >> T.Cast("uint8", buffer_20 % 4 * 2) & T.uint8(3)
                    buffer_21: T.int32 = block * 16 + 8 + thread % 32 // 4
                    buffer_7[2] = T.Cast("uint8", Zeros[T.min((thread // 32 + (body + 1)) * 128 // 64, 1), buffer_21 // 4]) >> T.Cast("uint8", buffer_21 % 4 * 2) & T.uint8(3)
                    buffer_7[3] = T.Cast("uint8", Zeros[T.min(((thread // 32 + (body + 1)) * 128 + 64) // 64, 1), buffer_21 // 4]) >> T.Cast("uint8", buffer_21 % 4 * 2) & T.uint8(3)
                buffer_20 = T.alloc_local((4,), "uint32")
                buffer_20[0] = buffer_3[0]
                buffer_20[1] = buffer_3[1]
                buffer_20[2] = buffer_3[2]
                buffer_20[3] = buffer_3[3]
                buffer_21: T.int32 = T.Div(block * 16, 16) * 512 + ((thread // 32 + (body + 1)) * 512 + thread % 32 * 16)
                if body + 1 < 1:
                    if thread // 32 + (body + 1) < 1:
                        T.ptx.ld(buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], T.address_of(B[0, buffer_21]), "", "", "global", "", "nc", "L1::no_allocate", "", "L2::256B", "v4", "u32", "")
                buffer_22 = T.alloc_local((4,), "uint32")
                T.ptx.ld(buffer_22[0], buffer_22[1], buffer_22[2], buffer_22[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[1152 + (thread // 32 + body) * 2 * 512 + thread % 32 * 16])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                for v in T.unroll(16):
                    buffer_1[v] = T.uint32(0)
                for v in T.unroll(8):
                    buffer_2[v] = T.uint32(0)
                buffer_23: T.uint32 = buffer_20[0] & T.uint32(50529027)
                buffer_24: T.uint32 = buffer_20[0] & T.uint32(202116108)
                buffer_25: T.uint32 = buffer_20[0] & T.uint32(808464432)
                buffer_26: T.uint32 = buffer_20[0] & T.uint32(3233857728)
                T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_23, buffer_24, buffer_25, buffer_26, buffer_22[0], buffer_22[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "u8", "s8", "s32", "", "", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(16843009), T.uint32(67372036), T.uint32(269488144), T.uint32(1077952576), buffer_22[0], buffer_22[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "u8", "s8", "s32", "", "", "")
                buffer_27: T.uint32 = buffer_20[1] & T.uint32(50529027)
                buffer_28: T.uint32 = buffer_20[1] & T.uint32(202116108)
                buffer_29: T.uint32 = buffer_20[1] & T.uint32(808464432)
                buffer_30: T.uint32 = buffer_20[1] & T.uint32(3233857728)
                T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_27, buffer_28, buffer_29, buffer_30, buffer_22[2], buffer_22[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "u8", "s8", "s32", "", "", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(16843009), T.uint32(67372036), T.uint32(269488144), T.uint32(1077952576), buffer_22[2], buffer_22[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "u8", "s8", "s32", "", "", "")
                buffer_31: T.float32 = T.Cast("float32", (T.reinterpret("int32", buffer_2[1]) + T.reinterpret("int32", buffer_2[5])) * 128 + (T.reinterpret("int32", buffer_2[0]) + T.reinterpret("int32", buffer_2[4])))
                buffer_32: T.float32 = T.Cast("float32", (T.reinterpret("int32", buffer_2[3]) + T.reinterpret("int32", buffer_2[7])) * 128 + (T.reinterpret("int32", buffer_2[2]) + T.reinterpret("int32", buffer_2[6])))
                buffer_33: T.float32 = T.Cast("float32", (T.reinterpret("int32", buffer_1[1]) + T.reinterpret("int32", buffer_1[5])) * 128 + (T.reinterpret("int32", buffer_1[0]) + T.reinterpret("int32", buffer_1[4])))
                buffer[0] = buffer[0] + (buffer_33 - buffer_5[0] * buffer_31) * buffer_4[0]
                buffer_34: T.float32 = T.Cast("float32", (T.reinterpret("int32", buffer_1[3]) + T.reinterpret("int32", buffer_1[7])) * 128 + (T.reinterpret("int32", buffer_1[2]) + T.reinterpret("int32", buffer_1[6])))
                buffer[1] = buffer[1] + (buffer_34 - buffer_5[2] * buffer_32) * buffer_4[2]
                buffer_35 = T.alloc_local((4,), "uint32")
                T.ptx.ld(buffer_35[0], buffer_35[1], buffer_35[2], buffer_35[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[1152 + ((thread // 32 + body) * 2 + 1) * 512 + thread % 32 * 16])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                for v in T.unroll(16):
                    buffer_1[v] = T.uint32(0)
                for v in T.unroll(8):
                    buffer_2[v] = T.uint32(0)
                buffer_36: T.uint32 = buffer_20[2] & T.uint32(50529027)
                buffer_37: T.uint32 = buffer_20[2] & T.uint32(202116108)
                buffer_38: T.uint32 = buffer_20[2] & T.uint32(808464432)
                buffer_39: T.uint32 = buffer_20[2] & T.uint32(3233857728)
                T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_36, buffer_37, buffer_38, buffer_39, buffer_35[0], buffer_35[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "u8", "s8", "s32", "", "", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(16843009), T.uint32(67372036), T.uint32(269488144), T.uint32(1077952576), buffer_35[0], buffer_35[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "u8", "s8", "s32", "", "", "")
                buffer_40: T.uint32 = buffer_20[3] & T.uint32(50529027)
                buffer_41: T.uint32 = buffer_20[3] & T.uint32(202116108)
                buffer_42: T.uint32 = buffer_20[3] & T.uint32(808464432)
                buffer_43: T.uint32 = buffer_20[3] & T.uint32(3233857728)
                T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_40, buffer_41, buffer_42, buffer_43, buffer_35[2], buffer_35[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "u8", "s8", "s32", "", "", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(16843009), T.uint32(67372036), T.uint32(269488144), T.uint32(1077952576), buffer_35[2], buffer_35[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "u8", "s8", "s32", "", "", "")
                buffer_44: T.float32 = T.Cast("float32", (T.reinterpret("int32", buffer_2[1]) + T.reinterpret("int32", buffer_2[5])) * 128 + (T.reinterpret("int32", buffer_2[0]) + T.reinterpret("int32", buffer_2[4])))
                buffer_45: T.float32 = T.Cast("float32", (T.reinterpret("int32", buffer_2[3]) + T.reinterpret("int32", buffer_2[7])) * 128 + (T.reinterpret("int32", buffer_2[2]) + T.reinterpret("int32", buffer_2[6])))
                buffer_46: T.float32 = T.Cast("float32", (T.reinterpret("int32", buffer_1[1]) + T.reinterpret("int32", buffer_1[5])) * 128 + (T.reinterpret("int32", buffer_1[0]) + T.reinterpret("int32", buffer_1[4])))
                buffer[0] = buffer[0] + (buffer_46 - buffer_5[1] * buffer_44) * buffer_4[1]
                buffer_47: T.float32 = T.Cast("float32", (T.reinterpret("int32", buffer_1[3]) + T.reinterpret("int32", buffer_1[7])) * 128 + (T.reinterpret("int32", buffer_1[2]) + T.reinterpret("int32", buffer_1[6])))
                buffer[1] = buffer[1] + (buffer_47 - buffer_5[3] * buffer_45) * buffer_4[3]
            T.cuda.cta_sync()
            buffer_16: T.float32 = T.reinterpret("float32", T.Cast("uint32", thread % 32 % 4 * 14 + 127) << T.uint32(23))
            buffer_17: T.float32 = T.reinterpret("float32", buffer_15)
            buffer_18: T.float32 = buffer[0] * buffer_16
            buffer_18 = buffer_18 + T.tvm_warp_shuffle_xor(T.uint32(4294967295), buffer_18, 1, 32, 32)
            buffer_18 = buffer_18 + T.tvm_warp_shuffle_xor(T.uint32(4294967295), buffer_18, 2, 32, 32)
            if thread % 32 % 4 == 0:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(thread // 32 * 20 + thread % 32 // 4) * 4])), buffer_18 * T.float32(3.7252902984619141e-09) + buffer_17, "", "", "", "shared", "", "", "", "f32", "")
            buffer_18 = buffer[1] * buffer_16
            buffer_18 = buffer_18 + T.tvm_warp_shuffle_xor(T.uint32(4294967295), buffer_18, 1, 32, 32)
            buffer_18 = buffer_18 + T.tvm_warp_shuffle_xor(T.uint32(4294967295), buffer_18, 2, 32, 32)
            if thread % 32 % 4 == 0:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(thread // 32 * 20 + (8 + thread % 32 // 4)) * 4])), buffer_18 * T.float32(9.3132257461547852e-10) + buffer_17, "", "", "", "shared", "", "", "", "f32", "")
            T.cuda.cta_sync()
            if thread < 16:
                buffer_19 = T.alloc_local((4,))
                T.ptx.ld(buffer_19[0], T.cuda.cvta_generic_to_shared(T.address_of(arena[(thread // 16 * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                T.ptx.ld(buffer_19[1], T.cuda.cvta_generic_to_shared(T.address_of(arena[((1 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                T.ptx.ld(buffer_19[2], T.cuda.cvta_generic_to_shared(T.address_of(arena[((2 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                T.ptx.ld(buffer_19[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[((3 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                buffer_19[0] = buffer_19[0] + buffer_19[1]
                buffer_19[0] = buffer_19[0] + buffer_19[2]
                buffer_19[0] = buffer_19[0] + buffer_19[3]
                D[thread // 16, block * 16 + thread % 16] = T.Cast("float16", buffer_19[0])
