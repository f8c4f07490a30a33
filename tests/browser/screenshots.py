"""Makes the pictures of the docs: ``python -m tests.browser.screenshots [FOLDER]``, ``make screenshots``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from pytest_gpuguard.report.html import page
from tests.browser.devtools import Browser, find_chromium
from tests.golden.record import read_situation

__all__ = ["PICTURES", "main"]

_DOCS = Path(__file__).parents[2] / "docs" / "images"
#: Width, height, whether dark, and what is scrolled to the top.
PICTURES = {
    "report-desktop": (1180, 1500, False, "body"),
    "report-timeline": (1180, 1150, False, "#timeline"),
    "report-dark": (1180, 1500, True, "body"),
    "report-phone": (390, 844, False, "body"),
    "report-phone-timeline": (390, 844, True, "#timeline"),
}


def main(folder: Path = _DOCS) -> None:
    """Write them to ``folder``."""
    chromium = find_chromium()
    if chromium is None:
        sys.exit("no chromium or google-chrome on PATH: the pictures were not made")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, Browser(chromium) as browser:
        path = Path(place) / "index.html"
        path.write_text(page(read_situation("everything")))
        for name, (width, height, dark, top) in PICTURES.items():
            browser.view(width, height, dark=dark)
            browser.open(path)
            browser.run(f"document.querySelector('{top}').scrollIntoView()")
            (folder / f"{name}.png").write_bytes(browser.screenshot())
            print(folder / f"{name}.png")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
