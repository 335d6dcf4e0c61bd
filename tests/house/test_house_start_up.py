"""What is imported before it is needed. Seconds are printed by benchmarks/start_up.py; here modules are counted."""

import json
import subprocess
import sys

from house_sources import rooms

HEAVY = (
    "PIL", "accelerate", "captum", "diffusers", "faiss", "librosa", "matplotlib", "numpy", "onnx", "onnxruntime",
    "pandas", "scipy", "sklearn", "timm", "torch", "torchaudio", "torchmetrics", "torchvision", "transformers",
)  # fmt: skip
HELP = ["--version", "--help", *(f"{command} --help" for command in ("demo", "detect", "score", "amplify", "speak"))]
# A person who errs is told so at once, not after torch. Finding weights hashes them with numpy's help.
ERRORS = [
    "detcet faces",
    "detect faces --latnts x",
    "dissect wrong-name --out o",
    "dissect no_such_module:build --out o",
    "train-detector wrong-name --out o",
    "convert missing.pkl --out o",
    "score missing other --out o",
    "amplify wrong-name --out o",
    "amplify reference --gains 1,x --out o",
    "speak wrong-name hello --out o",
]

OF_COMMANDS = """
import contextlib, io, json, sys
from genmend.workbench.cli.main import main
lines, heavy = map(json.loads, sys.argv[1:])
found = {}
for line in lines:
    sys.argv[1:] = line.split()
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    found[line] = [code, said.getvalue(), [name for name in heavy if name in sys.modules]]
print(json.dumps(found))
"""


def heavy_after(*statements):
    """The heavy packages imported so far, after each of `statements`, run in turn in a process of its own."""
    tell = f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    script = "\n".join(["import sys", *(line for statement in statements for line in (statement, tell))])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


def run_in_turn(lines, folder):
    """Exit code, what was said, and the heavy packages imported so far, of command lines run in one process."""
    command = [sys.executable, "-c", OF_COMMANDS, json.dumps(lines), json.dumps(HEAVY)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_room_brings_nothing_until_a_name_of_it_is_used():
    statements = [f"import genmend.{room}; dir(genmend.{room})" for room in rooms()]
    assert heavy_after(*statements) == [set()] * len(rooms())


def test_what_loads_a_model_brings_torch_alone():
    loading = "from genmend.gans import Generator, convert, load_generator, probe\n"
    rest = "from genmend.activations import record\nfrom genmend.diffusion import draw, search_gains\n"
    loaded, dissected = heavy_after(
        f"{loading}{rest}from genmend.tts import load_voice", "from genmend.gans import dissect"
    )
    assert loaded == {"numpy", "torch"}
    assert {"matplotlib", "diffusers", "transformers", "timm"} & dissected == set()


def test_help_brings_nothing(tmp_path):
    for line, (code, said, heavy) in run_in_turn(HELP, tmp_path).items():
        assert code == 0, line
        assert said, line
        assert heavy == [], line


def test_errors_of_spelling_come_before_anything_heavy(tmp_path):
    for line, (code, said, heavy) in run_in_turn(ERRORS, tmp_path).items():
        assert code == 2, line
        assert said.startswith("genmend: "), line
        assert set(heavy) <= {"numpy"}, line
