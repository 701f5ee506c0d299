"""Who and what a story is about: characters, things, places, activities, words, each in both languages."""

from __future__ import annotations

from dataclasses import dataclass, field

import english
import german


@dataclass(frozen=True)
class Noun:
    """`gender` is m, f, n, or p where there is no singular; `weak` ones take -n after the nominative."""

    en: str
    de: str
    gender: str
    de_plural: str
    weak: bool = False
    mass: bool = False

    def german(self, case: str, *, many: bool = False) -> str:
        if many or self.gender == "p":
            word = self.de_plural
            return german.dative_plural(word) if case == "dat" else word
        if self.weak and case != "nom":
            return self.de + ("n" if self.de.endswith(("e", "uer", "bar")) else "en")
        return german.genitive(self.de, self.gender) if case == "gen" else self.de


@dataclass(frozen=True)
class Adjective:
    en: str
    de: str


@dataclass(eq=False)
class Character:
    """Someone. `name` may be missing ("the girl"); a relative has `owner` and, called "Mom", `title`."""

    noun: Noun
    sex: str
    name: str = ""
    adjective: Adjective | None = None
    owner: Character | None = None
    title: bool = False
    members: tuple[Character, ...] = ()
    child: bool = False

    @property
    def many(self) -> bool:
        return bool(self.members)

    @property
    def de_sex(self) -> str:
        """The gender of German pronouns: of the person where there is one, else of the noun."""
        if self.members:
            return "p"
        return self.sex if self.sex in "mf" and (self.name or self.owner or self.child) else self.noun.gender

    @property
    def en_sex(self) -> str:
        return "p" if self.members else self.sex

    @property
    def told_adjective(self) -> Adjective | None:
        """The adjective that stays with someone who has no name: "the little girl"."""
        return self.adjective if self.child and self.adjective and self.adjective.en == "little" else None

    @property
    def vocative(self) -> tuple[str, str]:
        """What others call this character to the face, in English and German."""
        if self.name:
            return self.name, self.name
        if self.owner:
            return self.noun.en.capitalize(), self.noun.de
        en, de = ("little", "klein") if self.child else ("dear", "lieb")
        return (
            f"{en} {self.noun.en}",
            f"{german.adjective(de, self.noun.gender, 'nom', 'strong')} {self.noun.de}",
        )

    @property
    def key(self) -> str:
        """What the event log calls this character."""
        if self.members:
            return "+".join(member.key for member in self.members)
        return self.name or (f"{self.owner.key}'s {self.noun.en}" if self.owner else f"the {self.noun.en}")


@dataclass(eq=False)
class Thing:
    noun: Noun
    adjectives: tuple[Adjective, ...] = ()
    count: int = 1
    told: bool = field(default=False, compare=False)

    @property
    def many(self) -> bool:
        return self.count != 1

    @property
    def gender(self) -> str:
        """Of German words that go with it, p for several."""
        return "p" if self.many else self.noun.gender

    @property
    def plural(self) -> bool:
        return self.many or self.noun.gender == "p"

    @property
    def key(self) -> str:
        return " ".join([*(a.en for a in self.adjectives), self.noun.en])

    def english(self, adjectives: bool) -> str:
        noun = english.plural(self.noun.en) if self.many else self.noun.en
        return " ".join([*(a.en for a in self.adjectives if adjectives), noun])

    def german(self, adjectives: bool, case: str, table: str) -> str:
        words = [german.adjective(a.de, self.gender, case, table) for a in self.adjectives if adjectives]
        return " ".join([*words, self.noun.german(case, many=self.many)])


@dataclass(frozen=True, eq=False)
class OutputPaths:
    """A place with its prepositions: in the park, im Park; to the park, in den Park."""

    noun: Noun
    en_in: str
    de_in: str
    de_to: str
    kind: str = ""
    # Places that take no article: at home, zu Hause; home, nach Hause.
    fixed: tuple[str, str, str, str] | None = None

    @property
    def key(self) -> str:
        return self.noun.en

    def english(self, form: str) -> str:
        if self.fixed and form in ("in", "to"):
            return self.fixed[form == "to"]
        phrase = f"the {self.noun.en}"
        return f"{self.en_in} {phrase}" if form == "in" else f"to {phrase}" if form == "to" else phrase

    def german(self, form: str, case: str) -> str:
        if self.fixed and form in ("in", "to"):
            return self.fixed[2 + (form == "to")]
        if form == "in":
            case, preposition = "dat", self.de_in
        elif form == "to":
            case, preposition = ("dat" if self.de_to == "zu" else "acc"), self.de_to
        phrase = f"{german.definite(self.noun.gender, case)} {self.noun.german(case)}"
        return german.contract(preposition, phrase) if form in ("in", "to") else phrase


@dataclass(frozen=True)
class Act:
    """Something to do: "play in the mud"; in German the words before the verb, and the verb ("an|malen")."""

    en: str
    de_rest: str
    de_verb: str
    kind: str = ""

    def english(self, form: str, tense: str) -> str:
        lemma, _, rest = self.en.partition(" ")
        if form != "inf":
            lemma = english.verb(lemma, "ing" if form == "ing" else tense, form == "fin*")
        return f"{lemma} {rest}".strip()

    def german(self, form: str, tense: str) -> str:
        prefix, _, stem = self.de_verb.rpartition("|")
        if form in ("fin", "fin*"):
            return german.verb(stem, tense, form == "fin*")
        if form == "rest":
            return f"{self.de_rest} {prefix}".strip()
        verb = (
            f"{prefix}zu{stem}"
            if prefix and form == "zu"
            else f"zu {stem}"
            if form == "zu"
            else prefix + stem
        )
        return f"{self.de_rest} {verb}".strip()


@dataclass(frozen=True)
class Word:
    """Anything said alike wherever it stands: a predicate adjective, a number, an adverb."""

    en: str
    de: str


Entity = Character | Thing | OutputPaths | Act | Word
