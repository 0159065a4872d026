"""Ends a pass through a network between two layers, because a full pass of a large network may take many seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

_should_stop: ContextVar[Callable[[], bool] | None] = ContextVar("should_stop", default=None)


class Interrupted(BaseException):
    """A pass was ended. Not an Exception, so that no `except Exception` in a user's network catches it."""


@contextmanager
def interruptible(should_stop: Callable[[], bool]) -> Iterator[None]:
    """Within this context, `evaluation.predict` raises Interrupted once `should_stop` returns True."""
    token = _should_stop.set(should_stop)
    try:
        yield
    finally:
        _should_stop.reset(token)


@contextmanager
def ending_early(module: nn.Module, should_stop: Callable[[], bool] | None = None) -> Iterator[None]:
    """Raises Interrupted before the next layer, forward or backward, once `should_stop` returns True.

    In this case, the buffers of the module, such as running statistics, are restored. By default, `should_stop` is the
    function passed to `interruptible`.
    """
    stop = should_stop or _should_stop.get()
    if stop is None:
        yield
        return

    def check(*_arguments: object) -> None:
        if stop():
            raise Interrupted

    before = [(buffer, buffer.clone()) for buffer in module.buffers()]
    handles = [layer.register_forward_pre_hook(check) for layer in module.modules()]
    for parameter in module.parameters():
        if parameter.requires_grad and parameter.ndim > 1:  # once for each layer, because each hook takes time
            handles.append(parameter.register_post_accumulate_grad_hook(check))
    try:
        yield
    except Interrupted:
        for buffer, old in before:
            buffer.copy_(old)
        raise
    finally:
        for handle in handles:
            handle.remove()
