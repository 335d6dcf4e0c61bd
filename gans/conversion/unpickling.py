"""Read a pickle as data: what it would make is written down, and nothing of it is ever called or imported.

A pickle is a program for a small stack machine, and running it is what makes foreign pickles dangerous. Here the
machine's own steps are followed (numbers, texts, lists, dicts, the memo), but where it would look up a class or call
it, a note of the name and the arguments is kept instead. The opcodes are those that `pickletools` documents.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

__all__ = ["Made", "Name", "Persistent", "PickleError", "read_pickle"]

_MOST_OPCODES = 20_000_000


class PickleError(ValueError):
    """Bytes that are no whole pickle, or one that does what no checkpoint does."""


@dataclass(frozen=True)
class Name:
    """A class or function that the pickle asks for."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


# As the older protocols write them.
_SETS = [Name(module, "set") for module in ("builtins", "__builtin__")]


@dataclass(eq=False)
class Made:
    """What calling `of` with `args` would give, and what is done to it afterwards."""

    of: Any
    args: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Persistent:
    """Something that lies outside the pickle, under this identifier, e.g. a tensor's numbers."""

    identifier: Any


class _Mark:
    """Where a group on the stack begins."""


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    names: dict[Name, None] = field(default_factory=dict)
    outside: list[Persistent] = field(default_factory=list)

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _Mark:
            raise PickleError("its stack runs empty, so it is no whole pickle")
        return self.stack.pop()

    def group(self) -> list[Any]:
        """All above the last mark, which goes too."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _Mark:
                found = self.stack[place + 1 :]
                del self.stack[place:]
                return found
        raise PickleError("it ends a group that it has not begun")

    def name(self, module: Any, name: Any) -> Name:
        found = Name(str(module), str(name))
        self.names[found] = None
        return found

    def make(self, of: Any, args: Any) -> Any:
        if not isinstance(args, tuple):
            raise PickleError("it calls something with arguments that are no tuple")
        if of == Name("collections", "OrderedDict") and not args:
            return {}
        if of in _SETS and len(args) == 1 and isinstance(args[0], list):
            return _hashable(args[0])
        return Made(of, args)

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if isinstance(target, Made):
            target = target.items
        if not isinstance(target, list):
            raise PickleError("it appends to something that is no list")
        target.extend(items)

    def enter(self, flat: list[Any]) -> None:
        target = self.stack[-1] if self.stack else None
        if isinstance(target, Made):
            target = target.entries
        if not isinstance(target, dict) or len(flat) % 2:
            raise PickleError("it sets entries of something that is no dict")
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            try:
                target[key] = value
            except TypeError:
                raise PickleError(f"it has a key that can be none, a {type(key).__name__}") from None

    def build(self, state: Any) -> None:
        # A dict's own attributes (a state dict's versions) hold no arrays.
        if self.stack and isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def persist(self, identifier: Any) -> Persistent:
        found = Persistent(identifier)
        self.outside.append(found)
        return found

    def unmark_set(self) -> None:
        items = self.group()
        if not self.stack or not isinstance(self.stack[-1], set):
            raise PickleError("it adds to something that is no set")
        self.stack[-1].update(_hashable(items))


def _hashable(items: list[Any]) -> set[Any]:
    """The plain values among the items: sets hold names, never arrays."""
    return {item for item in items if isinstance(item, str | int | float | bytes)}


def _push_tuple(length: int) -> Callable[[_Machine, Any], Any]:
    def push(machine: _Machine, _: Any) -> tuple[Any, ...]:
        return tuple([machine.pop() for _ in range(length)][::-1])

    return push


def _call(machine: _Machine, _: Any) -> Any:
    args = machine.pop()
    return machine.make(machine.pop(), args)


def _call_with_keywords(machine: _Machine, _: Any) -> Any:
    keywords, args, of = machine.pop(), machine.pop(), machine.pop()
    return machine.make(of, (*args, keywords) if isinstance(args, tuple) else args)


def _stack_name(machine: _Machine, _: Any) -> Name:
    name = machine.pop()
    return machine.name(machine.pop(), name)


def _group_call(machine: _Machine, _: Any) -> Any:
    of, *args = machine.group() or [None]
    return machine.make(of, tuple(args))


def _group_dict(machine: _Machine, _: Any) -> dict[Any, Any]:
    flat = machine.group()
    machine.stack.append({})
    machine.enter(flat)
    found: dict[Any, Any] = machine.stack.pop()
    return found


def _recall(machine: _Machine, place: Any) -> Any:
    if int(place) not in machine.memo:
        raise PickleError(f"it recalls number {place}, which it has not kept")
    return machine.memo[int(place)]


def _keep(machine: _Machine, place: Any) -> None:
    if not machine.stack:
        raise PickleError("it keeps something before there is anything")
    machine.memo[len(machine.memo) if place is None else int(place)] = machine.stack[-1]


def _enter_one(machine: _Machine) -> None:
    value = machine.pop()
    machine.enter([machine.pop(), value])


# What each opcode puts on the stack.
_VALUES: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(
        ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
         "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
         "BINUNICODE", "BINUNICODE8"),
        lambda machine, value: value,
    ),
    "NONE": lambda machine, _: None,
    "NEWTRUE": lambda machine, _: True,
    "NEWFALSE": lambda machine, _: False,
    "MARK": lambda machine, _: _Mark,
    "EMPTY_LIST": lambda machine, _: [],
    "EMPTY_DICT": lambda machine, _: {},
    "EMPTY_SET": lambda machine, _: set(),
    "EMPTY_TUPLE": lambda machine, _: (),
    "LIST": lambda machine, _: machine.group(),
    "TUPLE": lambda machine, _: tuple(machine.group()),
    "FROZENSET": lambda machine, _: tuple(machine.group()),
    "DICT": _group_dict,
    "TUPLE1": _push_tuple(1),
    "TUPLE2": _push_tuple(2),
    "TUPLE3": _push_tuple(3),
    "GLOBAL": lambda machine, value: machine.name(*value.split(" ", 1)),
    "STACK_GLOBAL": _stack_name,
    "REDUCE": _call,
    "NEWOBJ": _call,
    "NEWOBJ_EX": _call_with_keywords,
    "OBJ": _group_call,
    "INST": lambda machine, value: machine.make(machine.name(*value.split(" ", 1)), tuple(machine.group())),
    "PERSID": lambda machine, value: machine.persist(value),
    "BINPERSID": lambda machine, _: machine.persist(machine.pop()),
    "GET": _recall,
    "BINGET": _recall,
    "LONG_BINGET": _recall,
    "DUP": lambda machine, _: machine.stack[-1] if machine.stack else machine.pop(),
}  # fmt: skip
# What each opcode does to what is there.
_CHANGES: dict[str, Callable[[_Machine, Any], Any]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "PUT": _keep,
    "BINPUT": _keep,
    "LONG_BINPUT": _keep,
    "MEMOIZE": _keep,
    "POP": lambda machine, _: machine.stack.pop() if machine.stack else machine.pop(),
    "POP_MARK": lambda machine, _: machine.group(),
    "APPEND": lambda machine, _: machine.append([machine.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.group()),
    "SETITEM": lambda machine, _: _enter_one(machine),
    "SETITEMS": lambda machine, _: machine.enter(machine.group()),
    "ADDITEMS": lambda machine, _: machine.unmark_set(),
    "BUILD": lambda machine, _: machine.build(machine.pop()),
}


def read_pickle(file: BinaryIO) -> tuple[Any, list[Name], list[Persistent]]:
    """The next pickle of a file: what it would make, the names that it asks for, and what lies outside it.

    The file stands behind the pickle afterwards. Lists, dicts, tuples, sets, numbers, texts and bytes are themselves;
    everything else is a `Name`, a `Made` or a `Persistent`.

    Raises
    ------
    PickleError
        If it is no whole pickle.
    """
    machine = _Machine()
    try:
        for number, (opcode, value, _) in enumerate(pickletools.genops(file)):
            if number > _MOST_OPCODES:
                raise PickleError(f"it has more than {_MOST_OPCODES} steps")
            if opcode.name == "STOP":
                return machine.pop(), list(machine.names), machine.outside
            if opcode.name in _VALUES:
                machine.stack.append(_VALUES[opcode.name](machine, value))
            elif opcode.name in _CHANGES:
                _CHANGES[opcode.name](machine, value)
            else:
                raise PickleError(
                    f"it asks for {opcode.name} where a pickle would, which no checkpoint does: it is another kind of "
                    "file, or damaged"
                )
    except PickleError:
        raise
    except (ValueError, EOFError, UnicodeDecodeError, IndexError, OverflowError, MemoryError) as error:
        raise PickleError(f"it is no whole pickle ({error})") from error
    raise PickleError("it has no end")
