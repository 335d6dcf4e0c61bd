"""Regions in a plane, where they are known: lines of a small ReLU network are the borders."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from genmend.concepts import slice_regions
from genmend.concepts.regions.configurations import configurations
from genmend.concepts.regions.layer_states import LayerStates
from genmend.concepts.regions.planes import plane_of_kinds, plane_of_query
from genmend.concepts.regions.region import Region
from genmend.concepts.regions.slices import span_a_plane
from genmend.concepts.regions.study import study_kinds, study_query
from genmend.concepts.settings import RegionsSettings
from genmend.storage.pieces import Work

# On where x > 0.31, y > 0.12 and x + y < 0.93.
LINES = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
SHIFTS = torch.tensor([-0.31, -0.12, 0.93])
TRIANGLE = Region("1", (0, 1, 2), (True, True, True), 3, (0.0, 0.0, 0.0))


def net_of(into=None):
    """The lines, of the first two numbers of an input or of two directions in a larger space; then two classes."""
    first, second = nn.Linear(2 if into is None else len(into), 3), nn.Linear(3, 2)
    with torch.no_grad():
        first.weight.copy_(LINES if into is None else LINES @ into.T)
        first.bias.copy_(SHIFTS)
        second.weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
        second.bias.zero_()
    return nn.Sequential(first, nn.ReLU(), second).eval()


def on_lines(x, y):
    return np.stack([x > 0.31, y > 0.12, x + y < 0.93])


CORNERS = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])


def seen_at(anchors, net=None, **options):
    net = net or net_of()
    return slice_regions(net, anchors, configurations(net, "1", anchors), **options)


def test_the_triangle_of_three_neurons_is_where_its_lines_say():
    found = seen_at(CORNERS, n=31, margin=0.5)
    x, y = np.meshgrid(found.across, found.up)
    on = on_lines(x, y)
    np.testing.assert_array_equal(found.contains(TRIANGLE), on.all(0))
    np.testing.assert_array_equal(found.agreeing(TRIANGLE), on.sum(0))
    soft = replace(TRIANGLE, at_least=2)
    np.testing.assert_array_equal(found.contains(soft & ~TRIANGLE), on.sum(0) == 2)
    assert found.contains(TRIANGLE).sum() > 20
    assert (found.across[0], found.across[-1]) == pytest.approx((-0.5, 1.5))
    # The class is that of the larger of the two numbers, of 0 where both are off.
    np.testing.assert_array_equal(found.classes, ((y - 0.12).clip(0) > (x - 0.31).clip(0)).astype(int))


def test_configurations_within_t_of_the_querys():
    net = net_of()
    found = seen_at(CORNERS, net, n=21)
    x, y = np.meshgrid(found.across, found.up)
    for query in ([0.5, 0.2], [-1.0, -1.0], [0.6, 0.6]):
        seen = configurations(net, "1", torch.tensor([query]))
        differs = (on_lines(x, y) != on_lines(*query)[:, None, None]).sum(0)
        np.testing.assert_array_equal(found.differing(seen), differs)
    with pytest.raises(ValueError, match="query holds 3 samples, but one"):
        found.differing(configurations(net, "1", CORNERS))


def test_the_plane_of_anchors_anywhere_keeps_its_angles():
    """Anchors of 12 numbers, at no right angle: the borders are where the lines meet the plane."""
    rng = torch.Generator().manual_seed(0)
    into = torch.linalg.qr(torch.randn(12, 2, generator=rng))[0]
    placed = torch.tensor([[0.2, 0.1], [1.3, 0.4], [0.5, 1.5]])
    found = seen_at(placed @ into.T, net_of(into), n=25)
    along = placed[1] - placed[0]
    upward = torch.tensor([-along[1], along[0]])
    upward = upward if (placed[2] - placed[0]) @ upward > 0 else -upward
    grid = np.stack(np.meshgrid(found.across, found.up), -1)
    x, y = (placed[0].numpy() + grid @ torch.stack([along, upward]).numpy()).transpose(2, 0, 1)
    np.testing.assert_array_equal(found.contains(TRIANGLE), on_lines(x, y).all(0))
    np.testing.assert_allclose(
        placed[0].numpy() + found.anchors @ torch.stack([along, upward]).numpy(), placed, atol=1e-6
    )
    steps = np.diff(found.across).mean(), np.diff(found.up).mean()
    assert steps[0] == pytest.approx(steps[1])
    assert max(len(found.across), len(found.up)) == 25


def test_without_classes_the_pass_ends_at_the_layer(tmp_path):
    net, ran = net_of(), []
    net[2].register_forward_hook(lambda *_: ran.append(1))
    seen = configurations(net, "1", CORNERS)
    ran.clear()
    found = slice_regions(net, CORNERS, seen, n=9, classes=False, work=Work(tmp_path))
    assert not ran
    assert (found.classes == -1).all()
    whole = slice_regions(net, CORNERS, seen, n=9, work=Work(tmp_path))
    np.testing.assert_array_equal(whole.configurations.bits, found.configurations.bits)
    assert ran
    ran.clear()
    again = slice_regions(net, CORNERS, seen, n=9, work=Work(tmp_path))
    assert not ran
    np.testing.assert_array_equal(again.classes, whole.classes)


def test_anchors_that_span_no_plane_are_said():
    line = torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    same = torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, 2.0]])
    assert [span_a_plane(each) for each in (CORNERS, line, same)] == [True, False, False]
    for anchors in (line, same):
        with pytest.raises(ValueError, match="lie on one line, or two of them are alike: choose others"):
            seen_at(anchors)
    with pytest.raises(ValueError, match="There are 2 anchors"):
        seen_at(CORNERS[:2])
    with pytest.raises(ValueError, match="n is 1"):
        seen_at(CORNERS, n=1)
    with pytest.raises(ValueError, match="NaN"):
        slice_regions(net_of(), CORNERS * torch.nan, configurations(net_of(), "1", CORNERS))
    with pytest.raises(ValueError, match="at least 2, or 0 for no picture"):
        RegionsSettings(slice_points=1)


def states_of(points):
    seen = configurations(net_of(), "1", points)
    return LayerStates(seen, points.numpy(), np.full(len(points), -1))


def test_a_querys_plane_goes_through_a_member_and_the_nearest_outside():
    rng = np.random.default_rng(0)
    points = torch.from_numpy(rng.uniform(-0.5, 1.2, (120, 2)).astype(np.float32))
    points[0] = torch.tensor([0.45, 0.2])
    points[1] = points[0]  # a copy gives no direction
    states = states_of(points)
    soft = study_query(states, 0, RegionsSettings(k=8, n_neurons=3, at_least=0.6))
    assert len(soft.path.region.neurons) == 1, "the eight nearest agree on one line alone"
    plane = plane_of_query(states, soft)
    inside = soft.path.region.contains(states.configurations)
    assert plane.numbers[0] == 0
    assert [inside[number] for number in plane.numbers] == [True, True, False]
    assert plane.numbers[1] in soft.held_out
    labels = ["even" if number % 2 == 0 else "odd" for number in range(120)]
    assert plane_of_query(states, soft, labels).numbers[2] % 2 == 1
    everything = replace(
        soft, path=replace(soft.path, region=Region("1", (0,), (False,), 1, (0.0,)) | soft.path.region)
    )
    assert plane_of_query(states, everything) is None, "no sample is outside"


def test_the_plane_of_kinds_goes_through_both_and_a_sample_of_neither():
    rng = np.random.default_rng(2)
    signs = np.where(rng.random((800, 80)) < 0.5, 1.0, -1.0).astype(np.float32)
    signs[:60, :8] = 1
    signs[60:120, 20:28] = -1
    net = nn.Sequential(nn.Identity(), nn.ReLU()).eval()
    seen = configurations(net, "1", torch.from_numpy(signs))
    states, flagged = LayerStates(seen, signs, np.full(800, -1)), np.arange(800) < 120
    kinds = study_kinds(states, flagged, RegionsSettings(k=6))
    plane = plane_of_kinds(states, kinds)
    assert plane.roles == ("flagged, of kind 1", "flagged, of kind 2", "nearest, not flagged, of no kind")
    assert flagged[list(plane.numbers)].tolist() == [True, True, False]
    assert list(plane.regions) == ["kind 1", "kind 2"]
    for name, number in zip(plane.regions, plane.numbers, strict=False):
        assert plane.regions[name].contains(seen[number : number + 1])
        assert not plane.regions[name].contains(seen[plane.numbers[2] : plane.numbers[2] + 1])
    none = study_kinds(states, rng.permutation(flagged), RegionsSettings(k=6))
    assert plane_of_kinds(states, none) is None
