"""genmend explore on a generator of one's own: files, what they say, resuming, refusals."""

import csv
import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from genmend.gans import Generator
from genmend.gans.boundaries import generative_region, spread
from genmend.gans.boundaries.region import NoRegionError
from genmend.gans.families import LAYOUTS
from genmend.gans.families.stylegan2_adapter import stylegan2_generator
from genmend.gans.latent_prior import latent_prior
from genmend.gans.settings import ExploreSettings, GateSettings
from genmend.storage.pieces import Work
from genmend.workbench.cli import main as cli
from genmend.workbench.commands.gans.explore import run_explore

GATES = GateSettings(n_rounds=3, n_steps=8, n_draws=2)
SCRATCH = """
import torch
from torch import nn

def build():
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(6, 32), nn.Unflatten(1, (2, 4, 4)), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.Tanh())
    return net
"""


@pytest.fixture
def generator():
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(6, 32), nn.Unflatten(1, (2, 4, 4)), nn.ReLU(), nn.Conv2d(2, 3, 1), nn.Tanh())
    return Generator(net.eval().requires_grad_(False), (6,), name="tiny")


def settings(**options):
    return ExploreSettings(**{"tolerance": 0.02, "n": 6, "n_moves": 5, "extractor": "", "gates": GATES} | options)


def run(generator, out, **options):
    return run_explore(generator, out, n_queries=2, settings=settings(**options), progress=False)


@pytest.mark.parametrize(("granularity", "method"), [("neuron", "hit-and-run"), ("neuron", "auto"), ("unit", "tree")])
def test_explored_latents_are_in_the_region_and_the_control_is_as_spread(generator, tmp_path, granularity, method):
    result = run(generator, tmp_path, granularity=granularity, method=method)
    with np.load(tmp_path / "explored.npz") as arrays:
        assert arrays["queries"].shape == (2, 6)
        for i in range(2):
            query, mask = (torch.from_numpy(arrays[name][i]) for name in ("queries", "masks"))
            latents, rotated = (torch.from_numpy(arrays[f"{name}_{i:03d}"]) for name in ("latents", "rotated"))
            assert mask.shape == ((2,) if granularity == "unit" else (2, 4, 4))
            assert generative_region(generator, query[None], "2", mask, margin=0.0).contains(latents).all()
            assert spread(rotated) == pytest.approx(spread(latents), abs=1e-5)
            assert torch.equal(query, generator.latents(2, 0)[i])
            variance = generator.generate(latents).double().var(0).mean()
            assert result.queries[i].facts["region_pixel_variance"] == pytest.approx(float(variance), rel=1e-9)
            assert result.queries[i].facts["rmse"] <= 0.02
            facts = result.queries[i].facts
            assert facts["random_set_rotated_spread"] == pytest.approx(facts["random_set_spread"], abs=1e-5)
            assert np.isnan(facts["r_hat"])  # 5 moves tell nothing
    with (tmp_path / "queries.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["n_members"]) for row in rows] == [query.mask.sum() for query in result.queries]
    assert rows[0]["region_feature_distance"] == ""
    assert json.loads((tmp_path / "summary.json").read_text()) == result.to_dict()
    page = (tmp_path / "report.html").read_text()
    assert page.count("<img") == 2
    assert "tiny" in page


def test_an_interrupted_run_goes_on_to_the_same_result(generator, tmp_path, monkeypatch):
    whole = run(generator, tmp_path / "whole")
    done = []

    kept = Work.kept

    def stops_after_one(work, name, facts, compute):
        if done:
            raise KeyboardInterrupt
        done.append(name)
        return kept(work, name, facts, compute)

    monkeypatch.setattr(Work, "kept", stops_after_one)
    with pytest.raises(KeyboardInterrupt):
        run(generator, tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "summary.json").exists()
    computed = []

    def counts(work, name, facts, compute):
        return kept(work, name, facts, lambda: computed.append(name) or compute())

    monkeypatch.setattr(Work, "kept", counts)
    assert run(generator, tmp_path / "stopped").to_dict() == whole.to_dict()
    assert computed == ["explored", "supporting", "explored"]
    computed.clear()
    shared = run_explore(
        generator,
        tmp_path / "new" / "folder",
        n_queries=2,
        settings=settings(n=5),
        progress=False,
        work=tmp_path / "stopped" / "work",
    )
    assert computed == ["explored", "explored"]  # the supporting sets are shared
    assert len(shared.queries[0].latents) == 5
    for name in ("queries.csv", "summary.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_query_that_needs_no_boundary_is_marked_and_the_others_go_on(generator, tmp_path):
    generator.module[3].weight.mul_(0.05)  # the image hardly depends on the layer
    latents = torch.cat([generator.latents(2, 0), torch.zeros(1, 6)])[[2, 0, 1]]
    latents[1:] *= 30  # but far out it does
    result = run_explore(generator, tmp_path, latents=latents, settings=settings(), progress=False)
    assert [bool(query.none_because) for query in result.queries] == [True, False, False]
    assert "no boundary is needed" in result.queries[0].none_because
    with (tmp_path / "queries.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["n_members"] == "" for row in rows] == [True, False, False]
    assert "no boundary is needed" in rows[0]["none_because"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["n_queries"], summary["n_without_region"]) == (3, 1)
    assert summary["mean"]["n_members"] == np.mean([query.facts["n_members"] for query in result.explored])
    page = (tmp_path / "report.html").read_text()
    assert "Query 0 has no region." in page
    assert page.count("<img") == 2
    with np.load(tmp_path / "explored.npz") as arrays:
        assert not arrays["masks"][0].any()
        assert len(arrays["latents_000"]) == 0
        assert torch.equal(torch.from_numpy(arrays["queries"]), latents)


def test_why_a_query_has_no_region_is_kept_too(generator, tmp_path, monkeypatch):
    def none(*arguments, **options):
        raise NoRegionError("found nothing inside")

    monkeypatch.setattr("genmend.gans.boundaries.explore.hit_and_run", none)
    monkeypatch.setattr("genmend.gans.boundaries.explore.bouncing", none)
    with pytest.raises(NoRegionError, match="found nothing inside"):
        run(generator, tmp_path)
    monkeypatch.undo()
    with pytest.raises(NoRegionError, match="found nothing inside"):
        run(generator, tmp_path)


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_a_stylegan2_is_explored_in_every_space_where_its_latents_are(tmp_path, space):
    config = {
        "z_width": 6, "w_width": 7, "widths": {"4": 3, "8": 3}, "n_mapping": 2, "n_classes": 3, "embedded": 6,
        "channels": 3, "clamp": None, "mapping_rate": 1.0,
    }  # fmt: skip
    module = LAYOUTS["stylegan2-nvidia"].build(config)
    draw = torch.Generator().manual_seed(3)
    for name, values in module.state_dict().items():
        if not name.endswith("resample_filter"):
            values.copy_(torch.randn(values.shape, generator=draw) * 0.5 + name.endswith("affine.bias"))
    generator = stylegan2_generator(module.requires_grad_(False), space=space)
    result = run(generator, tmp_path, tolerance=0.03, n=5, n_moves=8)
    assert result.layer == "synthesis.b4.conv1.activation"
    prior = latent_prior(generator)
    for query in result.explored:
        assert query.latents.shape[1:] == generator.latent_shape
        region = generative_region(generator, query.query, result.layer, query.mask, margin=0.0)
        assert region.contains(query.latents).double().mean() == 1
        assert not torch.equal(query.latents[0], query.query[0])
        lengths = prior.norms(query.latents)
        assert lengths.max() <= max(prior.norm_at(0.9995), float(prior.norms(query.query))) * 1.001
        if space == "z":  # the number that chooses the class
            assert (query.latents[:, -1] == query.query[:, -1]).all()
            assert (query.rotated[:, -1] == query.query[:, -1]).all()
    assert (tmp_path / "report.html").is_file()


def command(monkeypatch, tmp_path, *arguments):
    (tmp_path / "explore_scratch.py").write_text(SCRATCH)
    monkeypatch.syspath_prepend(tmp_path)
    arguments = ["genmend", "explore", "explore_scratch:build", "--latent-shape", "6", "--extractor", "", *arguments]
    monkeypatch.setattr(sys, "argv", [*arguments, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def test_the_command_prints_its_summary_and_takes_latents(monkeypatch, capsys, tmp_path):
    latents = torch.randn(1, 6, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "z.npy", latents.numpy())
    options = ["--latents", str(tmp_path / "z.npy"), "--n", "4", "--n-moves", "3", "--json"]
    options += ["--tolerance", "0.02", "--granularity", "unit"]
    assert command(monkeypatch, tmp_path, *options) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert printed["layer"] == "2"
    assert printed["n_queries"] == 1
    with np.load(tmp_path / "out" / "explored.npz") as arrays:
        assert torch.equal(torch.from_numpy(arrays["queries"]), latents)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "nowhere"], "nowhere"),
        (["--layer", "3"], "'3' is Conv2d"),
        (["--method", "flood"], "auto, bouncing, hit-and-run, tree"),
        (["--granularity", "map"], "'neuron' or 'unit'"),
        (["--tolerance", "0"], "above 0"),
        (["--tolerance", "1", "--granularity", "unit", "--n-queries", "1"], "no boundary is needed"),
    ],
)
def test_bad_input_ends_with_2_and_says_why(monkeypatch, capsys, tmp_path, options, message):
    assert command(monkeypatch, tmp_path, *options) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert not (tmp_path / "out" / "summary.json").exists()
