"""``offloop image``: the group of the commands about pictures."""

from __future__ import annotations

import click

from offloop.cli.exit_codes import SOME_FAILED, Ended
from offloop.cli.group import LazyGroup

COMMANDS = {"resize": "offloop.cli.image_resize", "info": "offloop.cli.image_info"}


@click.group(
    "image",
    cls=LazyGroup,
    modules=COMMANDS,
    short_help="Resize pictures, or say what they are.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
def command() -> None:
    """Resize pictures, or say what they are: files, folders and URLs, many at a time."""


def require_images() -> None:
    """End the program with the words that say what to install, where the image module cannot be loaded."""
    from offloop.errors import UnsupportedFormatError

    try:
        import offloop.image  # noqa: F401
    except UnsupportedFormatError as error:
        raise Ended(SOME_FAILED, str(error)) from error
