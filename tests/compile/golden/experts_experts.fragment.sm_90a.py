# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@T.prim_func
def grouped_matmul_m16(A: T.Buffer(("v", 2, 256), "float16"), B: T.Buffer((8, 4, 2048), "int8"), Scale: T.Buffer((8, 64, 4), "float16"), ExpertIds: T.Buffer((v, 2), "int32"), RoutingWeights: T.Buffer((v, 2), "float32"), D: T.Buffer((v, 64), "float16")):
    v = T.int32()
    T.func_attr({"bitquant.config": {"A_dtype": "float16", "A_rows": "slots", "D_rows": "tokens", "K": 256, "M": [1, 16], "N": 64, "W_dtype": "uint4", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "num_experts": 8, "operation": "grouped_matmul", "out_dtype": "float16", "plain_layout": False, "routing": "indexed", "scale_dtype": "float16", "top_k": 2, "with_bias": False, "with_routing_weights": True, "with_scaling": True, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "fragment", "bitquant.rung": 16, "tirx.kernel_launch_params": ["tirx.use_programtic_dependent_launch"]})
    slot_values_ptr: T.let[T.handle("float32", "global")] = T.call_packed("bitquant.workspace.sums", T.Cast("int64", v) * T.int64(128))
    slot_values = T.decl_buffer((T.Cast("int64", v) * T.int64(128),), data=slot_values_ptr)
    counters_ptr: T.let[T.handle("uint32", "global")] = T.call_packed("bitquant.workspace.counters", T.Cast("int64", v) * T.int64(4))
    counters = T.decl_buffer((T.Cast("int64", v) * T.int64(4),), "uint32", data=counters_ptr)
    with T.attr({"tirx.device_entry": T.bool(True), "tirx.launch_bounds_min_blocks_per_sm": 1}):
        block = T.cta_id([(T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) * 4])
        thread = T.thread_id([128])
        arena = T.alloc_buffer((4708,), "uint8", scope="shared.dyn", align=128)
        buffer: T.int32
        buffer_1: T.int32
        buffer_2: T.int32
        buffer_3 = T.alloc_local((3,), "int32")
        buffer_4 = T.alloc_local((4,))
        buffer_5 = T.alloc_local((4,))
        buffer_6 = T.alloc_local((4,))
        buffer_7 = T.alloc_local((4,), "uint32")
        buffer_8: T.uint64
        buffer_9 = T.alloc_local((2,))
        buffer_10 = T.alloc_local((2,))
        buffer_11 = T.alloc_local((2,), "float16")
        buffer_12 = T.alloc_local((2,), "float16")
        if thread == 0:
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[4480])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[4488])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[4496])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[4504])), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.fence("mbarrier_init", "release", "cluster", "")
            T.ptx.fence("proxy", "async", "shared::cta", "")
        if thread < 9:
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[4672 + thread * 4])), T.uint32(0), "", "", "", "shared", "", "", "", "u32", "")
        T.cuda.cta_sync()
        T.ptx.griddepcontrol("wait", "")
        T.ptx.griddepcontrol("launch_dependents", "")
        buffer_13: T.uint32
        buffer_14 = T.alloc_local((2,), "int32")
        buffer_14[0] = -2
        if thread < v * 2:
            buffer_15: T.int32
            T.ptx.ld(buffer_15, T.address_of(ExpertIds[0, thread]), "", "", "", "global", "", "", "", "", "", "s32", "")
            buffer_16: T.int32 = T.Cast("int32", T.min(T.Cast("uint32", buffer_15), T.uint32(8)))
            T.ptx.atom(buffer_13, T.cuda.cvta_generic_to_shared(T.address_of(arena[4672 + buffer_16 * 4])), T.uint32(1), "", "", "shared", "add", "", "u32", "")
            buffer_14[0] = buffer_16
            buffer_14[1] = T.Cast("int32", buffer_13)
        for v_1 in range(T.max(T.Div(v * 2 + 127, 128) - 1, 0)):
            buffer_15: T.int32 = (v_1 + 1) * 128 + thread
            if buffer_15 < v * 2:
                buffer_16: T.int32
                T.ptx.ld(buffer_16, T.address_of(ExpertIds[0, buffer_15]), "", "", "", "global", "", "", "", "", "", "s32", "")
                buffer_17: T.int32 = T.Cast("int32", T.min(T.Cast("uint32", buffer_16), T.uint32(8)))
                T.ptx.atom(buffer_13, T.cuda.cvta_generic_to_shared(T.address_of(arena[4672 + buffer_17 * 4])), T.uint32(1), "", "", "shared", "add", "", "u32", "")
        T.cuda.cta_sync()
        buffer_15: T.int32
        buffer_16: T.int32
        buffer_15 = 0
        buffer_17: T.int32 = 0
        buffer_18: T.int32 = thread % 32
        if buffer_18 < 9:
            buffer_19: T.int32
            T.ptx.ld(buffer_19, T.cuda.cvta_generic_to_shared(T.address_of(arena[4672 + buffer_18 * 4])), "", "", "", "shared", "", "", "", "", "", "s32", "")
            buffer_17 = buffer_19
        buffer_15 = buffer_15 + T.Div(buffer_17 + 7, 8)
        buffer_19: T.int32 = buffer_15
        buffer_16 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_15, 1, 32, 32)
        if thread % 32 >= 1:
            buffer_15 = buffer_15 + buffer_16
        buffer_16 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_15, 2, 32, 32)
        if thread % 32 >= 2:
            buffer_15 = buffer_15 + buffer_16
        buffer_16 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_15, 4, 32, 32)
        if thread % 32 >= 4:
            buffer_15 = buffer_15 + buffer_16
        buffer_16 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_15, 8, 32, 32)
        if thread % 32 >= 8:
            buffer_15 = buffer_15 + buffer_16
        buffer_16 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_15, 16, 32, 32)
        if thread % 32 >= 16:
            buffer_15 = buffer_15 + buffer_16
        buffer_3[0] = -1
        buffer_3[1] = 0
        buffer_3[2] = 0
        buffer_15 = buffer_15 - buffer_19
        if T.truncmod(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) >= buffer_15 and T.truncmod(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) < buffer_15 + buffer_19:
            buffer_20: T.int32 = T.truncmod(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) - buffer_15
            if buffer_20 >= 0 and buffer_20 < T.Div(buffer_17 + 7, 8):
                buffer_3[0] = thread % 32
                buffer_3[1] = buffer_17
                buffer_3[2] = buffer_20 * 8
            buffer_15 = buffer_15 + T.Div(buffer_17 + 7, 8)
        T.ptx.redux_sync(buffer_3[0], buffer_3[0], T.uint32(4294967295), "max", "s32", "")
        T.ptx.redux_sync(buffer_3[1], buffer_3[1], T.uint32(4294967295), "max", "s32", "")
        T.ptx.redux_sync(buffer_3[2], buffer_3[2], T.uint32(4294967295), "max", "s32", "")
        buffer = buffer_3[0]
        buffer_1 = T.min(buffer_3[1] - buffer_3[2], 8)
        if buffer_3[1] <= 8 and v * 2 <= 128:
            if buffer_14[0] == buffer_3[0]:
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[4608 + buffer_14[1] * 4])), T.Cast("uint32", thread), "", "", "", "shared", "", "", "", "u32", "")
        else:
            if thread < 32:
                buffer_20: T.int32
                buffer_21: T.int32
                buffer_20 = buffer_3[2] * -1
                buffer_22: T.uint32 = (T.uint32(1) << T.Cast("uint32", thread % 32)) - T.uint32(1)
                for v_1 in range(T.Div(v * 2 + 31, 32)):
                    buffer_23: T.int32 = v_1 * 32 + thread % 32
                    buffer_21 = -1
                    if buffer_23 < v * 2:
                        buffer_24: T.int32
                        T.ptx.ld(buffer_24, T.address_of(ExpertIds[0, buffer_23]), "", "", "", "global", "", "", "", "", "", "s32", "")
                        buffer_21 = T.Cast("int32", T.min(T.Cast("uint32", buffer_24), T.uint32(8)))
                    buffer_24: T.uint32
                    T.ptx.vote_sync(buffer_24, T.Select(buffer_21 == buffer_3[0], T.uint32(1), T.uint32(0)), T.uint32(4294967295), "ballot", "b32", "p1")
                    buffer_25: T.int32 = buffer_20 + T.Cast("int32", T.popcount(buffer_24 & buffer_22))
                    if buffer_21 == buffer_3[0] and buffer_25 >= 0 and buffer_25 < 8:
                        T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[4608 + buffer_25 * 4])), T.Cast("uint32", buffer_23), "", "", "", "shared", "", "", "", "u32", "")
                    buffer_20 = buffer_20 + T.Cast("int32", T.popcount(buffer_24))
        if buffer >= 0 and buffer < 8:
            T.cuda.cta_sync()
            buffer_8 = T.cuda.func_call("bitquant_address", T.address_of(B[T.Cast("int64", buffer), 0, 0]), source_code="\n__forceinline__ __device__ unsigned long long bitquant_address(const void* pointer) {\n  unsigned long long address;\n  asm volatile(\"mov.b64 %0, %1;\" : \"=l\"(address) : \"l\"(pointer));\n  return address;\n}\n", return_type="uint64")
            if T.bool(True):
                if thread % 32 == 0:
                    T.ptx.mbarrier(T.cuda.cvta_generic_to_shared(T.address_of(arena[4480 + thread // 32 * 8])), T.Cast("uint32", T.min(buffer_1, 8) * 128), "arrive", "expect_tx", "", "", "shared::cta", "b64", "")
                T.ptx.bar(T.uint32(4294967295), "warp", "sync", "")
                if thread % 32 < T.min(buffer_1, 8):
                    buffer_20: T.int32
                    T.ptx.ld(buffer_20, T.cuda.cvta_generic_to_shared(T.address_of(arena[4608 + thread % 32 * 4])), "", "", "", "shared", "", "", "", "", "", "s32", "")
                    T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 * 528 + thread // 32 * 128])), T.address_of(A[T.Div(buffer_20, 2), T.truncmod(buffer_20, 2), thread // 32 * 128 // 2]), T.uint32(128), T.cuda.cvta_generic_to_shared(T.address_of(arena[4480 + thread // 32 * 8])), "async", "bulk", "", "", "shared::cluster", "global", "mbarrier::complete_tx::bytes", "", "", "", "")
            if thread < 16:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[4224 + thread * 16])), T.address_of(Scale[T.Cast("int64", buffer), T.Div(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) * 16 + thread, 0]), 8, "async", "ca", "shared", "global", "", "", "")
            T.ptx.cp("async", "commit_group", "")
            buffer_20: T.int32 = T.Div(T.Div(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) * 16, 16) * 2048 + (thread // 32 * 512 + thread % 32 * 16)
            T.ptx.ld(buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], T.reinterpret(T.handle().ty, buffer_8 + T.Cast("uint64", buffer_20)), "", "", "global", "", "nc", "L1::no_allocate", "", "L2::256B", "v4", "u32", "")
            T.ptx.cp(0, "async", "wait_group", "")
            T.cuda.cta_sync()
            for iteration in range(1):
                for v_1 in T.unroll(4):
                    buffer_4[v_1] = T.float32(0.0)
                T.cuda.mbarrier_wait(T.address_of(arena[4480 + thread // 32 * 8]), 0)
                for body in range(1):
                    buffer_21: T.uint16
                    T.ptx.ld(buffer_21, T.cuda.cvta_generic_to_shared(T.address_of(arena[4224 + thread % 32 // 4 * 16 + (thread // 32 + body) * 64 // 64 * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                    buffer_9[0] = T.Cast("float32", T.reinterpret("float16", buffer_21))
                    buffer_22: T.uint16
                    T.ptx.ld(buffer_22, T.cuda.cvta_generic_to_shared(T.address_of(arena[4224 + (8 + thread % 32 // 4) * 16 + (thread // 32 + body) * 64 // 64 * 2])), "", "", "", "shared", "", "", "", "", "", "u16", "")
                    buffer_9[1] = T.Cast("float32", T.reinterpret("float16", buffer_22))
                    if body + 1 < 1:
                        T.evaluate(0)
                    buffer_23 = T.alloc_local((4,), "uint32")
                    buffer_23[0] = buffer_7[0]
                    buffer_23[1] = buffer_7[1]
                    buffer_23[2] = buffer_7[2]
                    buffer_23[3] = buffer_7[3]
                    buffer_24: T.int32 = T.Div(T.Div(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) * 16, 16) * 2048 + ((thread // 32 + (body + 1)) * 512 + thread % 32 * 16)
                    if body + 1 < 1:
                        T.ptx.ld(buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], T.reinterpret(T.handle().ty, buffer_8 + T.Cast("uint64", buffer_24)), "", "", "global", "", "nc", "L1::no_allocate", "", "L2::256B", "v4", "u32", "")
                    buffer_25 = T.alloc_local((4,), "uint32")
                    T.ptx.ldmatrix(buffer_25[0], buffer_25[1], buffer_25[2], buffer_25[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 % 8 * 528 + ((thread // 32 + body) * 64 * 16 // 8 + (thread % 32 // 8 % 2 + thread % 32 // 16 * 2) * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                    for v_1 in T.unroll(4):
                        buffer_5[v_1] = T.float32(0.0)
                    buffer_26: T.uint32 = buffer_23[0] & T.uint32(16711935)
                    buffer_27: T.uint32 = buffer_23[0] & T.uint32(15728880)
                    buffer_28: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_23[0], T.uint32(0), T.uint32(17217))
                    buffer_29: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_23[0], T.uint32(0), T.uint32(17217)) & T.uint32(15728880)
                    T.ptx.mma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_26, buffer_27, buffer_28, buffer_29, buffer_25[0], buffer_25[1], buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                    buffer_30: T.uint32 = buffer_23[1] & T.uint32(16711935)
                    buffer_31: T.uint32 = buffer_23[1] & T.uint32(15728880)
                    buffer_32: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_23[1], T.uint32(0), T.uint32(17217))
                    buffer_33: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_23[1], T.uint32(0), T.uint32(17217)) & T.uint32(15728880)
                    T.ptx.mma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_30, buffer_31, buffer_32, buffer_33, buffer_25[2], buffer_25[3], buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                    buffer_34 = T.alloc_local((4,), "uint32")
                    T.ptx.ldmatrix(buffer_34[0], buffer_34[1], buffer_34[2], buffer_34[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 % 8 * 528 + ((thread // 32 + body) * 64 * 16 // 8 + 64 + (thread % 32 // 8 % 2 + thread % 32 // 16 * 2) * 16)])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
                    buffer_35: T.uint32 = buffer_23[2] & T.uint32(16711935)
                    buffer_36: T.uint32 = buffer_23[2] & T.uint32(15728880)
                    buffer_37: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_23[2], T.uint32(0), T.uint32(17217))
                    buffer_38: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_23[2], T.uint32(0), T.uint32(17217)) & T.uint32(15728880)
                    T.ptx.mma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_35, buffer_36, buffer_37, buffer_38, buffer_34[0], buffer_34[1], buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                    buffer_39: T.uint32 = buffer_23[3] & T.uint32(16711935)
                    buffer_40: T.uint32 = buffer_23[3] & T.uint32(15728880)
                    buffer_41: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_23[3], T.uint32(0), T.uint32(17217))
                    buffer_42: T.uint32 = T.call_pure_extern("uint32", "__byte_perm", buffer_23[3], T.uint32(0), T.uint32(17217)) & T.uint32(15728880)
                    T.ptx.mma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_39, buffer_40, buffer_41, buffer_42, buffer_34[2], buffer_34[3], buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
                    buffer_43 = T.alloc_local((4,))
                    buffer_4[0] = buffer_4[0] + (buffer_5[0] - buffer_5[2]) * buffer_9[0]
                    buffer_4[1] = buffer_4[1] + (buffer_5[1] - buffer_5[3]) * buffer_9[0]
                    buffer_4[2] = buffer_4[2] + buffer_5[2] * buffer_9[1]
                    buffer_4[3] = buffer_4[3] + buffer_5[3] * buffer_9[1]
                T.cuda.cta_sync()
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 * 8 + thread % 32 % 4 * 2) * 20 + thread % 32 // 4) * 4])), buffer_4[0] * T.float32(16777216.0), "", "", "", "shared", "", "", "", "f32", "")
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 * 8 + (thread % 32 % 4 * 2 + 1)) * 20 + thread % 32 // 4) * 4])), buffer_4[1] * T.float32(16777216.0), "", "", "", "shared", "", "", "", "f32", "")
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 * 8 + thread % 32 % 4 * 2) * 20 + (8 + thread % 32 // 4)) * 4])), buffer_4[2] * T.float32(1048576.0), "", "", "", "shared", "", "", "", "f32", "")
                T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[((thread // 32 * 8 + (thread % 32 % 4 * 2 + 1)) * 20 + (8 + thread % 32 // 4)) * 4])), buffer_4[3] * T.float32(1048576.0), "", "", "", "shared", "", "", "", "f32", "")
                T.cuda.cta_sync()
                if thread // 16 < buffer_1:
                    buffer_21 = T.alloc_local((4,))
                    T.ptx.ld(buffer_21[0], T.cuda.cvta_generic_to_shared(T.address_of(arena[(thread // 16 * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                    T.ptx.ld(buffer_21[1], T.cuda.cvta_generic_to_shared(T.address_of(arena[((8 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                    T.ptx.ld(buffer_21[2], T.cuda.cvta_generic_to_shared(T.address_of(arena[((16 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                    T.ptx.ld(buffer_21[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[((24 + thread // 16) * 20 + thread % 16) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
                    buffer_21[0] = buffer_21[0] + buffer_21[1]
                    buffer_21[0] = buffer_21[0] + buffer_21[2]
                    buffer_21[0] = buffer_21[0] + buffer_21[3]
                    buffer_22: T.int32
                    T.ptx.ld(buffer_22, T.cuda.cvta_generic_to_shared(T.address_of(arena[4608 + thread // 16 * 4])), "", "", "", "shared", "", "", "", "", "", "s32", "")
                    buffer_23: T.float32
                    T.ptx.ld(buffer_23, T.address_of(RoutingWeights[T.Div(buffer_22, 2), T.truncmod(buffer_22, 2)]), "", "", "", "global", "", "", "", "", "", "f32", "")
                    T.ptx.st(T.address_of(slot_values[T.Cast("int64", buffer_22) * T.int64(64) + T.Cast("int64", T.Div(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) * 16 + thread % 16)]), buffer_21[0] * buffer_23, "", "", "", "global", "", "", "", "f32", "")
        T.cuda.cta_sync()
        if buffer >= 0:
            if thread < 32:
                if thread % 32 < buffer_1:
                    buffer_20: T.int32
                    T.ptx.ld(buffer_20, T.cuda.cvta_generic_to_shared(T.address_of(arena[4608 + thread % 32 * 4])), "", "", "", "shared", "", "", "", "", "", "s32", "")
                    buffer_21: T.int32 = T.Div(buffer_20, 2)
                    buffer_22: T.uint32
                    T.ptx.fence("acq_rel", "gpu", "")
                    T.ptx.atom(buffer_22, T.address_of(counters[buffer_21 * 4 + T.Div(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8))]), T.uint32(1), "acq_rel", "gpu", "global", "add", "", "u32", "")
                    if buffer_22 == T.uint32(1):
                        T.ptx.st(T.address_of(counters[buffer_21 * 4 + T.Div(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8))]), T.uint32(0), "", "relaxed", "gpu", "global", "", "", "", "u32", "")
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[4640 + thread % 32 * 4])), T.Select(buffer_22 == T.uint32(1), T.uint32(1), T.uint32(0)), "", "", "", "shared", "", "", "", "u32", "")
            T.cuda.cta_sync()
            for v_1 in range(buffer_1):
                buffer_20: T.uint32
                T.ptx.ld(buffer_20, T.cuda.cvta_generic_to_shared(T.address_of(arena[4640 + v_1 * 4])), "", "", "", "shared", "", "", "", "", "", "u32", "")
                if buffer_20 != T.uint32(0):
                    buffer_21: T.int32
                    T.ptx.ld(buffer_21, T.cuda.cvta_generic_to_shared(T.address_of(arena[4608 + v_1 * 4])), "", "", "", "shared", "", "", "", "", "", "s32", "")
                    buffer_22: T.int32 = T.Div(buffer_21, 2)
                    buffer_23 = T.alloc_local((2,))
                    buffer_24: T.float32
                    for v_2, v_3 in T.grid(1, 1):
                        buffer_25: T.int32 = v_3 * 128 + thread
                        if buffer_25 < 16 and T.Div(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) * 16 + buffer_25 < 64:
                            buffer_24 = T.float32(0.0)
                            for v_4 in range(1):
                                T.ptx.ld(buffer_23[0], T.address_of(slot_values[T.Cast("int64", buffer_22 * 2 + v_4 * 2) * T.int64(64) + T.Cast("int64", T.Div(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) * 16 + buffer_25)]), "", "", "", "global", "cg", "", "", "", "", "f32", "")
                                T.ptx.ld(buffer_23[1], T.address_of(slot_values[T.Cast("int64", buffer_22 * 2 + v_4 * 2 + 1) * T.int64(64) + T.Cast("int64", T.Div(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) * 16 + buffer_25)]), "", "", "", "global", "cg", "", "", "", "", "f32", "")
                                buffer_26: T.int32
                                T.ptx.ld(buffer_26, T.address_of(ExpertIds[0, buffer_22 * 2 + v_4 * 2]), "", "", "", "global", "", "", "", "", "", "s32", "")
                                if T.Cast("uint32", buffer_26) < T.uint32(8):
                                    buffer_24 = buffer_24 + buffer_23[0]
                                buffer_27: T.int32
                                T.ptx.ld(buffer_27, T.address_of(ExpertIds[0, buffer_22 * 2 + v_4 * 2 + 1]), "", "", "", "global", "", "", "", "", "", "s32", "")
                                if T.Cast("uint32", buffer_27) < T.uint32(8):
                                    buffer_24 = buffer_24 + buffer_23[1]
                            D[buffer_22, T.Div(block, T.min(v * 2, 9) + T.Div(v * 2 - T.min(v * 2, 9), 8)) * 16 + buffer_25] = T.Cast("float16", buffer_24)
