"""Ends a pass through a network between two layers: a pass of a large network on a busy machine takes many seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

_asked: ContextVar[Callable[[], bool] | None] = ContextVar("asked", default=None)


class Interrupted(BaseException):
    """A pass was ended. Not an Exception, so that no `except Exception` in a user's network catches it."""


@contextmanager
def interruptible(asked: Callable[[], bool]) -> Iterator[None]:
    """Within this context, `evaluation.predict` raises Interrupted once `asked` returns True."""
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


@contextmanager
def ending_early(module: nn.Module, asked: Callable[[], bool] | None = None) -> Iterator[None]:
    """Raises Interrupted before the next layer, forward or backward, once `asked` returns True.

    Restores the buffers of the module, such as running statistics, if it does. `asked`: default: that of
    `interruptible`.
    """
    asks = asked or _asked.get()
    if asks is None:
        yield
        return

    def check(*_arguments: object) -> None:
        if asks():
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
