"""What Pillow and libvips make of the same picture, to compare with."""

from __future__ import annotations

import io
from typing import Any

from image_helpers import Array, PIL_Cms, PIL_Image, np

try:
    import pyvips
except (ImportError, OSError):  # OSError: the package is there, libvips is not
    pyvips = None

PILLOW_KERNELS = {
    "nearest": PIL_Image.Resampling.NEAREST,
    "linear": PIL_Image.Resampling.BILINEAR,
    "cubic": PIL_Image.Resampling.BICUBIC,
    "lanczos3": PIL_Image.Resampling.LANCZOS,
}
# Its nearest neighbour is that of the corner, and it has no area average for other than whole factors.
VIPS_KERNELS = ("linear", "cubic", "mitchell", "lanczos2", "lanczos3")

Size = tuple[int, int]
RESAMPLING = PIL_Image.Resampling


def scaled(size: Size, box: Size, fit: str) -> Size:
    """Width and height to which a picture is scaled for a box."""
    (width, height), (box_width, box_height) = size, box
    x, y = box_width / width, box_height / height
    if fit == "fill":
        return box
    if (x > y) == (fit in ("cover", "outside")):
        return box_width, max(1, round(height * x))
    return max(1, round(width * y)), box_height


def fitted(pixels: Array, box: Size, fit: str, resized: Array) -> Array:
    """From the scaled picture to the box: cut off, or put on white."""
    width, height = box
    if fit == "cover":
        top, left = (resized.shape[0] - height) // 2, (resized.shape[1] - width) // 2
        return resized[top : top + height, left : left + width]
    if fit == "contain":
        page = np.full((height, width, pixels.shape[2]), 255, np.uint8)
        top, left = (height - resized.shape[0]) // 2, (width - resized.shape[1]) // 2
        page[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
        return page
    return resized


def by_pillow(pixels: Array, box: Size, fit: str = "fill", kernel: str = "lanczos3") -> Array:
    """RGB or RGBA, which Pillow premultiplies by itself."""
    size = scaled((pixels.shape[1], pixels.shape[0]), box, fit)
    resized = np.asarray(PIL_Image.fromarray(pixels).resize(size, PILLOW_KERNELS[kernel]))
    return fitted(pixels, box, fit, resized)


def by_area(pixels: Array, box: Size) -> Array:
    """RGB: each result is the mean of what it covers, parts of pixels for their part. Pillow's box takes whole ones."""
    down, across = coverage(pixels.shape[0], box[1]), coverage(pixels.shape[1], box[0])
    mean = np.einsum("yi,ijc,xj->yxc", down, pixels.astype(np.float64), across, optimize=True)
    return np.rint(mean).astype(np.uint8)


def coverage(many: int, few: int) -> Array:
    """How much of each of `many` is in each of `few`; where there are more than many, the nearest one."""
    scale = many / few
    if scale <= 1:
        return np.eye(many)[np.minimum(((np.arange(few) + 0.5) * scale).astype(int), many - 1)]
    start = np.arange(few)[:, None] * scale
    pixel = np.arange(many)[None, :]
    return np.clip(np.minimum(start + scale, pixel + 1) - np.maximum(start, pixel), 0, None) / scale


def by_vips(pixels: Array, box: Size, fit: str = "fill", kernel: str = "lanczos3") -> Array:
    """RGB or RGBA, premultiplied here. Without libvips' coarse first step (gap), which trades quality for speed."""
    width, height = pixels.shape[1], pixels.shape[0]
    size = scaled((width, height), box, fit)
    source = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, pixels.shape[2], "uchar")
    source = source.copy(interpretation="srgb")
    alpha = pixels.shape[2] == 4
    if alpha:
        source = source.premultiply()
    resized = source.resize(size[0] / width, vscale=size[1] / height, kernel=kernel, gap=0)
    if alpha:
        resized = resized.unpremultiply()
    return fitted(pixels, box, fit, array_of(resized.rint().cast("uchar") if alpha else resized))


def enlarged_by_vips(pixels: Array, size: Size, kernel: str) -> Array:
    """RGB. By its affine transformation, with pixels' places in their middles: resize() of 8.14 shifts them."""
    height, width = pixels.shape[:2]
    source = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).data, width, height, 3, "uchar")
    return array_of(
        source.affine(
            [size[0] / width, 0, 0, size[1] / height],
            idx=0.5,
            idy=0.5,
            odx=-0.5,
            ody=-0.5,
            extend="copy",
            interpolate=pyvips.Interpolate.new({"linear": "bilinear", "cubic": "bicubic"}[kernel]),
            oarea=[0, 0, *size],
        )
    )


def thumbnail_by_vips(data: bytes, size: Size) -> Array:
    """From the encoded picture, by libvips' own way of decoding, turning and colours."""
    opened = pyvips.Image.new_from_buffer(data, "")
    # Without a profile it would still be sent through two.
    colors = {"export_profile": "srgb"} if "icc-profile-data" in opened.get_fields() else {}
    if "webp" in opened.get("vips-loader"):  # its way of shrinking while it is decoded is far from anybody's kernel
        made = opened.thumbnail_image(size[0], height=size[1], size="force", **colors)
    else:
        made = pyvips.Image.thumbnail_buffer(data, size[0], height=size[1], size="force", **colors)
    return array_of(made.colourspace("srgb").cast("uchar"))


def array_of(picture: Any) -> Array:
    """Height x width x bands."""
    flat = np.frombuffer(picture.write_to_memory(), np.uint8)
    return flat.reshape(picture.height, picture.width, picture.bands)


def upright_srgb(data: bytes) -> Array:
    """What an encoded picture shows, by Pillow: turned, in sRGB, 8 bit."""
    from PIL import ImageOps

    with PIL_Image.open(io.BytesIO(data)) as opened:
        opened.load()
        picture = ImageOps.exif_transpose(opened)
    profile = picture.info.get("icc_profile")
    if picture.mode.startswith("I;16"):
        wide = np.asarray(picture).astype(np.float64)
        picture = PIL_Image.fromarray(np.rint(wide / 257).astype(np.uint8))
    transparent = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    picture = picture.convert("RGBA" if transparent else "RGB")
    if profile:
        mine = PIL_Cms.ImageCmsProfile(io.BytesIO(profile))
        picture = PIL_Cms.profileToProfile(
            picture, mine, PIL_Cms.createProfile("sRGB"), outputMode=picture.mode, renderingIntent=0
        )
    return np.asarray(picture)
