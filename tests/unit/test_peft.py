# SPDX-License-Identifier: Apache-2.0
"""Adapters over quantized layers by peft, beside the same over layers of torch with decode(W) in float64."""

from __future__ import annotations

import copy
import os

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"  # Nothing here is on a hub; a look for it would take its time.

import peft
from transformers import LlamaConfig, LlamaForCausalLM

import bitquant as bq
from bitquant.nn import quantize
from bitquant.peft import LoraLinear, register

pytestmark = pytest.mark.filterwarnings("ignore:`.*checkpointing.*deprecated:FutureWarning")

STEPS, GROUP, LAYERS = 20, 32, 14
IDS = torch.randint(0, 128, (2, 16), generator=torch.Generator().manual_seed(1))
DTYPES = (torch.float32, torch.bfloat16)


def quantized(linear: torch.nn.Linear, **options) -> bq.Linear:
    options = {"W_dtype": "uint4", "group_size": GROUP, "opt_M": [16], **options}
    return bq.Linear.from_float(linear, **options)


def decoded(linear: torch.nn.Linear, layer: bq.Linear) -> torch.Tensor:
    """decode(W) in float64, by its definition."""
    values, scale, zeros = quantize(linear.weight, layer.config)
    return (values - zeros.double().repeat_interleave(GROUP, 1)) * scale.double().repeat_interleave(GROUP, 1)


def pair(dtype: torch.dtype) -> tuple[LlamaForCausalLM, LlamaForCausalLM]:
    """A small model with quantized layers, and the same with torch's, whose weight is decode(W) rounded to `dtype`."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=128,
        max_position_embeddings=64,
        attention_bias=True,
        initializer_range=0.05,
        use_cache=False,
    )
    twin = LlamaForCausalLM(config).to(dtype)
    for name, parameter in twin.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.05)
    model = copy.deepcopy(twin)
    for name, linear in list(twin.named_modules()):
        if isinstance(linear, torch.nn.Linear) and name != "lm_head":
            layer = quantized(linear)
            model.set_submodule(name, layer)
            linear.weight.data = decoded(linear, layer).to(dtype)
    return model, twin


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Matrices are so small that threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models():
    """`pair`, made once for each type."""
    made = {dtype: pair(dtype) for dtype in DTYPES}
    return lambda dtype: copy.deepcopy(made[dtype])


def adapted(model: torch.nn.Module, **options) -> peft.PeftModel:
    """The model with adapters over all of its linear layers."""
    torch.manual_seed(2)
    options = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **options}
    return peft.get_peft_model(model, register(peft.LoraConfig(**options), model))


def loss_of(model: torch.nn.Module) -> torch.Tensor:
    return model(input_ids=IDS, labels=IDS).loss


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def trained(model: torch.nn.Module, use_reentrant: bool | None = None) -> torch.Tensor:
    """Train adapters, with gradient checkpointing if it is said which, and return the loss of each step."""
    if use_reentrant is not None:
        model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    model = adapted(model).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(STEPS):
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return torch.tensor(losses)


def gradients(model: torch.nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    """Gradients of the trainable parameters whose names hold `prefix`, in float64."""
    loss_of(model.train()).backward()
    return {name: p.grad.double() for name, p in model.named_parameters() if prefix in name and p.requires_grad}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_training_agrees_with_layers_of_torch(models, dtype):
    """20 steps of LoRA lose as much as over torch's layers, with both ways of checkpointing, which change nothing."""
    losses = trained(models(dtype)[1])
    others = [trained(models(dtype)[0], use_reentrant) for use_reentrant in (False, True)]
    assert torch.equal(*others)
    # Each step moves the adapters by what carries a relative error of about an ulp.
    tolerance = STEPS * torch.finfo(dtype).eps * losses[0]
    assert (others[0] - losses).abs().max() < tolerance
    assert others[0][-1] < 0.6 * others[0][0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("use_reentrant", [None, False, True])
def test_gradients_of_adapters(models, dtype, use_reentrant):
    """The gradients of all adapters are those of the model in float64, within the rounding of the layers between."""
    model, twin = models(dtype)
    if use_reentrant is not None:
        model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    got = gradients(adapted(model, init_lora_weights=False), "lora_")
    wanted = gradients(adapted(twin.double(), init_lora_weights=False), "lora_")
    assert got.keys() == wanted.keys()
    assert len(got) == 2 * LAYERS
    for name, gradient in got.items():
        # Each of up to LAYERS products on the way rounds its result, there and back.
        error = torch.dist(gradient, wanted[name]) / wanted[name].norm()
        assert error < LAYERS * torch.finfo(dtype).eps, name


def test_prompt_tuning(models):
    """A prompt that is learned in front of quantized layers has the gradient of the model in float64."""

    def prompted(model: torch.nn.Module) -> peft.PeftModel:
        torch.manual_seed(2)
        config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
        return peft.get_peft_model(model, config).to(model.dtype)

    model, twin = models(torch.float32)
    (got,), (wanted,) = (gradients(prompted(m), "prompt").values() for m in (model, twin.double()))
    assert torch.dist(got, wanted) < LAYERS * torch.finfo(torch.float32).eps * wanted.norm()


def test_names_of_all_layers(models):
    """The word all-linear means each linear layer, quantized or not, but for the output; also for later adapters."""
    model, _ = models(torch.float32)
    names = {name for name, layer in model.named_modules() if isinstance(layer, bq.Linear)}
    plain = "model.layers.1.mlp.up_proj"
    model.set_submodule(plain, torch.nn.Linear(64, 128, bias=False))
    model.lm_head = quantized(model.lm_head)
    model = adapted(model)
    assert set(model.peft_config["default"].target_modules) == names
    assert sum(isinstance(layer, LoraLinear) for layer in model.modules()) == len(names) - 1
    assert isinstance(model.base_model.model.get_submodule(plain), peft.tuners.lora.Linear)
    assert isinstance(model.base_model.model.lm_head, bq.Linear)
    second = register(peft.LoraConfig(target_modules="all-linear"), model)
    model.add_adapter("second", second)
    assert set(second.target_modules) == names


@pytest.mark.parametrize(("option", "expected"), [({}, torch.float32), ({"autocast_adapter_dtype": False}, None)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_types_of_adapters(models, dtype, option, expected):
    """Adapters have float32, or the type of A where peft is told not to widen them."""
    model, _ = models(dtype)
    model = peft.get_peft_model(model, register(peft.LoraConfig(target_modules="all-linear"), model), **option)
    assert {p.dtype for name, p in model.named_parameters() if "lora_" in name} == {expected or dtype}
    assert logits(model).dtype is dtype


def test_adapters_are_saved_switched_and_loaded(models, tmp_path):
    """Adapters are switched off, exchanged, mixed in a batch, and give the same numbers once saved and loaded."""
    model, _ = models(torch.float32)
    base = logits(model)
    model = adapted(model, init_lora_weights=False)
    result = logits(model)
    assert not torch.allclose(result, base, atol=1e-2)
    with model.disable_adapter():
        assert torch.equal(logits(model), base)
    model.add_adapter("second", register(peft.LoraConfig(r=2, target_modules="all-linear"), model))
    model.set_adapter("second")
    assert torch.equal(logits(model), base)  # lora_B starts at 0.
    model.set_adapter("default")
    with torch.no_grad():
        mixed = model(input_ids=IDS, adapter_names=["default", "__base__"]).logits
    assert torch.allclose(mixed[0], result[0], atol=1e-5)
    assert torch.allclose(mixed[1], base[1], atol=1e-5)
    model.save_pretrained(tmp_path, selected_adapters=["default"])
    fresh, _ = models(torch.float32)
    config = register(peft.PeftConfig.from_pretrained(tmp_path), fresh)
    assert torch.equal(logits(peft.PeftModel.from_pretrained(fresh, tmp_path, config=config)), result)


def test_merging_makes_layers_of_torch(models):
    """Merged adapters are part of a torch.nn.Linear, with its bias; unmerging brings the same quantized layer back."""
    model, _ = models(torch.float32)
    model = adapted(model, init_lora_weights=False, lora_bias=True, target_modules=["q_proj", "o_proj"])
    result = logits(model)
    adapter = model.base_model.model.model.layers[0].self_attn.q_proj
    layer, state = adapter.base_layer, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.merge_adapter(safe_merge=True)
    assert type(adapter.base_layer) is torch.nn.Linear
    assert torch.allclose(logits(model), result, atol=1e-5)
    model.unmerge_adapter()
    assert adapter.base_layer is layer
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    with pytest.warns(UserWarning, match="Already unmerged"):
        adapter.unmerge()
    model.merge_adapter()
    with model.disable_adapter():  # Unmerges, as over torch's layers.
        logits(model)
        assert adapter.base_layer is layer
    plain = model.merge_and_unload()
    assert type(plain.model.layers[0].self_attn.q_proj) is torch.nn.Linear
    assert torch.allclose(logits(plain), result, atol=1e-5)


def test_a_merge_that_fails_changes_nothing():
    """Where the sum is not finite, the quantized layer stays."""
    model = torch.nn.Sequential(quantized(torch.nn.Linear(64, 64)), torch.nn.LayerNorm(64))
    model = adapted(model, task_type=None)
    adapter = model.base_model.model[0]
    layer = adapter.base_layer
    adapter.lora_B["default"].weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="NaNs detected"):
        model.merge_adapter(safe_merge=True)
    assert adapter.base_layer is layer
    assert not adapter.merged


def test_training_under_autocast(models):
    """What peft prepares for few bits has norms in float32; autocast casts their output for the kernels."""
    model, twin = models(torch.bfloat16)
    losses = []
    for m in (model, twin):
        prepared = adapted(peft.prepare_model_for_kbit_training(m))
        with torch.autocast("cpu", torch.bfloat16):
            losses.append(loss_of(prepared.train()))
        losses[-1].backward()
        assert all(p.grad is not None for p in prepared.parameters() if p.requires_grad)
    assert abs(losses[0] - losses[1]) < LAYERS * torch.finfo(torch.bfloat16).eps


def test_adapters_over_ternary_layers():
    """Over a BitLinear, gradients of adapters before and at it are the straight-through ones; nothing is merged."""
    torch.manual_seed(0)
    first, linear = torch.nn.Linear(64, 64), torch.nn.Linear(64, 32)
    layer = bq.BitLinear.from_bit_linear(linear, opt_M=[16])
    model = adapted(torch.nn.Sequential(first, layer), task_type=None, init_lora_weights=False)
    x, grad = torch.randn(3, 64), torch.randn(3, 32)
    model(x).backward(grad)
    at_first, at_layer = model.base_model.model
    ternary, scale = bq.BitLinear.weight_quant(linear.weight)
    A, B = (getattr(at_layer, name)["default"].weight for name in ("lora_A", "lora_B"))
    weight = ternary.double() / scale.double() + at_layer.scaling["default"] * B.double() @ A.double()
    A1, B1 = (getattr(at_first, name)["default"].weight for name in ("lora_A", "lora_B"))
    h = x.double() @ A1.double().T
    wanted = at_first.scaling["default"] * (grad.double() @ weight).T @ h
    assert torch.dist(B1.grad.double(), wanted) < 64 * torch.finfo(torch.float32).eps * wanted.norm()
    y = first(x).double() + at_first.scaling["default"] * h @ B1.double().T
    wanted = at_layer.scaling["default"] * grad.double().T @ (y @ A.double().T)
    assert torch.dist(B.grad.double(), wanted) < 64 * torch.finfo(torch.float32).eps * wanted.norm()
    with pytest.raises(bq.ConfigError, match="cannot be merged into a BitLinear"):
        model.merge_adapter()


def module(layer: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.Sequential(layer, torch.nn.LayerNorm(64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bq.Linear(64, 64, A_dtype="int8", W_dtype="int4", out_dtype="float32"), "have A of 16 or 32 bits"),
        (lambda: bq.Linear(64, 64, W_dtype="int4", with_activation_scale=True), "with activation scales"),
        (lambda: bq.BitLinear(64, 64), "post_process_weights"),
    ],
)
def test_layers_that_get_no_adapters(make, message):
    """Layers whose input is not what an adapter multiplies are refused by name."""
    with pytest.raises(bq.ConfigError, match=f"^'0' must .*{message}"):
        adapted(module(make()), task_type=None)


@pytest.mark.parametrize(
    "option",
    [{"use_dora": True}, {"init_lora_weights": "pissa"}, {"init_lora_weights": "olora"}, {"bias": "lora_only"}],
    ids=str,
)
def test_options_that_need_the_base_weight(option):
    """What of LoRA needs a float weight or a bias that is a parameter is refused."""
    (name, value), *_ = option.items()
    with pytest.raises(bq.ConfigError, match=f"^'{name}' must .*got {value!r}"):
        adapted(module(quantized(torch.nn.Linear(64, 64))), task_type=None, **option)


def test_other_methods_are_refused():
    """A config of a method without a registration of layers is named."""
    with pytest.raises(bq.ConfigError, match=r"'config' must be a peft.LoraConfig \(got IA3Config\)"):
        register(peft.IA3Config(), module(torch.nn.Linear(64, 64)))


@pytest.mark.parametrize("options", [{"out_dtype": "float32"}])
def test_layers_that_take_no_merged_adapters(options):
    """Adapters work, and are not merged, where one type does not hold input and output."""
    model = adapted(module(quantized(torch.nn.Linear(64, 64).half(), **options)), task_type=None)
    assert model.base_model.model[0](torch.randn(2, 64).half()).dtype is torch.float32
    with pytest.raises(bq.ConfigError, match="whose output has the type of A"):
        model.merge_adapter()
