# SPDX-License-Identifier: Apache-2.0
"""Sets of (N, K) by name, for timing and for tuning, and the held-out ones, for which nothing may be tuned."""

from __future__ import annotations

from collections.abc import Collection

from bitquant.nn.model_sizes import KNOWN_MODELS

__all__ = ["HELD_OUT_SHAPES", "LLM_SHAPES", "SHAPE_SETS"]

Shapes = tuple[tuple[int, int], ...]


def _of_model(
    name: str, *, with_gate: bool = False, with_experts: bool = False, without: Collection[str] = ()
) -> Shapes:
    """Return the (N, K) of the layers of a known model, with q, k and v merged, and gate and up.

    Parameters
    ----------
    name
        A name of `KNOWN_MODELS`.
    with_gate
        Whether gate or up alone comes behind the two together.
    with_experts
        Whether the products of one expert are among them.
    without
        Layers to leave out, each by the first of its names.
    """
    sizes = KNOWN_MODELS[name]
    found = []
    for layer in (*sizes.layers(), *(sizes.products() if with_experts else ())):
        if layer.names[0] not in without:
            found.append((layer.N, layer.K))
        if with_gate and layer.names[0] == "gate_proj":
            found.append((layer.columns[0], layer.K))
    return tuple(found)


#: Layers of models that nothing was tuned on, and to which no model of time was fitted: claims are checked by them.
#: They are written out, not taken from `KNOWN_MODELS`, which are there to be tuned. Where a known model has one of
#: these sizes too, `bitquant tune --leave-out held-out` passes it over.
_HELD_OUT: dict[str, Shapes] = {
    # Of Llama 3.2, Qwen2.5 and 3, Gemma 2 and 3, Phi-4, Mistral-Nemo, StarCoder2, Yi and Command R+, 2 to 400 MiB at 4
    # bits. Measurements of these have decided between models of time since.
    "held-out": (
        (2048, 2048), (2560, 4096), (5120, 3072), (6144, 2560), (3840, 4096), (3072, 8192), (8192, 3840), (6144, 5120),
        (7168, 5120), (3840, 15360), (18944, 3584), (3584, 18944), (5120, 14336), (5120, 17920), (17920, 5120),
        (30720, 3840), (6144, 24576), (35840, 5120), (4608, 36864), (7168, 20480), (40960, 7168), (8192, 29568),
        (12288, 33792), (67584, 12288),
    ),
    # Of Phi-2 and 3, Gemma 2, Granite 3, GLM-4, Falcon, InternLM2 and Mistral Large. From 65 rows on, measurements of
    # some of them have decided between models of time since.
    "held-out-2": (
        (3072, 3072), (4608, 4096), (7680, 2560), (2560, 10240), (4096, 12800), (4096, 13696), (3072, 23040),
        (25600, 4096), (46080, 3072), (32768, 6144), (8192, 32768), (57344, 12288),
    ),
    # Of StableLM 3B, SmolLM3, Qwen3 4B, Phi-4-mini, GLM-4 32B, EXAONE 3.5, Command R, MPT 30B and Llama 3.1 405B. They
    # have decided nothing.
    "held-out-3": (
        (2048, 11008), (2560, 9728), (13824, 2560), (19456, 2560), (16384, 3072), (5120, 27392), (6144, 23040),
        (8192, 22528), (28672, 7168), (54784, 5120), (45056, 8192), (16384, 53248),
    ),
}  # fmt: skip

#: (N, K) of weights by the name of a set. "bitblas": the layers of BLOOM 176B, OPT 66B and Llama 2 70B that BitBLAS's
#: README times. "decode": the sizes at which one row of A meets the memory's speed, small to large.
SHAPE_SETS: dict[str, Shapes] = {
    "llama-3-8b": _of_model("llama-3-8b", with_gate=True),
    "llama-3-70b": _of_model("llama-3-70b", with_gate=True),
    **{name: _of_model(name) for name in ("llama-2-7b", "llama-2-13b", "qwen3-8b", "qwen3-32b")},
    "qwen3-235b-a22b": _of_model("qwen3-235b-a22b", with_experts=True),
    **{name: _of_model(name) for name in ("gemma-3-27b", "gpt-oss-120b")},
    "deepseek-v3": _of_model("deepseek-v3", without=("q_a_proj", "kv_b_proj")),
    "bitblas": (
        (16384, 16384), (43008, 14336), (14336, 14336), (57344, 14336), (14336, 57344), (9216, 9216), (36864, 9216),
        (9216, 36864), (22016, 8192), (8192, 22016), (8192, 8192), (28672, 8192), (8192, 28672),
    ),
    "square": ((2048, 2048), (4096, 4096), (8192, 8192), (16384, 16384)),
    "decode": (
        (4096, 4096), (6144, 4096), (28672, 4096), (4096, 14336), (8192, 8192), (28672, 8192), (8192, 28672),
        (1024, 8192), (8192, 1024), (16384, 16384),
    ),
    **_HELD_OUT,
}  # fmt: skip

#: (N, K) that are never tuned, and of which no trial is kept.
HELD_OUT_SHAPES = frozenset(shape for shapes in _HELD_OUT.values() for shape in shapes)

#: (N, K) of the linear layers of Llama 3 8B and 70B.
LLM_SHAPES: Shapes = (*SHAPE_SETS["llama-3-8b"], *SHAPE_SETS["llama-3-70b"])
