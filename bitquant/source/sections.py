# SPDX-License-Identifier: Apache-2.0
"""Comments on what the parts of a kernel do, by the instructions that they are made of."""

from __future__ import annotations

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
            return "Epilogue: sums through shared memory."
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
        return "Scale the sums of a group, and add them up."
    if role == "D_words":
        return "Epilogue: D from the sums."
    return ""


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
