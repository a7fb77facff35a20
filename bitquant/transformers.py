# SPDX-License-Identifier: Apache-2.0
"""Models of transformers that are quantized as they are loaded, saved, and loaded again.

Importing this registers the format "bitquant" with transformers, in this process::

    from bitquant.transformers import BitquantConfig

    model = AutoModelForCausalLM.from_pretrained("path", quantization_config=BitquantConfig(W_dtype="uint4"))
    model.save_pretrained("quantized")

A process that loads such a directory by `from_pretrained` must import this, too, or call `bitquant.load_model`, which
needs no import: transformers takes a format that nobody registered for none, warns, and leaves the layers random.
"""

from __future__ import annotations

from bitquant.nn.hub import BitquantConfig, BitquantQuantizer

__all__ = ["BitquantConfig", "BitquantQuantizer"]
