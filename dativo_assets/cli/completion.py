"""dativo completion: the shell's completion script."""

from __future__ import annotations

import click

EPILOG = """\b
Examples:
  eval "$(dativo completion bash)"             in ~/.bashrc
  eval "$(dativo completion zsh)"              in ~/.zshrc
  dativo completion fish > ~/.config/fish/completions/dativo.fish"""


@click.command(epilog=EPILOG)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON: {shell, script}.")
def command(shell: str, as_json: bool) -> int:
    """Print the shell's completion script."""
    from click.shell_completion import get_completion_class

    from .app import cli

    found = get_completion_class(shell)
    assert found is not None, "click knows the three"
    script = found(cli, {}, "dativo", "_DATIVO_COMPLETE").source()
    if as_json:
        from .output import print_json

        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
    return 0
