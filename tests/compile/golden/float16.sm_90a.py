# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m16(A: T.Buffer((16, 128), "float16"), B: T.Buffer((64, 128), "float16"), D: T.Buffer((16, 64), "float16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float16", "K": 128, "M": 16, "N": 64, "W_dtype": "float16", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "float16", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "bitquant.schedule": {"hint": {"block_k": 256, "block_m": 16, "block_n": 16, "stages": 4, "warps_k": 8, "warps_m": 1, "warps_n": 1}, "origin": "default", "pipeline": "tirx", "refusals": {"cpu": "needs a CPU target (got cuda)", "decode": "reads the fragment weight layout (got plain)", "gemv": "needs M == 1 (got 16)", "wgmma": "reads the fragment weight layout (got plain)"}, "rule": "mma", "smem_bytes": 65536}})
        T.attr({"tirx.device_entry": T.bool(True)})
        block = T.cta_id([4])
        thread = T.thread_id([256])
        arena = T.alloc_buffer((65536,), "uint8", scope="shared.dyn", align=128)
        buffer = T.alloc_local((2,), "int32")
        buffer[0] = (block // 32 * 8 + block % 32 % T.min(1 - block // 32 * 8, 8)) * 16
        buffer[1] = block % 32 // T.min(1 - block // 32 * 8, 8) * 16
        buffer_1 = T.alloc_local((8,))
        for v in T.unroll(8):
            buffer_1[v] = T.float32(0.0)
        for t in T.unroll(3):
            if t < 1:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + thread // 32 * 512 + (thread % 32 * 16 // 16 ^ thread // 32 % 8) * 16 + thread % 32 * 16 % 16])), T.address_of(A[buffer[0] + thread // 32, t * 256 + thread % 32 * 16 // 2]), 16, T.Select(thread % 32 * 16 < (128 - t * 256) * 2, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + (256 + thread) // 32 * 512 + ((256 + thread) % 32 * 16 // 16 ^ (256 + thread) // 32 % 8) * 16 + (256 + thread) % 32 * 16 % 16])), T.address_of(A[buffer[0] + (256 + thread) // 32, t * 256 + (256 + thread) % 32 * 16 // 2]), 16, T.Select((256 + thread) % 32 * 16 < (128 - t * 256) * 2, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + t % 4 * 8192 + thread // 32 * 512 + (thread % 32 * 16 // 16 ^ thread // 32 % 8) * 16 + thread % 32 * 16 % 16])), T.address_of(B[buffer[1] + thread // 32, t * 512 // 2 + thread % 32 * 16 // 2]), 16, T.Select(thread % 32 * 16 < 256 - t * 512, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + t % 4 * 8192 + (256 + thread) // 32 * 512 + ((256 + thread) % 32 * 16 // 16 ^ (256 + thread) // 32 % 8) * 16 + (256 + thread) % 32 * 16 % 16])), T.address_of(B[buffer[1] + (256 + thread) // 32, t * 512 // 2 + (256 + thread) % 32 * 16 // 2]), 16, T.Select((256 + thread) % 32 * 16 < 256 - t * 512, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
            T.ptx.cp("async", "commit_group", "")
        for t in range(1):
            T.ptx.cp(2, "async", "wait_group", "")
            T.cuda.cta_sync()
            if t + 3 < 1:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[(t + 3) % 4 * 8192 + thread // 32 * 512 + (thread % 32 * 16 // 16 ^ thread // 32 % 8) * 16 + thread % 32 * 16 % 16])), T.address_of(A[buffer[0] + thread // 32, (t + 3) * 256 + thread % 32 * 16 // 2]), 16, T.Select(thread % 32 * 16 < (128 - (t + 3) * 256) * 2, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[(t + 3) % 4 * 8192 + (256 + thread) // 32 * 512 + ((256 + thread) % 32 * 16 // 16 ^ (256 + thread) // 32 % 8) * 16 + (256 + thread) % 32 * 16 % 16])), T.address_of(A[buffer[0] + (256 + thread) // 32, (t + 3) * 256 + (256 + thread) % 32 * 16 // 2]), 16, T.Select((256 + thread) % 32 * 16 < (128 - (t + 3) * 256) * 2, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + (t + 3) % 4 * 8192 + thread // 32 * 512 + (thread % 32 * 16 // 16 ^ thread // 32 % 8) * 16 + thread % 32 * 16 % 16])), T.address_of(B[buffer[1] + thread // 32, (t + 3) * 512 // 2 + thread % 32 * 16 // 2]), 16, T.Select(thread % 32 * 16 < 256 - (t + 3) * 512, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + (t + 3) % 4 * 8192 + (256 + thread) // 32 * 512 + ((256 + thread) % 32 * 16 // 16 ^ (256 + thread) // 32 % 8) * 16 + (256 + thread) % 32 * 16 % 16])), T.address_of(B[buffer[1] + (256 + thread) // 32, (t + 3) * 512 // 2 + (256 + thread) % 32 * 16 // 2]), 16, T.Select((256 + thread) % 32 * 16 < 256 - (t + 3) * 512, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
            T.ptx.cp("async", "commit_group", "")
            if t + 1 < 1:
                T.evaluate(0)
            buffer_2 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + thread % 32 % 16 * 512 + (thread % 32 // 16 + 2 * (thread // 32 * 2) ^ thread % 32 % 16 % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            buffer_3 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + t % 4 * 8192 + (thread % 32 % 8 + thread % 32 // 16 * 8) * 512 + (thread % 32 // 8 % 2 + 2 * (thread // 32 * 2) ^ (thread % 32 % 8 + thread % 32 // 16 * 8) % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_3[0], buffer_3[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_3[2], buffer_3[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            buffer_4 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 8192 + thread % 32 % 16 * 512 + (thread % 32 // 16 + 2 * (thread // 32 * 2 + 1) ^ thread % 32 % 16 % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            buffer_5 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[32768 + t % 4 * 8192 + (thread % 32 % 8 + thread % 32 // 16 * 8) * 512 + (thread % 32 // 8 % 2 + 2 * (thread // 32 * 2 + 1) ^ (thread % 32 % 8 + thread % 32 // 16 * 8) % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], buffer_5[0], buffer_5[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], buffer_5[2], buffer_5[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
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
            buffer_2: T.float32
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 32 * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(32 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(64 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(96 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(128 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(160 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(192 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(224 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(256 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(288 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(320 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(352 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(384 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(416 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(448 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(480 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(512 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(544 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(576 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(608 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(640 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(672 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(704 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(736 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(768 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(800 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(832 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(864 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(896 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(928 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(960 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(992 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1024 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1056 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1088 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1120 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1152 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1184 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1216 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1248 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1280 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1312 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1344 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1376 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1408 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1440 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1472 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1504 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1536 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[0] = buffer_1[0] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1568 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[1] = buffer_1[1] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1600 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[2] = buffer_1[2] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1632 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[3] = buffer_1[3] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1664 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[4] = buffer_1[4] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1696 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[5] = buffer_1[5] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1728 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[6] = buffer_1[6] + buffer_2
            T.ptx.ld(buffer_2, T.cuda.cvta_generic_to_shared(T.address_of(arena[(1760 + thread % 32) * 4])), "", "", "", "shared", "", "", "", "", "", "f32", "")
            buffer_1[7] = buffer_1[7] + buffer_2
        if thread // 32 == 0:
            if buffer[0] + thread % 32 // 4 < 16:
                buffer_2 = T.alloc_local((2,), "uint16")
                if buffer[1] + thread % 32 % 4 * 2 < 64:
                    buffer_2[0] = T.reinterpret("uint16", T.Cast("float16", buffer_1[0]))
                    buffer_2[1] = T.reinterpret("uint16", T.Cast("float16", buffer_1[1]))
                    T.ptx.st(T.address_of(D[buffer[0] + thread % 32 // 4, buffer[1] + thread % 32 % 4 * 2]), T.Cast("uint32", buffer_2[0]) | T.Cast("uint32", buffer_2[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
                buffer_3 = T.alloc_local((2,), "uint16")
                if buffer[1] + (thread % 32 % 4 * 2 + 8) < 64:
                    buffer_3[0] = T.reinterpret("uint16", T.Cast("float16", buffer_1[4]))
                    buffer_3[1] = T.reinterpret("uint16", T.Cast("float16", buffer_1[5]))
                    T.ptx.st(T.address_of(D[buffer[0] + thread % 32 // 4, buffer[1] + (thread % 32 % 4 * 2 + 8)]), T.Cast("uint32", buffer_3[0]) | T.Cast("uint32", buffer_3[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
            if buffer[0] + (thread % 32 // 4 + 8) < 16:
                buffer_2 = T.alloc_local((2,), "uint16")
                if buffer[1] + thread % 32 % 4 * 2 < 64:
                    buffer_2[0] = T.reinterpret("uint16", T.Cast("float16", buffer_1[2]))
                    buffer_2[1] = T.reinterpret("uint16", T.Cast("float16", buffer_1[3]))
                    T.ptx.st(T.address_of(D[buffer[0] + (thread % 32 // 4 + 8), buffer[1] + thread % 32 % 4 * 2]), T.Cast("uint32", buffer_2[0]) | T.Cast("uint32", buffer_2[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
                buffer_3 = T.alloc_local((2,), "uint16")
                if buffer[1] + (thread % 32 % 4 * 2 + 8) < 64:
                    buffer_3[0] = T.reinterpret("uint16", T.Cast("float16", buffer_1[6]))
                    buffer_3[1] = T.reinterpret("uint16", T.Cast("float16", buffer_1[7]))
                    T.ptx.st(T.address_of(D[buffer[0] + (thread % 32 // 4 + 8), buffer[1] + (thread % 32 % 4 * 2 + 8)]), T.Cast("uint32", buffer_3[0]) | T.Cast("uint32", buffer_3[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
