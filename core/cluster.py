"""Ray, quietly: an optional package, a cluster to connect to, or processes of this machine that end with the job."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .errors import UserError, first_line

ADDRESS_VARIABLE = "RAY_ADDRESS"
LOCAL = "local"

ANSWER_SECONDS = 20
"""How long a head node may take to accept a connection."""

HEALTH_SECONDS = 60
"""How long it may take to say that it is one."""


@dataclass(frozen=True)
class Cluster:
    """What a cluster has at the moment.

    Attributes:
        cpus: that Ray may hand out.
        gpus: likewise.
        largest: the most CPUs of one node.
    """

    cpus: float
    gpus: float
    largest: float = 1

    def device(self, wanted: str) -> str:
        """`cpu` or `cuda` for workers, of `auto`, `cpu` or `cuda`.

        Raises:
            UserError: `cuda` where no node has a GPU.
        """
        if wanted == "cuda" and not self.gpus:
            raise UserError("No node of the cluster offers a GPU to Ray; start one with GPUs, or choose --device cpu.")
        return ("cuda" if self.gpus else "cpu") if wanted == "auto" else wanted


@contextmanager
def cluster(address: str | None = None) -> Iterator[Cluster]:
    """Connect to a cluster, or start one of this machine's processes that ends with the block.

    A connection that the caller has already is used and kept. Ray's statistics of use and its dashboard stay off. A
    cluster of this machine's processes answers to this process alone, unless Ray was imported before.

    Args:
        address: of the head node, such as `10.0.0.1:6379`, or `auto` for the cluster that runs on this machine; None
            for what `RAY_ADDRESS` says, else processes of this machine.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """
    address = address or os.environ.get(ADDRESS_VARIABLE) or LOCAL
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray listens on every interface, and whoever may speak to it can run code: a cluster of ours wants a secret word.
    # Ray looks for it when it is imported, and never again.
    if address == LOCAL and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError as error:
        raise UserError("Ray is not installed. Install it with: pip install 'noisyfer[ray]'") from error
    if ray.is_initialized():
        yield _resources()
        return
    _start(address)
    try:
        yield _resources()
    finally:
        ray.shutdown()


def _start(address: str) -> None:
    import ray

    more: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
    # its core would tell this process's stderr what is in its log files as well, and that it was told not to
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        _reach(address)
        with _no_stderr():
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **more)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"There is no Ray cluster at {address} that can be used ({first_line(error)}). Start one with 'ray start "
            "--head', give its address with --address HOST:PORT, or leave that out for processes of this machine."
        ) from error


def _reach(address: str) -> None:
    """See whether a head node is at an address of a host and a port.

    Where none is, Ray goes on trying for many minutes, and Ctrl-C does not end it.

    Raises:
        OSError: nobody answers, or something else than Ray.
    """
    parts = urlsplit(f"//{address}")
    if "://" in address or parts.port is None:
        return
    socket.create_connection((parts.hostname or "", parts.port), ANSWER_SECONDS).close()
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        found = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=HEALTH_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OSError("what answers there does not say that it is Ray") from error
    if "AuthenticationError" in found.stderr:
        raise OSError(
            "it wants a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN where ~/.ray/auth_token does not hold it"
        )
    if found.returncode:
        raise OSError(found.stderr.strip().rpartition("\n")[2] or "its health check fails")


def _resources() -> Cluster:
    import ray

    found = ray.cluster_resources()
    largest = max((node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
    return Cluster(found.get("CPU", 0.0), found.get("GPU", 0.0), largest)


def enter(folder: str) -> None:
    """Make the command's working folder this process's, so that relative paths mean the same.

    Raises:
        UserError: there is none such here.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(
            f"A node of the cluster cannot enter {folder} ({error.strerror}), where the command was given. Every node "
            "must see the same files under the same paths; with --parts URL and images in an object store it needs no "
            "more than that folder."
        ) from error


@contextmanager
def _no_stderr() -> Iterator[None]:
    """What native code writes to stderr inside the block goes nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
