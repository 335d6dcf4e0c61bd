"""The figures show the numbers they are given, cut nothing off, and leave pyplot alone."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from genmend.manifold.figures import charts as figures
from genmend.manifold.figures.galleries import gallery, most_common, rarest, worst_missed, worst_outside
from genmend.manifold.figures.image_grid import image_grid

RARITY = np.array([3.0, np.nan, 1.0, 2.0, np.nan, 5.0])
SCORE = np.array([0.5, 1.5, 0.2, 1.0, 9.0, 0.9])
REFERENCE_RARITY = np.array([1.0, 2.0, np.nan, 4.0])
COVERED = np.array([True, False, False, True])
RADIUS = np.array([1.0, 7.0, 2.0, 4.0])


class Evaluated:
    """As much of an evaluation as a figure looks at: six queries, four reference samples."""

    def __init__(self, ks=(3, 5), intervals=True, names=("precision", "recall", "density", "coverage"), left_out=()):
        totals = dict(zip(names, (0.6, 0.25, 1.4, 0.5), strict=False)) | {"expected_coverage": 0.9}
        self.result = {
            "n_reference": 4,
            "n_query": 6,
            "k": {str(k): {name: value + 0.01 * k for name, value in totals.items()} for k in ks},
            "intervals": {},
        }
        if intervals:
            self.result["intervals"] = {
                str(k): {name: [self.result["k"][str(k)][name] - 0.05, self.result["k"][str(k)][name] + 0.1]
                         for name in names} for k in ks
            }  # fmt: skip
        arrays = {
            "inside": np.isfinite(RARITY),
            "rarity": RARITY,
            "score": SCORE,
            "reference_rarity": REFERENCE_RARITY,
            "covered": COVERED,
            "radius": RADIUS,
        }
        self.arrays = {f"k{k}_{name}": values for k in ks for name, values in arrays.items() if name not in left_out}

    def to_dict(self):
        return self.result

    def per_sample(self):
        return self.arrays


EVALUATED = Evaluated()
IMAGES = [np.full((8, 6, 3), 40 * row, dtype=np.uint8) for row in range(6)]


def bars_of(ax):
    """Heights of the filled bars, by legend label."""
    return {patch.get_label(): patch.get_data().values for patch in ax.patches if patch.get_label()}


def texts_of(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def titles_of(figure):
    """What stands above the images of a gallery, which are in the order of reading."""
    (ax,) = figure.axes
    places = [image.get_extent() for image in ax.images]
    assert places == sorted(places, key=lambda extent: (-extent[2], extent[0]))
    for text, (left, right, _, top) in zip(ax.texts, places, strict=True):
        x, y = text.get_position()
        assert left < x < right
        assert top < y < top + 0.1
    return [text.get_text() for text in ax.texts]


def shown_rows(figure):
    return [int(title.split("row ")[1].rstrip(")")) for title in titles_of(figure)]


NAMED = {"a": EVALUATED, "a much longer name of a set, psi = 0.7": Evaluated((3,))}
DRAWN = {
    "rarity": lambda: figures.rarity_histogram(EVALUATED),
    "score": lambda: figures.score_histogram(EVALUATED, 5),
    "plane": lambda: figures.precision_recall_plane(NAMED),
    "other plane": lambda: figures.density_coverage_plane(NAMED, 3),
    "sweep": lambda: figures.k_sweep(EVALUATED),
    "bars": lambda: figures.metric_bars(EVALUATED),
    "overview": lambda: figures.overview(EVALUATED),
    "overview of one k": lambda: figures.overview(Evaluated((3,))),
    "rare": lambda: figures.rare_gallery(EVALUATED, IMAGES),
    "common": lambda: figures.common_gallery(EVALUATED, IMAGES),
    "outside": lambda: figures.off_manifold_gallery(EVALUATED, IMAGES),
    "missed": lambda: figures.missed_gallery(EVALUATED, IMAGES[:4]),
}


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_cut_off(name):
    figure = DRAWN[name]()
    assert isinstance(figure, Figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.get_tightbbox(canvas.get_renderer())
    width, height = figure.get_size_inches()
    assert box.x0 > -0.02
    assert box.y0 > -0.02
    assert box.x1 < width + 0.02
    assert box.y1 < height + 0.02


def test_rarity_bars_add_up_to_the_share_inside_and_the_rest_is_stated():
    figure = figures.rarity_histogram(EVALUATED)
    bars = bars_of(figure.axes[0])
    assert {name: round(values.sum(), 9) for name, values in bars.items()} == {
        "query: 33.3 % off-manifold": round(400 / 6, 9),
        "reference, leave-one-out: 25.0 % off-manifold": 75.0,
    }


def test_rarity_with_nothing_inside_or_all_alike_still_draws():
    nowhere, alike = Evaluated(), Evaluated()
    nowhere.arrays["k3_rarity"] = nowhere.arrays["k3_reference_rarity"] = np.full(3, np.nan)
    alike.arrays["k3_rarity"] = alike.arrays["k3_reference_rarity"] = np.full(3, 2.0)
    assert {label.split(":")[1] for label in bars_of(figures.rarity_histogram(nowhere).axes[0])} == {
        " 100.0 % off-manifold"
    }
    assert all(bar.sum() == pytest.approx(100) for bar in bars_of(figures.rarity_histogram(alike).axes[0]).values())


def test_scores_are_all_counted_infinite_ones_in_the_last_bar():
    evaluated = Evaluated()
    evaluated.arrays["k3_score"] = np.array([0.5, 0.9, np.inf])
    bars = bars_of(figures.score_histogram(evaluated).axes[0])["query"]
    assert bars.sum() == pytest.approx(100)
    assert bars[-1] == pytest.approx(100 / 3)


def test_a_sweep_draws_every_computed_metric_at_every_k():
    ax = figures.k_sweep(EVALUATED, ("precision", "coverage", "vendi")).axes[0]
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == {"precision", "coverage", "coverage if alike"}
    assert list(lines["precision"].get_xdata()) == [3, 5]
    np.testing.assert_allclose(lines["precision"].get_ydata(), [0.63, 0.65])
    np.testing.assert_allclose(lines["coverage if alike"].get_ydata(), [0.93, 0.95])
    assert len(ax.collections) == 2  # bands of the intervals
    assert ax.get_ylim()[0] == 0


def test_the_plane_has_a_named_point_with_whiskers_for_each():
    figure = figures.precision_recall_plane({"one": EVALUATED, "two": Evaluated((5,), intervals=False)}, 5)
    (ax,) = figure.axes
    points = {bar.get_label(): bar for bar in ax.containers}
    assert set(points) == {"one", "two"}
    (x,), (y,) = points["one"].lines[0].get_data()
    assert (x, y) == (pytest.approx(0.65), pytest.approx(0.3))
    assert points["one"].has_xerr
    assert points["one"].has_yerr
    assert not points["two"].has_xerr
    assert ax.get_xlim()[0] <= 0 < 1 <= ax.get_xlim()[1]
    assert "k = 5" in ax.get_xlabel()
    assert {"one", "two"} <= set(texts_of(figure))


def test_a_single_axis_can_be_given():
    figure = Figure()
    axes = figure.subplots(5)
    drawn = [figures.rarity_histogram, figures.score_histogram, figures.precision_recall_plane, figures.k_sweep,
             figures.metric_bars]  # fmt: skip
    assert all(draw(EVALUATED, ax=ax) is figure for draw, ax in zip(drawn, axes, strict=True))


def test_an_overview_says_what_was_not_computed():
    figure = figures.overview(Evaluated(left_out=("rarity",)))
    assert sum("k3_rarity was not computed" in text for text in texts_of(figure)) == 1


def test_rows_are_chosen_as_their_names_say():
    assert rarest(EVALUATED).tolist() == [5, 0, 3, 2]
    assert most_common(EVALUATED, n=2).tolist() == [2, 3]
    assert worst_outside(EVALUATED).tolist() == [4, 1]
    assert worst_missed(EVALUATED).tolist() == [2, 1]


def test_galleries_show_those_rows_with_their_values():
    assert shown_rows(figures.rare_gallery(EVALUATED, IMAGES)) == [5, 0, 3, 2]
    assert shown_rows(figures.common_gallery(EVALUATED, IMAGES, n=3)) == [2, 3, 0]
    assert shown_rows(figures.off_manifold_gallery(EVALUATED, IMAGES)) == [4, 1]
    figure = figures.missed_gallery(EVALUATED, IMAGES[:4])
    assert shown_rows(figure) == [2, 1]
    assert titles_of(figure) == ["2  (row 2)", "7  (row 1)"]
    assert figure.axes[0].images[0].get_array()[0, 0, 0] == 80


def test_images_may_be_arrays_tensors_and_files(tmp_path):
    colour = np.zeros((4, 6, 3), dtype=np.uint8)
    colour[..., 0] = 255
    path = tmp_path / "red.png"
    Image.fromarray(colour).save(path)
    forms = [colour, colour / 255.0, torch.from_numpy(colour / 255.0).permute(2, 0, 1), path, str(path)]
    for form in forms:
        figure = gallery([form], np.array([0]), "one", np.array([1.0]))
        np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), colour)
    grey = gallery([np.eye(5)], np.array([0]), "one", np.array([1.0])).axes[0].images[0].get_array()
    np.testing.assert_array_equal(grey, 255 * np.eye(5))
    large = gallery([np.zeros((400, 800), np.uint8)], np.array([0]), "one", np.array([1.0]))
    assert large.axes[0].images[0].get_array().shape == (96, 192)
    left, right, bottom, top = large.axes[0].images[0].get_extent()
    assert right - left == pytest.approx(2 * (top - bottom))


def test_an_empty_gallery_says_so():
    evaluated = Evaluated()
    evaluated.arrays["k3_covered"] = np.ones(4, dtype=bool)
    assert any("there are none" in text for text in texts_of(figures.missed_gallery(evaluated, IMAGES[:4])))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: figures.rarity_histogram(EVALUATED, 4), r"k = 4 was not computed; \[3, 5\] were"),
        (lambda: figures.rarity_histogram(Evaluated(left_out=("rarity",))), "k3_rarity was not computed"),
        (lambda: figures.k_sweep(EVALUATED, ("vendi",)), "none of vendi was computed"),
        (lambda: figures.metric_bars(EVALUATED, 3, ("vendi",)), "none of vendi was computed for k = 3"),
        (lambda: figures.precision_recall_plane({}), "give at least one evaluation"),
        (lambda: figures.precision_recall_plane({"a": EVALUATED, "b": Evaluated((5,))}, 3), "precision at k = 3 was"),
        (lambda: figures.rare_gallery(EVALUATED, IMAGES[:5]), "5 images came with 6 samples"),
        (lambda: figures.rare_gallery(EVALUATED, [np.zeros((2, 3, 4, 5))] * 6), r"an image has shape \(2, 3, 4, 5\)"),
    ],
)
def test_what_cannot_be_drawn_is_a_clear_error(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_pyplot_is_not_needed_and_matplotlib_is_imported_only_to_draw():
    script = (
        "import sys; import genmend.manifold.figures.charts; loaded = 'matplotlib' in sys.modules\n"
        "from test_figures import EVALUATED\n"
        "genmend.manifold.figures.charts.overview(EVALUATED)\n"
        "sys.exit(loaded or 'matplotlib.pyplot' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    path = f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(root)!r}]\n"
    assert subprocess.run([sys.executable, "-c", path + script], cwd=root, check=False).returncode == 0


def test_names_stand_left_of_their_rows_and_leave_the_images_as_they_are():
    rows = [torch.rand(3, 3, 8, 8) for _ in range(2)]
    plain, named = (
        np.asarray(Image.open(io.BytesIO(image_grid(rows, scale=4, names=names)))) for names in ((), ("", "ours"))
    )
    assert plain.shape == (2 * 12 * 4, 3 * 12 * 4, 3)
    margin = named.shape[1] - plain.shape[1]
    np.testing.assert_array_equal(named[:, margin:], plain)
    first, second = np.split(named[:, :margin], 2)
    assert first.min() == 255  # no name, nothing written
    assert second.min() < 100
    with pytest.raises(ValueError, match="2 rows got 1 names"):
        image_grid(rows, names=["one"])
