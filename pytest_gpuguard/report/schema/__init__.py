"""The JSON Schema of the record: generated from its structures, kept beside them, shipped in the wheel.

``python -m pytest_gpuguard.report.schema`` writes it anew.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

__all__ = ["PATH", "generate", "schema_of", "shipped"]

PATH = Path(__file__).with_name("run-report-1.json")


def schema_of(structure: type) -> dict[str, Any]:
    """Return the schema of a structure, its descriptions without the indentation that they have in the code.

    Python has taken that away itself since 3.13.
    """
    import msgspec

    schema = msgspec.json.schema(structure)
    for part in schema["$defs"].values():
        if "description" in part:
            part["description"] = inspect.cleandoc(part["description"])
    return schema


def generate() -> dict[str, Any]:
    """Return the schema of :class:`~pytest_gpuguard.report.model.RunReport`."""
    from pytest_gpuguard.report.model import RunReport

    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "report.json of pytest-gpuguard, schema version 1",
    } | schema_of(RunReport)


def shipped() -> str:
    """Return the schema as it is shipped, as text."""
    return PATH.read_text(encoding="utf-8")


def written() -> str:
    """Return the generated schema as it is to be shipped."""
    return json.dumps(generate(), indent=1, sort_keys=True) + "\n"
