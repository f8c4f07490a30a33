"""How a batch of any size passes over a device: chunks, pinned buffers, one thread that feeds, writers.

Knows arrays and launches, and no equations.
"""
