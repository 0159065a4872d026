"""convoy cluster: starts the scheduler of a Dask cluster with TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from convoy.cli.app import cluster_app
from convoy.text import gettext as _


@cluster_app.command(name="start")
def start(
    address: Annotated[str, Parameter(help="Address at which the workers reach this machine.")],
    *,
    port: Annotated[int, Parameter(help="Port of the scheduler.")] = 8786,
    folder: Annotated[Path, Parameter(help="Folder for the keys and the address.")] = Path("convoy-cluster"),
) -> None:
    """Start a Dask scheduler with TLS, and print the command for its workers. Ctrl-C stops it.

    Copy the folder to each host. Its key lets anyone execute code on all workers.

    Example: `convoy cluster start 10.0.0.1`
    """
    try:
        from convoy.studies import cluster_tls
    except ImportError:
        raise ValueError(_("a cluster needs Dask: pip install 'convoy-ml[cluster]'")) from None
    cluster_tls.write_keys(folder, address)
    worker, where = cluster_tls.commands(folder)
    print(_("keys: {folder}; copy it to each host, readable only by you", folder=folder))
    print(_("on each host:  {command}", command=worker))
    print(_("study:         convoy compare lenet two_conv_cnn {where}", where=where), flush=True)
    cluster_tls.become_scheduler(folder, address, port)
