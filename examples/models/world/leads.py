"""Adverbs that lead a sentence, by what they say about time; an empty one means none."""

NONE = ("", "")
LEADS: dict[str, list[tuple[str, str]]] = {
    "day": [
        *[("One day,", "Eines Tages")] * 6,
        ("One morning,", "Eines Morgens"),
        ("One sunny day,", "An einem sonnigen Tag"),
        ("One afternoon,", "Eines Nachmittags"),
        ("One day", "Eines Tages"),
        ("On Sunday,", "Am Sonntag"),
        ("On Saturday,", "Am Samstag"),
        ("Today,", "Heute"),
        ("This morning,", "Heute Morgen"),
    ],
    "sunny": [
        *[("One day,", "Eines Tages")] * 3,
        ("One sunny day,", "An einem sonnigen Tag"),
        ("One bright morning,", "An einem hellen Morgen"),
        ("On a warm day,", "An einem warmen Tag"),
    ],
    "night": [
        ("One night,", "Eines Nachts"),
        ("One night,", "Eines Nachts"),
        ("One evening,", "Eines Abends"),
    ],
    "evening": [
        ("That evening,", "An diesem Abend"),
        ("In the evening,", "Am Abend"),
        ("That night,", "In dieser Nacht"),
    ],
    "next": [
        ("The next day,", "Am nächsten Tag"),
        ("The next morning,", "Am nächsten Morgen"),
        ("The next day,", "Am Tag danach"),
    ],
    "then": [NONE, ("Then,", "Dann"), ("Then", "Dann"), ("Then", "Dann"), ("After that,", "Danach")],
    "later": [
        ("After a while,", "Nach einer Weile"),
        ("Soon,", "Bald"),
        ("A little later,", "Etwas später"),
        ("Later,", "Später"),
        ("After some time,", "Nach einiger Zeit"),
    ],
    "sudden": [
        NONE,
        *[("Suddenly,", "Plötzlich")] * 3,
        ("Just then,", "Genau in diesem Moment"),
        ("All of a sudden,", "Auf einmal"),
        ("But then,", "Doch dann"),
        ("At that moment,", "In diesem Moment"),
    ],
    "but": [NONE, *[("But", "Aber")] * 4],
    "so": [NONE, ("So,", "Also"), ("So", "Deshalb"), ("So,", "Darum")],
    "end": [
        NONE,
        ("At last,", "Endlich"),
        ("Finally,", "Schließlich"),
        ("In the end,", "Am Ende"),
        ("Soon,", "Bald"),
    ],
    "since": [
        *[("From that day on,", "Von diesem Tag an")] * 4,
        ("From then on,", "Von da an"),
        ("After that day,", "Nach diesem Tag"),
        ("From that moment on,", "Von diesem Moment an"),
    ],
    "often": [("Every day,", "Jeden Tag"), ("Every morning,", "Jeden Morgen"), NONE],
}
