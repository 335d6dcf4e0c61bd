"""torchmetrics classes: the same numbers as the functions, for any split of the samples and any number of processes."""

import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

torchmetrics = pytest.importorskip("torchmetrics")

from genmend.manifold import Manifold, coverage, density, precision, recall  # noqa: E402
from genmend.manifold.features import features_of  # noqa: E402
from genmend.manifold.metrics.torchmetrics_adapters import (  # noqa: E402
    ManifoldCoverage,
    ManifoldDensity,
    ManifoldPrecision,
    ManifoldRarity,
    ManifoldRecall,
)


def mean_rarity(reference, query, k, closed):
    return float(np.sort((rarity := Manifold(k, closed=closed).fit(reference).rarity(query))[~np.isnan(rarity)]).mean())


FUNCTIONS = {
    ManifoldPrecision: precision,
    ManifoldRecall: recall,
    ManifoldDensity: density,
    ManifoldCoverage: coverage,
    ManifoldRarity: mean_rarity,
}


def two_sets(n=90, m=70, d=6, dtype=torch.float32):
    rng = np.random.default_rng(0)
    real, generated = 50 + rng.standard_normal((n, d)), 50 + 0.7 * rng.standard_normal((m, d))
    return torch.from_numpy(real).to(dtype), torch.from_numpy(generated).to(dtype)


def fed(metric, real, generated, sizes=(1000,)):
    for features, is_real in ((generated, False), (real, True)):
        start, turn = 0, 0
        while start < len(features):
            size = sizes[turn % len(sizes)]
            metric.update(features[start : start + size], real=is_real)
            start, turn = start + size, turn + 1
    return metric


@pytest.mark.parametrize("metric_class", FUNCTIONS)
@pytest.mark.parametrize(("sizes", "closed"), [((7,), False), ((1, 30, 2), True)])
def test_equals_the_function_for_any_split(metric_class, sizes, closed):
    real, generated = two_sets()
    value = fed(metric_class(k=4, closed=closed), real, generated, sizes).compute()
    assert value.dtype == torch.float64
    assert value.item() == FUNCTIONS[metric_class](real.numpy(), generated.numpy(), 4, closed)


@pytest.mark.parametrize(("metric_class", "k"), list(zip(FUNCTIONS, (3, 3, 5, 5, 3), strict=True)))
def test_published_defaults_and_flags(metric_class, k):
    metric = metric_class()
    assert (metric.k, metric.closed) == (k, True)
    assert metric.is_differentiable is False
    assert metric.full_state_update is False
    assert metric.higher_is_better is (None if metric_class is ManifoldRarity else True)


def test_a_misspelt_option_is_refused():
    with pytest.raises(ValueError, match="compute_on_gpu"):
        ManifoldPrecision(compute_on_gpu=True)


def test_orientation():
    rng = np.random.default_rng(1)
    wide = torch.from_numpy(rng.standard_normal((200, 8)))
    tight = wide[:1] + 1e-3 * torch.from_numpy(rng.standard_normal((200, 8)))
    values = {}
    for metric in (ManifoldPrecision(), ManifoldRecall()):
        metric.set_dtype(torch.float64)
        values[type(metric)] = fed(metric, wide, tight).compute()
    assert values[ManifoldPrecision] > 0.9
    assert values[ManifoldRecall] < 0.1


def test_reset_and_update_after_compute():
    real, generated = two_sets()
    metric = fed(ManifoldDensity(), real, generated[:40])
    before = metric.compute()
    metric.update(generated[40:], real=False)
    assert metric.compute().item() == density(real, generated)
    metric.reset()
    assert metric.reference == metric.query == []
    # Another width is welcome after a reset.
    assert fed(metric, real[:, :3], generated[:, :3]).compute().item() == density(real[:, :3], generated[:, :3])
    metric.reset()
    assert fed(metric, real, generated[:40]).compute() == before


def test_what_was_given_may_be_overwritten():
    real, generated = two_sets()
    buffer, metric = real.clone(), ManifoldPrecision()
    metric.update(buffer, real=True)
    buffer.zero_()
    metric.update(generated, real=False)
    assert metric.compute().item() == precision(real, generated)


def test_pickle_in_the_middle():
    real, generated = two_sets()
    metric = fed(ManifoldCoverage(k=3, closed=False, block_size=16), real, generated[:40])
    copy = pickle.loads(pickle.dumps(metric))  # what torchmetrics' users do; our own bytes
    assert (copy.k, copy.closed, copy.block_size) == (3, False, 16)
    for each in (metric, copy):
        each.update(generated[40:], real=False)
        assert each.compute().item() == coverage(real, generated, 3, closed=False)


def test_a_collection_shares_one_store():
    real, generated = two_sets()
    collection = torchmetrics.MetricCollection([metric_class() for metric_class in FUNCTIONS])
    for start in range(0, 90, 30):
        collection.update(real[start : start + 30], real=True)
        collection.update(generated[start : start + 30], real=False)
    values = collection.compute()
    assert values["ManifoldPrecision"].item() == precision(real, generated)
    assert values["ManifoldCoverage"].item() == coverage(real, generated)
    assert len(collection.compute_groups) == 1


def test_half_precision_and_double():
    real, generated = two_sets(dtype=torch.float16)
    assert fed(ManifoldPrecision(), real, generated).compute().item() == precision(real, generated)
    real, generated = two_sets(dtype=torch.float64)
    with pytest.raises(ValueError, match=r"torch\.float64, more than the torch\.float32 .*call \.set_dtype"):
        ManifoldPrecision().update(real, real=True)
    metric = ManifoldPrecision()
    metric.set_dtype(torch.float64)
    # 1e9 away, float32 would see only copies of one point.
    assert fed(metric, real + 1e9, generated + 1e9).compute().item() == precision(real + 1e9, generated + 1e9)


def test_the_width_survives_a_narrow_dtype():
    """2,769 is no float16: rounded, the rows would fall apart."""
    real, generated = two_sets(d=2769, dtype=torch.float16)
    metric = ManifoldPrecision().set_dtype(torch.float16)
    assert metric.dtype == torch.float16
    assert fed(metric, real, generated).compute().item() == precision(real, generated)
    metric.reset()
    assert fed(metric, real[:, :4], generated[:, :4]).compute().item() == precision(real[:, :4], generated[:, :4])


def test_too_few_samples_at_compute():
    real, generated = two_sets()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics: compute before update
        with pytest.raises(ValueError, match="no real features; call update"):
            ManifoldPrecision().compute()
    with pytest.raises(ValueError, match="no generated features; call update"):
        fed(ManifoldPrecision(), real, generated[:0]).compute()
    with pytest.raises(ValueError, match=r"reference: need at least k\+1 samples, got 3 samples for k = 3"):
        fed(ManifoldPrecision(), real[:3], generated).compute()
    with pytest.raises(ValueError, match=r"query: need at least k\+1 samples, got 2 samples for k = 3"):
        fed(ManifoldRecall(), real, generated[:2]).compute()
    with pytest.raises(ValueError, match="samples, got 5"):
        fed(ManifoldDensity(), real[:5], generated).compute()
    assert np.isnan(fed(ManifoldRarity(), real, generated + 1000).compute().item())


def test_bad_input_is_refused_and_changes_nothing():
    real, generated = two_sets()
    metric = fed(ManifoldPrecision(), real, generated)
    broken = real.clone()
    broken[3, 2] = float("nan")
    for features, error, message in (
        (broken, ValueError, "NaN or inf"),
        (real[:, :5], ValueError, r"shape \(90, 5\); \(samples, 6\)"),
        (real[0], ValueError, "shape"),
        (real.int(), TypeError, "int32"),
        (real.numpy(), TypeError, "floating-point tensor"),
    ):
        with pytest.raises(error, match=message):
            metric.update(features, real=True)
    with pytest.raises(NotImplementedError, match="call update"):
        metric(real, real=True)
    assert metric.compute().item() == precision(real, generated)
    for bad in ({"k": 0}, {"k": 2.5}, {"closed": "yes"}, {"block_size": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} is"):
            ManifoldPrecision(**bad)


def test_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    real, generated = two_sets()
    figure, axes = fed(ManifoldPrecision(), real, generated).plot()
    assert axes.get_ylim()[0] <= 0
    assert figure is axes.figure
    matplotlib.pyplot.close(figure)


@pytest.mark.parametrize("metric_class", FUNCTIONS)
def test_real_features_are_given_once_or_kept_over_a_reset(metric_class, tmp_path):
    real, generated = two_sets()
    features_of(real.numpy()).save(tmp_path / "ref.safetensors")
    expected = FUNCTIONS[metric_class](real.numpy(), generated.numpy(), 4, True)
    for given in (real, tmp_path / "ref.safetensors", Manifold(4).fit(real.numpy())):
        metric = metric_class(k=4, real_features=given)
        for _ in range(2):
            metric.update(generated, real=False)
            assert metric.compute().item() == expected
            metric.reset()
    with pytest.raises(ValueError, match="was given its real features"):
        metric.update(real, real=True)
    with pytest.raises(ValueError, match=r"6\) is accepted"):
        metric.update(generated[:, :3], real=False)
    kept, forgetful = metric_class(k=4, reset_real_features=False), metric_class(k=4)
    for metric in (kept, forgetful):
        fed(metric, real, generated[:30])
        metric.reset()
        metric.update(generated, real=False)
    assert kept.compute().item() == expected
    with pytest.raises(ValueError, match="there are no real features"):
        forgetful.compute()
    with pytest.raises(ValueError, match="reset_real_features is 'no'"):
        metric_class(reset_real_features="no")


def test_a_collection_keeps_the_real_samples_of_all_its_metrics():
    real, generated = two_sets()
    both = torchmetrics.MetricCollection(
        [metric_class(k=4, reset_real_features=False) for metric_class in (ManifoldPrecision, ManifoldRecall)]
    )
    for _ in range(3):
        if not any(len(metric.reference) for metric in both.values()):
            both.update(real, real=True)
        both.update(generated, real=False)
        values = both.compute()
        both.reset()
    assert values["ManifoldPrecision"].item() == precision(real.numpy(), generated.numpy(), 4)
    assert values["ManifoldRecall"].item() == recall(real.numpy(), generated.numpy(), 4)


def test_missing_torchmetrics_names_the_extra():
    adapters = "genmend.manifold.metrics.torchmetrics_adapters"
    code = f"import sys; sys.modules['torchmetrics'] = None; import genmend.manifold; import {adapters}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'genmend[metrics]'" in done.stderr


def one_process(rank, world, place):
    """Its share of the samples; the last process has no generated ones at all."""
    import torch.distributed as distributed

    distributed.init_process_group("gloo", init_method=f"file://{place}/meeting", rank=rank, world_size=world)
    real, generated = two_sets()
    mine = generated if rank == 0 else generated[:0]
    found = {}
    for metric_class in FUNCTIONS:
        metric = fed(metric_class(k=4), real[rank::world], mine, (13,))
        found[metric_class.__name__] = metric.compute().item()
        kept = sum(part.numel() for part in metric.query)  # synchronised for compute only
        assert kept == mine.numel()
    empty = ManifoldPrecision(k=4)
    if rank == 0:
        fed(empty, real, generated)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other process has not updated
        found["all on one process"] = empty.compute().item()
    torch.save(found, f"{place}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.all
def test_two_processes_give_the_numbers_of_one(tmp_path, monkeypatch):
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.multiprocessing.spawn(one_process, args=(2, tmp_path), nprocs=2)
    real, generated = two_sets()
    truth = {each.__name__: FUNCTIONS[each](real.numpy(), generated.numpy(), 4, True) for each in FUNCTIONS}
    truth["all on one process"] = truth["ManifoldPrecision"]
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == truth
