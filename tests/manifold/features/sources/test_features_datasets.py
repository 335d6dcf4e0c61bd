"""Data sets that give an item by its number: tuples, mappings, encoded images, labels with names, and broken items."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from genmend.manifold.features import UnusableSampleError, features_of
from genmend.manifold.features.feature_set import kind_of
from genmend.manifold.features.sources import samples_of

IMAGES = torch.rand(11, 3, 6, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(11) % 2


def means(images):
    return images.mean((2, 3))


class Counting:
    """An extractor whose features are cached."""

    def __init__(self):
        self.seen = 0

    def __call__(self, images):
        self.seen += len(images)
        return means(images)

    def pipeline(self):
        return {"extractor": "counting"}


def picture(image):
    return Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy())


def png(image):
    content = io.BytesIO()
    picture(image).save(content, "PNG")
    return content.getvalue()


class Pairs(Dataset):
    """As torchvision's: pictures and class numbers, with the names of the classes."""

    classes = ("cat", "dog")

    def __len__(self):
        return 11

    def __getitem__(self, index):
        return picture(IMAGES[index]), int(LABELS[index])


class Named(Pairs):
    targets = LABELS.tolist()
    read = 0

    def __getitem__(self, index):
        Named.read += 1
        return super().__getitem__(index)


@pytest.mark.parametrize(
    ("source", "labels"),
    [
        (Pairs(), ["cat", "dog"]),
        (Named(), ["cat", "dog"]),
        (TensorDataset(IMAGES, LABELS), ["0", "1"]),
        (Subset(TensorDataset(IMAGES, LABELS), range(11)), ["0", "1"]),
        ([{"image": picture(image), "label": int(label)} for image, label in zip(IMAGES, LABELS, strict=True)], "01"),
        ([{"img": {"bytes": png(image), "path": None}} for image in IMAGES], None),
        ([(image, label) for image, label in zip(IMAGES, ["a", "b"] * 6, strict=False)], "ab"),
    ],
)
def test_every_form_gives_the_features_of_the_images_and_the_labels(source, labels):
    extractor = Counting()
    found = features_of(source, extractor)
    assert (found.kind, kind_of(source), found.names) == ("images", "images", [str(row) for row in range(11)])
    np.testing.assert_allclose(found.values, means(IMAGES).numpy(), atol=2e-3)
    assert found.labels == (None if labels is None else [labels[int(label)] for label in LABELS])
    np.testing.assert_allclose(found.sample(3).numpy(), IMAGES[3].numpy(), atol=3e-3)
    again = features_of(source, extractor)
    assert (extractor.seen, again.labels) == (11, found.labels), "kept by content"
    drawn = features_of(source, extractor, limit=4, seed=2)
    assert drawn.names == [str(row) for row in sorted(np.random.default_rng(2).choice(11, 4, replace=False))]


def test_a_loader_of_a_data_set_has_the_names_of_its_classes():
    loader = DataLoader(Pairs(), batch_size=4, collate_fn=list)
    assert features_of(loader, means).labels == [["cat", "dog"][label] for label in LABELS]


def test_hugging_faces_own_data_sets():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    columns = {"image": [picture(image) for image in IMAGES], "label": LABELS.tolist()}
    found = datasets.Dataset.from_dict(columns, features=features)
    of_tensors = found.with_format("torch")
    undecoded = found.cast_column("image", datasets.Image(decode=False))
    for source in (found, of_tensors, undecoded, found.to_iterable_dataset()):
        read = features_of(source, means)
        np.testing.assert_allclose(read.values, means(IMAGES).numpy(), atol=2e-3)
        assert read.labels == [["cat", "dog"][label] for label in LABELS]
    with pytest.raises(TypeError, match=r"DatasetDict.*train, test"):
        features_of(datasets.DatasetDict({"train": found, "test": found}), means)


class Broken(Pairs):
    def __getitem__(self, index):
        if index == 4:
            raise OSError("cannot identify image file")
        return super().__getitem__(index)


def test_a_broken_item_is_named_and_skipped():
    with pytest.raises(
        UnusableSampleError, match=r"item 4 cannot be used: the data set raised OSError: cannot.*5 of 11"
    ):
        features_of(Broken(), means)
    found = features_of(Broken(), means, on_error="skip")
    assert (len(found), found.skipped[0][0], len(found.labels)) == (10, "4", 10)


def test_items_that_are_no_images_are_said():
    with pytest.raises(UnusableSampleError, match=r"item 0 .*it has text, size, of which none looks like images"):
        features_of([{"text": "a", "size": 3}], means)
    with pytest.raises(UnusableSampleError, match=r"item 0 .*of which a, b may be images; call them 'image'"):
        features_of([{"a": IMAGES[0], "b": IMAGES[1]}], means)
    with pytest.raises(ValueError, match=r"The TensorDataset is empty"):
        samples_of(TensorDataset(IMAGES[:0]))
