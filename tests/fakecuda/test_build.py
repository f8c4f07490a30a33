"""Building the libraries: once, by many at a time, and not beside a real driver."""

from __future__ import annotations

import subprocess
import threading

import pytest

from tests.fakecuda import build as builder
from tests.fakecuda.build import SOURCES, WARNINGS, UnavailableError, build

LIBRARIES = ["libcuda.so.1", "libnvidia-ml.so.1"]


@pytest.fixture
def sources(fake_libraries, tmp_path, monkeypatch):
    """Sources that compile in no time; `fake_libraries` skips where none can be built."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in ("device.c", "nvml.c", *builder._SHARED):
        (folder / name).write_text(f"int from_{name.removesuffix('.c')};\n")
    (folder / "signs.inc").write_text('"/no/such/file"')
    monkeypatch.setattr(builder, "SOURCES", folder)
    return folder


def _contents(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_real_sources_make_both_libraries(fake_libraries):
    assert _contents(fake_libraries) == LIBRARIES


def test_many_may_build_at_once_and_all_get_the_same(sources, tmp_path):
    cache, found = tmp_path / "cache", []
    builders = [threading.Thread(target=lambda: found.append(build(cache))) for _ in range(8)]
    for thread in builders:
        thread.start()
    for thread in builders:
        thread.join(120)
    assert len(found) == 8
    assert len(set(found)) == 1
    assert _contents(found[0]) == LIBRARIES
    assert _contents(cache) == [found[0].name]


def test_the_same_sources_are_built_once_and_others_elsewhere(sources, tmp_path):
    first = build(tmp_path / "cache")
    stamp = (first / "libcuda.so.1").stat().st_mtime_ns
    assert build(tmp_path / "cache") == first
    assert (first / "libcuda.so.1").stat().st_mtime_ns == stamp
    (sources / "faults.c").write_text("int other;\n")
    assert build(tmp_path / "cache") != first


def test_sources_that_do_not_compile_are_an_error_not_a_skip(sources, tmp_path):
    (sources / "faults.c").write_text("int x = ;\n")
    with pytest.raises(RuntimeError, match=r"faults\.c:1") as failed:
        build(tmp_path / "cache")
    assert not isinstance(failed.value, UnavailableError)


def test_without_a_compiler_the_reason_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "real_driver", lambda: None)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(UnavailableError, match="'no-such-compiler' is not on PATH"):
        build(tmp_path)


def test_beside_a_real_driver_nothing_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "real_driver", lambda: "/dev/nvidiactl")
    with pytest.raises(UnavailableError, match="/dev/nvidiactl"):
        build(tmp_path)


def test_the_sources_compile_without_a_warning(fake_libraries):
    sources = sorted(path.name for path in SOURCES.glob("*.c"))
    command = ["cc", "-std=gnu11", "-fsyntax-only", *WARNINGS, *sources]
    done = subprocess.run(command, cwd=SOURCES, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_list_of_signs_is_read():
    text = (SOURCES / "signs.inc").read_text()
    assert text.count('"') == 2 * len(builder.signs())
    assert "/dev/nvidiactl" in builder.signs()
    assert all(sign.startswith("/") and not sign.endswith(":") for sign in builder.signs())
