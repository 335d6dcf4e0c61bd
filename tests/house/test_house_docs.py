"""README and docs are true: their Python runs, what they name and link exists, their figures are those measured."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.main import get_command

from genmend.activations import save_correction
from genmend.gans import ArtifactDetector, fit_correction, load_generator
from genmend.tts.mending import cached_reference
from genmend.tts.text import corpus
from genmend.workbench.cli.main import app

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}
CODE = [
    (name, code) for name, text in TEXTS.items() for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
]
SNIPPETS = {code: f"{name}, {code.splitlines()[-1].strip()[:40]}" for name, code in reversed(CODE)}  # each once
NEEDED = {"README.md", "docs/samples.md", "docs/generators.md", "docs/diffusion.md", "docs/voices.md", "docs/scale.md"}


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with what the snippets read, and a corpus of which a part is enough."""
    monkeypatch.chdir(tmp_path)
    read = corpus.read_sentences
    monkeypatch.setattr(corpus, "read_sentences", lambda *path: read(*path)[:150])
    monkeypatch.setattr(cached_reference, "read_sentences", lambda *path: read(*path)[:150])
    monkeypatch.setattr(cached_reference, "cache_folder", lambda: tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "reference").mkdir()
    np.save(tmp_path / "reference" / "shard.npy", rng.normal(size=(200, 8)).astype(np.float32))
    np.save(tmp_path / "query.npy", rng.normal(size=(50, 8)).astype(np.float32))
    return tmp_path


@pytest.mark.all
@pytest.mark.real("faces", "efficientnet-lite0", "joe")
@pytest.mark.parametrize("code", SNIPPETS, ids=SNIPPETS.values())
def test_python_runs(code, workplace):
    if "load_correction(" in code or 'from_pretrained("correction' in code:
        generator = load_generator("faces")
        detector = ArtifactDetector(n_statistics=300, n_reference=100).fit(generator)
        save_correction("correction.safetensors", fit_correction(generator, detector))
    found = {}
    exec(compile(code, SNIPPETS[code], "exec"), found)
    if "images" in found:
        assert len(found["images"]) in (4, 8)
    if "result" in found:
        assert len(found["result"].images) == 8
    if "mine" in found:
        assert found["mine"].sample(2, seed=0).shape == (2, 3, 8, 8)
    if "mended" in found:
        assert found["mended"].shape == (4, 3, 64, 64)
    if "sentence" in found:
        assert [word.word for word in found["sentence"].diagnosis.words] == ["Nguyen", "left"]
    if "evaluate" in found and "scores" in found:
        assert 0.8 < found["scores"][5].coverage <= 1
    if "amplification.safetensors" in code:
        assert Path("amplification.safetensors").is_file()


def test_there_is_python_to_run_and_it_is_short():
    assert {name for name, _ in CODE} >= NEEDED
    for name, code in CODE:
        lines = [line for line in code.splitlines() if line.strip()]
        assert len(lines) <= 7 if name.startswith("docs") else len(lines) <= 6, name
        assert "workbench" not in code


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= 150


def test_commands_and_their_options_exist():
    commands = get_command(app).commands
    for page, text in TEXTS.items():
        blocks = "\n".join(re.findall(r"^```\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE))
        said = re.findall(r"^genmend (\w[\w-]*)(.*)$", blocks, flags=re.MULTILINE)
        said += re.findall(r"`genmend (\w[\w-]*)([^`]*)`", text)
        for name, rest in said:
            assert name in commands, f"{page}: genmend {name}"
            known = {option for parameter in commands[name].params for option in parameter.opts}
            missing = set(re.findall(r"--[a-z][\w-]*", rest)) - known
            assert not missing, f"{page}: genmend {name} has no {missing}"
    options = {option for command in commands.values() for parameter in command.params for option in parameter.opts}
    for page in NEEDED - {"docs/scale.md"}:  # which names those of its benchmark
        alone = re.findall(r"`(--[a-z][\w-]*)", TEXTS[page])
        assert set(alone) <= options, f"{page}: {set(alone) - options}"


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {
        (page, a or b)
        for page, text in TEXTS.items()
        for a, b in re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", text, flags=re.MULTILINE)
    }
    assert {("README.md", "demo"), ("README.md", "test")} <= targets
    for page, target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"{page}: make {target}"


def test_links_and_pictures_lead_somewhere():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", text):
            if "://" in target:
                continue
            path = (page.parent / target).resolve() if target else page
            assert path.is_file(), f"{page.name} links to {target}"
            if page is not README:
                assert (ROOT / "docs") in path.parents, f"{page.name} links out of the site to {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
                slugs = {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in headings}
                assert anchor in slugs, f"{page.name} links to {target}#{anchor}"


def test_files_that_are_named_exist():
    folders = "activations|benchmarks|concepts|diffusion|docs|experiments|gans|manifold|storage|tests|tts|workbench"
    for page in [*PAGES, ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *ROOT.glob("experiments/**/*.md")]:
        named = re.findall(rf"`((?:{folders})/[\w./*-]+)`", page.read_text(encoding="utf-8"))
        for path in named:
            assert list(ROOT.glob(path.rstrip("/"))), f"{page.name} names {path}"


def test_experiments_that_are_named_exist():
    for page, text in TEXTS.items():
        for module in re.findall(r"`python -m (experiments[\w.]+)", text):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), f"{page} names {module}"


def test_figures_of_the_readme_are_those_of_the_linked_pages():
    rows = [line for line in TEXTS["README.md"].splitlines() if "](docs/results/" in line and line.startswith("|")]
    assert len(rows) >= 10
    for row in rows:
        (target,) = re.findall(r"\]\((docs/results/[\w-]+\.md)\)", row)
        page = TEXTS[target].replace(",", "")
        measured = set(re.findall(r"(?<![\w.])[+-]?\d+(?:\.\d+)?", page))
        for figure in re.findall(r"(?<![\w.])[+-]?\d+(?:\.\d+)?(?: %)?", re.sub(r"\(\[page\].*?\)\)", "", row)):
            value = figure.removesuffix(" %")
            assert value in measured, f"{figure} of {row!r} is not in {target}"
            assert "%" not in figure or f"{value} %" in page, f"{figure} is no percentage in {target}"


def test_the_site_has_every_page():
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = {entry if isinstance(entry, str) else next(iter(entry.values())) for entry in site["nav"]}
    top = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert listed == top | {"results/index.md"}
