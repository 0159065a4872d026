"""Reads plain data from a pickle without unpickling it: dicts, lists, numbers, text and NumPy arrays.

`pickle.load` can run any code that a file requests. This reader parses the file with `pickletools` and interprets the
few opcodes that plain data need (binary protocols 1 to 4) on a stack machine. It accepts three callables by name and
calls none of them: NumPy's `_reconstruct` and `dtype`, which represent an array, and `_codecs.encode`, which Python 3
uses for bytes in an old protocol. All other names and opcodes are rejected. Python 2 strings are read as bytes.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from convoy.data.imageset import DataError


@dataclass(frozen=True)
class _Name:
    """A callable that the file refers to."""

    dotted: str


@dataclass
class _Array:
    value: np.ndarray | None = None  # set by the BUILD that follows


@dataclass
class _DType:
    code: str  # numpy's code; BUILD adds the byte order in front


_RECONSTRUCT = {f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")}
_NAMES = {"numpy.ndarray", "numpy.dtype", "_codecs.encode", *_RECONSTRUCT}
_MARK = object()


class _RefusedError(Exception):
    pass


def read_pickled(content: bytes, where: str) -> dict[str, Any]:
    """Reads a pickled dict, with its keys as text. Raises DataError with the rejected name or opcode."""
    try:
        value = _Machine().run(content)
    except _RefusedError as refusal:
        raise DataError(f"{where}: expected a pickle of plain data, but it {refusal}; nothing in it was run") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise DataError(f"{where}: damaged, or not a pickle of plain data: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a dict, got {type(value).__name__}")
    return {
        key.decode("latin-1") if isinstance(key, bytes) else str(key): item.value if isinstance(item, _Array) else item
        for key, item in value.items()
    }


class _Machine:
    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                break
            if opcode.name in _PUSHES:
                self._stack.append(_PUSHES[opcode.name](argument))
            elif opcode.name in _STEPS:
                _STEPS[opcode.name](self, argument)
            else:
                raise _RefusedError(f"contains the opcode {opcode.name}")
        return self._stack.pop()

    def global_(self, argument: str) -> None:
        self._name(argument.replace(" ", "."))

    def stack_global(self, _: None) -> None:
        module, name = self._pop(2)
        self._name(f"{module}.{name}")

    def _name(self, dotted: str) -> None:
        if dotted not in _NAMES:
            raise _RefusedError(f"asks for {dotted}")
        self._stack.append(_Name(dotted))

    def reduce(self, _: None) -> None:
        called, arguments = self._pop(2)
        name = called.dotted
        if name == "numpy.dtype" and re.fullmatch(r"[uif][1248]|b1", _text(arguments[0])):
            self._stack.append(_DType(_text(arguments[0])))
        elif name in _RECONSTRUCT and arguments[0] == _Name("numpy.ndarray"):
            self._stack.append(_Array())
        elif name == "_codecs.encode" and arguments[1] == "latin1":
            self._stack.append(arguments[0].encode("latin-1"))
        else:
            raise _RefusedError(f"calls {name} with unexpected arguments")

    def build(self, _: None) -> None:
        """The state of a dtype: (version, byte order, ...); of an array: (version, shape, dtype, by column?, bytes)."""
        (state,) = self._pop(1)
        built = self._stack[-1]
        if isinstance(built, _DType):
            order = _text(state[1])
            built.code = (order if order in "<>" else "") + built.code.lstrip("<>")
        elif isinstance(built, _Array):
            _, shape, dtype, by_column, content = state
            if math.prod(shape) * np.dtype(dtype.code).itemsize != len(content) or min(shape, default=0) < 0:
                raise ValueError(f"an array of shape {shape} has {len(content):,} bytes")
            values = np.frombuffer(content, dtype.code)
            built.value = values.reshape(shape, order="F" if by_column else "C")
        else:
            raise _RefusedError(f"sets the state of a {type(built).__name__}")

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def memoize(self, _: None) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def append(self, _: None) -> None:
        (item,) = self._pop(1)
        self._extend([item])

    def appends(self, _: None) -> None:
        self._extend(self._pop_to_mark())

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], list):
            raise TypeError("expected a list to append to")
        self._stack[-1].extend(items)

    def set_item(self, _: None) -> None:
        self._update(self._pop(2))

    def set_items(self, _: None) -> None:
        self._update(self._pop_to_mark())

    def _update(self, items: list[Any]) -> None:
        if not isinstance(self._stack[-1], dict):
            raise TypeError("expected a dict to add items to")
        if not all(isinstance(key, str | bytes | int) for key in items[::2]):
            raise TypeError("expected text or numbers as keys")  # hashing nested tuples may take forever
        self._stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def tuple_(self, _: None) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def short_tuple(self, count: int) -> None:
        self._stack.append(tuple(self._pop(count)))

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise IndexError("the stack is empty")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value


def _itself(argument: Any) -> Any:
    return argument


def _bytes(argument: str) -> bytes:
    return argument.encode("latin-1")  # pickletools decodes them as latin-1


_PUSHES: dict[str, Callable[[Any], Any]] = {
    "MARK": lambda _: _MARK,
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _itself),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"), _itself),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), _bytes),
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "GLOBAL": _Machine.global_,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.memoize,
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "TUPLE": _Machine.tuple_,
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
}
