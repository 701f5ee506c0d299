"""Sets of words that belong together, one set chosen for a story: English:German, parted by |."""

from __future__ import annotations

from entities import Word

TABLE = """
[glue]
glue:Kleber | glue:Kleber
tape:Klebeband | tape:Klebeband
a new nail:einen neuen Nagel | a new nail:einem neuen Nagel
a needle and thread:Nadel und Faden | a needle and thread:Nadel und Faden
a little screw:eine kleine Schraube | a little screw:einer kleinen Schraube
[shadows]
a monster:ein Monster | a coat on the chair:ein Mantel auf dem Stuhl
a big bear:ein großer Bär | a teddy bear on the shelf:ein Teddybär auf dem Regal
a ghost:ein Gespenst | a white curtain:ein weißer Vorhang
a dragon:ein Drache | a toy on the window:ein Spielzeug am Fenster
a giant:ein Riese | a tree outside:ein Baum draußen
a big hand:eine große Hand | a branch in the wind:ein Ast im Wind
a wolf:ein Wolf | a pile of clothes:ein Haufen Kleider
[numbers]
two:zwei
three:drei
four:vier
five:fünf
six:sechs
ten:zehn
[counts]
ten:zehn
five:fünf
twenty:zwanzig
[clouds]
a sheep:ein Schaf | a sheep:ein Schaf
a big fish:ein großer Fisch | a big fish:ein großer Fisch
a dragon:ein Drache | a dragon:ein Drache
a castle:eine Burg | a castle:eine Burg
a ship:ein Schiff | a ship:ein Schiff
a rabbit:ein Hase | a rabbit:ein Hase
an elephant:ein Elefant | an elephant:ein Elefant
[wishes]
a house full of toys:ein Haus voller Spielsachen | a house full of toys:ein Haus voller Spielsachen
a mountain of candy:ein Berg aus Süßigkeiten | a mountain of candy:einen Berg aus Süßigkeiten
a hundred balloons:hundert Luftballons | a hundred balloons:hundert Luftballons
a big cake:ein großer Kuchen | a big cake:einen großen Kuchen
a room full of ice cream:ein Zimmer voller Eis | a room full of ice cream:ein Zimmer voller Eis
a garden full of flowers:ein Garten voller Blumen | a garden full of flowers:einen Garten voller Blumen
a river of chocolate:ein Fluss aus Schokolade | a river of chocolate:einen Fluss aus Schokolade
"""


def _word(pair: str) -> Word:
    en, _, de = pair.strip().partition(":")
    return Word(en, de)


def _read(table: str) -> dict[str, list[tuple[Word, ...]]]:
    words: dict[str, list[tuple[Word, ...]]] = {}
    name = ""
    for line in table.strip().splitlines():
        if line.startswith("["):
            name = line.strip("[]")
            words[name] = []
        else:
            words[name].append(tuple(map(_word, line.split("|"))))
    return words


WORDS = _read(TABLE)
