"""The little German grammar that the story world needs: articles, adjective endings, nouns, verbs, pronouns.

Genders are m, f, n, and p for any plural; cases nom, acc, dat, gen.
"""

from __future__ import annotations

from functools import cache

CASES = ("nom", "acc", "dat", "gen")
DEFINITE = {
    "m": ("der", "den", "dem", "des"),
    "f": ("die", "die", "der", "der"),
    "n": ("das", "das", "dem", "des"),
    "p": ("die", "die", "den", "der"),
}
# What is added to ein, kein, mein, sein, ihr.
EIN_ENDINGS = {
    "m": ("", "en", "em", "es"),
    "f": ("e", "e", "er", "er"),
    "n": ("", "", "em", "es"),
    "p": ("e", "e", "en", "er"),
}
# Adjective endings after der-words, after ein-words, and without an article.
WEAK = {
    "m": ("e", "en", "en", "en"),
    "f": ("e", "e", "en", "en"),
    "n": ("e", "e", "en", "en"),
    "p": ("en", "en", "en", "en"),
}
MIXED = {**WEAK, "m": ("er", "en", "en", "en"), "n": ("es", "es", "en", "en")}
STRONG = {
    "m": ("er", "en", "em", "en"),
    "f": ("e", "e", "er", "er"),
    "n": ("es", "es", "em", "en"),
    "p": ("e", "e", "en", "er"),
}
PRONOUNS = {
    "m": ("er", "ihn", "ihm"),
    "f": ("sie", "sie", "ihr"),
    "n": ("es", "es", "ihm"),
    "p": ("sie", "sie", "ihnen"),
}
POSSESSIVE = {"m": "sein", "f": "ihr", "n": "sein", "p": "ihr"}
CONTRACTED = {
    ("in", "dem"): "im",
    ("an", "dem"): "am",
    ("in", "das"): "ins",
    ("an", "das"): "ans",
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
    ("bei", "dem"): "beim",
    ("von", "dem"): "vom",
}
# infinitive: present and past of the third person singular, where they are not regular
STRONG_VERBS = {
    line.split()[0]: tuple(line.split()[1:3])
    for line in """
sein ist war
haben hat hatte
werden wird wurde
können kann konnte
wollen will wollte
müssen muss musste
dürfen darf durfte
sollen soll sollte
mögen mag mochte
wissen weiß wusste
gehen geht ging
sehen sieht sah
geben gibt gab
nehmen nimmt nahm
kommen kommt kam
laufen läuft lief
rennen rennt rannte
finden findet fand
denken denkt dachte
bringen bringt brachte
kennen kennt kannte
nennen nennt nannte
halten hält hielt
sitzen sitzt saß
stehen steht stand
beginnen beginnt begann
fangen fängt fing
fallen fällt fiel
verlieren verliert verlor
werfen wirft warf
lesen liest las
singen singt sang
schwimmen schwimmt schwamm
fliegen fliegt flog
ziehen zieht zog
trinken trinkt trank
essen isst aß
fressen frisst fraß
schlafen schläft schlief
tragen trägt trug
gewinnen gewinnt gewann
schreiben schreibt schrieb
reiten reitet ritt
fahren fährt fuhr
verlaufen verläuft verlief
blasen bläst blies
brechen bricht brach
zerbrechen zerbricht zerbrach
scheinen scheint schien
lassen lässt ließ
treffen trifft traf
liegen liegt lag
bleiben bleibt blieb
vergessen vergisst vergaß
verstehen versteht verstand
rufen ruft rief
helfen hilft half
bitten bittet bat
sprechen spricht sprach
versprechen verspricht versprach
springen springt sprang
klingen klingt klang
wachsen wächst wuchs
waschen wäscht wusch
graben gräbt grub
leihen leiht lieh
heißen heißt hieß
schließen schließt schloss
beschließen beschließt beschloss
schieben schiebt schob
steigen steigt stieg
bekommen bekommt bekam
gefallen gefällt gefiel
verschwinden verschwindet verschwand
riechen riecht roch
tun tut tat
streiten streitet stritt
schneiden schneidet schnitt
backen backt backte
binden bindet band
hängen hängt hing
schreien schreit schrie
erschrecken erschrickt erschrak
heben hebt hob
lügen lügt log
reißen reißt riss
greifen greift griff
gießen gießt goss
kriechen kriecht kroch
schmelzen schmilzt schmolz
verzeihen verzeiht verzieh
entscheiden entscheidet entschied
verbringen verbringt verbrachte
brennen brennt brannte
empfinden empfindet empfand
schwingen schwingt schwang
verlassen verlässt verließ
verraten verrät verriet
raten rät riet
reiben reibt rieb
schlagen schlägt schlug
geschehen geschieht geschah
genießen genießt genoss
beißen beißt biss
stoßen stößt stieß
treten tritt trat
treiben treibt trieb
laden lädt lud
beweisen beweist bewies
schweigen schweigt schwieg
betreten betritt betrat
fallen fällt fiel
""".strip().splitlines()
}
WEAK_VERBS = """
kicken füllen atmen brauchen jubeln
bellen läuten verkaufen spüren berühren
hoffen reden
wischen
bemerken strahlen glänzen
schmücken wachen küssen
reichen lauschen antworten stecken landen kosten
arbeiten baden basteln bauen beobachten besuchen bewegen danken dauern drehen drücken entschuldigen
erkunden erzählen feiern folgen fragen freuen fühlen füttern glauben grüßen holen hören hüpfen jagen
jubeln kaufen klatschen kleben klettern kochen krabbeln kümmern lachen leben legen lernen leuchten lieben
lohnen lächeln machen malen merken mischen nicken niesen packen passen pflanzen pflücken planschen
probieren putzen regnen reparieren rollen rutschen räumen rühren sagen sammeln schauen schaukeln schenken
schmecken schneien schubsen schütteln setzen spielen stellen stimmen suchen summen tanzen teilen träumen
umarmen verletzen vermissen verschütten verstecken verstreuen versuchen wackeln warten wehen weinen
winken wohnen wünschen zeigen zittern zählen öffnen üben überlegen
"""
REGULAR = frozenset(WEAK_VERBS.split())
INVARIANT = frozenset(("lila", "rosa", "orange"))
STEMS = {"dunkel": "dunkl", "teuer": "teur", "hoch": "hoh", "sauer": "saur", "übel": "übl", "edel": "edl"}


def definite(gender: str, case: str) -> str:
    return DEFINITE[gender][CASES.index(case)]


def ein_word(stem: str, gender: str, case: str) -> str:
    """ein, mein, sein, ihr... with the ending of gender and case."""
    return stem + EIN_ENDINGS[gender][CASES.index(case)]


@cache
def adjective(word: str, gender: str, case: str, table: str) -> str:
    """The attributive form; `table` is "weak", "mixed" or "strong"."""
    if word in INVARIANT:
        return word
    endings = {"weak": WEAK, "mixed": MIXED, "strong": STRONG}[table]
    stem = STEMS.get(word, word[:-1] if word.endswith("e") else word)
    return stem + endings[gender][CASES.index(case)]


def dative_plural(plural: str) -> str:
    return plural if plural.endswith(("n", "s")) else plural + "n"


def genitive(noun: str, gender: str) -> str:
    """Of a noun that is not weak."""
    if gender in "fp":
        return noun
    return noun + ("es" if noun.endswith(("s", "ß", "x", "z", "sch")) else "s")


@cache
def verb(infinitive: str, tense: str, plural: bool = False) -> str:
    """Third person, `tense` "past" (Präteritum) or "pres" (Präsens).

    Raises:
        KeyError: for a verb of neither list, since nobody has looked whether it is regular.
    """
    if infinitive in STRONG_VERBS:
        present, past = STRONG_VERBS[infinitive]
        if not plural:
            return past if tense == "past" else present
        if tense == "pres":
            return "sind" if infinitive == "sein" else infinitive
        return past + ("n" if past.endswith("e") else "en")
    if infinitive not in REGULAR:
        raise KeyError(infinitive)
    stem = infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]
    link = "e" if stem.endswith(("t", "d", "chn", "ffn", "tm", "gn")) else ""
    if tense == "pres":
        return infinitive if plural else f"{stem}{link}t"
    return f"{stem}{link}te" + ("n" if plural else "")


def name_genitive(name: str) -> str:
    return name + ("'" if name[-1] in "sxzß" else "s")


def contract(preposition: str, phrase: str) -> str:
    """Preposition and noun phrase, joined as German joins them: in dem Park, im Park."""
    first, _, rest = phrase.partition(" ")
    short = CONTRACTED.get((preposition, first))
    return f"{short} {rest}" if short else f"{preposition} {phrase}"
