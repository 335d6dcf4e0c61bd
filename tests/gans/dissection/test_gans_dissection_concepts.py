"""Concepts: parts, packing, the rules of the classical ones, names; the face parser's layout and real masks."""

import colorsys

import numpy as np
import pytest
import torch

from genmend.gans.dissection.classical import ClassicalConcepts
from genmend.gans.dissection.concepts import checked_masks, load_concepts, pack, part_names, unpack, with_parts
from genmend.gans.dissection.face_parser import CLASSES, BiSeNet, FaceParser
from genmend.storage.named_object import UsersCodeError


class Things:
    names = ("sky", "thing")
    objects = ("thing",)

    def __call__(self, images):
        return torch.stack([images[:, 0] > 0.5, images[:, 1] > 0.5], 1)


def test_parts_are_the_halves_of_each_image_s_box():
    masks = torch.zeros(2, 2, 6, 8, dtype=torch.bool)
    masks[0, 1, 1:5, 2:7] = True  # 4 rows; 5 columns, of which the middle one goes to the right
    found = with_parts(masks, Things())
    names = part_names(Things())
    assert names == ["sky", "thing", "top of thing", "bottom of thing", "left of thing", "right of thing"]
    halves = {name: found[0, number] for number, name in enumerate(names)}
    assert halves["top of thing"].nonzero()[:, 0].unique().tolist() == [1, 2]
    assert halves["bottom of thing"].nonzero()[:, 0].unique().tolist() == [3, 4]
    assert halves["left of thing"].nonzero()[:, 1].unique().tolist() == [2, 3]
    assert halves["right of thing"].nonzero()[:, 1].unique().tolist() == [4, 5, 6]
    assert torch.equal(halves["top of thing"] | halves["bottom of thing"], masks[0, 1])
    assert torch.equal(halves["left of thing"] | halves["right of thing"], masks[0, 1])
    assert not found[1].any()
    plain = torch.ones(1, 27, 2, 2, dtype=torch.bool)
    assert with_parts(plain, ClassicalConcepts()) is plain


@pytest.mark.parametrize("side", [(8, 8), (5, 7), (1, 1)])
def test_packed_masks_come_back(side):
    masks = torch.rand(3, 4, *side, generator=torch.Generator().manual_seed(0)) > 0.5
    packed = pack(masks)
    assert packed.nbytes == 3 * 4 * -(-side[0] * side[1] // 8)
    assert torch.equal(unpack(packed, side), masks)


def test_a_segmenter_that_returns_something_else_is_refused():
    images = torch.rand(2, 3, 8, 8)
    concepts = Things()
    assert checked_masks(concepts, images).shape == (2, 2, 8, 8)
    concepts.names = ("sky", "thing", "missing")
    with pytest.raises(ValueError, match=r"bool of shape \(2, 3, 8, 8\)"):
        checked_masks(concepts, images)


def test_concepts_by_name():
    assert isinstance(load_concepts("classical"), ClassicalConcepts)
    assert load_concepts("test_gans_dissection_concepts:Things").names == ("sky", "thing")
    for wrong in ("faces", "test_gans_dissection_concepts:CLASSES", "colorsys:rgb_to_hsv"):
        with pytest.raises((ValueError, UsersCodeError)):
            load_concepts(wrong)


def classical(image):
    """Masks of one image by name."""
    concepts = ClassicalConcepts()
    return dict(zip(concepts.names, concepts(image[None])[0], strict=True))


@pytest.mark.parametrize(
    ("hsv", "name"),
    [
        ((0.0, 0.9, 0.9), "red"),
        ((30 / 360, 0.8, 0.9), "orange"),
        ((60 / 360, 0.8, 0.9), "yellow"),
        ((120 / 360, 0.8, 0.9), "green"),
        ((150 / 360, 0.8, 0.9), "green"),
        ((180 / 360, 0.8, 0.9), "cyan"),
        ((225 / 360, 0.8, 0.9), "blue"),
        ((285 / 360, 0.8, 0.9), "purple"),
        ((330 / 360, 0.8, 0.9), "pink"),
        ((355 / 360, 0.8, 0.9), "red"),
        ((0.3, 0.9, 0.1), "black"),
        ((0.3, 0.05, 0.5), "grey"),
        ((0.3, 0.05, 0.95), "white"),
    ],
)
def test_every_colour_has_one_name(hsv, name):
    image = torch.tensor(colorsys.hsv_to_rgb(*hsv)).view(3, 1, 1).expand(3, 6, 6)
    found = classical(image)
    assert [colour for colour in list(found)[:11] if found[colour].any()] == [name]


def test_brightness_in_five_steps():
    levels = ("very dark", "dark", "medium bright", "bright", "very bright")
    for step, level in enumerate(levels):
        for value in (step / 5 + 0.01, step / 5 + 0.19):
            found = classical(torch.full((3, 4, 4), value))
            assert [name for name in levels if found[name].all()] == [level]
    assert classical(torch.zeros(3, 2, 2))["very dark"].all()
    assert classical(torch.ones(3, 2, 2))["very bright"].all()


def test_edges_by_their_direction():
    image = torch.zeros(3, 8, 8)
    image[:, :, 4:] = 0.5  # an upright border: the gradient is half a step
    found = classical(image)
    assert found["vertical edge"][:, 3:5].all()
    assert torch.equal(found["vertical edge"], found["edge"])
    assert found["edge"].sum() == 16
    assert not found["horizontal edge"].any()
    assert classical(image.transpose(1, 2))["horizontal edge"][3:5].all()
    assert not classical(image * 0.15)["edge"].any()


def test_texture_is_the_spread_over_five_pixels():
    image = torch.full((3, 12, 12), 0.5)
    image[:, :, 7:] += 0.3 * ((torch.arange(12)[:, None] + torch.arange(5)) % 2)
    found = classical(image)
    luma = image.double().numpy().mean(0)
    padded = np.pad(luma, 2, mode="edge")
    spread = np.array([[padded[i : i + 5, j : j + 5].std() for j in range(12)] for i in range(12)])
    assert np.array_equal(found["smooth"].numpy(), spread < 0.02)
    assert np.array_equal(found["textured"].numpy(), spread > 0.08)
    assert 0 < found["textured"].sum() < 144


def test_thirds_divide_the_image():
    found = classical(torch.rand(3, 9, 9))
    thirds = [found[name] for name in ("top third", "middle third", "bottom third")]
    assert [third.nonzero()[:, 0].unique().tolist() for third in thirds] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert found["left third"][:, :3].all()
    assert torch.stack([found[name] for name in ("left third", "centre third", "right third")]).sum(0).eq(1).all()


def test_the_soft_form_is_a_half_at_the_limits_and_has_finite_gradients():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    images[1] = 0.5  # grey and flat: no hue, no edge
    images.requires_grad_(True)
    concepts = ClassicalConcepts()
    soft = concepts.soft(images)
    assert torch.equal(soft > 0.5, concepts(images))
    soft.sum().backward()
    assert torch.isfinite(images.grad).all()
    assert images.grad[0].abs().sum() > 0


def test_the_face_parser_s_masks_are_one_class_a_pixel_and_unions():
    torch.manual_seed(0)
    parser = FaceParser(BiSeNet(len(CLASSES)))
    masks = parser(torch.rand(1, 3, 16, 24))
    assert masks.shape == (1, 23, 16, 24)
    assert masks[:, :19].sum(1).eq(1).all()
    named = dict(zip(parser.names, masks[0], strict=True))
    assert torch.equal(named["eyes"], named["left eye"] | named["right eye"])
    assert len(parser.digest) == 64


@pytest.mark.real("faces", "face-parser")
def test_the_real_parser_finds_faces_where_they_are():
    from genmend.gans.families.pretrained import load_faces

    generator = load_faces()
    images = generator.generate(generator.latents(4, 1))
    parser = load_concepts("face-parser")
    named = dict(zip(parser.names, parser(images).float().mean((0, 2, 3)), strict=True))
    assert 0.15 < named["skin"] < 0.6
    assert 0.01 < named["nose"] < 0.1
    centre = parser(images)[:, parser.names.index("nose")].float().mean(0)
    assert centre[16:56, 8:56].sum() > 0.95 * centre.sum()
    soft = parser.soft(images[:1].requires_grad_(True))
    assert torch.allclose(soft[:, :19].sum(1), torch.ones(1, 64, 64), atol=1e-4)
