# SPDX-License-Identifier: Apache-2.0
"""Sizes of known models, from the config.json that each publisher gives, and the layers that follow from them.

This is the only place that says how large a model's layers are. The problems to tune (`bitquant.nn.shapes`), the sets
of shapes to time (`bitquant.testing.shape_sets`) and the models to time (`bitquant.testing.bench.methods`) follow.
Sets of held-out shapes do not: nothing may be tuned for these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["KNOWN_MODELS", "ExpertsSizes", "LatentSizes", "LayerSizes", "ModelSizes", "ProductSizes"]


@dataclass(frozen=True)
class LayerSizes:
    """A linear layer, or several that read one input and are merged.

    Attributes
    ----------
    names
        What the layers compute: ("gate_proj", "up_proj").
    columns
        The length of each one's output.
    K
        The length of their input.
    with_bias
        Whether they have a bias.
    """

    names: tuple[str, ...]
    columns: tuple[int, ...]
    K: int
    with_bias: bool = False

    @property
    def N(self) -> int:
        """The length of all outputs together."""
        return sum(self.columns)


@dataclass(frozen=True)
class ProductSizes(LayerSizes):
    """One of the two products of a layer of experts.

    Attributes
    ----------
    experts
        The layer.
    is_down
        Whether it is the second product, which returns to the length of a token.
    """

    experts: ExpertsSizes = field(kw_only=True)
    is_down: bool = field(kw_only=True)


@dataclass(frozen=True)
class ExpertsSizes:
    """A layer of experts, each a gated MLP.

    Attributes
    ----------
    num_experts, top_k
        How many there are, and how many a token meets.
    intermediate_size
        The length between the two products.
    shared_intermediate_size
        That of the experts that every token meets, which are ordinary layers; None without such experts.
    activation
        As `MatmulConfig` names it.
    with_bias
        Whether both products have a bias.
    """

    num_experts: int
    top_k: int
    intermediate_size: int
    shared_intermediate_size: int | None = None
    activation: str = "silu_mul"
    with_bias: bool = False


@dataclass(frozen=True)
class LatentSizes:
    """Attention with latents (DeepSeek-AI, DeepSeek-V2, 2024, section 2.1).

    Attributes
    ----------
    q_rank, kv_rank
        Lengths of the latents of q, and of k and v.
    nope_dim, rope_dim, value_dim
        Lengths of a head of q and k without and with positions, and of one of v.
    """

    q_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int


@dataclass(frozen=True)
class ModelSizes:
    """Sizes of a decoder.

    Attributes
    ----------
    hidden_size, num_heads, num_kv_heads, head_dim
        As in config.json: the length of a token, and of attention the heads, those of k and v, and the length of one.
    intermediate_size
        The length between the two products of a gated MLP; None if all layers have experts in its place.
    attention_bias
        Whether the layers of attention have a bias.
    experts, latent
        Layers of experts, and latents in attention; None without.
    """

    hidden_size: int
    intermediate_size: int | None
    num_heads: int
    num_kv_heads: int
    head_dim: int
    attention_bias: bool = False
    experts: ExpertsSizes | None = None
    latent: LatentSizes | None = None

    def layers(self) -> tuple[LayerSizes, ...]:
        """Return the layers of a block that are no experts, those of one input merged; then those of shared experts."""
        shared = None if self.experts is None else self.experts.shared_intermediate_size
        return (*self._attention(), *self._gated(self.intermediate_size), *self._gated(shared))

    def products(self) -> tuple[ProductSizes, ...]:
        """Return the two products with the weights of the experts; none without experts."""
        if (experts := self.experts) is None:
            return ()
        hidden, inner, bias = self.hidden_size, experts.intermediate_size, experts.with_bias
        return (
            ProductSizes(("experts.gate_up_proj",), (2 * inner,), hidden, bias, experts=experts, is_down=False),
            ProductSizes(("experts.down_proj",), (hidden,), inner, bias, experts=experts, is_down=True),
        )

    def _attention(self) -> tuple[LayerSizes, ...]:
        hidden, heads, bias = self.hidden_size, self.num_heads, self.attention_bias
        if (latent := self.latent) is None:
            q, kv = heads * self.head_dim, self.num_kv_heads * self.head_dim
            return (
                LayerSizes(("q_proj", "k_proj", "v_proj"), (q, kv, kv), hidden, bias),
                LayerSizes(("o_proj",), (hidden,), q, bias),
            )
        of_keys = latent.kv_rank + latent.rope_dim
        return (
            LayerSizes(("q_a_proj", "kv_a_proj_with_mqa"), (latent.q_rank, of_keys), hidden, bias),
            LayerSizes(("q_b_proj",), (heads * (latent.nope_dim + latent.rope_dim),), latent.q_rank),
            LayerSizes(("kv_b_proj",), (heads * (latent.nope_dim + latent.value_dim),), latent.kv_rank),
            LayerSizes(("o_proj",), (hidden,), heads * latent.value_dim, bias),
        )

    def _gated(self, intermediate: int | None) -> tuple[LayerSizes, ...]:
        if intermediate is None:
            return ()
        return (
            LayerSizes(("gate_proj", "up_proj"), (intermediate, intermediate), self.hidden_size),
            LayerSizes(("down_proj",), (self.hidden_size,), intermediate),
        )


def _gpt_oss(num_experts: int) -> ModelSizes:
    experts = ExpertsSizes(num_experts, 4, 2880, activation="clamped_swiglu", with_bias=True)
    return ModelSizes(2880, None, 64, 8, 64, attention_bias=True, experts=experts)


#: Sizes by the name of a model.
KNOWN_MODELS: Mapping[str, ModelSizes] = {
    "llama-3-8b": ModelSizes(4096, 14336, 32, 8, 128),
    "llama-3-70b": ModelSizes(8192, 28672, 64, 8, 128),
    "llama-2-7b": ModelSizes(4096, 11008, 32, 32, 128),
    "llama-2-13b": ModelSizes(5120, 13824, 40, 40, 128),
    "qwen3-8b": ModelSizes(4096, 12288, 32, 8, 128),
    "qwen3-32b": ModelSizes(5120, 25600, 64, 8, 128),
    "qwen3-30b-a3b": ModelSizes(2048, None, 32, 4, 128, experts=ExpertsSizes(128, 8, 768)),
    "qwen3-235b-a22b": ModelSizes(4096, None, 64, 4, 128, experts=ExpertsSizes(128, 8, 1536)),
    "mistral-7b": ModelSizes(4096, 14336, 32, 8, 128),
    "mixtral-8x7b": ModelSizes(4096, None, 32, 8, 128, experts=ExpertsSizes(8, 2, 14336)),
    "mistral-small-24b": ModelSizes(5120, 32768, 32, 8, 128),
    "gemma-3-27b": ModelSizes(5376, 21504, 32, 16, 128),
    "gpt-oss-20b": _gpt_oss(32),
    "gpt-oss-120b": _gpt_oss(128),
    "deepseek-v3": ModelSizes(
        7168, 18432, 128, 128, 128,
        experts=ExpertsSizes(256, 8, 2048, shared_intermediate_size=2048),
        latent=LatentSizes(q_rank=1536, kv_rank=512, nope_dim=128, rope_dim=64, value_dim=128),
    ),
}  # fmt: skip
