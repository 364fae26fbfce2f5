"""Commands of shell scripts, and Python's, in forks of one process that has torch imported already: 0.1 s each, not 4.

`python command_server.py SOCKET` serves; `write_client` makes an executable `noisyfer` that asks it. A command gets the
caller's folder, environment and streams, and the caller its exit status. How Python starts and the installed script
finds the package is not seen here; `.ci/run` does that with the built wheel.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path

IMPORTED = (
    "noisyfer.benchmark.inspect",
    "noisyfer.benchmark.report",
    "noisyfer.benchmark.sweep",
    "noisyfer.relabel.engines",
    "torch._dynamo",
    "torch.utils.tensorboard",
    "sklearn.metrics",
    "scipy.stats",
    "matplotlib.backends.backend_agg",
    "pandas",
    "timm",
    "onnxruntime",
)
"""Modules that the commands would import, each for itself."""

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({place!r})
    asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n"
    socket.send_fds(server, [asked[:1]], [0, 1, 2])
    server.sendall(asked[1:])
    answer = server.recv(16)
sys.exit(int(answer or b"70"))
"""


def write_client(folder: Path, place: Path) -> None:
    """Make an executable `noisyfer` in a folder that asks the server at a socket."""
    client = folder / "noisyfer"
    client.write_text(CLIENT.format(python=sys.executable, place=str(place)), encoding="utf-8")
    client.chmod(0o755)


def serve(place: str) -> None:
    """Answer until killed."""
    for name in IMPORTED:
        importlib.import_module(name)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        while True:
            caller, _ = server.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                caller.sendall(str(_answer(caller)).encode())
                os._exit(0)
            caller.close()


def _answer(caller: socket.socket) -> int:
    data, streams, _, _ = socket.recv_fds(caller, 1, 3)
    with caller.makefile("rb") as rest:
        words, folder, environment = json.loads(data + rest.readline())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    # those of the server may have been files, and these are pipes
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        _run(words)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _run(words: list[str]) -> None:
    """`--python CODE` is for Python as `python -c CODE`, everything else a command."""
    if words[0] == "--python":
        sys.argv = ["-c"]
        sys.path.insert(0, "")
        exec(words[1], {"__name__": "__main__"})  # noqa: S102
        return
    from noisyfer.cli import main

    main(words, prog_name="noisyfer")


if __name__ == "__main__":
    serve(sys.argv[1])
