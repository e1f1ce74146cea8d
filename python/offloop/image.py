"""Pictures off the event loop: decoded, resized and encoded in the core, from memory, files or URLs.

Functions that return an :class:`offloop.Operation` are plain functions: the work is queued when they are called in a
running event loop. Cancelling an operation ends the await at once and stops a running decode, resize or encode within
milliseconds.

JPEG, PNG and WebP are served by code of offloop's own; GIF, TIFF, AVIF and HEIC by libvips, where it is installed.
Limits are judged from the header, before anything is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from ._arguments import as_count, as_flag, as_path, as_seconds, as_url
from .errors import UnsupportedFormatError

try:
    from . import _image
    from ._image import ImageInfo, Picture
except ImportError as error:
    raise UnsupportedFormatError(
        "offloop.image needs libjpeg-turbo, libpng, libwebp and Little CMS; on Debian: apt-get install "
        f"libjpeg62-turbo libpng16-16 libwebp7 libwebpdemux2 libwebpmux3 liblcms2-2 libhwy1 ({error})"
    ) from error

if TYPE_CHECKING:
    from ._core import Operation
    from ._types import Buffer
    from .fetch import Fetcher

__all__ = ["ImageInfo", "Picture", "Pipeline", "configure", "detect", "info", "resize", "sheet", "stats"]

Fit = Literal["cover", "contain", "inside", "outside", "fill"]
Position = Literal["centre", "top", "right top", "right", "right bottom", "bottom", "left bottom", "left", "left top"]
Kernel = Literal["nearest", "area", "linear", "cubic", "mitchell", "lanczos2", "lanczos3"]
Color = tuple[int, int, int] | tuple[int, int, int, int]

_MAX_PIXELS = 50_000_000
_MAX_BYTES = 256 << 20
_MAX_FRAMES = 256
_MAX_SCANS = 100
_WHITE = (255, 255, 255)
_MOST_SIDE = 1_000_000
_MOST_HEAD = 256


def info(
    data: Buffer | str | os.PathLike[str],
    *,
    max_pixels: int = _MAX_PIXELS,
    max_bytes: int = _MAX_BYTES,
    max_scans: int = _MAX_SCANS,
) -> Operation[ImageInfo]:
    """Reads a picture's header; decodes nothing.

    :param data: a bytes-like object with the whole picture, or the path of a file.
    :param max_pixels: width times height.
    :param max_bytes: of the input.
    :param max_scans: of a progressive JPEG.
    :raises TypeError: at once, for an argument of the wrong type.
    :raises ImageLimitError: from the operation, when the header says more than a limit.
    :raises UnsupportedFormatError: from the operation: no picture of a known format, or libvips is missing for it.
    :raises ImageError: from the operation: the header is broken.
    """
    limits = _limits(max_pixels, max_bytes, _MAX_FRAMES, max_scans)
    if isinstance(data, (str, os.PathLike)):
        return _image.info_file(os.fsencode(as_path("data", data)), limits)
    return _image.info(data, limits)


def detect(head: bytes) -> str | None:
    """The format of a picture by its first bytes, whatever its name says; None when it is none of ours.

    :param head: the first 256 bytes are enough.
    :returns: ``"jpeg"``, ``"png"``, ``"webp"``, ``"gif"``, ``"tiff"``, ``"avif"``, ``"heic"`` or None.

    Runs at once, on the calling thread. That the rest is sound is for :func:`info` and decoding to find out.
    """
    return _image.detect(bytes(head[:_MOST_HEAD]))


def resize(
    data: Buffer | str | os.PathLike[str],
    width: int | None = None,
    height: int | None = None,
    *,
    fit: Fit = "cover",
    position: Position = "centre",
    without_enlargement: bool = False,
    kernel: Kernel = "lanczos3",
    format: str | None = None,
    quality: int = 80,
    auto_orient: bool = True,
    background: Color = _WHITE,
    max_pixels: int = _MAX_PIXELS,
    isolate: bool = False,
    timeout: float | None = None,
) -> Operation[bytes]:
    """Resizes one picture; the short form of a :class:`Pipeline`.

    :param data: a bytes-like object, not copied, so it must not change until the operation has ended; or a path; or an
        http or https URL.
    :param width: pixels; without it, from the height and the ratio of the sides.
    :param height: pixels; likewise.
    :param format: ``"jpeg"``, ``"png"``, ``"webp"``, and with libvips ``"gif"``, ``"tiff"`` and ``"avif"``; without it
        that of the input.
    :param quality: 1 to 100, for JPEG and lossy WebP.
    :param auto_orient: turn the picture the way its EXIF orientation says.
    :param background: for what was transparent where the format cannot be, and around ``fit="contain"``.
    :param isolate: decode in a sandboxed process of its own.
    :param timeout: seconds from the call to the result.
    :returns: an operation that yields the encoded picture.
    :raises ValueError: at once, for an argument out of its range; nothing has been queued then.
    :raises ImageError: from the operation, or one of its subclasses.
    :raises OperationTimeoutError: from the operation, when the time is over.
    """
    pipeline = Pipeline(max_pixels=max_pixels, isolate=isolate)
    if auto_orient:
        pipeline = pipeline.auto_orient()
    pipeline = pipeline.resize(
        width, height, fit=fit, position=position, kernel=kernel, without_enlargement=without_enlargement
    ).to(format, quality=quality, background=background)
    return pipeline._start(data, hash=False, save=None, timeout=timeout, fetcher=None, bytes_only=True)


class Pipeline:
    """Steps for a picture, run as one native operation; the same pipeline serves any number of pictures.

    >>> thumbnail = Pipeline().auto_orient().resize(256, 256, fit="inside").to("webp", quality=80)
    >>> picture = await thumbnail.run("photo.jpg", hash=True)

    Each method returns a new pipeline and leaves this one as it is. Steps are done in the order they are named.

    :param max_pixels: width times height of the input, over all frames that are decoded.
    :param max_bytes: of the encoded input.
    :param max_frames: of an animation, with ``frames="all"``.
    :param max_scans: of a progressive JPEG.
    :param frames: ``"first"``, or ``"all"`` where the result can be an animation (libvips).
    :param fail_on: ``"error"`` refuses truncated and corrupt pictures; ``"none"`` makes the best of them.
    :param engine: ``"fast"`` is offloop's own, ``"vips"`` libvips; ``"auto"`` takes ours where it can, unless the
        environment variable ``OFFLOOP_IMAGE`` says otherwise.
    :param isolate: decode in a sandboxed process of its own, which may crash or be killed without harm to this one.
    """

    __slots__ = ("_recipe",)

    def __init__(
        self,
        *,
        max_pixels: int = _MAX_PIXELS,
        max_bytes: int = _MAX_BYTES,
        max_frames: int = _MAX_FRAMES,
        max_scans: int = _MAX_SCANS,
        frames: Literal["first", "all"] = "first",
        fail_on: Literal["error", "none"] = "error",
        engine: Literal["auto", "fast", "vips"] = "auto",
        isolate: bool = False,
    ) -> None:
        recipe = _image.Recipe()
        recipe.limits = _limits(max_pixels, max_bytes, max_frames, max_scans)
        recipe.all_frames = _one_of("frames", frames, ("first", "all")) == "all"
        recipe.strict = _one_of("fail_on", fail_on, ("error", "none")) == "error"
        recipe.set_engine(_one_of("engine", engine, ("auto", "fast", "vips")))
        recipe.isolate = as_flag("isolate", isolate)
        self._recipe = recipe

    def auto_orient(self) -> Pipeline:
        """Turns the picture the way its EXIF orientation says."""
        copy = self._copy()
        copy._recipe.auto_orient()
        return copy

    def rotate(self, degrees: int) -> Pipeline:
        """Turns it clockwise by 90, 180 or 270 degrees."""
        if as_count("degrees", degrees, 0) not in (0, 90, 180, 270):
            raise ValueError(f"degrees must be 0, 90, 180 or 270, got {degrees}")
        copy = self._copy()
        copy._recipe.rotate(degrees)
        return copy

    def flip(self) -> Pipeline:
        """Turns it upside down, as in a mirror below it."""
        copy = self._copy()
        copy._recipe.flip()
        return copy

    def flop(self) -> Pipeline:
        """Swaps left and right."""
        copy = self._copy()
        copy._recipe.flop()
        return copy

    def greyscale(self) -> Pipeline:
        """Leaves luma only."""
        copy = self._copy()
        copy._recipe.greyscale()
        return copy

    def crop(self, left: int, top: int, width: int, height: int) -> Pipeline:
        """Keeps a rectangle, in pixels of the picture as the steps before leave it.

        :raises ValueError: at once for a size of 0; from the operation when it is not within the picture.
        """
        copy = self._copy()
        copy._recipe.crop(
            as_count("left", left, 0, _MOST_SIDE),
            as_count("top", top, 0, _MOST_SIDE),
            as_count("width", width, 1, _MOST_SIDE),
            as_count("height", height, 1, _MOST_SIDE),
        )
        return copy

    def resize(
        self,
        width: int | None = None,
        height: int | None = None,
        *,
        fit: Fit = "cover",
        position: Position = "centre",
        kernel: Kernel = "lanczos3",
        without_enlargement: bool = False,
    ) -> Pipeline:
        """Makes it fit ``width`` by ``height`` pixels; with one of them only, the ratio of the sides is kept.

        :param fit: ``"cover"`` fills the box and cuts off what sticks out, ``"contain"`` puts the whole picture into it
            on the background, ``"inside"`` is the largest size within it, ``"outside"`` the smallest around it,
            ``"fill"`` gives up the ratio.
        :param position: which part stays with ``"cover"``, where the picture goes with ``"contain"``.
        :param kernel: ``"lanczos3"`` is sharpest, ``"area"`` averages, ``"nearest"`` takes single pixels.
        :param without_enlargement: leave a smaller picture as it is.
        """
        if width is None and height is None:
            raise ValueError("expected a width, a height or both, got neither")
        copy = self._copy()
        copy._recipe.resize(
            0 if width is None else as_count("width", width, 1, _MOST_SIDE),
            0 if height is None else as_count("height", height, 1, _MOST_SIDE),
            _member("fit", fit, _image.Fit),
            _member("position", position, _image.Position),
            _member("kernel", kernel, _image.Kernel),
            as_flag("without_enlargement", without_enlargement),
        )
        return copy

    def to(
        self,
        format: str | None = None,
        *,
        quality: int = 80,
        subsampling: Literal["4:2:0", "4:4:4"] = "4:2:0",
        progressive: bool = False,
        optimize: bool = False,
        compression: int = 6,
        effort: int = 4,
        lossless: bool = False,
        keep_metadata: bool = False,
        keep_profile: bool = False,
        flatten: bool = False,
        background: Color = _WHITE,
    ) -> Pipeline:
        """Says what the result is to be.

        :param format: as for :func:`resize`.
        :param quality: 1 to 100, for JPEG and lossy WebP.
        :param subsampling: of JPEG's chroma.
        :param progressive: JPEG; interlaced PNG.
        :param optimize: JPEG: Huffman tables for this picture, 2 to 5 % smaller for a second pass.
        :param compression: PNG: zlib's level, 0 to 9.
        :param effort: WebP: 0 to 6.
        :param lossless: WebP.
        :param keep_metadata: EXIF and XMP go along; an orientation that was applied is reset.
        :param keep_profile: colours stay as they are, with their profile, instead of becoming sRGB.
        :param flatten: lay transparent pixels on the background even where the format could keep them.
        :param background: (red, green, blue) or with alpha, 0 to 255.
        """
        copy = self._copy()
        copy._recipe.output(
            "" if format is None else _format(format),
            as_count("quality", quality, 1, 100),
            _one_of("subsampling", subsampling, ("4:2:0", "4:4:4")) == "4:4:4",
            as_flag("progressive", progressive),
            as_flag("optimize", optimize),
            as_count("compression", compression, 0, 9),
            as_count("effort", effort, 0, 6),
            as_flag("lossless", lossless),
            as_flag("keep_metadata", keep_metadata),
            as_flag("keep_profile", keep_profile),
            as_flag("flatten", flatten),
            _color(background),
        )
        return copy

    def run(
        self,
        source: Buffer | str | os.PathLike[str],
        *,
        hash: bool = False,
        save: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
        fetcher: Fetcher | None = None,
    ) -> Operation[Picture]:
        """Runs the steps on one picture.

        :param source: a bytes-like object, not copied, so it must not change until the operation has ended; or the path
            of a regular file; or an http or https URL, whose body never enters Python.
        :param hash: the SHA-256 of input and result in the same pass.
        :param save: a path for the result, written by the worker as ``path + ".part"`` and renamed when complete.
        :param timeout: seconds from the call to the result.
        :param fetcher: for a URL, instead of the process's shared connections.
        :returns: an operation that yields a :class:`Picture` (``data``, ``width``, ``height``, ``format``, ``size``,
            ``sha256``, ``input``, ...).
        :raises TypeError: at once, for an argument of the wrong type.
        :raises ImageError: from the operation, or one of its subclasses.
        :raises FetchError: from the operation, for a URL.
        :raises OSError: from the operation, for a path that cannot be read or written.
        :raises OperationTimeoutError: from the operation, when the time is over.
        """
        return self._start(source, hash=hash, save=save, timeout=timeout, fetcher=fetcher, bytes_only=False)

    def _start(
        self,
        source: Buffer | str | os.PathLike[str],
        *,
        hash: bool,
        save: str | os.PathLike[str] | None,
        timeout: float | None,
        fetcher: Fetcher | None,
        bytes_only: bool,
    ) -> Operation[Any]:
        save_to = b"" if save is None else os.fsencode(as_path("save", save))
        seconds = 0.0 if timeout is None else min(as_seconds("timeout", timeout), _LONGEST_SECONDS)
        arguments = (self._recipe, as_flag("hash", hash), save_to, seconds, bytes_only)
        if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
            from . import fetch

            chosen = fetch.shared_fetcher() if fetcher is None else fetcher
            return _image.start_url(chosen._fetcher.handle(), as_url(source), *arguments)
        if isinstance(source, (str, os.PathLike)):
            return _image.start_file(os.fsencode(as_path("source", source)), *arguments)
        return _image.start(source, *arguments)

    def _copy(self) -> Pipeline:
        copy = object.__new__(type(self))
        copy._recipe = _image.Recipe(self._recipe)
        return copy


def sheet(
    paths: Iterable[str | os.PathLike[str]],
    *,
    cell: int = 128,
    columns: int | None = None,
    background: Color = _WHITE,
    save: str | os.PathLike[str] | None = None,
    max_pixels: int = _MAX_PIXELS,
) -> Operation[Picture]:
    """Puts pictures on one page, in reading order, each within a square: something to look at.

    :param paths: regular files.
    :param cell: pixels of a square's side; smaller pictures stay as they are.
    :param columns: None for about as many as rows.
    :param background: between pictures, and under transparent ones.
    :param save: as for :meth:`Pipeline.run`.
    :param max_pixels: of each picture.
    :returns: an operation that yields a :class:`Picture`, a PNG. Cancelled, it stops before the next picture.
    :raises ValueError: at once, for no paths.
    :raises ImageLimitError: from the operation, for a page of more than 50 million pixels.
    :raises ImageError: from the operation, with the path: the first picture that cannot be read ends it.
    :raises OSError: from the operation, with the path.
    """
    if isinstance(paths, (str, bytes)) or not isinstance(paths, Iterable):
        raise TypeError(f"paths must be an iterable of paths, not {type(paths).__name__}")
    names = [os.fsencode(as_path("path", path)) for path in paths]
    if not names:
        raise ValueError("expected at least one path, got none")
    side = as_count("cell", cell, 1, _MOST_SIDE)
    across = 0 if columns is None else as_count("columns", columns, 1, _MOST_SIDE)
    save_to = b"" if save is None else os.fsencode(as_path("save", save))
    limits = _limits(max_pixels, _MAX_BYTES, _MAX_FRAMES, _MAX_SCANS)
    return _image.sheet(names, side, across, _color(background), save_to, limits)


def configure(*, max_pixels_in_flight: int) -> None:
    """Sets how many pixels may be in memory at once, over all pictures of the process.

    A picture that would exceed it waits for others to be done; one alone always runs. The default is 200 million.
    """
    _image.set_max_pixels_in_flight(as_count("max_pixels_in_flight", max_pixels_in_flight, 1, 2**62))


def stats() -> dict[str, int]:
    """``pixels_in_flight`` now, and ``max_pixels_in_flight``."""
    return {
        "pixels_in_flight": _image.pixels_in_flight(),
        "max_pixels_in_flight": _image.max_pixels_in_flight(),
    }


# A deadline is a 64-bit number of nanoseconds.
_LONGEST_SECONDS = 1e9


def _limits(max_pixels: int, max_bytes: int, max_frames: int, max_scans: int) -> _image.Limits:
    limits = _image.Limits()
    limits.max_pixels = as_count("max_pixels", max_pixels, 1, 2**62)
    limits.max_bytes = as_count("max_bytes", max_bytes, 1, 2**62)
    limits.max_frames = as_count("max_frames", max_frames, 1, 2**31 - 1)
    limits.max_scans = as_count("max_scans", max_scans, 1, 2**31 - 1)
    return limits


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def _member(name: str, value: object, enum: Any) -> Any:
    names = tuple(member.name.replace("_", " ") for member in enum)
    return getattr(enum, _one_of(name, value, names).replace(" ", "_"))


def _format(name: object) -> str:
    allowed = ("jpeg", "jpg", "png", "webp", "gif", "tiff", "tif", "avif")
    return _one_of("format", name.lower() if isinstance(name, str) else name, allowed)


def _color(value: object) -> tuple[int, int, int, int]:
    if not isinstance(value, (tuple, list)) or len(value) not in (3, 4):
        raise ValueError(f"background must be (red, green, blue) or (red, green, blue, alpha), got {value!r}")
    red, green, blue, *rest = (as_count("background", part, 0, 255) for part in value)
    return red, green, blue, rest[0] if rest else 255
