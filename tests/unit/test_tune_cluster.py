# SPDX-License-Identifier: Apache-2.0
"""Tuning on a cluster of Ray: two nodes on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import bitquant as bq
from bitquant.arch import cpu_target
from bitquant.schedule.rules import default_rules
from bitquant.tune.api import rungs_of
from bitquant.tune.cluster import slots_on_cluster
from bitquant.tune.fleet import Fleet
from bitquant.tune.result import Subject

pytestmark = pytest.mark.thorough


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
