# ruff: noqa: E501 - a line of a table is a line
"""Events of play: races, towers, snow, boats, hiding, kites, bicycles, swimming, swings."""

TABLE = """
@boasts A
"I am the fastest of all!" {A} <say>. | "Ich bin schneller als alle anderen!", <sagen> {A}.
{A} always <say>, "Nobody is faster than me." | {A} <sagen> immer: "Niemand ist schneller als ich."
{A} <think> that {A:he} <be> the fastest in the world. | {A} <glauben>, auf der ganzen Welt am schnellsten zu sein.
@challenge B A
"Let's have a race!" <say> {B}. | "Lass uns um die Wette laufen!", <sagen> {B}.
{B} <say>, "Do you want to race with me?" | {B} <sagen>: "Willst du mit mir um die Wette laufen?"
? Who wanted to race with {A:o}? = B
@race_goal Q
They <want*> to run to [goal: the big tree] and back. | Sie <wollen*> bis zu dem großen Baum und zurück laufen.
They <want*> to run to [goal: the old bridge]. | Sie <wollen*> bis zur alten Brücke laufen.
They <want*> to run around [goal: the pond]. | Sie <wollen*> um den Teich laufen.
? Where did they want to run? = goal
@race_start A B
"One, two, three, go!" they <shout*>. | "Eins, zwei, drei, los!", <rufen*> sie.
"Ready, set, go!" / {AB} <run*> as fast as they <can*>. | "Auf die Plätze, fertig, los!" / {AB} <laufen*>, so schnell sie <können*>.
@ahead A B
{A} <run> very fast and <be> far ahead. | {A} <laufen> sehr schnell und <sein> weit vorn.
{A} <be> first, and {B} <be> far behind. | {A} <sein> vorn, und {B} <sein> weit hinten.
@rests A
{A} <see> some flowers and <stop> to look. | {A} <sehen> ein paar Blumen und <bleiben> stehen.
{A} <sit> down to rest and <fall> asleep. | {A} <setzen> sich zum Ausruhen hin und <schlafen> ein.
{A} <stop> to eat an apple. | {A} <bleiben> stehen, um einen Apfel zu essen.
@slow_steady B
But {B} <do> not stop. / Step by step, {B:he} <go> on. | Aber {B} <bleiben> nicht stehen. / Schritt für Schritt <gehen> {B:he} weiter.
{B} <go> on and on. | {B} <laufen> immer weiter.
@b_wins B A : > B is winner
{B} <be> the first and <win> the race! | {B} <sein> zuerst da und <gewinnen> das Rennen!
{B} <win> the race. | {B} <gewinnen> das Rennen.
? Who won the race? = B
@a_wins A B : > A is winner
{A} <win> the race. | {A} <gewinnen> das Rennen.
{A} <be> first at the end. | {A} <sein> zuerst am Ziel.
? Who won the race? = A
@falls B
{B} <fall> and <hurt> {B:his} knee. | {B} <fallen> hin und <verletzen> sich am Knie.
? Who fell down? = B
@stops_helps A B
{A} <stop> and <run> back to help {B:o}. | {A} <bleiben> stehen und <laufen> zurück, um {B:dat} zu helfen.
{A} <turn> around and <help> {B:o} up. | {A} <drehen> sich um und <helfen> {B:dat} auf.
? Who helped {B:o} up? = A
@same_time A B
{AB} <walk*> to the end together, hand in hand. | {AB} <gehen*> Hand in Hand zusammen ins Ziel.
@runs_on A B
{A} <do> not stop and <run> on. | {A} <bleiben> nicht stehen und <laufen> weiter.
@well_run A B
"You run very well," {A} <say>. | "Du läufst sehr gut", <sagen> {A}.
{A} <say>, "Good job, {B:voc}!" | {A} <sagen>: "Gut gemacht, {B:voc}!"
@race_moral A
{A} <realize> that having fun <be> more important than winning. | {A} <merken>, dass Spaß wichtiger <sein> als ein Sieg.
{A} <learn> that it <be> not good to boast. | {A} <lernen>, dass Angeben nicht gut <sein>.
The moral of the story is to never give up. | Die Moral der Geschichte ist, niemals aufzugeben.
{A} <know> that friends <be*> more important than winning. | {A} <wissen>, dass Freunde wichtiger <sein*> als ein Sieg.
@builds AB x P
{AB} <want*> to build {x:a} {P:in}. | {AB} <wollen*> {P:in} {x:a acc} bauen.
{AB} <start*> to build {x:a}. | {AB} <beginnen*>, {x:a acc} zu bauen.
"Let's build {x:a}!" <say> {A}. | "Lass uns {x:a acc} bauen!", <sagen> {A}.
? What did they build? = x
@build_steps A B n
{A} <bring> the pieces, and {B} <put> them on top. | {A} <bringen> die Teile, und {B} <legen> sie obenauf.
They <work*> for a long time. / It <get> bigger and bigger. | Sie <arbeiten*> lange. / Es <werden> größer und größer.
{A} and {B} <work*> together. / It <be> almost done. | {A} und {B} <arbeiten*> zusammen. / Es <sein> fast fertig.
@knocked x N
Suddenly, a ball <hit> {x}, and {x:they} <fall> down. | Plötzlich <treffen> ein Ball {x:acc}, und {x:they} <fallen> um.
{N:a} <run> by and <knock> {x} down. | {N:a} <laufen> vorbei und <werfen> {x:acc} um.
The wind <blow>, and {x} <fall> down. | Der Wind <blasen>, und {x} <fallen> um.
Crash! / {x} <fall> down. | Krach! / {x} <fallen> um.
A big wave <come>, and {x} <be> gone. | Eine große Welle <kommen>, und {x} <sein> weg.
? What fell down? = x
@build_again A B x
"Let's try again," {B} <say>. | "Lass es uns noch einmal versuchen", <sagen> {B}.
{B} <say>, "Don't be sad. We can build a better one!" | {B} <sagen>: "Sei nicht traurig. Wir können es noch besser bauen!"
? Who wanted to try again? = B
@built_better x A B
They <build*> {x} again, and this time it <be> even better. | Sie <bauen*> {x:acc} noch einmal auf, und diesmal <werden> alles noch besser.
They <work*> hard, and {x} <be> even bigger than before. | Sie <arbeiten*> fleißig, und {x} <sein> noch größer als vorher.
@gives_up_build A
{A} <be> angry and <go> away. | {A} <sein> wütend und <gehen> weg.
{A} <do> not want to build anymore. | {A} <wollen> nicht mehr bauen.
@snow_fell
It <snow> all night. / Everything <be> [color: white]. | Es <schneien> die ganze Nacht. / Alles <sein> weiß.
There <be> a lot of snow outside. | Draußen <liegen> viel Schnee.
The snow <be> soft and [color: white]. | Der Schnee <sein> weich und weiß.
? What color was everything outside? = color
@make_snowman A B
{AB} <roll*> two big balls of snow. | {AB} <rollen*> zwei große Schneebälle.
{AB} <make*> a big snowman. | {AB} <bauen*> einen großen Schneemann.
@nose x A
{A} <use> {x:a} for the nose. | {A} <nehmen> {x:a acc} als Nase.
{A} <give> the snowman {x:a} for a nose. | {A} <geben> dem Schneemann {x:a acc} als Nase.
? What did the snowman have for a nose? = x
@snow_hat B y : B has y
{B} <put> {y:of B} on the snowman's head. | {B} <setzen> dem Schneemann {y:of B acc} auf den Kopf.
? What did {B} put on the snowman's head? = y
@snow_cold A
{A:p} hands <be*> very cold. | {A:p pn} Hände <sein*> sehr kalt.
@warm_up AB z
At home, they <drink*> {z:a}. | Zu Hause <trinken*> sie {z:a acc}.
{M} <make> {z:a} for them. | {M} <machen> {z:a acc} für sie.
? What did they drink? = z
@melts
The sun <come> out and the snowman <start> to melt. | Die Sonne <kommen> heraus und der Schneemann <beginnen> zu schmelzen.
@snow_sad A
{A} <be> sad that the snowman <be> gone. | {A} <sein> traurig, weil der Schneemann weg <sein>.
@next_snow A
"We will make a new one next winter," {M} <say>. | "Nächsten Winter bauen wir einen neuen", <sagen> {M}.
"The snow will come again," {A} <say>. | "Der Schnee kommt wieder", <sagen> {A}.
@boat_put A x P : A has x, A at P > x at P
{A} <put> {x} on the water. | {A} <setzen> {x:acc} auf das Wasser.
{A} <let> {x} swim on the water. | {A} <lassen> {x:acc} auf dem Wasser schwimmen.
@boat_away x
The wind <blow>, and {x} <float> away. | Der Wind <wehen>, und {x} <treiben> davon.
{x} <float> far away from the shore. | {x} <treiben> weit vom Ufer weg.
@cant_reach A x
{A} <can> not reach {x:it}. | {A} <können> {x:it acc} nicht erreichen.
"Come back!" {A} <shout>, but {x} <do> not come back. | "Komm zurück!", <rufen> {A}, aber {x} <kommen> nicht zurück.
@animal_brings N A x P : x at P > A has x
{N:a} <swim> to {x} and <push> {x:it} back to {A:o}. | {N:a} <schwimmen> zu {x:dat} und <schieben> {x:it acc} zu {A:dat} zurück.
{N:a} <see> it and <bring> {x} back. | {N:a} <sehen> das und <bringen> {x:acc} zurück.
? Who brought {x} back? = N
@fish_out M x y A P : x at P > A has x
{M} <take> {y:a} and <pull> {x} back to the shore. | {M} <nehmen> {y:a acc} und <ziehen> {x:acc} zurück ans Ufer.
? What did {M} use to get {x} back? = y
@gone_forever x
{x} <be> gone, and nobody <see> {x:it} again. | {x} <sein> fort, und niemand <sehen> {x:it acc} je wieder.
@kite_up A x : A has x
{A} <run> with {x}, and {x:they} <fly> high in the sky. | {A} <laufen> mit {x:dat}, und {x:they} <fliegen> hoch am Himmel.
The wind <be> strong, and {x} <fly> higher and higher. | Der Wind <sein> stark, und {x} <fliegen> höher und höher.
@kite_stuck x : > x is stuck
{x} <get> stuck in [where: a tall tree]. | {x} <bleiben> in einem hohen Baum hängen.
The wind <pull> {x} into [where: a tree]. | Der Wind <ziehen> {x:acc} in einen Baum.
? Where did {x} get stuck? = where
@kite_down M x y : x is stuck > x is free
{M} <get> {y:a} and <bring> {x} down. | {M} <holen> {y:a acc} und <bringen> {x:acc} herunter.
With {y:a}, {M} <get> {x} down. | Mit {y:a dat} <holen> {M} {x:acc} herunter.
? Who got {x} down? = M
? What did {M} use to get {x} down? = y
@kite_torn x : x is stuck > x is torn
But {x} <be> torn. | Aber {x} <sein> zerrissen.
@string_tight A x
{A} <hold> the string very tight. | {A} <halten> die Schnur sehr fest.
@wants_ride A x : A has x
{A} <want> to learn to ride {x:of A}. | {A} <wollen> lernen, mit {x:of A dat} zu fahren.
{A} <can> not ride {x:of A} yet. | {A} <können> mit {x:of A dat} noch nicht fahren.
? What did {A} want to learn to ride? = x
@falls_off A x
{A} <try>, but {A:he} <fall> off. | {A} <versuchen> es, aber {A:he} <fallen> herunter.
{A} <go> a little, and then {A:he} <fall>. / "Ouch!" | {A} <fahren> ein kleines Stück, und dann <fallen> {A:he} hin. / "Aua!"
@too_hard A
"It's too hard!" {A} <say>. | "Das ist zu schwer!", <sagen> {A}.
"I can't do it," <say> {A}. | "Ich kann das nicht", <sagen> {A}.
@encourage M A
"Try again. You can do it!" <say> {M}. | "Versuch es noch einmal. Du schaffst das!", <sagen> {M}.
{M} <say>, "Don't give up, {A:voc}." | {M} <sagen>: "Gib nicht auf, {A:voc}."
"Everything is hard at first," {M} <say>. | "Am Anfang ist alles schwer", <sagen> {M}.
? Who told {A:o} to try again? = M
@holds_seat M A x
{M} <hold> {x} while {A} <try>. | {M} <halten> {x:acc} fest, während {A} es <versuchen>.
{M} <run> next to {A:o} and <hold> {x}. | {M} <laufen> neben {A:dat} her und <halten> {x:acc} fest.
? Who held {x}? = M
@practice A
{A} <keep> trying and never <give> up. | {A} <üben> weiter und <geben> niemals auf.
{A} <try> again and again. | {A} <versuchen> es immer wieder.
Day after day, {A} <practice>. | Tag für Tag <üben> {A}.
{A} <practice> for [long: three days]. | {A} <üben> drei Tage lang.
? How long did {A} practice? = long
@rides A x
{A} <ride> {x} all alone! | {A} <fahren> ganz allein mit {x:dat}!
{A} <go> fast and <do> not fall. | {A} <fahren> schnell und <fallen> nicht.
"Look! I can do it!" {A} <shout>. | "Schau! Ich kann es!", <rufen> {A}.
@gives_up A
{A} <give> up and <put> {x} away. | {A} <geben> auf und <stellen> {x:acc} weg.
{A} <do> not try again. | {A} <versuchen> es nicht noch einmal.
@swim_wants A
{A} <want> to swim, but the water <look> deep. | {A} <wollen> schwimmen, aber das Wasser <sehen> tief aus.
{A} <be> afraid of the water. | {A} <haben> Angst vor dem Wasser.
@swim_try A M
{M} <hold> {A:p} hand and they <go*> in slowly. | {M} <halten> {A:p fa} Hand und sie <gehen*> langsam hinein.
{A} <put> one foot in the water, and then the other. | {A} <stellen> erst einen Fuß ins Wasser und dann den anderen.
@swims A
{A} <kick> {A:his} legs and <swim>! | {A} <bewegen> die Beine und <schwimmen>!
{A} <swim> like a fish. | {A} <schwimmen> wie ein Fisch.
@seek_start A B
{AB} <play*> hide and seek. | {AB} <spielen*> Verstecken.
"Let's play hide and seek," <say> {B}. | "Lass uns Verstecken spielen", <sagen> {B}.
@seek_counts A n
{A} <close> {A:his} eyes and <count> to {n}. | {A} <machen> die Augen zu und <zählen> bis {n}.
? How far did {A} count? = n
@seek_hides B Q : > B at Q
{B} <hide> {Q:in}. | {B} <verstecken> sich {Q:in}.
{B} <run> and <hide> {Q:in}. | {B} <laufen> los und <verstecken> sich {Q:in}.
? Where did {B} hide? = Q
@seek_looks A R S
{A} <look> {R:in}. / {B} <be> not there. | {A} <schauen> {R:in} nach. / {B} <sein> nicht dort.
{A} <look> {R:in} and {S:in}. | {A} <schauen> {R:in} und {S:in} nach.
@seek_clue A B
{A} <hear> a little laugh. | {A} <hören> ein leises Lachen.
{A} <see> a foot. | {A} <sehen> einen Fuß.
{B} <sneeze>. / "Achoo!" | {B} <niesen>. / "Hatschi!"
@seek_found A B Q : B at Q > A at Q
"I found you!" {A} <shout>. / {B} <be> {Q:in}. | "Gefunden!", <rufen> {A}. / {B} <sein> {Q:in}.
{A} <find> {B:o} {Q:in}. | {A} <finden> {B:acc} {Q:in}.
? Where did {A} find {B:o}? = Q
@seek_not A B
{A} <look> everywhere, but {A:he} <do> not find {B:o}. | {A} <suchen> überall, aber {A:he} <finden> {B:acc} nicht.
@seek_comes B A
{B} <come> out and <laugh>. / "Here I am!" | {B} <kommen> heraus und <lachen>. / "Hier bin ich!"
@swing_waits A x P : > A at P
{A} <want> to go on {x}, but {B} <be> on {x:it}. | {A} <wollen> auf {x:acc}, aber {B} <sein> schon dort.
There <be> only one {x:n}, and {B} <be> first. | Es <geben> nur {x:one acc}, und {B} <sein> zuerst da.
@pushes A B
{A} <push> {B:o}. / "It's my turn now!" | {A} <schubsen> {B:acc}. / "Jetzt bin ich dran!"
"I want it now!" {A} <shout>. | "Ich will jetzt!", <rufen> {A}.
@must_wait M A
"You must wait your turn," {M} <say>. | "Du musst warten, bis du dran bist", <sagen> {M}.
{M} <say>, "First {B:name}, then you." | {M} <sagen>: "Zuerst {B:name}, dann du."
? Who told {A:o} to wait? = M
@waits A n
{A} <sit> down and <wait>. / {A:he} <count> to {n}. | {A} <setzen> sich hin und <warten>. / {A:he} <zählen> bis {n}.
{A} <wait> and <sing> a little song. | {A} <warten> und <singen> ein kleines Lied.
@turn_now B A
"Now it is your turn, {A:voc}," <say> {B}. | "Jetzt bist du dran, {A:voc}", <sagen> {B}.
@turn_fun A
{A} <go> up and down and <laugh>. | {A} <schaukeln> auf und ab und <lachen>.
"Whee!" <say> {A}. / It <be> worth the wait. | "Hui!", <sagen> {A}. / Das Warten <lohnen> sich.
@turn_moral A
{A} <learn> to wait. | {A} <lernen> zu warten.
Waiting <be> not so hard after all. | Warten <sein> gar nicht so schwer.
"""
