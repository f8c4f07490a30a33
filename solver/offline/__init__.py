"""Compiles the kernels for real devices on a machine without one, and reads what the compiler says of them.

``python -m solver.offline`` compiles every method, precision and size for every architecture, prints
registers, stack, spills and double-precision instructions, and exits with 1 when a kernel is not as asked.
It needs no driver and no toolkit, only packages::

    pip install numba-cuda 'nvidia-nvvm==13.0.*' 'nvidia-cuda-nvrtc==13.*' 'nvidia-nvjitlink==13.*'

NVVM 13.0 writes a PTX version that every linker since takes; what a newer one writes, older tools refuse.
"""

from solver.offline.compile import CAPABILITIES, Compiled, compile_kernel, unavailable
from solver.offline.matrix import complaints, matrix

__all__ = ["CAPABILITIES", "Compiled", "compile_kernel", "complaints", "matrix", "unavailable"]
