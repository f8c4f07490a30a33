"""A batch ODE solver on numba that chunks, stages through pinned memory and streams."""
