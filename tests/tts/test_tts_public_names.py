"""The public names of genmend.tts are functions and classes, whatever was imported before them."""

import subprocess
import sys
from pathlib import Path

import genmend.tts

NAMES = {
    "Diagnosis",
    "Repair",
    "Speech",
    "Tokens",
    "Voice",
    "VoiceReference",
    "VoiceRepairs",
    "best_of",
    "diagnose",
    "edit_prosody",
    "fit_reference",
    "load_voice",
    "mend",
    "reference_for",
    "repair",
    "write_into_piper",
}


def test_the_names_are_those_of_the_design():
    assert set(genmend.tts.__all__) == NAMES


# In one process, which has what ours import already; ours begin anew.
BOTH_ORDERS = """
import sys
for steps in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "genmend"]:
        del sys.modules[name]
    exec(steps)
"""


def test_each_name_is_what_it_says_before_and_after_its_rooms_are_imported():
    rooms = [path.stem for path in Path(genmend.tts.__file__).parent.iterdir() if (path / "__init__.py").is_file()]
    assert {"mending", "prosody", "voices", "text", "measures"} <= set(rooms)
    modules = [
        "genmend.tts.mending.repair as a",
        "genmend.tts.mending.mend as b",
        "genmend.tts.mending.best_of as c",
        "genmend.tts.prosody.prosody as d",
        *(f"genmend.tts.{room} as e" for room in rooms),
    ]
    imports = [f"import {module}" for module in modules]
    names = [f"from genmend.tts import {name}; assert callable({name}), {name}" for name in sorted(NAMES)]
    orders = ["\n".join([*imports, *names, *imports]), "\n".join([*names, *imports, *names])]
    done = subprocess.run([sys.executable, "-c", BOTH_ORDERS, *orders], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
