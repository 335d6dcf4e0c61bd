"""Reading images: orientation, transparency, depths, palettes; and whatever else a file may be: one kind of error."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from genmend.manifold.features import UnusableSampleError, read_image
from genmend.manifold.features import image_files as module
from genmend.manifold.features.image_files import rgb_of

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def as_pixels(tensor):
    return tensor.permute(1, 2, 0).numpy() * 255


@pytest.mark.parametrize(("ending", "options"), [("png", {}), ("webp", {"lossless": True}), ("PNG", {"format": "PNG"})])
def test_lossless_files_give_their_pixels(tmp_path, ending, options):
    found = read_image(saved(tmp_path / f"a.{ending}", Image.fromarray(PIXELS), **options))
    assert found.shape == (3, 5, 7)
    assert str(found.dtype) == "torch.float32"
    np.testing.assert_allclose(as_pixels(found), PIXELS, atol=1e-4)


def test_jpeg_and_cmyk_are_read(tmp_path):
    red = Image.new("RGB", (16, 16), (200, 30, 40))
    for mode in ("RGB", "CMYK", "L"):
        found = as_pixels(read_image(saved(tmp_path / f"{mode}.jpg", red.convert(mode), quality=95)))
        expected = np.asarray(red.convert(mode).convert("RGB"), dtype=float)
        np.testing.assert_allclose(found, expected, atol=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = as_pixels(read_image(saved(tmp_path / "a.png", Image.fromarray(PIXELS), exif=exif)))
    turned = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.transpose(1, 0, 2),
        6: np.rot90(PIXELS, -1),
        7: PIXELS.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(PIXELS),
    }
    np.testing.assert_allclose(found, turned[orientation], atol=1e-4)


def test_transparency_is_laid_on_white(tmp_path):
    alpha = np.array([[0, 255, 51]], dtype=np.uint8)
    colour = np.full((1, 3, 3), 100, dtype=np.uint8)
    image = Image.fromarray(np.dstack([colour, alpha]))
    expected = [255, 100, 100 * 0.2 + 255 * 0.8]
    np.testing.assert_allclose(as_pixels(read_image(saved(tmp_path / "rgba.png", image)))[0, :, 0], expected, atol=1e-3)
    gray = image.convert("LA")
    np.testing.assert_allclose(as_pixels(read_image(saved(tmp_path / "la.png", gray)))[0, :, 2], expected, atol=1e-3)


def test_palettes_are_looked_up_with_their_transparent_entry(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).convert("L")
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    plain = as_pixels(read_image(saved(tmp_path / "a.png", image)))
    np.testing.assert_allclose(plain[0], [[10, 20, 30], [40, 50, 60], [70, 80, 90]], atol=1e-4)
    clear = as_pixels(read_image(saved(tmp_path / "b.png", image, transparency=1)))
    np.testing.assert_allclose(clear[0], [[10, 20, 30], [255, 255, 255], [70, 80, 90]], atol=1e-4)


def test_sixteen_bit_gray_keeps_its_bits_and_one_bit_is_black_and_white(tmp_path):
    deep = np.array([[0, 1, 257, 32768, 65535]], dtype=np.uint16)
    found = read_image(saved(tmp_path / "a.png", Image.fromarray(deep)))
    np.testing.assert_allclose(found[1].numpy() * 65535, deep, atol=0.01)
    bits = read_image(saved(tmp_path / "b.png", Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")))
    assert bits[0].tolist() == [[0, 1]]


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_allclose(as_pixels(read_image(tmp_path / "a.webp"))[0, 0], [255, 0, 0], atol=1)


@pytest.mark.parametrize(("ending", "off_by"), [("bmp", 0), ("gif", 60), ("tiff", 0), ("tif", 0), ("avif", 60)])
def test_formats_of_cameras_and_microscopes(tmp_path, ending, off_by):
    smooth = np.linspace(20, 200, 16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
    for name in (f"a.{ending}", f"a.{ending.upper()}"):
        Image.fromarray(smooth).save(tmp_path / name)
        found = as_pixels(read_image(tmp_path / name))
        assert found.shape == (16, 16, 3)
        assert np.abs(found - smooth).max() <= off_by + 1e-3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV"])
def test_pictures_of_every_mode_are_colours(mode):
    white = Image.new("RGB", (4, 4), "white")
    image = Image.new("LAB", (4, 4), (255, 128, 128)) if mode == "LAB" else white.convert(mode)
    np.testing.assert_allclose(rgb_of(image), 1, atol=0.02)


def test_thirty_two_bit_gray_in_memory_is_that_of_sixteen_bits(tmp_path):
    deep = np.array([[0, 1, 257, 32768, 65535]], dtype=np.uint16)
    saved(tmp_path / "a.png", Image.fromarray(deep))
    in_memory = Image.fromarray(deep.astype(np.int32))
    assert in_memory.mode == "I"
    np.testing.assert_array_equal(rgb_of(in_memory).transpose(2, 0, 1), read_image(tmp_path / "a.png").numpy())
    with pytest.raises(ValueError, match=r"its values go from -1 to 70000, and 0 to 65535 are accepted"):
        rgb_of(Image.fromarray(np.array([[-1, 70000]], dtype=np.int32)))


@pytest.mark.parametrize("values", [[[0.0, 0.25, 1.0]], [[0.0, 63.75, 255.0]]])
def test_pictures_of_floats(values):
    np.testing.assert_allclose(rgb_of(Image.fromarray(np.float32(values)))[0, :, 0], [0, 0.25, 1], atol=1e-6)
    with pytest.raises(ValueError, match="its values go from"):
        rgb_of(Image.fromarray(np.float32([[0, 300]])))


def test_a_file_of_pages_says_that_the_first_is_used(tmp_path, caplog):
    pages = [Image.new("L", (4, 4), shade) for shade in (0, 255)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    assert read_image(tmp_path / "a.tiff").max() == 0
    assert "has 2 pages: the first is used" in caplog.text


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_damaged_exif_leaves_the_pixels_whole(tmp_path, ending, caplog):
    options = {"lossless": True} if ending == "webp" else {}
    Image.fromarray(PIXELS).save(tmp_path / f"plain.{ending}", **options)
    for number, exif in enumerate(
        (b"Exif\0\0broken", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", b"Exif\0\0MM\0*\xff\xff\xff\xff")
    ):
        path = tmp_path / f"{number}.{ending}"
        if ending == "png":
            content = (tmp_path / "plain.png").read_bytes()
            place = content.index(b"IDAT") - 4
            path.write_bytes(content[:place] + chunk(b"eXIf", exif[6:]) + content[place:])
        else:
            Image.fromarray(PIXELS).save(path, exif=exif, **options)
        np.testing.assert_array_equal(read_image(path), read_image(tmp_path / f"plain.{ending}"))
    assert ending != "png" or "0.png is read as it is stored: its EXIF is damaged" in caplog.text


# --- what is refused ------------------------------------------------------------------------------------------------


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width, height):
    """A few bytes that declare a huge PNG."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (12_000, 12_000), (8_001, 8_000)])
def test_a_decompression_bomb_is_an_error(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(bomb(*size))
    with pytest.raises(UnusableSampleError, match=r"bomb\.png cannot be used: .*pixels"):
        read_image(tmp_path / "bomb.png")


def test_a_file_that_ends_too_early_is_an_error_that_names_it(tmp_path):
    whole = tmp_path / "whole.jpg"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(whole)
    (tmp_path / "half.jpg").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(UnusableSampleError, match=r"half\.jpg cannot be used: .*truncated") as error:
        read_image(tmp_path / "half.jpg")
    assert error.value.path == str(tmp_path / "half.jpg")
    assert "truncated" in error.value.reason


@pytest.mark.parametrize("ending", ["ppm", "ico", "tga"])
def test_other_formats_are_refused_under_any_name(tmp_path, ending):
    for name in (f"a.{ending}", "a.png"):
        Image.fromarray(PIXELS).save(tmp_path / name, format=ending.upper())
        with pytest.raises(UnusableSampleError, match=r"it is no PNG, JPEG, WEBP, BMP, GIF, TIFF, AVIF image; give"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"not an image at all", b"\xff\xd8\xff\xe0"])
def test_other_bytes_are_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnusableSampleError) as error:
        read_image(tmp_path / "a.png")
    assert "0x" not in error.value.reason  # no memory address: the same file gives the same words
    assert ("it is empty" in error.value.reason) == (not content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_damaged_bytes_give_an_image_or_our_error(kind):
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (24, 24, 3), dtype=np.uint8)).save(buffer, format=kind)
    draw = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        content = bytearray(buffer.getvalue())
        for place in draw.integers(0, len(content), 4):
            content[place] = draw.integers(256)
        try:
            found = module.decode_image(bytes(content), "x")
            assert found.shape[0] == 3
        except UnusableSampleError:
            refused += 1
    assert refused


def test_missing_files_folders_and_large_files_are_refused(tmp_path, monkeypatch):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(UnusableSampleError, match="give a file that can be read"):
            read_image(path)
    saved(tmp_path / "a.png", Image.fromarray(PIXELS))
    monkeypatch.setattr(module, "MOST_BYTES", 20)
    with pytest.raises(UnusableSampleError, match="larger than"):
        read_image(tmp_path / "a.png")
