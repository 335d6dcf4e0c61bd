"""What comes batch by batch: loaders, iterators and functions; in which form, how many, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from genmend.manifold import Manifold, compare, evaluate, evaluate_by_class
from genmend.manifold.features import UnusableSampleError, features_of
from genmend.manifold.features.sources import NO_LABEL

IMAGES = torch.rand(23, 3, 6, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(23) % 3
TEXTS = [str(int(label)) for label in LABELS]
VALUES = np.random.default_rng(0).standard_normal((23, 5))


def means(images):
    return images.mean((2, 3))


class Colours(torch.nn.Module):
    def forward(self, images):
        return means(images)


def rows():
    return means(IMAGES).numpy()


def pictures(images):
    return [Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy()) for image in images]


def loader(*columns, **options):
    return DataLoader(TensorDataset(*columns), **{"batch_size": 8} | options)


class Stream(IterableDataset):
    def __iter__(self):
        yield from ({"image": image, "label": label} for image, label in zip(IMAGES, LABELS, strict=True))


def by_name(batch):
    return {"pixel_values": torch.stack([one[0] for one in batch]), "labels": torch.stack([one[1] for one in batch])}


def parts():
    return range(0, 23, 8)


FORMS = {
    "loader of images": (lambda: loader(IMAGES), False),
    "loader of images and labels": (lambda: loader(IMAGES, LABELS), True),
    "loader of mappings": (lambda: loader(IMAGES, LABELS, collate_fn=by_name), True),
    "loader of items": (lambda: loader(IMAGES, LABELS, collate_fn=list), True),
    "loader of a stream": (lambda: DataLoader(Stream(), batch_size=8), True),
    "streamed data set": (Stream, True),
    "batches, channels last": (lambda: (IMAGES[i : i + 8].permute(0, 2, 3, 1).numpy() for i in parts()), False),
    "list of batches": (lambda: [IMAGES[i : i + 8] for i in parts()], False),
    "single images": (lambda: iter(IMAGES), False),
    "single items": (lambda: zip(IMAGES, LABELS, strict=True), True),
    "pictures": (lambda: (pictures(IMAGES[i : i + 8]) for i in parts()), False),
    "pictures by name": (
        lambda: ({"image": pictures(IMAGES[i : i + 8]), "label": TEXTS[i : i + 8]} for i in parts()),
        True,
    ),
    "function": (lambda: drawn(), False),
    "function of batches": (lambda: lambda n: iter(IMAGES.split(n)), False),
    "function without a number": (lambda: lambda: (IMAGES[i : i + 8] for i in parts()), False),
}


def drawn():
    left = list(IMAGES)
    return lambda n: torch.stack([left.pop(0) for _ in range(n)])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("threads", [1, 3])
def test_every_form_gives_the_features_of_the_images(form, threads):
    make, labelled = FORMS[form]
    n = {"n_samples": 23} if form.startswith("function") else {}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = features_of(make(), means, batch_size=5, **n)
    finally:
        torch.set_num_threads(before)
    assert (found.kind, found.names, found.sample) == ("images", [str(row) for row in range(23)], None)
    np.testing.assert_allclose(found.values, rows(), atol=2e-3 if "pictures" in form else 1e-6)
    assert found.labels == (TEXTS if labelled else None)


def test_features_come_in_batches_too(tmp_path):
    values = torch.from_numpy(VALUES)
    for source in (loader(values), loader(values, LABELS), (VALUES[i : i + 8] for i in parts())):
        found = features_of(source, extractor=lambda _: pytest.fail("features need none"))
        assert found.kind == "array"
        np.testing.assert_array_equal(found.values, VALUES)
    assert features_of(loader(values, LABELS)).labels == TEXTS
    assert features_of(loader(values, LABELS), limit=5, seed=1).labels == [
        TEXTS[row] for row in sorted(np.random.default_rng(1).choice(23, 5, replace=False))
    ]
    features_of(loader(values, LABELS)).save(tmp_path / "ref.safetensors")
    assert features_of(tmp_path / "ref.safetensors").labels == TEXTS


def test_a_loader_draws_a_limit_and_an_iterator_gives_its_first():
    whole = features_of(IMAGES, means, limit=6, seed=4)
    found = features_of(loader(IMAGES, LABELS), means, limit=6, seed=4)
    assert (found.names, found.labels) == (whole.names, [TEXTS[int(name)] for name in whole.names])
    np.testing.assert_allclose(found.values, whole.values, atol=1e-6)
    dropped = features_of(loader(IMAGES, drop_last=True), means, limit=16, seed=4)
    assert dropped.names == [str(row) for row in range(16)]

    def endless():
        while True:
            yield IMAGES[:4]

    assert len(features_of(endless(), means, limit=6)) == 6
    assert features_of(endless(), means, n_samples=9).names == [str(row) for row in range(9)]
    assert len(features_of(IMAGES, means, limit=100)) == 23


def test_a_batch_that_is_written_over_is_not_lost():
    def reused():
        buffer = np.empty((4, 6, 8, 3), np.float32)
        for start in range(0, 20, 4):
            buffer[:] = IMAGES[start : start + 4].permute(0, 2, 3, 1).numpy()
            yield buffer

    np.testing.assert_allclose(features_of(reused(), means, batch_size=8).values, rows()[:20], atol=1e-6)


def test_gray_batches_whatever_the_size_of_the_last():
    gray = IMAGES[:, 0]
    for last in (1, 3, 4):  # images, or one of so many colours: as the first batch was
        found = features_of(iter([gray[:8], gray[8 : 8 + last]]), means)
        np.testing.assert_allclose(found.values[:, 1], gray[: 8 + last].mean((1, 2)), atol=1e-6)


def image(value):
    return torch.full((4, 3, 6, 6), value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            lambda: iter(()),
            r"The tuple_iterator gave no samples: it is empty, or has been gone through; give a new one",
        ),
        (lambda: iter([IMAGES[:4], IMAGES[:0]]), r"Batch 1 of the list_iterator is empty"),
        (lambda: iter([IMAGES, IMAGES.permute(0, 2, 3, 1)]), r"Batch 1 .*channels last, and others had channels f"),
        (lambda: iter([IMAGES, VALUES]), r"Batch 1 .* shape \(23, 5\), features of 5 columns, and others had channels"),
        (lambda: iter([VALUES, VALUES[:, :4]]), r"Batch 1 .*features of 4 columns, and others had features of 5"),
        (lambda: iter([VALUES, VALUES * np.nan]), r"Batch 1 .*contains NaN in row 0"),
        (lambda: iter([np.arange(4)]), r"Batch 0 .*it has shape \(4,\); give images \(n, 3, h, w\)"),
        (lambda: iter([torch.zeros(2, 3, 5, 3)]), r"Batch 0 .*channels may be first or last"),
        (lambda: iter([torch.zeros(2, 3, 5, 5).long()]), r"Batch 0 .*Images have dtype int64"),
        (lambda: iter([{"a": 1, "b": 2}]), r"Batch 0 .*it has a, b, of which none looks like images; call them"),
        (lambda: iter(["a.png"]), r"image 0 cannot be used: it is a text \('a\.png'\), no image"),
        (lambda: iter([image(0.5), image(torch.nan)]), r"image 4 cannot be used: its values are NaN in places"),
        (lambda: iter([image(-0.5)]), r"image 0 .*go from -0\.5 to -0\.5;.*\(images \+ 1\) / 2"),
        (lambda: iter([image(200.0)]), r"image 0 .*go from 200 to 200;.*images / 255"),
    ],
)
def test_what_is_wrong_with_a_batch_is_one_sentence(source, words):
    with pytest.raises(ValueError, match=words) as error:
        features_of(source(), means)
    assert "\n" not in str(error.value)


def test_the_bad_images_of_a_stream_are_skipped():
    spoiled = IMAGES.clone()
    spoiled[[2, 9]] = torch.nan
    found = features_of(loader(spoiled, LABELS), means, on_error="skip")
    assert ([name for name, _ in found.skipped], len(found)) == (["2", "9"], 21)
    assert found.labels == [text for row, text in enumerate(TEXTS) if row not in (2, 9)]
    with pytest.raises(UnusableSampleError, match=r"image 2 .*\(3 samples were looked at; on_error='skip'"):
        features_of(loader(spoiled), means)
    with pytest.raises(ValueError, match=r"None of the 23 samples of DataLoader can be used; 0: its values are NaN"):
        features_of(loader(spoiled * torch.nan), means, on_error="skip")


def test_counts_that_are_not_reached_or_not_said():
    with pytest.raises(ValueError, match=r"30 samples were asked for, and the list_iterator has 8"):
        features_of(iter([IMAGES[:8]]), means, n_samples=30)
    with pytest.raises(ValueError, match=r"30 samples were asked for, and the DataLoader has 23"):
        features_of(loader(IMAGES), means, n_samples=30)
    with pytest.raises(ValueError, match=r"The function means draws samples without an end; say how many: n_samples="):
        features_of(means, means)
    with pytest.raises(ValueError, match=r"Batch 0 of the function <lambda> is empty"):
        features_of(lambda n: IMAGES[:0], means, n_samples=4)
    with pytest.raises(ValueError, match="n_samples says how many a function or an iterator is asked for"):
        features_of(IMAGES, means, n_samples=4)
    with pytest.raises(ValueError, match="n_samples is 0"):
        features_of(means, means, n_samples=0)
    with pytest.raises(TypeError, match=r"The source is a network \(Colours\).*a function that takes a number"):
        features_of(Colours(), means, n_samples=4)
    with pytest.raises(ValueError, match="Recordings are taken as files, a list or an array"):
        features_of(iter([VALUES]), sample_rate=16_000)
    with pytest.raises(TypeError, match="The source is a dict of image; give one of them"):
        features_of({"image": IMAGES}, means)


def test_an_error_of_the_users_own_code_stays_theirs():
    def broken():
        yield IMAGES[:4]
        raise KeyError("a column of mine")

    with pytest.raises(KeyError, match="a column of mine"):
        features_of(broken(), means)


def test_an_iterator_is_gone_through_once():
    batches = iter([VALUES])
    features_of(batches)
    with pytest.raises(ValueError, match="has been gone through; give a new one"):
        features_of(batches)
    with pytest.raises(ValueError, match="two of the sets are one iterator, which can be gone through once"):
        evaluate(batches, batches)


def test_metrics_and_manifolds_take_loaders(tmp_path, monkeypatch):
    other = VALUES + 0.3
    x, y = (torch.from_numpy(values) for values in (VALUES, other))
    expected = evaluate(VALUES, other, 3)
    assert evaluate(loader(x), loader(y, LABELS), 3).to_dict() == expected.to_dict()
    manifold = Manifold(3).fit(loader(x))
    np.testing.assert_array_equal(manifold.contains(loader(y)), Manifold(3).fit(VALUES).contains(other))
    told = compare(loader(x), {"a": iter([other]), "b": loader(y)}, 3, bootstrap=0)
    assert told.evaluations["a"].to_dict() == told.evaluations["b"].to_dict()
    found = evaluate_by_class(loader(x, LABELS), loader(y, LABELS), k=3)
    assert list(found.classes) == ["0", "1", "2"]
    given = evaluate_by_class(VALUES, other, (TEXTS, TEXTS), 3)
    assert given.to_dict() == found.to_dict()
    with pytest.raises(ValueError, match="the samples of the query have no labels and lie in no subfolders"):
        evaluate_by_class(loader(x, LABELS), other, k=3)
    with pytest.raises(ValueError, match=r"no class in common: 0, 1, 2 \.\.\. and new0"):
        evaluate_by_class(VALUES, other, (TEXTS, [f"new{text}" for text in TEXTS]), 3)
    some = [torch.from_numpy(VALUES), (torch.from_numpy(other), LABELS)]
    assert features_of(iter(some)).labels == [NO_LABEL] * 23 + TEXTS


def test_images_of_a_query_are_read_with_the_extractor_of_the_reference(monkeypatch):
    from genmend.manifold.features.extractors import loading

    monkeypatch.setitem(loading._own, "own:means", means)
    reference = features_of(IMAGES, "own:means")
    found = evaluate(reference, loader(IMAGES), 3, metrics=("precision",))
    assert found[3].precision == 1
    manifold = Manifold(3).fit(reference)
    assert manifold.contains(loader(IMAGES)).all()
    monkeypatch.setitem(loading._own, "own:other", means)
    with pytest.raises(ValueError, match=r"features of own:means and the query of own:other"):
        manifold.contains(features_of(IMAGES, "own:other"))
