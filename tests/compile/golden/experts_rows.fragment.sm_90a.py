# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@T.prim_func
def grouped_matmul_m1(A: T.Buffer((1, 256), "float16"), B: T.Buffer((8, 4, 2048), "int8"), Scale: T.Buffer((8, 64, 4), "float16"), ExpertIds: T.Buffer((1, 2), "int32"), D: T.Buffer((1, 2, 64), "float16")):
    T.func_attr({"bitquant.config": {"A_dtype": "float16", "A_rows": "tokens", "D_rows": "slots", "K": 256, "M": [1, 16], "N": 64, "W_dtype": "uint4", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "num_experts": 8, "operation": "grouped_matmul", "out_dtype": "float16", "plain_layout": False, "routing": "indexed", "scale_dtype": "float16", "top_k": 2, "with_bias": False, "with_routing_weights": False, "with_scaling": True, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "fragment", "bitquant.rung": 1, "tirx.kernel_launch_params": ["tirx.use_programtic_dependent_launch"]})
    T.attr({"tirx.device_entry": T.bool(True), "tirx.launch_bounds_min_blocks_per_sm": 1})
    block = T.cta_id([8])
    thread = T.thread_id([128])
    arena = T.alloc_buffer((1032,), "uint8", scope="shared.dyn", align=128)
    buffer: T.int32
    buffer_1: T.int32
    buffer_2: T.int32
    buffer_3 = T.alloc_local((4,))
    buffer_4 = T.alloc_local((4,))
    buffer_5 = T.alloc_local((4,))
    buffer_6 = T.alloc_local((4,), "uint32")
    buffer_7 = T.alloc_local((2,))
    buffer_8 = T.alloc_local((2,))
    buffer_9 = T.alloc_local((2,), "float16")
    buffer_10 = T.alloc_local((2,), "float16")
    if thread == 0:
        T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[896])), T.uint32(1), "init", "", "shared::cta", "b64", "")
        T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[904])), T.uint32(1), "init", "", "shared::cta", "b64", "")
        T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[912])), T.uint32(1), "init", "", "shared::cta", "b64", "")
        T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[920])), T.uint32(1), "init", "", "shared::cta", "b64", "")
        T.ptx.fence("mbarrier_init", "release", "cluster", "")
        T.ptx.fence("proxy", "async", "shared::cta", "")
    T.cuda.cta_sync()
    T.ptx.griddepcontrol("wait", "")
    T.ptx.griddepcontrol("launch_dependents", "")
    buffer_11: T.int32
    T.ptx.ld(buffer_11, T.address_of(ExpertIds[0, T.truncmod(block, 2)]), "", "", "", "global", "", "", "", "", "", "s32", "")
    buffer = T.Cast("int32", T.min(T.Cast("uint32", buffer_11), T.uint32(8)))
    buffer_1 = 1
    buffer_2 = T.truncmod(block, 2)
    if buffer >= 0 and buffer < 8:
        if T.bool(True):
            if thread % 32 == 0:
                T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[896 + thread // 32 * 8])), T.uint32(128), "arrive", "expect_tx", "", "", "shared::cta", "b64", "")
            T.ptx.bar(T.uint32(4294967295), "warp", "sync", "")
            if thread % 32 < 1:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 * 528 + thread // 32 * 128])), T.address_of(A[T.Div(buffer_2, 2), thread // 32 * 128 // 2]), T.uint32(128), T.cuda.cvta_generic_to_shared(T.address_of(arena[896 + thread // 32 * 8])), "async", "bulk", "", "", "shared::cluster", "global", "mbarrier::complete_tx::bytes", "", "", "", "")
        if thread < 16:
            T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[528 + thread * 16])), T.address_of(Scale[T.Cast("int64", buffer), T.Div(block, 2) * 16 + thread, 0]), 8, "async", "ca", "shared", "global", "", "", "")
        T.ptx.cp("async", "commit_group", "")
        buffer_12: T.int32 = T.Div(T.Div(block, 2) * 16, 16) * 2048 + (thread // 32 * 512 + thread % 32 * 16)
        T.ptx.ld(buffer_6[0], buffer_6[1], buffer_6[2], buffer_6[3], T.address_of(B[T.Cast("int64", buffer), 0, buffer_12]), "", "", "global", "", "nc", "L1::no_allocate", "", "L2::256B", "v4", "u32", "")
        T.ptx.cp(0, "async", "wait_group", "")
        T.cuda.cta_sync()
        for iteration in range(1):
            for v in T.unroll(4):
                buffer_3[v] = T.float32(0.0)
            T.cuda.mbarrier_wait(T.address_of(arena[896 + thread // 32 * 8]), 0)
            for body in range(1):
                buffer_13: T.uint16
                T.ptx.ld(buffer_13, T.cuda.cvta_generic_to_shared(T.address_of(arena[528 + thread % 32 // 4 * 16 + (thread // 32 + body) * 64 // 64 * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_7[0] = T.Cast("float32", T.reinterpret("float16", buffer_13))
                buffer_14: T.uint16
                T.ptx.ld(buffer_14, T.cuda.cvta_generic_to_shared(T.address_of(arena[528 + (8 + thread % 32 // 4) * 16 + (thread // 32 + body) * 64 // 64 * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                buffer_7[1] = T.Cast("float32", T.reinterpret("float16", buffer_14))
                if body + 1 < 1:
                    T.evaluate(0)
                buffer_15 = T.alloc_local((4,), "uint32")
                buffer_15[0] = buffer_6[0]
                buffer_15[1] = buffer_6[1]
                buffer_15[2] = buffer_6[2]
                buffer_15[3] = buffer_6[3]
                buffer_16: T.int32 = T.Div(T.Div(block, 2) * 16, 16) * 2048 + ((thread // 32 + (body + 1)) * 512 + thread % 32 * 16)
                if body + 1 < 1:
                    T.ptx.ld(buffer_6[0], buffer_6[1], buffer_6[2], buffer_6[3], T.address_of(B[T.Cast("int64", buffer), 0, buffer_16]), "", "", "global", "", "nc", "L1::no_allocate", "", "L2::256B", "v4", "u32", "")
                buffer_17 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_17[0], buffer_17[1], buffer_17[2], buffer_17[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 528 + ((thread // 32 + body) * 64 * 16 // 8 + (thread % 32 // 8 % 2 + thread % 32 // 16 * 2) * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                for v in T.unroll(4):
                    buffer_4[v] = T.float32(0.0)
                buffer_18: T.uint32 = buffer_15[0] & T.uint32(16711935)
                buffer_19: T.uint32 = buffer_15[0] & T.uint32(15728880)
                buffer_20: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_15[0], T.uint32(0), T.uint32(17217))
                buffer_21: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_15[0], T.uint32(0), T.uint32(17217)) & T.uint32(15728880)
                T.ptx.mma(buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], buffer_18, buffer_19, buffer_20, buffer_21, buffer_17[0], buffer_17[1], buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_22: T.uint32 = buffer_15[1] & T.uint32(16711935)
                buffer_23: T.uint32 = buffer_15[1] & T.uint32(15728880)
                buffer_24: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_15[1], T.uint32(0), T.uint32(17217))
                buffer_25: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_15[1], T.uint32(0), T.uint32(17217)) & T.uint32(15728880)
                T.ptx.mma(buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], buffer_22, buffer_23, buffer_24, buffer_25, buffer_17[2], buffer_17[3], buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_26 = T.alloc_local((4,), "uint32")
                T.ptx.ldmatrix(buffer_26[0], buffer_26[1], buffer_26[2], buffer_26[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[T.min(thread % 32 % 8, 0) * 528 + ((thread // 32 + body) * 64 * 16 // 8 + 64 + (thread % 32 // 8 % 2 + thread % 32 // 16 * 2) * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                buffer_27: T.uint32 = buffer_15[2] & T.uint32(16711935)
                buffer_28: T.uint32 = buffer_15[2] & T.uint32(15728880)
                buffer_29: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_15[2], T.uint32(0), T.uint32(17217))
                buffer_30: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_15[2], T.uint32(0), T.uint32(17217)) & T.uint32(15728880)
                T.ptx.mma(buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], buffer_27, buffer_28, buffer_29, buffer_30, buffer_26[0], buffer_26[1], buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_31: T.uint32 = buffer_15[3] & T.uint32(16711935)
                buffer_32: T.uint32 = buffer_15[3] & T.uint32(15728880)
                buffer_33: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_15[3], T.uint32(0), T.uint32(17217))
                buffer_34: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_15[3], T.uint32(0), T.uint32(17217)) & T.uint32(15728880)
                T.ptx.mma(buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], buffer_31, buffer_32, buffer_33, buffer_34, buffer_26[2], buffer_26[3], buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                buffer_35 = T.alloc_local((4,))
                buffer_3[0] = buffer_3[0] + (buffer_4[0] - buffer_4[2]) * buffer_7[0]
                buffer_3[1] = buffer_3[1] + (buffer_4[1] - buffer_4[3]) * buffer_7[0]
                buffer_3[2] = buffer_3[2] + buffer_4[2] * buffer_7[1]
                buffer_3[3] = buffer_3[3] + buffer_4[3] * buffer_7[1]
            T.cuda.cta_sync()
            if thread % 32 % 4 * 2 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + thread % 32 % 4 * 2) * 20 + thread % 32 // 4) * 4])), buffer_3[0] * T.float32(16777216.0), "", "", "", "shared", "", "", "", "f32", "")
            if thread % 32 % 4 * 2 + 1 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + (thread % 32 % 4 * 2 + 1)) * 20 + thread % 32 // 4) * 4])), buffer_3[1] * T.float32(16777216.0), "", "", "", "shared", "", "", "", "f32", "")
            if thread % 32 % 4 * 2 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + thread % 32 % 4 * 2) * 20 + (8 + thread % 32 // 4)) * 4])), buffer_3[2] * T.float32(1048576.0), "", "", "", "shared", "", "", "", "f32", "")
            if thread % 32 % 4 * 2 + 1 < 1:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 + (thread % 32 % 4 * 2 + 1)) * 20 + (8 + thread % 32 // 4)) * 4])), buffer_3[3] * T.float32(1048576.0), "", "", "", "shared", "", "", "", "f32", "")
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
                D[T.Div(buffer_2, 2), T.truncmod(buffer_2, 2), T.Div(block, 2) * 16 + thread % 16] = T.Cast("float16", buffer_13[0])
    if buffer == 8:
        for v in range(buffer_1):
            buffer_12: T.int32 = buffer_2
            for v_1, v_2 in T.grid(1, 1):
                buffer_13: T.int32 = v_2 * 128 + thread
                if buffer_13 < 16 and T.Div(block, 2) * 16 + buffer_13 < 64:
                    D[T.Div(buffer_12, 2), T.truncmod(buffer_12, 2), T.Div(block, 2) * 16 + buffer_13] = T.float16(0.0)
