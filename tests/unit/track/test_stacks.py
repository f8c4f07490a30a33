"""Stacks are cheap, keep nothing alive, and show files without saying whose machine it is."""

from __future__ import annotations

import gc
import sys
import sysconfig
import weakref
from pathlib import Path

import pytest

from pytest_gpuguard.track import stacks
from pytest_gpuguard.track.stacks import Frame, Places, capture, cut


class Held:
    """Something that a frame's local would keep alive."""


def _here(depth=24):
    held = Held()
    return capture(sys._getframe(), depth), weakref.ref(held)


def test_a_stack_keeps_no_local_alive():
    stack, held = _here()
    gc.collect()
    assert held() is None
    assert stack[0][0] is _here.__code__


def test_a_stack_is_cut_at_its_depth():
    stack, _ = _here(3)
    assert len(stack) == 3


def test_lines_are_those_of_the_call():
    def inner():
        return capture(sys._getframe())

    stack = inner()
    line = inner.__code__.co_firstlineno + 3
    frames = Places(Path(__file__).parent).read(stack, test=sys._getframe().f_code)
    assert (frames[-2].file, frames[-2].line, frames[-2].role) == ("test_stacks.py", line, "test")
    assert frames[-1].function.endswith("<locals>.inner")


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        ("/proj/pkg/a.py", ("pkg/a.py", "app")),
        ("/proj/pytest_gpuguard/a.py", ("pytest_gpuguard/a.py", "harness")),
        ("/proj", (".", "app")),
        ("/home/me/other/deep/a.py", ("<elsewhere>/a.py", "library")),
        ("/elsewhere/xdist/remote.py", ("<elsewhere>/remote.py", "harness")),
        ("/opt/lib/python3/site-packages/_pytest/unittest.py", ("<site>/_pytest/unittest.py", "harness")),
        ("/usr/lib/python3/dist-packages/a/b.py", ("<site>/a/b.py", "library")),
        (sysconfig.get_path("stdlib") + "/site-packages/pluggy/_a.py", ("<site>/pluggy/_a.py", "harness")),
        ("/proj/.other/lib/site-packages/a.py", ("<site>/a.py", "library")),
        ("<string>", ("<elsewhere>/<string>", "library")),
        ("<frozen runpy>", ("<elsewhere>/<frozen runpy>", "library")),
    ],
)
def test_files_are_shown_relative(filename, shown):
    assert Places(Path("/proj")).shown(filename) == shown


def test_a_suite_that_is_installed_is_no_library_of_its_own():
    places = Places(Path("/opt/site-packages/suite"))
    assert places.shown("/opt/site-packages/suite/test_it.py") == ("test_it.py", "app")


@pytest.mark.parametrize(
    ("module", "shown", "role"),
    [
        ("threading", "<stdlib>/threading.py", "library"),
        ("_pytest.python", "<site>/_pytest/python.py", "harness"),
        ("msgspec.json", "<site>/msgspec/json.py", "library"),
    ],
)
def test_libraries_are_shown_by_where_they_are_installed(module, shown, role):
    __import__(module)
    assert Places(Path("/proj")).shown(sys.modules[module].__file__) == (shown, role)


def test_an_installation_behind_a_link_is_still_the_installation(tmp_path, monkeypatch):
    (tmp_path / "real/site").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    paths = dict.fromkeys(("purelib", "platlib", "stdlib", "platstdlib"), str(tmp_path / "link/site"))
    monkeypatch.setattr(sysconfig, "get_path", paths.__getitem__)
    monkeypatch.setattr(stacks, "_bases", stacks._bases.__wrapped__)
    places = Places(tmp_path)
    for spelling in ("link", "real"):
        assert places.shown(str(tmp_path / spelling / "site/lib.py")) == ("<site>/lib.py", "library")


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("--basetemp=/tmp/me/x", "--basetemp=<elsewhere>/x"),
        ("/proj/tests/test_a.py::test_b[/c]", "tests/test_a.py::test_b[/c]"),
        ("tests/test_a.py", "tests/test_a.py"),
        ("no file '/home/me/a b' nor \"/proj/x\"", "no file '<elsewhere>/a b' nor \"x\""),
        ("see https://host/path and 1/2", "see https://host/path and 1/2"),
        ("/proj", "."),
    ],
)
def test_absolute_paths_are_scrubbed_from_texts(text, scrubbed):
    assert Places(Path("/proj")).scrub(text) == scrubbed


def _frames(*roles):
    return [Frame(f"{number}.py", number, role, role) for number, role in enumerate(roles)]


@pytest.mark.parametrize(
    ("roles", "kept"),
    [
        (("harness", "test", "app", "library"), ["test", "app", "library"]),
        (("test", "harness", "fixture", "harness", "app"), ["fixture", "app"]),
        (("library", "harness", "app"), ["library", "app"]),
        (("harness", "harness"), ["harness", "harness"]),
        ((), []),
    ],
)
def test_frames_are_cut_to_the_owner_and_what_it_called(roles, kept):
    assert [frame.role for frame in cut(_frames(*roles))] == kept


def test_where_all_is_pytest_s_it_is_cut_to_the_owner_as_well():
    frames = [Frame("<site>/_pytest/python.py", 1, role, role) for role in ("harness", "fixture", "harness")]
    assert cut(frames) == frames[1:]
