"""What lies in the folder of a run.

It has the name ``YYYYMMDD-HHMMSS-ffffff-xxxxxx`` (UTC), so that by name is by age.
"""

from __future__ import annotations

__all__ = ["ALIVE", "CONTROLLER", "HEAD", "JOURNALS", "PLACE", "REPORT", "SHEET", "VITAL"]

#: Folder of all runs, below that of pytest's cache.
PLACE = "d/gpuguard"
#: Locked as long as the run lives.
ALIVE = "alive"
#: The record, there once the run is over.
REPORT = "report.json"
#: Folder of what a process leaves however it ends: its page, its stacks, and why we ended it.
VITAL = "vital"
#: What is known of the run when it begins, and the folder of what its processes wrote since.
HEAD, JOURNALS = "run.json", "journal"
#: Ends the name of the sheet with the times of tests, which lies beside the journal of its process.
SHEET = ".times"
#: Journal of the process that sums up; it is the last word on what became of the others.
CONTROLLER = "controller.jsonl"
