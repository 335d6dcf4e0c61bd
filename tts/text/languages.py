"""The code of a language, however a voice's file names it: espeak-ng (en-gb-x-rp, cmn), MMS (deu), Piper (de_DE)."""

from __future__ import annotations

import re

__all__ = ["ENGLISH_CODE", "UNSPACED", "language_code"]

ENGLISH_CODE = "en"
#: Written without spaces between words: their errors are counted by characters.
UNSPACED = frozenset({"bo", "ja", "km", "lo", "my", "th", "yue", "zh"})

# ISO 639-3 (and 639-2) -> the shorter code, of the languages that Whisper knows.
_PAIRS = """
afr:af amh:am ara:ar arb:ar asm:as aze:az azj:az bak:ba bel:be bul:bg ben:bn bod:bo bre:br bos:bs cat:ca ces:cs
cze:cs cym:cy wel:cy dan:da deu:de ger:de ell:el gre:el eng:en spa:es est:et ekk:et eus:eu baq:eu fas:fa pes:fa
per:fa fin:fi fao:fo fra:fr fre:fr glg:gl guj:gu hau:ha heb:he hin:hi hrv:hr hat:ht hun:hu hye:hy arm:hy ind:id
isl:is ice:is ita:it jpn:ja jav:jw jv:jw kat:ka geo:ka kaz:kk khm:km kan:kn kor:ko lat:la ltz:lb lin:ln lao:lo
lit:lt lav:lv lvs:lv mlg:mg plt:mg mri:mi mao:mi mkd:mk mac:mk mal:ml mon:mn khk:mn mar:mr msa:ms zsm:ms zlm:ms
may:ms mlt:mt mya:my bur:my nep:ne npi:ne nld:nl dut:nl nno:nn nor:no nob:no nb:no oci:oc pan:pa pol:pl pus:ps
pbt:ps por:pt ron:ro rum:ro rus:ru san:sa snd:sd sin:si slk:sk slo:sk slv:sl sna:sn som:so sqi:sq als:sq alb:sq
srp:sr sun:su swe:sv swa:sw swh:sw tam:ta tel:te tgk:tg tha:th tuk:tk tgl:tl fil:tl tur:tr tat:tt ukr:uk urd:ur
uzb:uz uzn:uz vie:vi yid:yi ydd:yi yor:yo zho:zh cmn:zh chi:zh
"""
_SHORT = dict(pair.split(":") for pair in _PAIRS.split())


def language_code(name: str | None) -> str:
    """Return the code as Whisper and most others write it, "en" where a voice does not say what it speaks.

    >>> [language_code(name) for name in ("en-us", "deu", "cmn", "pt_BR", "nb", None)]
    ['en', 'de', 'zh', 'pt', 'no', 'en']
    """
    plain = re.split(r"[-_]", (name or ENGLISH_CODE).strip().lower())[0]
    return _SHORT.get(plain, plain)
