"""`gadgetops completion`: what a shell reads to complete command lines."""

import click
from click.shell_completion import get_completion_class

from gadgetops.commands.common.options import verb

_VARIABLE = "_GADGETOPS_COMPLETE"


@verb(
    "completion",
    example="""\
gadgetops completion bash > ~/.local/share/bash-completion/completions/gadgetops
gadgetops completion zsh > ~/.zfunc/_gadgetops
gadgetops completion fish > ~/.config/fish/completions/gadgetops.fish
""",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print a script that lets SHELL complete verbs, options, and names.

    Completed are the names of recordings, images of the store, running processes and containers.
    """
    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(complete(context.find_root().command, {}, "gadgetops", _VARIABLE).source())
