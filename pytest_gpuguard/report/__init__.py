"""One versioned record of a run; everything that people or machines read is a view of it."""
