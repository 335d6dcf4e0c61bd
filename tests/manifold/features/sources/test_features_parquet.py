"""Encoded images in parquet files: as Hugging Face data sets are stored, as bytes alone, damaged, and ambiguous."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from genmend.manifold.features import UnusableSampleError, features_of
from genmend.manifold.features.feature_set import kind_of
from genmend.manifold.features.sources import parquet_images, samples_of

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 6, 8, 3), dtype=np.uint8)
NAMES = ["cat", "dog"]
AS_STORED = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}}}


def means(images):
    return images.mean((2, 3))


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def cells(rows=range(7)):
    return pa.array([{"bytes": png(PIXELS[row]), "path": None} for row in rows])


def hugging_face(path, rows=range(7), labels=None, **options):
    columns = {"image": cells(rows), "label": [row % 2 for row in rows] if labels is None else labels}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(AS_STORED)})
    pq.write_table(table, path, **options)
    return path


def rows():
    return PIXELS.transpose(0, 3, 1, 2).astype(np.float32).mean((2, 3)) / 255


def test_a_data_set_as_hugging_face_stores_it(tmp_path, monkeypatch):
    path = hugging_face(tmp_path / "train.parquet", row_group_size=3)
    read = []
    whole = parquet_images._cells
    monkeypatch.setattr(parquet_images, "_cells", lambda file, group, column: read.append(group.number)
                        or whole(file, group, column))  # fmt: skip
    found = features_of(path, means)
    assert read == [0, 1, 2], "each row group once"
    assert (found.kind, kind_of(path), found.source) == ("images", "images", f"{path}:image")
    assert (found.names, found.labels) == (list("0123456"), ["cat", "dog", "cat", "dog", "cat", "dog", "cat"])
    np.testing.assert_allclose(found.values, rows(), atol=1e-6)
    np.testing.assert_allclose(found.sample(5).numpy(), PIXELS[5].transpose(2, 0, 1) / 255, atol=1e-6)
    np.testing.assert_array_equal(features_of(f"{path}:image", means).values, found.values)
    found.save(tmp_path / "ref.safetensors")
    again = features_of(tmp_path / "ref.safetensors")
    assert again.labels == found.labels
    assert (again.sample(2) == found.sample(2)).all()


def test_shards_of_one_part_of_several(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for number, part in enumerate((range(4), range(4, 7))):
        hugging_face(folder / f"train-0000{number}-of-00002.parquet", part)
    found = features_of(tmp_path, means)
    assert found.names[3:5] == ["train-00000-of-00002.parquet:3", "train-00001-of-00002.parquet:0"]
    np.testing.assert_allclose(found.values, rows(), atol=1e-6)
    hugging_face(folder / "test-00000-of-00001.parquet", range(2), labels=[-1, -1])
    with pytest.raises(ValueError, match=r"2 parts of a data set: data/test, data/train; name one, as '.*/test-\*\.p"):
        features_of(tmp_path, means)
    test = features_of(str(folder / "test-*.parquet"), means)
    assert (len(test), test.labels) == (2, None)
    assert len(features_of(str(folder / "train-*.parquet"), means)) == 7


def test_other_columns(tmp_path):
    images = [png(one) for one in PIXELS]
    several = {"left": images, "right": images[::-1], "class": list("aabbaab"), "caption": ["text"] * 7}
    pq.write_table(pa.table(several), tmp_path / "several.parquet")
    with pytest.raises(ValueError, match=r"2 columns that may be images: left, right; name one, as .*\.parquet:left"):
        features_of(tmp_path / "several.parquet", means)
    found = features_of(f"{tmp_path / 'several.parquet'}:right", means)
    np.testing.assert_allclose(found.values, rows()[::-1], atol=1e-6)
    assert found.labels == list("aabbaab")
    with pytest.raises(ValueError, match=r"no column 'image'; its columns are left, right, class, caption"):
        features_of(f"{tmp_path / 'several.parquet'}:image", means)
    with pytest.raises(ValueError, match=r"The column 'caption' of .* is string; encoded images are accepted"):
        features_of(f"{tmp_path / 'several.parquet'}:caption", means)
    pq.write_table(pa.table({"image": images, "thumbnail": images}), tmp_path / "known.parquet")
    assert features_of(tmp_path / "known.parquet", means).source.endswith("known.parquet:image")
    pq.write_table(pa.table({"caption": ["a"], "x": [1.5]}), tmp_path / "no.parquet")
    with pytest.raises(ValueError, match=r"no column of encoded images .*its columns are caption, x"):
        features_of(tmp_path / "no.parquet", means)
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match=r"has no rows"):
        features_of(tmp_path / "empty.parquet", means)
    hugging_face(tmp_path / "image.parquet")
    with pytest.raises(ValueError, match=r"several\.parquet has no column 'image' of images"):
        samples_of([tmp_path / "image.parquet", tmp_path / "several.parquet"])


def test_cells_that_hold_no_image_are_named_and_skipped(tmp_path):
    column = [{"bytes": png(PIXELS[0]), "path": None}, {"bytes": None, "path": "gone.png"}, None,
              {"bytes": png(PIXELS[1])[:50], "path": None}]  # fmt: skip
    pq.write_table(pa.table({"image": column}), tmp_path / "a.parquet")
    with pytest.raises(UnusableSampleError, match=r"a\.parquet, row 1 cannot be used: its column image holds no bytes"):
        features_of(tmp_path / "a.parquet", means)
    found = features_of(tmp_path / "a.parquet", means, on_error="skip")
    assert (found.names, [name for name, _ in found.skipped]) == (["0"], ["1", "2", "3"])


def damaged(content):
    middle = len(content) // 3
    return content[:middle] + bytes(200) + content[middle + 200 :]


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:-40], lambda c: b"PAR1" * 30, damaged])
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    path = hugging_face(tmp_path / "a.parquet", compression="snappy", row_group_size=7)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"a\.parquet(, row \d|) (is no intact parquet file|cannot be used)") as error:
        features_of(path, means)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    path = hugging_face(tmp_path / "a.parquet")
    monkeypatch.setattr(parquet_images, "_MOST_GROUP_BYTES", 100)
    with pytest.raises(ValueError, match=r"row group of 0 GB, which would be held in memory; .*row_group_size=1000"):
        features_of(path, means)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"needs the package pyarrow.*pip install 'genmend\[parquet\]'"):
        features_of(path, means)
