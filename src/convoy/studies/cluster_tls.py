"""The scheduler of a cluster with TLS. Scheduler, workers and studies use the same key and certificate."""

from __future__ import annotations

import datetime
import ipaddress
import os
import shlex
import socket
import sys
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed import Security

from convoy.text import gettext as _

KEY, CERTIFICATE, SCHEDULER = "key.pem", "cert.pem", "scheduler.json"
VALID_DAYS = 365


def security_of(folder: Path) -> Security | None:
    """Returns the TLS settings for the keys in a folder; None if it has no keys."""
    key, certificate = str(folder / KEY), str(folder / CERTIFICATE)
    if not (folder / KEY).is_file():
        return None
    roles = {
        f"tls_{role}_{kind}": path
        for role in ("client", "worker", "scheduler")
        for kind, path in (("key", key), ("cert", certificate))
    }
    return Security(tls_ca_file=certificate, require_encryption=True, **roles)


def tls_flags(folder: Path) -> list[str]:
    """Returns the flags of `dask scheduler` and `dask worker`."""
    certificate, key = str(folder / CERTIFICATE), str(folder / KEY)
    return ["--tls-ca-file", certificate, "--tls-cert", certificate, "--tls-key", key]


def write_keys(folder: Path, address: str) -> None:
    """Writes a private key, readable by its owner only, and its self-signed certificate; keeps existing ones."""
    if (folder / KEY).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "convoy cluster")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_general_name(address)]), critical=False)
        .sign(private, hashes.SHA256())
    )
    (folder / CERTIFICATE).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    content = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(folder / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def commands(folder: Path) -> tuple[str, str]:
    """Returns the command that starts a worker and the option for a study."""
    scheduler = str(folder / SCHEDULER)
    worker = ["dask", "worker", "--scheduler-file", scheduler, "--nthreads", "1", *tls_flags(folder)]
    return shlex.join(worker), f"--where dask-file:{shlex.quote(scheduler)}"


def become_scheduler(folder: Path, address: str, port: int) -> NoReturn:
    """Replaces this process with the scheduler, so that signals reach it. Raises ValueError for an unusable address."""
    try:
        family, *_others, listened_at = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(listened_at[:2], family=family).close()
    except OSError as error:
        raise ValueError(
            _(
                "no scheduler can listen on {address}, port {port}: {strerror}",
                address=address,
                port=port,
                strerror=error.strerror,
            )
        ) from None
    (folder / SCHEDULER).unlink(missing_ok=True)  # left by a scheduler that has ended
    program = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", f"tls://{address}"]
    options = ["--port", str(port), "--scheduler-file", str(folder / SCHEDULER)]
    os.execv(sys.executable, [*program, *options, *tls_flags(folder)])
