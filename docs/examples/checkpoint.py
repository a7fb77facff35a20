# SPDX-License-Identifier: Apache-2.0
"""A whole model: quantize, save, load, generate. Needs the extra `models`.

python docs/examples/checkpoint.py                 a small model with random weights
python docs/examples/checkpoint.py path/to/model   a directory in the hub's layout, quantized or not
"""

import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

import bitquant as bq


def random_model():
    """Return a Llama of two blocks that knows nothing."""
    torch.manual_seed(0)
    sizes = LlamaConfig(
        vocab_size=512, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    return AutoModelForCausalLM.from_config(sizes, dtype=torch.float32)


def generate(model, tokens):
    """Return the likeliest tokens that follow."""
    return model.generate(torch.tensor([tokens], device=model.device), max_new_tokens=8, do_sample=False)[0].tolist()


if len(sys.argv) > 1:
    print(generate(bq.load_model(sys.argv[1], opt_M=(1, 16)), [1, 2, 3]))
    sys.exit()

model = bq.quantize_model(random_model(), W_dtype="uint4", group_size=64, opt_M=(1, 16))
print(model.model.layers[0].mlp.down_proj)
before = generate(model, [1, 2, 3])
with tempfile.TemporaryDirectory() as directory:
    model.save_pretrained(directory)
    loaded = bq.load_model(directory, device=model.device)  # it says itself how its layers are made
assert generate(loaded, [1, 2, 3]) == before
print(before)
