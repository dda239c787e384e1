"""Images and masks from disk in every stored form, and damaged ones."""

from __future__ import annotations

import os
import tracemalloc
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from data_builders import picture, png_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, ImageFile

from mintad.data import images as module
from mintad.data.images import FORMATS, IMAGE_SUFFIXES, is_image, open_image, read_image, read_mask, resize_mask
from mintad.disk import MAX_BYTES
from mintad.errors import DataError


def fault_of(path: Path) -> DataError:
    """The error of reading an image, which says what to do and names the file."""
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert caught.value.path == str(path) and caught.value.fix
    return caught.value


RGB = np.asarray(picture("images"))
GREY = RGB[..., 0]


def stored(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


def test_grey_palette_transparency_and_1_bit(tmp_path: Path):
    grey = stored(tmp_path / "l.png", Image.fromarray(GREY))
    assert read_image(grey).mode == "RGB"
    assert (np.asarray(read_image(grey)) == GREY[..., None]).all()

    colour = Image.fromarray(RGB)
    rgba = colour.copy()
    rgba.putalpha(Image.fromarray(GREY))  # the stored colour counts, not the transparency
    assert (np.asarray(read_image(stored(tmp_path / "rgba.png", rgba))) == RGB).all()
    assert (np.asarray(read_image(stored(tmp_path / "rgba.tif", rgba))) == RGB).all()

    la = Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(GREY)))
    assert (np.asarray(read_image(stored(tmp_path / "la.png", la))) == GREY[..., None]).all()

    palette = colour.quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    assert (np.asarray(read_image(stored(tmp_path / "p.png", palette))) == expected).all()
    assert (np.asarray(read_image(stored(tmp_path / "pt.png", palette, transparency=b"\0" * 16))) == expected).all()
    assert (np.asarray(read_image(stored(tmp_path / "p.gif", palette))) == expected).all()

    bits = Image.fromarray(GREY > 127)
    assert (np.asarray(read_image(stored(tmp_path / "1.png", bits))) == (GREY > 127)[..., None] * 255).all()


@pytest.mark.filterwarnings("error")
def test_palettes_with_transparency_are_read_in_silence(tmp_path: Path):
    path = stored(tmp_path / "pt.png", Image.fromarray(RGB).quantize(8), transparency=b"\0" * 8)
    assert read_image(path).mode == "RGB"


def test_cmyk(tmp_path: Path):
    ink = np.zeros((4, 5, 4), dtype=np.uint8)
    ink[..., 0] = 255  # full cyan
    path = stored(tmp_path / "c.tif", Image.fromarray(ink, mode="CMYK"))
    assert read_image(path).mode == "RGB"
    assert np.asarray(read_image(path))[0, 0].tolist() == [0, 255, 255]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_has_a_fixed_scale(tmp_path: Path, suffix: str):
    values = np.array([[0, 257, 514, 65535], [128, 129, 385, 386]], dtype=np.uint16)
    path = stored(tmp_path / f"deep{suffix}", Image.fromarray(values))
    assert np.asarray(read_image(path))[..., 0].tolist() == [[0, 1, 2, 255], [0, 1, 1, 2]]
    dark = stored(tmp_path / f"dark{suffix}", Image.fromarray(values // 257 * 16))  # not stretched to its range
    assert np.asarray(read_image(dark)).max() == round(255 * 16 / 257)


def test_big_endian_16_bit(tmp_path: Path):
    path = tmp_path / "deep.pgm"  # portable grey maps are big-endian
    path.write_bytes(b"P5 2 1 65535\n" + np.array([257, 65535], dtype=">u2").tobytes())
    assert np.asarray(read_image(path))[0, :, 0].tolist() == [1, 255]


def test_unknown_ranges_are_refused(tmp_path: Path):
    floats = stored(tmp_path / "f.tif", Image.fromarray(np.ones((3, 3), dtype=np.float32)))
    assert "floating point" in fault_of(floats).problem
    ints = stored(tmp_path / "i.tif", Image.fromarray(np.full((3, 3), 70000, dtype=np.int32)))
    assert "32-bit" in fault_of(ints).problem
    assert (
        "signed" in fault_of(stored(tmp_path / "s.tif", Image.fromarray(np.full((3, 3), -7, dtype=np.int32)))).problem
    )


def test_exif_orientation_is_ignored_since_masks_follow_the_stored_pixels(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    path = stored(tmp_path / "turned.png", Image.fromarray(RGB), exif=exif)
    assert (np.asarray(read_image(path)) == RGB).all()


def test_first_frame_of_several(tmp_path: Path):
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    path = stored(tmp_path / "pages.tif", first, save_all=True, append_images=[second])
    assert (np.asarray(read_image(path))[..., 0] == GREY).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_truncated_files_are_named_with_a_fix(tmp_path: Path, suffix: str):
    path = stored(tmp_path / f"cut{suffix}", picture("cut", (64, 64)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cannot be read" in fault_of(path).problem


def test_other_unreadable_files(tmp_path: Path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    for name in ("empty.png", "text.jpg", "folder.png"):
        assert "cannot be read" in fault_of(tmp_path / name).problem
    assert fault_of(tmp_path / "gone.png").problem == "no such file"


@pytest.mark.parametrize("side", [9_500, 20_000])  # above Pillow's warning, above Pillow's error
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_decompression_bombs(tmp_path: Path, side: int, action: str):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        assert "too large" in fault_of(path).problem


def test_bombs_are_refused_even_if_pillow_would_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(20_000, 20_000))
    assert "too large" in fault_of(path).problem


def test_pillow_is_left_as_it_was():
    assert Image.MAX_IMAGE_PIXELS == 1024**3 // 4 // 3
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def _encoded(suffix: str) -> bytes:
    buffer = BytesIO()
    picture("fuzz", (16, 16)).save(buffer, format={".jpg": "JPEG"}.get(suffix, suffix[1:].upper()))
    return buffer.getvalue()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_give_an_image_or_a_data_error(tmp_path: Path, data):
    suffix = data.draw(st.sampled_from([".png", ".jpg", ".bmp", ".gif"]))
    content = bytearray(_encoded(suffix))
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / f"fuzz{suffix}"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert read_image(path).mode == "RGB"
        except DataError as fault:
            assert fault.path == str(path)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n%%EOF\n"


def test_no_program_is_started_for_what_only_looks_like_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pillow would give an EPS file, whatever its name, to the program gs, if there is one."""
    called, program = tmp_path / "called", tmp_path / "bin/gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {called}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    path = tmp_path / "x.png"
    path.write_bytes(EPS)
    assert "cannot be read" in fault_of(path).problem
    with pytest.raises(DataError):
        read_mask([path])
    assert not called.exists()
    with pytest.raises(Exception), Image.open(path) as image:  # noqa: B017 (so it would have been)
        image.load()
    assert called.exists()


def test_only_the_listed_formats_are_decoded(tmp_path: Path):
    Image.init()
    assert {Image.registered_extensions()[suffix] for suffix in IMAGE_SUFFIXES} == set(FORMATS)
    others, refused = set(Image.OPEN) & set(Image.SAVE) - {*FORMATS, "MPO", "DIB", "IM"}, 0
    for name in sorted(others):
        buffer = BytesIO()
        try:
            picture("other", (32, 32)).convert("RGB").save(buffer, name)
        except Exception:  # it takes other pictures, or a program
            continue
        path = tmp_path / "x.png"
        path.write_bytes(buffer.getvalue())
        assert "none of" in fault_of(path).problem, name
        refused += 1
    assert refused >= 5


def test_pipes_devices_and_links_to_them_are_refused_and_not_opened(tmp_path: Path, make_pipe):
    make_pipe(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    for name, kind in (("pipe", "named pipe"), ("link", "named pipe"), ("null", "device")):
        path = tmp_path / f"{name}.png"
        assert kind in fault_of(path).problem
        with pytest.raises(DataError, match=kind):
            read_mask([path])


def test_files_that_nobody_could_hold_are_refused_by_their_size(tmp_path: Path):
    path = tmp_path / "sparse.png"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "too large" in fault_of(path).problem


@pytest.mark.parametrize("size", [(70_000, 9), (9, 70_000)])
def test_long_and_thin_pictures_are_refused(tmp_path: Path, size: tuple[int, int]):
    path = tmp_path / "line.png"
    path.write_bytes(png_header(*size))
    assert "too large" in fault_of(path).problem and f"{size[0]} x {size[1]}" in fault_of(path).problem


def test_deep_pictures_take_no_wider_copy(tmp_path: Path):
    values = np.arange(65536, dtype=np.uint16).repeat(32).reshape(2048, 1024)
    path = stored(tmp_path / "deep.png", Image.fromarray(values))
    image = open_image(path)
    tracemalloc.start()  # what NumPy takes
    grey = np.asarray(module.to_rgb(image, path))[..., 0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (grey == (values.astype(int) + 128) // 257).all()
    assert peak < 9 * values.size  # 3 of them are the result, as bytes and as array; 64-bit integers alone are 8


def _mask(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    return stored(path, Image.fromarray(values.astype(np.uint8)).convert(mode))


def test_mask_is_everything_but_black(tmp_path: Path):
    small = np.zeros((4, 6), dtype=np.uint8)
    small[1, 2], small[3, 5] = 1, 3  # VisA numbers its defects
    expected = small > 0
    assert (read_mask([_mask(tmp_path / "l.png", small)]) == expected).all()
    assert (read_mask([stored(tmp_path / "16.png", Image.fromarray(small.astype(np.uint16)))]) == expected).all()
    for mode in ("RGB", "RGBA", "LA"):  # opaque everywhere
        assert (read_mask([_mask(tmp_path / f"{mode}.png", small, mode)]) == expected).all()
    assert (read_mask([stored(tmp_path / "b.bmp", Image.fromarray(expected))]) == expected).all()


def test_palette_masks_are_told_by_colour_not_by_index(tmp_path: Path):
    image = Image.fromarray(np.array([[0, 1], [1, 0]], dtype=np.uint8), mode="P")
    image.putpalette([255, 255, 255, 0, 0, 0])  # index 0 is white, index 1 black
    path = stored(tmp_path / "p.png", image)
    assert read_mask([path]).tolist() == [[True, False], [False, True]]


def test_jpeg_masks_have_a_threshold(tmp_path: Path):
    values = np.zeros((32, 32), dtype=np.uint8)
    values[10:20, 13:23] = 255
    path = stored(tmp_path / "m.jpg", Image.fromarray(values), quality=60)
    assert (np.asarray(Image.open(path))[values == 0] > 0).any()  # the blur is there
    assert (read_mask([path]) == (values > 0)).mean() > 0.99


@given(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
def test_several_masks_are_united(tmp_path: Path, patterns: list[int]):
    parts = [np.array([(bits >> k) & 1 for k in range(16)], dtype=bool).reshape(2, 8) for bits in patterns]
    paths = [_mask(tmp_path / f"{k}.png", part * 255) for k, part in enumerate(parts)]
    assert (read_mask(paths) == np.logical_or.reduce(parts)).all()
    assert (read_mask(paths[::-1], size=(8, 2)) == np.logical_or.reduce(parts)).all()


def test_mask_of_another_size(tmp_path: Path):
    wide, high = _mask(tmp_path / "wide.png", np.ones((2, 3))), _mask(tmp_path / "high.png", np.ones((3, 2)))
    with pytest.raises(DataError, match="2 x 3 pixels.*3 x 2") as caught:
        read_mask([wide, high])
    assert caught.value.path == str(high)
    with pytest.raises(DataError, match="3 x 2 pixels.*2 x 3") as caught:
        read_mask([wide], size=(2, 3))
    assert caught.value.path == str(wide)


def test_a_mask_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path):
    path = tmp_path / "large.png"
    path.write_bytes(png_header(9_000, 9_000))  # whose pixels are missing
    with pytest.raises(DataError, match="9000 x 9000 pixels.*8 x 4"):
        read_mask([path], size=(8, 4))


def test_no_masks():
    assert read_mask((), size=(3, 2)).tolist() == [[False] * 3] * 2
    with pytest.raises(DataError, match="size"):
        read_mask(())


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**31))
def test_resize_mask(height: int, width: int, up: int, across: int, seed: int):
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    larger = resize_mask(mask, (height * up, width * across))
    assert (larger == np.kron(mask, np.ones((up, across), dtype=bool))).all()
    assert (resize_mask(larger, (height, width)) == mask).all()
    assert resize_mask(mask, (up, across)).shape == (up, across)


def test_resize_mask_takes_the_middle():
    assert resize_mask(np.array([[False, True, False]]), (1, 1)).tolist() == [[True]]


def test_which_names_are_images(tmp_path: Path):
    assert all(is_image(name) for name in ("a.png", "A.PNG", "b.Jpeg", tmp_path / "c.tiff", "x/y.BMP"))
    assert not any(is_image(name) for name in ("a.txt", "png", ".png", "._a.png", "Thumbs.db", "x.png/readme"))


def test_open_image_keeps_the_stored_mode(tmp_path: Path):
    assert open_image(stored(tmp_path / "l.png", Image.fromarray(GREY))).mode == "L"
