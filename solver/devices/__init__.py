"""What stands behind the pipeline's narrow door: CUDA, a virtual device in numba's simulator, clocks."""
