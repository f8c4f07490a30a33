"""The devices of this host, asked of NVML: once CUDA itself is asked, no forked child can use it."""

from __future__ import annotations

import contextlib
import os
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_gpuguard.devices.bounded import within
from pytest_gpuguard.devices.visible import choices, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Device", "Discovery", "asked", "discover", "discovered", "free_bytes", "shareable"]

_PATIENCE = 5.0
_MODES = {0: "DEFAULT", 2: "PROHIBITED", 3: "EXCLUSIVE_PROCESS"}


class Device(NamedTuple):
    """One device: uuid, model, bytes of memory in all, compute capability (None where it cannot be told).

    ``mode`` is its compute mode, ``parent`` the uuid of the device of which it is a MIG part.
    """

    uuid: str
    name: str
    total: int
    capability: tuple[int, int] | None = None
    mode: str = "DEFAULT"
    parent: str | None = None


class Discovery(NamedTuple):
    """The devices that a process sees, in CUDA's order; ``evidence`` says why none, or what is in doubt."""

    devices: tuple[Device, ...] = ()
    evidence: str = ""


def discover(environ: Mapping[str, str] = os.environ, patience: float = _PATIENCE) -> Discovery:
    """Return the devices that this process sees.

    Parameters
    ----------
    environ
        Where ``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` are read.
    patience
        Longest time for the driver's answer, in seconds.
    """
    return _found(environ, patience, _seen)


def shareable(environ: Mapping[str, str] = os.environ, patience: float = _PATIENCE) -> Discovery:
    """Return the devices that this process can share out: as :func:`discover`, but with every MIG part.

    Where models are mixed and indexes may be meant in CUDA's order, which NVML does not know, CUDA is asked.
    """
    found = _found(environ, patience, _shared)
    if not (found.devices and found.evidence):
        return found
    told = _ask_cuda(patience)
    return told if told.devices else found


def _found(
    environ: Mapping[str, str],
    patience: float,
    choose: Callable[[str | None, list[Device], list[Device]], list[str]],
) -> Discovery:
    try:
        import pynvml
    except ImportError:
        return _ask_cuda(patience)
    try:
        devices, parts = within(patience, lambda: _ask(pynvml))
    except (pynvml.NVMLError, TimeoutError) as error:
        return Discovery(evidence=f"NVML: {error}")
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    by_uuid = {device.uuid: device for device in (*devices, *parts)}
    found = tuple(by_uuid[uuid] for uuid in choose(setting, devices, parts))
    if not found:
        return Discovery(
            evidence=f"NVML sees {len(devices)} devices, CUDA_VISIBLE_DEVICES={setting!r} shows none"
        )
    mixed = len({device.name for device in devices}) > 1
    if mixed and environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        return Discovery(
            found, "devices of several models: set CUDA_DEVICE_ORDER=PCI_BUS_ID, so that indexes agree"
        )
    return Discovery(found)


def _seen(setting: str | None, devices: list[Device], parts: list[Device]) -> list[str]:
    return visible(setting, [device.uuid for device in devices], [part.uuid for part in parts])


def _shared(setting: str | None, devices: list[Device], parts: list[Device]) -> list[str]:
    of = {device.uuid: [part.uuid for part in parts if part.parent == device.uuid] for device in devices}
    return choices(setting, [device.uuid for device in devices], of)


@cache
def discovered() -> Discovery:
    """Return the devices that this process sees, asked for once."""
    return discover()


def _ask_cuda(patience: float) -> Discovery:
    from pytest_gpuguard.devices.census import CensusError, census

    try:
        return Discovery(tuple(Device(*described) for described in census(patience)))
    except CensusError as error:
        return Discovery(evidence=f"{error} (for NVML to be asked, install nvidia-ml-py)")


def free_bytes(uuid: str, patience: float = _PATIENCE) -> int | None:
    """Return the free memory of a device, whoever uses the rest; None when nobody can say."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        return within(patience, lambda: _free(pynvml, uuid))
    except (pynvml.NVMLError, TimeoutError):
        return None


@contextlib.contextmanager
def asked(nvml: Any) -> Iterator[None]:
    """Have NVML answer for the length of a block."""
    nvml.nvmlInit()
    try:
        yield
    finally:
        nvml.nvmlShutdown()


def _free(nvml: Any, uuid: str) -> int:
    with asked(nvml):
        return int(nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByUUID(uuid)).free)


def _ask(nvml: Any) -> tuple[list[Device], list[Device]]:
    with asked(nvml):
        handles = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
        devices = [_device(nvml, handle) for handle in handles]
        parts = [
            _device(nvml, part)._replace(parent=device.uuid)
            for device, handle in zip(devices, handles, strict=True)
            for part in _parts(nvml, handle)
        ]
        return devices, parts


def _parts(nvml: Any, handle: Any) -> Iterator[Any]:
    with contextlib.suppress(nvml.NVMLError):  # not supported: not partitioned
        if not nvml.nvmlDeviceGetMigMode(handle)[0]:
            return
        for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            with contextlib.suppress(nvml.NVMLError):  # that place is empty
                yield nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)


def _device(nvml: Any, handle: Any) -> Device:
    found = Device(
        _text(nvml.nvmlDeviceGetUUID(handle)),
        _text(nvml.nvmlDeviceGetName(handle)),
        int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
    )
    with contextlib.suppress(nvml.NVMLError):  # not supported, such as of a part
        major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
        found = found._replace(capability=(int(major), int(minor)))
    with contextlib.suppress(nvml.NVMLError):
        found = found._replace(mode=_MODES.get(int(nvml.nvmlDeviceGetComputeMode(handle)), "DEFAULT"))
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
