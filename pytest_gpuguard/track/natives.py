"""Which library a native thread works for, told from the addresses on its stack.

The system knows a name of each thread, which most libraries never set. But a thread that waits has the code
of its library among its return addresses.
"""

from __future__ import annotations

import os
import re

from pytest_gpuguard.track import procfs

__all__ = ["library_of", "loaded", "pool"]

_DEPTH = 4096
#: Below everything that anybody starts.
_SYSTEM = re.compile(
    r"(libc|libpthread|ld|ld-linux[\w-]*|libdl|libm|libstdc\+\+|libgcc_s)[-.\d]*\.so[.\d]*$|\["
)
_INTERPRETER = re.compile(r"(libpython|python)[\d.]*(\.so[.\d]*)?$")
#: Libraries that start their threads when they are first needed and keep them for good.
_POOLS = re.compile(
    r"lib(scipy_)?(openblas|blis|mkl|gomp|omp|iomp|tbb|cuda|cudart|cupti|nvidia|nvrtc|torch|c10|arrow|grpc|uv)"
    r"|workqueue|omppool|tbbpool"
)


def loaded() -> frozenset[str]:
    """Return the files of all code that is mapped."""
    return frozenset(file for _, _, code, file in procfs.mapped() if code and file)


def library_of(tid: int) -> str | None:
    """Return the file of the library that a waiting thread works for, empty when there is none on its stack.

    None is returned where that cannot be told, as for a thread that runs right now. What of Python is found
    on its stack was left there by a thread that had that stack before.
    """
    words = procfs.slurp(f"/proc/self/task/{tid}/syscall").split()
    if len(words) < 3:
        return None  # it runs right now, or the system does not tell
    code = [(start, end, file) for start, end, runs, file in procfs.mapped() if runs]
    try:
        memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        stack = os.pread(memory, _DEPTH, int(words[-2], 16))
    except OSError:
        return None
    finally:
        os.close(memory)
    for at in range(0, len(stack) - 7, 8):
        address = int.from_bytes(stack[at : at + 8], "little")
        file = next((file for start, end, file in code if start <= address < end), None)
        name = (file or "").rpartition("/")[2]
        if file and not _SYSTEM.match(name) and not _INTERPRETER.match(name):
            return file
    return ""


def pool(file: str) -> str | None:
    """Return why a library keeps its threads for good, or None when nothing is known of it."""
    name = file.rpartition("/")[2]
    return f"{name} keeps its threads for good" if _POOLS.search(name) else None
