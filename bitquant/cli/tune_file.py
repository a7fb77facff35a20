# SPDX-License-Identifier: Apache-2.0
"""What is to be tuned: by options, or by a file of models and problems."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitquant.cli.problem import config_of
from bitquant.errors import ConfigError
from bitquant.files import as_path

if TYPE_CHECKING:
    from bitquant.config import MatmulConfig
    from bitquant.grouped_config import GroupedMatmulConfig
    from bitquant.nn.shapes import ModelProblem

__all__ = ["problems_of_file", "problems_of_options", "without_shapes"]

_TABLES = "[[model]] tables with a field 'model', and [[problem]] tables with N and K, or with shapes"


def problems_of_options(
    models: Sequence[str],
    fields: Mapping[str, Any],
    routing: Mapping[str, Any] | None,
    tensor_parallel: Sequence[int] | None,
    with_experts: bool = True,
) -> list[ModelProblem]:
    """Return the distinct problems of models, or the one problem of the fields, with a routing that of experts.

    Raises
    ------
    ConfigError
        If both are given, or a model cannot be had.
    """
    from bitquant.nn.shapes import model_problems

    if not models:
        if tensor_parallel:
            raise ConfigError(
                f"'--tensor-parallel' needs --model (got {','.join(map(str, tensor_parallel))}); divide N or K of a "
                "problem yourself"
            )
        if not with_experts:
            raise ConfigError("'--no-experts' needs --model (got none): a problem says it by --num_experts")
        return [_named(config_of(fields, routing))]
    if routing is not None:
        raise ConfigError(
            f"'num_experts' must be left out with --model (got {routing['num_experts']}): the model says it"
        )
    if given := [name for name in ("N", "K") if fields[name] is not None]:
        raise ConfigError(f"'{given[0]}' must be left out with --model (got {fields[given[0]]}): the model says it")
    rest = {name: value for name, value in fields.items() if name not in ("N", "K")}
    counts = tensor_parallel or (1,)
    return distinct(p for model in models for p in model_problems(model, rest, counts, with_experts=with_experts))


def problems_of_file(path: str | Path) -> list[ModelProblem]:
    """Return the distinct problems that a TOML file names.

    A table ``[[model]]`` has the field ``model``, one or a list, and may have ``tensor_parallel``, and
    ``experts = false``, which leaves out products with the weights of experts. A table ``[[problem]]`` has N and K, or
    ``shapes``, as `bitquant bench` takes them. Other fields are those of `MatmulConfig`, of a problem with
    ``num_experts`` those of `GroupedMatmulConfig`; and fields at the top are those of every table that does not name
    them.

    Raises
    ------
    ConfigError
        If it cannot be read, or a field is unknown; the message names file and table.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    from bitquant.config import MatmulConfig
    from bitquant.grouped_config import GroupedMatmulConfig
    from bitquant.nn.shapes import model_problems
    from bitquant.testing.bench.problems import parse_shapes

    path = as_path(path, "config", ConfigError)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}", config=path) from error
    except ValueError as error:
        raise ConfigError(f"{path}: is no TOML file: {error}", config=path) from error
    models, problems = content.pop("model", []), content.pop("problem", [])
    if not (models or problems) or not all(isinstance(t, dict) for part in (models, problems) for t in part):
        raise ConfigError(f"{path}: must have {_TABLES}", config=path)
    found: list[ModelProblem] = []
    for kind, tables in (("model", models), ("problem", problems)):
        for number, table in enumerate(tables, 1):
            fields = {**content, **table}
            where = f"{path}, [[{kind}]] {number}"
            try:
                if kind == "model":
                    parallel, with_experts = fields.pop("tensor_parallel", [1]), fields.pop("experts", True)
                    model = fields.pop("model", None)
                    if not isinstance(with_experts, bool):
                        raise ConfigError(f"'experts' must be a bool (got {with_experts!r:.80})")  # noqa: TRY301
                    _check_fields(fields, without=("N", "K"), needs={"model": model or None}, of=MatmulConfig)
                    counts = parallel if isinstance(parallel, list) else [parallel]
                    for name in model if isinstance(model, list) else [model]:
                        found += model_problems(name, fields, counts, with_experts=with_experts)
                else:
                    for name in {"tensor_parallel", "experts"} - set(table):  # At the top they are for the models.
                        fields.pop(name, None)
                    shapes = fields.pop("shapes", None)
                    if not isinstance(shapes, str | None):
                        raise ConfigError(  # noqa: TRY301
                            f"'shapes' must be a string such as '4096x4096,8192x8192' (got {shapes!r:.80})"
                        )
                    own = GroupedMatmulConfig if "num_experts" in fields else MatmulConfig
                    _check_fields(fields, without=() if shapes is None else ("N", "K"), of=own)
                    sizes = [] if shapes is None else [{"N": N, "K": K} for N, K in parse_shapes(shapes)]
                    found += [_named(own(**{**fields, **size})) for size in sizes or [{}]]
            except (ConfigError, TypeError) as error:
                raise ConfigError(f"{where}: {error}", config=path) from error
    return distinct(found)


def _check_fields(
    fields: Mapping[str, Any], of: Any, without: Sequence[str] = (), needs: Mapping[str, object] | None = None
) -> None:
    import dataclasses

    known = [f.name for f in dataclasses.fields(of) if f.init and f.name not in without]
    if missing := [name for name, value in (needs or {}).items() if value is None]:
        raise ConfigError(f"needs the field {missing[0]!r}")
    if unknown := sorted(set(fields) - set(known)):
        raise ConfigError(f"{unknown[0]!r} is no field; there are {', '.join(known)}")


def _named(config: MatmulConfig | GroupedMatmulConfig) -> ModelProblem:
    from bitquant.nn.shapes import ModelProblem, routing_name

    return ModelProblem(config, f"{config.N} x {config.K}{routing_name(config)}")


def without_shapes(problems: Sequence[ModelProblem], shapes: str | None) -> list[ModelProblem]:
    """Return the problems of other sizes than those, which are named as for `bitquant bench`.

    Raises
    ------
    ConfigError
        If one is no size and no name, or no problem is left.
    """
    from bitquant.testing.bench.problems import parse_shapes

    left_out = set(parse_shapes(shapes)) if shapes else set()
    found = [p for p in problems if (p.config.N, p.config.K) not in left_out]
    if problems and not found:
        raise ConfigError(f"'--leave-out' must leave something to tune (got {shapes}, and that is all there is)")
    return found


def distinct(problems: Any) -> list[ModelProblem]:
    """Return problems, each once."""
    return list({problem.config.key(): problem for problem in problems}.values())
