"""The devices behind a narrow door: found without starting CUDA."""
