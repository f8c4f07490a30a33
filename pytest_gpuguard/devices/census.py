"""What CUDA itself says of its devices, asked in a child: whoever asks in its own process can fork no more.

For where NVML's library for Python is not installed. The file is also the child's program, and therefore
imports nothing of this package at its head.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from typing import Any

__all__ = ["CensusError", "census"]

_MAJOR, _MINOR = 75, 76
_SINCE = 12000


class CensusError(Exception):
    """The driver did not tell; the message is the evidence."""


def census(patience: float) -> list[tuple[str, str, int, tuple[int, int]]]:
    """Return uuid, model, bytes of memory and capability of each visible device, in CUDA's order.

    Parameters
    ----------
    patience
        Longest time for the answer, in seconds.

    Raises
    ------
    CensusError
        There is no driver, or it failed, or did not answer.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-I", __file__],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=patience,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        message = f"CUDA was asked in a child: {error}"
        raise CensusError(message) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        message = f"CUDA was asked in a child: {lines[-1]}"
        raise CensusError(message)
    told = json.loads(done.stdout)
    return [(uuid, name, total, (major, minor)) for uuid, name, total, major, minor in told]


class _Driver:
    """Functions of the driver by their plain names, in the newest form that version 12 has."""

    def __init__(self) -> None:
        library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
        try:
            self._find = ctypes.CDLL(library).cuGetProcAddress_v2
        except OSError:
            sys.exit(f"no CUDA driver: {library} is not to be found")
        except AttributeError:
            sys.exit(f"{library} is older than CUDA 12")
        self._find.argtypes = (
            ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p,
        )  # fmt: skip

    def __call__(self, name: str, *arguments: Any) -> None:
        address = ctypes.c_void_p()
        status = self._find(name.encode(), ctypes.byref(address), _SINCE, 0, None)
        code = status or ctypes.CFUNCTYPE(ctypes.c_int)(address.value or 0)(*arguments)
        if code:
            sys.exit(f"{name} of the CUDA driver failed with error {code}")


def _devices() -> list[tuple[str, str, int, int, int]]:
    call, count = _Driver(), ctypes.c_int()
    call("cuInit", 0)
    call("cuDeviceGetCount", ctypes.byref(count))
    return [_described(call, number) for number in range(count.value)]


def _described(call: _Driver, number: int) -> tuple[str, str, int, int, int]:
    device, name, uuid = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.create_string_buffer(16)
    total, major, minor = ctypes.c_size_t(), ctypes.c_int(), ctypes.c_int()
    call("cuDeviceGet", ctypes.byref(device), number)
    call("cuDeviceGetName", name, len(name), device)
    call("cuDeviceGetUuid", uuid, device)
    call("cuDeviceTotalMem", ctypes.byref(total), device)
    call("cuDeviceGetAttribute", ctypes.byref(major), _MAJOR, device)
    call("cuDeviceGetAttribute", ctypes.byref(minor), _MINOR, device)
    digits = uuid.raw.hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "GPU-" + "-".join(parts), name.value.decode(), total.value, major.value, minor.value


if __name__ == "__main__":
    print(json.dumps(_devices()))  # noqa: T201 - the child's answer
