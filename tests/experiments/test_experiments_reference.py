"""The pieces of the reference pipeline: true captions, an autoencoder that changes nothing, going on exactly."""

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("matplotlib")

from diffusers import StableDiffusionPipeline
from PIL import Image

from experiments.garments import captions as garments
from experiments.garments import samples as reference_samples
from experiments.garments import train_judges as reference_classifier
from experiments.garments import train_pipeline as train_reference_diffusion
from experiments.garments.captions import GARMENTS, SYNONYMS, add_border, caption, traits, vocabulary, with_article
from experiments.garments.models import (
    MEAN,
    STD,
    WORDS,
    build_pipeline,
    build_tokenizer,
    learn_merges,
    pixel_autoencoder,
)
from experiments.garments.train_judges import measure, train_network
from experiments.garments.train_pipeline import BATCH, batch_rows, begin, publish, train
from genmend.diffusion import draw
from genmend.diffusion.reference.networks import garment_probabilities, outputs


@pytest.fixture
def data():
    """A hundred images of noise, ten of each garment."""
    images = np.random.default_rng(0).integers(0, 256, size=(100, 28, 28)).astype(np.uint8)
    return images, np.repeat(np.arange(10), 10)


def test_held_out_images_are_the_last_of_each_garment_and_no_others_are_left_out(monkeypatch):
    monkeypatch.setattr(
        garments, "clothes", lambda label: np.full((7, 28, 28), label) + 10 * np.arange(7)[:, None, None]
    )
    monkeypatch.setattr(garments, "HELD_OUT", 2)
    (seen, labels), (held, held_labels) = garments.training_images.__wrapped__(), garments.held_out_images.__wrapped__()
    assert seen[labels == 3][:, 0, 0].tolist() == [3, 13, 23, 33, 43]
    assert held[held_labels == 3][:, 0, 0].tolist() == [53, 63]


def test_a_frame_is_black_and_the_picture_in_its_middle():
    picture = np.arange(784, dtype=np.uint8).reshape(1, 28, 28)
    whole = add_border(picture)
    assert whole.shape == (1, 32, 32)
    np.testing.assert_allclose((whole[0, 2:-2, 2:-2] + 1) * 127.5, picture[0], atol=1e-4)
    assert (whole[0, :2] == -1).all()
    assert (whole[0, :, -2:] == -1).all()


def test_traits_are_found_in_their_own_kind():
    rows, columns = np.mgrid[:28, :28]
    even = np.where((rows > 4) & (rows < 24) & (columns > 8) & (columns < 20), 100, 0)
    bright, wide = even * 2, np.where((rows > 4) & (rows < 24), 100, 0)
    patterned = np.where((rows + columns) % 2, even, even * 7 // 10)
    slim = np.where((columns > 12) & (columns < 16), even, 0)
    images = np.stack([even, even, slim, bright, wide, patterned]).astype(np.uint8)
    found = traits(images, np.zeros(6, dtype=int))
    names = ("dark", "bright"), ("plain", "patterned"), ("slim", "wide")
    assert names == garments.TRAITS
    assert found[3, 0] == found[4, 2] == found[5, 1] == 1
    assert found[5, 0] == found[2, 2] == -1
    # another kind's images do not move the quarters
    both = np.concatenate([np.full((6, 28, 28), 255, dtype=np.uint8), images])
    np.testing.assert_array_equal(traits(both, np.repeat([1, 0], 6))[6:], found)


def test_captions_say_only_what_is_so():
    rng = np.random.default_rng(0)
    for label, garment in enumerate(GARMENTS):
        texts = [caption(label, np.array([1, -1, 0]), rng) for _ in range(200)]
        words = {word for text in texts for word in text.split()}
        assert {"bright", "plain", "creative"} <= words <= set(vocabulary())
        assert not {"dark", "patterned", "slim", "wide"} & words
        assert all(text.endswith((garment, SYNONYMS.get(garment, garment))) for text in texts)
    assert (with_article(["ankle boot"]), with_article(["dark", "trousers"])) == ("an ankle boot", "dark trousers")


def test_the_tokenizer_keeps_its_words_and_spells_others(tmp_path):
    tokenizer = build_tokenizer(vocabulary(), tmp_path)
    assert learn_merges(["at", "bat", "cat"]) == [("a", "t</w>"), ("b", "at</w>"), ("c", "at</w>")]
    saved = type(tokenizer).from_pretrained(tmp_path, model_max_length=WORDS)
    text = "an image of an unusual bright patterned wide ankle boot"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text.split()) + 2
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
    assert saved(text)["input_ids"] == ids == tokenizer(text.upper())["input_ids"]
    assert tokenizer.unk_token_id not in tokenizer("zebra é 7")["input_ids"][1:-1]
    padded = tokenizer("t-shirt", padding="max_length", max_length=WORDS)["input_ids"]
    assert len(padded) == WORDS


@pytest.mark.parametrize(
    ("colours", "dtype", "error"), [(1, torch.float32, 1e-3), (3, torch.float32, 2e-3), (1, torch.float16, 1e-2)]
)
def test_the_autoencoder_changes_only_the_scale(colours, dtype, error):
    vae = pixel_autoencoder(colours).to(dtype)
    values = torch.rand(4, colours, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    given = values.expand(4, 3, 32, 32)
    with torch.no_grad():
        latents = vae.encode(given.to(dtype)).latent_dist
        pictures = vae.decode(latents.mean).sample.float()
    torch.testing.assert_close(latents.mean.float(), (values - MEAN) / STD, atol=2 * error, rtol=0)
    torch.testing.assert_close(pictures, given, atol=error, rtol=0)
    assert latents.std.max() < 1e-4


def test_every_image_is_seen_once_an_epoch_in_a_new_order():
    first, second = (np.concatenate([batch_rows(70, step, 0) for step in steps]) for steps in ((0, 1), (2, 3)))
    assert len(set(first)) == len(set(second)) == 2 * BATCH
    assert first.tolist() != second.tolist()
    assert batch_rows(70, 3, 0).tolist() == second[BATCH:].tolist() != batch_rows(70, 3, 1)[BATCH:].tolist()


@pytest.mark.all
def test_a_training_that_was_interrupted_ends_as_one_that_was_not(data, tmp_path, monkeypatch):
    monkeypatch.setattr(train_reference_diffusion, "BATCH", 4)
    monkeypatch.setattr(train_reference_diffusion, "publish", lambda training, folder, weights: None)

    def until(training, step, name):
        train(training, data, lambda now: now.step / 4 if now.step < step else 1, tmp_path / name, tmp_path, tmp_path)
        return training

    whole = until(begin(0, blocks=(8, 8)), 4, "whole.pt")
    until(begin(0, blocks=(8, 8)), 2, "half.pt")
    again = begin(0, blocks=(8, 8))
    again.load(tmp_path / "half.pt")
    assert again.step == 2
    until(again, 4, "half.pt")
    for name, value in whole.networks.state_dict().items():
        assert torch.equal(value, again.networks.state_dict()[name]), name
        assert torch.equal(whole.averages[name], again.averages[name]), name
    with pytest.raises(ValueError, match="was trained with seed 0, not 1: remove it"):
        begin(1, blocks=(8, 8)).load(tmp_path / "half.pt")


def test_what_is_published_is_a_pipeline_of_the_averaged_weights(tmp_path):
    training = begin(0, blocks=(8, 8))
    training.averages = {name: value + 0.25 for name, value in training.averages.items()}
    training.log = [[1, 0.1, 32, 0.9, 1e-3], [2, 0.2, 64, 0.8, 1e-3]]
    for _ in range(2):  # the second replaces the first
        publish(training, tmp_path, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"pipeline", "log.csv", "curve.png"}
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline")
    pipeline.set_progress_bar_config(disable=True)
    expected = training.averages["unet.conv_in.weight"]
    torch.testing.assert_close(pipeline.unet.conv_in.weight, expected, atol=1e-3, rtol=0)
    image = pipeline("a creative bag", num_inference_steps=2).images[0]
    assert (image.size, image.mode) == ((32, 32), "RGB")


@pytest.mark.parametrize("name", reference_classifier.SEEDS)
@pytest.mark.all
def test_the_networks_learn_what_they_are_for(name, monkeypatch):
    monkeypatch.setattr(reference_classifier, "BATCH", 8)
    labels = np.repeat(np.arange(2), 160)
    images = (np.random.default_rng(0).random((320, 28, 28)) * 60).astype(np.uint8)
    images[labels == 1, 8:20] += 150
    network = train_network(name, images, labels, epochs=2)
    found = measure(name, network, images, labels)
    pictures = (torch.from_numpy(add_border(images[:6]))[:, None] + 1) / 2
    if name == "autoencoder":
        assert found["rmse_grey_levels"] < 0.8 * images.std()
        assert outputs(network[0], pictures).shape == (6, 64)
    else:
        assert found["accuracy"] > 0.95
        torch.testing.assert_close(garment_probabilities(network, pictures).sum(1), torch.ones(6))


def test_a_seed_draws_the_same_picture_in_any_company(tmp_path):
    torch.manual_seed(0)
    pipeline = build_pipeline(vocabulary(), tmp_path, blocks=(8, 8))
    pipeline.set_progress_bar_config(disable=True)
    many = draw(pipeline, "a bag", range(3), num_inference_steps=2, guidance_scale=2.0)
    alone = draw(pipeline, "a bag", range(2, 3), num_inference_steps=2, guidance_scale=2.0)
    torch.testing.assert_close(many[2:], alone, atol=1e-4, rtol=0)
    assert not torch.allclose(many[0], many[1], atol=0.05)


def test_agreement_is_counted_and_shown():
    probabilities = torch.eye(10)[[3, 3, 3, 6]]
    row = reference_samples.agreement(probabilities, 3)
    assert (row["n"], row["agree"], row["probability"], row["else"]) == (4, 3, 0.75, {"shirt": 1})
    assert row["interval"][0] < 0.75 < row["interval"][1]
    text = reference_samples.table({"a dress": row, "a bag": reference_samples.agreement(probabilities, 8)}, "seeds")
    assert "3/4    75.0%" in text
    assert "3/8    37.5%" in text.splitlines()[-1]
    picture = reference_samples.grid([torch.zeros(3, 3, 4, 4), torch.ones(3, 3, 4, 4)], scale=1)
    assert isinstance(picture, Image.Image)
    assert picture.size == (12, 8)
    assert picture.getpixel((0, 7)) == (255, 255, 255)
