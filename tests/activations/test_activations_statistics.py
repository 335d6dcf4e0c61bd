import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genmend.activations import ActivationRate, MeanVariance, TopSamples, UnitQuantiles

examples = settings(max_examples=60, deadline=None, derandomize=True)

# Few distinct values, so that ties are common, and signed zeros among them.
values = st.one_of(st.sampled_from([-2.0, -0.0, 0.0, 1.0, 1.5]), st.floats(-1e3, 1e3, width=32))
shapes = hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=6)
samples = shapes.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=values))


@st.composite
def batches(draw):
    """The samples as one array, and cut into batches anywhere (also empty ones)."""
    array = draw(samples)
    cuts = sorted(draw(st.lists(st.integers(0, len(array)), max_size=4)))
    return array, [torch.from_numpy(part) for part in np.split(array, cuts)]


def fed(statistic, parts):
    for part in parts:
        statistic.update(part)
    return statistic


def merged(make, parts):
    """Every part in a statistic of its own, then all joined."""
    total = make(0)
    seen = 0
    for part in parts:
        total.merge(fed(make(seen), [part]))
        seen += len(part)
    return total


def by_unit(array):
    return np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)


@examples
@given(batches())
def test_activation_rate_is_exact_however_it_is_cut(case):
    array, parts = case
    for rate in (fed(ActivationRate(), parts), merged(lambda _: ActivationRate(), parts)):
        assert rate.count == len(array)
        np.testing.assert_array_equal(rate.positive, (array > 0).sum(0))
        np.testing.assert_array_equal(rate.rate, (array > 0).sum(0) / len(array))


@examples
@given(batches(), st.sampled_from(["neuron", "unit"]))
def test_mean_and_variance_agree_with_numpy_however_they_are_cut(case, per):
    array, parts = case
    rows = array.astype(np.float64) if per == "neuron" else by_unit(array).T.astype(np.float64)
    for moments in (fed(MeanVariance(per), parts), merged(lambda _: MeanVariance(per), parts)):
        assert moments.count == len(rows)
        assert moments.mean.dtype == torch.float64
        np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-12, atol=1e-11)
        np.testing.assert_allclose(moments.variance, rows.var(0), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(moments.std, moments.variance.sqrt())
        assert (moments.variance >= 0).all()


def test_variance_survives_a_large_offset():
    array = 1e6 + np.random.default_rng(0).normal(size=(4000, 1))
    moments = fed(MeanVariance(), torch.from_numpy(array).split(7))
    np.testing.assert_allclose(moments.variance, array.var(0), rtol=1e-9)


@examples
@given(batches(), st.sampled_from([0.05, 0.3, 1.0]), st.integers(0, 5), st.data())
def test_quantiles_are_exact_however_they_are_cut(case, tail, slack, data):
    array, parts = case
    levels = data.draw(st.lists(st.floats(1 - tail, 1), min_size=1, max_size=3))
    expected = np.quantile(by_unit(array).astype(np.float64), levels, axis=1)

    def make(_):
        return UnitQuantiles(samples=len(array) + slack, tail=tail)

    for quantiles in (fed(make(0), parts), merged(make, parts)):
        assert quantiles.count == len(array)
        np.testing.assert_allclose(quantiles.quantile(levels), expected, rtol=1e-13, atol=1e-300)
        np.testing.assert_array_equal(quantiles.quantile(1.0), by_unit(array).max(1))


@pytest.mark.parametrize("order", ["as it comes", "rising", "falling"])
def test_quantiles_of_a_long_stream_are_exact_and_hold_little(order):
    rng = np.random.default_rng(3)
    array = np.maximum(rng.normal(size=(600, 5, 4, 4)), 0).astype(np.float32)
    if order != "as it comes":
        array = array[np.argsort(array.max((1, 2, 3)))][:: 1 if order == "rising" else -1].copy()
    quantiles = UnitQuantiles(samples=600, tail=0.01)
    most = 0
    for part in torch.from_numpy(array).split(8):
        quantiles.update(part)
        most = max(most, sum(held.shape[1] for held in quantiles._parts))
    exact = np.quantile(by_unit(array).astype(np.float64), [0.99, 0.9925, 1.0], axis=1)
    np.testing.assert_allclose(quantiles.quantile([0.99, 0.9925, 1.0]), exact, rtol=1e-13)
    kept = 0.01 * 600 * 16 + 2
    assert most <= 3 * kept + 8 * 16 < 600 * 16 / 10


def test_quantiles_of_outputs_without_positions_are_exact_over_many_batches():
    array = np.random.default_rng(4).normal(size=(600, 5)).astype(np.float32)
    quantiles = UnitQuantiles(samples=600, tail=0.01)
    for part in torch.from_numpy(array).split(8):
        quantiles.update(part)
    exact = np.quantile(array.astype(np.float64), [0.99, 1.0], axis=0)
    np.testing.assert_allclose(quantiles.quantile([0.99, 1.0]), exact, rtol=1e-13)


@examples
@given(batches(), st.integers(0, 3), st.data())
def test_counted_quantiles_are_within_their_error_however_they_are_cut(case, slack, data):
    array, parts = case
    levels = data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=3))
    ordered = np.sort(by_unit(array).astype(np.float64), axis=1)
    position = np.array(levels) * (ordered.shape[1] - 1)
    below, above = np.floor(position).astype(int), np.ceil(position).astype(int)

    def make(_):
        return UnitQuantiles(samples=len(array) + slack, tail=1.0, most_values=0)

    for quantiles in (fed(make(0), parts), merged(make, parts)):
        assert quantiles.error == 1 / 128
        found = quantiles.quantile(levels).numpy().T
        width = np.maximum(np.abs(ordered), 1e-37) / 128
        # Between two neighbours, each off by less than a bucket.
        assert (found >= (ordered - width)[:, below] - 1e-30).all()
        assert (found <= (ordered + width)[:, above] + 1e-30).all()
        np.testing.assert_array_equal(quantiles.quantile(1.0), by_unit(array).max(1))


def test_more_values_than_may_be_held_are_counted_in_fixed_memory():
    array = np.maximum(np.random.default_rng(5).normal(size=(900, 3, 8, 8)), 0).astype(np.float32)
    exact = UnitQuantiles(900, 0.01)
    counted = UnitQuantiles(900, 0.01, most_values=1000)  # 3 x 577 would be held
    for part in torch.from_numpy(array).split(32):
        exact.update(part)
        counted.update(part)
    assert (exact.error, counted.error) == (0.0, 1 / 128)
    assert not counted._parts
    levels = [0.99, 0.995, 0.9999]
    np.testing.assert_allclose(counted.quantile(levels), exact.quantile(levels), rtol=0.004)
    with pytest.raises(ValueError, match=r"most_values=67108864 into .* most_values=1000"):
        counted.merge(exact)


def test_counts_take_every_dtype_and_both_signs():
    array = torch.tensor([[-3.0], [-0.0], [0.0], [2.0], [7.0]])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        counted = UnitQuantiles(5, 1.0, most_values=0)
        counted.update(array.to(dtype))
        assert counted.quantile([0.0, 0.25, 0.5, 0.75, 1.0])[:, 0].tolist() == pytest.approx(
            [-3, 0, 0, 2, 7], rel=1 / 128
        )


@examples
@given(batches(), st.integers(1, 4))
def test_top_samples_are_the_highest_peaks_earliest_first(case, k):
    array, parts = case
    peaks = array.reshape(*array.shape[:2], -1).max(2).T
    order = np.argsort(-peaks, axis=1, kind="stable")[:, :k]
    for top in (fed(TopSamples(k), parts), merged(lambda first: TopSamples(k, first), parts)):
        assert top.count == len(array)
        np.testing.assert_array_equal(top.samples, order)
        np.testing.assert_array_equal(top.values, np.take_along_axis(peaks, order, 1))


def test_top_samples_of_equal_peaks_do_not_depend_on_merge_order():
    late, early = TopSamples(2, first_sample=10), TopSamples(2)
    late.update(torch.ones(3, 1))
    early.update(torch.ones(3, 1))
    late.merge(early)
    assert late.samples.tolist() == [[0, 1]]


MAKERS = [
    ActivationRate,
    MeanVariance,
    lambda: MeanVariance("unit"),
    lambda: UnitQuantiles(9),
    lambda: UnitQuantiles(9, most_values=0),
    lambda: TopSamples(2),
]
RESULTS = [
    lambda s: s.rate,
    lambda s: s.variance,
    lambda s: s.std,
    lambda s: s.quantile(1.0),
    lambda s: s.quantile(1.0),
    lambda s: s.samples,
]


@pytest.mark.parametrize(("make", "result"), list(zip(MAKERS, RESULTS, strict=True)))
def test_what_every_statistic_refuses(make, result):
    with pytest.raises(ValueError, match="has seen no sample"):
        result(make())
    with pytest.raises(ValueError, match="NaN in row 1"):
        make().update(torch.tensor([[1.0, 2.0], [1.0, torch.nan]]))
    with pytest.raises(ValueError, match="samples, units"):
        make().update(torch.ones(4))
    statistic = fed(make(), [torch.ones(2, 3, 1, 1)])
    with pytest.raises(ValueError, match="one statistic per layer"):
        statistic.update(torch.ones(2, 4, 1, 1))
    with pytest.raises(ValueError, match="one statistic per layer"):
        statistic.merge(fed(make(), [torch.ones(2, 4, 1, 1)]))
    assert statistic.count == 2
    before = result(statistic)
    statistic.merge(make())
    assert torch.equal(result(statistic), before)


@pytest.mark.parametrize(("make", "result"), list(zip(MAKERS, RESULTS, strict=True)))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_nothing(make, result, dtype):
    batch = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0)).to(dtype)
    half, single = fed(make(), [batch]), fed(make(), [batch.float()])
    assert torch.equal(result(half).double(), result(single).double())


@pytest.mark.parametrize(("make", "result"), list(zip(MAKERS, RESULTS, strict=True)))
def test_inference_mode_and_gradients_may_mix(make, result):
    batch = torch.randn(4, 3, 2, 2, requires_grad=True)
    mixed = make()
    with torch.inference_mode():
        mixed.update(batch[:2] * 1)
    mixed.update(batch[2:])
    assert not result(mixed).requires_grad
    assert torch.equal(result(mixed), result(fed(make(), [batch[:2].detach(), batch[2:].detach()])))


def test_quantiles_refuse_what_they_could_not_answer_exactly():
    with pytest.raises(ValueError, match="built for 3 samples and has now been given 4"):
        fed(UnitQuantiles(3), [torch.ones(2, 1), torch.ones(2, 1)])
    quantiles = fed(UnitQuantiles(3, tail=0.1), [torch.ones(2, 1)])
    for level in (0.8, 1.1, float("nan")):
        with pytest.raises(ValueError, match="keeps"):
            quantiles.quantile(level)
    with pytest.raises(ValueError, match="both must be the same"):
        quantiles.merge(UnitQuantiles(4, tail=0.1))


@pytest.mark.parametrize(
    "make",
    [
        lambda: UnitQuantiles(0),
        lambda: UnitQuantiles(5, tail=0.0),
        lambda: UnitQuantiles(5, tail=1.5),
        lambda: TopSamples(0),
        lambda: MeanVariance("pixel"),
        lambda: MeanVariance("unit").merge(MeanVariance("neuron")),
        lambda: TopSamples(1).merge(TopSamples(2)),
    ],
)
def test_wrong_settings_are_refused(make):
    with pytest.raises(ValueError, match=r"is|got"):
        make()
