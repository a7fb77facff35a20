# SPDX-License-Identifier: Apache-2.0
"""Facts of a target: what a GPU can do, and which one is here."""

from __future__ import annotations

import ctypes
import functools
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import tvm
from tvm.target import Target

from bitquant.errors import ConfigError, UnsupportedError

__all__ = [
    "SUPPORTED_ARCHS",
    "GpuArch",
    "asked_gpu",
    "attached_gpu",
    "cpu_target",
    "cuda_target",
    "default_target",
    "detected_cuda_arch",
    "driver_version",
    "find_gpu",
    "gpu_arch",
    "gpu_name",
    "known_gpus",
    "resolve_gpu",
    "resolve_target",
    "target_gpu",
]

KiB = 1024
#: What the system takes of a multiprocessor's shared memory for each block (CUDA C++ Programming Guide, sm_80 and on).
RESERVED_SMEM_BYTES = 1 * KiB
#: 32-bit registers of a multiprocessor (the same, every architecture from sm_75 on).
REGISTERS_PER_SM = 64 * KiB


@dataclass(frozen=True)
class GpuArch:
    """One CUDA architecture, as a kernel sees it.

    Constants are those of the CUDA C++ Programming Guide 13.0, tables "Technical Specifications per Compute Capability"
    and "Arithmetic Instructions"; the number of multiprocessors, the bandwidth and the clock are those of the product
    named in `example`, and stand in where no GPU is there to be asked.

    Attributes
    ----------
    name
        Compiler target, for example "sm_90a".
    major, minor
        Compute capability.
    smem_per_block_bytes
        Most shared memory that one block may have (opted in to beyond 48 KiB).
    smem_per_sm_bytes
        Shared memory of a multiprocessor.
    sm_count
        Multiprocessors of `example`.
    bandwidth_bytes_per_s
        Memory bandwidth of `example`, by its data sheet.
    example
        The product that these describe.
    clock_hz
        Clock of the multiprocessors while a kernel is bound by instructions, in cycles a second: the boost clock of
        `example` by NVIDIA's specifications. That of an H200 was fitted to decode kernels, and stands in for B200 and
        B300, which have no published one, and for an H100 SXM.
    decode_l2_bytes_per_s
        Bandwidth from L2 to all multiprocessors, as decode kernels reach it, fitted on an H200; it stands in for other
        products of the table.
    in_flight_bytes
        Bytes of loads that a multiprocessor should have in flight. Little's law for an H200, 4.6 TB/s and 0.7 us over
        132 multiprocessors, gives 24 KB; latency grows with load. It stands in for other products of the table.
    decode_cluster_shares
        Share of the multiprocessors that clusters of 1, 2, 4 and 8 blocks can fill together, since those of a
        processing cluster need not be a multiple; fitted to decode kernels on an H200. It stands in for other products.
    """

    name: str
    major: int
    minor: int
    smem_per_block_bytes: int
    smem_per_sm_bytes: int
    sm_count: int
    bandwidth_bytes_per_s: float
    example: str
    clock_hz: float = 1755e6
    decode_l2_bytes_per_s: float = 5.5e12
    in_flight_bytes: int = 32 * KiB
    decode_cluster_shares: tuple[float, float, float, float] = (1.0, 1.0, 0.85, 0.73)

    @property
    def capability(self) -> int:
        """Compute capability as one number, 90 for 9.0."""
        return self.major * 10 + self.minor

    def decode_cluster_share(self, blocks: int) -> float:
        """Return the share of the multiprocessors that clusters of 1, 2, 4 or 8 blocks of decode kernels fill."""
        return self.decode_cluster_shares[blocks.bit_length() - 1]

    @property
    def has_mma_m16n8k16(self) -> bool:
        """Whether mma.sync has its 16 x 8 x 16 float16 and bfloat16, and 16 x 8 x 32 int8 shapes (sm_80)."""
        return self.capability >= 80

    @property
    def has_bfloat16(self) -> bool:
        """Whether there are instructions for bfloat16 (sm_80)."""
        return self.capability >= 80

    @property
    def has_cp_async(self) -> bool:
        """Whether shared memory can be filled asynchronously from global memory (sm_80)."""
        return self.capability >= 80

    @property
    def has_cache_hints(self) -> bool:
        """Whether loads may pass L1 by, and say how much L2 shall fetch (sm_80)."""
        return self.capability >= 80

    @property
    def has_float8_conversion(self) -> bool:
        """Whether cvt converts between float8 and float16 (sm_89)."""
        return self.capability >= 89

    @property
    def has_clusters(self) -> bool:
        """Whether blocks can share their memory in clusters (sm_90)."""
        return self.capability >= 90

    @property
    def has_bulk_copy(self) -> bool:
        """Whether TMA copies whole rows, and boxes of tensors, to shared memory (sm_90)."""
        return self.capability >= 90

    @property
    def has_dependent_launch(self) -> bool:
        """Whether a kernel may begin before the one ahead of it has ended (griddepcontrol, sm_90)."""
        return self.capability >= 90

    @property
    def has_wgmma(self) -> bool:
        """Whether tensor cores multiply by wgmma: Hopper's alone, under its architecture-specific target."""
        return self.name == "sm_90a"

    @property
    def threads_per_sm(self) -> int:
        """Most threads that are resident on a multiprocessor (the Programming Guide's table, as above)."""
        return {75: 1024, 86: 1536, 87: 1536, 89: 1536, 120: 1536}.get(self.capability, 2048)

    # What wgmma kernels reach, fitted to 8900 of them measured on H200s (`schedule/rules/hopper/cost.py`): those of a
    # multiprocessor stand for all products of the architecture.

    @property
    def wgmma_sm_flops(self) -> float:
        """16-bit products and sums a second of one multiprocessor by wgmma; power, not the clock, limits it."""
        return 6.2e12

    @property
    def wgmma_l2_bytes_per_s(self) -> float:
        """Bytes a second from L2 to all multiprocessors: 12.5 TB/s to the 132 of an H200."""
        return 12.5e12 * self.sm_count / 132

    def wgmma_cluster_share(self, blocks: int) -> float:
        """Return the share of the multiprocessors that clusters of 1, 2, 4 or 8 blocks fill.

        They do not divide all parts of the GPU evenly.
        """
        return {1: 1.0, 2: 1.0, 4: 0.91, 8: 0.85}[blocks]


_ARCHS = {
    a.name: a
    for a in (
        GpuArch("sm_75", 7, 5, 64 * KiB, 64 * KiB, 40, 320e9, "T4", clock_hz=1590e6),
        GpuArch("sm_80", 8, 0, 163 * KiB, 164 * KiB, 108, 2039e9, "A100 80GB SXM", clock_hz=1410e6),
        GpuArch("sm_86", 8, 6, 99 * KiB, 100 * KiB, 84, 768e9, "RTX A6000", clock_hz=1800e6),
        GpuArch("sm_87", 8, 7, 163 * KiB, 164 * KiB, 16, 205e9, "Jetson AGX Orin", clock_hz=1300e6),
        GpuArch("sm_89", 8, 9, 99 * KiB, 100 * KiB, 142, 864e9, "L40S", clock_hz=2520e6),
        GpuArch("sm_90a", 9, 0, 227 * KiB, 228 * KiB, 132, 4800e9, "H200 SXM"),
        GpuArch("sm_100a", 10, 0, 227 * KiB, 228 * KiB, 148, 8000e9, "B200"),
        GpuArch("sm_103a", 10, 3, 227 * KiB, 228 * KiB, 148, 8000e9, "B300"),
        GpuArch("sm_120a", 12, 0, 99 * KiB, 100 * KiB, 170, 1792e9, "RTX 5090", clock_hz=2407e6),
    )
}

#: Words of a name that say which product is meant, and its facts. Multiprocessors, bandwidths in bytes a second and
#: clocks are those of NVIDIA's data sheets, where it is not the `example` of its architecture (`GpuArch.clock_hz`).
_PRODUCTS: dict[tuple[str, ...], GpuArch] = {
    **{(key,): _ARCHS[arch] for key, arch in (
        ("t4", "sm_75"), ("a100", "sm_80"), ("a6000", "sm_86"), ("orin", "sm_87"), ("l40s", "sm_89"),
        ("h200", "sm_90a"), ("b200", "sm_100a"), ("b300", "sm_103a"), ("5090", "sm_120a"),
    )},
    **{keys: replace(
        _ARCHS[arch], example=name, sm_count=sm_count, bandwidth_bytes_per_s=bandwidth, clock_hz=clock)
       for keys, name, arch, sm_count, bandwidth, clock in (
        (("a100", "40gb"), "A100 40GB SXM", "sm_80", 108, 1555e9, 1410e6),
        (("3090",), "RTX 3090", "sm_86", 82, 936e9, 1695e6),
        (("l4",), "L4", "sm_89", 58, 300e9, 2040e6),
        (("4090",), "RTX 4090", "sm_89", 128, 1008e9, 2520e6),
        (("h100",), "H100 SXM", "sm_90a", 132, 3350e9, 1755e6),
        (("h100", "pcie"), "H100 PCIe", "sm_90a", 114, 2000e9, 1755e6),
    )},
}  # fmt: skip

#: Numbers of `CUdevice_attribute` (CUDA Driver API 13.0, cuda.h).
_CLOCK_KHZ, _SM_COUNT, _MEMORY_CLOCK_KHZ, _BUS_BITS, _SMEM_PER_SM, _SMEM_PER_BLOCK = 13, 16, 36, 37, 81, 97
#: What a target says of a product that is not in the table, in its attribute "model".
_ASKED = re.compile(r"(.*) \[(sm_\w+), (\d+) SM, (\d+) B/s, (\d+) Hz, (\d+) and (\d+) B of shared memory\]")

#: Compiler targets that bitquant knows; from sm_90 on the architecture-specific ones.
SUPPORTED_ARCHS: tuple[str, ...] = tuple(_ARCHS)


def gpu_arch(name: str) -> GpuArch:
    """Return the facts of an architecture; sm_90, sm_100 ... stand for their architecture-specific forms.

    Raises
    ------
    ConfigError
        If the name is unknown or older than sm_75.
    """
    for candidate in (name, f"{name}a"):
        if candidate in _ARCHS:
            return _ARCHS[candidate]
    if (match := re.fullmatch(r"sm_(\d+)(\d)a?", name)) and int(match[1] + match[2]) >= 75:
        # A GPU that is not in the table (sm_121, say): what the nearest older one can do, and the least shared memory.
        major, minor = int(match[1]), int(match[2])
        older = max((a for a in _ARCHS.values() if a.capability <= 10 * major + minor), key=lambda a: a.capability)
        small = min(_ARCHS["sm_89"], older, key=lambda a: a.smem_per_block_bytes)
        return replace(
            older, name=f"sm_{major}{minor}{'a' if major >= 9 else ''}", major=major, minor=minor,
            smem_per_block_bytes=small.smem_per_block_bytes, smem_per_sm_bytes=small.smem_per_sm_bytes,
        )  # fmt: skip
    raise ConfigError(f"'target' must name one of {', '.join(_ARCHS)} (got {name!r})", target=name)


def find_gpu(name: str) -> GpuArch | None:
    """Return the facts of a product, "h200", "RTX 4090" or "NVIDIA H100 80GB HBM3"; None for one that is not known.

    A name with facts, as `gpu_name` gives it, needs no product that is known.
    """
    if match := _ASKED.fullmatch(name):
        return _product(match[1], gpu_arch(match[2]), *map(int, match.groups()[2:]))
    words = set(re.findall(r"[a-z0-9]+", re.sub(r"nvidia|geforce|rtx", " ", name.lower())))
    known = [keys for keys in _PRODUCTS if words.issuperset(keys)]
    return _PRODUCTS[max(known, key=len)] if known else None


def gpu_name(gpu: GpuArch) -> str:
    """Return the name by which `find_gpu` finds a product: with its facts, where the driver was asked for these."""
    if find_gpu(gpu.example) == gpu:
        return gpu.example
    return (
        f"{gpu.example} [{gpu.name}, {gpu.sm_count} SM, {gpu.bandwidth_bytes_per_s:.0f} B/s, {gpu.clock_hz:.0f} Hz, "
        f"{gpu.smem_per_block_bytes} and {gpu.smem_per_sm_bytes} B of shared memory]"
    )


def _product(
    name: str, arch: GpuArch, sm_count: int, bandwidth: int, clock_hz: int, smem_per_block: int, smem_per_sm: int
) -> GpuArch:
    """Return a product that is not in the table; what was fitted on an H200 is scaled by what is known of it.

    L2 serves each multiprocessor as many bytes a clock as on an H200, and bytes in flight follow the bandwidth of a
    multiprocessor (Little's law).
    """
    h200 = _ARCHS["sm_90a"]
    clocks = sm_count * clock_hz / (h200.sm_count * h200.clock_hz)
    bandwidth_of_sm = (bandwidth / sm_count) / (h200.bandwidth_bytes_per_s / h200.sm_count)
    return replace(
        arch, smem_per_block_bytes=smem_per_block, smem_per_sm_bytes=smem_per_sm, sm_count=sm_count,
        bandwidth_bytes_per_s=float(bandwidth), example=name, clock_hz=float(clock_hz),
        decode_l2_bytes_per_s=h200.decode_l2_bytes_per_s * clocks,
        in_flight_bytes=max(KiB, round(h200.in_flight_bytes * bandwidth_of_sm)),
    )  # fmt: skip


def known_gpus() -> tuple[tuple[str, GpuArch], ...]:
    """Return the products that `find_gpu` knows: the name that is enough, and the facts."""
    return tuple((" ".join(keys), gpu) for keys, gpu in _PRODUCTS.items())


def cuda_target(arch: str | GpuArch) -> Target:
    """Return the TVM target of a CUDA architecture, or of a product.

    Its host code, a launcher, is for any CPU of this kind. TVM's attribute "model" names a product that is not its
    architecture's example, with its facts where the driver was asked for them: rules choose kernels by these
    (`target_gpu`), in any process.
    """
    gpu = gpu_arch(arch) if isinstance(arch, str) else arch
    fields = {"kind": "cuda", "arch": gpu.name}
    if gpu != gpu_arch(gpu.name):
        fields["model"] = gpu_name(gpu)
    return Target(fields, host=Target("llvm"))


def target_gpu(target: Target) -> GpuArch:
    """Return the facts of the GPU that a CUDA target is for: those of its product where it names one."""
    return (find_gpu(str(target.attrs["model"])) if "model" in target.attrs else None) or gpu_arch(str(target.arch))


@functools.cache
def cpu_target() -> Target:
    """Return the TVM target of this machine's CPU with every vector extension that it has."""
    cpu = tvm.get_global_func("tvm.codegen.llvm.GetHostCPUName")()
    features = tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")()
    enabled = sorted(f"+{name}" for name, on in features.items() if on)
    return Target({"kind": "llvm", "mcpu": cpu, "mattr": enabled})


def detected_cuda_arch(device_index: int = 0) -> str | None:
    """Return the compiler target of an attached GPU, or None where there is none, or none from sm_75 on."""
    import torch

    if not torch.cuda.is_available() or device_index >= torch.cuda.device_count():
        return None
    major, minor = torch.cuda.get_device_capability(device_index)
    if (major, minor) < (7, 5):
        return None
    return gpu_arch(f"sm_{major}{minor}").name


def attached_gpu(device_index: int = 0) -> GpuArch | None:
    """Return the facts of an attached GPU: of its product where that is known, else as the driver gives them."""
    import torch

    arch = detected_cuda_arch(device_index)
    if arch is None:
        return None
    name, attribute = torch.cuda.get_device_name(device_index), _driver_attributes(device_index)
    product = find_gpu(name)
    # Laptop versions and slices (MIG) have the name of a product, and fewer multiprocessors.
    if product is not None and product.name == arch and product.sm_count == attribute(_SM_COUNT):
        return product
    return asked_gpu(arch, name, attribute)


def _driver_attributes(device_index: int) -> Callable[[int], int]:
    """Return what asks the driver for an attribute of a device, by its number."""
    driver, device = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()

    def check(status: int) -> None:
        if status:
            raise UnsupportedError(f"NVIDIA's driver does not say what GPU {device_index} is (CUresult {status})")

    def attribute(number: int) -> int:
        value = ctypes.c_int()
        check(driver.cuDeviceGetAttribute(ctypes.byref(value), number, device))
        return value.value

    check(driver.cuInit(0))
    # The devices of the driver are those of torch: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER hold for both.
    check(driver.cuDeviceGet(ctypes.byref(device), device_index))
    return attribute


def asked_gpu(arch: str, name: str, attribute: Callable[[int], int]) -> GpuArch:
    """Return the facts of a product that is not in the table, by the attributes that the driver has of it.

    The bandwidth is two transfers a clock over the memory's bus (CUDA C++ Best Practices Guide, "Theoretical Bandwidth
    Calculation").

    Parameters
    ----------
    arch, name
        Architecture and name of the product.
    attribute
        Returns an attribute by its number in the CUDA driver API's `CUdevice_attribute`.
    """
    known, sm_count = gpu_arch(arch), attribute(_SM_COUNT)
    bandwidth = 2 * 1000 * attribute(_MEMORY_CLOCK_KHZ) * attribute(_BUS_BITS) // 8
    # GPUs that share the CPU's memory may have no clock of it: as much for each multiprocessor as on the example.
    bandwidth = bandwidth or round(known.bandwidth_bytes_per_s * sm_count / known.sm_count)
    clock_hz = 1000 * attribute(_CLOCK_KHZ)
    return _product(name, known, sm_count, bandwidth, clock_hz, attribute(_SMEM_PER_BLOCK), attribute(_SMEM_PER_SM))


@functools.cache  # It stays what it is while a process lives, and a program has to be started to ask.
def driver_version() -> str | None:
    """Return the version of NVIDIA's driver, or None where there is none, or it cannot be found out."""
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if answer.returncode == 0 and answer.stdout.strip():
            return answer.stdout.split()[0]
    file = Path("/proc/driver/nvidia/version")
    match = re.search(r"Kernel Module\D*([\d.]+)", file.read_text()) if file.is_file() else None
    return match[1] if match else None


def default_target() -> Target:
    """Return the target of the attached GPU where there is one, else that of the CPU."""
    gpu = attached_gpu()
    return cuda_target(gpu) if gpu else cpu_target()


def resolve_target(target: str | Target | None) -> Target:
    """Return the TVM target that the user's word stands for.

    Parameters
    ----------
    target
        None: the GPU if there is one, else the CPU. "cpu" or "llvm"; "cuda" (the attached GPU); an architecture,
        "sm_90a", also written sm90, 90a or 9.0, or in TVM's older way "cuda -arch=sm_90a"; a product, "h100" or
        "RTX 4090" (`find_gpu`): kernels are for its architecture, and chosen by its facts; "nvidia/..." tags and
        `Target` objects.

    Raises
    ------
    UnsupportedError
        If "cuda" is asked for and there is no GPU.
    ConfigError
        If the target is unknown, or neither a CPU nor a CUDA GPU.
    """
    if target is None:
        return default_target()
    if isinstance(target, Target):
        return _from_tvm(target)
    if not isinstance(target, str):
        raise ConfigError(
            f"'target' must be a string or a tvm Target (got {target!r:.200}); for example target='cpu'", target=target
        )
    text = target.strip()
    if text in ("cpu", "llvm", "c"):
        return cpu_target()
    if text in ("cuda", "gpu"):
        gpu = attached_gpu()
        if gpu is None:
            raise UnsupportedError(
                "'target' cuda needs a GPU and none is visible; name the architecture to compile for, "
                "for example target='sm_90a', or use target='cpu'",
                target=target,
            )
        return cuda_target(gpu)
    if match := re.fullmatch(r"(?:cuda\s+-{1,2}arch[= ])?(sm_\w+)", text):
        return cuda_target(match[1])
    if match := re.fullmatch(r"(?:sm)?(\d{1,2})\.?(\d)(a?)", text.lower()):
        return cuda_target(f"sm_{match[1]}{match[2]}{match[3]}")
    if (product := find_gpu(text)) is not None:
        return cuda_target(product)
    try:
        resolved = Target(text)
    except Exception as error:
        raise ConfigError(
            f"'target' must be cpu, cuda (the GPU that is here) or an architecture: {', '.join(_ARCHS)}, also as 90a, "
            f"sm90 or 9.0; or a product: {', '.join(map(' '.join, _PRODUCTS))} (got {target!r:.200})",
            target=target,
        ) from error
    return _from_tvm(resolved)


def resolve_gpu(target: str | None) -> tuple[Target, GpuArch | None]:
    """Return the target that a word stands for, and the product whose times are asked for; None for a CPU.

    Parameters
    ----------
    target
        As in `resolve_target`. An architecture stands for its `GpuArch.example`, "cuda" and None for the GPU that is
        here.

    Raises
    ------
    UnsupportedError, ConfigError
        As `resolve_target` does.
    """
    resolved = resolve_target(target)
    return resolved, target_gpu(resolved) if resolved.kind.name == "cuda" else None


def _from_tvm(target: Target) -> Target:
    if target.kind.name == "cuda":
        return cuda_target(target_gpu(target))
    if target.kind.name == "llvm":
        triple = str(target.attrs.get("mtriple", ""))
        if triple and triple.split("-", maxsplit=1)[0] != platform.machine():
            raise ConfigError(
                f"'target' must be for this machine's CPU, {platform.machine()} (got {triple!r}); use target='cpu'",
                target=triple,
            )
        return target
    raise ConfigError(f"'target' must be an llvm or cuda target (got {target})", target=str(target))
