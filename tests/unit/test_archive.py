# SPDX-License-Identifier: Apache-2.0
"""Archives from strangers: what is damaged, cut, swollen or a lie is refused before anything is mapped."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import pytest
import torch

import bitquant as bq
from bitquant.archive import Archive, _digest

CONFIG = bq.MatmulConfig(M=(1, 16), N=16, K=32, W_dtype="uint4", group_size=32, with_scaling=True)


@pytest.fixture(scope="module")
def whole():
    """The members of an exported operator for a CPU, by name."""
    return read(bq.Matmul(CONFIG, target="cpu")._archive.to_bytes())


@pytest.fixture(scope="module")
def for_gpu():
    """The members of an operator for a GPU."""
    config = bq.MatmulConfig(M=1, N=64, K=64, W_dtype="uint4")
    return read(bq.Matmul(config, target="sm_80")._archive.to_bytes())


def read(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def write(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def with_manifest(whole, signs=True, /, **changes):
    """The members with other fields in the manifest; None takes one out. `signs`: whether the digest is made to fit."""
    manifest = {**json.loads(whole["manifest.json"]), **changes}
    manifest = {name: value for name, value in manifest.items() if value is not None}
    if signs:
        manifest["digest"] = _digest(manifest)
    return {**whole, "manifest.json": json.dumps(manifest).encode()}


def test_what_is_right_loads(whole, tmp_path):
    """The members as they were, packed by another program, are the operator; it computes."""
    operator = bq.Operator.load(write(tmp_path / "operator.bq", whole))
    W = bq.Matmul(CONFIG, target="cpu").transform_weight(torch.ones(16, 32, dtype=torch.int8))
    D = operator(torch.ones(3, 32).half(), W, scale=torch.ones(16, 1).half())
    assert torch.equal(D, torch.full((3, 16), 32.0).half())


def test_bytes_of_an_archive_are_read_back(whole):
    """`from_bytes` inverts `to_bytes`; what belongs to the file is no part of the manifest of what was built."""
    archive = bq.Matmul(CONFIG, target="cpu")._archive
    again = Archive.from_bytes(archive.to_bytes())
    assert again == archive
    assert not {"members", "digest"} & again.manifest.keys()
    assert {"members", "digest"} < json.loads(whole["manifest.json"]).keys()


@pytest.mark.parametrize("field", ["problem", "weight_layout", "cpu_features", "symbols", "choices", "versions"])
def test_manifest_that_was_edited_is_refused(whole, tmp_path, field):
    """A field that somebody changed without the digest is found, whatever it says: int4 for uint4, say."""
    manifest = json.loads(whole["manifest.json"])
    edited = {
        "problem": {**manifest["problem"], "W_dtype": "int4"},
        "weight_layout": "fragment",
        "cpu_features": [],
        "symbols": {"1": "matmul_m16", "16": "matmul_m16"},
        "choices": {**manifest["choices"], "1": manifest["choices"]["16"]},
        "versions": {**manifest["versions"], "bitquant": "9"},
    }[field]
    path = write(tmp_path / "operator.bq", with_manifest(whole, False, **{field: edited}))
    with pytest.raises(bq.BuildError, match=r"operator\.bq is not an exported operator: the digest of its manifest"):
        bq.Operator.load(path)


#: Fields of a manifest, each with what no build writes there.
LIES = {
    "format": ["3", 3.0, True, [3]],
    "problem": [[], "x", {}, {"M": 1}],
    "weight_layout": ["fragments", None, 3, [], "fragment"],
    "target": ["", "x", "{}", '{"kind": 5}', "[[[", "cuda", '{"kind": "cuda", "arch": "sm_90a"}', 7, "c" * 100000],
    "arch": ["sm_90a", 5, None],
    "cpu_features": ["+avx2", [1], {}, []],
    "symbols": [
        [], {}, {"1": 5}, {"x": "matmul_m1"}, {"1": "matmul_m1"}, {"-1": "matmul_m1"}, {"01": "matmul_m1"},
        {"1": "a b", "16": "a"}, {"1": "absent", "16": "absent"},
    ],
    "choices": [
        [], {"7": {}}, {"1": {}}, {"1": {"rule": "cpu"}}, {"1": "cpu"}, {"1": None}, {},
    ],
    "kernels": [
        [], {"func_info": []}, {"a": {"func_info": {"a": {}}}}, {"x": 1}, {"matmul_m1": {}},
        {"matmul_m1": {"func_info": {}}},
    ],
    "resources": [[], {"a": {}}, {"a": {"registers": -1}}, {"a": 5}],
    "versions": [{}, [], {"os": 1, "machine": 2}, {"os": "Linux"}],
    "members": [[], {}, {"host.so": 5}, None],
}  # fmt: skip


@pytest.mark.parametrize(("field", "lie"), [(field, lie) for field, lies in LIES.items() for lie in lies])
def test_manifest_that_lies_is_refused(whole, tmp_path, field, lie):
    """With a digest that fits, what no build writes is refused field by field, in bitquant's words, before a call."""
    if lie == {"M": 1}:
        lie = {**json.loads(whole["manifest.json"])["problem"], **lie}
    path = write(tmp_path / "operator.bq", with_manifest(whole, **{field: lie}))
    with pytest.raises(bq.BitquantError) as caught:
        bq.Operator.load(path).rt_mod  # noqa: B018  loads the code
    assert len(str(caught.value)) < 2000


def test_choices_of_strangers_are_typed(whole, tmp_path):
    """Each field of a choice is checked, so that no report and no pickle meets what it does not expect."""
    choices = json.loads(whole["manifest.json"])["choices"]
    for name, lie in {
        "rule": 5, "pipeline": "x", "hint": {"rows": [1]}, "smem_bytes": -1, "refusals": {"a": 1}, "origin": None,
        "x": 1,
    }.items():  # fmt: skip
        changed = {**choices, "1": {**choices["1"], name: lie}}
        path = write(tmp_path / "operator.bq", with_manifest(whole, choices=changed))
        with pytest.raises(bq.BuildError, match="'choices' of its manifest is none that bitquant writes"):
            bq.Operator.load(path)


def test_manifest_of_another_shape_is_refused(whole, tmp_path):
    """A manifest that is no object, is nested without end, or has a field too many or too few."""
    for text, said in (
        ("[]", "parts of it are missing"),
        ("[" * 100_000, "not an exported operator"),
        ("{", "not an exported operator"),
        ('{"members": {"a": NaN}, "digest": ""}', "not an exported operator"),
        ("", "not an exported operator"),
    ):
        path = write(tmp_path / "operator.bq", {**whole, "manifest.json": text.encode()})
        with pytest.raises(bq.BuildError, match=said):
            bq.Operator.load(path)
    for changes in ({"extra": 1}, {"arch": None}):
        path = write(tmp_path / "operator.bq", with_manifest(whole, **changes))
        with pytest.raises(bq.BuildError, match=r"of its manifest is (unknown|missing)"):
            bq.Operator.load(path)
    path = write(tmp_path / "operator.bq", with_manifest(whole, format=2))
    with pytest.raises(bq.BuildError, match="archive format 2, and this version reads 4; export it again"):
        bq.Operator.load(path)


def test_members_of_strangers_are_refused(whole, for_gpu, tmp_path):
    """Members that are missing, unknown, double, of another kind of operator, or cut: none is mapped."""
    host = whole["host.so"]
    for members in (
        {**whole, "../evil.so": b""},
        {**whole, "matmul_m1.cubin": b"x"},
        {**whole, "kernels.bin": b"x"},
        {"manifest.json": whole["manifest.json"]},
        {"host.so": host},
        {**whole, "host.so": host[:-1]},
        {**whole, "host.so": host[: len(host) // 2]},
        {**whole, "host.so": bytes([host[0] ^ 1]) + host[1:]},
        {name: content for name, content in for_gpu.items() if name != "matmul_m1.ptx"},
        {**for_gpu, "matmul_m1.cubin": for_gpu["matmul_m1.cubin"][:-1]},
        {**for_gpu, "matmul_m2.cubin": for_gpu["matmul_m1.cubin"]},
        {},
    ):
        with pytest.raises(bq.BuildError, match="is not an exported operator"):
            bq.Operator.load(write(tmp_path / "operator.bq", members))
    with zipfile.ZipFile(tmp_path / "double.bq", "w") as file, pytest.warns(UserWarning, match="Duplicate"):
        for name, content in (*whole.items(), ("host.so", host)):
            file.writestr(name, content)
    with pytest.raises(bq.BuildError, match=r"a member 'host\.so' too many"):
        bq.Operator.load(tmp_path / "double.bq")


def test_archive_that_swells_is_refused(whole, tmp_path):
    """A member that would take more memory than any operator needs is refused before it is unpacked."""
    path = write(tmp_path / "operator.bq", {**whole, "manifest.json": bytes(5 << 20)})
    assert path.stat().st_size < 1 << 20
    with pytest.raises(bq.BuildError, match=r"manifest\.json has 5242880 bytes, more than"):
        bq.Operator.load(path)
    content = bytearray(path.read_bytes())  # The same, and its table of contents says that it is small.
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.rindex(b"manifest.json") if place == 24 else content.index(b"manifest.json")
        at = content.rindex(signature, 0, at)
        content[at + place : at + place + 4] = struct.pack("<I", 100)
    path.write_bytes(content)
    with pytest.raises(bq.BuildError, match="is not an exported operator"):
        bq.Operator.load(path)


def test_operator_for_a_gpu_is_checked_as_well(for_gpu, tmp_path):
    """What is said of kernels and their arguments is typed: TVM's runtime takes it as it is."""
    assert bq.Operator.load(write(tmp_path / "operator.bq", for_gpu)).arch == "sm_80"
    manifest = json.loads(for_gpu["manifest.json"])
    ((program, kernels),) = manifest["kernels"].items()
    ((name, info),) = kernels["func_info"].items()
    for changed in (
        {**info, "name": "other"}, {**info, "arg_types": [1]}, {**info, "arg_types": None}, {**info, "x": 1},
        {**info, "launch_param_tags": [None]}, {**info, "arg_extra_tags": [-1]},
    ):  # fmt: skip
        path = write(
            tmp_path / "operator.bq", with_manifest(for_gpu, kernels={program: {"func_info": {name: changed}}})
        )
        with pytest.raises(bq.BuildError, match="the field 'kernels' of its manifest"):
            bq.Operator.load(path)
    for lie in ({}, {"matmul_m2": kernels}, {program: kernels, "matmul_m2": kernels}):
        path = write(tmp_path / "operator.bq", with_manifest(for_gpu, kernels=lie))
        with pytest.raises(bq.BuildError, match="is not an exported operator"):
            bq.Operator.load(path)
    path = write(tmp_path / "operator.bq", with_manifest(for_gpu, arch="sm_90a"))
    with pytest.raises(bq.BuildError, match="'target' and 'arch' of its manifest contradict"):
        bq.Operator.load(path)
