"""The ``pytest11`` entry point: registers options and a role, decides nothing, imports nothing heavy."""
