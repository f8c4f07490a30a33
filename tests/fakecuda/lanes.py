"""The lanes without a GPU, for any test: a script or a pytest run in a child, with the fake driver or none.

numba decides at import which driver it uses, so a lane is a process. See ``docs/concepts/lanes.md``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pytest_gpuguard.report.model import RunReport
from tests.fakecuda.build import UnavailableError, build, real_driver
from tests.fakecuda.control import Control, Fault, as_text
from tests.helpers.inner import QUICK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Child", "FakeLane", "Lane", "LaneResult", "LaneTimeoutError", "fake_environment"]

ROOT = Path(__file__).parents[2]
_OURS = ("FAKECUDA_", "FAKENVML_", "PYTEST_", "NUMBA_", "CUDA_", "GPUGUARD")


class LaneTimeoutError(AssertionError):
    """The child did not end in time and was killed."""


@dataclass(frozen=True)
class LaneResult:
    """How a child ended.

    Parameters
    ----------
    returncode
        Exit status; negative for the signal that ended it.
    stdout, stderr
        What it wrote.
    seconds
        How long it took.
    """

    returncode: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def outcomes(self) -> dict[str, int]:
        """Counts from the last line of a pytest run: ``{"passed": 3}``."""
        try:
            return pytest.RunResult.parse_summary_nouns(self.stdout.splitlines())
        except ValueError:
            return {}

    def check(self) -> LaneResult:
        """Return itself, or fail with everything the child wrote when it did not end well."""
        assert self.returncode == 0, (
            f"exit {self.returncode} after {self.seconds:.1f} s\n{self.stdout}\n{self.stderr}"
        )
        return self


class Child:
    """A process in a lane, running."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], cwd: Path, folder: Path
    ) -> None:
        number = len(list(folder.glob("*.out")))
        self._out, self._err = folder / f"{number}.out", folder / f"{number}.err"
        self._command, self._folder = command, folder
        self._started = time.monotonic()
        # Files, not pipes: a grandchild that outlives the child cannot keep the reader waiting.
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def control(self, timeout: float = 30.0, kind: str = "cuda") -> Control:
        """Return the control of its fake driver (``kind="nvml"``: fake NVML), once it has loaded it."""
        path, end = self._folder / f"{self.pid}.{kind}", time.monotonic() + timeout
        while True:
            # The page may be there before its version is: then it is not finished.
            with contextlib.suppress(FileNotFoundError, ValueError, RuntimeError):
                return Control.open(path)
            assert self.alive(), f"the child ended without a fake driver: {self.wait()}"
            assert time.monotonic() < end, f"no fake driver in the child within {timeout:g} s"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it and all that it has started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def wait(self, timeout: float = 60.0) -> LaneResult:
        """Return how it ended.

        Raises
        ------
        LaneTimeoutError
            It ran longer than ``timeout`` seconds; it is killed then.
        """
        try:
            self._process.wait(max(0.0, timeout))
        except subprocess.TimeoutExpired:
            self.kill()
            raise LaneTimeoutError(
                f"{' '.join(self._command)} did not end within {timeout:g} s and was killed; it wrote\n"
                f"{self._out.read_text(errors='replace')}\n{self._err.read_text(errors='replace')}"
            ) from None
        return LaneResult(
            self._process.returncode,
            self._out.read_text(errors="replace"),
            self._err.read_text(errors="replace"),
            time.monotonic() - self._started,
        )


class Lane:
    """Starts children that find no CUDA driver.

    Parameters
    ----------
    folder
        A test's own folder, for scripts, output and pages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[Child] = []

    def environment(self, **settings: float) -> dict[str, str]:
        """Return the environment of a child."""
        assert not settings, "without a driver there is nothing to set"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        path = os.pathsep.join(filter(None, [str(ROOT), clean.get("PYTHONPATH")]))
        return {**clean, "NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1"}

    def start(self, *command: str, env: Mapping[str, str] | None = None, **settings: Any) -> Child:
        """Start a command, whose first word may be ``python``. The test's end kills it if it still runs."""
        words = [sys.executable, *command[1:]] if command[0] == "python" else list(command)
        child = Child(words, {**self.environment(**settings), **(env or {})}, ROOT, self.folder)
        self._children.append(child)
        return child

    def start_script(self, source: str, *, env: Mapping[str, str] | None = None, **settings: Any) -> Child:
        """Start Python source text."""
        path = self.folder / f"script{len(self._children)}.py"
        path.write_text(textwrap.dedent(source))
        return self.start("python", str(path), env=env, **settings)

    def script(
        self, source: str, *, timeout: float = 60.0, env: Mapping[str, str] | None = None, **settings: Any
    ) -> LaneResult:
        """Run Python source text to its end."""
        return self.start_script(source, env=env, **settings).wait(timeout)

    def pytest(
        self, *args: str, timeout: float = 120.0, env: Mapping[str, str] | None = None, **settings: Any
    ) -> LaneResult:
        """Run pytest with these arguments, which name files or folders of this repository or any others."""
        cache = str(self.folder / "cache")
        command = ["python", "-m", "pytest", *QUICK, "-o", f"cache_dir={cache}", *args]
        return self.start(*command, env=env, **settings).wait(timeout)

    def close(self) -> None:
        """Kill what still runs."""
        for child in self._children:
            if child.alive():
                child.kill()


class FakeLane(Lane):
    """Starts children that find the fake driver and the fake NVML.

    All methods that start a child take, beside its arguments: ``faults`` and ``nvml_faults`` (of `Fault`),
    ``devices``, ``modes`` and ``mig`` (one number for each device) and any setting of `Control.set`.

    Parameters
    ----------
    folder
        As of any lane.
    libraries
        Where the fake driver and the fake NVML are.
    kernels
        Where compiled kernels of the solver are kept, see ``kept.py``.
    """

    def __init__(self, folder: Path, libraries: Path, kernels: Path) -> None:
        super().__init__(folder)
        self.libraries, self.kernels = libraries, kernels

    def environment(  # type: ignore[override]
        self,
        faults: Sequence[Fault] = (),
        nvml_faults: Sequence[Fault] = (),
        devices: int = 1,
        modes: Sequence[int] = (),
        mig: Sequence[int] = (),
        **settings: float,
    ) -> dict[str, str]:
        """Return the environment of a child."""
        return {
            **super().environment(),
            **fake_environment(self.libraries, self.folder),
            "FAKECUDA_KERNELS": str(self.kernels),
            "FAKECUDA_SETTINGS": as_text(settings),
            "FAKENVML_SETTINGS": as_text(
                {k: v for k, v in settings.items() if k in {"device_bytes", "hang_limit"}}
            ),
            "FAKECUDA_FAULTS": " ".join(map(str, faults)),
            "FAKENVML_FAULTS": " ".join(map(str, nvml_faults)),
            "FAKECUDA_DEVICES": str(devices),
            "FAKECUDA_MODES": ",".join(map(str, modes)),
            "FAKECUDA_MIG": ",".join(map(str, mig)),
        }

    def controls(self) -> list[Control]:
        """Return the controls of all processes that loaded the fake driver in this lane, dead ones too."""
        return [Control.open(path) for path in sorted(self.folder.glob("*.cuda"))]


def fake_environment(libraries: Path, folder: Path) -> dict[str, str]:
    """Return the variables that put the fake driver in force for a process and its children."""
    path = os.pathsep.join(filter(None, [str(libraries), os.environ.get("LD_LIBRARY_PATH")]))
    return {
        "LD_LIBRARY_PATH": path,
        "FAKECUDA_DIR": str(folder),
        "NUMBA_ENABLE_CUDASIM": "0",
        # Grids are small here on purpose.
        "NUMBA_CUDA_LOW_OCCUPANCY_WARNINGS": "0",
    }


@pytest.fixture(scope="session")
def fake_libraries(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the fake driver and the fake NVML; skips with the reason when they cannot be built."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("fakecuda") if cache else tmp_path_factory.getbasetemp() / "fakecuda"
    try:
        return build(folder)
    except UnavailableError as error:
        pytest.skip(f"no fake driver: {error}")


@pytest.fixture(scope="session")
def kept_kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for compiled kernels, one for all workers of this run and for no other run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "kernels"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def fake_lane(fake_libraries: Path, kept_kernels: Path, tmp_path: Path) -> Iterator[FakeLane]:
    """Children with the fake driver; what still runs at the test's end is killed."""
    lane = FakeLane(tmp_path, fake_libraries, kept_kernels)
    yield lane
    lane.close()


@pytest.fixture
def none_lane(tmp_path: Path) -> Iterator[Lane]:
    """Children without any driver."""
    sign = real_driver()
    if sign:
        pytest.skip(f"no lane without a driver: a real one is here ({sign})")
    lane = Lane(tmp_path)
    yield lane
    lane.close()


@pytest.fixture
def guarded(fake_lane: FakeLane, tmp_path: Path) -> Any:
    """Run the tests of a source text in the lane under the guard; return how it ended and its record."""
    folder = tmp_path / "suite"
    folder.mkdir()

    def run(source: str, *args: str, **settings: Any) -> tuple[LaneResult, RunReport]:
        (folder / "test_it.py").write_text(textwrap.dedent(source))
        options = (
            "--gpuguard",
            "--gpuguard-settle=0.3s",
            f"--gpuguard-budget-dir={tmp_path}",
            f"--gpuguard-report={tmp_path / 'report'}",
        )
        env = {"TOGETHER": str(tmp_path / "together")}
        result = fake_lane.pytest(str(folder), "--rootdir", str(folder), *options, *args, env=env, **settings)
        path = tmp_path / "report" / "report.json"
        assert path.exists(), f"no record\n{result.stdout}\n{result.stderr}"
        return result, msgspec.json.decode(path.read_bytes(), type=RunReport)

    run.folder = tmp_path  # type: ignore[attr-defined]
    return run
