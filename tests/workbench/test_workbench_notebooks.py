"""The notebooks of the documentation: they run, and show what they show on a page of code."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = {
    "score_your_samples": ("faces", "efficientnet-lite0"),
    "mend_your_generator": ("faces", "efficientnet-lite0"),
    "amplify_a_pipeline": (),
    "diagnose_a_voice": ("joe",),
}
LARGEST = 400_000  # bytes


def read(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def outputs(notebook):
    return [output for cell in notebook["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]]


def test_all_are_listed():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(NOTEBOOKS)
    index = (FOLDER.parent / "index.md").read_text(encoding="utf-8")
    assert all(f"notebooks/{name}.ipynb" in index for name in NOTEBOOKS)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_what_is_stored_is_small_whole_and_holds_pictures(name):
    assert (FOLDER / f"{name}.ipynb").stat().st_size <= LARGEST
    notebook = read(name)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    found = outputs(notebook)
    assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in found)
    text = json.dumps(found)
    assert "image/png" in text
    assert "<table>" in text
    assert "/root" not in text
    assert "/home" not in text


@pytest.mark.all
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.real(*weights)) if weights else name
                                  for name, weights in NOTEBOOKS.items()])  # fmt: skip
def test_it_runs_to_its_end(name):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    shown = {output["output_type"] for output in outputs(notebook)}
    assert "execute_result" in shown
    assert "error" not in shown
