# from tvm.script import ir as I
# from tvm.script import tirx as T
# from tvm.tirx.layout import Axis

@I.ir_module
class Module:
    @T.prim_func
    def matmul_m16(A: T.Buffer((16, 128), "float8_e4m3fn"), B: T.Buffer((64, 128), "float8_e4m3fn"), D: T.Buffer((16, 64), "bfloat16")):
        T.func_attr({"bitquant.config": {"A_dtype": "float8_e4m3", "K": 128, "M": 16, "N": 64, "W_dtype": "float8_e4m3", "accum_dtype": "float16", "group_size": 128, "layout": "nt", "out_dtype": "bfloat16", "plain_layout": False, "scale_dtype": None, "with_bias": False, "with_scaling": False, "with_zeros": False, "zeros_mode": "original"}, "bitquant.layout": "plain", "bitquant.rung": 16, "bitquant.schedule": {"hint": {"block_k": 256, "block_m": 16, "block_n": 16, "stages": 4, "warps_k": 8, "warps_m": 1, "warps_n": 1}, "origin": "default", "pipeline": "tirx", "refusals": {"decode": "reads the fragment weight layout (got plain)", "gemv": "needs M == 1 (got 16)", "wgmma": "reads the fragment weight layout (got plain)", "wgmma_dense": "needs W of A's type, float16 or bfloat16, without scales (got float8_e4m3)"}, "rule": "mma", "smem_bytes": 67584}})
        T.attr({"tirx.device_entry": T.bool(True)})
        block = T.cta_id([4])
        thread = T.thread_id([256])
        arena = T.alloc_buffer((67584,), "uint8", scope="shared.dyn", align=128)
        buffer = T.alloc_local((2,), "int32")
        buffer[0] = (block // 32 * 8 + block % 32 % T.min(1 - block // 32 * 8, 8)) * 16
        buffer[1] = block % 32 // T.min(1 - block // 32 * 8, 8) * 16
        buffer_1 = T.alloc_local((8,))
        for v in T.unroll(8):
            buffer_1[v] = T.float32(0.0)
        for t in T.unroll(3):
            if t < 1:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[t % 4 * 4352 + thread // 16 * 272 + thread % 16 * 16])), T.address_of(A[buffer[0] + thread // 16, t * 256 + thread % 16 * 16]), 16, T.Select(thread % 16 * 16 < 128 - t * 256, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[17408 + t % 4 * 4352 + thread // 16 * 272 + thread % 16 * 16])), T.address_of(B[buffer[1] + thread // 16, t * 256 + thread % 16 * 16]), 16, T.Select(thread % 16 * 16 < 128 - t * 256, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
            T.ptx.cp("async", "commit_group", "")
        T.ptx.cp(2, "async", "wait_group", "")
        T.cuda.cta_sync()
        if thread < 128:
            buffer_2 = T.alloc_local((8,), "uint32")
            T.ptx.ld(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 16 * 272 + thread // 16 * 32])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
            T.ptx.ld(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.cuda.cvta_generic_to_shared(T.address_of(arena[thread % 16 * 272 + thread // 16 * 32 + 16])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
            buffer_3 = T.alloc_local((4,), "uint32")
            buffer_4: T.uint32
            T.ptx.fma(buffer_4, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_3[0] = buffer_4
            buffer_5: T.uint32
            T.ptx.fma(buffer_5, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_3[1] = buffer_5
            buffer_6: T.uint32
            T.ptx.fma(buffer_6, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_3[2] = buffer_6
            buffer_7: T.uint32
            T.ptx.fma(buffer_7, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_3[3] = buffer_7
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[34816 + thread % 16 * 512 + (thread // 16 * 4 ^ thread % 16 % 8) * 16])), buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_8 = T.alloc_local((4,), "uint32")
            buffer_9: T.uint32
            T.ptx.fma(buffer_9, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_8[0] = buffer_9
            buffer_10: T.uint32
            T.ptx.fma(buffer_10, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_8[1] = buffer_10
            buffer_11: T.uint32
            T.ptx.fma(buffer_11, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_8[2] = buffer_11
            buffer_12: T.uint32
            T.ptx.fma(buffer_12, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_8[3] = buffer_12
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[34816 + thread % 16 * 512 + (thread // 16 * 4 + 1 ^ thread % 16 % 8) * 16])), buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_13 = T.alloc_local((4,), "uint32")
            buffer_14: T.uint32
            T.ptx.fma(buffer_14, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_13[0] = buffer_14
            buffer_15: T.uint32
            T.ptx.fma(buffer_15, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_13[1] = buffer_15
            buffer_16: T.uint32
            T.ptx.fma(buffer_16, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_13[2] = buffer_16
            buffer_17: T.uint32
            T.ptx.fma(buffer_17, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_13[3] = buffer_17
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[34816 + thread % 16 * 512 + (thread // 16 * 4 + 2 ^ thread % 16 % 8) * 16])), buffer_13[0], buffer_13[1], buffer_13[2], buffer_13[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_18 = T.alloc_local((4,), "uint32")
            buffer_19: T.uint32
            T.ptx.fma(buffer_19, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_18[0] = buffer_19
            buffer_20: T.uint32
            T.ptx.fma(buffer_20, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_18[1] = buffer_20
            buffer_21: T.uint32
            T.ptx.fma(buffer_21, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_18[2] = buffer_21
            buffer_22: T.uint32
            T.ptx.fma(buffer_22, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_18[3] = buffer_22
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[34816 + thread % 16 * 512 + (thread // 16 * 4 + 3 ^ thread % 16 % 8) * 16])), buffer_18[0], buffer_18[1], buffer_18[2], buffer_18[3], "", "", "shared", "", "", "", "v4", "u32", "")
        if thread < 128:
            buffer_2 = T.alloc_local((8,), "uint32")
            T.ptx.ld(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[17408 + thread % 16 * 272 + thread // 16 * 32])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
            T.ptx.ld(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.cuda.cvta_generic_to_shared(T.address_of(arena[17408 + thread % 16 * 272 + thread // 16 * 32 + 16])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
            buffer_3 = T.alloc_local((4,), "uint32")
            buffer_4: T.uint32
            T.ptx.fma(buffer_4, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_3[0] = buffer_4
            buffer_5: T.uint32
            T.ptx.fma(buffer_5, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_3[1] = buffer_5
            buffer_6: T.uint32
            T.ptx.fma(buffer_6, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_3[2] = buffer_6
            buffer_7: T.uint32
            T.ptx.fma(buffer_7, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_3[3] = buffer_7
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[51200 + thread % 16 * 512 + (thread // 16 * 4 ^ thread % 16 % 8) * 16])), buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_8 = T.alloc_local((4,), "uint32")
            buffer_9: T.uint32
            T.ptx.fma(buffer_9, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_8[0] = buffer_9
            buffer_10: T.uint32
            T.ptx.fma(buffer_10, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_8[1] = buffer_10
            buffer_11: T.uint32
            T.ptx.fma(buffer_11, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_8[2] = buffer_11
            buffer_12: T.uint32
            T.ptx.fma(buffer_12, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_8[3] = buffer_12
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[51200 + thread % 16 * 512 + (thread // 16 * 4 + 1 ^ thread % 16 % 8) * 16])), buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_13 = T.alloc_local((4,), "uint32")
            buffer_14: T.uint32
            T.ptx.fma(buffer_14, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_13[0] = buffer_14
            buffer_15: T.uint32
            T.ptx.fma(buffer_15, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_13[1] = buffer_15
            buffer_16: T.uint32
            T.ptx.fma(buffer_16, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_13[2] = buffer_16
            buffer_17: T.uint32
            T.ptx.fma(buffer_17, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_13[3] = buffer_17
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[51200 + thread % 16 * 512 + (thread // 16 * 4 + 2 ^ thread % 16 % 8) * 16])), buffer_13[0], buffer_13[1], buffer_13[2], buffer_13[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_18 = T.alloc_local((4,), "uint32")
            buffer_19: T.uint32
            T.ptx.fma(buffer_19, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_18[0] = buffer_19
            buffer_20: T.uint32
            T.ptx.fma(buffer_20, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_18[1] = buffer_20
            buffer_21: T.uint32
            T.ptx.fma(buffer_21, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_18[2] = buffer_21
            buffer_22: T.uint32
            T.ptx.fma(buffer_22, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
            buffer_18[3] = buffer_22
            T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[51200 + thread % 16 * 512 + (thread // 16 * 4 + 3 ^ thread % 16 % 8) * 16])), buffer_18[0], buffer_18[1], buffer_18[2], buffer_18[3], "", "", "shared", "", "", "", "v4", "u32", "")
        for t in range(1):
            T.ptx.cp(1, "async", "wait_group", "")
            T.cuda.cta_sync()
            if t + 3 < 1:
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[(t + 3) % 4 * 4352 + thread // 16 * 272 + thread % 16 * 16])), T.address_of(A[buffer[0] + thread // 16, (t + 3) * 256 + thread % 16 * 16]), 16, T.Select(thread % 16 * 16 < 128 - (t + 3) * 256, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
                T.ptx.cp(T.cuda.cvta_generic_to_shared(T.address_of(arena[17408 + (t + 3) % 4 * 4352 + thread // 16 * 272 + thread % 16 * 16])), T.address_of(B[buffer[1] + thread // 16, (t + 3) * 256 + thread % 16 * 16]), 16, T.Select(thread % 16 * 16 < 128 - (t + 3) * 256, T.uint32(16), T.uint32(0)), "async", "cg", "shared", "global", "", "L2::128B", "")
            T.ptx.cp("async", "commit_group", "")
            if t + 1 < 1:
                if thread < 128:
                    buffer_2 = T.alloc_local((8,), "uint32")
                    T.ptx.ld(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[(t + 1) % 4 * 4352 + thread % 16 * 272 + thread // 16 * 32])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                    T.ptx.ld(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.cuda.cvta_generic_to_shared(T.address_of(arena[(t + 1) % 4 * 4352 + thread % 16 * 272 + thread // 16 * 32 + 16])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                    buffer_3 = T.alloc_local((4,), "uint32")
                    buffer_4: T.uint32
                    T.ptx.fma(buffer_4, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_3[0] = buffer_4
                    buffer_5: T.uint32
                    T.ptx.fma(buffer_5, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_3[1] = buffer_5
                    buffer_6: T.uint32
                    T.ptx.fma(buffer_6, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_3[2] = buffer_6
                    buffer_7: T.uint32
                    T.ptx.fma(buffer_7, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_3[3] = buffer_7
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[34816 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 ^ thread % 16 % 8) * 16])), buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_8 = T.alloc_local((4,), "uint32")
                    buffer_9: T.uint32
                    T.ptx.fma(buffer_9, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_8[0] = buffer_9
                    buffer_10: T.uint32
                    T.ptx.fma(buffer_10, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_8[1] = buffer_10
                    buffer_11: T.uint32
                    T.ptx.fma(buffer_11, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_8[2] = buffer_11
                    buffer_12: T.uint32
                    T.ptx.fma(buffer_12, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_8[3] = buffer_12
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[34816 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 1 ^ thread % 16 % 8) * 16])), buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_13 = T.alloc_local((4,), "uint32")
                    buffer_14: T.uint32
                    T.ptx.fma(buffer_14, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_13[0] = buffer_14
                    buffer_15: T.uint32
                    T.ptx.fma(buffer_15, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_13[1] = buffer_15
                    buffer_16: T.uint32
                    T.ptx.fma(buffer_16, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_13[2] = buffer_16
                    buffer_17: T.uint32
                    T.ptx.fma(buffer_17, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_13[3] = buffer_17
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[34816 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 2 ^ thread % 16 % 8) * 16])), buffer_13[0], buffer_13[1], buffer_13[2], buffer_13[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_18 = T.alloc_local((4,), "uint32")
                    buffer_19: T.uint32
                    T.ptx.fma(buffer_19, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_18[0] = buffer_19
                    buffer_20: T.uint32
                    T.ptx.fma(buffer_20, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_18[1] = buffer_20
                    buffer_21: T.uint32
                    T.ptx.fma(buffer_21, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_18[2] = buffer_21
                    buffer_22: T.uint32
                    T.ptx.fma(buffer_22, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_18[3] = buffer_22
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[34816 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 3 ^ thread % 16 % 8) * 16])), buffer_18[0], buffer_18[1], buffer_18[2], buffer_18[3], "", "", "shared", "", "", "", "v4", "u32", "")
                if thread < 128:
                    buffer_2 = T.alloc_local((8,), "uint32")
                    T.ptx.ld(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[17408 + (t + 1) % 4 * 4352 + thread % 16 * 272 + thread // 16 * 32])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                    T.ptx.ld(buffer_2[4], buffer_2[5], buffer_2[6], buffer_2[7], T.cuda.cvta_generic_to_shared(T.address_of(arena[17408 + (t + 1) % 4 * 4352 + thread % 16 * 272 + thread // 16 * 32 + 16])), "", "", "shared", "", "", "", "", "", "v4", "u32", "")
                    buffer_3 = T.alloc_local((4,), "uint32")
                    buffer_4: T.uint32
                    T.ptx.fma(buffer_4, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_3[0] = buffer_4
                    buffer_5: T.uint32
                    T.ptx.fma(buffer_5, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[0], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_3[1] = buffer_5
                    buffer_6: T.uint32
                    T.ptx.fma(buffer_6, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_3[2] = buffer_6
                    buffer_7: T.uint32
                    T.ptx.fma(buffer_7, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[1], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_3[3] = buffer_7
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[51200 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 ^ thread % 16 % 8) * 16])), buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_8 = T.alloc_local((4,), "uint32")
                    buffer_9: T.uint32
                    T.ptx.fma(buffer_9, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_8[0] = buffer_9
                    buffer_10: T.uint32
                    T.ptx.fma(buffer_10, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[2], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_8[1] = buffer_10
                    buffer_11: T.uint32
                    T.ptx.fma(buffer_11, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_8[2] = buffer_11
                    buffer_12: T.uint32
                    T.ptx.fma(buffer_12, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[3], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_8[3] = buffer_12
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[51200 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 1 ^ thread % 16 % 8) * 16])), buffer_8[0], buffer_8[1], buffer_8[2], buffer_8[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_13 = T.alloc_local((4,), "uint32")
                    buffer_14: T.uint32
                    T.ptx.fma(buffer_14, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_13[0] = buffer_14
                    buffer_15: T.uint32
                    T.ptx.fma(buffer_15, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[4], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_13[1] = buffer_15
                    buffer_16: T.uint32
                    T.ptx.fma(buffer_16, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_13[2] = buffer_16
                    buffer_17: T.uint32
                    T.ptx.fma(buffer_17, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[5], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_13[3] = buffer_17
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[51200 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 2 ^ thread % 16 % 8) * 16])), buffer_13[0], buffer_13[1], buffer_13[2], buffer_13[3], "", "", "shared", "", "", "", "v4", "u32", "")
                    buffer_18 = T.alloc_local((4,), "uint32")
                    buffer_19: T.uint32
                    T.ptx.fma(buffer_19, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_18[0] = buffer_19
                    buffer_20: T.uint32
                    T.ptx.fma(buffer_20, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[6], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_18[1] = buffer_20
                    buffer_21: T.uint32
                    T.ptx.fma(buffer_21, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(5124)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_18[2] = buffer_21
                    buffer_22: T.uint32
                    T.ptx.fma(buffer_22, (T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) >> T.uint32(1) | T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2147516416) | ((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) - (((T.call_pure_extern("uint32", "__byte_perm", buffer_2[7], T.uint32(0), T.uint32(13348)) & T.uint32(2130738944)) + T.uint32(16777472) & T.uint32(2147516416)) >> T.uint32(15)), T.uint32(1543527424), T.uint32(2147516416), "rn", "", "", "", "", "f16x2", "")
                    buffer_18[3] = buffer_22
                    T.ptx.st(T.cuda.cvta_generic_to_shared(T.address_of(arena[51200 + (t + 1) % 2 * 8192 + thread % 16 * 512 + (thread // 16 * 4 + 3 ^ thread % 16 % 8) * 16])), buffer_18[0], buffer_18[1], buffer_18[2], buffer_18[3], "", "", "shared", "", "", "", "v4", "u32", "")
            buffer_2 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[34816 + t % 2 * 8192 + thread % 32 % 16 * 512 + (thread % 32 // 16 + 2 * (thread // 32 * 2) ^ thread % 32 % 16 % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            buffer_3 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_3[0], buffer_3[1], buffer_3[2], buffer_3[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[51200 + t % 2 * 8192 + (thread % 32 % 8 + thread % 32 // 16 * 8) * 512 + (thread % 32 // 8 % 2 + 2 * (thread // 32 * 2) ^ (thread % 32 % 8 + thread % 32 // 16 * 8) % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            T.ptx.mma(buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_3[0], buffer_3[1], buffer_1[0], buffer_1[1], buffer_1[2], buffer_1[3], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            T.ptx.mma(buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], buffer_2[0], buffer_2[1], buffer_2[2], buffer_2[3], buffer_3[2], buffer_3[3], buffer_1[4], buffer_1[5], buffer_1[6], buffer_1[7], "sync", "aligned", "m16n8k16", "row", "col", "f32", "f16", "f16", "f32", "")
            buffer_4 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_4[0], buffer_4[1], buffer_4[2], buffer_4[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[34816 + t % 2 * 8192 + thread % 32 % 16 * 512 + (thread % 32 // 16 + 2 * (thread // 32 * 2 + 1) ^ thread % 32 % 16 % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
            buffer_5 = T.alloc_local((4,), "uint32")
            T.ptx.ldmatrix(buffer_5[0], buffer_5[1], buffer_5[2], buffer_5[3], T.cuda.cvta_generic_to_shared(T.address_of(arena[51200 + t % 2 * 8192 + (thread % 32 % 8 + thread % 32 // 16 * 8) * 512 + (thread % 32 // 8 % 2 + 2 * (thread // 32 * 2 + 1) ^ (thread % 32 % 8 + thread % 32 // 16 * 8) % 8) * 16])), "sync", "aligned", "m8n8", "x4", "", "shared", "b16", "")
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
                    buffer_2[0] = T.reinterpret("uint16", T.Cast("bfloat16", buffer_1[0]))
                    buffer_2[1] = T.reinterpret("uint16", T.Cast("bfloat16", buffer_1[1]))
                    T.ptx.st(T.address_of(D[buffer[0] + thread % 32 // 4, buffer[1] + thread % 32 % 4 * 2]), T.Cast("uint32", buffer_2[0]) | T.Cast("uint32", buffer_2[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
                buffer_3 = T.alloc_local((2,), "uint16")
                if buffer[1] + (thread % 32 % 4 * 2 + 8) < 64:
                    buffer_3[0] = T.reinterpret("uint16", T.Cast("bfloat16", buffer_1[4]))
                    buffer_3[1] = T.reinterpret("uint16", T.Cast("bfloat16", buffer_1[5]))
                    T.ptx.st(T.address_of(D[buffer[0] + thread % 32 // 4, buffer[1] + (thread % 32 % 4 * 2 + 8)]), T.Cast("uint32", buffer_3[0]) | T.Cast("uint32", buffer_3[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
            if buffer[0] + (thread % 32 // 4 + 8) < 16:
                buffer_2 = T.alloc_local((2,), "uint16")
                if buffer[1] + thread % 32 % 4 * 2 < 64:
                    buffer_2[0] = T.reinterpret("uint16", T.Cast("bfloat16", buffer_1[2]))
                    buffer_2[1] = T.reinterpret("uint16", T.Cast("bfloat16", buffer_1[3]))
                    T.ptx.st(T.address_of(D[buffer[0] + (thread % 32 // 4 + 8), buffer[1] + thread % 32 % 4 * 2]), T.Cast("uint32", buffer_2[0]) | T.Cast("uint32", buffer_2[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
                buffer_3 = T.alloc_local((2,), "uint16")
                if buffer[1] + (thread % 32 % 4 * 2 + 8) < 64:
                    buffer_3[0] = T.reinterpret("uint16", T.Cast("bfloat16", buffer_1[6]))
                    buffer_3[1] = T.reinterpret("uint16", T.Cast("bfloat16", buffer_1[7]))
                    T.ptx.st(T.address_of(D[buffer[0] + (thread % 32 // 4 + 8), buffer[1] + (thread % 32 % 4 * 2 + 8)]), T.Cast("uint32", buffer_3[0]) | T.Cast("uint32", buffer_3[1]) << T.uint32(16), "", "", "", "global", "", "", "", "b32", "")
