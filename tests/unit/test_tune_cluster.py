# SPDX-License-Identifier: Apache-2.0
"""Tuning on a cluster of Ray: two nodes on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import bitquant as bq
from bitquant.arch import cpu_target
from bitquant.schedule.rules import default_rules
from bitquant.tune.api import rungs_of
from bitquant.tune.cluster import slots_on_cluster
from bitquant.tune.fleet import Fleet
from bitquant.tune.result import Subject
from bitquant.tune.work import slots_of
from bitquant.versions import versions


class _Handle:
    """A handle of an actor, or of a method of one, in a Ray that runs nothing."""

    def __init__(self, answer=None):
        self.answer = answer

    def __getattr__(self, name):
        return _Handle(self.answer)

    def remote(self, *arguments):
        return self.answer


@pytest.mark.parametrize(("arch", "cpus", "slots"), [
    ("sm_90a", 64, [16, 16]), ("sm_90a", 16, [6, 6]), ("sm_90a", 2, [2, 2]), (None, 64, [1]),
])  # fmt: skip
def test_an_actor_has_as_many_slots_as_its_compilers_keep_busy(monkeypatch, arch, cpus, slots):
    """As on this machine: a GPU of an actor with 32 compilers does not wait for two rungs alone."""
    started = []

    def options(**given):
        def remote(device_type, compilers):
            started.append(given["max_concurrency"])
            assert given["max_concurrency"] == slots_of(device_type, compilers)
            device = "GPU" if device_type == "cuda" else "CPU"
            return _Handle({"device": device, "arch": arch, "source": versions()["bitquant_source"]})

        return SimpleNamespace(remote=remote)

    fake, strategies = ModuleType("ray"), ModuleType("ray.util.scheduling_strategies")
    node = {"Alive": True, "NodeID": "a", "Resources": {"CPU": cpus, "GPU": 2}}
    fake.exceptions = SimpleNamespace(RayError=OSError, RayActorError=OSError)
    fake.is_initialized, fake.nodes = lambda: True, lambda: [node]
    fake.remote = lambda host: SimpleNamespace(options=options)
    fake.get, fake.kill = lambda answers, timeout: answers, lambda actor: None
    strategies.NodeAffinitySchedulingStrategy = lambda node, soft: node
    for name, module in (("ray", fake), ("ray.util", ModuleType("ray.util")), (strategies.__name__, strategies)):
        monkeypatch.setitem(sys.modules, name, module)
    with slots_on_cluster("auto", arch) as found:
        assert started == slots
        assert len(found) == sum(slots)


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """A head and another node with a CPU each; their processes find this bitquant."""
    pytest.importorskip("ray", reason="needs Ray (the extra 'cluster')")
    import ray
    from ray.cluster_utils import Cluster

    root = str(Path(bq.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.mark.thorough
def test_two_nodes_share_the_rungs_and_one_may_go(cluster, tmp_path):
    """Each node has an actor; rungs of one that dies are done by the other, and no trial is lost."""
    config = bq.MatmulConfig(M=(1, 2, 4), N=64, K=64, W_dtype="uint4")
    searched = rungs_of(Subject(config, cpu_target(), "plain"))
    with slots_on_cluster(cluster.address, None) as slots:
        assert [slot.device for slot in slots] == ["CPU", "CPU"]
        seen = set()

        def tell(rung):
            if len(rung.trials) == 2 and not seen:
                seen.add(rung.rung)
                slots[0].stop()  # As its machine would be gone.

        fleet = Fleet(slots, default_rules(), 8, tmp_path, tell)
        (result,) = fleet.tune(searched)
    assert seen
    assert sorted(result.best) == [1, 2, 4]
    assert all(rung.finished is not None for rung in searched)
    lines = [line for path in fleet.journals for line in path.read_text().splitlines() if '"is_final": false' in line]
    assert len(lines) == len(result.trials)  # None was done twice.
