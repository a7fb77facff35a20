# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m1(A: T.Buffer((1, 128), "float16"), B: T.Buffer((4, 512), "int8"), Scale: T.Buffer((64, 2), "float16"), Zeros: T.Buffer((2, 16), "int8"), D: T.Buffer((1, 64), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 1, "N": 64, "W_dtype": "uint2", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": True, "zeros_mode": "quantized"}, "bitquant.layout": "fragment", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"activations": "values", "ahead": 4, "block_m": 8, "blocks_per_sm": 1, "chains": 4, "multicast": 1, "phase": 0, "rows": 1, "split_k": 1, "unroll": 1, "warps_k": 4, "warps_n": 1, "waves": 1, "weights": "shared"}, "origin": "default", "pipeline": "tirx", "refusals": {"cpu": "reads the plain weight layout (got fragment)", "wgmma": "needs M >= 16 (got 1)"}, "rule": "decode", "smem_bytes": 9728}, "tirx.kernel_launch_params": ["tirx.use_programtic_dependent_launch"]})
        T.attr({"tirx.device_entry": T.bool(True), "tirx.launch_bounds_min_blocks_per_sm": 1})
        block = T.cta_id([4])
        thread = T.thread_id([128])
        arena = T.alloc_buffer((9728,), "uint8", scope="shared.dyn", align=128)
        buffer = T.alloc_local((4,))
        buffer_1 = T.alloc_local((16,))
        buffer_2 = T.alloc_local((8,))
        buffer_3 = T.alloc_local((4,))
        buffer_4 = T.alloc_local((4,))
        buffer_5 = T.alloc_local((4,), "float16")
        buffer_6 = T.alloc_local((4,), "uint8")
        if thread == 0:
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[9600])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[9608])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[9616])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[9624])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.fence("mbarrier_init", "release", "cluster", "")
            T.ptx.fence("proxy", "async", "shared::cta", "")
        if thread < 16:
            T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[1040 + thread * 16])), T.address_of(Scale[block * 16 + thread, 0]), 4, T.Select(T.bool(True), T.uint32(4), T.uint32(0)), "async", "ca", "shared", "global", "", "", "")
        T.ptx.cp("async", "commit_group", "")
        buffer_7: T.int32 = T.Div(block * 16, 16) * 512 + (thread // 32 * 512 + thread % 32 * 16)
        T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[1408 + thread // 32 * 2048 + thread % 32 * 16])), T.address_of(B[0, buffer_7]), 16, T.Select(thread // 32 < 1, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::256B", "")
        T.ptx.cp("async", "commit_group", "")
        buffer_8: T.int32 = T.Div(block * 16, 16) * 512 + (thread // 32 * 512 + thread % 32 * 16)
        T.ptx.cp("async", "commit_group", "")
        buffer_9: T.int32 = T.Div(block * 16, 16) * 512 + (thread // 32 * 512 + thread % 32 * 16)
        T.ptx.cp("async", "commit_group", "")
        buffer_10: T.int32 = T.Div(block * 16, 16) * 512 + (thread // 32 * 512 + thread % 32 * 16)
        T.ptx.cp("async", "commit_group", "")
        buffer_11: T.int32 = block * 16 + thread % 32 // 4
        buffer_6[0] = T.Cast("uint8", Zeros[T.min(thread // 32 * 128 // 64, 1), buffer_11 // 4]) >> T.Cast("uint8", buffer_11 % 4 * 2) & T.uint8(3)
        buffer_6[1] = T.Cast("uint8", Zeros[T.min((thread // 32 * 128 + 64) // 64, 1), buffer_11 // 4]) >> T.Cast("uint8", buffer_11 % 4 * 2) & T.uint8(3)
        buffer_12: T.int32 = block * 16 + 8 + thread % 32 // 4
        buffer_6[2] = T.Cast("uint8", Zeros[T.min(thread // 32 * 128 // 64, 1), buffer_12 // 4]) >> T.Cast("uint8", buffer_12 % 4 * 2) & T.uint8(3)
        buffer_6[3] = T.Cast("uint8", Zeros[T.min((thread // 32 * 128 + 64) // 64, 1), buffer_12 // 4]) >> T.Cast("uint8", buffer_12 % 4 * 2) & T.uint8(3)
        if T.bool(True):
            for v in range(1):
                if v * 128 + thread < 64 and (v * 128 + thread) % 64 * 16 >= 256:
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[(v * 128 + thread) // 64 * 1040 + (v * 128 + thread) % 64 * 16])), T.uint32(0), T.uint32(0), T.uint32(0), T.uint32(0), "", "", "shared", "", "", "", "v4", "u32", "")
        T.ptx.cp(4, "async", "wait_group", "")
        T.cuda.cta_sync()
        T.ptx.griddepcontrol("wait", "")
        T.ptx.griddepcontrol("launch_dependents", "")
        if T.bool(True):
            if thread % 32 == 0:
                T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[9600 + thread // 32 * 8])), T.Cast("uint32", T.max(T.min(256 - thread // 32 * 256, 256), 0)), "arrive", "expect_tx", "", "", "shared::cta", "b64", "")
            T.ptx.bar(T.uint32(4294967295), "warp", "sync", "")
            if thread % 32 < 1 and T.max(T.min(256 - thread // 32 * 256, 256), 0) > 0:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 * 1040 + thread // 32 * 256])), T.address_of(A[thread % 32, thread // 32 * 256 // 2]), T.Cast("uint32", T.max(T.min(256 - thread // 32 * 256, 256), 0)), T.cuda.cvta_generic_to_shared(T.address_of(arena[9600 + thread // 32 * 8])), "async", "bulk", "", "", "shared::cluster", "global", "mbarrier::complete_tx::bytes", "", "", "", "")
        for turn in range(1):
            for v in T.unroll(4):
                buffer[v] = T.float32(0.0)
            T.cuda.mbarrier_wait(T.address_of(arena[9600 + thread // 32 * 8]), 0)
            for body in range(1):
                buffer_13: T.uint16
                T.ptx.ld(buffer_13, T.cuda.cvta_generic_to_shared(T.address_of(arena[1040 + thread % 32 // 4 * 16 + T.min((thread // 32 + body) * 128 // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_3[0] = T.Cast("float32", T.reinterpret("float16", buffer_13))
                buffer_4[0] = T.Cast("float32", buffer_6[0])
                buffer_14: T.uint16
                T.ptx.ld(buffer_14, T.cuda.cvta_generic_to_shared(T.address_of(arena[1040 + thread % 32 // 4 * 16 + T.min(((thread // 32 + body) * 128 + 64) // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_3[1] = T.Cast("float32", T.reinterpret("float16", buffer_14))
                buffer_4[1] = T.Cast("float32", buffer_6[1])
                buffer_15: T.uint16
                T.ptx.ld(buffer_15, T.cuda.cvta_generic_to_shared(T.address_of(arena[1040 + (8 + thread % 32 // 4) * 16 + T.min((thread // 32 + body) * 128 // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_3[2] = T.Cast("float32", T.reinterpret("float16", buffer_15))
                buffer_4[2] = T.Cast("float32", buffer_6[2])
                buffer_16: T.uint16
                T.ptx.ld(buffer_16, T.cuda.cvta_generic_to_shared(T.address_of(arena[1040 + (8 + thread % 32 // 4) * 16 + T.min(((thread // 32 + body) * 128 + 64) // 64, 1) * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_3[3] = T.Cast("float32", T.reinterpret("float16", buffer_16))
                buffer_4[3] = T.Cast("float32", buffer_6[3])
                if body + 1 < 1:
                    buffer_17: T.int32 = block * 16 + thread % 32 // 4
                    buffer_6[0] = T.Cast("uint8", Zeros[T.min((thread // 32 + (body + 1)) * 128 // 64, 1), buffer_17 // 4]) >> T.Cast("uint8", buffer_17 % 4 * 2) & T.uint8(3)
                    buffer_6[1] = T.Cast("uint8", Zeros[T.min(((thread // 32 + (body + 1)) * 128 + 64) // 64, 1), buffer_17 // 4]) >> T.Cast("uint8", buffer_17 % 4 * 2) & T.uint8(3)
                    buffer_18: T.int32 = block * 16 + 8 + thread % 32 // 4
                    buffer_6[2] = T.Cast("uint8", Zeros[T.min((thread // 32 + (body + 1)) * 128 // 64, 1), buffer_18 // 4]) >> T.Cast("uint8", buffer_18 % 4 * 2) & T.uint8(3)
                    buffer_6[3] = T.Cast("uint8", Zeros[T.min(((thread // 32 + (body + 1)) * 128 + 64) // 64, 1), buffer_18 // 4]) >> T.Cast("uint8", buffer_18 % 4 * 2) & T.uint8(3)
                buffer_17 = T.alloc_local((4,), "uint32")
                T.ptx.cp(3, "async", "wait_group", "")
                T.ptx.ld(buffer_17[0], buffer_17[1], buffer_17[2], buffer_17[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[1408 + thread // 32 * 2048 + (turn + body) % 4 * 512 + thread % 32 * 16])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                buffer_18 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_18[0], buffer_18[1], buffer_18[2], buffer_18[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 1040 + ((thread // 32 + body) * 128 * 16 // 8 + (thread % 32 // 8 % 2 * 2 + thread % 32 // 16) * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                for v in T.unroll(16):
                    buffer_1[v] = T.float32(0.0)
                for v in T.unroll(8):
                    buffer_2[v] = T.float32(0.0)
                buffer_19: T.uint32 = buffer_17[0] & T.uint32(196611)
                buffer_20: T.uint32 = buffer_17[0] & T.uint32(786444)
                buffer_21: T.uint32 = buffer_17[0] >> T.uint32(8) & T.uint32(196611)
                buffer_22: T.uint32 = buffer_17[0] >> T.uint32(8) & T.uint32(786444)
                T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_19, buffer_20, buffer_21, buffer_22, buffer_18[0], buffer_18[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(1048592), T.uint32(4194368), T.uint32(1048592), T.uint32(4194368), buffer_18[0], buffer_18[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_23: T.uint32 = buffer_17[0] & T.uint32(3145776)
                buffer_24: T.uint32 = buffer_17[0] & T.uint32(12583104)
                buffer_25: T.uint32 = buffer_17[0] >> T.uint32(8) & T.uint32(3145776)
                buffer_26: T.uint32 = buffer_17[0] >> T.uint32(8) & T.uint32(12583104)
                T.ptx.mma(buffer_1[8], buffer_1[9], buffer_1[10], buffer_1[11], buffer_23, buffer_24, buffer_25, buffer_26, buffer_18[2], buffer_18[3], buffer_1[8], buffer_1[9], buffer_1[10], buffer_1[11], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(1048592), T.uint32(4194368), T.uint32(1048592), T.uint32(4194368), buffer_18[2], buffer_18[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_27 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_27[0], buffer_27[1], buffer_27[2], buffer_27[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 1040 + ((thread // 32 + body) * 128 * 16 // 8 + 64 + (thread % 32 // 8 % 2 * 2 + thread % 32 // 16) * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                buffer_28: T.uint32 = buffer_17[1] & T.uint32(196611)
                buffer_29: T.uint32 = buffer_17[1] & T.uint32(786444)
                buffer_30: T.uint32 = buffer_17[1] >> T.uint32(8) & T.uint32(196611)
                buffer_31: T.uint32 = buffer_17[1] >> T.uint32(8) & T.uint32(786444)
                T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_28, buffer_29, buffer_30, buffer_31, buffer_27[0], buffer_27[1], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(1048592), T.uint32(4194368), T.uint32(1048592), T.uint32(4194368), buffer_27[0], buffer_27[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_32: T.uint32 = buffer_17[1] & T.uint32(3145776)
                buffer_33: T.uint32 = buffer_17[1] & T.uint32(12583104)
                buffer_34: T.uint32 = buffer_17[1] >> T.uint32(8) & T.uint32(3145776)
                buffer_35: T.uint32 = buffer_17[1] >> T.uint32(8) & T.uint32(12583104)
                T.ptx.mma(buffer_1[12], buffer_1[13], buffer_1[14], buffer_1[15], buffer_32, buffer_33, buffer_34, buffer_35, buffer_27[2], buffer_27[3], buffer_1[12], buffer_1[13], buffer_1[14], buffer_1[15], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(1048592), T.uint32(4194368), T.uint32(1048592), T.uint32(4194368), buffer_27[2], buffer_27[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_36 = T.alloc_local((4,))
                buffer_36[0] = buffer_2[0] + buffer_2[4]
                buffer_36[1] = buffer_2[1] + buffer_2[5]
                buffer_36[2] = buffer_2[2] + buffer_2[6]
                buffer_36[3] = buffer_2[3] + buffer_2[7]
                buffer[0] = buffer[0] + (buffer_1[8] + buffer_1[12] + (buffer_1[0] + buffer_1[4]) * T.float32(16.0) - buffer_4[0] * buffer_36[0]) * buffer_3[0]
                buffer[1] = buffer[1] + (buffer_1[9] + buffer_1[13] + (buffer_1[1] + buffer_1[5]) * T.float32(16.0) - buffer_4[0] * buffer_36[1]) * buffer_3[0]
                buffer[2] = buffer[2] + (buffer_1[10] + buffer_1[14] + (buffer_1[2] + buffer_1[6]) * T.float32(16.0) - buffer_4[2] * buffer_36[2]) * buffer_3[2]
                buffer[3] = buffer[3] + (buffer_1[11] + buffer_1[15] + (buffer_1[3] + buffer_1[7]) * T.float32(16.0) - buffer_4[2] * buffer_36[3]) * buffer_3[2]
                buffer_37 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_37[0], buffer_37[1], buffer_37[2], buffer_37[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 1040 + ((thread // 32 + body) * 128 * 16 // 8 + 128 + (thread % 32 // 8 % 2 * 2 + thread % 32 // 16) * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                for v in T.unroll(16):
                    buffer_1[v] = T.float32(0.0)
                for v in T.unroll(8):
                    buffer_2[v] = T.float32(0.0)
                buffer_38: T.uint32 = buffer_17[2] & T.uint32(196611)
                buffer_39: T.uint32 = buffer_17[2] & T.uint32(786444)
                buffer_40: T.uint32 = buffer_17[2] >> T.uint32(8) & T.uint32(196611)
                buffer_41: T.uint32 = buffer_17[2] >> T.uint32(8) & T.uint32(786444)
                T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_38, buffer_39, buffer_40, buffer_41, buffer_37[0], buffer_37[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(1048592), T.uint32(4194368), T.uint32(1048592), T.uint32(4194368), buffer_37[0], buffer_37[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_42: T.uint32 = buffer_17[2] & T.uint32(3145776)
                buffer_43: T.uint32 = buffer_17[2] & T.uint32(12583104)
                buffer_44: T.uint32 = buffer_17[2] >> T.uint32(8) & T.uint32(3145776)
                buffer_45: T.uint32 = buffer_17[2] >> T.uint32(8) & T.uint32(12583104)
                T.ptx.mma(buffer_1[8], buffer_1[9], buffer_1[10], buffer_1[11], buffer_42, buffer_43, buffer_44, buffer_45, buffer_37[2], buffer_37[3], buffer_1[8], buffer_1[9], buffer_1[10], buffer_1[11], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(1048592), T.uint32(4194368), T.uint32(1048592), T.uint32(4194368), buffer_37[2], buffer_37[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_46 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_46[0], buffer_46[1], buffer_46[2], buffer_46[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 1040 + ((thread // 32 + body) * 128 * 16 // 8 + 192 + (thread % 32 // 8 % 2 * 2 + thread % 32 // 16) * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                buffer_47: T.uint32 = buffer_17[3] & T.uint32(196611)
                buffer_48: T.uint32 = buffer_17[3] & T.uint32(786444)
                buffer_49: T.uint32 = buffer_17[3] >> T.uint32(8) & T.uint32(196611)
                buffer_50: T.uint32 = buffer_17[3] >> T.uint32(8) & T.uint32(786444)
                T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_47, buffer_48, buffer_49, buffer_50, buffer_46[0], buffer_46[1], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(1048592), T.uint32(4194368), T.uint32(1048592), T.uint32(4194368), buffer_46[0], buffer_46[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_51: T.uint32 = buffer_17[3] & T.uint32(3145776)
                buffer_52: T.uint32 = buffer_17[3] & T.uint32(12583104)
                buffer_53: T.uint32 = buffer_17[3] >> T.uint32(8) & T.uint32(3145776)
                buffer_54: T.uint32 = buffer_17[3] >> T.uint32(8) & T.uint32(12583104)
                T.ptx.mma(buffer_1[12], buffer_1[13], buffer_1[14], buffer_1[15], buffer_51, buffer_52, buffer_53, buffer_54, buffer_46[2], buffer_46[3], buffer_1[12], buffer_1[13], buffer_1[14], buffer_1[15], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(1048592), T.uint32(4194368), T.uint32(1048592), T.uint32(4194368), buffer_46[2], buffer_46[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_55 = T.alloc_local((4,))
                buffer_55[0] = buffer_2[0] + buffer_2[4]
                buffer_55[1] = buffer_2[1] + buffer_2[5]
                buffer_55[2] = buffer_2[2] + buffer_2[6]
                buffer_55[3] = buffer_2[3] + buffer_2[7]
                buffer[0] = buffer[0] + (buffer_1[8] + buffer_1[12] + (buffer_1[0] + buffer_1[4]) * T.float32(16.0) - buffer_4[1] * buffer_55[0]) * buffer_3[1]
                buffer[1] = buffer[1] + (buffer_1[9] + buffer_1[13] + (buffer_1[1] + buffer_1[5]) * T.float32(16.0) - buffer_4[1] * buffer_55[1]) * buffer_3[1]
                buffer[2] = buffer[2] + (buffer_1[10] + buffer_1[14] + (buffer_1[2] + buffer_1[6]) * T.float32(16.0) - buffer_4[3] * buffer_55[2]) * buffer_3[3]
                buffer[3] = buffer[3] + (buffer_1[11] + buffer_1[15] + (buffer_1[3] + buffer_1[7]) * T.float32(16.0) - buffer_4[3] * buffer_55[3]) * buffer_3[3]
                buffer_56: T.int32 = T.Div(block * 16, 16) * 512 + ((thread // 32 + (body + 4)) * 512 + thread % 32 * 16)
                if body + 4 < 1:
                    T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[1408 + thread // 32 * 2048 + (turn + body) % 4 * 512 + thread % 32 * 16])), T.address_of(B[0, buffer_56]), 16, T.Select(thread // 32 + (body + 4) < 1, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::256B", "")
                T.ptx.cp("async", "commit_group", "")
            T.cuda.cta_sync()
            if thread % 32 % 4 * 2 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + thread % 32 % 4 * 2) * 20 + thread % 32 // 4) * 4])), buffer[0] * T.float32(1048576.0), "", "", "", "shared", "", "", "", "f32", "")
            if thread % 32 % 4 * 2 + 1 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + (thread % 32 % 4 * 2 + 1)) * 20 + thread % 32 // 4) * 4])), buffer[1] * T.float32(1048576.0), "", "", "", "shared", "", "", "", "f32", "")
            if thread % 32 % 4 * 2 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + thread % 32 % 4 * 2) * 20 + (8 + thread % 32 // 4)) * 4])), buffer[2] * T.float32(262144.0), "", "", "", "shared", "", "", "", "f32", "")
            if thread % 32 % 4 * 2 + 1 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + (thread % 32 % 4 * 2 + 1)) * 20 + (8 + thread % 32 // 4)) * 4])), buffer[3] * T.float32(262144.0), "", "", "", "shared", "", "", "", "f32", "")
            T.cuda.cta_sync()
            if thread < 16:
                buffer_13 = T.alloc_local((4,))
                T.ptx.ld(buffer_13[0], T.cuda.cvta_generic_to_shared(T.address_of(arena[(thread // 16 * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                T.ptx.ld(buffer_13[1], T.cuda.cvta_generic_to_shared(T.address_of(arena[((1 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                T.ptx.ld(buffer_13[2], T.cuda.cvta_generic_to_shared(T.address_of(arena[((2 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                T.ptx.ld(buffer_13[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[((3 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                buffer_13[0] = buffer_13[0] + buffer_13[1]
                buffer_13[0] = buffer_13[0] + buffer_13[2]
                buffer_13[0] = buffer_13[0] + buffer_13[3]
                D[thread // 16, block * 16 + thread % 16] = T.Cast("float16", buffer_13[0])
