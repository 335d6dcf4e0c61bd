import json
import wave

import numpy as np
import pytest
from PIL import Image

from genmend.storage.loggers import FileLogger, Logger, TensorBoardLogger, logger_for

PIXELS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
WAVE = np.array([0, 0.5, -1, 2], np.float32)


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_folder_keeps_figures_pictures_and_sounds(tmp_path):
    logger = logger_for(tmp_path / "log")
    logger.scalar("a/b", 0.25, 3)
    logger.scalar("a/b", float("nan"), 4)
    logger.image("../up", PIXELS, 4)
    logger.audio("said", WAVE, 16000, 4)
    assert lines(tmp_path / "log") == [
        {"step": 3, "name": "a/b", "value": 0.25},
        {"step": 4, "name": "a/b", "value": None},
        {"step": 4, "name": "../up", "file": "-up-00000004.png"},
        {"step": 4, "name": "said", "file": "said-00000004.wav"},
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"], "a name never leads out of the folder"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "log" / "-up-00000004.png")), PIXELS)
    with wave.open(str(tmp_path / "log" / "said-00000004.wav")) as file:
        assert file.getframerate() == 16000
        assert np.frombuffer(file.readframes(9), "<i2").tolist() == [0, 16384, -32767, 32767]
    FileLogger(tmp_path / "log").scalar("again", 1, 5)
    assert len(lines(tmp_path / "log")) == 5


def test_what_is_no_picture_and_no_recording_is_refused(tmp_path):
    logger = FileLogger(tmp_path)
    with pytest.raises(ValueError, match=r"float64 \(4, 5, 3\); give uint8 \(h, w, 3\)"):
        logger.image("x", PIXELS / 2, 0)
    with pytest.raises(ValueError, match="finite numbers"):
        logger.audio("x", np.array([np.nan]), 8000, 0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError, match="int is no logger; give a folder"):
        logger_for(3)
    assert isinstance(logger, Logger)
    assert logger_for(logger) is logger


def test_tensorboard_gets_all_three(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        logger = logger_for(writer)
        assert isinstance(logger, TensorBoardLogger)
        logger.scalar("coverage", 0.5, 7)
        logger.image("rarest", PIXELS, 7)
        logger.audio("said", np.clip(WAVE, -1, 1), 16000, 7)
    read = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in read.Scalars("coverage")] == [(7, 0.5)]
    image = read.Images("rarest")[0]
    assert (image.width, image.height) == (5, 4)
    assert read.Audio("said")[0].sample_rate == 16000


@pytest.mark.all
def test_weights_and_biases_gets_all_three(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    still = wandb.Settings(x_disable_stats=True, x_disable_machine_info=True, disable_git=True, console="off")
    with wandb.init(mode="offline", project="test", dir=str(tmp_path), settings=still) as run:
        logger = logger_for(run)
        logger.scalar("coverage", 0.5, 7)
        logger.scalar("coverage", 0.6, 3)  # an earlier step is kept too
        logger.image("rarest", PIXELS, 7)
        logger.audio("said", np.clip(WAVE, -1, 1), 16000, 7)
        summary = dict(run.summary)
    assert summary["coverage"] == 0.6
    assert summary["genmend_step"] == 7
    assert (summary["rarest"]["width"], summary["rarest"]["height"]) == (5, 4)
    assert summary["said"]["_type"] == "audio-file"
    assert list(tmp_path.rglob("*.wandb")), "wandb's own file"
