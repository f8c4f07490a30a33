"""Keep CUDA test suites from hanging: end them, name the leak, share what the host has."""

__version__ = "0.1.0.dev0"

__all__ = ["__version__"]
