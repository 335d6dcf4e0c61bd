"""Units edited by hand: the history, the paint, the effect, the correction, labels and gates as files, two threads."""

import threading

import gans_toys
import numpy as np
import pytest
import torch
from gans_toys import EXTRACTOR, LAYERS, snapshot, toy_correction, toy_generator

from genmend.activations import Gate, ScaleUnits, attach, edited, load_correction, save_correction
from genmend.gans import Generator, corrected, load_generator
from genmend.gans.editing.edit_effect import EditEffect, edit_effect, gate_scores, random_units
from genmend.gans.editing.history import EditHistory
from genmend.gans.editing.known_gate import GateFileError, known_gate, load_gate, save_gate
from genmend.gans.editing.painted_units import painted_units, region_change
from genmend.gans.editing.shared_generator import SharedGenerator
from genmend.gans.editing.unit_correction import unit_correction
from genmend.gans.editing.unit_labels import (
    UnitLabelsError,
    known_labels,
    load_labels,
    save_labels,
    unlabelled_units,
)
from genmend.gans.generator import generator_facts
from genmend.manifold.features import load_extractor
from genmend.storage.hub.kinds import describe

LICENCE = {"licence": "MIT"}


@pytest.fixture(scope="module")
def generator():
    load_extractor(EXTRACTOR)  # so that a gate in a file may ask for it
    return toy_generator()


def test_each_step_can_be_taken_back():
    start = EditHistory()
    off = start.scaled("a", [2, 1], 0.0)
    both = off.scaled("b", [0], 2.5)
    assert both.strengths == {"a": {1: 0.0, 2: 0.0}, "b": {0: 2.5}}
    assert both.n_units == 3
    assert both.strength("a", 0) == 1.0
    assert both.undone().strengths == off.strengths
    assert both.reset().strengths == {}
    assert both.reset().undone().strengths == both.strengths
    assert off.undone().undone() == start
    assert off.scaled("a", [1, 2], 1.0).strengths == {}
    assert start.scaled("a", [1], 1.0) is start  # no step that changes nothing
    edits = both.edits()
    assert [(edit.layer, tuple(edit.units), edit.scale.tolist()) for edit in edits] == [
        ("a", (1, 2), [0.0, 0.0]),
        ("b", (0,), [2.5]),
    ]


@pytest.mark.parametrize("strength", [-0.1, 11.0, float("nan"), float("inf")])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(ValueError, match="from 0"):
        EditHistory().scaled("a", [0], strength)


def test_units_of_a_painted_region_are_those_whose_maps_lie_in_it(generator):
    """Maps are planted: unit 1 of the last layer is on in a square, unit 2 everywhere, unit 3 elsewhere."""
    square = torch.zeros(16, 16)
    square[4:8, 8:12] = 1.0

    def planted(output):
        maps = torch.zeros_like(output)
        maps[:, 1], maps[:, 2], maps[:, 3] = square, 1.0, 1 - square
        return maps

    mask = np.kron(square.numpy() > 0, np.ones((2, 2), bool))  # of the size of the image
    latent = generator.latents(1, 0)
    with edited(generator.module, {"detail.act": planted}):
        found = painted_units(generator, latent, mask, ["detail.act"], n_random=400)["detail.act"]
    assert found.inside.tolist() == pytest.approx([0, 1, 1, 0])
    assert found.outside.tolist() == pytest.approx([0, 0, 1, 1])
    assert found.best(4) == [1]
    assert found.chance[1] <= 2 / 401
    assert found.chance[[0, 2, 3]].tolist() == [1, 1, 1]
    assert found.columns()["unit"][0] == 1
    other_size = np.kron(square.numpy() > 0, np.ones((5, 7), bool))  # paint of another size lies on the same place
    with edited(generator.module, {"detail.act": planted}):
        again = painted_units(generator, latent, other_size, ["detail.act"])["detail.act"]
    assert again.inside.tolist() == pytest.approx(found.inside.tolist())


def test_random_regions_give_as_many_units_as_chance_does(generator):
    rng = np.random.default_rng(0)
    shares = []
    for seed in range(40):
        mask = np.zeros((32, 32), bool)
        row, column = rng.integers(0, 32, 2)
        mask[:6, :6] = True
        mask = np.roll(mask, (row, column), (0, 1))  # over the edges, as the random ones
        found = painted_units(generator, generator.latents(1, 3, seed), mask, ["detail.act"], seed=seed)["detail.act"]
        active = np.abs(found.inside) + np.abs(found.outside) > 0
        shares += (found.chance[active] <= 0.1).tolist()
    assert np.mean(shares) == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((8, 8), bool), "Nothing is painted"),
        (np.ones((8, 8), bool), "Everything is painted"),
        (np.ones((8, 8, 4), bool), "height, width"),
    ],
)
def test_paint_that_marks_no_region_is_refused(generator, mask, message):
    with pytest.raises(ValueError, match=message):
        painted_units(generator, generator.latents(1, 0), mask)


def test_switching_off_what_is_behind_a_region_changes_the_region(generator):
    mask = np.zeros((32, 32), bool)
    mask[4:16, 16:28] = True
    change = region_change(generator, generator.latents(1, 1), mask, "detail.act", [1, 2], 4, n_draws=2)
    assert len(change.random_inside) == len(change.random_outside) == 2
    with edited(generator.module, ScaleUnits("detail.act", [1, 2], 0.0)):
        after = generator.generate(generator.latents(1, 1))
    moved = (after - generator.generate(generator.latents(1, 1))).abs().mean(1)[0].numpy()
    assert change.inside == pytest.approx(moved[mask].mean(), rel=1e-5)
    assert change.outside == pytest.approx(moved[~mask].mean(), rel=1e-5)


def test_the_effect_is_measured_beside_random_units(generator):
    shared, gate = SharedGenerator(generator), toy_correction(generator).gate
    edits = EditHistory().scaled("widen.act", [1, 3], 0.0).edits()
    latents = generator.latents(40, 9)
    effect = edit_effect(shared, edits, latents, gate, n_draws=2)
    assert effect.before.tolist() == pytest.approx(gate_scores(gate, generator.generate(latents)).tolist())
    with edited(generator.module, *edits):
        assert effect.after.tolist() == pytest.approx(gate_scores(gate, generator.generate(latents)).tolist())
    assert effect.random.shape == (2, 40)
    assert effect.flagged_before == (effect.before > gate.threshold).mean()
    assert set(effect.to_dict()) >= {"score_change", "score_change_of_random_units", "beats_control"}
    for seed in range(5):
        (control,) = random_units(shared, edits, seed)
        assert control.layer == "widen.act"
        assert not set(control.units) & {1, 3}
        assert len(set(control.units)) == 2
        assert control.scale.tolist() == [0.0, 0.0]
    (all_of_them,) = random_units(shared, EditHistory().scaled("widen.act", range(4), 0.0).edits(), 0)
    assert len(set(all_of_them.units)) == 4  # too few are left, so of all


def test_only_what_falls_more_than_every_control_beats_it():
    before = np.zeros(4)
    lower, lowest = before - 1, before - 2
    assert EditEffect(before, lowest, np.stack([lower, before]), 0.0).beats_control
    assert not EditEffect(before, lower, np.stack([lower, before]), 0.0).beats_control
    assert not EditEffect(before, before + 1, np.stack([before + 2]), 0.0).beats_control


def test_a_correction_of_units_does_what_the_page_showed(generator, tmp_path):
    shared, made = SharedGenerator(generator), toy_correction(generator)
    edits = EditHistory().scaled("stem.act", [2], 3.0).scaled("widen.act", [0, 4], 0.0).edits()
    latents = generator.latents(6, 4)
    shown = shared.images(latents, edits)
    effect = edit_effect(shared, edits, latents, made.gate, n_draws=1)
    correction = unit_correction(
        generator, edits, gate=made.gate, stop_rule=made.stop_rule, effect=effect, info=LICENCE
    )
    save_correction(tmp_path / "mine.safetensors", correction)
    loaded = load_correction(tmp_path / "mine.safetensors")
    fresh = toy_generator()
    with attach(fresh.module, loaded, rung=len(loaded.ladder) - 1):
        assert torch.equal(fresh.generate(latents), shown)
    with attach(fresh.module, loaded, rung=0):
        assert not torch.equal(fresh.generate(latents), shown)
    assert loaded.info["units"] == {"stem.act": {"2": 3.0}, "widen.act": {"0": 0.0, "4": 0.0}}
    assert loaded.info["measured"] == effect.to_dict()
    assert len(corrected(fresh, loaded)(latents).rung) == 6
    described = describe(tmp_path / "mine.safetensors")[1]
    assert described.does["licence, as its maker says"] == "MIT"
    assert described.figures["flagged after"] == effect.flagged_after
    assert "random units" in described.judged_by
    assert not any("random places" in line for line in described.not_told)
    with pytest.raises(ValueError, match="change one first"):
        unit_correction(generator, EditHistory().edits())
    with pytest.raises(ValueError, match="rise to 1"):
        unit_correction(generator, edits, strengths=(1.0, 0.5))


def test_two_threads_see_their_own_edits_alone(generator):
    shared, latents = SharedGenerator(generator), generator.latents(8, 2)
    before = snapshot(generator.module)
    all_edits = [EditHistory().scaled("widen.act", [unit], 0.0).edits() for unit in range(4)]
    wanted = [shared.images(latents, edits) for edits in all_edits]
    wrong = []

    def use(number):
        for _ in range(10):
            if not torch.equal(shared.images(latents, all_edits[number]), wanted[number]):
                wrong.append(number)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert snapshot(generator.module) == before


def test_labels_come_back_from_their_file(generator, tmp_path):
    labels = unlabelled_units(generator, n=32, n_top=3)
    assert tuple(labels.layers) == LAYERS
    assert labels.label("stem.act", 1) == "none"
    assert sorted(labels.units("widen.act")) == list(range(5))
    assert labels.units("widen.act", "hair") == []
    path = tmp_path / "units.safetensors"
    save_labels(path, labels)
    again = load_labels(path)
    assert (again.model, again.facts, again.seed, again.concepts) == (labels.model, labels.facts, 0, ())
    for layer, rows in labels.layers.items():
        for name, values in vars(rows).items():
            assert np.array_equal(getattr(again.layers[layer], name), values)
    assert known_labels(generator) is None
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UnitLabelsError, match="no intact safetensors file"):
        load_labels(path)


def test_units_without_a_place_are_left_out():
    net = torch.nn.Sequential(torch.nn.Linear(4, 12), torch.nn.ReLU(), torch.nn.Unflatten(1, (3, 2, 2)))
    own = Generator(net.eval().requires_grad_(False), (4,), name="flat")
    with pytest.raises(ValueError, match="in which a unit has a place"):
        unlabelled_units(own, n=8)


def test_labels_whose_arrays_do_not_fit_are_refused(generator, tmp_path):
    labels = unlabelled_units(generator, ["stem.act"], n=16)
    rows = labels.layers["stem.act"]
    path = tmp_path / "units.safetensors"
    for name, values in [("iou", rows.iou[:-1]), ("concept", rows.concept + 1), ("samples", rows.samples - 99)]:
        broken = type(rows)(**{**vars(rows), name: values})
        save_labels(path, type(labels)(**{**vars(labels), "layers": {"stem.act": broken}}))
        with pytest.raises(UnitLabelsError, match=r"stem\.act"):
            load_labels(path)


def test_a_gate_comes_back_from_its_file(generator, tmp_path):
    gate = toy_correction(generator).gate
    path = tmp_path / "gate.safetensors"
    save_gate(path, gate, generator_facts(generator), {"seed": 0})
    again, facts = load_gate(path)
    assert (again.extractor, again.threshold) == (gate.extractor, gate.threshold)
    assert facts["weights"] == generator_facts(generator)["weights"]
    images = generator.sample(4, 0)
    assert gate_scores(again, images).tolist() == pytest.approx(gate_scores(gate, images).tolist(), rel=1e-4)
    assert known_gate(generator) is None
    torch.save({"weights": gate.weights}, path)
    with pytest.raises(GateFileError, match="never opened"):
        load_gate(path)


@pytest.mark.real("faces")
def test_what_comes_with_genmend_fits_the_face_generator():
    faces = load_generator("faces")
    labels, gate = known_labels(faces), known_gate(faces)
    assert gate.extractor == "efficientnet-lite0-layers"
    assert tuple(labels.layers) == faces.layers
    assert [len(rows.concept) for rows in labels.layers.values()] == [512, 256, 128, 64]
    assert {"hair", "mouth inside", "vertical edge"} <= labels.detected("main.5").keys()
    faces.module.main[0].weight[0, 0, 0, 0] += 1  # other weights: neither is known
    assert known_labels(faces) is None
    assert known_gate(faces) is None


def test_a_gate_may_not_name_code_to_run(generator):
    gate = Gate("gans_toys:some_code", torch.ones(3), 0.0, 0.0)
    with pytest.raises(ValueError, match="code that would be run"):
        gate_scores(gate, generator.sample(1, 0))
    assert not hasattr(gans_toys, "some_code")
