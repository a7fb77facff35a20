# SPDX-License-Identifier: Apache-2.0
"""Names for what TVM has none for: temporaries are called by the operand that they hold, or by what they are for.

A temporary is what Python code allocated without a name (``_ptr_12``). What it is stands in the instructions: what
`mma` multiplies is its left or right operand, what is loaded from the weight holds words of the weight, and what is
computed from scales alone is a scale. Where nothing says it, a name tells the type and no more.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable

from bitquant.source.kernel import Instruction, Kernel, Statement
from bitquant.source.text import names_in

__all__ = ["is_temporary", "name_temporaries"]

_TEMPORARY = re.compile(r"_ptr(?:_\d+)?|buffer(?:_\d+)?|v_?(?:_\d+)?|cse_v\d+")
#: Pointers and tensor maps of a kernel's operands.
_OPERAND = re.compile(r"([A-Z]\w*?)_(?:ptr|map)")
#: What a temporary is called of which no more is known than its type.
_BY_TYPE = {
    "uint": "word", "int": "index", "float": "value", "half": "value", "nv_bfloat16": "value", "bool": "flag",
    "ushort": "bits", "uchar": "byte", "uint64_t": "descriptor",
}  # fmt: skip
#: Values of an operand in registers, by the operand; and what is computed from them alone.
_HELD = {"Scale": "scale_words", "Zeros": "zero_words", "B": "B_words", "W": "W_words", "A": "A_words", "D": "D_words"}
_SCALES, _ZEROS = frozenset(("scale_words", "scale")), frozenset(("zero_words", "zero"))
_ADDRESSES = frozenset(("smem", "cursor", "slot", "address", "warpgroup"))
_CODES = frozenset(("B_words", "W_words", "codes", "decoded"))
_SUMS = frozenset(("acc", "a_sum", "total", "sum"))
#: What a number is for, by the form of its value without brackets, where names stand for what they hold.
_BY_FORM = tuple(
    (re.compile(pattern), role)
    for pattern, role in (
        (r"maxminoffsets, .*, 0;", "row_end"),
        (r"__shfl_up_sync.*", "below"),
        (r"THREAD % 32 == 0 \? 0 : below;", "row_begin"),
        (r"maxrow_end - row_begin, 0 \+ \d+ / \d+;", "tiles"),
        (r"tiles;", "tile_end"),
        (r"tile_end - tiles;", "tile_begin"),
        (r"(?:tile|BLOCK) / \d+;", "tile_m"),
        (r"int__popc\w+\[0\];", "searched"),
        (r"minsearched(?: \+ searched)?, \d+;", "expert"),
        (r"int64_texpert;", "expert"),
        (r"maxentry - entry, 1;", "tiles_m"),
        (r"(?:tile|BLOCK) - entry \* \d+;", "tile_of_expert"),
        (r"entry \* \d+;", "tile_count"),
        (r"BLOCK < tile_count \? \d+ : 0;", "steps_ahead"),
    )
)
_WORD = re.compile(r"[A-Za-z_]\w*")
_BRACKETS = str.maketrans("", "", "()")
_MULTIPLIED = frozenset(("left", "right", "decoded"))


def is_temporary(name: str) -> bool:
    """Return whether TVM made up a name."""
    return _TEMPORARY.fullmatch(name) is not None


def name_temporaries(kernel: Kernel, known: dict[str, Instruction], taken: Collection[str]) -> dict[str, str]:
    """Return a name for each temporary of a kernel; what is not visible at once may have the same.

    Parameters
    ----------
    kernel
        What they are declared in.
    known
        The functions before it.
    taken
        Names that are not free.
    """
    roles, result = _Roles(kernel, known), dict[str, str]()
    blocks = [(set(taken), dict[str, int]())]  # Of each that is open, what is visible, and the last number by role.

    def add(name: str) -> None:
        used, counts = blocks[-1]
        role = new = roles.found.get(name) or _BY_TYPE.get(roles.types[name], "value")
        while new in used:
            counts[role] = counts.get(role, 0) + 1
            new = f"{role}_{counts[role]}"
        used.add(new)
        result[name] = new

    for name in _parameters(kernel):
        if name in roles.types:
            add(name)
    for statement in kernel.statements:
        tokens = statement.tokens
        if tokens and tokens[0] == "}":
            blocks.pop()
        if statement.name in roles.types and statement.kind != "gone":
            add(statement.name)
        if tokens and tokens[-1] == "{":
            used, counts = blocks[-1]
            blocks.append((used.copy(), counts.copy()))
        if statement.names[:2] == ["for", "int"] and statement.names[2] in roles.types:
            add(statement.names[2])
    return result


def _parameters(kernel: Kernel) -> list[str]:
    """Return the names of the numbers that a kernel takes."""
    return re.findall(r"\bint(?:64_t)? (\w+)[,)]", kernel.head)


class _Roles:
    """What the temporaries of a kernel are for: `found` by name, where it is known. The first answer holds."""

    def __init__(self, kernel: Kernel, known: dict[str, Instruction]) -> None:
        self.types = {s.name: s.type for s in kernel.statements if s.name and s.kind != "gone" and is_temporary(s.name)}
        self.sizes = {s.name: s.size for s in kernel.statements if s.name}
        self.found: dict[str, str] = {}
        self._kernel, self._known = kernel, known
        #: The operand that is copied to shared memory from an offset on; empty for what is none.
        self._regions: dict[int, str] = {}
        #: What is loaded from shared memory by the vector: words of the weight, if they are multiplied.
        self._from_ring: set[str] = set()
        #: Single words that are loaded from there.
        self._loaded: set[str] = set()
        self._of_loops()
        for name in _parameters(kernel):
            self._add(name, "m")  # The one number that a kernel takes: rows of A.
        calls = [(i, s, known[s.called]) for i, s in enumerate(kernel.statements) if s.called in known]
        calls = [(i, s, instruction) for i, s, instruction in calls if instruction.mnemonic]
        for _, statement, instruction in calls:
            self._of_copy(statement, instruction)
        for i, statement, instruction in calls:
            self._of_instruction(statement, instruction, kernel.outputs.get(i, []))
        for statement in kernel.statements:
            if statement.target:
                self._of_assignment(statement.target, statement)
        self._of_schedule()
        written = [
            (kernel.outputs.get(i) or [s.target], s)
            for i, s in enumerate(kernel.statements)
            if s.target or i in kernel.outputs
        ]
        self._of_weight(written)
        self._of_masks()
        for targets, statement in written:
            if targets[0] in self.types and targets[0] not in self.found:
                self._forward(targets[0], statement)
        for targets, statement in reversed(written):
            if self.found.get(targets[0]) in _MULTIPLIED:
                self._call(
                    (n for n in statement.names if self.types.get(n) == "uint" and not self.sizes[n] > 1), "decoded"
                )

    def _call(self, names: Iterable[str], role: str) -> None:
        for name in names:
            if role and name in self.types:
                self.found.setdefault(name, role)

    def _add(self, name: str, role: str) -> None:
        if is_temporary(name):
            self.types[name], self.sizes[name], self.found[name] = "int", 0, role

    def _of_loops(self) -> None:
        for statement in self._kernel.statements:
            if statement.names[:2] == ["for", "int"]:
                self._add(statement.names[2], "i")

    def _of_copy(self, statement: Statement, instruction: Instruction) -> None:
        """Note which operand a copy to shared memory takes, and call its coordinates so."""
        mnemonic = instruction.mnemonic
        if mnemonic.startswith(("cp.async.ca", "cp.async.cg", "cp.async.bulk", "mbarrier.init")):
            arguments = statement.arguments
            source = _operand(names_in(arguments[1])) if len(arguments) > 1 else ""
            if arguments and (offset := _offset(arguments[0])) is not None:
                self._regions.setdefault(offset, source)
            if ".tensor." in mnemonic and "mbar" in instruction.operands:
                # The last coordinate counts rows of A, or of W.
                last = arguments[instruction.operands.index("mbar") - 1]
                names = names_in(last)
                if any(self.types.get(name) != "int" for name in names):
                    return
                if source in ("A", "W") and len(names) == 1:
                    self._call(names, "m0" if source == "A" else "n0")
                elif source == "W" and len(names) == 2:
                    self._call(names[:1], "expert")
                    self._call(names[1:], "n0")

    def _of_instruction(self, statement: Statement, instruction: Instruction, outputs: list[str]) -> None:
        """Call the operands of an instruction what it takes them for."""
        mnemonic = instruction.mnemonic
        if mnemonic.startswith(("mma.", "wgmma.mma")):
            arguments = statement.arguments
            groups: dict[str, list[str]] = {"a": [], "b": []}
            for operand, argument in zip(instruction.operands, arguments, strict=True):
                if operand in groups:
                    groups[operand].append(argument[0] if len(argument) == 1 else "")
            is_constant = groups["a"] != [] and all(a[:1] == "(" for a in groups["a"])
            self._call(outputs, "a_sum" if is_constant else "acc")
            self._call((a.partition("[")[0] for a in groups["a"]), "left")
            self._call((b.partition("[")[0] for b in groups["b"]), "right")
        elif mnemonic.startswith("ld."):
            address = statement.arguments[-1]
            if mnemonic.startswith("ld.global"):
                operand = _operand(names_in(address))
            else:
                operand = self._region(address) if ".f32" not in mnemonic else ""
            self._call(outputs, _HELD.get(operand, operand.lower()))
            if not operand and mnemonic.startswith("ld.shared.v4.u"):
                self._from_ring.update(outputs)
            elif not operand and mnemonic == "ld.shared.u32":
                self._loaded.update(outputs)
            self._of_offset(address)
        elif mnemonic.startswith(("cp.async.ca", "cp.async.cg")):
            self._of_offset(statement.arguments[1])
        elif mnemonic.startswith("st.global"):
            arguments = statement.arguments
            if _operand(names_in(arguments[0])) == "D":
                self._call(names_in(arguments[1][:1]), "D_words")

    def _of_offset(self, address: list[str]) -> None:
        """Call what stands alone in an address of an operand, or with a constant, the operand's offset."""
        names = [n for n in names_in(address) if n != "tvm_builtin_cuda_cvta_generic_to_shared"]
        if len(names) == 2 and self.types.get(names[1]) == "int" and (operand := _operand(names[:1])):
            self._call(names[1:], f"{operand}_offset")

    def _region(self, address: list[str]) -> str:
        """Return the operand whose copy stands in shared memory at an address that depends on indices alone.

        One that depends on values is that of a table.
        """
        if any(self.types.get(name, "int") != "int" for name in names_in(address)):
            return ""
        offset = _offset(address)
        before = [o for o in self._regions if offset is not None and o <= offset]
        operand = self._regions[max(before)] if before else ""
        return operand if operand in ("Scale", "Zeros", "B") else ""

    def _of_assignment(self, target: str, statement: Statement) -> None:
        """Name what only its form tells: shared memory's address, a ring's cursor, a warpgroup, a tile's number."""
        kind, tokens = self.types.get(target), statement.tokens
        if kind is None or target in self.found:
            return
        text = "".join(tokens)
        if kind == "uint" and "cvta_generic_to_shared((&(arena_ptr[0])))" in text:
            self._call([target], "smem")
        elif (
            kind == "uint" and self.sizes[target] == 2 and " ^ (uint)1) : " in text and text.startswith(f"{target}[1]")
        ):
            self._call([target], "cursor")
            self._call([statement.names[1]], "is_last")
        elif kind == "int" and "__shfl_sync" in text and ">> 7" in text:
            self._call([target], "warpgroup")
        elif kind == "int" and self.sizes[target] and text.endswith(" = BLOCK;"):
            self._call([target], "tile")
        elif statement.kind == "variable" and "cluster_ctaid" in text and len(tokens) < 8:
            self._call([target], "rank")

    def _of_schedule(self) -> None:
        """Name what says which tile is next: indices by the form of their value, and equal values alike.

        A block of threads that loads and one that multiplies compute the same tiles, the one under names that the
        copies tell.
        """
        assigned = []
        for statement in self._kernel.statements:
            tokens = statement.tokens
            target = statement.target
            if statement.called:
                if self._known[statement.called].mnemonic == "ld.shared.v2.s32":
                    self._call(names_in(tokens[2:3]), "entry")
                    inside = "".join(tokens).partition("(min((")[2]
                    self._call(_WORD.findall(inside.partition(" + ")[0]), "searched")
            elif tokens[:2] == ["for", " "] and " - " in tokens:
                self._call(names_in(tokens[tokens.index(" - ") + 1 :][:1]), "first_step")
            elif self.types.get(target) in ("int", "bool", "int64_t"):
                assigned.append(statement)
                if self.found.get(target) == "m0":
                    for before, token in itertools.pairwise(tokens):
                        if before == " % ":
                            self._call(names_in([token]), "group_m")
        named: dict[str, str] = {}
        for _ in range(2):  # The second time for what stands above its like.
            for statement in assigned:
                target = statement.target
                tokens = statement.tokens
                value = tokens if statement.kind == "variable" else tokens[tokens.index(" = ") + 1 :]
                text = "".join([self.found.get(_base(token), token) for token in value]).translate(_BRACKETS)
                role = self.found.get(target)
                if role is None and (role := named.get(text) or self._by_form(text)) is not None:
                    self._call([target], role)
                if role is not None and _WORD.search(text) and not text.startswith(role):
                    named.setdefault(text, role)

    @staticmethod
    def _by_form(text: str) -> str | None:
        return next((role for pattern, role in _BY_FORM if pattern.fullmatch(text)), None)

    def _of_weight(self, written: list[tuple[list[str], Statement]]) -> None:
        """Name the words of a ring slot that are multiplied, after whatever has become of them."""
        reached = {name for name, role in self.found.items() if role in ("left", "right")}
        for targets, statement in reversed(written):
            if not reached.isdisjoint(targets):
                reached.update(statement.names)
        self._call(sorted(self._from_ring & reached), "W_words")

    def _of_masks(self) -> None:
        """Name the words of one element that others are masked by, as they were loaded from shared memory."""
        masks = {f"{name}[0]" for name in self._loaded}
        for statement in self._kernel.statements:
            tokens = statement.tokens
            if masks and not masks.isdisjoint(tokens):
                for before, token in itertools.pairwise(tokens):
                    if before == " & " and token in masks:
                        self._call([token[:-3]], "mask")

    def _forward(self, target: str, statement: Statement) -> None:
        """Name what is computed from values whose names are known."""
        sources = [self.found[n] for n in statement.names if n in self.found and n != target]
        kind = self.types[target]
        if not sources:
            return
        held = set(sources)
        if kind == "uint" and not statement.called and held <= _ADDRESSES:
            self._call([target], "slot" if "cursor" in held else "address")
        elif kind in ("float", "int", "half", "nv_bfloat16") and held & _SUMS:
            is_total = self.sizes[target] > 1 and target in statement.names[1:]
            self._call([target], "total" if is_total else "sum")
        elif kind == "uint" and held <= _SUMS:
            self._call([target], "D_words")
        elif kind == "int":
            return
        elif kind == "uint" and held & _CODES:
            self._call([target], "codes" if held <= {"B_words", "W_words", "codes"} else "decoded")
        elif held <= _SCALES:
            self._call([target], "scale")
        elif held <= _ZEROS:
            self._call([target], "zero")
        elif held <= _SCALES | _ZEROS | {"scaled_zero"}:
            self._call([target], "scaled_zero")


def _base(token: str) -> str:
    return token.partition("[")[0]


def _operand(names: Iterable[str]) -> str:
    return next((m[1] for name in names if (m := _OPERAND.fullmatch(name))), "")


def _offset(address: list[str]) -> int | None:
    """Return the constant that an address of shared memory adds; 0 where there is none, None for other addresses."""
    text = "".join(address)
    begin = text.find("arena_ptr[")
    if begin < 0:
        return None
    inner = text[begin + 10 :].rstrip("])")
    match = re.search(r"(?:^| \+ )(\d+)$", inner)
    return int(match[1]) if match else 0
