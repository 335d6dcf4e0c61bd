"""Words that end in a stop without ending a sentence, by what follows them, and words that sentences begin with.

All are matched in small letters and without their stops. English first; titles and a few others of the neighbours too,
where no English word is spelled like them.
"""

from __future__ import annotations

import re

__all__ = [
    "BEFORE_MORE",
    "BEFORE_NAME",
    "BEFORE_NUMBER",
    "DAYS",
    "INITIALS",
    "MAYBE_LAST",
    "MONTHS",
    "ORDINAL_LANGUAGES",
    "PRONOUNS",
    "UNITS",
    "starts_sentence",
]

# A name follows: titles, saints, forts and mountains.
BEFORE_NAME = re.compile(
    "mr|mrs|ms|mx|rt|dr|drs|prof|profs|gen|maj|col|capt|cmdr|cdr|adm|lt|sgt|cpl|pvt|brig|rev|revd|hon|gov|sen|sens|rep"
    "|reps|pres|supt|det|insp|atty|mt|mts|ft|pt|messrs|mmes|mme|mlle|mgr|msgr|sra|srta|dhr|mevr|hr|fr|frl|sig|sigra"
    "|dott|ing|mag|dipl"
)
# More of the sentence follows.
BEFORE_MORE = re.compile("vs|v|cf|viz|eg|ie|approx|ca|ps|pps|nb|resp|incl|inkl|bzw|zb|dh|ggf|evtl|sog|vgl|usf")
# A number follows; else they are words (no, art, sec) or end the sentence.
BEFORE_NUMBER = re.compile(
    "nos?|nr|figs?|pp?|vols?|chs?|chap|secs?|eqs?|eqn|arts?|par|para|tab|ref|refs|ex|app|bk|cap|ver|op|ed|rm|apt|ext"
    r"|tel|[^\W\d_]{2,}str|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
)
# They may end the sentence: they do before a word that sentences begin with.
MAYBE_LAST = re.compile(
    "st|sts|jr|sr|esq|inc|ltd|co|corp|cos|bros|plc|llc|gmbh|ave|blvd|rd|ln|sq|pl|pkwy|hwy|rte|etc|al|ibid|est|dept"
    "|depts|div|univ|inst|assn|intl|natl|govt|eds?|misc|max|min|avg|temp|usw|str"
)
DAYS = re.compile("mon|tues?|wed|thu|thurs?|fri|sat|sun")  # only with a capital: "he sat. Then"
MONTHS = re.compile("jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec")  # begin so
UNITS = re.compile("in|ft|yd|mi|sq|oz|lbs?|gal|kg|mg|km|cm|mm|ml|hrs?|mins?|secs?|mph|kph")  # only behind a number
# U.S, a.m, Ph.D; J of J. R. R. Tolkien, z and B of z. B.
INITIALS = re.compile(r"[^\W\d_]{1,3}(?:\.[^\W\d_]{1,3})+|[^\W\d_]")
# Behind a title they are no name: "Ask the Dr. She will know", but not "Dr. No", "Dr. Who".
PRONOUNS = re.compile("he|she|it|they|we|you|his|her|its|their|our|your|this|that|these|those|then|there|but|and|so")
# Where "3." is read "third", as in "am 3. Mai".
ORDINAL_LANGUAGES = ("bs", "cs", "da", "de", "et", "fi", "fo", "hr", "hu", "is", "lb", "lv", "nb", "nn", "no", "pl",
                     "sk", "sl", "sr", "tr")  # fmt: skip

# With one of these a new sentence often begins, and seldom a name or what else follows an abbreviation.
_STARTERS = {
    "en": "a|about|after|all|also|although|an|and|another|any|are|as|at|because|before|both|but|by|can|could|despite"
    "|did|do|does|during|each|even|every|everybody|everyone|finally|first|for|from|had|has|have|he|her|here|his|how"
    "|however|i|if|in|instead|is|it|its|just|last|later|let|many|maybe|meanwhile|most|my|neither|nobody|no|nor|not"
    "|nothing|now|of|often|on|once|one|only|or|others|our|over|perhaps|please|she|should|since|so|some|somebody"
    "|someone|sometimes|soon|still|such|than|that|the|their|then|there|these|they|this|those|though|through|to|today"
    "|tomorrow|under|until|was|we|were|what|when|where|which|while|who|whose|why|will|with|would|yes|yesterday|yet"
    "|you|your",
    "de": "aber|alle|als|am|an|auch|auf|aus|bei|beide|da|damals|danach|dann|das|dem|den|der|deshalb|die|dies|diese"
    "|dieser|doch|dort|du|ein|eine|einer|er|es|für|heute|hier|ich|ihr|im|in|ist|jeder|jetzt|kein|keine|man|mit|morgen"
    "|nach|nein|nicht|niemand|nun|nur|oder|seit|sie|sind|so|und|viele|vielleicht|von|vor|war|waren|warum|was|wenn|wer"
    "|wie|wir|wo|zu|zum|zur",
    "fr": "a|alors|après|avec|aussi|c|ce|cela|ces|cet|cette|comment|dans|des|elle|elles|en|est|et|il|ils|j|je|la|le"
    "|les|l|ma|mais|mon|non|nous|on|or|où|oui|par|personne|pour|pourquoi|puis|quand|que|qui|sa|ses|si|son|sur|tout"
    "|tu|un|une|vous",
    "es": "a|ahora|al|aunque|como|con|cuando|de|después|el|ella|ellos|en|entonces|era|es|esta|este|esto|hay|la|las"
    "|lo|los|luego|más|mi|nadie|no|nos|o|para|pero|por|porque|que|se|si|sin|su|también|todo|tú|un|una|y|ya|yo",
    "it": "a|allora|anche|che|chi|come|con|da|di|dopo|dove|e|era|gli|ha|i|il|in|io|la|le|lei|lo|loro|lui|ma|mi|nel"
    "|nessuno|noi|non|ora|per|perché|poi|quando|questa|questo|se|si|sono|tu|tutto|un|una|uno|voi",
    "nl": "alle|als|ben|bij|daar|daarna|dan|dat|de|deze|die|dit|een|en|er|ga|geen|haar|het|hier|hij|hoe|ik|in|is|je"
    "|jij|maar|men|met|mijn|na|nee|niemand|niet|nu|of|om|ook|op|soms|te|toen|van|veel|voor|waar|waarom|wat|we|wie|wij"
    "|ze|zij|zijn|zo",
}  # fmt: skip
_ALL_STARTERS = {language: frozenset(words.split("|")) for language, words in _STARTERS.items()}


def starts_sentence(word: str, language: str) -> bool:
    """Whether sentences of this language often begin with the word, which no name or unit does; unknown ones: never."""
    return word.lower() in _ALL_STARTERS.get(language, frozenset())
