# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m1(A: T.Buffer((1, 128), "float16"), B: T.Buffer((4, 512), "int8"), Scale: T.Buffer((64, 2), "float16"), Zeros: T.Buffer((2, 16), "int8"), D: T.Buffer((1, 64), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 1, "N": 64, "W_dtype": "uint2", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": True, "zeros_mode": "quantized"}, "bitquant.layout": "fragment", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"ahead": 1, "block_m": 8, "blocks_per_sm": 1, "chains": 4, "phase": 0, "rows": 1, "split_k": 1, "unroll": 1, "warps_k": 4, "warps_n": 1, "waves": 1, "weights": "registers"}, "origin": "default", "pipeline": "tirx", "refusals": {"cpu": "reads the plain weight layout (got fragment)", "wgmma": "needs M >= 16 (got 1)"}, "rule": "decode", "smem_bytes": 1536}, "tirx.kernel_launch_params": ["tirx.use_programtic_dependent_launch"]})
        T.attr({"tirx.device_entry": T.bool(True), "tirx.launch_bounds_min_blocks_per_sm": 1})
        block = T.cta_id([4])
        thread = T.thread_id([128])
        arena = T.alloc_buffer((1536,), "uint8", scope="shared.dyn", align=128)
        buffer = T.alloc_local((4,))
        buffer_1 = T.alloc_local((16,))
        buffer_2 = T.alloc_local((8,))
        buffer_3 = T.alloc_local((4,), "uint32")
        for v in T.unroll(4):
            buffer_3[v] = T.uint32(0)
        buffer_4 = T.alloc_local((4,))
        buffer_5 = T.alloc_local((4,))
        buffer_6 = T.alloc_local((4,), "float16")
        buffer_7 = T.alloc_local((4,), "uint8")
        if thread == 0:
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[1408])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[1416])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[1424])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[1432])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.fence("mbarrier_init", "release", "cluster", "")
            T.ptx.fence("proxy", "async", "shared::cta", "")
        if thread < 16:
            T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[1040 + thread * 16])), T.address_of(Scale[block * 16 + thread, 0]), 4, T.Select(T.bool(True), T.uint32(4), T.uint32(0)), "async", "ca", "shared", "global", "", "", "")
        T.ptx.cp("async", "commit_group", "")
        if thread // 32 < 1:
            T.ptx.ld(buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], T.address_of(B[T.Div(block * 16, 16), thread // 32 * 512 + thread % 32 * 16]), "", "", "global", "", "nc", "L1::no_allocate", "", "L2::256B", "v4", "u32", "")
        buffer_8: T.int32 = block * 16 + thread % 32 // 4
        buffer_7[0] = T.Cast("uint8", Zeros[T.min(thread // 32 * 128 // 64, 1), buffer_8 // 4]) >> T.Cast("uint8", buffer_8 % 4 * 2) & T.uint8(3)
        buffer_7[1] = T.Cast("uint8", Zeros[T.min((thread // 32 * 128 + 64) // 64, 1), buffer_8 // 4]) >> T.Cast("uint8", buffer_8 % 4 * 2) & T.uint8(3)
        buffer_9: T.int32 = block * 16 + 8 + thread % 32 // 4
        buffer_7[2] = T.Cast("uint8", Zeros[T.min(thread // 32 * 128 // 64, 1), buffer_9 // 4]) >> T.Cast("uint8", buffer_9 % 4 * 2) & T.uint8(3)
        buffer_7[3] = T.Cast("uint8", Zeros[T.min((thread // 32 * 128 + 64) // 64, 1), buffer_9 // 4]) >> T.Cast("uint8", buffer_9 % 4 * 2) & T.uint8(3)
        if T.bool(True):
            for v in range(1):
                if v * 128 + thread < 64 and (v * 128 + thread) % 64 * 16 >= 256:
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(v * 128 + thread) // 64 * 1040 + (v * 128 + thread) % 64 * 16])), T.uint32(0), T.uint32(0), T.uint32(0), T.uint32(0), "", "", "shared", "", "", "", "v4", "u32", "")
        T.ptx.cp(0, "async", "wait_group", "")
        T.cuda.cta_sync()
        T.ptx.griddepcontrol("wait", "")
        T.ptx.griddepcontrol("launch_dependents", "")
        if T.bool(True):
            if thread % 32 == 0:
                T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[1408 + thread // 32 * 8])), T.Cast("uint32", T.max(T.min(256 - thread // 32 * 256, 256), 0)), "arrive", "expect_tx", "", "", "shared::cta", "b64", "")
            T.ptx.bar(T.uint32(4294967295), "warp", "sync", "")
            if thread % 32 < 1 and T.max(T.min(256 - thread // 32 * 256, 256), 0) > 0:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 * 1040 + thread // 32 * 256])), T.address_of(A[thread % 32, thread // 32 * 256 // 2]), T.Cast("uint32", T.max(T.min(256 - thread // 32 * 256, 256), 0)), T.cuda.cvta_generic_to_shared(T.address_of(arena[1408 + thread // 32 * 8])), "async", "bulk", "", "", "shared::cluster", "global", "mbarrier::complete_tx::bytes", "", "", "", "")
        for turn in range(1):
            for v in T.unroll(4):
                buffer[v] = T.float32(0.0)
            T.cuda.mbarrier_wait(T.address_of(arena[1408 + thread // 32 * 8]), 0)
            for body in range(1):
                buffer_10: T.uint16
                T.ptx.ld(buffer_10, T.cuda.cvta_generic_to_shared(T.address_of(arena[1040 + thread % 32 // 4 * 16 + T.min((thread // 32 + body) * 128 // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_4[0] = T.Cast("float32", T.reinterpret("float16", buffer_10)) * T.float32(512.0)
                buffer_5[0] = T.Cast("float32", buffer_7[0]) * T.float32(0.001953125)
                buffer_11: T.uint16
                T.ptx.ld(buffer_11, T.cuda.cvta_generic_to_shared(T.address_of(arena[1040 + thread % 32 // 4 * 16 + T.min(((thread // 32 + body) * 128 + 64) // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_4[1] = T.Cast("float32", T.reinterpret("float16", buffer_11)) * T.float32(512.0)
                buffer_5[1] = T.Cast("float32", buffer_7[1]) * T.float32(0.001953125)
                buffer_12: T.uint16
                T.ptx.ld(buffer_12, T.cuda.cvta_generic_to_shared(T.address_of(arena[1040 + (8 + thread % 32 // 4) * 16 + T.min((thread // 32 + body) * 128 // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_4[2] = T.Cast("float32", T.reinterpret("float16", buffer_12)) * T.float32(512.0)
                buffer_5[2] = T.Cast("float32", buffer_7[2]) * T.float32(0.001953125)
                buffer_13: T.uint16
                T.ptx.ld(buffer_13, T.cuda.cvta_generic_to_shared(T.address_of(arena[1040 + (8 + thread % 32 // 4) * 16 + T.min(((thread // 32 + body) * 128 + 64) // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_4[3] = T.Cast("float32", T.reinterpret("float16", buffer_13)) * T.float32(512.0)
                buffer_5[3] = T.Cast("float32", buffer_7[3]) * T.float32(0.001953125)
                if body + 1 < 1:
                    buffer_14: T.int32 = block * 16 + thread % 32 // 4
                    buffer_7[0] = T.Cast("uint8", Zeros[T.min((thread // 32 + (body + 1)) * 128 // 64, 1), buffer_14 // 4]) >> T.Cast("uint8", buffer_14 % 4 * 2) & T.uint8(3)
                    buffer_7[1] = T.Cast("uint8", Zeros[T.min(((thread // 32 + (body + 1)) * 128 + 64) // 64, 1), buffer_14 // 4]) >> T.Cast("uint8", buffer_14 % 4 * 2) & T.uint8(3)
                    buffer_15: T.int32 = block * 16 + 8 + thread % 32 // 4
                    buffer_7[2] = T.Cast("uint8", Zeros[T.min((thread // 32 + (body + 1)) * 128 // 64, 1), buffer_15 // 4]) >> T.Cast("uint8", buffer_15 % 4 * 2) & T.uint8(3)
                    buffer_7[3] = T.Cast("uint8", Zeros[T.min(((thread // 32 + (body + 1)) * 128 + 64) // 64, 1), buffer_15 // 4]) >> T.Cast("uint8", buffer_15 % 4 * 2) & T.uint8(3)
                buffer_14 = T.alloc_local((4,), "uint32")
                buffer_14[0] = buffer_3[0]
                buffer_14[1] = buffer_3[1]
                buffer_14[2] = buffer_3[2]
                buffer_14[3] = buffer_3[3]
                if body + 1 < 1:
                    if thread // 32 + (body + 1) < 1:
                        T.ptx.ld(buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], T.address_of(B[T.Div(block * 16, 16), (thread // 32 + (body + 1)) * 512 + thread % 32 * 16]), "", "", "global", "", "nc", "L1::no_allocate", "", "L2::256B", "v4", "u32", "")
                buffer_15 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_15[0], buffer_15[1], buffer_15[2], buffer_15[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 1040 + ((thread // 32 + body) * 128 * 16 // 8 + thread % 32 // 8 * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                for v in T.unroll(16):
                    buffer_1[v] = T.float32(0.0)
                for v in T.unroll(8):
                    buffer_2[v] = T.float32(0.0)
                buffer_16: T.uint32
                T.ptx.fma(buffer_16, buffer_14[0] & T.uint32(196611), T.uint32(2013296640), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_17: T.uint32 = buffer_16
                buffer_18: T.uint32
                T.ptx.fma(buffer_18, buffer_14[0] & T.uint32(786444), T.uint32(1879076864), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_19: T.uint32 = buffer_18
                buffer_20: T.uint32
                T.ptx.fma(buffer_20, buffer_14[0] & T.uint32(3145776), T.uint32(1744857088), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_21: T.uint32 = buffer_20
                buffer_22: T.uint32
                T.ptx.fma(buffer_22, buffer_14[0] & T.uint32(12583104), T.uint32(1610637312), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_23: T.uint32 = buffer_22
                T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_17, buffer_19, buffer_21, buffer_23, buffer_15[0], buffer_15[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), buffer_15[0], buffer_15[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_24: T.uint32
                T.ptx.fma(buffer_24, buffer_14[0] & T.uint32(50332416), T.uint32(1476417536), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_25: T.uint32 = buffer_24
                buffer_26: T.uint32
                T.ptx.fma(buffer_26, buffer_14[0] >> T.uint32(10) & T.uint32(196611), T.uint32(2013296640), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_27: T.uint32 = buffer_26
                buffer_28: T.uint32
                T.ptx.fma(buffer_28, buffer_14[0] >> T.uint32(10) & T.uint32(786444), T.uint32(1879076864), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_29: T.uint32 = buffer_28
                buffer_30: T.uint32
                T.ptx.fma(buffer_30, buffer_14[0] >> T.uint32(10) & T.uint32(3145776), T.uint32(1744857088), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_31: T.uint32 = buffer_30
                T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_25, buffer_27, buffer_29, buffer_31, buffer_15[2], buffer_15[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), buffer_15[2], buffer_15[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_32 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_32[0], buffer_32[1], buffer_32[2], buffer_32[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 1040 + (((thread // 32 + body) * 128 + 32) * 16 // 8 + thread % 32 // 8 * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                buffer_33: T.uint32
                T.ptx.fma(buffer_33, buffer_14[1] & T.uint32(196611), T.uint32(2013296640), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_34: T.uint32 = buffer_33
                buffer_35: T.uint32
                T.ptx.fma(buffer_35, buffer_14[1] & T.uint32(786444), T.uint32(1879076864), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_36: T.uint32 = buffer_35
                buffer_37: T.uint32
                T.ptx.fma(buffer_37, buffer_14[1] & T.uint32(3145776), T.uint32(1744857088), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_38: T.uint32 = buffer_37
                buffer_39: T.uint32
                T.ptx.fma(buffer_39, buffer_14[1] & T.uint32(12583104), T.uint32(1610637312), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_40: T.uint32 = buffer_39
                T.ptx.mma(buffer_1[8], buffer_1[9], buffer_1[10], buffer_1[11], buffer_34, buffer_36, buffer_38, buffer_40, buffer_32[0], buffer_32[1], buffer_1[8], buffer_1[9], buffer_1[10], buffer_1[11], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), buffer_32[0], buffer_32[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_41: T.uint32
                T.ptx.fma(buffer_41, buffer_14[1] & T.uint32(50332416), T.uint32(1476417536), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_42: T.uint32 = buffer_41
                buffer_43: T.uint32
                T.ptx.fma(buffer_43, buffer_14[1] >> T.uint32(10) & T.uint32(196611), T.uint32(2013296640), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_44: T.uint32 = buffer_43
                buffer_45: T.uint32
                T.ptx.fma(buffer_45, buffer_14[1] >> T.uint32(10) & T.uint32(786444), T.uint32(1879076864), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_46: T.uint32 = buffer_45
                buffer_47: T.uint32
                T.ptx.fma(buffer_47, buffer_14[1] >> T.uint32(10) & T.uint32(3145776), T.uint32(1744857088), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_48: T.uint32 = buffer_47
                T.ptx.mma(buffer_1[12], buffer_1[13], buffer_1[14], buffer_1[15], buffer_42, buffer_44, buffer_46, buffer_48, buffer_32[2], buffer_32[3], buffer_1[12], buffer_1[13], buffer_1[14], buffer_1[15], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), buffer_32[2], buffer_32[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_49 = T.alloc_local((2,))
                buffer_49[0] = buffer_2[0] + buffer_2[4]
                buffer_49[1] = buffer_2[1] + buffer_2[5]
                buffer[0] = buffer[0] + (buffer_1[0] + buffer_1[4] + (buffer_1[8] + buffer_1[12]) - buffer_5[0] * buffer_49[0]) * buffer_4[0]
                buffer[1] = buffer[1] + (buffer_1[1] + buffer_1[5] + (buffer_1[9] + buffer_1[13]) - buffer_5[0] * buffer_49[1]) * buffer_4[0]
                buffer[2] = buffer[2] + (buffer_1[2] + buffer_1[6] + (buffer_1[10] + buffer_1[14]) - buffer_5[2] * buffer_49[0]) * buffer_4[2]
                buffer[3] = buffer[3] + (buffer_1[3] + buffer_1[7] + (buffer_1[11] + buffer_1[15]) - buffer_5[2] * buffer_49[1]) * buffer_4[2]
                buffer_50 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_50[0], buffer_50[1], buffer_50[2], buffer_50[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 1040 + (((thread // 32 + body) * 128 + 64) * 16 // 8 + thread % 32 // 8 * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                for v in T.unroll(16):
                    buffer_1[v] = T.float32(0.0)
                for v in T.unroll(8):
                    buffer_2[v] = T.float32(0.0)
                buffer_51: T.uint32
                T.ptx.fma(buffer_51, buffer_14[2] & T.uint32(196611), T.uint32(2013296640), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_52: T.uint32 = buffer_51
                buffer_53: T.uint32
                T.ptx.fma(buffer_53, buffer_14[2] & T.uint32(786444), T.uint32(1879076864), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_54: T.uint32 = buffer_53
                buffer_55: T.uint32
                T.ptx.fma(buffer_55, buffer_14[2] & T.uint32(3145776), T.uint32(1744857088), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_56: T.uint32 = buffer_55
                buffer_57: T.uint32
                T.ptx.fma(buffer_57, buffer_14[2] & T.uint32(12583104), T.uint32(1610637312), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_58: T.uint32 = buffer_57
                T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_52, buffer_54, buffer_56, buffer_58, buffer_50[0], buffer_50[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), buffer_50[0], buffer_50[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_59: T.uint32
                T.ptx.fma(buffer_59, buffer_14[2] & T.uint32(50332416), T.uint32(1476417536), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_60: T.uint32 = buffer_59
                buffer_61: T.uint32
                T.ptx.fma(buffer_61, buffer_14[2] >> T.uint32(10) & T.uint32(196611), T.uint32(2013296640), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_62: T.uint32 = buffer_61
                buffer_63: T.uint32
                T.ptx.fma(buffer_63, buffer_14[2] >> T.uint32(10) & T.uint32(786444), T.uint32(1879076864), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_64: T.uint32 = buffer_63
                buffer_65: T.uint32
                T.ptx.fma(buffer_65, buffer_14[2] >> T.uint32(10) & T.uint32(3145776), T.uint32(1744857088), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_66: T.uint32 = buffer_65
                T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_60, buffer_62, buffer_64, buffer_66, buffer_50[2], buffer_50[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), buffer_50[2], buffer_50[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_67 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_67[0], buffer_67[1], buffer_67[2], buffer_67[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 1040 + (((thread // 32 + body) * 128 + 96) * 16 // 8 + thread % 32 // 8 * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                buffer_68: T.uint32
                T.ptx.fma(buffer_68, buffer_14[3] & T.uint32(196611), T.uint32(2013296640), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_69: T.uint32 = buffer_68
                buffer_70: T.uint32
                T.ptx.fma(buffer_70, buffer_14[3] & T.uint32(786444), T.uint32(1879076864), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_71: T.uint32 = buffer_70
                buffer_72: T.uint32
                T.ptx.fma(buffer_72, buffer_14[3] & T.uint32(3145776), T.uint32(1744857088), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_73: T.uint32 = buffer_72
                buffer_74: T.uint32
                T.ptx.fma(buffer_74, buffer_14[3] & T.uint32(12583104), T.uint32(1610637312), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_75: T.uint32 = buffer_74
                T.ptx.mma(buffer_1[8], buffer_1[9], buffer_1[10], buffer_1[11], buffer_69, buffer_71, buffer_73, buffer_75, buffer_67[0], buffer_67[1], buffer_1[8], buffer_1[9], buffer_1[10], buffer_1[11], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), buffer_67[0], buffer_67[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_76: T.uint32
                T.ptx.fma(buffer_76, buffer_14[3] & T.uint32(50332416), T.uint32(1476417536), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_77: T.uint32 = buffer_76
                buffer_78: T.uint32
                T.ptx.fma(buffer_78, buffer_14[3] >> T.uint32(10) & T.uint32(196611), T.uint32(2013296640), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_79: T.uint32 = buffer_78
                buffer_80: T.uint32
                T.ptx.fma(buffer_80, buffer_14[3] >> T.uint32(10) & T.uint32(786444), T.uint32(1879076864), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_81: T.uint32 = buffer_80
                buffer_82: T.uint32
                T.ptx.fma(buffer_82, buffer_14[3] >> T.uint32(10) & T.uint32(3145776), T.uint32(1744857088), T.uint32(0), "rn", "", "", "", "", "f16x2", "")
                buffer_83: T.uint32 = buffer_82
                T.ptx.mma(buffer_1[12], buffer_1[13], buffer_1[14], buffer_1[15], buffer_77, buffer_79, buffer_81, buffer_83, buffer_67[2], buffer_67[3], buffer_1[12], buffer_1[13], buffer_1[14], buffer_1[15], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), T.uint32(1006648320), buffer_67[2], buffer_67[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_84 = T.alloc_local((2,))
                buffer_84[0] = buffer_2[0] + buffer_2[4]
                buffer_84[1] = buffer_2[1] + buffer_2[5]
                buffer[0] = buffer[0] + (buffer_1[0] + buffer_1[4] + (buffer_1[8] + buffer_1[12]) - buffer_5[1] * buffer_84[0]) * buffer_4[1]
                buffer[1] = buffer[1] + (buffer_1[1] + buffer_1[5] + (buffer_1[9] + buffer_1[13]) - buffer_5[1] * buffer_84[1]) * buffer_4[1]
                buffer[2] = buffer[2] + (buffer_1[2] + buffer_1[6] + (buffer_1[10] + buffer_1[14]) - buffer_5[3] * buffer_84[0]) * buffer_4[3]
                buffer[3] = buffer[3] + (buffer_1[3] + buffer_1[7] + (buffer_1[11] + buffer_1[15]) - buffer_5[3] * buffer_84[1]) * buffer_4[3]
            T.cuda.cta_sync()
            if thread % 32 % 4 * 2 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + thread % 32 % 4 * 2) * 20 + thread % 32 // 4) * 4])), buffer[0], "", "", "", "shared", "", "", "", "f32", "")
            if thread % 32 % 4 * 2 + 1 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + (thread % 32 % 4 * 2 + 1)) * 20 + thread % 32 // 4) * 4])), buffer[1], "", "", "", "shared", "", "", "", "f32", "")
            if thread % 32 % 4 * 2 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + thread % 32 % 4 * 2) * 20 + (8 + thread % 32 // 4)) * 4])), buffer[2], "", "", "", "shared", "", "", "", "f32", "")
            if thread % 32 % 4 * 2 + 1 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + (thread % 32 % 4 * 2 + 1)) * 20 + (8 + thread % 32 // 4)) * 4])), buffer[3], "", "", "", "shared", "", "", "", "f32", "")
            T.cuda.cta_sync()
            if thread < 16:
                buffer_10 = T.alloc_local((4,))
                T.ptx.ld(buffer_10[0], T.cuda.cvta_generic_to_shared(T.address_of(arena[(thread // 16 * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                T.ptx.ld(buffer_10[1], T.cuda.cvta_generic_to_shared(T.address_of(arena[((1 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                T.ptx.ld(buffer_10[2], T.cuda.cvta_generic_to_shared(T.address_of(arena[((2 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                T.ptx.ld(buffer_10[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[((3 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                buffer_10[0] = buffer_10[0] + buffer_10[1]
                buffer_10[0] = buffer_10[0] + buffer_10[2]
                buffer_10[0] = buffer_10[0] + buffer_10[3]
                D[thread // 16, block * 16 + thread % 16] = T.Cast("float16", buffer_10[0])
