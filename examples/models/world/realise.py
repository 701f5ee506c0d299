"""Sentences from templates: the same facts, realised in English and in German."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import english
import german
from entities import Act, Character, Entity, Noun, OutputPaths, Thing
from template import Mark, Mentions, Node, Slot, Span, Verb

CASE_LETTERS = {"n": "nom", "a": "acc", "d": "dat", "g": "gen"}
NUMBERS = {
    1: ("one", "ein"),
    2: ("two", "zwei"),
    3: ("three", "drei"),
    4: ("four", "vier"),
    5: ("five", "fünf"),
    6: ("six", "sechs"),
    7: ("seven", "sieben"),
    8: ("eight", "acht"),
    9: ("nine", "neun"),
    10: ("ten", "zehn"),
}


@dataclass
class Realiser:
    """Turns nodes into one sentence of one language.

    `spans` receives where each slot and mark stands, and `phrases` every German noun phrase made, as
    (text, noun, gender, case, article, adjectives), for whoever wants to check the grammar.
    """

    bindings: dict[str, Entity]
    mentions: Mentions
    tense: str = "past"
    spans: list[Span] = field(default_factory=list)
    phrases: list[tuple[str, ...]] = field(default_factory=list)
    # Who a sentence that this one goes on has named already.
    before: frozenset[Character] = frozenset()

    def english(self, nodes: tuple[Node, ...]) -> str:
        return self._join(nodes, self._english_slot, self._english_verb)

    def german(self, nodes: tuple[Node, ...]) -> str:
        text = self._join(nodes, self._german_slot, self._german_verb)
        while '"' in text:
            text = text.replace('"', "„", 1).replace('"', "“", 1)
        return text

    def _join(
        self, nodes: tuple[Node, ...], slot: Callable[[Slot], str], verb: Callable[[Verb, str], str]
    ) -> str:
        out, marks = "", []
        self.seen: set[Character] = set(self.before)
        self.presented: set[Character] = set()
        for node in nodes:
            if isinstance(node, Mark):
                if node.key:
                    marks.append((node.key, len(out)))
                else:
                    key, start = marks.pop()
                    self.spans.append((key, start, len(out)))
                continue
            if isinstance(node, Verb):
                # What someone says is said in the present, whatever the story's tense.
                piece = verb(node, "pres" if out.count('"') % 2 else self.tense)
            else:
                piece = slot(node) if isinstance(node, Slot) else node
            opening = (
                not out
                or (out[-1] == '"' and (len(out) == 1 or out[-2] in " \n"))
                or bool(re.search(r"[.!?] $", out))
            )
            if opening:
                piece = _capital(piece)
            if isinstance(node, Slot):
                self.spans.append(("" if node.form == "voc" else node.name, len(out), len(out) + len(piece)))
            out += piece
        return out

    # ---- English

    def _english_verb(self, verb: Verb, tense: str) -> str:
        return english.verb(verb.lemma, tense, verb.plural or self._plural(verb.subject))

    def _plural(self, subject: str) -> bool:
        entity = self.bindings[subject] if subject else None
        return bool(entity) and (
            entity.plural if isinstance(entity, Thing) else getattr(entity, "many", False)
        )

    def _english_slot(self, slot: Slot) -> str:
        entity, form = self.bindings[slot.name], slot.form
        if isinstance(entity, Character):
            return self._english_character(entity, form)
        if isinstance(entity, Thing):
            return self._english_thing(entity, form)
        if isinstance(entity, OutputPaths):
            return entity.english(form)
        if isinstance(entity, Act):
            return entity.english(form or "inf", self.tense)
        return entity.en

    def _english_character(self, who: Character, form: str) -> str:
        pronouns = english.PRONOUNS[who.en_sex]
        index = {"he": 0, "him": 1, "his": 2, "self": 3}.get(form)
        if index is not None:
            self.seen.add(who)
            return pronouns[index]
        if form in ("a", "named"):
            self.seen.add(who)
            phrase = who.noun.en if who.adjective is None else f"{who.adjective.en} {who.noun.en}"
            phrase = f"{english.article(phrase)} {phrase}"
            return f"{phrase} named {who.name}" if form == "named" else phrase
        if form == "voc":
            return who.vocative[0]
        if form.startswith("friend "):
            owner = self.bindings[form[7:]]
            assert isinstance(owner, Character)
            return self._english_friend(who, owner)
        if form not in ("name", "tag") and self._by_pronoun(who):
            return pronouns[{"": 0, "o": 1, "p": 2}[form]]
        phrase = self._english_name(who)
        return english.possessive(phrase) if form == "p" else phrase

    def _english_friend(self, who: Character, owner: Character) -> str:
        if owner in self.seen or self._by_pronoun(owner):
            whose = english.PRONOUNS[owner.en_sex][2]
        else:
            whose = english.possessive(self._english_name(owner))
        self.seen |= {who, owner}
        self.presented.add(who)
        return f"{whose} friend {who.name}"

    def _by_pronoun(self, who: Character) -> bool:
        decided = (self.mentions.again if who in self.seen else self.mentions.pronoun).get(who, False)
        self.seen.add(who)
        return decided

    def _english_name(self, who: Character) -> str:
        if who.members:
            first, second = who.members
            if second.owner is first and not second.title:
                return f"{self._english_name(first)} and {english.PRONOUNS[first.en_sex][2]} {second.noun.en}"
            return f"{self._english_name(first)} and {self._english_name(second)}"
        if who.name:
            host = self.mentions.introduced_by.get(who)
            if host and who not in self.presented:
                return self._english_friend(who, host)
            return who.name
        if who.owner:
            if who.title:
                return who.noun.en.capitalize()
            if self.mentions.own_pronoun.get(who.owner) or who.owner in self.seen:
                return f"{english.PRONOUNS[who.owner.en_sex][2]} {who.noun.en}"
            return f"{english.possessive(self._english_name(who.owner))} {who.noun.en}"
        told = f"{who.told_adjective.en} " if who.told_adjective else ""
        return f"the {told}{who.noun.en}"

    def _english_thing(self, thing: Thing, form: str) -> str:
        if form in ("it", "its"):
            pronouns = english.PRONOUNS["p" if thing.plural else "n"]
            return pronouns[1 if form == "it" else 2]
        if form == "they":
            return "they" if thing.plural else "it"
        full = thing.english(self.mentions.adjectives.get(thing, True))
        if form == "a":
            full = thing.english(True)
            if thing.noun.mass or thing.plural:
                return f"some {full}"
            return f"{english.article(full)} {full}"
        if form.startswith("of "):
            who = self.bindings[form[3:]]
            assert isinstance(who, Character)
            return f"{self._english_character(who, 'p')} {full}"
        if form in ("n", "bare", "count"):
            return {"n": full, "bare": thing.noun.en, "count": f"{NUMBERS[thing.count][0]} {full}"}[form]
        return f"the {full}"

    # ---- German

    def _german_verb(self, verb: Verb, tense: str) -> str:
        prefix, _, stem = verb.lemma.rpartition("|")
        return prefix + german.verb(stem, tense, verb.plural or self._plural(verb.subject))

    def _german_slot(self, slot: Slot) -> str:
        entity = self.bindings[slot.name]
        form, case = _case(slot.form)
        if isinstance(entity, Character):
            return self._german_character(entity, form, case)
        if isinstance(entity, Thing):
            return self._german_thing(entity, form, case)
        if isinstance(entity, OutputPaths):
            return entity.german(form, case)
        if isinstance(entity, Act):
            return entity.german(form or "inf", self.tense)
        return entity.de

    def _german_character(self, who: Character, form: str, case: str) -> str:
        if form in ("he", "him"):
            self.seen.add(who)
            return german.PRONOUNS[who.de_sex][german.CASES.index(case)]
        agreement = re.fullmatch(r"(his|p) ([mfnp])([nadg])", form)
        if agreement:
            kind, gender, letter = agreement.groups()
            case = CASE_LETTERS[letter]
            if kind == "his" or self._by_pronoun(who) or not (who.name or who.title):
                self.seen.add(who)
                return german.ein_word(german.POSSESSIVE[who.de_sex], gender, case)
            return german.name_genitive(self._german_name(who, "nom"))
        if form in ("a", "named"):
            self.seen.add(who)
            phrase = self._phrase(
                "ein", who.noun, who.noun.gender, case, (who.adjective.de,) if who.adjective else ()
            )
            return f"{phrase} namens {who.name}" if form == "named" else phrase
        if form == "voc":
            return who.vocative[1]
        if form == "friends":
            return "Freundinnen" if all(member.sex == "f" for member in who.members) else "Freunde"
        if form in ("kind", "kind_the"):
            self.seen.add(who)
            return self._phrase("ein" if form == "kind" else "der", who.noun, who.noun.gender, case, ())
        if form.startswith("friend "):
            owner = self.bindings[form[7:]]
            assert isinstance(owner, Character)
            return self._german_friend(who, owner, case)
        if form not in ("name", "tag") and self._by_pronoun(who):
            return german.PRONOUNS[who.de_sex][german.CASES.index(case)]
        return self._german_name(who, case)

    def _german_friend(self, who: Character, owner: Character, case: str) -> str:
        own = owner in self.seen or self._by_pronoun(owner) or not owner.name
        self.seen |= {who, owner}
        self.presented.add(who)
        word, gender = ("Freundin", "f") if who.sex == "f" else ("Freund", "m")
        if own:
            return f"{german.ein_word(german.POSSESSIVE[owner.de_sex], gender, case)} {word} {who.name}"
        return f"{german.name_genitive(owner.name)} {word} {who.name}"

    def _german_owned(
        self, who: Character, noun: Noun, case: str, thing: Thing | None, adjectives: tuple[str, ...]
    ) -> str:
        """What belongs to someone who is named: Lilys roter Ball, der rote Ball des Mädchens."""
        many, gender = (thing.many, thing.gender) if thing else (False, noun.gender)
        if who.name or who.title:
            owner = german.name_genitive(self._german_name(who, "nom"))
            return f"{owner} {self._phrase('', noun, gender, case, adjectives, many)}"
        return f"{self._phrase('der', noun, gender, case, adjectives, many)} {self._german_name(who, 'gen')}"

    def _german_name(self, who: Character, case: str) -> str:
        if who.members:
            first, second = who.members
            partner = self._german_name(second, case)
            if second.owner is first and not second.title:
                partner = self._phrase(
                    german.POSSESSIVE[first.de_sex], second.noun, second.noun.gender, case, ()
                )
            return f"{self._german_name(first, case)} und {partner}"
        if who.name:
            host = self.mentions.introduced_by.get(who)
            if host and who not in self.presented:
                return self._german_friend(who, host, case)
            return who.name
        if who.owner:
            if who.title:
                return who.noun.de
            if self.mentions.own_pronoun.get(who.owner) or who.owner in self.seen:
                return self._phrase(german.POSSESSIVE[who.owner.de_sex], who.noun, who.noun.gender, case, ())
            return self._german_owned(who.owner, who.noun, case, None, ())
        adjectives = (who.told_adjective.de,) if who.told_adjective else ()
        return self._phrase("der", who.noun, who.noun.gender, case, adjectives)

    def _german_thing(self, thing: Thing, form: str, case: str) -> str:
        if form in ("it", "they"):
            return german.PRONOUNS[thing.gender][german.CASES.index(case)]
        adjectives = (
            tuple(a.de for a in thing.adjectives)
            if form == "a" or self.mentions.adjectives.get(thing, True)
            else ()
        )
        noun, gender = thing.noun, thing.gender
        if form.startswith("of "):
            who = self.bindings[form[3:]]
            assert isinstance(who, Character)
            if self._by_pronoun(who):
                return self._phrase(german.POSSESSIVE[who.de_sex], noun, gender, case, adjectives, thing.many)
            return self._german_owned(who, noun, case, thing, adjectives)
        if form in ("my", "your"):
            return self._phrase({"my": "mein", "your": "dein"}[form], noun, gender, case, (), thing.many)
        if form in ("a", "one"):
            article = "" if noun.mass or gender == "p" else "ein"
            return self._phrase(article, noun, gender, case, adjectives, thing.many)
        if form == "count":
            return f"{NUMBERS[thing.count][1]} {self._phrase('', noun, gender, case, (), thing.many)}"
        if form == "bare":
            return noun.german(case, many=thing.many)
        return self._phrase("der", noun, gender, case, adjectives, thing.many)

    def _phrase(
        self,
        article: str,
        noun: Noun,
        gender: str,
        case: str,
        adjectives: tuple[str, ...],
        many: bool = False,
    ) -> str:
        """Article ("der", an ein-word's stem, or none), adjectives and noun, all in agreement."""
        table = "weak" if article == "der" else "mixed" if article else "strong"
        word = (
            german.definite(gender, case)
            if article == "der"
            else german.ein_word(article, gender, case)
            if article
            else ""
        )
        endings = [german.adjective(a, gender, case, table) for a in adjectives]
        text = " ".join(w for w in [word, *endings, noun.german(case, many=many)] if w)
        self.phrases.append((text, noun.de, gender, case, article, ",".join(adjectives)))
        return text


def _case(form: str) -> tuple[str, str]:
    head, _, last = form.rpartition(" ")
    if last in german.CASES:
        return head, last
    return form, "nom"


def _capital(text: str) -> str:
    for i, letter in enumerate(text):
        if letter.isalpha():
            return text[:i] + letter.upper() + text[i + 1 :]
        if letter not in '"„':
            break
    return text
