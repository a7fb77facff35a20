# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m1(A: T.Buffer((1, 128), "int8"), B: T.Buffer((4, 512), "int8"), D: T.Buffer((1, 64), "int32")):
        T.func_attr({"bitquant.config": {"A_dtype": "int8", "K": 128, "M": 1, "N": 64, "W_dtype": "int2", "accum_dtype": "int32", "group_size": 128, "layout": "nt", "out_dtype": "int32", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "fragment", "bitquant.rung": 1, "bitquant.schedule": {"hint": {"activations": "values", "ahead": 1, "block_m": 8, "blocks_per_sm": 1, "chains": 4, "multicast": 1, "n_blocks_per_cta": 1, "n_tiles_per_warp": 1, "phase": 0, "split_k": 1, "stream_k": False, "unroll": 1, "warps_k": 1, "warps_n": 4, "weights": "registers"}, "origin": "default", "pipeline": "tirx", "refusals": {"wgmma": "needs M >= 8 (got 1)"}, "rule": "decode", "smem_bytes": 512}, "tirx.kernel_launch_params": ["tirx.use_programtic_dependent_launch"]})
        T.attr({"tirx.device_entry": T.bool(True), "tirx.launch_bounds_min_blocks_per_sm": 1})
        block = T.cta_id([1])
        thread = T.thread_id([128])
        arena = T.alloc_buffer((512,), "uint8", scope="shared.dyn", align=128)
        buffer = T.alloc_local((4,), "int32")
        buffer_1 = T.alloc_local((16,), "uint32")
        buffer_2 = T.alloc_local((8,), "uint32")
        buffer_3 = T.alloc_local((4,), "uint32")
        buffer_4 = T.alloc_local((2,), "int32")
        buffer_5 = T.alloc_local((2,), "int32")
        buffer_6 = T.alloc_local((2,))
        buffer_7 = T.alloc_local((2,))
        if thread == 0:
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[384])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.fence("mbarrier_init", "release", "cluster", "")
            T.ptx.fence("proxy", "async", "shared::cta", "")
        T.ptx.cp("async", "commit_group", "")
        buffer_8: T.int32 = (T.Div(block * 64, 16) + thread // 32 % 4) * 512 + (thread // 32 // 4 * 512 + thread % 32 * 16)
        T.ptx.ld(buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], T.address_of(B[0, buffer_8]), "", "", "global", "", "nc", "L1::no_allocate", "", "L2::256B", "v4", "u32", "")
        T.ptx.cp(0, "async", "wait_group", "")
        T.cuda.cta_sync()
        T.ptx.griddepcontrol("wait", "")
        T.ptx.griddepcontrol("launch_dependents", "")
        if thread // 32 % 4 == 0:
            if thread % 32 == 0:
                T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[384 + thread // 32 // 4 * 8])), T.uint32(128), "arrive", "expect_tx", "", "", "shared::cta", "b64", "")
            T.ptx.bar(T.uint32(4294967295), "warp", "sync", "")
            if thread % 32 < 1:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 * 144 + thread // 32 // 4 * 128])), T.address_of(A[thread % 32, thread // 32 // 4 * 128]), T.uint32(128), T.cuda.cvta_generic_to_shared(T.address_of(arena[384 + thread // 32 // 4 * 8])), "async", "bulk", "", "", "shared::cluster", "global", "mbarrier::complete_tx::bytes", "", "", "", "")
        for iteration in range(1):
            for v in T.unroll(4):
                buffer[v] = 0
            T.cuda.mbarrier_wait(T.address_of(arena[384 + thread // 32 // 4 * 8]), 0)
            for body in range(1):
                buffer_9 = T.alloc_local((4,), "uint32")
                buffer_9[0] = buffer_3[0]
                buffer_9[1] = buffer_3[1]
                buffer_9[2] = buffer_3[2]
                buffer_9[3] = buffer_3[3]
                buffer_10: T.int32 = (T.Div(block * 64, 16) + thread // 32 % 4) * 512 + ((thread // 32 // 4 + (body + 1)) * 512 + thread % 32 * 16)
                if body + 1 < 1:
                    T.ptx.ld(buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], T.address_of(B[0, buffer_10]), "", "", "global", "", "nc", "L1::no_allocate", "", "L2::256B", "v4", "u32", "")
                buffer_11 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_11[0], buffer_11[1], buffer_11[2], buffer_11[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 144 + ((thread // 32 // 4 + body) * 128 * 8 // 8 + (thread % 32 // 8 % 2 + thread % 32 // 16 * 2) * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                for v in T.unroll(16):
                    buffer_1[v] = T.uint32(0)
                for v in T.unroll(8):
                    buffer_2[v] = T.uint32(0)
                buffer_12: T.uint32 = buffer_9[0] & T.uint32(50529027)
                buffer_13: T.uint32 = buffer_9[0] >> T.uint32(2) & T.uint32(50529027)
                buffer_14: T.uint32 = buffer_9[0] >> T.uint32(4) & T.uint32(50529027)
                buffer_15: T.uint32 = buffer_9[0] >> T.uint32(6) & T.uint32(50529027)
                T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_12, buffer_13, buffer_14, buffer_15, buffer_11[0], buffer_11[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "s8", "s8", "s32", "", "", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(16843009), T.uint32(16843009), T.uint32(16843009), T.uint32(16843009), buffer_11[0], buffer_11[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "s8", "s8", "s32", "", "", "")
                buffer_16: T.uint32 = buffer_9[1] & T.uint32(50529027)
                buffer_17: T.uint32 = buffer_9[1] >> T.uint32(2) & T.uint32(50529027)
                buffer_18: T.uint32 = buffer_9[1] >> T.uint32(4) & T.uint32(50529027)
                buffer_19: T.uint32 = buffer_9[1] >> T.uint32(6) & T.uint32(50529027)
                T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_16, buffer_17, buffer_18, buffer_19, buffer_11[2], buffer_11[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "s8", "s8", "s32", "", "", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(16843009), T.uint32(16843009), T.uint32(16843009), T.uint32(16843009), buffer_11[2], buffer_11[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "s8", "s8", "s32", "", "", "")
                buffer_20 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_20[0], buffer_20[1], buffer_20[2], buffer_20[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 144 + ((thread // 32 // 4 + body) * 128 * 8 // 8 + 64 + (thread % 32 // 8 % 2 + thread % 32 // 16 * 2) * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                buffer_21: T.uint32 = buffer_9[2] & T.uint32(50529027)
                buffer_22: T.uint32 = buffer_9[2] >> T.uint32(2) & T.uint32(50529027)
                buffer_23: T.uint32 = buffer_9[2] >> T.uint32(4) & T.uint32(50529027)
                buffer_24: T.uint32 = buffer_9[2] >> T.uint32(6) & T.uint32(50529027)
                T.ptx.mma(buffer_1[8], buffer_1[9], buffer_1[10], buffer_1[11], buffer_21, buffer_22, buffer_23, buffer_24, buffer_20[0], buffer_20[1], buffer_1[8], buffer_1[9], buffer_1[10], buffer_1[11], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "s8", "s8", "s32", "", "", "")
                T.ptx.mma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.uint32(16843009), T.uint32(16843009), T.uint32(16843009), T.uint32(16843009), buffer_20[0], buffer_20[1], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "s8", "s8", "s32", "", "", "")
                buffer_25: T.uint32 = buffer_9[3] & T.uint32(50529027)
                buffer_26: T.uint32 = buffer_9[3] >> T.uint32(2) & T.uint32(50529027)
                buffer_27: T.uint32 = buffer_9[3] >> T.uint32(4) & T.uint32(50529027)
                buffer_28: T.uint32 = buffer_9[3] >> T.uint32(6) & T.uint32(50529027)
                T.ptx.mma(buffer_1[12], buffer_1[13], buffer_1[14], buffer_1[15], buffer_25, buffer_26, buffer_27, buffer_28, buffer_20[2], buffer_20[3], buffer_1[12], buffer_1[13], buffer_1[14], buffer_1[15], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "s8", "s8", "s32", "", "", "")
                T.ptx.mma(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.uint32(16843009), T.uint32(16843009), T.uint32(16843009), T.uint32(16843009), buffer_20[2], buffer_20[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], "sync", "aligned", "m16n8k32", "row", "col", "", "s32", "s8", "s8", "s32", "", "", "")
                buffer_29 = T.alloc_local((4,), "int32")
                buffer_29[0] = T.reinterpret("int32", buffer_2[0]) + T.reinterpret("int32", buffer_2[4])
                buffer_29[1] = T.reinterpret("int32", buffer_2[1]) + T.reinterpret("int32", buffer_2[5])
                buffer_29[2] = T.reinterpret("int32", buffer_2[2]) + T.reinterpret("int32", buffer_2[6])
                buffer_29[3] = T.reinterpret("int32", buffer_2[3]) + T.reinterpret("int32", buffer_2[7])
                buffer[0] = buffer[0] + (T.reinterpret("int32", buffer_1[0]) + T.reinterpret("int32", buffer_1[4]) + (T.reinterpret("int32", buffer_1[8]) + T.reinterpret("int32", buffer_1[12])) - buffer_29[0] * 2)
                buffer[1] = buffer[1] + (T.reinterpret("int32", buffer_1[1]) + T.reinterpret("int32", buffer_1[5]) + (T.reinterpret("int32", buffer_1[9]) + T.reinterpret("int32", buffer_1[13])) - buffer_29[1] * 2)
                buffer[2] = buffer[2] + (T.reinterpret("int32", buffer_1[2]) + T.reinterpret("int32", buffer_1[6]) + (T.reinterpret("int32", buffer_1[10]) + T.reinterpret("int32", buffer_1[14])) - buffer_29[2] * 2)
                buffer[3] = buffer[3] + (T.reinterpret("int32", buffer_1[3]) + T.reinterpret("int32", buffer_1[7]) + (T.reinterpret("int32", buffer_1[11]) + T.reinterpret("int32", buffer_1[15])) - buffer_29[3] * 2)
            T.cuda.cta_sync()
            if thread % 32 % 4 * 2 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 // 4 + thread % 32 % 4 * 2) * 68 + (thread // 32 % 4 * 16 + thread % 32 // 4)) * 4])), buffer[0], "", "", "", "shared", "", "", "", "s32", "")
            if thread % 32 % 4 * 2 + 1 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 // 4 + (thread % 32 % 4 * 2 + 1)) * 68 + (thread // 32 % 4 * 16 + thread % 32 // 4)) * 4])), buffer[1], "", "", "", "shared", "", "", "", "s32", "")
            if thread % 32 % 4 * 2 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 // 4 + thread % 32 % 4 * 2) * 68 + (thread // 32 % 4 * 16 + 8 + thread % 32 // 4)) * 4])), buffer[2], "", "", "", "shared", "", "", "", "s32", "")
            if thread % 32 % 4 * 2 + 1 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 // 4 + (thread % 32 % 4 * 2 + 1)) * 68 + (thread // 32 % 4 * 16 + 8 + thread % 32 // 4)) * 4])), buffer[3], "", "", "", "shared", "", "", "", "s32", "")
            T.cuda.cta_sync()
            if thread < 64:
                buffer_9: T.int32
                T.ptx.ld(buffer_9, T.cuda.cvta_generic_to_shared(T.address_of(arena[(thread // 64 * 68 + thread % 64) * 4])), "", "", "", "shared", "", "", "", "", "", "s32", "")
                D[thread // 64, block * 64 + thread % 64] = buffer_9
