"""Which operators a model will call, before it has weights."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from bitquant.config import MatmulConfig
from bitquant.nn.linear import Linear
from bitquant.nn.merged import merge_layers

__all__ = ["OutlinedOperator", "make_outline", "module_names", "outline_operators"]


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
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming

    modules, prefix = dict(outline.named_modules()), f"{outline.base_model_prefix}."
    renamings = [entry for entry in get_model_conversion_mapping(outline) if isinstance(entry, WeightRenaming)]

    def name_of(path: str) -> str | None:
        renamed = f"{path}.weight"
        for entry in renamings:
            renamed, _ = entry.rename_source_key(renamed)
        for name in (path, prefix + path, path.removeprefix(prefix), renamed.removesuffix(".weight")):
            if type(modules.get(name)) is torch.nn.Linear:
                return name
        return None

    return {path: name_of(path) for path in paths}


def outline_operators(
    outline: torch.nn.Module,
    kinds: Mapping[str, Hashable],
    make: Callable[[Any], Linear],
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
        Returns an empty layer of a kind.
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
            layer: Any = module.get_submodule(names[0])
            config = layer.needed_kernels(())[0].config  # Of the merged operator, where it is part of one.
            places = tuple(tuple(f"{parent}.{n}".removeprefix(".") for n in names) for parent in parents)
            before = found.get(config.key())
            found[config.key()] = OutlinedOperator(config, (before.places if before else ()) + places)
    return list(found.values())
