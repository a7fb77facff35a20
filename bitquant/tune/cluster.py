# SPDX-License-Identifier: Apache-2.0
"""Tuning on several machines, through Ray: an actor for each GPU of a cluster, which does what a thread does here.

An actor compiles with its share of its machine's CPUs, measures in a process of its own, and yields the lines of
`bitquant.tune.work.work` as they come. The journal stays with who asks. Every machine needs this very bitquant.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from bitquant.errors import UnsupportedError
from bitquant.schedule.rules import all_rules
from bitquant.tune.compile import Builder
from bitquant.tune.isolated import ProcessMeasurer
from bitquant.tune.predictor import default_predictor
from bitquant.tune.work import Bench, Slot, SlotLostError, slots_of, work
from bitquant.versions import versions

__all__ = ["slots_on_cluster"]

#: Longest time until an actor has started its processes, in seconds.
_START_S = 300.0


class _Host:
    """What an actor is: the bench of one GPU, or of a machine's CPUs.

    Parameters
    ----------
    device_type
        "cuda" or "cpu".
    workers
        Processes that compile.
    """

    def __init__(self, device_type: str, workers: int) -> None:
        measurer = ProcessMeasurer(device_type)  # Ray lets it see the one GPU that is its own.
        self._bench = Bench(Builder(workers), measurer, all_rules(), default_predictor())
        self._hello = {
            "device": measurer.device,
            "arch": measurer.arch,
            "source": versions()["bitquant_source"],
        }

    def hello(self) -> dict[str, Any]:
        """Return device, architecture, and a digest of bitquant's source."""
        return self._hello

    def run(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the lines of a job."""
        yield from work(job, self._bench)

    def stop(self) -> None:
        """End all processes."""
        self._bench.builder.stop()
        self._bench.measurer.stop()


class _RaySlot:
    """A slot of an actor."""

    def __init__(self, actor: Any, device: str) -> None:
        self._actor, self._device = actor, device

    @property
    def device(self) -> str:
        """Where its kernels run, by name."""
        return self._device

    def run(self, job: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the lines of a job.

        Raises
        ------
        SlotLostError
            If the actor or its machine has died.
        """
        import ray

        try:
            for line in self._actor.run.options(num_returns="streaming").remote(dict(job)):
                yield ray.get(line)
        except ray.exceptions.RayActorError as error:
            raise SlotLostError(str(error)) from error

    def stop(self) -> None:
        """End the actor, whatever it does; its processes end with it."""
        import ray

        with contextlib.suppress(Exception):
            ray.kill(self._actor)


@contextlib.contextmanager
def slots_on_cluster(address: str, target_arch: str | None) -> Iterator[list[Slot]]:
    """Yield the slots of all machines of a cluster, whose processes end with the block.

    Parameters
    ----------
    address
        Of the cluster, as `ray.init` takes it: "auto" for the one of this machine.
    target_arch
        The architecture that kernels are for; None: CPUs.

    Raises
    ------
    UnsupportedError
        If Ray is not installed, the cluster cannot be reached, has no such GPU, or a machine has another bitquant.
    """
    try:
        import ray
    except ImportError as error:
        raise UnsupportedError(
            f"several machines need Ray ({error}); install it with: pip install 'bitquant[cluster]'"
        ) from error
    was_initialized = ray.is_initialized()
    try:
        if not was_initialized:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        actors, counts = _start(ray, "cpu" if target_arch is None else "cuda")
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise UnsupportedError(f"the cluster {address!r} cannot be used: {error}") from error
    try:
        hellos = ray.get([actor.hello.remote() for actor in actors], timeout=_START_S)
        _check(hellos, target_arch)
        yield [
            _RaySlot(actor, hello["device"])
            for actor, hello, count in zip(actors, hellos, counts, strict=True)
            for _ in range(count)
        ]
    except ray.exceptions.RayError as error:
        raise UnsupportedError(f"the cluster {address!r} cannot be used: {error}") from error
    finally:
        with contextlib.suppress(Exception):  # An actor that was killed has no processes any more.
            ray.get([actor.stop.remote() for actor in actors], timeout=10)
        for actor in actors:
            ray.kill(actor)
        if not was_initialized:
            ray.shutdown()


def _start(ray: Any, device_type: str) -> tuple[list[Any], list[int]]:
    """Return an actor for each GPU of the cluster, or for each machine, and how many slots each has."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    host, is_cuda = ray.remote(_Host), device_type == "cuda"
    actors, counts = [], []
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        gpus = int(node["Resources"].get("GPU", 0)) if is_cuda else 1
        cpus = int(node["Resources"].get("CPU", 0)) // max(1, gpus)
        compilers = max(1, cpus)
        for _ in range(gpus):
            counts.append(slots_of(device_type, compilers))
            options = {
                "num_cpus": cpus,
                "num_gpus": int(is_cuda),
                "max_concurrency": counts[-1],
                "scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            }
            actors.append(host.options(**options).remote(device_type, compilers))
    if not actors:
        raise UnsupportedError("the cluster has no GPU; start its nodes with one, or tune with --target cpu")
    return actors, counts


def _check(hellos: list[dict[str, Any]], target_arch: str | None) -> None:
    for hello in hellos:
        if hello["arch"] != target_arch:
            raise UnsupportedError(f"kernels are for {target_arch}, and a machine of the cluster has {hello['arch']}")
        if hello["source"] != versions()["bitquant_source"]:
            raise UnsupportedError("a machine of the cluster has another bitquant; install the same one on all of them")
