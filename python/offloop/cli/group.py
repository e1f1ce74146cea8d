"""The command group: finds the command's module when it is asked for, and turns every end into an exit code."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from offloop.cli import exit_codes

# Every command is `command` in its module. The suite stands beside the command line: it is known by its name only.
COMMANDS = {
    "hash": "offloop.cli.hash",
    "fetch": "offloop.cli.fetch",
    "image": "offloop.cli.image",
    "doctor": "offloop.cli.doctor",
    "bench": "offloop.bench.command",
    "profile": "offloop.cli.profile",
}

EXIT_CODES = """\b
Exit codes of every command:
  0    everything went well
  1    some failed, or a digest did not match
  2    the command line is wrong
  3    the input (a list, a checksum file) cannot be read
  4    the output cannot be written
  5    fewer than --min-success succeeded
  130  interrupted, after what was done so far was written
"""


class LazyGroup(click.Group):
    """A group that imports a command's module only when that command is used: `modules` says by name where it is."""

    def __init__(self, *args: Any, modules: dict[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self._modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in self._modules:
            return None
        module = importlib.import_module(self._modules[cmd_name])
        command: click.Command = module.command
        return command


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        print(f"offloop {version()}")
        ctx.exit()


def version() -> str:
    """Return the version of the installed offloop."""
    import offloop

    found = getattr(offloop, "__version__", None)
    if found is None:
        from importlib import metadata

        found = metadata.version("offloop")
    return str(found)


@click.group(
    cls=LazyGroup,
    modules=COMMANDS,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
def group() -> None:
    """Hash files, fetch URLs and resize pictures with native threads, many at a time."""


def run(arguments: Sequence[str] | None) -> int:
    """Run a command line to its end; never raises, and answers SIGINT with exit code 130."""
    program = "offloop"
    _stand_in_for_closed_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = f"{program} {given[0]}" if given and given[0] in COMMANDS else program
    try:
        # Not `group.main`, which has exit codes of its own for an interrupt and a closed pipe.
        with group.make_context(program, given) as context:
            result: Any = group.invoke(context)
        sys.stdout.flush()
        return result if isinstance(result, int) else exit_codes.ALL_OK
    except click.exceptions.Exit as ended:
        return _end(ended.exit_code)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except exit_codes.Ended as early:
        _say(f"{command}: {early}" if str(early) else "")
        return _end(early.exit_code)
    except (KeyboardInterrupt, click.Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is flushing and the exit
        _say(f"{command}: interrupted")
        return _end(exit_codes.INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        return exit_codes.OUTPUT_FAILED  # whoever read our output has gone; there is nobody to tell
    except OSError as error:
        # Commands turn the errors of their inputs into words themselves: what comes here is the output's.
        _drop_output()
        _say(f"{command}: cannot write the output: {error.strerror or error}")
        return exit_codes.OUTPUT_FAILED


def _stand_in_for_closed_streams() -> None:
    """Occupy descriptors 0 to 2 where the caller closed them (``>&-``), or the next file opened gets the number.

    Reading and writing then fail as they do on a closed descriptor; what is said on standard error goes nowhere.
    """
    for fd, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, flags)  # gets the lowest free number, which is this one
    # None is what Python puts there for a closed one.
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  # lives as long as the process
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _say(line: str) -> None:
    if line:
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)


def _end(exit_code: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
        return exit_codes.OUTPUT_FAILED
    return exit_code


def _drop_output() -> None:
    """Send what is still buffered for standard output nowhere, so that the interpreter's own flush cannot fail."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
