"""``genmend attach`` for a pipeline and a voice: the same prompt or text, without and with what was shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from genmend.activations import load_correction
from genmend.activations.correction import CorrectionMismatchError
from genmend.activations.correction_description import model_fit
from genmend.diffusion.amplification.plug_in import read_amplification
from genmend.diffusion.loading import TextToImage
from genmend.diffusion.pipeline_parts import denoiser_of, plain_module
from genmend.diffusion.search.settings import AmplifySettings
from genmend.storage.hub.kinds import describe
from genmend.storage.hub.repository import Shared
from genmend.storage.tables import write_json
from genmend.tts import Voice
from genmend.tts.mending.combination_file import load_voice_repairs
from genmend.tts.mending.reference_file import voice_digest
from genmend.tts.mending.settings import SpeakSettings
from genmend.workbench.commands.amplify import run_amplify
from genmend.workbench.commands.speak import run_speak
from genmend.workbench.pages.attach_voice import repairs_answer
from genmend.workbench.pages.facts import Preface, fact_sections
from genmend.workbench.pages.page import need_packages, write_report

__all__ = ["MOST_IMAGES", "run_attach_amplification", "run_attach_repairs"]

MOST_IMAGES = 8  # of a prompt: they take a pipeline minutes
_OWN, _OTHER = "the weights it was made for", "other weights than those it was made for"
_UNHEARD = "How the sentences sound: no judge was asked. Listen to both."
_FEW = "Whether it is better: a few images of few prompts are looked at, not measured; `genmend amplify` measures more."


def run_attach_amplification(
    name: str,
    model: TextToImage,
    shared: Shared,
    prompts: tuple[str, ...],
    out: Path,
    *,
    n: int = MOST_IMAGES,
    seed: int = 0,
    call: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Draw the same seeds without and with an amplification, and with the gains for high frequencies; write a page.

    Files are those of ``genmend amplify``, the facts of the file first on the page. Where the pipeline is another one
    than it was made for, nothing is drawn and the page says so. `call` holds arguments of the pipeline.
    """
    need_packages()
    correction, denoiser = load_correction(shared.path), plain_module(denoiser_of(model.pipe))
    fit = model_fit(correction, denoiser)
    try:
        read_amplification(model.pipe, correction)
    except CorrectionMismatchError:
        return _nothing_tried(shared, fit, out)
    settings = AmplifySettings(
        prompts,
        correction=shared.path,
        n=min(n, MOST_IMAGES),
        n_cloud=0,
        usability="none",
        control="high",
        strengths=(),
        seed=seed,
        call=call,
    )
    run = run_amplify(
        name,
        model,
        out,
        settings,
        batch_size=batch_size or MOST_IMAGES,
        resume=False,
        progress=progress,
        preface=_preface(shared, fit, _FEW),
    )
    return run.to_dict() | {"fit": fit, "source": shared.source, "commit": shared.commit}


def run_attach_repairs(
    voice: Voice,
    shared: Shared,
    text: str,
    out: Path,
    *,
    settings: SpeakSettings | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Say a text without and with the repairs of a voice; write a page.

    Files are those of ``genmend speak``, the facts of the file first on the page. Where the voice is another one than
    they were made for, nothing is said and the page says so. `settings` are those of ``genmend speak``.
    """
    need_packages()
    fit = _OWN if load_voice_repairs(shared.path).voice == voice_digest(voice) else _OTHER
    if fit == _OTHER:
        return _nothing_tried(shared, fit, out)
    settings = replace(settings or SpeakSettings(), use_repairs=shared.path, judge="none")
    preface = replace(_preface(shared, fit, _UNHEARD), answer=repairs_answer)
    run = run_speak(voice, text, out, settings, progress=progress, preface=preface)
    return run.to_dict() | {"fit": fit, "source": shared.source, "commit": shared.commit}


def _preface(shared: Shared, fit: str, *not_checked: str) -> Preface:
    _, described = describe(shared.path)
    return Preface(f"genmend attach: {described.title}", fact_sections(shared, described, fit, not_checked))


def _nothing_tried(shared: Shared, fit: str, out: Path) -> dict[str, Any]:
    preface = _preface(shared, fit)
    out.mkdir(parents=True, exist_ok=True)
    found = {"fit": fit, "source": shared.source, "commit": shared.commit}
    write_json(out / "summary.json", found)
    write_report(out / "report.html", preface.title, f"Nothing was tried: this is {fit}.", preface.sections)
    return found
