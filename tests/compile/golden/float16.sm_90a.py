# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m16(A: T.Buffer((16, 128), "float16"), B: T.Buffer((64, 128), "float16"), D: T.Buffer((16, 64), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 16, "N": 64, "W_dtype": "float16", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "bitquant.schedule": {"hint": {"block_k": 128, "block_m": 16, "blocks_per_sm": 1, "consumers_k": 1, "consumers_n": 1, "looks_ahead": False, "multicast": 1, "n_tiles_per_consumer": 1, "n_tiles_per_cta": 0, "raster": 8, "scaling": "operand", "split_k": 1, "stages": 11, "stream_k": False, "tail_split": 1}, "origin": "default", "pipeline": "tirx", "refusals": {"decode": "reads the fragment weight layout (got plain)", "wgmma": "reads the fragment weight layout (got plain)"}, "rule": "wgmma_dense", "smem_bytes": 227824}, "tirx.kernel_launch_params": ["tirx.use_programtic_dependent_launch"]})
        A_map: T.let[T.TensorMap()] = T.tvm_stack_alloca("tensormap", 1)
        T.call_packed("runtime.cuTensorMapEncodeTiled", A_map, "float16", 2, A.data, 128, 16, 256, 64, 16, 1, 1, 0, 3, 3, 0)
        W_map: T.let[T.TensorMap()] = T.tvm_stack_alloca("tensormap", 1)
        T.call_packed("runtime.cuTensorMapEncodeTiled", W_map, "float16", 2, B.data, 128, 64, 256, 64, 64, 1, 1, 0, 3, 3, 0)
        with T.attr({"tirx.device_entry": T.bool(True), "tirx.launch_bounds_min_blocks_per_sm": 1}):
            block = T.cta_id([1])
            thread = T.thread_id([256])
            arena = T.alloc_buffer((227824,), "uint8", scope="shared.dyn", align=1024)
            buffer: T.uint32 = T.cuda.cvta_generic_to_shared(T.address_of(arena[0]))
            buffer_1: T.int32 = T.tvm_warp_shuffle(T.uint32(4294967295), thread // 128, 0, 32, 32)
            if thread == 0:
                T.ptx.mbarrier(buffer + T.uint32(227584), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(8), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + T.uint32(8), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(16), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + T.uint32(16), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(24), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + T.uint32(24), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(32), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + T.uint32(32), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(40), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + T.uint32(40), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(48), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + T.uint32(48), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(56), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + T.uint32(56), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(64), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + T.uint32(64), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(72), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + T.uint32(72), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(80), T.uint32(1), "init", "", "shared::cta", "b64", "")
                T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + T.uint32(80), T.uint32(4), "init", "", "shared::cta", "b64", "")
                T.ptx.fence("mbarrier_init", "release", "cluster", "")
                T.ptx.fence("proxy", "async", "shared::cta", "")
            T.cuda.cta_sync()
            if buffer_1 == 1:
                if thread % 128 == 0:
                    buffer_2: T.int32 = T.min(1 - T.Div(block, 8) * 8, 8)
                    buffer_3: T.int32 = (T.Div(block, 8) * 8 + T.truncmod(T.truncmod(block, 8), buffer_2)) * 16
                    buffer_4: T.int32 = T.Div(T.truncmod(block, 8), buffer_2) * 64
                    buffer_5 = T.alloc_local((2,), "uint32")
                    buffer_5[0] = T.uint32(0)
                    buffer_5[1] = T.uint32(0)
                    buffer_6 = T.alloc_local((2,), "uint32")
                    buffer_6[0] = T.uint32(0)
                    buffer_6[1] = T.uint32(0)
                    T.ptx.griddepcontrol("wait", "")
                    for v in range(1):
                        T.ptx.mbarrier(buffer + T.uint32(227584) + buffer_5[0], T.uint32(20480), "arrive", "expect_tx", "", "", "shared::cta", "b64", "")
                        T.ptx.cp(buffer + buffer_5[0] * T.uint32(2560) + T.uint32(4096), T.reinterpret(T.handle().ty, T.address_of(W_map)), v * 128, buffer_4, buffer + T.uint32(227584) + buffer_5[0], "async", "bulk", "tensor", "2d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                        T.ptx.cp(buffer + buffer_5[0] * T.uint32(2560) + T.uint32(12288), T.reinterpret(T.handle().ty, T.address_of(W_map)), v * 128 + 64, buffer_4, buffer + T.uint32(227584) + buffer_5[0], "async", "bulk", "tensor", "2d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                        buffer_7: T.bool = buffer_5[0] == T.uint32(80)
                        buffer_5[1] = T.Select(buffer_7, buffer_5[1] ^ T.uint32(1), buffer_5[1])
                        buffer_5[0] = T.Select(buffer_7, T.uint32(0), buffer_5[0] + T.uint32(8))
                    T.ptx.griddepcontrol("launch_dependents", "")
                    for v in range(1):
                        T.ptx.cp(buffer + buffer_6[0] * T.uint32(2560), T.reinterpret(T.handle().ty, T.address_of(A_map)), v * 128, buffer_3, buffer + T.uint32(227584) + buffer_6[0], "async", "bulk", "tensor", "2d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                        T.ptx.cp(buffer + buffer_6[0] * T.uint32(2560) + T.uint32(2048), T.reinterpret(T.handle().ty, T.address_of(A_map)), v * 128 + 64, buffer_3, buffer + T.uint32(227584) + buffer_6[0], "async", "bulk", "tensor", "2d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                        buffer_7: T.bool = buffer_6[0] == T.uint32(80)
                        buffer_6[1] = T.Select(buffer_7, buffer_6[1] ^ T.uint32(1), buffer_6[1])
                        buffer_6[0] = T.Select(buffer_7, T.uint32(0), buffer_6[0] + T.uint32(8))
                    buffer_7: T.int32 = 1
                    buffer_8: T.int32 = block
                    while buffer_8 < 1:
                        buffer_9: T.int32 = T.min(1 - T.Div(buffer_8, 8) * 8, 8)
                        buffer_10: T.int32 = (T.Div(buffer_8, 8) * 8 + T.truncmod(T.truncmod(buffer_8, 8), buffer_9)) * 16
                        buffer_11: T.int32 = T.Div(T.truncmod(buffer_8, 8), buffer_9) * 64
                        for v in range(1 - buffer_7):
                            T.cuda.mbarrier_wait(buffer + T.uint32(227584) + T.uint32(88) + buffer_6[0], T.Cast("int32", buffer_6[1] ^ T.uint32(1)))
                            T.ptx.mbarrier(buffer + T.uint32(227584) + buffer_6[0], T.uint32(20480), "arrive", "expect_tx", "", "", "shared::cta", "b64", "")
                            T.ptx.cp(buffer + buffer_6[0] * T.uint32(2560), T.reinterpret(T.handle().ty, T.address_of(A_map)), (buffer_7 + v) * 128, buffer_10, buffer + T.uint32(227584) + buffer_6[0], "async", "bulk", "tensor", "2d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                            T.ptx.cp(buffer + buffer_6[0] * T.uint32(2560) + T.uint32(2048), T.reinterpret(T.handle().ty, T.address_of(A_map)), (buffer_7 + v) * 128 + 64, buffer_10, buffer + T.uint32(227584) + buffer_6[0], "async", "bulk", "tensor", "2d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                            T.ptx.cp(buffer + buffer_6[0] * T.uint32(2560) + T.uint32(4096), T.reinterpret(T.handle().ty, T.address_of(W_map)), (buffer_7 + v) * 128, buffer_11, buffer + T.uint32(227584) + buffer_6[0], "async", "bulk", "tensor", "2d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                            T.ptx.cp(buffer + buffer_6[0] * T.uint32(2560) + T.uint32(12288), T.reinterpret(T.handle().ty, T.address_of(W_map)), (buffer_7 + v) * 128 + 64, buffer_11, buffer + T.uint32(227584) + buffer_6[0], "async", "bulk", "tensor", "2d", "shared::cluster", "global", "tile", "mbarrier::complete_tx::bytes", "", "", "", "")
                            buffer_12: T.bool = buffer_6[0] == T.uint32(80)
                            buffer_6[1] = T.Select(buffer_12, buffer_6[1] ^ T.uint32(1), buffer_6[1])
                            buffer_6[0] = T.Select(buffer_12, T.uint32(0), buffer_6[0] + T.uint32(8))
                        buffer_7 = 0
                        buffer_8 = buffer_8 + 1
            else:
                buffer_2 = T.alloc_local((8,))
                buffer_3 = T.alloc_local((2,), "uint32")
                buffer_3[0] = T.uint32(0)
                buffer_3[1] = T.uint32(0)
                buffer_4: T.uint32 = T.uint32(0)
                buffer_5: T.int32 = block
                while buffer_5 < 1:
                    buffer_6: T.int32 = T.min(1 - T.Div(buffer_5, 8) * 8, 8)
                    buffer_7: T.int32 = (T.Div(buffer_5, 8) * 8 + T.truncmod(T.truncmod(buffer_5, 8), buffer_6)) * 16
                    buffer_8: T.int32 = T.Div(T.truncmod(buffer_5, 8), buffer_6) * 64
                    for v in T.unroll(8):
                        buffer_2[v] = T.float32(0.0)
                    for v in range(1):
                        T.cuda.mbarrier_wait(buffer + T.uint32(227584) + buffer_3[0], T.Cast("int32", buffer_3[1]))
                        buffer_9: T.uint64 = T.Cast("uint64", (buffer >> T.uint32(4) | T.uint32(65536)) + buffer_3[0] * T.uint32(160)) | T.uint64(4611686293305294848)
                        buffer_10: T.uint64 = T.Cast("uint64", (buffer + T.Cast("uint32", 4096 + buffer_1 * 8192) >> T.uint32(4) | T.uint32(65536)) + buffer_3[0] * T.uint32(160)) | T.uint64(4611686293305294848)
                        T.ptx.wgmma("fence", "sync", "aligned", "")
                        T.ptx.wgmma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], buffer_10, buffer_9, T.uint32(1), 1, 1, 0, 0, "mma_async", "sync", "aligned", "m64n16k16", "f32", "f16", "f16", "p10")
                        T.ptx.wgmma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], buffer_10 + T.uint64(2), buffer_9 + T.uint64(2), T.uint32(1), 1, 1, 0, 0, "mma_async", "sync", "aligned", "m64n16k16", "f32", "f16", "f16", "p10")
                        T.ptx.wgmma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], buffer_10 + T.uint64(4), buffer_9 + T.uint64(4), T.uint32(1), 1, 1, 0, 0, "mma_async", "sync", "aligned", "m64n16k16", "f32", "f16", "f16", "p10")
                        T.ptx.wgmma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], buffer_10 + T.uint64(6), buffer_9 + T.uint64(6), T.uint32(1), 1, 1, 0, 0, "mma_async", "sync", "aligned", "m64n16k16", "f32", "f16", "f16", "p10")
                        T.ptx.wgmma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], buffer_10 + T.uint64(512), buffer_9 + T.uint64(128), T.uint32(1), 1, 1, 0, 0, "mma_async", "sync", "aligned", "m64n16k16", "f32", "f16", "f16", "p10")
                        T.ptx.wgmma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], buffer_10 + T.uint64(514), buffer_9 + T.uint64(130), T.uint32(1), 1, 1, 0, 0, "mma_async", "sync", "aligned", "m64n16k16", "f32", "f16", "f16", "p10")
                        T.ptx.wgmma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], buffer_10 + T.uint64(516), buffer_9 + T.uint64(132), T.uint32(1), 1, 1, 0, 0, "mma_async", "sync", "aligned", "m64n16k16", "f32", "f16", "f16", "p10")
                        T.ptx.wgmma(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], buffer_10 + T.uint64(518), buffer_9 + T.uint64(134), T.uint32(1), 1, 1, 0, 0, "mma_async", "sync", "aligned", "m64n16k16", "f32", "f16", "f16", "p10")
                        T.ptx.wgmma("commit_group", "sync", "aligned", "")
                        T.ptx.wgmma(1, "wait_group", "sync", "aligned", "")
                        if thread % 32 == 0 and v > 0:
                            T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + buffer_4, "arrive", "", "", "shared::cta", "b64", "")
                        buffer_4 = buffer_3[0]
                        buffer_11: T.bool = buffer_3[0] == T.uint32(80)
                        buffer_3[1] = T.Select(buffer_11, buffer_3[1] ^ T.uint32(1), buffer_3[1])
                        buffer_3[0] = T.Select(buffer_11, T.uint32(0), buffer_3[0] + T.uint32(8))
                    T.ptx.wgmma(0, "wait_group", "sync", "aligned", "")
                    T.cuda.func_call("bitquant_fence_f32", buffer_2[0], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                    T.cuda.func_call("bitquant_fence_f32", buffer_2[1], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                    T.cuda.func_call("bitquant_fence_f32", buffer_2[2], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                    T.cuda.func_call("bitquant_fence_f32", buffer_2[3], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                    T.cuda.func_call("bitquant_fence_f32", buffer_2[4], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                    T.cuda.func_call("bitquant_fence_f32", buffer_2[5], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                    T.cuda.func_call("bitquant_fence_f32", buffer_2[6], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                    T.cuda.func_call("bitquant_fence_f32", buffer_2[7], source_code="\n__device__ __forceinline__ void bitquant_fence_f32(float& x) {\n  asm volatile(\"\" : \"+f\"(x) :: \"memory\");\n}\n")
                    if thread % 32 == 0:
                        T.ptx.mbarrier(buffer + T.uint32(227584) + T.uint32(88) + buffer_4, "arrive", "", "", "shared::cta", "b64", "")
                    buffer_9: T.int32 = buffer_8 + buffer_1 * 64
                    buffer_10: T.int32 = buffer_7
                    buffer_11 = T.alloc_local((4,), "uint32")
                    buffer_11[0] = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_2[0]))) | T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_2[1]))) << T.uint32(16)
                    buffer_11[1] = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_2[2]))) | T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_2[3]))) << T.uint32(16)
                    buffer_11[2] = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_2[4]))) | T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_2[5]))) << T.uint32(16)
                    buffer_11[3] = T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_2[6]))) | T.Cast("uint32", T.reinterpret("uint16", T.Cast("float16", buffer_2[7]))) << T.uint32(16)
                    T.ptx.stmatrix(buffer + T.Cast("uint32", 225280 + buffer_1 * 2304) + T.Cast("uint32", (thread % 32 // 8 // 2 * 8 + thread % 32 % 8) * 144 + (thread // 32 % 4 * 2 + thread % 32 // 8 % 2) * 16), buffer_11[0], buffer_11[1], buffer_11[2], buffer_11[3], "sync", "aligned", "m8n8", "x4", "trans", "shared", "b16", "")
                    T.ptx.bar(T.Cast("uint32", buffer_1 + 1), T.uint32(128), "", "sync", "")
                    if buffer_10 + thread % 128 // 8 < 16:
                        buffer_12 = T.alloc_local((4,), "uint32")
                        T.ptx.ld(buffer_12[0], buffer_12[1], buffer_12[2], buffer_12[3], buffer + T.Cast("uint32", 225280 + buffer_1 * 2304) + T.Cast("uint32", thread % 128 // 8 * 144 + thread % 128 % 8 * 16), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                        T.ptx.st(T.address_of(D[buffer_10 + thread % 128 // 8, buffer_9 + thread % 128 % 8 * 16 // 2]), buffer_12[0], buffer_12[1], buffer_12[2], buffer_12[3], "", "", "global", "", "", "", "v4", "u32", "")
                    T.ptx.bar(T.Cast("uint32", buffer_1 + 1), T.uint32(128), "", "sync", "")
                    buffer_5 = buffer_5 + 1
