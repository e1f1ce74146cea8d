"""``offloop image resize``: pictures from files, folders and URLs, made to fit and written to a folder."""

from __future__ import annotations

from typing import Any

import click

from offloop.cli.image import require_images
from offloop.cli.image_options import BoxSize, Color
from offloop.cli.parameter_types import ByteSize, Seconds

_TIMEOUT_SECONDS = 60.0
_FITS = ("cover", "contain", "inside", "outside", "fill")
_KERNELS = ("nearest", "area", "linear", "cubic", "mitchell", "lanczos2", "lanczos3")
_POSITIONS = ("centre", "top", "right top", "right", "right bottom", "bottom", "left bottom", "left", "left top")
_FORMATS = ("jpeg", "jpg", "png", "webp", "gif", "tiff", "tif", "avif")
_COUNT = click.IntRange(min=1)


@click.command(
    "resize",
    short_help="Make pictures fit and write them to a folder.",
    epilog="Exit codes: offloop --help.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("sources", nargs=-1, type=click.UNPROCESSED, metavar="[PATH | URL]...")
@click.option("--out", "folder", required=True, metavar="DIR", help="Where results go; made when it is not there.")
@click.option("--from", "from_path", metavar="FILE", help="Read paths and URLs from FILE, one a line; - is stdin.")
@click.option("--size", type=BoxSize(), help="Fit into a box, keeping the ratio: 256 or 640x480.")
@click.option("--width", type=_COUNT, help="Pixels; without --height the ratio is kept.")
@click.option("--height", type=_COUNT, help="Pixels; without --width the ratio is kept.")
@click.option("--fit", type=click.Choice(_FITS), help="Default: inside with --size, else cover.")
@click.option("--position", type=click.Choice(_POSITIONS), help="What stays with cover, where it goes with contain.")
@click.option("--kernel", type=click.Choice(_KERNELS), help="Default: lanczos3.")
@click.option("--without-enlargement", is_flag=True, default=None, help="Leave smaller pictures as they are.")
@click.option("--format", "format", type=click.Choice(_FORMATS), help="Of the results; default: as the input.")
@click.option("--quality", type=click.IntRange(1, 100), help="Of JPEG and lossy WebP; default: 80.")
@click.option("--subsampling", type=click.Choice(["4:2:0", "4:4:4"]), help="Of JPEG's chroma.")
@click.option("--progressive", is_flag=True, default=None, help="Progressive JPEG, interlaced PNG.")
@click.option("--optimize", is_flag=True, default=None, help="JPEG: 2 to 5 % smaller for a second pass.")
@click.option("--compression", type=click.IntRange(0, 9), help="PNG: zlib's level.")
@click.option("--effort", type=click.IntRange(0, 6), help="WebP.")
@click.option("--lossless", is_flag=True, default=None, help="WebP.")
@click.option("--auto-orient/--no-auto-orient", default=True, help="Turn as the EXIF orientation says (default).")
@click.option("--background", type=Color(), help="For what was transparent: #rrggbb, #rrggbbaa, or R,G,B.")
@click.option("--flatten", is_flag=True, default=None, help="Lay transparent pixels on the background in any case.")
@click.option("--keep-metadata", is_flag=True, default=None, help="EXIF and XMP go along.")
@click.option("--keep-profile", is_flag=True, default=None, help="Leave colours and profile as they are.")
@click.option("--frames", type=click.Choice(["first", "all"]), help="Of an animation; default: first.")
@click.option("--max-pixels", type=_COUNT, help="Of an input; default: 50 million.")
@click.option("--max-bytes", type=ByteSize(), help="Of an input, e.g. 20MB; default: 256MiB.")
@click.option("--max-frames", type=_COUNT, help="With --frames all; default: 256.")
@click.option("--max-scans", type=_COUNT, help="Of a progressive JPEG; default: 100.")
@click.option("--fail-on", type=click.Choice(["error", "none"]), help="Refuse damaged pictures (default), or not.")
@click.option("--isolate", is_flag=True, default=None, help="Decode in sandboxed processes.")
@click.option("--engine", type=click.Choice(["auto", "fast", "vips"]), help="offloop's own code or libvips.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@click.option("--sha256", "sums_path", metavar="FILE", help="Sums of inputs and results, as sha256sum's; -: stdout.")
@click.option("--sheet", "sheet_path", metavar="FILE", help="A PNG with the results (the first 1,000) on one page.")
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line instead of a table.")
@click.option("--quiet", is_flag=True, help="No progress bar, table and summary.")
@click.option("--max-concurrent", type=_COUNT, default=32, show_default=True, help="Pictures at a time.")
@click.option("--timeout", type=Seconds(), default=_TIMEOUT_SECONDS, show_default=True, help="For each, with fetching.")
def command(
    sources: tuple[str, ...],
    from_path: str | None,
    size: tuple[int, int] | None,
    width: int | None,
    height: int | None,
    auto_orient: bool,
    as_json: bool,
    sums_path: str | None,
    **options: Any,
) -> int:
    """Make pictures fit and write them to a folder.

    Of a PATH that is a folder the pictures below it, by their content and not their names. URLs are fetched. A result
    is called as its source, with a number where that name is taken; a source that cannot be read is reported and the
    others go on. Memory does not grow with the length of the list.
    """
    if bool(sources) == (from_path is not None):
        raise click.UsageError("expected PATHs and URLs or --from FILE, got " + ("both" if sources else "neither"))
    if as_json and sums_path == "-":
        raise click.UsageError("--json and --sha256 - both want standard output, expected one of them")
    if size is not None and (width is not None or height is not None):
        raise click.UsageError("--size is --width and --height in one, expected it or them")
    if size is not None:
        width, height = size
        options["fit"] = options["fit"] or "inside"
    if width is None and height is None and options["format"] is None:
        raise click.UsageError("nothing to do: expected --size, --width, --height or --format")

    # Imported here: --help and wrong command lines need none of it, and no image library.
    require_images()
    from offloop.cli.image_run import Plan, run

    given = {name: value for name, value in options.items() if value is not None}
    plan = Plan(
        sources=sources,
        from_path=from_path,
        as_json=as_json,
        sums_path=sums_path,
        resize={"width": width, "height": height},
        auto_orient=auto_orient,
        **{name: given.pop(name) for name in ("folder", "overwrite", "quiet", "max_concurrent", "timeout")},
        sheet_path=given.pop("sheet_path", None),
        options=given,
    )
    return run(plan)
