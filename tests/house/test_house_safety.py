"""No file of ours runs code out of data, opens a window, or names a machine (reliability.md, sections 2 and 6)."""

import ast
import re

from house_sources import (
    dotted,
    dotted_names,
    imported_modules,
    name_of,
    nodes_of,
    python_files,
    rooms,
    text_of,
    tracked_files,
    tree_of,
)

UNPICKLERS = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle"}
FORBIDDEN_CALLS = {
    "eval": "runs code",
    "exec": "runs code",
    "builtins.eval": "runs code",
    "builtins.exec": "runs code",
    "joblib.load": "unpickles",
    "pandas.read_pickle": "unpickles",
    "os.system": "goes through a shell",
    "tempfile.mktemp": "names a file that another can make first",
}
# Split, so that these patterns don't find themselves.
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work|mnt|opt)/[\w.-]+|[A-Z]:\\\\?Users|\.\./sha" + "red/")
REGISTRY = re.compile(
    r"(?:py" + r"pi|test\.py" + r"pi)\.org|python" + r"hosted\.org|download\.py" + r"torch\.org"
    r"|conda\.(?:io|anaconda\.org)|registry\.np" + r"mjs|--(?:extra-)?index" + r"-url|--trusted" + r"-host",
    re.IGNORECASE,
)

# The one index that a file of ours names: PyTorch's public one, where `make TORCH=cpu` finds builds without CUDA.
CPU_BUILDS = {"--extra-index" + "-url $(TORCH_INDEX)", "https://download.py" + "torch.org/whl/cpu"}


def unsafe(tree):
    """What a syntax tree does that no file of ours may do, as messages with their lines."""
    names = dotted_names(tree)
    problems = [
        f"line {line}: imports {module}"
        for line, module in imported_modules(tree)
        if module.split(".")[0] in UNPICKLERS or module == "joblib.load"
    ]
    for node in nodes_of(tree):
        if isinstance(node, ast.Call):
            problems += [f"line {node.lineno}: {problem}" for problem in _call_problems(node, names)]
        elif isinstance(node, ast.Constant) and node.value == "trust_remote" + "_code":
            problems.append(f"line {node.lineno}: asks a hub for code to run")
    return problems


def _call_problems(call, names):
    head, *tail = dotted(call.func).split(".")
    called = ".".join([names.get(head, head), *tail])
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if called in FORBIDDEN_CALLS:
        yield f"{called} {FORBIDDEN_CALLS[called]}"
    if called == "torch.load" and not _is(given.get("weights_only"), True):
        yield "torch.load without weights_only=True unpickles"
    if called in {"numpy.load", "numpy.lib.npyio.load"} and (
        len(call.args) > 2 or not _is(given.get("allow_pickle"), False, absent=True)
    ):
        yield "np.load with allow_pickle unpickles"
    if not _is(given.get("trust_remote_code"), False, absent=True):
        yield "trust_remote_code runs code from a hub"
    if not _is(given.get("shell"), False, absent=True):
        yield "shell=True goes through a shell"
    if (tail and tail[-1] == "show") or called.endswith("pyplot.show"):
        yield "show() opens a window: return the figure"


def _is(value, expected, absent=False):
    """Whether an argument is written out as `expected`; `absent` is the answer where it was not given."""
    return absent if value is None else isinstance(value, ast.Constant) and value.value is expected


def naming_a_machine(text):
    """Machine paths and registry hosts in `text`."""
    return [match.group() for pattern in (MACHINE_PATH, REGISTRY) for match in pattern.finditer(text)]


def test_no_file_runs_code_out_of_data_or_opens_a_window():
    files = python_files(*rooms(), "src", "experiments", "benchmarks")
    assert {name_of(file): found for file in files if (found := unsafe(tree_of(file)))} == {}


UNSAFE = [
    "import pickle",
    "def f():\n    from marshal import loads",
    "import joblib\njoblib.load('x')",
    "from joblib import load\nload('x')",
    "eval('1')",
    "exec(text)",
    "import builtins as b\nb.exec('1')",
    "import torch\ntorch.load('x')",
    "import torch as t\nt.load('x', weights_only=False)",
    "from torch import load as read\nread('x', weights_only=flag)",
    "import numpy as np\nnp.load('x', allow_pickle=True)",
    "from numpy import load\nload('x', None, True)",
    "AutoModel.from_pretrained('x', trust_remote_code=True)",
    "AutoModel.from_pretrained('x', **{'trust_remote_code': True})",
    "import matplotlib.pyplot as plt\nplt.show()",
    "from matplotlib.pyplot import show\nshow()",
    "figure.show()",
    "import subprocess\nsubprocess.run(command, shell=True)",
]


def test_unsafe_lines_are_caught():
    assert [source for source in UNSAFE if not unsafe(ast.parse(source))] == []


SAFE = [
    "model.eval()",
    "import torch\ntorch.load('x', weights_only=True, map_location='cpu')",
    "import numpy as np\nnp.load('x', mmap_mode='r', allow_pickle=False)\nnp.load('y')",
    "from safetensors.torch import load_file\nload_file('x')",
    "re.compile('x')\nfigure.savefig(buffer)",
]


def test_safe_lines_pass():
    assert [source for source in SAFE if unsafe(ast.parse(source))] == []


def test_no_tracked_file_names_a_machine():
    files = tracked_files()
    texts = {name_of(file): text_of(file) for file in files}
    for known in CPU_BUILDS:
        assert known in texts["Makefile"]
        texts["Makefile"] = texts["Makefile"].replace(known, "")
    assert {name: found for name, text in texts.items() if (found := naming_a_machine(text))} == {}
    assert len(files) > 300


MACHINES = [
    "open('/" + "home/ann/x.npy')",
    "see /" + "Users/ann",
    "cd /" + "work/main",
    r"C:\Us" + "ers",
    "../sha" + "red/data",
    "https://py" + "pi.org/simple",
    "https://files.python" + "hosted.org",
    "pip install --index" + "-url x",
]


def test_a_machine_is_caught():
    assert [text for text in MACHINES if not naming_a_machine(text)] == []


def test_ordinary_paths_are_not_taken_for_machines():
    assert (
        naming_a_machine("experiments/work/a.csv ~/jobs/x https://arxiv.org/home/x demo/root/b /path/to/python") == []
    )


WRITERS = {"write_bytes", "write_text", "tofile", "savefig", "save_file", "savez", "savez_compressed", "to_csv"}
# Into a folder of their own that is removed, or moved when all is there.
WRITE_ELSEWHERE = {
    "storage/atomic.py",
    "storage/container.py",
    "storage/source_archives.py",
    "gans/conversion/child.py",
    "storage/loggers.py",  # a log grows by whole lines
}


def written_in_place(tree):
    """Writes that do not go by `whole_file`, of which a killed run leaves half: messages with their lines."""
    for node in nodes_of(tree):
        if isinstance(node, ast.Call):
            *owner, name = dotted(node.func).split(".")
            mode = next((a.value for a in node.args if isinstance(a, ast.Constant) and a.value in ("w", "wb", "a")), "")
            if not ((name in WRITERS and owner) or name == "save_file" or (name == "open" and mode)):
                continue
            given = " ".join([*owner, *map(ast.unparse, node.args[:2])])
            if not re.search(r"\b(?:temporary|buffer|file)\b", given):
                yield f"line {node.lineno}: {ast.unparse(node)[:60]}"


def test_every_file_is_written_whole_or_not_at_all():
    files = [file for file in python_files(*rooms()) if name_of(file) not in WRITE_ELSEWHERE]
    assert {name_of(file): found for file in files if (found := [*written_in_place(tree_of(file))])} == {}


def test_writing_in_place_is_caught():
    for source in ("path.write_text('x')", "(a / 'b').write_bytes(c)", "open(path, 'w')", "path.open('wb')",
                   "save_file(tensors, name)", "np.savez(path, a=1)", "figure.savefig(path)"):  # fmt: skip
        assert [*written_in_place(ast.parse(source))], source
    for source in ("temporary.write_text('x')", "figure.savefig(buffer)", "np.savez(file, a=1)", "open(path, 'rb')"):
        assert not [*written_in_place(ast.parse(source))], source
