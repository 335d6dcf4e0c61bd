"""Whitening, the Gaussian mixture and the flow: against float64 loops, scikit-learn, and finite differences."""

import json
import pickle
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from genmend.gans.rare import (
    DensityFileError,
    FlowDensity,
    GaussianMixtureDensity,
    fit_whitening,
    load_density,
    save_density,
)


@pytest.fixture(scope="module")
def features():
    """900 samples of 20 features in two clusters, a constant feature among them, with an offset."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((6, 20)) * np.geomspace(3, 0.2, 6)[:, None]
    x = rng.standard_normal((900, 6)) @ mixing + 0.05 * rng.standard_normal((900, 20)) + 7
    x[300:] += 4 * mixing[1]
    x[:, 3] = 2.5
    return x.astype(np.float32)


@pytest.fixture(scope="module")
def mixture(features):
    return GaussianMixtureDensity((1, 2, 3), explained=0.95, max_dims=10).fit(features)


@pytest.fixture(scope="module")
def flow(features):
    pytest.importorskip("zuko")
    return FlowDensity("maf", n_transforms=2, hidden=(24,), n_epochs=12, patience=3, max_dims=5).fit(features)


@pytest.mark.parametrize("name", ["mixture", "flow"])
def test_the_density_is_differentiable_down_to_the_features(request, features, name):
    density = request.getfixturevalue(name)
    x = torch.from_numpy(features[:4]).double().requires_grad_(True)
    density.log_prob(x).sum().backward()
    along = x.grad[0] / x.grad[0].norm()
    step = 1e-3 if name == "mixture" else 1e-2
    with torch.no_grad():
        ends = density.log_prob(torch.stack([x[0] + step * along, x[0] - step * along]))
    slope = (ends[0] - ends[1]) / (2 * step)
    assert float(slope) == pytest.approx(float(x.grad[0].norm()), rel=1e-4 if name == "mixture" else 2e-2)


# --- whitening -------------------------------------------------------------------------------------------------------


def test_whitened_samples_are_uncorrelated_of_unit_variance(features):
    whitening = fit_whitening(features, explained=0.99)
    whitened = whitening(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(whitening.n_dims), atol=1e-8)
    np.testing.assert_allclose(whitened.mean(0), 0, atol=1e-9)


@pytest.mark.parametrize("explained", [0.5, 0.8, 0.9, 0.97])
def test_it_keeps_the_fewest_components_that_explain_enough(features, explained):
    whitening = fit_whitening(features, explained)
    variances = np.linalg.svd(features.astype(np.float64) - features.mean(0, dtype=np.float64))[1] ** 2
    shares = np.cumsum(variances) / variances.sum()
    assert shares[whitening.n_dims - 1] >= explained
    assert whitening.n_dims == 1 or shares[whitening.n_dims - 2] < explained
    assert whitening.explained == pytest.approx(shares[whitening.n_dims - 1], rel=1e-6)


def test_constant_directions_are_left_out_whatever_is_asked_for(features):
    assert fit_whitening(features, 1.0, 99).n_dims == 19
    assert fit_whitening(features, 1.0, 4).n_dims == 4
    doubled = np.concatenate([features, features], axis=1)
    assert fit_whitening(doubled, 1.0, 99).n_dims == 19


@pytest.mark.parametrize(("arguments", "match"), [((0.0, 5), "share of variance"), ((0.5, 0), "at least one")])
def test_whitening_refuses_settings_out_of_range(features, arguments, match):
    with pytest.raises(ValueError, match=match):
        fit_whitening(features, *arguments)


def test_whitening_refuses_what_holds_no_density(features):
    with pytest.raises(ValueError, match="All 900 feature vectors are equal"):
        fit_whitening(np.ones((900, 4)))
    broken = features.copy()
    broken[3, 2] = np.nan
    with pytest.raises(ValueError, match="features"):
        fit_whitening(broken)


def test_another_width_is_refused(mixture, features):
    with pytest.raises(ValueError, match=r"shape \(5, 19\).*\(n, 20\)"):
        mixture.log_prob(torch.from_numpy(features[:5, :19]))


# --- the mixture -----------------------------------------------------------------------------------------------------


def test_the_mixture_equals_scikit_learns_in_float64(mixture, features):
    whitened = mixture.whitening_(torch.from_numpy(features)).numpy()
    theirs = GaussianMixture(len(mixture.weights_), reg_covar=1e-2, random_state=0, max_iter=200).fit(whitened)
    ours = mixture.log_prob(torch.from_numpy(features)).numpy()
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, theirs.score_samples(whitened), rtol=1e-10)


def test_and_a_loop_over_components(mixture, features):
    whitened = mixture.whitening_(torch.from_numpy(features[:20])).numpy()
    total = np.zeros(20)
    for weight, mean, cholesky in zip(
        mixture.weights_.numpy(), mixture.means_.numpy(), mixture.precisions_cholesky_.numpy(), strict=True
    ):
        covariance = np.linalg.inv(cholesky @ cholesky.T)
        total += weight * multivariate_normal(mean, covariance).pdf(whitened)
    np.testing.assert_allclose(mixture.log_prob(torch.from_numpy(features[:20])).numpy(), np.log(total), rtol=1e-8)


def test_the_number_of_components_is_chosen_by_unseen_samples(mixture):
    by_components = mixture.held_out_by_components_
    assert set(by_components) == {1, 2, 3}
    assert by_components[2] > by_components[1]  # there are two clusters
    assert mixture.held_out_log_prob_ == max(by_components.values()) == by_components[len(mixture.weights_)]


def test_far_away_is_rarer_without_end(mixture, features):
    away = torch.from_numpy(features.mean(0)) + torch.tensor([[0.0], [10], [100], [1000]]) * torch.ones(20)
    values = mixture.log_prob(away)
    assert (values.diff() < 0).all()
    assert torch.isfinite(values).all()


def test_too_few_samples_are_refused(features):
    with pytest.raises(ValueError, match="There are 30 samples, 24 without the held-out ones; this density needs 40"):
        GaussianMixtureDensity((1, 8)).fit(features[:30])
    with pytest.raises(ValueError, match="n_components is 0"):
        GaussianMixtureDensity(0).fit(features)


# --- the flow --------------------------------------------------------------------------------------------------------


def test_a_flow_learns_stops_at_its_best_pass_and_leaves_torchs_state(features):
    pytest.importorskip("zuko")
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    flow = FlowDensity("nsf", n_transforms=1, hidden=(16,), n_epochs=8, patience=2, max_dims=3).fit(features)
    assert torch.equal(state, torch.random.get_rng_state())
    assert flow.held_out_curve_[flow.n_epochs_ - 1] == flow.held_out_log_prob_ == max(flow.held_out_curve_)
    assert flow.held_out_log_prob_ > flow.held_out_curve_[0]
    assert len(flow.held_out_curve_) <= min(8, flow.n_epochs_ + 2)


def test_the_kept_weights_are_those_of_the_best_pass(flow, features):
    from genmend.gans.rare.density import held_out_split

    _, held_out = held_out_split(len(features), flow.seed)
    again = flow.log_prob(torch.from_numpy(features[held_out])).mean()
    assert float(again) == pytest.approx(flow.held_out_log_prob_, rel=1e-5)


def test_the_same_seed_gives_the_same_flow(features):
    pytest.importorskip("zuko")
    settings = {"kind": "maf", "n_transforms": 1, "hidden": (8,), "n_epochs": 2, "max_dims": 3}
    x = torch.from_numpy(features[:9])
    one, same, other = (FlowDensity(**settings, seed=seed).fit(features).log_prob(x) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_flow_integrates_to_one(features):
    """In one whitened dimension, by the trapezoidal rule."""
    pytest.importorskip("zuko")
    flow = FlowDensity("nsf", n_transforms=1, hidden=(8,), n_epochs=3, max_dims=1).fit(features)
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
    density = flow.log_prob_whitened(grid).detach().exp()
    assert float(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1, abs=2e-3)


def test_without_zuko_the_flow_says_what_to_install(features, monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko.flows", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'genmend\[flows\]'.*gmm"):
        FlowDensity().fit(features)


def test_a_flow_refuses_settings_out_of_range(features):
    pytest.importorskip("zuko")
    with pytest.raises(ValueError, match="kind is 'glow'"):
        FlowDensity("glow").fit(features)
    with pytest.raises(ValueError, match="at least 1"):
        FlowDensity(patience=0).fit(features)


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mixture", "flow"])
def test_a_loaded_density_answers_bit_for_bit_the_same(request, features, tmp_path, name):
    density = request.getfixturevalue(name)
    save_density(tmp_path / "d.safetensors", density)
    loaded = load_density(tmp_path / "d.safetensors")
    x = torch.from_numpy(features[:50])
    assert torch.equal(loaded.log_prob(x), density.log_prob(x))
    assert type(loaded) is type(density)
    assert loaded.held_out_log_prob_ == density.held_out_log_prob_
    assert list(tmp_path.iterdir()) == [tmp_path / "d.safetensors"]


def damaged(path, out, change):
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    facts = json.loads(metadata["genmend.density"])
    change(facts, tensors)
    save_file(tensors, out, metadata | {"genmend.density": json.dumps(facts)})


def rename(old, new):
    return lambda facts, tensors: tensors.__setitem__(new, tensors.pop(old))


def put(name, value):
    return lambda facts, tensors: tensors.__setitem__(name, value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mixture", rename("mixture/means", "mixture/module.means")),
        ("mixture", put("mixture/means", torch.zeros(2, 3, dtype=torch.float64))),
        ("mixture", put("mixture/weights", torch.full((2,), float("nan")))),
        ("mixture", put("elsewhere/x", torch.zeros(1))),
        ("mixture", lambda facts, tensors: facts.__setitem__("kind", "glow")),
        ("mixture", lambda facts, tensors: facts["settings"].__setitem__("colour", "blue")),
        ("mixture", lambda facts, tensors: facts.pop("held_out_log_prob")),
        ("flow", lambda facts, tensors: tensors.pop(next(n for n in tensors if n.startswith("flow/")))),
        ("flow", put("flow/module.extra", torch.zeros(1))),
        ("flow", put("whitening/projection", torch.zeros(20, 2, dtype=torch.float64))),
    ],
)
def test_a_file_with_a_part_changed_is_refused(request, tmp_path, name, change):
    save_density(tmp_path / "whole", request.getfixturevalue(name))
    damaged(tmp_path / "whole", tmp_path / "d.safetensors", change)
    with pytest.raises(DensityFileError, match=r"d\.safetensors cannot be loaded as a density"):
        load_density(tmp_path / "d.safetensors")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was opened",))


def test_foreign_files_are_refused(mixture, tmp_path):
    path = tmp_path / "d.safetensors"
    save_density(path, mixture)
    whole = path.read_bytes()
    for content in (b"", pickle.dumps(Bomb()), whole[:-50], whole[:30]):
        path.write_bytes(content)
        with pytest.raises(DensityFileError, match=r"d\.safetensors"):
            load_density(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(DensityFileError, match=r"genmend\.density/1"):
        load_density(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_density(tmp_path / "nowhere")
