# SPDX-License-Identifier: Apache-2.0
"""Which operators a model will call, before it has weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bitquant.config import MatmulConfig
from bitquant.errors import UnsupportedError
from bitquant.nn.checkpoints.layer import checkpoint_error
from bitquant.nn.checkpoints.source import read_json_file
from bitquant.nn.linear import Linear
from bitquant.nn.merged import merge_layers

__all__ = [
    "ExpertPlace",
    "OutlinedOperator",
    "brief",
    "expert_places",
    "import_transformers",
    "make_outline",
    "model_class_of",
    "module_names",
    "names_in",
    "outline_operators",
    "read_model_config",
]


def import_transformers() -> Any:
    """Return transformers.

    Raises
    ------
    UnsupportedError
        If it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise UnsupportedError(
            f"models need the package transformers ({error}); install it with: pip install 'bitquant[models]'"
        ) from error
    return transformers


#: Ways to compute attention that are part of transformers; others may be programs that it fetches from the hub.
_ATTENTION = (None, "eager", "sdpa")


def read_model_config(transformers: Any, directory: Path) -> Any:
    """Return the config of a directory's model, which runs no code of the directory's and fetches none.

    Raises
    ------
    CheckpointError
        If transformers has no such model, or it wants something of that kind.
    """
    file = directory / "config.json"
    try:
        config = transformers.AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        code = "; code that a checkpoint brings is not run" if "auto_map" in read_json_file(file) else ""
        raise checkpoint_error(str(file), f"is of no model that transformers reads ({brief(error)}){code}") from error
    parts = [config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", ()))]
    for part in parts:
        attention = getattr(part, "_attn_implementation", None)
        if attention not in _ATTENTION:
            raise checkpoint_error(
                str(file), f"'attn_implementation' must be 'eager', 'sdpa' or left out (got {attention!r:.80})",
                fix="remove it, and call set_attn_implementation of the model that was loaded",
            )  # fmt: skip
    if (directory / "adapter_config.json").exists():
        raise checkpoint_error(
            str(directory), "has adapters (adapter_config.json), which are not read",
            fix="move them elsewhere, load the model, and then them by peft",
        )  # fmt: skip
    return config


def brief(error: Exception) -> str:
    """Return the kind of a foreign error and the beginning of what it says."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{'...' if len(text) > 300 else ''}"


def model_class_of(transformers: Any, config: Any, directory: Path) -> Any:
    """Return the class that the checkpoint was saved from, or that of a causal language model."""
    names = config.architectures if isinstance(config.architectures, list) else ()
    for name in names:
        found = getattr(transformers, name, None) if isinstance(name, str) else None
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    try:
        return transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    except KeyError as error:
        raise checkpoint_error(
            str(directory / "config.json"),
            f"'architectures' must name a model of transformers (got {config.architectures!r:.200})",
        ) from error


@dataclass(frozen=True)
class OutlinedOperator:
    """An operator of a model that is not loaded.

    Attributes
    ----------
    config
        Its problem.
    places
        For each layer, or set of layers that are merged, the names of what it computes.
    """

    config: MatmulConfig
    places: tuple[tuple[str, ...], ...]


def make_outline(model_class: Any, config: Any, dtype: torch.dtype) -> Any:
    """Return a model of transformers on the meta device."""
    with torch.device("meta"):
        return model_class._from_config(config, dtype=dtype)


def module_names(paths: Iterable[str], outline: Any) -> dict[str, str | None]:
    """Return the name of the linear layer that each path of a checkpoint stands for; None where it is none."""
    modules, names = dict(outline.named_modules()), names_in(outline)

    def name_of(path: str) -> str | None:
        return next((name for name in names(path) if type(modules.get(name)) is torch.nn.Linear), None)

    return {path: name_of(path) for path in paths}


def names_in(outline: Any) -> Callable[[str], tuple[str, ...]]:
    """Return what gives the names that a module of a checkpoint may have in a model."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming

    prefix = f"{outline.base_model_prefix}."
    renamings = [entry for entry in get_model_conversion_mapping(outline) if isinstance(entry, WeightRenaming)]

    def names(path: str) -> tuple[str, ...]:
        renamed = f"{path}.weight"
        for entry in renamings:
            renamed, _ = entry.rename_source_key(renamed)
        return path, prefix + path, path.removeprefix(prefix), renamed.removesuffix(".weight")

    return names


#: What the linear layers of an expert are called, and stacks of them.
_EXPERT_LAYER = re.compile(r"(?P<module>.+)\.(?P<e>\d+)\.(?P<part>\w+)")
_EXPERT_PARTS = {
    "gate_proj": "gate", "w1": "gate", "up_proj": "up", "w3": "up", "down_proj": "down", "w2": "down",
}  # fmt: skip
_EXPERT_STACK = re.compile(r"(?P<module>.+)\.(?P<part>gate_up|down)_proj")


class ExpertPlace(NamedTuple):
    """Where the weight of a path of a checkpoint belongs among experts.

    Attributes
    ----------
    module
        Name of the experts module.
    part
        "gate", "up", "gate_up" or "down".
    e
        Number of the expert; None where the weight is that of all.
    """

    module: str
    part: str
    e: int | None


def expert_places(paths: Iterable[str], outline: Any, modules: Collection[str]) -> dict[str, ExpertPlace]:
    """Return the places of those paths of a checkpoint that are weights of experts.

    Parameters
    ----------
    paths
        Paths of the checkpoint.
    outline
        The model.
    modules
        Names of its experts modules.
    """
    names, found = names_in(outline), {}
    for path in paths:
        for name in names(path):
            single, stack = _EXPERT_LAYER.fullmatch(name), _EXPERT_STACK.fullmatch(name)
            if single and single["module"] in modules and single["part"] in _EXPERT_PARTS:
                found[path] = ExpertPlace(single["module"], _EXPERT_PARTS[single["part"]], int(single["e"]))
                break
            if stack and stack["module"] in modules:
                found[path] = ExpertPlace(stack["module"], stack["part"], None)
                break
    return found


def outline_operators(
    outline: torch.nn.Module,
    kinds: Mapping[str, Hashable],
    make: Callable[[Any], torch.nn.Module],
    *,
    merge: bool = True,
) -> list[OutlinedOperator]:
    """Return the operators that the quantized layers of a model will call.

    Modules with equal classes, and children of equal kinds, call equal operators, and one of them stands for all.

    Parameters
    ----------
    outline
        The model; of each kind of modules the first gets its layers.
    kinds
        What is equal for equal layers, by their names.
    make
        Returns an empty layer of a kind. Operators are those of `Linear`.
    merge
        Whether layers are merged (`bitquant.nn.merge_layers`).
    """
    children: dict[str, list[tuple[str, Hashable]]] = {}
    for name, kind in kinds.items():
        parent, _, child = name.rpartition(".")
        children.setdefault(parent, []).append((child, kind))
    alike: dict[Hashable, list[str]] = {}
    for parent, members in children.items():
        alike.setdefault((type(outline.get_submodule(parent)), *sorted(members, key=str)), []).append(parent)
    found: dict[str, OutlinedOperator] = {}
    for parents in alike.values():
        module = outline.get_submodule(parents[0])
        for child, kind in children[parents[0]]:
            setattr(module, child, make(kind))
        sets = merge_layers(module) if merge else []
        merged = {child for names in sets for child in names}
        for names in [*sets, *((child,) for child, _ in children[parents[0]] if child not in merged)]:
            layer = module.get_submodule(names[0])
            if not isinstance(layer, Linear):
                continue
            config = layer.needed_kernels(())[0].config  # Of the merged operator, where it is part of one.
            places = tuple(tuple(f"{parent}.{n}".removeprefix(".") for n in names) for parent in parents)
            before = found.get(config.key())
            found[config.key()] = OutlinedOperator(config, (before.places if before else ()) + places)
    return list(found.values())
