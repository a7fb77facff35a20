# SPDX-License-Identifier: Apache-2.0
"""Comments on what the parts of a kernel do, by the instructions that they are made of."""

from __future__ import annotations

import itertools

from bitquant.source.kernel import Instruction, Kernel, Statement

__all__ = ["add_comments"]

#: What the beginning of an instruction's name tells of the part that it stands in.
_BY_MNEMONIC = (
    ("mbarrier.init", "Set up the barriers of the ring."),
    ("mbarrier.arrive.expect_tx", "Fill a ring slot: say how many bytes come."),
    ("cp.async.bulk", "Copy to the ring slot"),
    ("mbarrier.arrive.", "Release the ring slot."),
    ("cp.async.ca", "Copy to shared memory"),
    ("cp.async.cg", "Copy to shared memory"),
    ("cp.async.wait", "Wait for the copies to shared memory."),
    ("griddepcontrol.wait", "Wait for the kernel before, and let the next one begin."),
    ("setmaxnreg", "Share out registers."),
    ("ld.global", "Load"),
    ("ldmatrix", "Load an operand of the tensor cores from shared memory."),
    ("mma.", "Tensor cores."),
    ("wgmma.fence", "Tensor cores."),
    ("wgmma.mma", "Tensor cores."),
    ("wgmma.wait", "Wait for the tensor cores."),
    ("stmatrix", "Epilogue: D through shared memory."),
    ("st.global", "Epilogue: store D."),
)
#: By what both halves of a branch on the warpgroup do.
_HALVES = {
    ("loads", "multiplies"): "The producer fills the ring; the consumers (else) decode W and multiply.",
    ("multiplies", "loads"): "The consumers decode W and multiply; the producer (else) fills the ring.",
}
#: What a computation of the schedule is for, by the name of its result.
_OF_ROLES = {
    "tiles": "Tiles along m of each expert, one expert a lane.",
    "tile_end": "Prefix sum over the lanes.",
    "searched": "Search for the expert that has the tile.",
    "group_m": "Tiles go in groups along m, so that what a group reads stays in L2.",
}
#: A comment stands again after as many statements.
_REPEAT = 32
#: What holds codes of the weight or what is decoded of them, and what holds sums.
_CODES = frozenset(("B_words", "W_words", "codes", "decoded", "word"))
_SUMS = frozenset(("acc", "total", "sum"))
_SOURCES = ("A", "B", "W", "Scale", "Zeros", "Bias", "ActivationScale", "ChannelScale")


def add_comments(kernel: Kernel, known: dict[str, Instruction], names: dict[str, str]) -> None:
    """Write a comment above the statement that begins a part; of each kind one in 32 statements of a block.

    Parameters
    ----------
    kernel
        What is commented.
    known
        The functions before it.
    names
        The name of each temporary, which tells what its values are for.
    """
    roles = {name: new.rstrip("0123456789").rstrip("_") for name, new in names.items()}
    _add_blocks(kernel, known, roles)
    said: dict[tuple[int, str], int] = {}
    current = ""
    declared: Statement | None = None
    for i, statement in enumerate(kernel.statements):
        if statement.kind == "array":
            declared = statement
            continue
        if statement.kind == "raw":
            continue
        text = _part(statement, known, roles, kernel.outputs.get(i))
        if text and text != current:
            current = text
            if i - said.get((statement.block, text), -_REPEAT) >= _REPEAT:
                said[statement.block, text] = i
                above = declared if declared is not None and declared.block == statement.block else statement
                above.comment = above.comment or text
        declared = None


def _add_blocks(kernel: Kernel, known: dict[str, Instruction], roles: dict[str, str]) -> None:
    """Say of the branches for warpgroups which one loads and which one multiplies, and what loops run over."""
    statements = kernel.statements
    said: set[str] = set()
    for i, statement in enumerate(statements):
        tokens = statement.tokens
        if not tokens or statement.kind == "gone":
            continue
        if tokens[0] == "if" and any(roles.get(name) == "warpgroup" for name in statement.names):
            statement.comment = statement.comment or _work(statements, i, known)
        elif tokens[0] == "while" and i and statements[i - 1].kind == "raw":
            statements[i - 1].comment = "Tile after tile of this block."
        elif statement.target not in said and (text := _OF_ROLES.get(roles.get(statement.target, ""), "")):
            said.add(statement.target)
            statement.comment = statement.comment or text


def _work(statements: list[Statement], begin: int, known: dict[str, Instruction]) -> str:
    """Return what a branch and its other half do, if one of them loads by TMA and the other one multiplies."""
    depth, halves = 0, [""]
    for statement in statements[begin:]:
        tokens = statement.tokens
        if statement.called:
            mnemonic = known[statement.called].mnemonic
            kind = "loads" if mnemonic.startswith("cp.async.bulk.tensor") else ""
            halves[-1] = halves[-1] or ("multiplies" if mnemonic.startswith("wgmma.mma") else kind)
        if tokens and tokens[0] == "}" and depth == 1 and "{" in tokens:
            halves.append("")
        depth += tokens.count("{") - tokens.count("}")
        if depth == 0:
            break
    return next((text for work, text in _HALVES.items() if list(work) == halves), "")


def _part(statement: Statement, known: dict[str, Instruction], roles: dict[str, str], outputs: list[str] | None) -> str:
    """Return what the part does that a statement belongs to; empty where it does not tell."""
    called = statement.called
    if called:
        instruction = known.get(called)
        if instruction is None:
            return ""
        if not instruction.mnemonic:
            return _of_barrier(statement) if "mbarrier_wait" in called else ""
        if outputs and roles.get(outputs[0]) in ("decoded", "left", "right") and not _is_memory(instruction):
            return "Decode W."
        if instruction.mnemonic.startswith("st.shared") and any(roles.get(n) in _SUMS for n in statement.names):
            is_scaled = any(token.startswith("0x1p+2") for token in statement.tokens)
            return "Epilogue: sums through shared memory" + ("; codes were subnormal numbers." if is_scaled else ".")
        for prefix, text in _BY_MNEMONIC:
            if instruction.mnemonic.startswith(prefix):
                return text if text[-1] == "." else _with_source(text, statement)
        return ""
    target = statement.target
    if target.startswith("D_"):
        return "Epilogue: store D."
    role = roles.get(target, "")
    if role in ("decoded", "codes", "left", "right") and any(roles.get(n) in _CODES for n in statement.names):
        return "Decode W."
    if role == "total" and any(roles.get(n) == "acc" for n in statement.names):
        if _subtracts_sums(statement.tokens, roles):
            return "Add up the scaled sums of a group, without those of the row whose codes share the bytes."
        return "Scale the sums of a group, and add them up."
    if role == "D_words":
        return "Epilogue: D from the sums."
    return ""


def _subtracts_sums(tokens: list[str], roles: dict[str, str]) -> bool:
    """Return whether sums are subtracted from sums."""
    pairs = itertools.pairwise(token for token in tokens if token not in ("(", ")"))
    return any(before == " - " and roles.get(token.partition("[")[0]) == "acc" for before, token in pairs)


def _is_memory(instruction: Instruction) -> bool:
    return instruction.mnemonic.startswith(("ld", "mma.", "wgmma"))


def _of_barrier(statement: Statement) -> str:
    return "Wait until the ring slot is free." if " ^ " in statement.tokens else "Wait until the ring slot is filled."


def _with_source(text: str, statement: Statement) -> str:
    found = [n.rpartition("_")[0] for n in statement.names if n.endswith(("_ptr", "_map"))]
    source = next((name for name in found if name in _SOURCES), "")
    if not source:
        return f"{text}."
    return f"{text} {source}." if text == "Load" else f"{text}: {source}."
