# ruff: noqa: E501 - a line of a table is a line
"""Things by kind: English, German with gender and plural ("pl" where there is no singular), marks, adjectives.

The marks: "mass" for what is not counted. Adjectives are keys of `ADJECTIVES`; "COLOUR" stands for any colour.
"""

from __future__ import annotations

from entities import Adjective, Noun

COLOURS = "red:rot blue:blau green:grün yellow:gelb white:weiß black:schwarz brown:braun pink:rosa purple:lila orange:orange gray:grau"
PLAIN = """
big:groß small:klein little:klein tiny:winzig long:lang tall:hoch old:alt new:neu shiny:glänzend soft:weich
round:rund pretty:hübsch beautiful:schön nice:schön special:besonder fancy:schick sweet:süß warm:warm cold:kalt hot:heiß
fresh:frisch tasty:lecker yummy:lecker delicious:köstlich juicy:saftig strange:seltsam funny:lustig colorful:bunt
fast:schnell strong:stark heavy:schwer light:leicht smooth:glatt hard:hart wooden:hölzern golden:golden silver:silbern
magic:magisch wonderful:wunderbar thick:dick thin:dünn fluffy:flauschig cozy:gemütlich favorite:liebst ripe:reif
broken:kaputt wet:nass clean:sauber dirty:schmutzig empty:leer full:voll huge:riesig large:groß bright:hell dark:dunkel
kind:nett brave:mutig happy:fröhlich sad:traurig shy:schüchtern lonely:einsam curious:neugierig clever:klug wise:weise
friendly:freundlich gentle:sanft young:jung hungry:hungrig tired:müde scared:ängstlich playful:verspielt cheerful:fröhlich
quiet:still noisy:laut loud:laut lost:verloren sleepy:schläfrig smart:schlau furry:pelzig cute:süß silly:albern
good:gut great:toll sour:sauer spicy:scharf healthy:gesund busy:fleißig naughty:frech grumpy:mürrisch lazy:faul polite:höflich
proud:stolz lucky:glücklich deep:tief high:hoch wide:breit narrow:schmal sharp:spitz plain:einfach best:best
"""
ADJECTIVES = {
    en: Adjective(en, de) for en, de in (pair.split(":") for pair in (COLOURS + " " + PLAIN).split())
}
COLOUR_KEYS = tuple(pair.split(":")[0] for pair in COLOURS.split())

TABLE = """
[toy]
ball m Ball Bälle COLOUR big small bouncy=new
doll f Puppe Puppen pretty little new beautiful
kite m Drachen Drachen COLOUR big colorful beautiful
toy_car n Spielzeugauto Spielzeugautos COLOUR fast shiny little
truck m Lastwagen Lastwagen COLOUR big toy=new
train m Zug Züge COLOUR little fast
teddy_bear m Teddybär Teddybären! brown soft old fluffy
robot m Roboter Roboter shiny silver new funny
puzzle n Puzzle Puzzles big new colorful
drum f Trommel Trommeln COLOUR big loud
balloon m Luftballon Luftballons COLOUR big shiny
bike n Fahrrad Fahrräder COLOUR new fast shiny
scooter m Roller Roller COLOUR new fast
wagon m Wagen Wagen COLOUR old little
toy_boat n Spielzeugboot Spielzeugboote COLOUR little wooden
toy_plane n Spielzeugflugzeug Spielzeugflugzeuge COLOUR little
whistle f Pfeife Pfeifen shiny loud little
yo-yo n Jo-Jo Jo-Jos COLOUR shiny
sled m Schlitten Schlitten COLOUR old fast
bell f Glocke Glocken shiny golden little
book n Buch Bücher COLOUR big old new
rope n Seil Seile long strong thick
skateboard n Skateboard Skateboards COLOUR new fast
jump_rope n Springseil Springseile COLOUR long
top m Kreisel Kreisel COLOUR little wooden
guitar f Gitarre Gitarren old little shiny
[treasure]
shell f Muschel Muscheln pretty white shiny little
stone m Stein Steine smooth shiny round pretty
key m Schlüssel Schlüssel old shiny golden little
coin f Münze Münzen shiny golden old
feather f Feder Federn COLOUR soft long
ring m Ring Ringe shiny golden pretty
button m Knopf Knöpfe COLOUR round shiny
box f Schachtel Schachteln little old pretty
bottle f Flasche Flaschen old green strange
map f Karte Karten old big
necklace f Kette Ketten pretty shiny golden
marble f Murmel Murmeln COLOUR shiny round
crystal m Kristall Kristalle shiny COLOUR
gem m Edelstein Edelsteine shiny COLOUR
leaf n Blatt Blätter COLOUR big pretty
pine_cone m Tannenzapfen Tannenzapfen brown big
acorn f Eichel Eicheln brown shiny
lamp f Lampe Lampen old shiny
purse f Geldbörse Geldbörsen old shiny
crown f Krone Kronen golden shiny
[wear]
hat m Hut Hüte COLOUR big fancy new
scarf m Schal Schals COLOUR warm long soft
coat m Mantel Mäntel COLOUR warm new
sweater m Pullover Pullover COLOUR warm soft
dress n Kleid Kleider COLOUR pretty new
shirt n Hemd Hemden COLOUR new nice
cap f Mütze Mützen COLOUR warm
jacket f Jacke Jacken COLOUR warm new
bag f Tasche Taschen COLOUR big old
umbrella m Regenschirm Regenschirme COLOUR big
ribbon f Schleife Schleifen COLOUR pretty long
blanket f Decke Decken COLOUR warm soft
backpack m Rucksack Rucksäcke COLOUR heavy new
bow f Schleife Schleifen COLOUR pretty
costume n Kostüm Kostüme funny COLOUR
[fruit]
apple m Apfel Äpfel red green juicy big
pear f Birne Birnen juicy ripe yellow
banana f Banane Bananen yellow ripe
orange f Orange Orangen juicy round big
peach m Pfirsich Pfirsiche juicy sweet soft
carrot f Karotte Karotten long orange fresh
cookie m Keks Kekse big sweet tasty
plum f Pflaume Pflaumen purple juicy
strawberry f Erdbeere Erdbeeren red sweet
cherry f Kirsche Kirschen red sweet
tomato f Tomate Tomaten red ripe
melon f Melone Melonen big sweet
pumpkin m Kürbis Kürbisse big orange
potato f Kartoffel Kartoffeln big round
mushroom m Pilz Pilze big brown
nut f Nuss Nüsse hard brown
lemon f Zitrone Zitronen yellow sour
[baked]
cake m Kuchen Kuchen big delicious sweet
pie m Kuchen Kuchen big warm sweet
pizza f Pizza Pizzas big hot tasty
pancake m Pfannkuchen Pfannkuchen big warm
sandwich n Sandwich Sandwiches big tasty
muffin m Muffin Muffins sweet warm
[dish]
soup f Suppe Suppen hot warm tasty
salad m Salat Salate fresh green
broccoli m Brokkoli Brokkolis green mass
spinach m Spinat Spinate green mass
cheese m Käse Käse yellow tasty mass
fish m Fisch Fische fresh tasty
rice m Reis Reise warm white mass
honey m Honig Honige sweet golden mass
yogurt m Joghurt Joghurts cold sweet mass
jam f Marmelade Marmeladen sweet red mass
bread n Brot Brote fresh warm mass
[drink]
milk f Milch Milch cold warm mass
juice m Saft Säfte cold sweet mass
lemonade f Limonade Limonaden cold sweet mass
water n Wasser Wasser cold fresh mass
tea m Tee Tees hot warm mass
hot_chocolate m Kakao Kakaos warm sweet mass
[house]
cup f Tasse Tassen COLOUR pretty
vase f Vase Vasen COLOUR tall beautiful
plate m Teller Teller COLOUR big
chair m Stuhl Stühle wooden old little
lamp f Lampe Lampen old tall pretty
clock f Uhr Uhren old big
window n Fenster Fenster big
bowl f Schüssel Schüsseln COLOUR big
mirror m Spiegel Spiegel old big shiny
jar n Glas Gläser big
picture n Bild Bilder beautiful old
pot m Topf Töpfe big old
fence m Zaun Zäune old white
gate n Tor Tore old wooden
swing f Schaukel Schaukeln old wooden
bench f Bank Bänke old wooden
[plant]
flower f Blume Blumen COLOUR pretty beautiful
rose f Rose Rosen red pretty
sunflower f Sonnenblume Sonnenblumen tall yellow
bean_plant f Bohnenpflanze Bohnenpflanzen tall green
tomato_plant f Tomatenpflanze Tomatenpflanzen tall green
apple_tree m Apfelbaum Apfelbäume little strong
tulip f Tulpe Tulpen COLOUR pretty
daisy n Gänseblümchen Gänseblümchen white pretty
pumpkin_plant f Kürbispflanze Kürbispflanzen big green
[craft]
tower m Turm Türme tall big
sandcastle f Sandburg Sandburgen big tall beautiful
castle f Burg Burgen big tall
house_of_blocks=house n Haus Häuser big tall
bridge f Brücke Brücken long strong
rocket f Rakete Raketen tall shiny
tent n Zelt Zelte big cozy
birdhouse n Vogelhaus Vogelhäuser little pretty
[drawing]
card f Karte Karten pretty colorful
picture n Bild Bilder beautiful colorful
painting n Gemälde Gemälde beautiful big
paper_boat n Papierboot Papierboote little white
paper_plane n Papierflugzeug Papierflugzeuge white
[tool]
bucket m Eimer Eimer COLOUR big old
ladder f Leiter Leitern tall long old
basket m Korb Körbe big old
shovel f Schaufel Schaufeln COLOUR little
net n Netz Netze big long
stick m Stock Stöcke long thin strong
box f Kiste Kisten big heavy old
bucket_of_paint=bucket m Eimer Eimer big
flashlight f Taschenlampe Taschenlampen little bright
brush m Pinsel Pinsel soft old
hammer m Hammer Hämmer old heavy
broom m Besen Besen old long
[counted]
duck f Ente Enten little
bird m Vogel Vögel little
bee f Biene Bienen busy
butterfly m Schmetterling Schmetterlinge COLOUR
boat n Boot Boote white
sheep n Schaf Schafe white
cow f Kuh Kühe brown
flower f Blume Blumen COLOUR
cloud f Wolke Wolken white
frog m Frosch Frösche green
car n Auto Autos COLOUR
tree m Baum Bäume tall
"""


def _noun(line: str) -> tuple[Noun, tuple[str, ...]]:
    en, gender, de, plural, *rest = line.split()
    en = en.partition("=")[2] or en
    marks = [word for word in rest if word == "mass"]
    keys = tuple(word.partition("=")[2] or word for word in rest if word != "mass")
    weak = plural.endswith("!")
    plural = plural.rstrip("!")
    return Noun(en.replace("_", " "), de, gender, plural, weak=weak, mass=bool(marks)), keys


def _read(table: str) -> dict[str, list[tuple[Noun, tuple[str, ...]]]]:
    kinds: dict[str, list[tuple[Noun, tuple[str, ...]]]] = {}
    kind = ""
    for line in filter(None, map(str.strip, table.splitlines())):
        if line.startswith("["):
            kind = line.strip("[]")
            kinds[kind] = []
        else:
            kinds[kind].append(_noun(line))
    return kinds


THINGS = _read(TABLE)
