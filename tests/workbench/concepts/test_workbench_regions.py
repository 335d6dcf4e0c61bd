import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from scratch_commands import SCRATCH, genmend

OWN = """

def classifier():
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3)]
    return nn.Sequential(*layers).eval()
"""
IMAGES = ["images", "--model", "scratch:classifier", "--side", "12"]
LATENTS = ["scratch:build", "--latents", "Z.npy", "--latent-shape", "12"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regions")
    (folder / "scratch.py").write_text(SCRATCH + OWN)
    rng = np.random.default_rng(0)
    for number in range(40):
        kind, place = ("red", 0) if number % 2 else ("blue", 2)
        pixels = rng.integers(0, 120, (20, 16, 3), dtype=np.uint8)
        pixels[..., place] += 120
        (folder / "images" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / kind / f"{number:02d}.png")
    latents = torch.randn(120, 12, generator=torch.Generator().manual_seed(0))
    np.save(folder / "Z.npy", latents.numpy())
    (folder / "found").mkdir()
    flags = (latents[:, 0] > 0.6).int().tolist()
    rows = "".join(f"{number},0.5,{flag}\n" for number, flag in enumerate(flags))
    (folder / "found" / "scores.csv").write_text("index,combined,flagged\n" + rows)
    return folder


def test_a_query_among_images_in_folders(here):
    done = genmend(here, "regions", *IMAGES, "--query", "05.png", "--out", "alike", "--json")
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout)
    assert totals == json.loads((here / "alike" / "summary.json").read_text())
    assert totals["layer"] == "1"
    assert totals["pooled"]
    assert totals["threshold"] == "learned"
    query = totals["query"]
    assert query["name"] == "red/05.png"
    assert (query["label"], totals["label_is"]) == ("red", "folder")
    assert query["purity"]["region"] > 0.9
    assert totals["settings"]["layer"] == "1", "what was chosen, not the empty default"
    assert "of 20 samples held out are in it" in done.stderr
    page = (here / "alike" / "report.html").read_text()
    assert "In the region, of the samples held out" in page
    plane = totals["planes"]["query"]
    numbers, (share,) = plane["samples"], plane["share_inside"].values()
    assert numbers[0] == query["query"]
    assert numbers[1] in query["held_out_members"]
    assert 0 < share < 1
    assert "A, the query: red/05.png; B, in its region: red/" in page
    assert "blends of the three images, which are no photographs" in page
    rows = list(csv.DictReader((here / "alike" / "samples.csv").open()))
    inside = {int(row["index"]) for row in rows if row["query_region"] == "1"}
    assert inside == set(query["members"]) | set(query["held_out_members"])
    assert rows[query["query"]]["name"] == "red/05.png"
    again = genmend(here, "regions", *IMAGES, "--query", str(query["query"]), "--out", "alike", "--json")
    assert json.loads(again.stdout) == totals


def test_kinds_of_what_detect_flags(here):
    done = genmend(here, "regions", *LATENTS, "--flagged", "found", "--out", "kinds", "--json", "--n-kinds", 2)
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout)
    assert not totals["pooled"]
    assert totals["query"] is None
    found = totals["flagged"]
    assert found["n_beyond_chance"] >= 1
    assert "beyond chance in layer" in done.stderr
    latents = np.load(here / "Z.npy")
    own = sorted(found["kinds"][0]["held_out_flagged"])
    mended = np.load(here / "kinds" / "kinds" / "kind-1.npy")
    assert len(mended) == len(own) + found["kinds"][0]["n_flagged"]
    assert {tuple(row) for row in latents[own]} <= {tuple(row) for row in mended}
    page = (here / "kinds" / "report.html").read_text()
    assert "Held out, in the region, flagged" in page
    assert "latents between and beyond theirs" in page
    flags = [latents[number, 0] > 0.6 for number in totals["planes"]["kinds"]["samples"]]
    assert flags == [True, True, False]
    np.save(here / "random.npy", np.random.default_rng(4).random(120) < 0.3)
    none = genmend(here, "regions", *LATENTS, "--flagged", "random.npy", "--out", "kinds")
    assert none.returncode == 0, none.stderr
    assert "No kind of flagged samples is beyond chance" in none.stderr
    assert not (here / "kinds" / "kinds").exists(), "latents of an earlier run"


def test_a_query_of_a_generator_with_flags(here):
    done = genmend(
        here,
        "regions",
        *LATENTS,
        "--query",
        3,
        "--flagged",
        "found",
        "--layer",
        "wake",
        "--out",
        "both",
        "--slice-points",
        0,
    )
    assert done.returncode == 0, done.stderr
    totals = json.loads((here / "both" / "summary.json").read_text())
    assert totals["layer"] == "wake"
    assert totals["query"]["purity"] is None
    assert totals["flagged"]["n_flagged"] > 0
    assert totals["planes"] == {}
    assert "In a plane" not in (here / "both" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (IMAGES, "give --query, a sample by number or name, or --flagged"),
        ([*IMAGES, "--query", "40"], "samples go from 0 to 39"),
        ([*IMAGES, "--query", "dog.png"], "no sample is named 'dog.png'; give a number, or a name such as blue/00.png"),
        ([*IMAGES, "--query", "1", "--layer", "blocks"], "No layer is named 'blocks'"),
        ([*IMAGES, "--query", "1", "--k", "30"], "or a smaller --k"),
        ([*IMAGES, "--query", "1", "--at-least", "0"], "at_least is 0.0"),
        ([*IMAGES, "--query", "1", "--slice-points", "1"], "slice_points is 1; give at least 2, or 0 for no picture"),
        ([*IMAGES, "--query", "1", "--on-above", "mean"], "threshold is 'mean'"),
        ([*IMAGES, "--flagged", "found"], "flags 120 samples, but there are 40"),
        ([*IMAGES, "--flagged", "images"], "neither scores.csv nor labels.csv"),
        (["faces", "--flagged", "found"], "a generator needs --latents"),
        ([*LATENTS, "--query", "1", "--model", "mobilenet-v2"], "--model is an option of images"),
        ([*IMAGES, "--query", "1", "--label", "0"], "--label is an option of generators"),
        ([*LATENTS, "--query", "1", "--layer", "nothing"], "No layer is named 'nothing'"),
    ],
)
def test_errors_are_one_sentence(here, arguments, says):
    done = genmend(here, "regions", *arguments, "--out", "bad")
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (here / "bad" / "report.html").exists()


def test_an_output_of_detect_is_no_source_but_tells_what_to_type(here):
    (here / "found" / "detector.safetensors").touch()
    done = genmend(here, "regions", "found", "--out", "bad")
    assert done.returncode == 2
    assert "genmend regions MODEL --latents Z.npy --flagged found" in done.stderr
