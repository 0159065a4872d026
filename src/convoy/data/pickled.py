"""Reads plain data from a pickle without unpickling it: dicts, lists, numbers, text and NumPy arrays.

`pickle.load` can run any code that a file requests. This reader parses the file with `pickletools` and interprets the
few opcodes that plain data need (binary protocols 1 to 4). It accepts three callables by name and calls none of them:
NumPy's `_reconstruct` and `dtype`, which represent an array, and `_codecs.encode`, which Python 3 uses for bytes in an
old protocol. All other names and opcodes are rejected. Python 2 strings are read as bytes.
"""

from __future__ import annotations

import math
import pickletools
import re
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
_CONSTANTS = {"MARK": _MARK, "NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"),
)


class _RefusedError(Exception):
    pass


def read_pickled(content: bytes, where: str) -> dict[str, object]:
    """Reads a pickled dict, with its keys as text. Raises DataError with the rejected name or opcode."""
    try:
        value = _interpreted(content)
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


def _interpreted(content: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(content):
        match opcode.name:
            case "STOP":
                break
            case "PROTO" | "FRAME":
                pass
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case name if name in _LITERALS:
                stack.append(argument)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument.encode("latin-1"))  # pickletools decodes them as latin-1
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "TUPLE":
                stack.append(tuple(_popped_to_mark(stack)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(_popped(stack, int(opcode.name[-1]))))
            case "APPEND":
                _extend(stack, _popped(stack, 1))
            case "APPENDS":
                _extend(stack, _popped_to_mark(stack))
            case "SETITEM":
                _update(stack, _popped(stack, 2))
            case "SETITEMS":
                _update(stack, _popped_to_mark(stack))
            case "GLOBAL":
                stack.append(_named(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                stack.append(_named("{}.{}".format(*_popped(stack, 2))))
            case "REDUCE":
                stack.append(_reduced(*_popped(stack, 2)))
            case "BUILD":
                _build(stack, *_popped(stack, 1))
            case other:
                raise _RefusedError(f"contains the opcode {other}")
    return stack.pop()


def _named(dotted: str) -> _Name:
    if dotted not in _NAMES:
        raise _RefusedError(f"asks for {dotted}")
    return _Name(dotted)


def _reduced(called: _Name, arguments: Any) -> _DType | _Array | bytes:
    name = called.dotted
    if name == "numpy.dtype" and re.fullmatch(r"[uif][1248]|b1", _text(arguments[0])):
        return _DType(_text(arguments[0]))
    if name in _RECONSTRUCT and arguments[0] == _Name("numpy.ndarray"):
        return _Array()
    if name == "_codecs.encode" and arguments[1] == "latin1":
        return arguments[0].encode("latin-1")
    raise _RefusedError(f"calls {name} with unexpected arguments")


def _build(stack: list[Any], state: Any) -> None:
    """The state of a dtype: (version, byte order, ...); of an array: (version, shape, dtype, by column?, bytes)."""
    built = stack[-1]
    if isinstance(built, _DType):
        order = _text(state[1])
        built.code = (order if order in "<>" else "") + built.code.lstrip("<>")
    elif isinstance(built, _Array):
        _, shape, dtype, by_column, content = state
        if math.prod(shape) * np.dtype(dtype.code).itemsize != len(content) or min(shape, default=0) < 0:
            raise ValueError(f"an array of shape {shape} has {len(content):,} bytes")
        built.value = np.frombuffer(content, dtype.code).reshape(shape, order="F" if by_column else "C")
    else:
        raise _RefusedError(f"sets the state of a {type(built).__name__}")


def _extend(stack: list[Any], items: list[Any]) -> None:
    if not isinstance(stack[-1], list):
        raise TypeError("expected a list to append to")
    stack[-1].extend(items)


def _update(stack: list[Any], items: list[Any]) -> None:
    if not isinstance(stack[-1], dict):
        raise TypeError("expected a dict to add items to")
    if not all(isinstance(key, str | bytes | int) for key in items[::2]):
        raise TypeError("expected text or numbers as keys")  # hashing nested tuples may take forever
    stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _popped(stack: list[Any], count: int) -> list[Any]:
    return [stack.pop(place - count) for place in range(count)]


def _popped_to_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else value
