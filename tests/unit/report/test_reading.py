"""Records read back: our own, older and newer ones, broken ones; and the schema that others read them by."""

from __future__ import annotations

import json
from dataclasses import dataclass

import jsonschema
import msgspec
import pytest

from pytest_gpuguard.report import schema
from pytest_gpuguard.report.gathered import Gathered, leaks_of
from pytest_gpuguard.report.model import SCHEMA_VERSION
from pytest_gpuguard.report.reading import UnreadableError, read_report
from pytest_gpuguard.report.subjects import OtherSubject, Subject
from tests.golden.record import RECORD, read


def _plain():
    return json.loads(RECORD.read_bytes())


def _leak(**changes):
    return _plain()["groups"][0]["leaks"][0] | changes


def test_the_shipped_schema_is_that_of_the_structures():
    """After a wanted change: ``python -m pytest_gpuguard.report.schema``."""
    assert schema.shipped() == schema.written()


def test_the_recorded_run_is_what_the_schema_says():
    jsonschema.Draft202012Validator.check_schema(schema.generate())
    jsonschema.validate(_plain(), schema.generate())
    jsonschema.validate(json.loads(msgspec.json.encode(read())), schema.generate())


def test_the_schema_refuses_what_the_model_refuses():
    wrong = _plain() | {"tests": [{"nodeid": 1}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema.generate())


#: One example of each kind, with every field that has no default.
SUBJECTS = {
    "thread": {"name": "w", "flavour": "native", "native_id": 7, "cpu": 0.97},
    "process": {"pid": 4, "name": "sh", "command": ["sh", "-c", "x"], "state": "zombie"},
    "pinned": {"allocator": "numba.cuda.pinned_array", "flavour": "mapped", "holders": ["Pool._free"]},
    "registered": {"allocator": "cuMemHostRegister"},
    "device": {"allocator": "cupy.cuda.alloc", "device": 0},
    "stream": {"allocator": "numba.cuda.stream", "device": 0},
    "event": {"allocator": "numba.cuda.event", "device": 1},
    "shm": {"name": "psm_1", "mapped": False},
    "fd": {"fd": 9, "flavour": "socket", "target": "127.0.0.1:80"},
    "memory": {"sources": {"rss": 1 << 20, "malloc": 1 << 20}, "confirmed": True},
    "other": {"of": "semaphore", "fields": {"count": 3}},
}


@pytest.mark.parametrize("kind", SUBJECTS)
def test_every_kind_of_subject_goes_there_and_back(kind):
    (leak,) = leaks_of([_leak(kind=kind, subject={"kind": kind} | SUBJECTS[kind])])
    again = msgspec.json.decode(msgspec.json.encode(leak.subject), type=Subject)
    assert again == leak.subject
    plain = msgspec.to_builtins(leak.subject)
    assert plain["kind"] == kind
    assert plain | SUBJECTS[kind] == plain


def test_no_kind_is_without_an_example():
    tags = {member.__struct_config__.tag for member in Subject.__args__}
    assert tags == set(SUBJECTS)


def test_a_kind_from_the_future_is_kept_and_shown_by_its_fields():
    plain = _plain()
    plain["groups"][0]["leaks"][0]["subject"] = {"kind": "quantum", "spin": "up"}
    report = read_report(json.dumps(plain).encode(), "it")
    assert report.groups[0].leaks[0].subject == OtherSubject("quantum", {"spin": "up"})
    (leak,) = Gathered().add({"leaks": [_leak(subject={"kind": "quantum", "spin": "up"})]})
    assert leak.subject == OtherSubject("quantum", {"spin": "up"})


def test_unknown_fields_are_ignored_and_missing_new_ones_have_their_defaults():
    plain = _plain() | {"from_the_future": 1}
    for name in ("waits", "notes", "devices", "limits", "levels", "faults", "gone", "unfinished"):
        plain.pop(name, None)
    report = read_report(json.dumps(plain).encode(), "it")
    assert (report.faults, report.levels, report.limits) == ([], [], {})


@dataclass
class _Broken:
    encoded: bytes
    said: str


@pytest.mark.parametrize(
    "broken",
    [
        _Broken(b"", "it is no JSON"),
        _Broken(b'{"schema_version": 1, "gro', "it is no JSON"),
        _Broken(b"[" * 100_000, "it is no JSON"),
        _Broken(b'{"schema_version": 1, "groups": "\xff"}', "it is no JSON"),
        _Broken(b"[1, 2]", "no record of a run"),
        _Broken(b"{}", "it has no schema_version"),
        _Broken(b'{"schema_version": 1}', "no record of a run"),
        _Broken(b'{"schema_version": 1, "groups": [{"leaks": [{"subject": 3}]}]}', "no record of a run"),
        _Broken(b'{"schema_version": 1, "groups": [], "tests": 3}', "no record of a run"),
    ],
    ids=lambda broken: broken.encoded.decode(errors="replace")[:40] or "empty",
)
def test_what_is_no_record_is_refused_in_one_sentence(broken):
    with pytest.raises(UnreadableError, match=broken.said) as caught:
        read_report(broken.encoded, "it")
    assert "\n" not in str(caught.value)


def test_a_newer_record_is_refused_with_what_to_do():
    with pytest.raises(UnreadableError, match="read it with the version that wrote it"):
        read_report(json.dumps(_plain() | {"schema_version": SCHEMA_VERSION + 1}).encode(), "it")
