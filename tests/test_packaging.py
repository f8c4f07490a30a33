"""The wheel: what is in it, what it announces, and that a suite is watched by it as by the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import pytest_gpuguard

CHECKOUT = Path(__file__).parents[1]

LEAKY = """
import threading
import pytest
import pytest_gpuguard

class Watcher:
    def __init__(self):
        self.over = threading.Event()
        threading.Thread(target=self._loop, daemon=True).start()
    def _loop(self):
        self.over.wait()
    def close(self):
        self.over.set()

@pytest.fixture
def leaky():
    return Watcher()

def test_leaks(leaky):
    print("installed in", pytest_gpuguard.__file__)
"""


def _run(*command, cwd, **environment):
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return subprocess.run(
        command, cwd=cwd, env=kept | environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    done = _run(
        sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), cwd=CHECKOUT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def _read(wheel, name):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = [entry for entry in archive.namelist() if entry.endswith(f".dist-info/{name}")]
        return archive.read(path).decode()


def test_it_is_the_plugin_alone_and_whole(names):
    modules = {name for name in names if ".dist-info/" not in name}
    package = CHECKOUT / "pytest_gpuguard"
    expected = {str(path.relative_to(CHECKOUT)) for path in package.rglob("*.py")}
    assert {name for name in modules if name.endswith(".py")} == expected
    assert {name.partition("/")[0] for name in modules} == {"pytest_gpuguard"}
    assert not [name for name in modules if "__pycache__" in name]


def test_it_says_that_it_is_typed(names):
    assert "pytest_gpuguard/py.typed" in names


def test_it_announces_plugin_and_command(wheel):
    said = _read(wheel, "entry_points.txt")
    assert re.search(r"\[pytest11\]\ngpuguard = pytest_gpuguard\.plugin$", said, re.MULTILINE)
    assert re.search(r"\[console_scripts\]\ngpuguard = pytest_gpuguard\.cli\.app:main$", said, re.MULTILINE)


def test_it_asks_for_no_more_than_it_needs(wheel):
    said = Parser().parsestr(_read(wheel, "METADATA"))
    assert said["Version"] == pytest_gpuguard.__version__
    assert set(said.get_all("Provides-Extra")) == {
        "compile",
        "conformance",
        "cuda",
        "dask",
        "dev",
        "nvidia",
        "plugins",
        "progress",
        "test",
        "xdist",
    }
    always = {
        re.split(r"[><=;\[ ]", line)[0] for line in said.get_all("Requires-Dist") if "extra ==" not in line
    }
    assert always == {"pytest", "filelock", "psutil", "msgspec", "jinja2", "click"}
    assert "Framework :: Pytest" in said.get_all("Classifier")


@pytest.mark.parametrize("way", [["-p", "no:xdist"], ["-n", "2"]], ids=["plain", "n2"])
def test_a_suite_is_watched_by_the_installed_wheel(wheel, tmp_path, way):
    installed = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    done = _run(*pip, str(installed), str(wheel), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "test_it.py").write_text(LEAKY)
    command = [sys.executable, "-m", "pytest", "-rP", *way, "--gpuguard", "--gpuguard-leaks=error"]
    done = _run(*command, "--gpuguard-settle=0.2s", cwd=tmp_path / "suite", PYTHONPATH=str(installed))
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"installed in {installed}" in done.stdout
    assert "1 passed, 1 error" in done.stdout
    assert "fixture `leaky` returns a Watcher and nobody closes it" in re.sub(r"\s+", " ", done.stdout)
