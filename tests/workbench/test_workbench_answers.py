"""The first screen of a page on the terminal, and that every command says it."""

import re
from pathlib import Path

from genmend.workbench.pages.page import Answer, Number

CLI = Path(__file__).parents[2] / "workbench" / "cli"


def test_an_answer_is_a_sentence_a_number_with_its_control_and_doubts():
    answer = Answer("Two are broken.", Number("Share", "2 %", "chance: 1 %"), ["Few samples."], more="Not here.")
    assert answer.in_words() == "Two are broken.\nShare: 2 % (chance: 1 %)\nMind: Few samples."
    assert Answer("None.", Number("Share", "0 %")).in_words() == "None.\nShare: 0 %"


def test_every_command_that_writes_a_page_says_its_answer():
    calls = [
        (path.name, call)
        for path in CLI.glob("*.py")
        for call in re.findall(r"^ +finish\((.*)\)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert len(calls) >= 14
    for name, call in calls:
        assert call.count(",") >= 3, (name, call)  # result, folder, --json, and what is said
