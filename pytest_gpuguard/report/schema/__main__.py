"""Writes the schema beside its module."""

from __future__ import annotations

from pytest_gpuguard.report.schema import PATH, written

PATH.write_text(written(), encoding="utf-8")
