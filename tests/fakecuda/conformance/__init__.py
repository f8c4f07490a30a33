"""numba-cuda's own driver tests, run on the fake driver: what pins down its model of CUDA."""
