# ruff: noqa: E501 - a line of a table is a line
"""People, animals, places, hiding places, things to do and feelings, in both languages."""

from __future__ import annotations

from entities import Act, Noun, OutputPaths, Word

GIRLS_TABLE = """
Lily Lucy Mia Anna Sara Sue Jane Molly Daisy Sally Amy Jill Emma Mary Alice Emily Jenny Lila Sarah Susie
Grace Lisa Bella Sophie Kate Polly Betty Rosie Mandy Nora Ella Ann Cindy Millie Tilly Zoe Ruby Lola Hannah
Rose Ruth Clara Eva Julia Maya Nina Olivia Laura Kim May Penny Dora Ida
"""
BOYS_TABLE = """
Tim Tom Ben Timmy Jack Max Sam John Bob Joe Tommy Billy Jimmy Jake Andy Sammy Pete Bobby Peter Alex James
George Johnny Henry Fred Toby Danny Joey Charlie Leo Mark Mike Dave Bill Josh Ted Tony Freddy Frank Jim Adam
Luke Oscar Paul Noah Eric Will Harry Nick David Daniel Robert Simon Oliver
"""
PETS_TABLE = """
m Spot Max Buddy Rex Benny Fluffy Toby Rocky Charlie Teddy Bobo Remy Sparky Leo Zip Bruno Milo Oscar Copper Snowy Sunny Pip
f Daisy Bella Mittens Kitty Polly Fluffy Rosie Lulu Coco Ruby Penny Dotty Snowy Molly Tweety Goldie Honey Lola Tilly Mimi
"""
GIRLS, BOYS = GIRLS_TABLE.split(), BOYS_TABLE.split()
PET_NAMES = {line[0]: line[2:].split() for line in PETS_TABLE.strip().splitlines()}

# English, German gender, noun, plural (! for weak), where it lives, how it moves.
ANIMALS_TABLE = """
dog m Hund Hunde home run
cat f Katze Katzen home run
puppy m Welpe Welpen! home run
kitten n Kätzchen Kätzchen home run
rabbit n Kaninchen Kaninchen wild hop
bunny m Hase Hasen! wild hop
mouse f Maus Mäuse home run
squirrel n Eichhörnchen Eichhörnchen wild climb
bird m Vogel Vögel wild fly
bear m Bär Bären! wild walk
fox m Fuchs Füchse wild run
frog m Frosch Frösche water hop
duck f Ente Enten water swim
fish m Fisch Fische sea swim
turtle f Schildkröte Schildkröten water crawl
owl f Eule Eulen wild fly
bee f Biene Bienen tiny fly
butterfly m Schmetterling Schmetterlinge tiny fly
ant f Ameise Ameisen tiny crawl
horse n Pferd Pferde farm run
pony n Pony Ponys farm run
cow f Kuh Kühe farm walk
pig n Schwein Schweine farm run
sheep n Schaf Schafe farm walk
goat f Ziege Ziegen farm jump
chicken n Huhn Hühner farm run
lion m Löwe Löwen! jungle run
elephant m Elefant Elefanten! jungle walk
monkey m Affe Affen! jungle climb
tiger m Tiger Tiger jungle run
hedgehog m Igel Igel wild crawl
ladybug m Marienkäfer Marienkäfer tiny fly
snail f Schnecke Schnecken tiny crawl
caterpillar f Raupe Raupen tiny crawl
deer n Reh Rehe wild run
crab m Krebs Krebse sea crawl
penguin m Pinguin Pinguine water swim
whale m Wal Wale sea swim
dolphin m Delfin Delfine sea swim
dragon m Drache Drachen! magic fly
worm m Wurm Würmer tiny crawl
lamb n Lamm Lämmer farm jump
donkey m Esel Esel farm walk
parrot m Papagei Papageien jungle fly
"""
PEOPLE_TABLE = """
girl n Mädchen Mädchen f
boy m Junge Jungen! m
mom f Mama Mamas f
mommy f Mami Mamis f
mama f Mama Mamas f
mother f Mutter Mütter f
dad m Papa Papas m
daddy m Papi Papis m
papa m Papa Papas m
father m Vater Väter m
grandma f Oma Omas f
grandpa m Opa Opas m
teacher f Lehrerin Lehrerinnen f
farmer m Bauer Bauern! m
baker m Bäcker Bäcker m
doctor f Ärztin Ärztinnen f
man m Mann Männer m
woman f Frau Frauen f
lady f Dame Damen f
brother m Bruder Brüder m
sister f Schwester Schwestern f
fairy f Fee Feen f
king m König Könige m
queen f Königin Königinnen f
princess f Prinzessin Prinzessinnen f
prince m Prinz Prinzen! m
sailor m Seemann Seeleute m
fisherman m Fischer Fischer m
gardener m Gärtner Gärtner m
neighbor m Nachbar Nachbarn! m
baby n Baby Babys n
friend m Freund Freunde m
"""


def _nouns(table: str) -> dict[str, tuple[Noun, list[str]]]:
    nouns = {}
    for line in table.strip().splitlines():
        en, gender, de, plural, *rest = line.split()
        nouns[en] = (Noun(en, de, gender, plural.rstrip("!"), weak=plural.endswith("!")), rest)
    return nouns


ANIMALS = _nouns(ANIMALS_TABLE)
PEOPLE = _nouns(PEOPLE_TABLE)

# English preposition and noun, German "in" and "to" prepositions, gender, noun; kinds.
PLACES_TABLE = """
in park|in in m Park|out play
at beach|an an m Strand|out sand water
in garden|in in m Garten|out yard plant
in forest|in in m Wald|out wild
in kitchen|in in f Küche|home
in yard|in in m Hof|out yard
in backyard|in in m Garten|out yard plant
on playground|auf auf m Spielplatz|out play
at school|in in f Schule|school in
in field|auf auf n Feld|out wild plant
in meadow|auf auf f Wiese|out wild
by pond|an an m Teich|out water
by river|an an m Fluss|out water
by lake|an an m See|out water
on farm|auf auf m Bauernhof|out farm
in woods|in in m Wald|out wild
on hill|auf auf m Hügel|out high
at market|auf auf m Markt|town trade
in store|in in m Laden|town shop trade
in shop|in in m Laden|town shop
in library|in in f Bibliothek|town in
at zoo|in in m Zoo|town out
in living_room|in in n Wohnzimmer|home
in bedroom|in in n Schlafzimmer|home
in attic|auf auf m Dachboden|home dark
in cellar|in in m Keller|home dark
in garage|in in f Garage|home
in barn|in in f Scheune|farm dark
in cave|in in f Höhle|dark
in jungle|in in m Dschungel|wild jungle
in tent|in in n Zelt|dark
in street|auf auf f Straße|town
at fair|auf auf m Jahrmarkt|town trade
in museum|in in n Museum|town in
at bakery|in in f Bäckerei|town shop
at pool|in in n Schwimmbad|water
in castle|in in n Schloss|magic
in town|in in f Stadt|home_town
in village|in in n Dorf|home_town
"""


def _place(line: str) -> OutputPaths:
    left, right, kinds = line.split("|")
    en_in, en = left.split()
    de_in, de_to, gender, de = right.split()
    return OutputPaths(Noun(en.replace("_", " "), de, gender, ""), en_in, de_in, de_to, f" {kinds} ")


PLACES = [_place(line) for line in PLACES_TABLE.strip().splitlines()]
HOME = OutputPaths(
    Noun("house", "Haus", "n", "Häuser"),
    "in",
    "in",
    "in",
    " home ",
    ("at home", "home", "zu Hause", "nach Hause"),
)
ROOM = OutputPaths(Noun("room", "Zimmer", "n", "Zimmer"), "in", "in", "in", " home ")

# Where things hide: English preposition, noun; German preposition, gender, noun; kinds.
SPOTS_TABLE = """
under bed|unter n Bett|home hide
behind sofa|hinter n Sofa|home hide
under table|unter m Tisch|home hide
behind door|hinter f Tür|home hide
in closet|in m Schrank|home hide
under chair|unter m Stuhl|home
behind curtain|hinter m Vorhang|home hide
on shelf|auf n Regal|home
in drawer|in f Schublade|home
under pillow|unter n Kissen|home
in basket|in m Korb|home
behind tree|hinter m Baum|out
under bench|unter f Bank|out
in bush|in m Busch|out
in grass|in n Gras|out
under slide|unter f Rutsche|out
behind rock|hinter m Felsen|out
in sandbox|in m Sandkasten|out
under leaves|unter p Blättern|out
in puddle|in f Pfütze|out
behind fence|hinter m Zaun|out
next_to path|neben m Weg|out
in hole|in n Loch|out
on swing|auf f Schaukel|out
"""


def _spot(line: str) -> OutputPaths:
    left, right, kinds = line.split("|")
    en_in, en = left.split()
    de_in, gender, de = right.split()
    plural = "Blätter" if gender == "p" else ""
    return OutputPaths(
        Noun(en, plural or de, gender, plural), en_in.replace("_", " "), de_in, de_in, f" {kinds} "
    )


SPOTS = [_spot(line) for line in SPOTS_TABLE.strip().splitlines()]

# What people and animals like to do: English; German words before the verb; verb; kinds (child, animal, move).
ACTS_TABLE = """
play outside|draußen|spielen|child animal out
play in the park|im Park|spielen|child out
play with friends|mit Freunden|spielen|child animal out
run in the grass|im Gras|laufen|animal out
draw pictures|Bilder|malen|child in
read books|Bücher|lesen|child in
sing songs|Lieder|singen|child animal in
dance in the rain|im Regen|tanzen|child animal out
ride a bike|Fahrrad|fahren|child out
climb trees|auf Bäume|klettern|child animal out
swim in the lake|im See|schwimmen|child out
build towers|Türme|bauen|child in
explore the forest|den Wald|erkunden|child animal out
look at the stars|die Sterne|an|schauen|child animal out
play hide and seek|Verstecken|spielen|child animal out
play with blocks|mit Bauklötzen|spielen|child in
collect shells|Muscheln|sammeln|child out
collect stones|Steine|sammeln|child out
pick flowers|Blumen|pflücken|child out
play in the mud|im Matsch|spielen|child animal out
chase butterflies|Schmetterlinge|jagen|child animal out
help people|Menschen|helfen|child
help others|anderen|helfen|child animal
make new friends|neue Freunde|finden|child animal
tell stories|Geschichten|erzählen|child in
jump in puddles|in Pfützen|springen|child animal out
sleep in the sun|in der Sonne|schlafen|animal
play ball|Ball|spielen|child animal out
bake cookies|Kekse|backen|child in
play with toy cars|mit Spielzeugautos|spielen|child in
play in the sand|im Sand|spielen|child out
watch the birds|die Vögel|beobachten|child animal out
work in the garden|im Garten|arbeiten|child out
eat apples|Äpfel|essen|child
look for treasures|nach Schätzen|suchen|child animal out
slide down the slide|die Rutsche|hinunter|rutschen|child out
paint with bright colors|mit hellen Farben|malen|child in
make music|Musik|machen|child animal in
go for walks|spazieren|gehen|child animal out
learn new things|neue Dinge|lernen|child animal
sing a song|ein Lied|singen|show
say a poem|ein Gedicht|auf|sagen|show
play the drum|Trommel|spielen|show
"""


def _act(line: str) -> Act:
    en, rest, verb, *more = line.split("|")
    if len(more) == 2:
        verb, more = f"{verb}|{more[0]}", more[1:]
    return Act(en, rest, verb, f" {more[0]} ")


ACTS = [_act(line) for line in ACTS_TABLE.strip().splitlines()]

FEELINGS_TABLE = """
happy:glücklich sad:traurig angry:wütend scared:ängstlich proud:stolz tired:müde hungry:hungrig
excited:aufgeregt worried:besorgt lonely:einsam surprised:überrascht glad:froh curious:neugierig
upset:aufgebracht brave:mutig shy:schüchtern sorry:traurig jealous:neidisch bored:gelangweilt nervous:nervös
"""
FEELINGS = {en: Word(en, de) for en, de in (pair.split(":") for pair in FEELINGS_TABLE.split())}
