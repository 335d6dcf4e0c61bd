"""The page: its tabs in order, its theme and its style."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import gradio as gr

from genmend.workbench.app.context import AppContext

__all__ = ["STYLE", "TABS", "make_app", "make_theme"]

STYLE = Path(__file__).with_name("style.css")
# In the order of the page: what each tab is called, and the module whose build(context) fills it.
TABS: tuple[tuple[str, str], ...] = (
    ("Samples", "genmend.workbench.app.samples_tab"),
    ("Generator", "genmend.workbench.app.generator.tab"),
    ("Amplify", "genmend.workbench.app.amplify.tab"),
    ("Voice", "genmend.workbench.app.voice.tab"),
    ("Explain", "genmend.workbench.app.explain_tab"),
)  # fmt: skip
_FONTS = ("system-ui", "sans-serif")  # those of the machine: the page loads nothing from elsewhere
_MONO = ("ui-monospace", "monospace")


def make_app(context: AppContext, tabs: tuple[tuple[str, str], ...] = TABS) -> gr.Blocks:
    """Build the page; no model is loaded here."""
    with gr.Blocks(title="genmend", analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as page:
        gr.Markdown("# genmend\nInspect pretrained generative models and mend what they get wrong.", elem_id="head")
        with gr.Tabs(elem_id="tabs"):
            for label, module in tabs:
                with gr.Tab(label, id=label.lower(), elem_id=f"tab-{label.lower()}") as tab:
                    build: Callable[[AppContext], None] = import_module(module).build
                    build(replace(context, page=page, tab=tab))
        for state in context.kept:
            state.render()
    return page


def make_theme() -> gr.themes.Base:
    """Colours and letters of the page; text stands out from its ground by at least 4.5 to 1 in light and in dark."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.teal,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_sm,
        font=_FONTS,
        font_mono=_MONO,
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        link_text_color="*primary_700",
        link_text_color_dark="*primary_300",
    )
