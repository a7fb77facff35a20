# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@T.prim_func
def grouped_matmul_m16(A: T.Buffer(("v", 128), "float16"), B: T.Buffer((5, 4, 1024), "int8"), Scale: T.Buffer((5, 64, 2), "float16"), Offsets: T.Buffer((5,), "int32"), D: T.Buffer((v, 64), "float16")):
    v = T.int32()
    T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": [16], "N": 64, "W_dtype": "uint4", "accum_dtype": "float16", "group_size": 64, "layout": "nt", "num_experts": 5, "operation": "grouped_matmul", "out_dtype": "float16", "plain_layout": False, "routing": "sorted", "scale_dtype": "float16", "with_bias": False, "with_scaling": True, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "fragment", "bitquant.rung": 16, "tirx.kernel_launch_params": ["tirx.use_programtic_dependent_launch"]})
    A_map: T.let[T.TensorMap()] = T.tvm_stack_alloca("tensormap", 1)
    T.call_packed("runtime.cuTensorMapEncodeTiled", A_map, "float16", 2, A.data, 128, v, 256, 64, 8, 1, 1, 0, 3, 3, 0)
    W_map: T.let[T.TensorMap()] = T.tvm_stack_alloca("tensormap", 1)
    T.call_packed("runtime.cuTensorMapEncodeTiled", W_map, "uint64", 3, B.data, 64, 2, 20, 512, 1024, 64, 1, 4, 1, 1, 1, 0, 0, 3, 0)
    with T.attr({"tirx.device_entry": T.bool(True), "tirx.launch_bounds_min_blocks_per_sm": 1}):
        block = T.cta_id([T.min(T.Div(v, 8) + T.min(v, 5), 132)])
        thread = T.thread_id([256])
        arena = T.alloc_buffer((10528,), "uint8", scope="shared.dyn", align=1024)
        buffer: T.int64
        buffer_1: T.uint32 = T.cuda.cvta_generic_to_shared(T.address_of(arena[0]))
        buffer_2: T.int32 = T.tvm_warp_shuffle(T.uint32(4294967295), thread // 128, 0, 32, 32)
        if thread == 0:
            T.ptx.st(buffer_1 + T.uint32(10416), T.uint32(983055), "", "", "", "shared", "", "", "", "u32", "")
            T.ptx.st(buffer_1 + T.uint32(10420), T.uint32(15728880), "", "", "", "shared", "", "", "", "u32", "")
        if thread == 0:
            T.ptx.mbarrier(buffer_1 + T.uint32(10368), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(buffer_1 + T.uint32(10368) + T.uint32(24), T.uint32(4), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(buffer_1 + T.uint32(10368) + T.uint32(8), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(buffer_1 + T.uint32(10368) + T.uint32(24) + T.uint32(8), T.uint32(4), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(buffer_1 + T.uint32(10368) + T.uint32(16), T.uint32(1), "init", "", "shared::cta", "b64", "")
            T.ptx.mbarrier(buffer_1 + T.uint32(10368) + T.uint32(24) + T.uint32(16), T.uint32(4), "init", "", "shared::cta", "b64", "")
            T.ptx.fence("mbarrier_init", "release", "cluster", "")
            T.ptx.fence("proxy", "async", "shared::cta", "")
        if thread // 32 == 1:
            T.ptx.griddepcontrol("wait", "")
            buffer_3: T.int32
            buffer_4: T.int32
            buffer_5: T.int32
            T.ptx.ld(buffer_5, T.address_of(Offsets[T.min(thread % 32, 4)]), "", "", "", "global", "", "", "", "", "", "s32", "")
            buffer_3 = T.max(T.min(buffer_5, v), 0)
            buffer_6: T.int32 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_3, 1, 32, 32)
            buffer_7: T.int32 = T.Select(thread % 32 == 0, 0, buffer_6)
            buffer_4 = T.Div(T.max(buffer_3 - buffer_7, 0) + 7, 8)
            buffer_8: T.int32 = buffer_4
            buffer_9: T.int32 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_8, 1, 32, 32)
            buffer_8 = buffer_8 + T.Select(thread % 32 >= 1, buffer_9, 0)
            buffer_10: T.int32 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_8, 2, 32, 32)
            buffer_8 = buffer_8 + T.Select(thread % 32 >= 2, buffer_10, 0)
            buffer_11: T.int32 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_8, 4, 32, 32)
            buffer_8 = buffer_8 + T.Select(thread % 32 >= 4, buffer_11, 0)
            buffer_12: T.int32 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_8, 8, 32, 32)
            buffer_8 = buffer_8 + T.Select(thread % 32 >= 8, buffer_12, 0)
            buffer_13: T.int32 = T.tvm_warp_shuffle_up(T.uint32(4294967295), buffer_8, 16, 32, 32)
            buffer_8 = buffer_8 + T.Select(thread % 32 >= 16, buffer_13, 0)
            buffer_14: T.int32 = buffer_8 - buffer_4
            if thread % 32 < 5:
                T.ptx.st(buffer_1 + T.Cast("uint32", 10480 + (thread % 32 + 1) * 8), buffer_14 + buffer_4, buffer_3, "", "", "shared", "", "", "", "v2", "s32", "")
            if thread % 32 == 0:
                T.ptx.st(buffer_1 + T.uint32(10480), 0, 0, "", "", "shared", "", "", "", "v2", "s32", "")
        T.cuda.cta_sync()
        buffer_3 = T.alloc_local((2,), "int32")
        T.ptx.ld(buffer_3[0], buffer_3[1], buffer_1 + T.uint32(10520), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
        buffer_4: T.int32 = buffer_3[0]
        if buffer_2 == 1:
            if thread % 128 == 0:
                buffer_5: T.int32 = block
                buffer_6: T.int32 = 0
                buffer_7 = T.alloc_local((2,), "int32")
                T.ptx.ld(buffer_7[0], buffer_7[1], buffer_1 + T.Cast("uint32", 10480 + T.min(buffer_6 + 4, 5) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                buffer_6 = buffer_6 + T.Select(buffer_7[0] <= buffer_5, 4, 0)
                buffer_8 = T.alloc_local((2,), "int32")
                T.ptx.ld(buffer_8[0], buffer_8[1], buffer_1 + T.Cast("uint32", 10480 + T.min(buffer_6 + 2, 5) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                buffer_6 = buffer_6 + T.Select(buffer_8[0] <= buffer_5, 2, 0)
                buffer_9 = T.alloc_local((2,), "int32")
                T.ptx.ld(buffer_9[0], buffer_9[1], buffer_1 + T.Cast("uint32", 10480 + T.min(buffer_6 + 1, 5) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                buffer_6 = buffer_6 + T.Select(buffer_9[0] <= buffer_5, 1, 0)
                buffer_10: T.int32 = T.min(buffer_6, 4)
                buffer_11 = T.alloc_local((2,), "int32")
                T.ptx.ld(buffer_11[0], buffer_11[1], buffer_1 + T.Cast("uint32", 10480 + buffer_10 * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                buffer_12 = T.alloc_local((2,), "int32")
                T.ptx.ld(buffer_12[0], buffer_12[1], buffer_1 + T.Cast("uint32", 10480 + (buffer_10 + 1) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                buffer_13: T.int32 = T.max(buffer_12[0] - buffer_11[0], 1)
                buffer_14: T.int32 = block - buffer_11[0]
                buffer_15: T.int32 = T.min(buffer_13 - T.Div(buffer_14, 8) * 8, 8)
                buffer_16: T.int32 = buffer_11[1] + (T.Div(buffer_14, 8) * 8 + T.truncmod(T.truncmod(buffer_14, 8), buffer_15)) * 8
                buffer_17: T.int32 = T.Div(T.truncmod(buffer_14, 8), buffer_15) * 64
                buffer_18: T.int32 = T.Select(block < buffer_4, 2, 0)
                buffer_19 = T.alloc_local((2,), "uint32")
                buffer_19[0] = T.uint32(0)
                buffer_19[1] = T.uint32(0)
                buffer_20 = T.alloc_local((2,), "uint32")
                buffer_20[0] = T.uint32(0)
                buffer_20[1] = T.uint32(0)
                T.ptx.griddepcontrol("wait", "")
                for v_1 in range(buffer_18):
                    T.ptx.mbarrier(buffer_1 + T.uint32(10368) + buffer_19[0], T.uint32(3072), "arrive", "expect_tx", "", "", "shared::cta", "b64", "")
                    T.ptx.cp(buffer_1 + buffer_19[0] * T.uint32(384) + T.uint32(1024), T.reinterpret(T.handle().ty, T.address_of(W_map)), 0, v_1 * 64 // 64, buffer_10 * 4 + buffer_17 // 16, buffer_1 + T.uint32(10368) + buffer_19[0], "async", "bulk", "tensor", "3d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                    buffer_21: T.bool = buffer_19[0] == T.uint32(16)
                    buffer_19[1] = T.Select(buffer_21, buffer_19[1] ^ T.uint32(1), buffer_19[1])
                    buffer_19[0] = T.Select(buffer_21, T.uint32(0), buffer_19[0] + T.uint32(8))
                T.ptx.griddepcontrol("launch_dependents", "")
                for v_1 in range(buffer_18):
                    T.ptx.cp(buffer_1 + buffer_20[0] * T.uint32(384), T.reinterpret(T.handle().ty, T.address_of(A_map)), v_1 * 64, buffer_16, buffer_1 + T.uint32(10368) + buffer_20[0], "async", "bulk", "tensor", "2d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                    buffer_21: T.bool = buffer_20[0] == T.uint32(16)
                    buffer_20[1] = T.Select(buffer_21, buffer_20[1] ^ T.uint32(1), buffer_20[1])
                    buffer_20[0] = T.Select(buffer_21, T.uint32(0), buffer_20[0] + T.uint32(8))
                buffer_21: T.int32 = buffer_18
                buffer_22: T.int32 = block
                while buffer_22 < buffer_4:
                    buffer_23: T.int32 = buffer_22
                    buffer_24: T.int32 = 0
                    buffer_25 = T.alloc_local((2,), "int32")
                    T.ptx.ld(buffer_25[0], buffer_25[1], buffer_1 + T.Cast("uint32", 10480 + T.min(buffer_24 + 4, 5) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                    buffer_24 = buffer_24 + T.Select(buffer_25[0] <= buffer_23, 4, 0)
                    buffer_26 = T.alloc_local((2,), "int32")
                    T.ptx.ld(buffer_26[0], buffer_26[1], buffer_1 + T.Cast("uint32", 10480 + T.min(buffer_24 + 2, 5) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                    buffer_24 = buffer_24 + T.Select(buffer_26[0] <= buffer_23, 2, 0)
                    buffer_27 = T.alloc_local((2,), "int32")
                    T.ptx.ld(buffer_27[0], buffer_27[1], buffer_1 + T.Cast("uint32", 10480 + T.min(buffer_24 + 1, 5) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                    buffer_24 = buffer_24 + T.Select(buffer_27[0] <= buffer_23, 1, 0)
                    buffer_28: T.int32 = T.min(buffer_24, 4)
                    buffer_29 = T.alloc_local((2,), "int32")
                    T.ptx.ld(buffer_29[0], buffer_29[1], buffer_1 + T.Cast("uint32", 10480 + buffer_28 * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                    buffer_30 = T.alloc_local((2,), "int32")
                    T.ptx.ld(buffer_30[0], buffer_30[1], buffer_1 + T.Cast("uint32", 10480 + (buffer_28 + 1) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                    buffer_31: T.int32 = T.max(buffer_30[0] - buffer_29[0], 1)
                    buffer_32: T.int32 = buffer_22 - buffer_29[0]
                    buffer_33: T.int32 = T.min(buffer_31 - T.Div(buffer_32, 8) * 8, 8)
                    buffer_34: T.int32 = buffer_29[1] + (T.Div(buffer_32, 8) * 8 + T.truncmod(T.truncmod(buffer_32, 8), buffer_33)) * 8
                    buffer_35: T.int32 = T.Div(T.truncmod(buffer_32, 8), buffer_33) * 64
                    buffer = T.Cast("int64", buffer_28)
                    for v_1 in range(2 - buffer_21):
                        T.cuda.mbarrier_wait(buffer_1 + T.uint32(10368) + T.uint32(24) + buffer_20[0], T.Cast("int32", buffer_20[1] ^ T.uint32(1)))
                        T.ptx.mbarrier(buffer_1 + T.uint32(10368) + buffer_20[0], T.uint32(3072), "arrive", "expect_tx", "", "", "shared::cta", "b64", "")
                        T.ptx.cp(buffer_1 + buffer_20[0] * T.uint32(384), T.reinterpret(T.handle().ty, T.address_of(A_map)), (buffer_21 + v_1) * 64, buffer_34, buffer_1 + T.uint32(10368) + buffer_20[0], "async", "bulk", "tensor", "2d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                        T.ptx.cp(buffer_1 + buffer_20[0] * T.uint32(384) + T.uint32(1024), T.reinterpret(T.handle().ty, T.address_of(W_map)), 0, (buffer_21 + v_1) * 64 // 64, buffer_28 * 4 + buffer_35 // 16, buffer_1 + T.uint32(10368) + buffer_20[0], "async", "bulk", "tensor", "3d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                        buffer_36: T.bool = buffer_20[0] == T.uint32(16)
                        buffer_20[1] = T.Select(buffer_36, buffer_20[1] ^ T.uint32(1), buffer_20[1])
                        buffer_20[0] = T.Select(buffer_36, T.uint32(0), buffer_20[0] + T.uint32(8))
                    buffer_21 = 0
                    buffer_22 = buffer_22 + T.min(T.Div(v, 8) + T.min(v, 5), 132)
        else:
            buffer_5 = T.alloc_local((4,))
            buffer_6 = T.alloc_local((16,), "uint32")
            buffer_7 = T.alloc_local((16,), "uint32")
            buffer_8 = T.alloc_local((4,), "uint32")
            buffer_9 = T.alloc_local((2,), "uint32")
            buffer_9[0] = T.uint32(0)
            buffer_9[1] = T.uint32(0)
            buffer_10 = T.alloc_local((2,), "uint32")
            buffer_10[0] = T.uint32(0)
            buffer_10[1] = T.uint32(0)
            buffer_11: T.uint32
            buffer_12: T.uint32 = T.uint32(0)
            buffer_13: T.uint32
            buffer_14: T.uint32
            buffer_15: T.uint32
            buffer_16: T.uint32
            buffer_17: T.uint32
            buffer_18 = T.alloc_local((2,), "uint32")
            buffer_19 = T.alloc_local((2,), "uint32")
            buffer_20 = T.alloc_local((2,), "uint32")
            buffer_21: T.uint32
            T.ptx.ld(buffer_21, buffer_1 + T.uint32(10416), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_22: T.uint32
            T.ptx.ld(buffer_22, buffer_1 + T.uint32(10420), "", "", "", "shared", "", "", "", "", "", "u32", "")
            buffer_23: T.int32 = block
            while buffer_23 < buffer_4:
                buffer_24: T.int32 = buffer_23
                buffer_25: T.int32 = 0
                buffer_26 = T.alloc_local((2,), "int32")
                T.ptx.ld(buffer_26[0], buffer_26[1], buffer_1 + T.Cast("uint32", 10480 + T.min(buffer_25 + 4, 5) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                buffer_25 = buffer_25 + T.Select(buffer_26[0] <= buffer_24, 4, 0)
                buffer_27 = T.alloc_local((2,), "int32")
                T.ptx.ld(buffer_27[0], buffer_27[1], buffer_1 + T.Cast("uint32", 10480 + T.min(buffer_25 + 2, 5) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                buffer_25 = buffer_25 + T.Select(buffer_27[0] <= buffer_24, 2, 0)
                buffer_28 = T.alloc_local((2,), "int32")
                T.ptx.ld(buffer_28[0], buffer_28[1], buffer_1 + T.Cast("uint32", 10480 + T.min(buffer_25 + 1, 5) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                buffer_25 = buffer_25 + T.Select(buffer_28[0] <= buffer_24, 1, 0)
                buffer_29: T.int32 = T.min(buffer_25, 4)
                buffer_30 = T.alloc_local((2,), "int32")
                T.ptx.ld(buffer_30[0], buffer_30[1], buffer_1 + T.Cast("uint32", 10480 + buffer_29 * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                buffer_31 = T.alloc_local((2,), "int32")
                T.ptx.ld(buffer_31[0], buffer_31[1], buffer_1 + T.Cast("uint32", 10480 + (buffer_29 + 1) * 8), "", "", "shared", "", "", "", "", "", "v2", "s32", "")
                buffer_32: T.int32 = T.max(buffer_31[0] - buffer_30[0], 1)
                buffer_33: T.int32 = buffer_23 - buffer_30[0]
                buffer_34: T.int32 = T.min(buffer_32 - T.Div(buffer_33, 8) * 8, 8)
                buffer_35: T.int32 = buffer_30[1] + (T.Div(buffer_33, 8) * 8 + T.truncmod(T.truncmod(buffer_33, 8), buffer_34)) * 8
                buffer_36: T.int32 = T.Div(T.truncmod(buffer_33, 8), buffer_34) * 64
                buffer = T.Cast("int64", buffer_29)
                buffer_37: T.int32 = 0
                for v_1 in T.unroll(4):
                    buffer_5[v_1] = T.float32(0.0)
                buffer_13 = T.Cast("uint32", T.reinterpret("uint16", Scale[T.Cast("int64", buffer_29), buffer_36 + buffer_2 * 64 + thread // 32 % 4 * 16 + thread % 32 // 4, T.min(buffer_37 // 4 * 4 + thread % 32 % 4, 1)]))
                buffer_14 = T.Cast("uint32", T.reinterpret("uint16", Scale[T.Cast("int64", buffer_29), buffer_36 + buffer_2 * 64 + thread // 32 % 4 * 16 + thread % 32 // 4 + 8, T.min(buffer_37 // 4 * 4 + thread % 32 % 4, 1)]))
                T.cuda.mbarrier_wait(buffer_1 + T.uint32(10368) + buffer_9[0], T.Cast("int32", buffer_9[1]))
                buffer_11 = buffer_1 + buffer_9[0] * T.uint32(384)
                buffer_38: T.bool = buffer_9[0] == T.uint32(16)
                buffer_9[1] = T.Select(buffer_38, buffer_9[1] ^ T.uint32(1), buffer_9[1])
                buffer_9[0] = T.Select(buffer_38, T.uint32(0), buffer_9[0] + T.uint32(8))
                buffer_39: T.uint32 = buffer_11 + T.Cast("uint32", 1024 + (buffer_2 * 4 + thread // 32 % 4) * 512 + thread % 32 * 16)
                T.ptx.ld(buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], buffer_39, "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                buffer_40: T.int32 = buffer_37 // 4 * 4
                buffer_41: T.uint32 = buffer_13 | buffer_14 << T.uint32(16)
                buffer_15 = buffer_41
                buffer_42: T.uint32 = T.tvm_warp_shuffle(T.uint32(4294967295), buffer_15, thread % 32 // 4 * 4 + buffer_37 % 4, 32, 32)
                buffer_18[0] = T.call_pure_extern("uint32", "__byte_perm", buffer_42, T.uint32(0), T.uint32(4112))
                buffer_18[1] = T.call_pure_extern("uint32", "__byte_perm", buffer_42, T.uint32(0), T.uint32(12850))
                if buffer_37 != buffer_37:
                    buffer_43: T.uint32 = T.tvm_warp_shuffle(T.uint32(4294967295), buffer_15, thread % 32 // 4 * 4 + buffer_37 % 4, 32, 32)
                    buffer_18[0] = T.call_pure_extern("uint32", "__byte_perm", buffer_43, T.uint32(0), T.uint32(4112))
                    buffer_18[1] = T.call_pure_extern("uint32", "__byte_perm", buffer_43, T.uint32(0), T.uint32(12850))
                buffer_43: T.uint32
                T.ptx.fma(buffer_43, buffer_8[0] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_44: T.uint32 = buffer_43
                buffer_45: T.uint32
                T.ptx.fma(buffer_45, buffer_44, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[0] = buffer_45
                buffer_46: T.uint32
                T.ptx.fma(buffer_46, buffer_8[0] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_47: T.uint32 = buffer_46
                buffer_48: T.uint32
                T.ptx.fma(buffer_48, buffer_47, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[1] = buffer_48
                buffer_49: T.uint32
                T.ptx.fma(buffer_49, buffer_8[0] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_50: T.uint32 = buffer_49
                buffer_51: T.uint32
                T.ptx.fma(buffer_51, buffer_50, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[2] = buffer_51
                buffer_52: T.uint32
                T.ptx.fma(buffer_52, buffer_8[0] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_53: T.uint32 = buffer_52
                buffer_54: T.uint32
                T.ptx.fma(buffer_54, buffer_53, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[3] = buffer_54
                buffer_55: T.uint32
                T.ptx.fma(buffer_55, buffer_8[1] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_56: T.uint32 = buffer_55
                buffer_57: T.uint32
                T.ptx.fma(buffer_57, buffer_56, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[4] = buffer_57
                buffer_58: T.uint32
                T.ptx.fma(buffer_58, buffer_8[1] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_59: T.uint32 = buffer_58
                buffer_60: T.uint32
                T.ptx.fma(buffer_60, buffer_59, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[5] = buffer_60
                buffer_61: T.uint32
                T.ptx.fma(buffer_61, buffer_8[1] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_62: T.uint32 = buffer_61
                buffer_63: T.uint32
                T.ptx.fma(buffer_63, buffer_62, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[6] = buffer_63
                buffer_64: T.uint32
                T.ptx.fma(buffer_64, buffer_8[1] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_65: T.uint32 = buffer_64
                buffer_66: T.uint32
                T.ptx.fma(buffer_66, buffer_65, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[7] = buffer_66
                buffer_67: T.uint32
                T.ptx.fma(buffer_67, buffer_8[2] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_68: T.uint32 = buffer_67
                buffer_69: T.uint32
                T.ptx.fma(buffer_69, buffer_68, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[8] = buffer_69
                buffer_70: T.uint32
                T.ptx.fma(buffer_70, buffer_8[2] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_71: T.uint32 = buffer_70
                buffer_72: T.uint32
                T.ptx.fma(buffer_72, buffer_71, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[9] = buffer_72
                buffer_73: T.uint32
                T.ptx.fma(buffer_73, buffer_8[2] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_74: T.uint32 = buffer_73
                buffer_75: T.uint32
                T.ptx.fma(buffer_75, buffer_74, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[10] = buffer_75
                buffer_76: T.uint32
                T.ptx.fma(buffer_76, buffer_8[2] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_77: T.uint32 = buffer_76
                buffer_78: T.uint32
                T.ptx.fma(buffer_78, buffer_77, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[11] = buffer_78
                buffer_79: T.uint32
                T.ptx.fma(buffer_79, buffer_8[3] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_80: T.uint32 = buffer_79
                buffer_81: T.uint32
                T.ptx.fma(buffer_81, buffer_80, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[12] = buffer_81
                buffer_82: T.uint32
                T.ptx.fma(buffer_82, buffer_8[3] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_83: T.uint32 = buffer_82
                buffer_84: T.uint32
                T.ptx.fma(buffer_84, buffer_83, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[13] = buffer_84
                buffer_85: T.uint32
                T.ptx.fma(buffer_85, buffer_8[3] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_86: T.uint32 = buffer_85
                buffer_87: T.uint32
                T.ptx.fma(buffer_87, buffer_86, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[14] = buffer_87
                buffer_88: T.uint32
                T.ptx.fma(buffer_88, buffer_8[3] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                buffer_89: T.uint32 = buffer_88
                buffer_90: T.uint32
                T.ptx.fma(buffer_90, buffer_89, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                buffer_6[15] = buffer_90
                T.cuda.mbarrier_wait(buffer_1 + T.uint32(10368) + buffer_9[0], T.Cast("int32", buffer_9[1]))
                buffer_11 = buffer_1 + buffer_9[0] * T.uint32(384)
                buffer_91: T.bool = buffer_9[0] == T.uint32(16)
                buffer_9[1] = T.Select(buffer_91, buffer_9[1] ^ T.uint32(1), buffer_9[1])
                buffer_9[0] = T.Select(buffer_91, T.uint32(0), buffer_9[0] + T.uint32(8))
                buffer_92: T.uint32 = buffer_11 + T.Cast("uint32", 1024 + (buffer_2 * 4 + thread // 32 % 4) * 512 + thread % 32 * 16)
                T.ptx.ld(buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], buffer_92, "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                for v_1 in range(1):
                    buffer_93: T.uint64 = T.Cast("uint64", (buffer_1 >> T.uint32(4) | T.uint32(65536)) + buffer_10[0] * T.uint32(24)) | T.uint64(4611686293305294848)
                    T.ptx.wgmma("fence", "sync", "aligned", "")
                    T.ptx.wgmma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_6[0], buffer_6[1], buffer_6[2], buffer_6[3], buffer_93, T.uint32(1), 1, 1, 0, "mma_async", "sync", "aligned", "m64n8k16", "f32", "f16", "f16", "p9")
                    T.ptx.wgmma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_6[4], buffer_6[5], buffer_6[6], buffer_6[7], buffer_93 + T.uint64(2), T.uint32(1), 1, 1, 0, "mma_async", "sync", "aligned", "m64n8k16", "f32", "f16", "f16", "p9")
                    T.ptx.wgmma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_6[8], buffer_6[9], buffer_6[10], buffer_6[11], buffer_93 + T.uint64(4), T.uint32(1), 1, 1, 0, "mma_async", "sync", "aligned", "m64n8k16", "f32", "f16", "f16", "p9")
                    T.ptx.wgmma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_6[12], buffer_6[13], buffer_6[14], buffer_6[15], buffer_93 + T.uint64(6), T.uint32(1), 1, 1, 0, "mma_async", "sync", "aligned", "m64n8k16", "f32", "f16", "f16", "p9")
                    T.ptx.wgmma("commit_group", "sync", "aligned", "")
                    T.ptx.wgmma(1, "wait_group", "sync", "aligned", "")
                    if thread % 32 == 0 and v_1 > 0:
                        T.ptx.mbarrier(buffer_1 + T.uint32(10368) + T.uint32(24) + buffer_12, "arrive", "", "", "shared::cta", "b64", "")
                    buffer_12 = buffer_10[0]
                    buffer_94: T.bool = buffer_10[0] == T.uint32(16)
                    buffer_10[1] = T.Select(buffer_94, buffer_10[1] ^ T.uint32(1), buffer_10[1])
                    buffer_10[0] = T.Select(buffer_94, T.uint32(0), buffer_10[0] + T.uint32(8))
                    buffer_95: T.uint32 = T.tvm_warp_shuffle(T.uint32(4294967295), buffer_15, thread % 32 // 4 * 4 + (buffer_37 + v_1 * 2 + 1) % 4, 32, 32)
                    buffer_18[0] = T.call_pure_extern("uint32", "__byte_perm", buffer_95, T.uint32(0), T.uint32(4112))
                    buffer_18[1] = T.call_pure_extern("uint32", "__byte_perm", buffer_95, T.uint32(0), T.uint32(12850))
                    buffer_96: T.uint32
                    T.ptx.fma(buffer_96, buffer_8[0] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_97: T.uint32 = buffer_96
                    buffer_98: T.uint32
                    T.ptx.fma(buffer_98, buffer_97, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[0] = buffer_98
                    buffer_99: T.uint32
                    T.ptx.fma(buffer_99, buffer_8[0] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_100: T.uint32 = buffer_99
                    buffer_101: T.uint32
                    T.ptx.fma(buffer_101, buffer_100, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[1] = buffer_101
                    buffer_102: T.uint32
                    T.ptx.fma(buffer_102, buffer_8[0] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_103: T.uint32 = buffer_102
                    buffer_104: T.uint32
                    T.ptx.fma(buffer_104, buffer_103, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[2] = buffer_104
                    buffer_105: T.uint32
                    T.ptx.fma(buffer_105, buffer_8[0] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_106: T.uint32 = buffer_105
                    buffer_107: T.uint32
                    T.ptx.fma(buffer_107, buffer_106, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[3] = buffer_107
                    buffer_108: T.uint32
                    T.ptx.fma(buffer_108, buffer_8[1] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_109: T.uint32 = buffer_108
                    buffer_110: T.uint32
                    T.ptx.fma(buffer_110, buffer_109, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[4] = buffer_110
                    buffer_111: T.uint32
                    T.ptx.fma(buffer_111, buffer_8[1] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_112: T.uint32 = buffer_111
                    buffer_113: T.uint32
                    T.ptx.fma(buffer_113, buffer_112, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[5] = buffer_113
                    buffer_114: T.uint32
                    T.ptx.fma(buffer_114, buffer_8[1] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_115: T.uint32 = buffer_114
                    buffer_116: T.uint32
                    T.ptx.fma(buffer_116, buffer_115, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[6] = buffer_116
                    buffer_117: T.uint32
                    T.ptx.fma(buffer_117, buffer_8[1] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_118: T.uint32 = buffer_117
                    buffer_119: T.uint32
                    T.ptx.fma(buffer_119, buffer_118, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[7] = buffer_119
                    buffer_120: T.uint32
                    T.ptx.fma(buffer_120, buffer_8[2] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_121: T.uint32 = buffer_120
                    buffer_122: T.uint32
                    T.ptx.fma(buffer_122, buffer_121, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[8] = buffer_122
                    buffer_123: T.uint32
                    T.ptx.fma(buffer_123, buffer_8[2] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_124: T.uint32 = buffer_123
                    buffer_125: T.uint32
                    T.ptx.fma(buffer_125, buffer_124, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[9] = buffer_125
                    buffer_126: T.uint32
                    T.ptx.fma(buffer_126, buffer_8[2] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_127: T.uint32 = buffer_126
                    buffer_128: T.uint32
                    T.ptx.fma(buffer_128, buffer_127, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[10] = buffer_128
                    buffer_129: T.uint32
                    T.ptx.fma(buffer_129, buffer_8[2] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_130: T.uint32 = buffer_129
                    buffer_131: T.uint32
                    T.ptx.fma(buffer_131, buffer_130, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[11] = buffer_131
                    buffer_132: T.uint32
                    T.ptx.fma(buffer_132, buffer_8[3] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_133: T.uint32 = buffer_132
                    buffer_134: T.uint32
                    T.ptx.fma(buffer_134, buffer_133, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[12] = buffer_134
                    buffer_135: T.uint32
                    T.ptx.fma(buffer_135, buffer_8[3] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_136: T.uint32 = buffer_135
                    buffer_137: T.uint32
                    T.ptx.fma(buffer_137, buffer_136, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[13] = buffer_137
                    buffer_138: T.uint32
                    T.ptx.fma(buffer_138, buffer_8[3] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_139: T.uint32 = buffer_138
                    buffer_140: T.uint32
                    T.ptx.fma(buffer_140, buffer_139, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[14] = buffer_140
                    buffer_141: T.uint32
                    T.ptx.fma(buffer_141, buffer_8[3] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                    buffer_142: T.uint32 = buffer_141
                    buffer_143: T.uint32
                    T.ptx.fma(buffer_143, buffer_142, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_7[15] = buffer_143
                    if v_1 + 1 < 1:
                        T.cuda.mbarrier_wait(buffer_1 + T.uint32(10368) + buffer_9[0], T.Cast("int32", buffer_9[1]))
                        buffer_11 = buffer_1 + buffer_9[0] * T.uint32(384)
                        buffer_144: T.bool = buffer_9[0] == T.uint32(16)
                        buffer_9[1] = T.Select(buffer_144, buffer_9[1] ^ T.uint32(1), buffer_9[1])
                        buffer_9[0] = T.Select(buffer_144, T.uint32(0), buffer_9[0] + T.uint32(8))
                        buffer_145: T.uint32 = buffer_11 + T.Cast("uint32", 1024 + (buffer_2 * 4 + thread // 32 % 4) * 512 + thread % 32 * 16)
                        T.ptx.ld(buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], buffer_145, "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                    buffer_144: T.uint64 = T.Cast("uint64", (buffer_1 >> T.uint32(4) | T.uint32(65536)) + buffer_10[0] * T.uint32(24)) | T.uint64(4611686293305294848)
                    T.ptx.wgmma("fence", "sync", "aligned", "")
                    T.ptx.wgmma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_7[0], buffer_7[1], buffer_7[2], buffer_7[3], buffer_144, T.uint32(1), 1, 1, 0, "mma_async", "sync", "aligned", "m64n8k16", "f32", "f16", "f16", "p9")
                    T.ptx.wgmma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_7[4], buffer_7[5], buffer_7[6], buffer_7[7], buffer_144 + T.uint64(2), T.uint32(1), 1, 1, 0, "mma_async", "sync", "aligned", "m64n8k16", "f32", "f16", "f16", "p9")
                    T.ptx.wgmma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_7[8], buffer_7[9], buffer_7[10], buffer_7[11], buffer_144 + T.uint64(4), T.uint32(1), 1, 1, 0, "mma_async", "sync", "aligned", "m64n8k16", "f32", "f16", "f16", "p9")
                    T.ptx.wgmma(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], buffer_7[12], buffer_7[13], buffer_7[14], buffer_7[15], buffer_144 + T.uint64(6), T.uint32(1), 1, 1, 0, "mma_async", "sync", "aligned", "m64n8k16", "f32", "f16", "f16", "p9")
                    T.ptx.wgmma("commit_group", "sync", "aligned", "")
                    T.ptx.wgmma(1, "wait_group", "sync", "aligned", "")
                    if thread % 32 == 0:
                        T.ptx.mbarrier(buffer_1 + T.uint32(10368) + T.uint32(24) + buffer_12, "arrive", "", "", "shared::cta", "b64", "")
                    buffer_12 = buffer_10[0]
                    buffer_145: T.bool = buffer_10[0] == T.uint32(16)
                    buffer_10[1] = T.Select(buffer_145, buffer_10[1] ^ T.uint32(1), buffer_10[1])
                    buffer_10[0] = T.Select(buffer_145, T.uint32(0), buffer_10[0] + T.uint32(8))
                    if v_1 + 1 < 1:
                        if buffer_37 + (v_1 + 1) * 2 != buffer_37:
                            buffer_146: T.uint32 = T.tvm_warp_shuffle(T.uint32(4294967295), buffer_15, thread % 32 // 4 * 4 + (buffer_37 + (v_1 + 1) * 2) % 4, 32, 32)
                            buffer_18[0] = T.call_pure_extern("uint32", "__byte_perm", buffer_146, T.uint32(0), T.uint32(4112))
                            buffer_18[1] = T.call_pure_extern("uint32", "__byte_perm", buffer_146, T.uint32(0), T.uint32(12850))
                        buffer_146: T.uint32
                        T.ptx.fma(buffer_146, buffer_8[0] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_147: T.uint32 = buffer_146
                        buffer_148: T.uint32
                        T.ptx.fma(buffer_148, buffer_147, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[0] = buffer_148
                        buffer_149: T.uint32
                        T.ptx.fma(buffer_149, buffer_8[0] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_150: T.uint32 = buffer_149
                        buffer_151: T.uint32
                        T.ptx.fma(buffer_151, buffer_150, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[1] = buffer_151
                        buffer_152: T.uint32
                        T.ptx.fma(buffer_152, buffer_8[0] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_153: T.uint32 = buffer_152
                        buffer_154: T.uint32
                        T.ptx.fma(buffer_154, buffer_153, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[2] = buffer_154
                        buffer_155: T.uint32
                        T.ptx.fma(buffer_155, buffer_8[0] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_156: T.uint32 = buffer_155
                        buffer_157: T.uint32
                        T.ptx.fma(buffer_157, buffer_156, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[3] = buffer_157
                        buffer_158: T.uint32
                        T.ptx.fma(buffer_158, buffer_8[1] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_159: T.uint32 = buffer_158
                        buffer_160: T.uint32
                        T.ptx.fma(buffer_160, buffer_159, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[4] = buffer_160
                        buffer_161: T.uint32
                        T.ptx.fma(buffer_161, buffer_8[1] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_162: T.uint32 = buffer_161
                        buffer_163: T.uint32
                        T.ptx.fma(buffer_163, buffer_162, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[5] = buffer_163
                        buffer_164: T.uint32
                        T.ptx.fma(buffer_164, buffer_8[1] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_165: T.uint32 = buffer_164
                        buffer_166: T.uint32
                        T.ptx.fma(buffer_166, buffer_165, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[6] = buffer_166
                        buffer_167: T.uint32
                        T.ptx.fma(buffer_167, buffer_8[1] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_168: T.uint32 = buffer_167
                        buffer_169: T.uint32
                        T.ptx.fma(buffer_169, buffer_168, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[7] = buffer_169
                        buffer_170: T.uint32
                        T.ptx.fma(buffer_170, buffer_8[2] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_171: T.uint32 = buffer_170
                        buffer_172: T.uint32
                        T.ptx.fma(buffer_172, buffer_171, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[8] = buffer_172
                        buffer_173: T.uint32
                        T.ptx.fma(buffer_173, buffer_8[2] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_174: T.uint32 = buffer_173
                        buffer_175: T.uint32
                        T.ptx.fma(buffer_175, buffer_174, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[9] = buffer_175
                        buffer_176: T.uint32
                        T.ptx.fma(buffer_176, buffer_8[2] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_177: T.uint32 = buffer_176
                        buffer_178: T.uint32
                        T.ptx.fma(buffer_178, buffer_177, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[10] = buffer_178
                        buffer_179: T.uint32
                        T.ptx.fma(buffer_179, buffer_8[2] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_180: T.uint32 = buffer_179
                        buffer_181: T.uint32
                        T.ptx.fma(buffer_181, buffer_180, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[11] = buffer_181
                        buffer_182: T.uint32
                        T.ptx.fma(buffer_182, buffer_8[3] & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_183: T.uint32 = buffer_182
                        buffer_184: T.uint32
                        T.ptx.fma(buffer_184, buffer_183, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[12] = buffer_184
                        buffer_185: T.uint32
                        T.ptx.fma(buffer_185, buffer_8[3] & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_186: T.uint32 = buffer_185
                        buffer_187: T.uint32
                        T.ptx.fma(buffer_187, buffer_186, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[13] = buffer_187
                        buffer_188: T.uint32
                        T.ptx.fma(buffer_188, buffer_8[3] >> T.uint32(8) & buffer_21 | T.uint32(1677747200), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-1024.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_189: T.uint32 = buffer_188
                        buffer_190: T.uint32
                        T.ptx.fma(buffer_190, buffer_189, buffer_18[0], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[14] = buffer_190
                        buffer_191: T.uint32
                        T.ptx.fma(buffer_191, buffer_8[3] >> T.uint32(8) & buffer_22 | T.uint32(1409307648), T.Cast("uint32", T.reinterpret("uint16", T.float16(1.0))) * T.uint32(65537), T.Cast("uint32", T.reinterpret("uint16", T.float16(-64.0))) * T.uint32(65537), "rn", "", "", "", "", "f16x2", "")
                        buffer_192: T.uint32 = buffer_191
                        buffer_193: T.uint32
                        T.ptx.fma(buffer_193, buffer_192, buffer_18[1], T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                        buffer_6[15] = buffer_193
                        T.cuda.mbarrier_wait(buffer_1 + T.uint32(10368) + buffer_9[0], T.Cast("int32", buffer_9[1]))
                        buffer_11 = buffer_1 + buffer_9[0] * T.uint32(384)
                        buffer_194: T.bool = buffer_9[0] == T.uint32(16)
                        buffer_9[1] = T.Select(buffer_194, buffer_9[1] ^ T.uint32(1), buffer_9[1])
                        buffer_9[0] = T.Select(buffer_194, T.uint32(0), buffer_9[0] + T.uint32(8))
                        buffer_195: T.uint32 = buffer_11 + T.Cast("uint32", 1024 + (buffer_2 * 4 + thread // 32 % 4) * 512 + thread % 32 * 16)
                        T.ptx.ld(buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], buffer_195, "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                T.ptx.wgmma(0, "wait_group", "sync", "aligned", "")
                T.cuda.func_call("bitquant_fence_f32", buffer_5[0], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                T.cuda.func_call("bitquant_fence_f32", buffer_5[1], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                T.cuda.func_call("bitquant_fence_f32", buffer_5[2], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                T.cuda.func_call("bitquant_fence_f32", buffer_5[3], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                if thread % 32 == 0:
                    T.ptx.mbarrier(buffer_1 + T.uint32(10368) + T.uint32(24) + buffer_12, "arrive", "", "", "shared::cta", "b64", "")
                buffer_93: T.int32 = buffer_36 + buffer_2 * 64
                buffer_94: T.int32 = buffer_35
                buffer_95 = T.alloc_local((2,), "uint32")
                buffer_95[0] = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_5[0]))) | T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_5[1]))) << T.uint32(16)
                buffer_95[1] = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_5[2]))) | T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_5[3]))) << T.uint32(16)
                T.ptx.stmatrix(buffer_1 + T.Cast("uint32", 9216 + buffer_2 * 1152) + T.Cast("uint32", thread % 32 % 8 * 144 + (thread // 32 % 4 * 2 + thread % 32 // 8 % 2) * 16), buffer_95[0], buffer_95[1], "sync", "aligned", "m8n8", "x2", "trans", "shared", "b16", "")
                T.ptx.bar(T.Cast("uint32", buffer_2 + 1), T.uint32(128), "", "sync", "")
                if thread % 128 < 64:
                    if buffer_94 + thread % 128 // 8 < buffer_31[1]:
                        buffer_96 = T.alloc_local((4,), "uint32")
                        T.ptx.ld(buffer_96[0], buffer_96[1], buffer_96[2], buffer_96[3], buffer_1 + T.Cast("uint32", 9216 + buffer_2 * 1152) + T.Cast("uint32", thread % 128 // 8 * 144 + thread % 128 % 8 * 16), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                        T.ptx.st(T.address_of(D[T.Cast("int64", buffer_94 + thread % 128 // 8), buffer_93 + thread % 128 % 8 * 16 // 2]), buffer_96[0], buffer_96[1], buffer_96[2], buffer_96[3], "", "", "global", "", "", "", "v4", "u32", "")
                T.ptx.bar(T.Cast("uint32", buffer_2 + 1), T.uint32(128), "", "sync", "")
                buffer_23 = buffer_23 + T.min(T.Div(v, 8) + T.min(v, 5), 132)
