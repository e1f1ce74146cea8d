"""``offloop profile``: where the time of a program goes, in words, figures and a flame graph."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from offloop.cli import exit_codes


@click.command(
    "profile",
    short_help="Show where a program's time goes: loop, queue, core.",
    context_settings={"help_option_names": ["-h", "--help"], "ignore_unknown_options": False},
)
@click.option("--pid", type=click.IntRange(min=1), help="Look at this process instead of running a command.")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Measure for so long: a command until its end, a process for 10 s.")  # fmt: skip
@click.option("--native", is_flag=True, help="Let py-spy show the frames of extension modules, too (slower).")
@click.option("--stall", "stall_ms", type=click.FloatRange(min=6), default=20.0, show_default=True, metavar="MS",
              help="From how long on a blocked loop is told.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("offloop-profile"),
              show_default=True, metavar="DIR", help="Where flame.svg, stacks.folded and profile.json go.")  # fmt: skip
@click.argument("command_line", metavar="[-- COMMAND ...]", nargs=-1, type=click.UNPROCESSED)
def command(
    pid: int | None, duration: float | None, native: bool, stall_ms: float, output: Path, command_line: tuple[str, ...]
) -> int:
    """Run COMMAND, or look at a process, and say where its time goes.

    Python's side is sampled by py-spy (pip install 'offloop[profile]'), the core by perf, both in one flame graph.
    Processes that import offloop also tell how long operations queue, run and are delivered, how busy the workers were,
    and which call blocked an event loop. What is missing or not permitted is named, the rest is done without.

    The report goes to standard error, also after Ctrl-C: of what was measured until then. The exit code is that of
    COMMAND; with --pid 0, or 130 after Ctrl-C.
    """
    from offloop.profiling import report, session
    from offloop.profiling.signals import Signals

    if bool(command_line) == (pid is not None):
        raise click.UsageError("give either a command, after --, or --pid")
    if pid is not None:
        _check_process(pid)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise exit_codes.Ended(exit_codes.OUTPUT_FAILED, f"cannot make {output}: {error.strerror}") from None
    title = f"process {pid}" if pid is not None else shlex.join(command_line)
    with Signals() as signals:
        if pid is None:
            measured = session.of_command(
                command_line, seconds=duration, native=native, stall_ms=stall_ms, signals=signals
            )
        else:
            try:
                measured = session.of_process(
                    pid, seconds=duration or 10.0, native=native, stall_ms=stall_ms, signals=signals
                )
            except session.NothingSeen as reasons:
                raise exit_codes.Ended(
                    exit_codes.INPUT_UNREADABLE, f"nothing can be seen of process {pid}: {reasons}"
                ) from None
        files = report.write(output, measured.profile, measured.stacks, measured.gaps, title)
        click.echo(f"\noffloop profile: {title}\n" + report.text(measured.profile, measured.gaps, files), err=True)
    return measured.exit_code


def _check_process(pid: int) -> None:
    from offloop.profiling import target

    try:
        target.check(pid)
    except ProcessLookupError as error:
        raise exit_codes.Ended(exit_codes.INPUT_UNREADABLE, str(error)) from None
