"""Images in tar archives: what webdataset writes, class folders, and archives that are damaged or ambiguous."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from genmend.manifold.features import UnusableSampleError, features_of
from genmend.manifold.features.feature_set import kind_of
from genmend.manifold.features.sources import NO_LABEL, samples_of

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 6, 8, 3), dtype=np.uint8)


def means(images):
    return images.mean((2, 3))


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def written(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def shards(folder, split=4):
    """Seven images in two shards, with their class as .cls, .json, or not at all."""
    folder.mkdir()
    for number, rows in enumerate((range(split), range(split, 7))):
        members = []
        for row in rows:
            members.append((f"sample{row:04d}.png", png(PIXELS[row])))
            if row < 5:
                members.append((f"sample{row:04d}.cls", str(row % 2).encode()))
            members.append((f"sample{row:04d}.json", json.dumps({"label": "cat", "seed": row}).encode()))
            members.append((f"sample{row:04d}.txt", b"a caption"))
        written(folder / f"{number:06d}.tar", members)
    return folder


def rows():
    return PIXELS.transpose(0, 3, 1, 2).astype(np.float32).mean((2, 3)) / 255


def test_shards_as_webdataset_writes_them(tmp_path):
    folder = shards(tmp_path / "shards")
    pattern = str(folder / "{000000..000001}.tar")
    files = sorted(folder.iterdir())
    for source in (folder, pattern, str(folder / "*.tar"), files):
        found = features_of(source, means)
        assert (found.kind, kind_of(source)) == ("images", "images")
        assert found.names == [f"sample{row:04d}.png" for row in range(7)]
        assert found.labels == ["0", "1", "0", "1", "0", "cat", "cat"]
        np.testing.assert_allclose(found.values, rows(), atol=1e-6)
        np.testing.assert_allclose(found.sample(5).numpy(), PIXELS[5].transpose(2, 0, 1) / 255, atol=1e-6)
    assert features_of(files[1], means).names[0] == "sample0004.png"
    drawn = features_of(folder, means, limit=3, seed=1)
    assert drawn.drawn["n_given"] == 7
    assert drawn.labels == [found.labels[found.names.index(name)] for name in drawn.names]


def test_nothing_is_unpacked_and_the_cache_knows_an_image_by_its_bytes(tmp_path):
    folder = shards(tmp_path / "shards")
    (tmp_path / "images").mkdir()
    for row in range(7):
        (tmp_path / "images" / f"{row}.png").write_bytes(png(PIXELS[row]))
    before = sorted(tmp_path.rglob("*"))
    seen = []

    class Counting:
        def __call__(self, images):
            seen.append(len(images))
            return means(images)

        def pipeline(self):
            return {"extractor": "counting"}

    features_of(tmp_path / "images", Counting())
    found = features_of(folder, Counting())
    assert sum(seen) == 7, "the images of the folder were kept"
    np.testing.assert_allclose(found.values, rows(), atol=1e-6)
    assert [path for path in sorted(tmp_path.rglob("*")) if "cache" not in path.parts] == before


def test_a_plain_archive_of_class_folders(tmp_path):
    members = [(f"./{'ab'[row % 2]}/img.{row}.png", png(PIXELS[row])) for row in range(7)]
    members += [("a/._img.0.png", b"of a Mac"), ("notes.txt", b"")]
    samples = samples_of(written(tmp_path / "all.tar", members))
    assert samples.names[:2] == ["a/img.0.png", "b/img.1.png"]
    assert samples.labels_of([0, 1]) is None
    assert len(samples.names) == 7
    both = samples_of([tmp_path / "all.tar", written(tmp_path / "again.tar", members)])
    assert both.names[0] == "a/img.0.png (all.tar)"


def test_an_ending_names_the_image_where_a_key_has_several(tmp_path):
    members = [(f"{row}.{what}.png", png(PIXELS[row])) for row in range(3) for what in ("input", "mask")]
    path = written(tmp_path / "pairs.tar", members)
    with pytest.raises(ValueError, match=r"several images a sample \(\.input\.png, \.mask\.png\); name one, as PATH:i"):
        samples_of(path)
    assert samples_of(f"{path}:mask.png").names == [f"{row}.mask.png" for row in range(3)]
    with pytest.raises(ValueError, match=r"holds no images that end in \.jpg; it has \.input\.png"):
        samples_of(f"{path}:jpg")


def test_a_damaged_image_is_skipped_and_a_link_is_not_followed(tmp_path):
    path = written(tmp_path / "some.tar", [("0.png", png(PIXELS[0])), ("1.png", png(PIXELS[1])[:40])])
    with tarfile.open(path, "a") as archive:
        for name, kind in (("2.png", tarfile.SYMTYPE), ("3.png", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else "0.png"
            archive.addfile(info)
    with pytest.raises(UnusableSampleError, match=r"some\.tar, 1\.png cannot be used.*2 of 4 samples were looked at"):
        features_of(path, means)
    found = features_of(path, means, on_error="skip")
    assert found.names == ["0.png"]
    assert [name for name, _ in found.skipped] == ["1.png", "2.png", "3.png"]
    assert found.skipped[1][1] == "it is a link inside the archive; store the image itself"


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9])
def test_an_archive_that_was_cut_off_is_one_sentence(tmp_path, kept):
    path = written(tmp_path / "cut.tar", [(f"{row}.png", png(PIXELS[row])) for row in range(7)])
    content = path.read_bytes()
    end = len(content.rstrip(b"\0"))
    path.write_bytes(content[: int(end * kept)])
    with pytest.raises(ValueError, match=r"cut\.tar is (no intact tar archive|cut off or damaged) after \d"):
        features_of(path, means)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no intact tar archive"),
        (b"no archive" * 100, "is no intact tar archive"),
        (b"\x1f\x8b" + bytes(600), "is no intact tar archive"),
    ],
)
def test_what_is_no_archive_is_one_sentence(tmp_path, content, words):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        features_of(tmp_path / "a.tar", means)


def test_a_broken_header_in_the_middle_is_no_end(tmp_path):
    path = written(tmp_path / "broken.tar", [(f"{row}.png", png(PIXELS[row])) for row in range(4)])
    content = bytearray(path.read_bytes())
    at = content.index(b"2.png")
    content[at + 148 : at + 156] = b"99999999"  # its check sum
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cut off or damaged after 2 members"):
        features_of(path, means)
    joined = written(tmp_path / "one.tar", [("0.png", png(PIXELS[0]))]).read_bytes()
    path.write_bytes(joined + joined)
    with pytest.raises(ValueError, match=r"cut off or damaged after 1 members"):
        features_of(path, means)


def test_other_archives_are_refused_with_what_to_do(tmp_path):
    written(tmp_path / "texts.tar", [("0.txt", b"a caption")])
    with pytest.raises(ValueError, match=r"texts\.tar holds no images"):
        features_of(tmp_path / "texts.tar", means)
    written(tmp_path / "a.tar.gz", [("0.png", png(PIXELS[0]))], "w:gz")
    with pytest.raises(ValueError, match=r"a\.tar\.gz is compressed.*give the plain \.tar"):
        features_of(tmp_path / "a.tar.gz", means)
    shards(tmp_path / "gaps")
    with pytest.raises(FileNotFoundError, match=r"names 3 files, of which 1 are missing, the first .*000002\.tar"):
        features_of(str(tmp_path / "gaps" / "{000000..000002}.tar"), means)
    with pytest.raises(FileNotFoundError, match=r"There is no .*no_\*\.tar"):
        features_of(str(tmp_path / "gaps" / "no_*.tar"), means)


def test_labels_and_their_features_are_kept_in_a_file(tmp_path):
    found = features_of(shards(tmp_path / "shards"), means)
    found.save(tmp_path / "ref.safetensors")
    again = features_of(tmp_path / "ref.safetensors")
    assert (again.labels, again.names) == (found.labels, found.names)
    assert torch.equal(again.sample(2), found.sample(2))
    part = features_of(tmp_path / "ref.safetensors", limit=4)
    assert part.labels == [found.labels[found.names.index(name)] for name in part.names]
    assert part.drawn_at_random(2, 0).labels == [found.labels[found.names.index(name)] for name in
                                                 part.drawn_at_random(2, 0).names]  # fmt: skip
    (tmp_path / "some").mkdir()
    written(tmp_path / "some" / "s.tar", [("0.png", png(PIXELS[0])), ("0.cls", b"3"), ("1.png", png(PIXELS[1]))])
    assert features_of(tmp_path / "some", means).labels == ["3", NO_LABEL]
