"""Long work on a generator that nobody has inspected yet: labels for its units, and what is normal for it."""

from __future__ import annotations

import gradio as gr

from genmend.workbench.app.context import AppContext
from genmend.workbench.app.generator.parts import Parts
from genmend.workbench.app.generator.session import refreshed
from genmend.workbench.app.job_panel import job_panel

__all__ = ["learn_part"]


def learn_part(context: AppContext, parts: Parts) -> None:
    """Two buttons, each with its progress; what they find is shown to all sessions from then on."""
    with gr.Accordion("Learn more about this generator", open=False, elem_id="generator-learn"), gr.Row():
        for name, words, told, work in (
            (
                "label",
                "Label the units",
                "What each unit agrees with: colour, brightness, edges, texture, position (minutes).",
                lambda: parts.inspected().label_units(),
            ),
            (
                "normal",
                "Learn what is normal",
                "Which samples look broken, from the generator's own; files saved from then on have a gate and a stop "
                "rule, which genmend correct needs (minutes).",
                lambda: parts.inspected().learn_normal(),
            ),
        ):
            with gr.Column(min_width=340):
                gr.Markdown(told)
                button = gr.Button(words, elem_id=f"generator-{name}-units" if name == "label" else "generator-normal")
                done = gr.HTML("")
                panel = job_panel(context, f"generator-{name}", lambda found: ["<p>Done.</p>"], [done])
                ended = panel.started_by(button.click, work)
                parts.on(ended.then, lambda session: refreshed(parts.inspected(), session))
