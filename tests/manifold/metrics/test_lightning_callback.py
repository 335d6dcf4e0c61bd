"""The callback in Lightning's own trainer, on a generator that is trained for a moment."""

import numpy as np
import pytest
import torch
from torch import nn

from genmend.manifold import evaluate

pytestmark = [pytest.mark.all, pytest.mark.filterwarnings("ignore")]  # Lightning's own, on few batches and workers


@pytest.fixture(scope="module")
def generator():
    """Make a module of Lightning, which takes seconds to import: only where these tests run."""
    lightning = pytest.importorskip("lightning.pytorch")

    class Generator(lightning.LightningModule):
        def __init__(self, width=3 * 8 * 8):
            super().__init__()
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(4, width), nn.Dropout(0.5))
            self.layers[1].eval()
            self.calls = []

        def sample(self, n):
            assert not self.layers.training
            assert not torch.is_grad_enabled()
            self.calls.append(n)
            flat = torch.sigmoid(self.layers(torch.randn(n, 4)))
            return flat.view(n, 3, 8, 8) if flat.shape[1] == 192 else flat

        def training_step(self, batch, index):
            return (self.layers(torch.randn(8, 4)) - 2).pow(2).mean()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.05)

    return Generator


def colours(images):
    return images.mean((2, 3))


def scoring(*arguments, **options):
    from genmend.manifold.metrics.lightning_callback import ScoreSamples

    return ScoreSamples(*arguments, **options)


def fitted(module, callbacks, folder, epochs=4, logger=False):
    import lightning.pytorch as lightning

    torch.manual_seed(1)
    trainer = lightning.Trainer(
        max_epochs=epochs, default_root_dir=folder, logger=logger, callbacks=callbacks, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=len(callbacks) > 1,
        log_every_n_steps=1,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(torch.zeros(8, 1), batch_size=8))
    return trainer


def real_images():
    return torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def test_totals_and_pictures_reach_the_loggers_and_a_checkpoint_watches_them(generator, tmp_path):
    pytest.importorskip("tensorboard")
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scores = scoring(
        real_images(), every_n_epochs=2, n_samples=30, batch_size=16, k=3, extractor=colours, logger=tmp_path / "own"
    )
    best = ModelCheckpoint(tmp_path / "best", monitor="genmend/coverage", mode="max", every_n_epochs=2)
    board, table = TensorBoardLogger(tmp_path, name="board"), CSVLogger(tmp_path, name="table")
    module = generator()
    trainer = fitted(module, [scores, best], tmp_path, logger=[board, table])
    assert module.calls == [16, 14, 16, 14], "every second epoch of four, in batches"
    assert [module.layers[0].training, module.layers[1].training] == [True, False], "as it was"

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        module.eval()
        drawn = torch.cat([module.sample(16), module.sample(14)])
    wanted = evaluate(colours(real_images()), colours(drawn), 3, scores.metrics).to_dict()["k"]["3"]
    for name, value in wanted.items():
        assert float(trainer.callback_metrics[f"genmend/{name}"]) == pytest.approx(value, rel=1e-5), name
    assert best.best_model_score is not None

    read = EventAccumulator(board.log_dir).Reload()
    assert len(read.Scalars("genmend/coverage")) == 2
    assert len(read.Images("genmend/rarest")) == 2
    assert "genmend/coverage" in (tmp_path / "table" / "version_0" / "metrics.csv").read_text()
    kept = sorted(path.name for path in (tmp_path / "own").iterdir())
    assert kept[-1] == "log.jsonl"
    assert [name.split("-")[1] for name in kept[:-1]] == ["off_manifold", "off_manifold", "rarest", "rarest"]


def test_the_training_is_the_same_with_and_without_it(generator, tmp_path):
    with_it, without = generator(), generator()
    fitted(with_it, [scoring(real_images(), n_samples=20, k=3, extractor=colours)], tmp_path)
    fitted(without, [], tmp_path)
    for one, other in zip(with_it.parameters(), without.parameters(), strict=True):
        assert torch.equal(one, other)


def test_features_of_ones_own_and_a_sample_function(generator, tmp_path):
    scores = scoring(
        np.random.default_rng(0).normal(size=(30, 6)), lambda module, n: module.sample(n), n_samples=20, k=3,
        metrics=("precision", "coverage"),
    )  # fmt: skip
    trainer = fitted(generator(6), [scores], tmp_path, epochs=1)
    assert {name for name in trainer.callback_metrics if name.startswith("genmend/")} == {
        "genmend/precision", "genmend/coverage", "genmend/expected_coverage",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_samples": 3}, "too few for k=3"),
        ({"sample": lambda module, n: torch.zeros(n + 1, 6)}, r"20 samples were asked for and shape \(21, 6\) came"),
        ({"reference": np.full((30, 6), np.nan)}, "NaN"),
    ],
)
def test_bad_input_is_named(generator, tmp_path, change, words):
    given = {"reference": np.random.default_rng(0).normal(size=(30, 6)), "n_samples": 20, "k": 3} | change
    with pytest.raises(ValueError, match=words):
        fitted(generator(6), [scoring(**given)], tmp_path, epochs=1)


def test_a_module_that_cannot_sample_is_told_before_it_trains(generator, tmp_path):
    class Silent(generator):
        sample = None

    with pytest.raises(ValueError, match=r"Silent has no method sample\(n\)"):
        fitted(Silent(), [scoring(real_images(), extractor=colours)], tmp_path)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A reference in a file, by an extractor that this process has named, and one by another."""
    from genmend.manifold.features import features_of
    from genmend.manifold.features.extractors import loading

    monkeypatch.setenv("GENMEND_CACHE", str(tmp_path / "cache"))
    for name in ("own:colours", "own:others"):
        monkeypatch.setitem(loading._own, name, colours)
        features_of(real_images(), name).save(tmp_path / f"{name[4:]}.safetensors")
    return tmp_path / "colours.safetensors"


def test_a_kept_reference_gives_the_numbers_of_its_images(generator, tmp_path, kept):
    options = {"n_samples": 20, "k": 3, "metrics": ("precision", "coverage")}
    found = scoring(str(kept), **options)  # samples are read with the extractor that the file names
    plain = scoring(real_images(), extractor=colours, **options)
    of_kept = fitted(generator(), [found], tmp_path, epochs=1).callback_metrics
    of_images = fitted(generator(), [plain], tmp_path, epochs=1).callback_metrics
    assert {name: float(value) for name, value in of_kept.items()} == {
        name: float(value) for name, value in of_images.items()
    }
    assert found.evaluation.n_reference == 40


def test_a_kept_reference_of_another_extractor_is_refused_with_both_named(generator, tmp_path, kept):
    with pytest.raises(ValueError, match=r"features of own:others and the query of own:colours"):
        fitted(generator(), [scoring(kept.parent / "others.safetensors", n_samples=20, k=3, extractor="own:colours")],
               tmp_path, epochs=1)  # fmt: skip
    kept.write_bytes(kept.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"colours\.safetensors"):
        fitted(generator(), [scoring(kept, n_samples=20, k=3)], tmp_path, epochs=1)
