"""``python -m pytest_gpuguard.cli``, where the command is not on the path."""

from pytest_gpuguard.cli.app import main

main(prog_name="gpuguard")
