"""``offloop hash``: digests of files, written and checked in the formats of sha256sum."""

from __future__ import annotations

import sys

import click

from offloop.cli import exit_codes

_ONLY_WHEN_CHECKING = {"ignore_missing": "--ignore-missing", "strict": "--strict"}
_ONLY_WHEN_WRITING = {"tag": "--tag", "recursive": "--recursive"}


@click.command(
    "hash",
    short_help="Print or check the digests of files.",
    epilog="Output and checksum files are those of sha256sum, byte for byte; see also: offloop --help (exit codes).",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("paths", nargs=-1, type=click.UNPROCESSED, metavar="[PATH]...")
@click.option("-a", "--algorithm", default="sha256", show_default=True, help="A name that hashlib knows as well.")
@click.option("-c", "--check", is_flag=True, help="Read digests from the PATHs and check the files they name.")
@click.option("-b", "--binary", "mark", flag_value="binary", help="Mark names with an asterisk, nothing else.")
@click.option("-t", "--text", "mark", flag_value="text", help="Do not mark names with an asterisk (default).")
@click.option("--tag", is_flag=True, help="Write lines of the form SHA256 (NAME) = HASH.")
@click.option(
    "-z", "--zero", is_flag=True, help="End lines with NUL and escape nothing; with --check, read such lines."
)
@click.option("-r", "--recursive", is_flag=True, help="Hash the files below directories, in the order of their names.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line.")
@click.option("--ignore-missing", is_flag=True, help="With --check: say nothing about files that do not exist.")
@click.option("--quiet", "verbosity", flag_value="quiet", help="With --check: print no OK lines.")
@click.option("--status", "verbosity", flag_value="status", help="With --check: print nothing, the exit code tells.")
@click.option("--strict", is_flag=True, help="With --check: improperly formatted lines are a failure.")
@click.option("-w", "--warn", "verbosity", flag_value="warn", help="With --check: name improperly formatted lines.")
def command(
    paths: tuple[str, ...],
    algorithm: str,
    check: bool,
    zero: bool,
    as_json: bool,
    mark: str | None,
    verbosity: str | None,
    **flags: bool,
) -> int:
    """Print the digest of each PATH, in the order given, or check digests with --check.

    Without a PATH, or where PATH is -, standard input is read. A file that cannot be read is reported on standard error
    and makes the exit code 1; the others are hashed all the same.

    Of --quiet, --status and --warn the last one given counts, and of --binary and --text.
    """
    _refuse_what_does_not_fit(check, zero, as_json, mark, verbosity, flags)
    _refuse_unknown_algorithm(algorithm)
    if check:
        from offloop.cli.hash_check import CheckOptions, check_files

        return check_files(
            paths or ("-",),
            CheckOptions(
                algorithm=algorithm,
                zero=zero,
                as_json=as_json,
                ignore_missing=flags["ignore_missing"],
                quiet=verbosity == "quiet",
                status=verbosity == "status",
                strict=flags["strict"],
                warn=verbosity == "warn",
            ),
        )
    from offloop.cli.hash_print import PrintOptions, print_digests

    return print_digests(
        paths or ("-",),
        PrintOptions(
            algorithm=algorithm,
            tag=flags["tag"],
            zero=zero,
            binary=mark == "binary",
            recursive=flags["recursive"],
            as_json=as_json,
        ),
    )


def _refuse_what_does_not_fit(
    check: bool, zero: bool, as_json: bool, mark: str | None, verbosity: str | None, flags: dict[str, bool]
) -> None:
    if check:
        if mark:
            raise click.UsageError("the --binary and --text options are meaningless when verifying checksums")
        for name, option in _ONLY_WHEN_WRITING.items():
            if flags[name]:
                raise click.UsageError(f"the {option} option is meaningless when verifying checksums")
    else:
        given = [option for name, option in _ONLY_WHEN_CHECKING.items() if flags[name]]
        for option in [*given, *([f"--{verbosity}"] if verbosity else [])]:
            raise click.UsageError(f"the {option} option is meaningful only when verifying checksums")
    if as_json and not check:
        for clashes, option in ((flags["tag"], "--tag"), (zero, "--zero"), (mark == "binary", "--binary")):
            if clashes:
                raise click.UsageError(f"--json and {option} are two formats, expected one of them")


def _refuse_unknown_algorithm(algorithm: str) -> None:
    from offloop import hashing

    known = hashing.algorithms_available()
    if algorithm not in known:
        raise click.BadParameter(
            f"expected one of {', '.join(sorted(known))}, got {algorithm!r}", param_hint="'-a' / '--algorithm'"
        )


def report(message: str) -> None:
    """Print an error line as this program's; what was printed on standard output before comes first."""
    sys.stdout.flush()
    try:
        print(f"offloop hash: {message}", file=sys.stderr, flush=True)
    except OSError as error:
        raise exit_codes.Ended(exit_codes.OUTPUT_FAILED) from error
