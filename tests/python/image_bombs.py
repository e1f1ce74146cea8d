"""Pictures that lie, swell or never end: made here, byte by byte, because no public set of them is complete."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from functools import cache

from image_helpers import PNG_SIGNATURE, PIL_Image, encoded, natural, np, png_chunk

# ---- dimensions that lie -------------------------------------------------------------------------------------------


def png_header(
    width: int, height: int, body: bytes = zlib.compress(bytes(100)), bits: int = 8, color: int = 2
) -> bytes:
    """A PNG that says it has that size, with a few bytes of pixels."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    return PNG_SIGNATURE + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")


def jpeg_header(width: int, height: int) -> bytes:
    """A small JPEG whose frame header says it has that size."""
    data = bytearray(encoded(natural(16, 16), "jpeg"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def gif_header(width: int, height: int) -> bytes:
    """44 bytes that claim a screen and a frame of that size."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(3) + b"\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0)
    return screen + frame + b"\x02\x02\x44\x01\x00\x3b".ljust(10, b"\0")


def webp_canvas(width: int, height: int) -> bytes:
    """An extended WebP whose canvas has that size and whose frame is 16 x 16."""
    inner = encoded(natural(16, 16), "webp")[12:]
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_header(width: int, height: int) -> bytes:
    """A simple WebP whose frame header says it has that size."""
    data = bytearray(encoded(natural(16, 16), "webp"))
    at = data.index(b"\x9d\x01\x2a")
    data[at + 3 : at + 7] = struct.pack("<HH", width, height)
    return bytes(data)


def tiff_header(width: int, height: int) -> bytes:
    """A TIFF that says it has that size, with one strip of nothing."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, height)]
    entries += [(279, 4, 8)]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<I", 16) + bytes(8) + struct.pack("<H", len(entries)) + table + bytes(4)


# ---- what swells ---------------------------------------------------------------------------------------------------


@cache
def zeros_deflated(size: int) -> bytes:
    """`size` zero bytes, a multiple of 16 MiB, as a zlib stream a thousand times smaller; they are never made."""
    piece = 16 << 20
    assert size % piece == 0
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(piece)) + packer.flush(zlib.Z_FULL_FLUSH)
    adler = (size % 65521) << 16 | 1
    return b"\x78\xda" + block * (size // piece) + b"\x03\x00" + struct.pack(">I", adler)


def png_with(kind: bytes, body: bytes) -> bytes:
    """A sound little PNG with a chunk more."""
    data = encoded(natural(16, 16), "png")
    return data[:33] + png_chunk(kind, body) + data[33:]


def png_text_bomb(size: int) -> bytes:
    """Compressed text that swells to `size` bytes."""
    return png_with(b"zTXt", b"Comment\0\0" + zeros_deflated(size))


def png_international_text_bomb(size: int) -> bytes:
    """The same in the newer chunk, called as XMP is."""
    return png_with(b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + zeros_deflated(size))


def png_profile_bomb(size: int) -> bytes:
    """A colour profile that swells to `size` bytes."""
    return png_with(b"iCCP", b"icc\0\0" + zeros_deflated(size))


def png_pixels_bomb(side: int, size: int) -> bytes:
    """Pixels that swell to `size` bytes, far more than the picture of that side can have."""
    return png_header(side, side, zeros_deflated(size))


def png_of_many_chunks(count: int) -> bytes:
    """Small ancillary chunks without end."""
    data = encoded(natural(16, 16), "png")
    return data[:33] + png_chunk(b"tEXt", b"a\0b") * count + data[33:]


def jpeg_of_scans(scans: int, width: int = 16, height: int = 16) -> bytes:
    """A progressive JPEG with that many scans: its last one again and again."""
    data = encoded(natural(width, height), "jpeg", progressive=True)
    starts = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    assert scans >= len(starts)
    last = data[starts[-1] : -2]
    return data[:-2] + last * (scans - len(starts)) + data[-2:]


def gif_of_frames(frames: int, side: int = 1) -> bytes:
    """An animation of that many equal frames."""
    screen = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(3) + b"\xff\xff\xff"
    control = b"\x21\xf9\x04\x04\x01\x00\x00\x00"
    frame = control + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return screen + frame * frames + b"\x3b"


def webp_of_frames(frames: int) -> bytes:
    """An animation of that many frames."""
    pictures = [PIL_Image.fromarray(np.full((8, 8, 3), i * 7 % 256, np.uint8)) for i in range(frames)]
    file = io.BytesIO()
    pictures[0].save(file, "webp", save_all=True, append_images=pictures[1:], duration=20)
    return file.getvalue()


# ---- two things in one ---------------------------------------------------------------------------------------------


def jpeg_and_zip() -> bytes:
    """A JPEG that unzips."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme", "hello")
    return encoded(natural(16, 16), "jpeg") + file.getvalue()


def gif_and_javascript() -> bytes:
    """A GIF that is a program."""
    picture = b"GIF89a" + struct.pack("<HHBBB", 0x2F2A, 1, 0x80, 0, 0) + bytes(3) + b"\xff\xff\xff"
    picture += b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00\x3b"
    return picture + b"*/=1;alert(1);"


def png_and_html() -> bytes:
    """A PNG with a page in it."""
    page = b"<!doctype html><script>alert(1)</script>"
    return png_with(b"tEXt", b"Comment\0" + page) + page


# ---- what is no picture of ours ------------------------------------------------------------------------------------

UNTRUSTED = {
    "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>',
    "svg without a declaration": b'<svg xmlns="http://www.w3.org/2000/svg" width="99999" height="99999"/>',
    "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
    "psd": b"8BPS" + struct.pack(">HxxxxxxHIIHH", 1, 3, 30000, 30000, 8, 3) + bytes(64),
    "ppm": b"P6\n2 2\n255\n" + bytes(12),
    "xbm": b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = { 0xff };\n",
    "bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 58, 0, 54, 40, 1, 1, 1, 24, 0, 4, 1, 1, 0, 0) + bytes(4),
    "ico": b"\0\0\1\0\1\0" + bytes(16),
    "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64),
    "jpeg xl": b"\xff\x0a" + bytes(64),
    "openexr": b"\x76\x2f\x31\x01" + bytes(64),
    "mvg": b"push graphic-context\nviewbox 0 0 9 9\nimage over 0,0 0,0 'https://example.com/a.png'\n",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "fits": b"SIMPLE  =                    T".ljust(2880),
    "html": b"<html><body>hello</body></html>",
    "mp4": b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(64),
    "zeros": bytes(4096),
    "text": b"hello, world\n" * 20,
    "empty": b"",
}
