"""Forked children that a test tells what to do and that can be killed or stopped at any step."""

from __future__ import annotations

import os
import select
import signal
import sys
import traceback


class Child:
    """A process that runs ``body(say, hear)``; ``say`` writes a line to the test, ``hear`` waits for one.

    Parameters
    ----------
    body
        What it does; the process ends when it returns.
    """

    def __init__(self, body):
        down_read, self._down = os.pipe()
        self._up, up_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._down)
            os.close(self._up)
            _run(body, up_write, down_read)
        os.close(down_read)
        os.close(up_write)
        self._text = b""
        self._gone = False

    def hear(self, timeout=120.0):
        """Return the next line it says; ``""`` when it is gone, with all that it held.

        The end of its pipe is not yet its death: the kernel closes a dead process's files one after another,
        and those with its locks may come after the pipe.
        """
        while b"\n" not in self._text:
            heard = select.select([self._up], [], [], timeout)[0]
            assert heard, f"child {self.pid} said nothing in {timeout} s"
            data = os.read(self._up, 4096)
            if not data:
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
                return ""
            self._text += data
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()

    def has_said(self):
        """Return whether :meth:`hear` would return at once."""
        return b"\n" in self._text or bool(select.select([self._up], [], [], 0)[0])

    def say(self, line=""):
        """Tell it something."""
        os.write(self._down, line.encode() + b"\n")

    def kill(self):
        """End it at once."""
        if not self._gone:
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def stop(self):
        """Freeze it, and wait until it is frozen."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def go_on(self):
        """Let it run again."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self):
        """Wait for its end and return its status."""
        if self._gone:
            return 0
        self._gone = True
        status = os.waitpid(self.pid, 0)[1]
        os.close(self._up)
        os.close(self._down)
        return status


def _run(body, up, down):
    text = b""

    def say(line=""):
        os.write(up, line.encode() + b"\n")

    def hear():
        nonlocal text
        while b"\n" not in text:
            data = os.read(down, 4096)
            if not data:
                os._exit(0)  # the test is gone
            text += data
        line, _, text = text.partition(b"\n")
        return line.decode()

    try:
        body(say, hear)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(3)
    os._exit(0)


def die(_step):
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def freeze(_step):
    """Stop this process until somebody lets it go on."""
    os.kill(os.getpid(), signal.SIGSTOP)


def at(step, action, times=1):
    """Return a seam that calls ``action`` when ``step`` was made for the ``times``-th time."""
    left = times

    def seam(made):
        nonlocal left
        if made == step:
            left -= 1
            if left == 0:
                action(made)

    return seam
