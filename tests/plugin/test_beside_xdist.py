"""What xdist is told on the command line, and what becomes of it: who runs the tests, and who sums up."""

from __future__ import annotations

import pytest

LEAKS = """
    import threading

    def wait_for_ever():
        threading.Event().wait()

    def test_leaks():
        threading.Thread(target=wait_for_ever, daemon=True).start()
"""


@pytest.mark.parametrize("collect", ["", "--collect-only"])
def test_a_way_to_distribute_does_not_make_workers(run_plain, collect):
    # As in the addopts of a suite that is now and then run without -n.
    run_plain.way = ["--dist", "loadfile"]
    inner = run_plain.watched(*collect.split(), test_it=LEAKS)
    assert inner.ret == 0, inner.out + inner.err
    if not collect:
        assert inner.leaking == {"test_leaks"}
        assert [worker.id for worker in inner.report.workers] == ["main"]
