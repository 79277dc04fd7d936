"""Writes the pictures of this folder: small files of the kinds that test/fixtures/preprocess lacks, and what Pillow makes of each.

NAME.jpg or NAME.png is the input; NAME.rgb.png is `Image.open(NAME).convert("RGB")`. Needs Pillow 11.3 and numpy.
"""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent


def scene(width, height):
    """Smooth colour gradients, hard coloured edges and a little noise."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(width * 1000 + height).integers(0, 25, (height, width, 3))
    rgb = np.stack([x * 230 // width, y * 230 // height, (x + y) * 230 // (width + height)], -1) + noise
    rgb[(x // 5 + y // 7) % 3 == 0] = (250, 10, 20)
    rgb[(x // 9 - y // 4) % 5 == 0] = (5, 40, 240)
    return Image.fromarray(rgb.astype(np.uint8))


def png(path, width, height, depth, colour, rows, extra=(), interlace=0):
    """Writes a PNG by hand: Pillow cannot write these kinds. extra: chunks between IHDR and IDAT."""
    chunk = lambda name, data: struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))
    for name, data in extra:
        head += chunk(name, data)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", body) + chunk(b"IEND", b""))


def packed(width, height, bits, seed=1):
    """Random rows of `width` samples of `bits` bits in all."""
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (width * bits + 7) // 8, dtype=np.uint8).tobytes() for _ in range(height)]


def nibbles(row):
    row = [*row, 0][: len(row) + len(row) % 2]
    return bytes(a << 4 | b for a, b in zip(row[::2], row[1::2]))


def patch(source, target, size=None, sampling=None, transform=0):
    """Rewrites size and first sampling factors in SOF0, or the transform of the Adobe segment (None: drops the segment)."""
    data = bytearray((HERE / f"{source}.jpg").read_bytes())
    if size:
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", size[1], size[0])
        data[frame + 11] = sampling
    else:
        adobe = data.index(b"\xff\xee")
        data[adobe : adobe + 16] = b"" if transform is None else data[adobe : adobe + 15] + bytes([transform])
    (HERE / f"{target}.jpg").write_bytes(data)


def main():
    s = scene(37, 29)
    s.save(HERE / "j-422.jpg", quality=90, subsampling="4:2:2")
    s.save(HERE / "j-420-restart.jpg", quality=85, subsampling="4:2:0", restart_marker_blocks=2)
    s.save(HERE / "j-rgb.jpg", quality=95, keep_rgb=True)
    s.save(HERE / "j-progressive.jpg", quality=85, subsampling="4:2:0", progressive=True)
    scene(4, 21).save(HERE / "j-420-narrow.jpg", quality=90, subsampling="4:2:0")
    scene(5, 1).save(HERE / "j-420-row.jpg", quality=90, subsampling="4:2:0")
    s.convert("L").save(HERE / "j-grey-restart.jpg", quality=85, restart_marker_rows=1)
    s.convert("CMYK").save(HERE / "j-cmyk.jpg", quality=95)
    # Pillow writes no other sampling factors: declare others over the same number of blocks. The picture is scrambled and the file valid.
    patch("j-422", "j-440", size=(30, 41), sampling=0x12)
    patch("j-420-restart", "j-411", size=(90, 14), sampling=0x41)
    patch("j-cmyk", "j-ycck", transform=2)
    patch("j-cmyk", "j-cmyk-plain", transform=None)

    pixels = np.asarray(s)
    adam7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    passes = [row.tobytes() for x, y, dx, dy in adam7 for row in pixels[y::dy, x::dx]]
    png(HERE / "p-interlaced.png", 37, 29, 8, 2, passes, interlace=1)
    indices = np.random.default_rng(3).integers(0, 11, (5, 3), dtype=np.uint8)  # so small that some passes are empty
    passes = [nibbles(row) for x, y, dx, dy in adam7 for row in indices[y::dy, x::dx] if len(row)]
    png(HERE / "p-interlaced-palette4.png", 3, 5, 4, 3, passes, [(b"PLTE", bytes(range(33)))], interlace=1)

    w, h = 19, 11
    palette = np.random.default_rng(5).integers(0, 256, 768, dtype=np.uint8).tobytes()
    png(HERE / "p-grey2.png", w, h, 2, 0, packed(w, h, 2))
    png(HERE / "p-grey4.png", w, h, 4, 0, packed(w, h, 4))
    png(HERE / "p-palette1.png", w, h, 1, 3, packed(w, h, 1), [(b"PLTE", palette[:6])])
    png(HERE / "p-palette2.png", w, h, 2, 3, packed(w, h, 2), [(b"PLTE", palette[:12])])
    png(HERE / "p-la16.png", w, h, 16, 4, packed(w, h, 32))
    png(HERE / "p-rgba16.png", w, h, 16, 6, packed(w, h, 64))
    png(HERE / "p-grey-trns.png", w, h, 4, 0, packed(w, h, 4), [(b"tRNS", b"\0\x07")])
    png(HERE / "p-rgb-trns.png", 2, 1, 8, 2, [bytes([9, 8, 7, 9, 8, 6])], [(b"tRNS", bytes([0, 9, 0, 8, 0, 7]))])
    png(HERE / "p-grey16-trns.png", w, h, 16, 0, [bytes(np.array([[0, v % 256]] if v % 3 else [[v % 7, v]], dtype=np.uint8)) * w for v in range(h)], [(b"tRNS", b"\0\x05")])

    for path in sorted(HERE.glob("[jp]-*.[jp][pn]g")):
        if not path.name.endswith(".rgb.png"):
            rgb = Image.open(path).convert("RGB")
            rgb.info = {}  # else a transparent colour is carried over into the PNG
            rgb.save(path.with_suffix(".rgb.png"))


main()
