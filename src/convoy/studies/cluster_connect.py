"""Connects to the Dask cluster given by `--where`. Does not import torch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster

from convoy.studies.cluster_tls import security_of
from convoy.studies.session import Session
from convoy.text import gettext as _

LOST_WORKER_SECONDS = 60  # without a heartbeat
LOOPBACK = ("127.", "localhost", "[::1]")


@contextmanager
def connected(session: Session) -> Iterator[Client]:
    """Yields a client of the cluster `session.where`; closes the cluster if it is local.

    Raises ValueError if no scheduler answers, or for one on another machine without TLS.
    """
    where = session.where
    assert where is not None
    logging.getLogger("distributed").setLevel(logging.ERROR)  # Convoy reports lost workers itself
    with dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.comm.timeouts.connect": "15s"}):
        with _answering(where):
            client = _client(where)
        try:
            _check_security(client.scheduler.addr, session)
            with _answering(where):
                # An external scheduler may have other settings; Dask must not restart tasks.
                client.run_on_scheduler(_configure_scheduler, LOST_WORKER_SECONDS)
            yield client
        finally:
            cluster = client.cluster
            with suppress(OSError, TimeoutError):
                client.close(timeout=5)
            if cluster is not None:
                cluster.close(timeout=5)


@contextmanager
def _answering(where: str) -> Iterator[None]:
    """Raises ValueError if the scheduler does not answer or ends in the meantime."""
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise ValueError(_("--where {where}: no scheduler answers: {error}", where=where, error=error)) from None


def _client(where: str) -> Client:
    kind, _separator, address = where.partition(":")
    if kind == "dask-file":
        path = Path(address)
        if not path.is_file():
            advice = _("the scheduler writes it: dask scheduler --scheduler-file {path}", path=path)
            raise ValueError(_("--where {where}: this file does not exist; {advice}", where=where, advice=advice))
        return Client(scheduler_file=str(path), security=security_of(path.parent))
    if kind == "dask" and address.startswith("//"):
        has_tls = dask.config.get("distributed.comm.tls.ca-file", None)
        return Client(f"{'tls' if has_tls else 'tcp'}:{address}")
    if kind == "dask" and address.isdecimal() and int(address) > 0:
        # Workers in this process are enough, because they only relay; Ctrl-C would end other processes.
        cluster = LocalCluster(
            n_workers=int(address), threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
        )
        return Client(cluster)
    raise ValueError(_("--where {where}: expected dask:N, dask://HOST:PORT or dask-file:FILE", where=where))


def _check_security(address: str, session: Session) -> None:
    """Raises ValueError for a scheduler on another machine without TLS: anyone could execute code on its workers."""
    protocol, _separator, host = address.partition("://")
    if not (protocol in ("tls", "inproc") or session.insecure or host.startswith(LOOPBACK)):
        raise ValueError(
            _(
                "--where {where}: {address} has no TLS, so anyone on its network can execute code on its "
                "workers; start it with `convoy cluster start`, or use --insecure on a network that you "
                "trust",
                where=session.where,
                address=address,
            )
        )


def _configure_scheduler(ttl_seconds: float, dask_scheduler: Any) -> None:
    dask_scheduler.allowed_failures = 0
    dask_scheduler.worker_ttl = ttl_seconds
