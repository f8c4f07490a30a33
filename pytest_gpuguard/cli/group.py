"""The group of verbs: what all of them share, and what becomes of an error in any of them."""

from __future__ import annotations

import errno
import os
import traceback
from typing import Any

import click

from pytest_gpuguard import __version__
from pytest_gpuguard.cli.exits import Exit
from pytest_gpuguard.errors import GuardError
from pytest_gpuguard.ledger.errors import LedgerBusy
from pytest_gpuguard.report.lines import printable

__all__ = ["Verbs", "wants_color"]

#: What the system says of a write, without a name.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class Verbs(click.Group):
    """A group whose verbs end with a status of :class:`Exit`, whatever happens in them.

    A verb raises what went wrong; here it becomes words on stderr and a status. An error that nobody
    foresaw is our own fault, and says so.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except GuardError as error:
            click.secho(str(error), fg="red", err=True)
            ctx.exit(Exit.BUSY if isinstance(error, LedgerBusy) else Exit.UNREADABLE)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the user gets a status and words
            if isinstance(error, OSError) and (error.filename or error.errno in _FULL):
                click.secho(_words(error), fg="red", err=True)
                ctx.exit(Exit.UNREADABLE)
            click.echo(traceback.format_exc(), err=True)
            click.secho(
                f"this is a fault of pytest-gpuguard {__version__} itself; "
                "a report of it with the lines above helps us to mend it",
                fg="red",
                err=True,
            )
            ctx.exit(Exit.BUG)


def _words(error: OSError) -> str:
    place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return printable(f"{place}{error.strerror}")


def wants_color(choice: str) -> bool | None:
    """Return whether to colour: yes, no, or None for "if it is a terminal".

    Parameters
    ----------
    choice
        ``"always"``, ``"never"``, or ``"auto"``: as ``NO_COLOR`` and ``FORCE_COLOR`` say, in this order.
    """
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return None
