"""Every method on a generator that lies on a device: nothing mixes devices, and the results are those of the CPU."""

import numpy as np
import pytest
import torch
from gans_toys import LAYERS, toy_correction, toy_extractor, toy_net
from labelled_device import labelled_device
from sklearn.base import clone
from torch import Tensor, nn

from genmend.gans import Generator, correct, corrected, detect, dissect, explore, find_rare
from genmend.gans.correctors import (
    DefectiveUnits,
    LatentOptimisation,
    LocallyActiveUnits,
    ManifoldGuided,
    RandomNeurons,
    RandomUnits,
    RareNeurons,
    Truncation,
)
from genmend.gans.detection.defect_classifier import DefectClassifier
from genmend.gans.detection.defect_masks import METHODS, attribution_masks
from genmend.gans.dissection.agreement import agreement_of, pair_counts
from genmend.gans.dissection.alpha import optimise_alpha, top_units
from genmend.gans.dissection.causal import causal_effect, prepare_probe
from genmend.gans.dissection.counting import count_at, count_at_levels, count_at_pairs
from genmend.gans.generator import recorded_batches
from genmend.gans.rare import FlowDensity
from genmend.gans.settings import (
    DetectorSettings,
    DissectSettings,
    ExploreSettings,
    GateSettings,
    RareSearch,
    RareSettings,
)

pytestmark = pytest.mark.all  # half a minute of CPU


class Backbone(nn.Module):
    """Fixed edges and colours, pooled."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, 12, 3, padding=1)
        self.conv.weight.data = torch.randn(self.conv.weight.shape, generator=draw)
        self.conv.bias.data.zero_()
        self.act = nn.ReLU()
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.act(self.conv(images)).square().mean((2, 3))


def backbone_extractor():
    return Backbone()


SETTINGS = DetectorSettings("gans_toys:toy_extractor", n_statistics=120, n_reference=100)
FITTED = {"n_samples": 40, "seed": 3}
CORRECTORS = {
    "defective units": DefectiveUnits(share=0.5),
    "defective units, pulled": DefectiveUnits("pull", share=0.5, per="neuron"),
    "defective units, capped": DefectiveUnits("cap", share=0.5, quantile=0.6, unit_mask="quantile", unit_threshold=0.9),
    "defective units, contrasted": DefectiveUnits(share=0.5, contrast=True, rescore=True, layers=LAYERS),
    "locally active, contrast": LocallyActiveUnits("contrast", n_units=2, n_neighbours=4, **FITTED),
    "locally active, support": LocallyActiveUnits("support", n_units=2, action="scale", n_neighbours=4, **FITTED),
    "locally active, differential": LocallyActiveUnits(
        "differential", n_units=2, action="zero", n_neighbours=4, **FITTED
    ),
    "rare neurons": RareNeurons(0.4, **FITTED),
    "random units": RandomUnits(LocallyActiveUnits("contrast", n_units=2, n_neighbours=4, **FITTED)),
    "random neurons": RandomNeurons(RareNeurons(0.4, **FITTED)),
    "truncation": Truncation(0.5),
    "truncation of an inner layer": Truncation(0.5, layer="stem", n_samples=40),
    "latent optimisation": LatentOptimisation(backbone_extractor(), n_steps=2),
    "manifold-guided": ManifoldGuided(backbone_extractor(), n_steps=2),
}


def broken_latents(generator):
    latents = generator.latents(24, 5)
    latents[:4] *= 3
    return latents


def by_corrector(name):
    def job(generator):
        corrector = on_device_of(generator, clone(CORRECTORS[name]))
        masks = torch.rand(8, 32, 32, generator=torch.Generator().manual_seed(0))
        latents = generator.latents(8, 2)
        found = corrector.fit(generator, generator.latents(20, 1), latents, masks=masks)
        return found.correct(generator, latents)

    return job


def detected(generator):
    return detect(generator, broken_latents(generator), settings=SETTINGS).detection.combined


def corrected_by_default(generator):
    run = correct(generator, broken_latents(generator), settings=SETTINGS)
    return run.treatment.images, run.treatment.rung, run.latents


def corrected_by_the_ladder(generator):
    done = corrected(generator, toy_correction(on_cpu()), extractor=toy_extractor())(broken_latents(generator))
    return done.images, done.rung


def rare(generator):
    settings = RareSettings(SETTINGS, search=RareSearch(n_versions=2, n_steps=2, k_reference=20))
    samples = find_rare(generator, broken_latents(generator)[8:10], settings=settings).samples
    return samples.latents, samples.found


def explored(generator):
    tiny = GateSettings(n_rounds=2, n_steps=4, n_draws=2)
    settings = ExploreSettings(
        tolerance=0.01, granularity="unit", n=4, n_moves=3, extractor="gans_toys:toy_extractor", gates=tiny
    )
    query = explore(generator, broken_latents(generator)[9:10], settings=settings).queries[0]
    return query.latents, query.mask


def dissected(generator):
    run = dissect(generator, ["stem.act"], settings=DissectSettings(n_images=16, n_statistics=16))
    return run.agreement["stem.act"].iou


JOBS = {
    job.__name__: job for job in (detected, corrected_by_default, corrected_by_the_ladder, rare, explored, dissected)
}
JOBS |= {name: by_corrector(name) for name in CORRECTORS}


@pytest.mark.parametrize("name", JOBS)
def test_a_job_gives_on_the_device_what_it_gives_on_the_cpu(name):
    expected = JOBS[name](on_cpu())
    with labelled_device() as device:
        found = JOBS[name](on(device))
    same(found, expected)


def on_cpu():
    return Generator(toy_net(), (16,), name="toy", batch_size=8)


def on(device):
    return Generator(toy_net().to(device), (16,), name="toy", batch_size=8)


def on_device_of(generator, corrector):
    """With its extractor there."""
    for name in ("extractor", "extractors"):
        extractor = getattr(corrector, name, None)
        if isinstance(extractor, nn.Module):
            extractor.to(generator.device)
    return corrector


def same(found, expected):
    if isinstance(found, tuple):
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    else:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("name", ["latent optimisation", "manifold-guided"])
def test_an_extractor_may_lie_on_another_device_than_the_generator(name, monkeypatch):
    expected = JOBS[name](on_cpu())
    monkeypatch.setattr(f"{__name__}.on_device_of", lambda generator, corrector: corrector)
    with labelled_device() as device:
        same(JOBS[name](on(device)), expected)


@pytest.mark.parametrize("method", METHODS)
def test_masks_of_a_classifier_on_the_device(method):
    draw = torch.Generator().manual_seed(1)
    images, shares = torch.rand(40, 3, 24, 24, generator=draw), torch.arange(40) % 2
    images[::2, :, :6, :6] = 0.9

    def masks_and_scores(device):
        classifier = DefectClassifier(Backbone().to(device), tuned=("conv",), epochs=1).fit(images, shares)
        masks = attribution_masks(classifier, images[:4], method, threshold=None)
        return masks, classifier.score(images[:4]), classifier.predict_proba(images[:4])

    expected = masks_and_scores("cpu")
    with labelled_device() as device:
        same(masks_and_scores(device), expected)


def test_latents_may_lie_on_the_device():
    """They are worked with on the CPU, and gradients come back to where they were given."""
    with labelled_device() as device:
        generator = on(device)
        latents = generator.latents(3, 0).to(device).requires_grad_(True)
        assert generator.checked_latents(latents).device.type == "cpu"
        generator.images(generator.checked_latents(latents)).sum().backward()
        assert latents.grad.device == device
        same(generator.generate(latents.detach()), on_cpu().generate(generator.latents(3, 0)))


def test_a_flow_learns_and_finds_rare_features_on_the_cpu_by_design():
    features = np.random.default_rng(0).normal(size=(60, 3))
    density = FlowDensity(n_transforms=1, n_epochs=2).fit(features)
    expected = density.log_prob(torch.from_numpy(features))
    with labelled_device() as device:
        same(density.log_prob(torch.from_numpy(features).to(device)).cpu(), expected)


class Halves:
    """Concepts: a bright left and a bright right half."""

    names = ("left", "right")

    def __call__(self, images):
        return self.soft(images) > 0.5

    def soft(self, images):
        sides = torch.linspace(-1, 1, images.shape[-1], device=images.device) > 0
        bright = ((images.mean(1) - 0.5) * 8).sigmoid()
        return torch.stack([bright * ~sides, bright * sides], 1)


def test_causes_and_counts_on_the_device():
    """Of counts alone the tensors are given there too: they are made on the CPU by design."""

    def found(generator, device):
        latents = generator.latents(24, 0)
        every_other = (torch.arange(24) % 2 == 0).view(-1, 1, 1, 1)
        masks = Halves()(generator.generate(latents)) & every_other
        maps = next(recorded_batches(generator, latents[:8], ["stem.act"], ""))["stem.act"].to(device)
        limits, first, concept = torch.full((6,), 0.3), masks[:8].to(device), torch.zeros(6, dtype=torch.int64)
        counts = count_at(maps, first, limits.to(device))
        pairs = count_at_pairs(maps, first, limits[:, None].expand(-1, 2).to(device))
        levels = count_at_levels(maps, first, torch.tensor([[0.1, 0.3]] * 6).to(device))
        agreement = agreement_of(counts, limits[:, None].expand(-1, 2).to(device))
        probe = prepare_probe(generator, "stem.act", latents, masks[:, 0].to(device), 0, n_each=8)
        alpha = optimise_alpha(generator, probe, Halves(), agreement.iou[:, 0].to(device), n_steps=2, batch_size=4)
        chosen = top_units(alpha.to(device), agreement.iou[:, 0].to(device), 2)
        effect = causal_effect(generator, probe, Halves(), chosen, n_draws=1)
        each = pair_counts(maps, first, concept.to(device), limits.to(device))
        return counts.both, pairs.both, levels.both, agreement.iou, alpha, effect.erased, effect.added, each

    expected = found(on_cpu(), "cpu")
    with labelled_device() as device:
        same(found(on(device), device), expected)
