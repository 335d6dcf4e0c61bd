"""Make the two small files by which the page shows the face generator at once: labels of its units, and a gate.

    python -m experiments.faces.reference.labels

Writes gans/reference/faces.units.safetensors and faces.gate.safetensors, in all under 200 kB. The labels are those of
``genmend dissect faces --segmenter classical --segmenter face-parser --n-statistics 2000``; the gate is that of a
detector with its default settings. Needs the weights `faces`, `efficientnet-lite0` and `face-parser` (genmend fetch);
about half an hour on two cores, most of it the face parser's. What an interrupted run goes on from lies in --cache.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from genmend.gans import dissect
from genmend.gans.correctors.ladder import gate_and_stop_rule
from genmend.gans.detection.detect import fit_detector
from genmend.gans.editing.known_gate import save_gate
from genmend.gans.editing.unit_labels import labels_of_run, save_labels
from genmend.gans.families.pretrained import load_faces
from genmend.gans.generator import generator_facts
from genmend.gans.settings import DetectorSettings, DissectSettings
from genmend.storage.pieces import Work

OUT = Path(__file__).parents[3] / "gans" / "reference"
SETTINGS = DissectSettings(segmenters=("classical", "face-parser"), n_statistics=2_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--cache", type=Path, default=Path(__file__).parents[1] / "results" / "labels" / "cache")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    generator, work = load_faces(), Work(options.cache, progress=True)
    labels = labels_of_run(dissect(generator, settings=SETTINGS, work=work), generator)
    save_labels(options.out / "faces.units.safetensors", labels)
    for layer in labels.layers:
        print(layer, labels.detected(layer))
    detector = DetectorSettings()
    gate, _ = gate_and_stop_rule(fit_detector(generator, detector, work))
    save_gate(options.out / "faces.gate.safetensors", gate, generator_facts(generator), asdict(detector))
    print(f"gate: {len(gate.weights)} weights, threshold {gate.threshold:.3f}")


if __name__ == "__main__":
    main()
