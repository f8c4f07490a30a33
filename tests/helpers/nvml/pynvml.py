"""Stands for nvidia-ml-py in inner runs.

The file ``DEVICES`` holds ``[[uuid, name, total, free], ...]``, after which the capability may follow, and
then the compute mode.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace


class NVMLError(Exception):
    """As the library's."""


def _devices():
    return json.loads(Path(os.environ["DEVICES"]).read_text())


def nvmlInit():  # noqa: N802 - the library's names, here and below
    if "DEVICES" not in os.environ:
        raise NVMLError("Driver Not Loaded")


def nvmlShutdown():  # noqa: N802
    pass


def nvmlDeviceGetCount():  # noqa: N802
    return len(_devices())


def nvmlDeviceGetHandleByIndex(number):  # noqa: N802
    return number


def nvmlDeviceGetHandleByUUID(uuid):  # noqa: N802
    return [device[0] for device in _devices()].index(uuid)


def nvmlDeviceGetUUID(handle):  # noqa: N802
    return _devices()[handle][0].encode()


def nvmlDeviceGetName(handle):  # noqa: N802
    return _devices()[handle][1]


def nvmlDeviceGetMemoryInfo(handle):  # noqa: N802
    return SimpleNamespace(total=_devices()[handle][2], free=_devices()[handle][3])


def nvmlDeviceGetMigMode(handle):  # noqa: N802
    raise NVMLError("Not Supported")


def nvmlDeviceGetCudaComputeCapability(handle):  # noqa: N802
    return [*_devices()[handle], (9, 0)][4]


def nvmlDeviceGetComputeMode(handle):  # noqa: N802
    return ([*_devices()[handle], (9, 0)][:5] + _devices()[handle][5:] + [0])[5]
