"""``gpuguard completion``: what makes a shell complete our verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

# The character keeps click from filling the lines that follow it.
_HELP = """Print the completion script for a shell.

\b
bash: eval "$(gpuguard completion bash)"
zsh:  eval "$(gpuguard completion zsh)"
fish: gpuguard completion fish | source
"""


@click.command(help=_HELP)
@click.argument("shell", type=click.Choice(["bash", "fish", "zsh"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell."""
    found = get_completion_class(shell)
    assert found is not None
    command = ctx.find_root().command
    click.echo(found(command, {}, "gpuguard", "_GPUGUARD_COMPLETE").source(), nl=False)
