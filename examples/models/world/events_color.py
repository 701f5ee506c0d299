# ruff: noqa: E501 - a line of a table is a line
"""Events that paint the world around a story: the way, what is heard and felt, small plans and small thoughts."""

TABLE = """
@on_the_way A
{A} <walk> across the field and along the river. | {A} <gehen> über das Feld und am Fluss entlang.
{A} <walk> and <walk> until {A:he} <reach> a big tree. | {A} <gehen> und <gehen>, bis {A:he} zu einem großen Baum <kommen>.
{A} <climb> over a fence and <jump> down. | {A} <klettern> über einen Zaun und <springen> hinunter.
{A} <take> a few steps and <look> around. | {A} <machen> ein paar Schritte und <sehen> sich um.
{A} <go> up the hill and down again. | {A} <gehen> den Hügel hinauf und wieder hinunter.
{A} <walk> past the houses with the red roofs. | {A} <gehen> an den Häusern mit den roten Dächern vorbei.
{A} <walk> slowly and <look> at everything. | {A} <gehen> langsam und <schauen> alles an.
{A} <walk> through the tall grass. | {A} <gehen> durch das hohe Gras.
{A} <follow> a small path. | {A} <folgen> einem kleinen Pfad.
{A} <skip> along the road. | {A} <hüpfen> die Straße entlang.
{A} <cross> a little bridge. | {A} <gehen> über eine kleine Brücke.
{A} <climb> up a small hill. / From the top, {A:he} <can> see the whole town. | {A} <steigen> auf einen kleinen Hügel. / Von oben <können> {A:he} die ganze Stadt sehen.
{A} <run> as fast as the wind. | {A} <laufen> so schnell wie der Wind.
{A} <pass> a big red barn. | {A} <kommen> an einer großen roten Scheune vorbei.
{A} <stop> by a stream and <put> {A:his} feet in the cool water. | {A} <bleiben> an einem Bach stehen und <halten> die Füße ins kühle Wasser.
{A} <roll> down a green hill and <laugh>. | {A} <rollen> einen grünen Hügel hinunter und <lachen>.
@hears A
{A} <hear> the birds sing. | {A} <hören> die Vögel singen.
{A} <hear> music from far away. | {A} <hören> von weit her Musik.
{A} <hear> the wind in the leaves. | {A} <hören> den Wind in den Blättern.
Somewhere, a dog <bark>. | Irgendwo <bellen> ein Hund.
{A} <hear> children laughing. | {A} <hören> Kinder lachen.
A bell <ring> in the town. | In der Stadt <läuten> eine Glocke.
Everything <be> quiet and peaceful. | Alles <sein> still und friedlich.
@senses A
The sun <feel> warm on {A:p} face. | Die Sonne <scheinen> warm auf {A:p na} Gesicht.
{A} <smell> the sweet flowers. | {A} <riechen> die süßen Blumen.
The grass <feel> soft under {A:p} feet. | Das Gras <sein> weich unter {A:p pd} Füßen.
A cool wind <blow> through the trees. | Ein kühler Wind <wehen> durch die Bäume.
The leaves <be*> red and yellow. | Die Blätter <sein*> rot und gelb.
Something <smell> very good. / It <be> fresh bread. | Etwas <riechen> sehr gut. / Es <sein> frisches Brot.
The water <be> clear and cool. | Das Wasser <sein> klar und kühl.
White clouds <move*> across the sky. | Weiße Wolken <ziehen*> über den Himmel.
@others A
A baby <be> laughing at a balloon. | Ein Baby <lachen> über einen Luftballon.
A girl with long hair <ride> by on her bike. | Ein Mädchen mit langen Haaren <fahren> auf dem Fahrrad vorbei.
A group of kids <be*> trying to catch a frog. | Ein paar Kinder <versuchen*>, einen Frosch zu fangen.
Birds <be*> flying towards the sea. | Vögel <fliegen*> zum Meer.
A fisherman <sit> by the water and <wait>. | Ein Fischer <sitzen> am Wasser und <warten>.
A squirrel with a big tail <climb> up a tree. | Ein Eichhörnchen mit einem großen Schwanz <klettern> auf einen Baum.
A firefighter <wash> a shiny red truck. | Ein Feuerwehrmann <waschen> einen glänzenden roten Wagen.
A king and a queen <look*> down from an old poster. | Ein König und eine Königin <schauen*> von einem alten Plakat herunter.
Some children <be*> playing with a ball. | Einige Kinder <spielen*> mit einem Ball.
A man <be> selling ice cream. | Ein Mann <verkaufen> Eis.
A mother duck <walk> by with her babies. | Eine Entenmutter <gehen> mit ihren Küken vorbei.
An old woman <sit> on a bench and <feed> the birds. | Eine alte Frau <sitzen> auf einer Bank und <füttern> die Vögel.
A little boy <wave> from a window. | Ein kleiner Junge <winken> aus einem Fenster.
Two cats <be*> sleeping in the sun. | Zwei Katzen <schlafen*> in der Sonne.
A big truck <drive> by. / Beep, beep! | Ein großer Lastwagen <fahren> vorbei. / Tut, tut!
A spider <make> a web between two branches. | Eine Spinne <bauen> zwischen zwei Ästen ein Netz.
The bees <be*> busy in the flowers. | Die Bienen <sein*> fleißig in den Blumen.
A train <go> by far away. | In der Ferne <fahren> ein Zug vorbei.
@wonders A
"Maybe I will find a treasure today," {A} <think>. | "Vielleicht finde ich heute einen Schatz", <denken> {A}.
"When I am older, I will go on many adventures," {A} <say>. | "Wenn ich größer bin, erlebe ich viele Abenteuer", <sagen> {A}.
{A} <remember> a story about a magical place. | {A} <denken> an eine Geschichte über einen magischen Ort.
There <be> so much to see and do. | Es <geben> so viel zu sehen und zu tun.
{A} <feel> free and happy. | {A} <fühlen> sich frei und glücklich.
"Who lives in that big house?" {A} <ask>. | "Wer wohnt in dem großen Haus?", <fragen> {A}.
"I could stay here forever," {A} <say>. | "Hier könnte ich für immer bleiben", <sagen> {A}.
"What will happen today?" {A} <wonder>. | "Was passiert heute wohl?", <denken> {A}.
Something special <be> in the air. | Etwas Besonderes <liegen> in der Luft.
"I love this place," {A} <think>. | "Ich liebe diesen Ort", <denken> {A}.
"What a lovely day!" {A} <say>. | "Was für ein schöner Tag!", <sagen> {A}.
{A} <wish> every day could be like this. | {A} <wünschen> sich, dass jeder Tag so wäre.
{A} <have> so many questions about the world. | {A} <haben> so viele Fragen über die Welt.
{A} <imagine> that {A:he} <be> a bird in the sky. | {A} <stellen> sich vor, ein Vogel am Himmel zu sein.
{A} <pretend> to be a pirate on a big ship. | {A} <tun> so, als ob {A:he} auf einem großen Schiff wäre.
{A} <dream> of faraway places. | {A} <träumen> von fernen Orten.
@plays_bit A
{A} <build> a little house out of sticks. | {A} <bauen> ein kleines Haus aus Stöcken.
{A} <find> a bucket and <fill> it with sand. | {A} <finden> einen Eimer und <füllen> ihn mit Sand.
{A} <pick> up a leaf and <let> it fly in the wind. | {A} <heben> ein Blatt auf und <lassen> es im Wind fliegen.
{A} <make> funny faces in the water. | {A} <schneiden> im Wasser Grimassen.
{A} <swing> from a branch. / "Whee!" | {A} <schwingen> an einem Ast. / "Hui!"
{A} <kick> a stone along the path. | {A} <kicken> einen Stein den Weg entlang.
{A} <count> the birds on the roof. | {A} <zählen> die Vögel auf dem Dach.
{A} <hop> on one foot. | {A} <hüpfen> auf einem Bein.
{A} <spin> around and around until {A:he} <be> dizzy. | {A} <drehen> sich im Kreis, bis {A:he dat} schwindlig <werden>.
{A} <throw> a little stone in the water. / Plop! | {A} <werfen> einen kleinen Stein ins Wasser. / Plopp!
{A} <draw> a big circle in the sand with a stick. | {A} <malen> mit einem Stock einen großen Kreis in den Sand.
{A} <lie> down in the grass and <watch> the clouds. | {A} <legen> sich ins Gras und <beobachten> die Wolken.
{A} <hide> behind a tree and <jump> out. / "Boo!" | {A} <verstecken> sich hinter einem Baum und <springen> hervor. / "Buh!"
{A} <clap> {A:his} hands and <dance>. | {A} <klatschen> in die Hände und <tanzen>.
{A} <touch> a soft leaf. / It <be> wet. | {A} <berühren> ein weiches Blatt. / Es <sein> nass.
{A} <dig> a deep hole, but there <be> only dirt. | {A} <graben> ein tiefes Loch, aber es <geben> nur Erde.
@asks_parent A M
"Why is the sky blue?" {A} <ask>. / {M} <smile>. | "Warum ist der Himmel blau?", <fragen> {A}. / {M} <lächeln>.
"Can I go now?" {A} <ask>. / "Yes, but come back soon," {M} <say>. | "Darf ich jetzt gehen?", <fragen> {A}. / "Ja, aber komm bald zurück", <sagen> {M}.
"Are you ready?" {M} <ask>. / "Yes!" {A} <shout>. | "Bist du bereit?", <fragen> {M}. / "Ja!", <rufen> {A}.
{M} <give> {A:o} a kiss on the nose. | {M} <geben> {A:dat} einen Kuss auf die Nase.
"You are getting so big," {M} <say>. | "Du wirst so groß", <sagen> {M}.
"Remember to be kind," <say> {M}. | "Denk daran, nett zu sein", <sagen> {M}.
"""
