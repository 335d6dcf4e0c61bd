"""The 200 sentences of the detection experiment, frozen in experiments/data/voice_detection.tsv (kind, text, IPA).

    python -m experiments.voices.sentences

80 ordinary ones (examples of WordNet that the corpus does not have), 40 with rare names, 80 carriers with a nonce word.
Written once, before anything was measured on them; running this again writes the same file. Needs espeak-ng. Because
the phoneme errors that are heard differ more between carriers than anything else does (which the first 200 showed), a
second file has 160 other nonce words in the same carriers, to test the correlation within carriers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.voices.training_sentences import examples, shuffle
from genmend.tts.text.corpus import read_sentences
from genmend.tts.text.ipa import ipa_of_clauses
from genmend.tts.text.phonemes import espeak_phonemes

TARGET = Path(__file__).parents[1] / "data" / "voice_detection.tsv"
SECOND = Path(__file__).parents[1] / "data" / "voice_detection_second.tsv"
N_ORDINARY, N_NONCE, SEED = 80, 80, 1
N_SECOND, SECOND_SEED = 160, 2

NAMES = (
    ("Krzysztof", "Szczecin"), ("Nguyen", "Pleiku"), ("Llewellyn", "Aberystwyth"), ("Gwyneth", "Machynlleth"),
    ("Siobhan", "Ballaghaderreen"), ("Zbigniew", "Rzeszow"), ("Quetzalcoatl", "Oaxaca"), ("Ngozi", "Ouagadougou"),
    ("Thjodolf", "Reykjahlid"), ("Eyjafjall", "Hvolsvollur"), ("Dzhugashvili", "Tbilisi"), ("Mxolisi", "Umhlanga"),
    ("Xiuying", "Qingdao"), ("Yrjo", "Jyvaskyla"), ("Ljubljana", "Krk"), ("Hrvoje", "Dubrovnik"),
    ("Vlktor", "Brno"), ("Tchaikovsky", "Votkinsk"), ("Przybylski", "Bydgoszcz"), ("Ahuitzotl", "Tenochtitlan"),
    ("Bhagyashree", "Thiruvananthapuram"), ("Vishwanath", "Vijayawada"), ("Tlaloc", "Popocatepetl"),
    ("Oyvind", "Tromso"),
    ("Sjoerd", "Scheveningen"), ("Aoife", "Drogheda"), ("Mbappe", "Yaounde"), ("Nkrumah", "Kwahu"),
    ("Kwabena", "Mpraeso"), ("Zvonimir", "Zadar"), ("Dzenan", "Zvornik"), ("Ptolemy", "Ctesiphon"),
    ("Mnemosyne", "Cnidus"), ("Psellos", "Pskov"), ("Bjork", "Kjalarnes"), ("Hjalmar", "Fjaerland"),
    ("Tsvetaeva", "Dnipro"), ("Schwyzer", "Appenzell"), ("Gbagbo", "Bouake"), ("Nxumalo", "Lobamba"),
)  # fmt: skip
NAME_CARRIERS = ("{} moved from {} last year.", "We met {} near {} in the spring.", "{} sent a letter to {}.",
                 "My friend {} was born in {}.")  # fmt: skip
NONCE_CARRIERS = ("She put the {} on the table.", "He said that {} was ready.", "They found a {} in the garden.",
                  "I have never seen a {} before.")  # fmt: skip
ONSETS = ("b", "bl", "ch", "d", "dw", "f", "fr", "gl", "h", "j", "kl", "m", "n", "pw", "sk", "shr", "sn", "spl", "th",
          "thw", "tr", "v", "vl", "w", "y", "z", "zw")  # fmt: skip
VOWELS = ("a", "e", "i", "o", "u", "ai", "ee", "oo", "ou", "oi", "ur")
CODAS = ("b", "ck", "dge", "ft", "g", "lf", "lm", "mp", "ng", "nk", "p", "sh", "sk", "st", "th", "tz", "v", "x", "zz")


def sentences(path: Path = TARGET) -> list[tuple[str, str, str]]:
    """(kind, text, IPA) as they are frozen; the kind of the second file is the carrier."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(kind, text, ipa) for kind, text, ipa in (line.split("\t") for line in lines)]


def main() -> None:
    known = {text for text, _ in read_sentences()}
    ordinary = [text for text in shuffle(examples(5, 10), 7) if text not in known][:N_ORDINARY]
    names = [NAME_CARRIERS[i % len(NAME_CARRIERS)].format(*pair) for i, pair in enumerate(NAMES)]
    rng = np.random.default_rng(SEED)
    nonce = [NONCE_CARRIERS[i % len(NONCE_CARRIERS)].format(_nonce(rng)) for i in range(N_NONCE)]
    kinds = ["ordinary"] * len(ordinary) + ["name"] * len(names) + ["nonce"] * len(nonce)
    _write(TARGET, kinds, [*ordinary, *names, *nonce])
    rng = np.random.default_rng(SECOND_SEED)
    carriers = [NONCE_CARRIERS[i % len(NONCE_CARRIERS)] for i in range(N_SECOND)]
    _write(SECOND, carriers, [carrier.format(_nonce(rng)) for carrier in carriers])


def _write(path: Path, kinds: list[str], texts: list[str]) -> None:
    lines = zip(kinds, texts, map(ipa_of_clauses, espeak_phonemes(texts)), strict=True)
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    print(f"{len(texts)} sentences: {path}")


def _nonce(rng: np.random.Generator) -> str:
    """One or two made-up syllables."""
    parts = (ONSETS, VOWELS, CODAS) * int(rng.integers(1, 3))
    return "".join(part[rng.integers(len(part))] for part in parts)


if __name__ == "__main__":
    main()
