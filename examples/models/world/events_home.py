# ruff: noqa: E501 - a line of a table is a line
"""Events at home: birthdays, baking, grandparents, food, teeth, mishaps and the truth, tidying, baths."""

TABLE = """
@birthday_soon C
It <be> {C:p} birthday. | {C} <haben> Geburtstag.
Tomorrow <be> {C:p} birthday. | Morgen <haben> {C} Geburtstag.
{C:p} birthday <be> coming soon. | Bald <haben> {C} Geburtstag.
? Whose birthday was it? = C
@wants_surprise A C
{A} <want> to give {C:o} a surprise. | {A} <wollen> {C:acc} überraschen.
{A} <want> to make {C:o} happy. | {A} <wollen> {C:acc} glücklich machen.
{A} <want> to make something nice for {C:o}. | {A} <wollen> etwas Schönes für {C:acc} machen.
@makes_gift A x : > A has x
{A} <take> paper and colors and <make> {x:a}. | {A} <nehmen> Papier und Farben und <machen> {x:a acc}.
{A} <sit> down and <make> {x:a}. | {A} <setzen> sich hin und <basteln> {x:a acc}.
{A} <work> all morning and <make> {x:a}. | {A} <arbeiten> den ganzen Morgen und <basteln> {x:a acc}.
? What did {A} make? = x
@hides_gift A x Q : A has x > x at Q
{A} <hide> {x} {Q:in}. | {A} <verstecken> {x:acc} {Q:in}.
"It is a secret," {A} <say> and <hide> {x} {Q:in}. | "Das ist ein Geheimnis", <sagen> {A} und <verstecken> {x:acc} {Q:in}.
? Where did {A} hide {x}? = Q
@fetches_gift A x Q : x at Q > A has x
{A} <take> {x} from the secret place. | {A} <holen> {x:acc} aus dem Versteck.
@balloons A n
{A} and {M} <decorate*> the room with {n} balloons. | {A} und {M} <schmücken*> das Zimmer mit {n} Luftballons.
{M} <help> {A:o} with {n} balloons. | {M} <helfen> {A:dat} mit {n} Luftballons.
? How many balloons were there? = n
@surprise A C
"Surprise!" {A} <shout> when {C} <come> in. | "Überraschung!", <rufen> {A}, als {C} <herein|kommen>.
When {C} <come> home, {A} <shout>, "Happy birthday!" | Als {C} nach Hause <kommen>, <rufen> {A}: "Alles Gute zum Geburtstag!"
? Who shouted when {C} came? = A
@loves_gift C x : C has x
"This is the best present ever!" {C} <say>. | "Das ist das schönste Geschenk überhaupt!", <sagen> {C}.
{C} <look> at {x} and <smile>. | {C} <schauen> {x:acc} an und <lächeln>.
{C} <love> {x}. | {C} <freuen> sich sehr über {x:acc}.
@gift_wet x C
But {x} <be:x> wet and torn. | Aber {x} <sein:x> nass und zerrissen.
@still_loves C A
"It comes from your heart, and that is enough," {C} <say>. | "Es kommt von Herzen, und das reicht", <sagen> {C}.
@wants_bake A M x
{A} and {M} <want*> to bake {x:a}. | {A} und {M} <wollen*> {x:a acc} backen.
"Let's bake {x:a}!" <say> {M}. | "Lass uns {x:a acc} backen!", <sagen> {M}.
{A} <want> to bake {x:a} for {B:o}. | {A} <wollen> {x:a acc} für {B:acc} backen.
? What did {A} want to bake? = x
@mixes A M n
{A} <mix> the flour, the milk and {n} eggs. | {A} <mischen> das Mehl, die Milch und {n} Eier.
{M} <get> {n} eggs, and {A} <stir> with a big spoon. | {M} <holen> {n} Eier, und {A} <rühren> mit einem großen Löffel.
? How many eggs were there? = n
@spills A
{A} <spill> the [what: flour]. / It <go> all over the floor! | {A} <verschütten> das Mehl. / Es <fliegen> über den ganzen Boden!
{A} <drop> the [what: milk], and it <make> a big mess. | {A} <lassen> die Milch fallen, und sie <machen> eine große Pfütze.
Oops! / {A} <get> [what: sugar] all over the table. | Hoppla! / {A} <verstreuen> Zucker über den ganzen Tisch.
? What did {A} spill? = what
@cleans A M
{AM} <clean*> it up together. | {AM} <putzen*> alles zusammen weg.
{A} <take> a cloth and <clean> the floor. | {A} <nehmen> einen Lappen und <putzen> den Boden.
@in_oven M x
{M} <put> {x} in the oven. | {M} <schieben> {x:acc} in den Ofen.
Soon the kitchen <smell> sweet. | Bald <riechen> es in der Küche süß.
@burnt x
But they <forget*> the time, and {x} <be> black. | Aber sie <vergessen*> die Zeit, und {x} <sein> schwarz.
@tasty x A
{x} <be:x> very tasty. | {x} <schmecken:x> sehr gut.
{A} <take> a big bite. / "Yummy!" | {A} <nehmen> einen großen Bissen. / "Lecker!"
{x} <taste:x> so good. | {x} <schmecken:x> so gut.
@shares_food A B x
{A} <give> {B:o} a piece. | {A} <geben> {B:dat} ein Stück.
{A} <share> {x} with {B:o}. | {A} <teilen> {x:acc} mit {B:dat}.
? Who got a piece? = B
@visits A C P : > A at P, C at P
{A} <go> to visit {C:o}. | {A} <besuchen> {C:acc}.
{A} and {M} <go*> to visit {C:o}. | {A} und {M} <besuchen*> {C:acc}.
? Who did {A} visit? = C
@lives_far C
{C} <live> in a small house near the forest. | {C} <wohnen> in einem kleinen Haus beim Wald.
{C} <live> far away, and they <take*> the train. | {C} <wohnen> weit weg, und sie <fahren*> mit dem Zug.
{C} <live> on a farm with many [what: chickens]. | {C} <wohnen> auf einem Bauernhof mit vielen Hühnern.
? What did {C} have on the farm? = what
@brings A x C : > A has x
{A} <bring> {x:a} for {C:o}. | {A} <bringen> {x:a acc} für {C:acc} mit.
@old_story C A
{C} <tell> a story about the old days. | {C} <erzählen> eine Geschichte von früher.
{C} <read> {A:o} a story. | {C} <lesen> {A:dat} eine Geschichte vor.
{C} <show> {A:o} old pictures. | {C} <zeigen> {A:dat} alte Bilder.
@teaches C A V
{C} <teach> {A:o} to {V}. | {C} <bringen> {A:dat} bei, {V:zu}.
"I will teach you to {V}," <say> {C}. | "Ich bringe dir bei, {V:zu}", <sagen> {C}.
? Who taught {A:o}? = C
@miss_home A
At night, {A} <miss> {A:his} own bed. | In der Nacht <vermissen> {A} {A:his na} eigenes Bett.
@goodbye C A
"Come again soon!" <say> {C}. | "Komm bald wieder!", <sagen> {C}.
{C} <wave> for a long time. | {C} <winken> lange.
@new_food M A x
{M} <put> {x:a} on the table. | {M} <stellen> {x:a acc} auf den Tisch.
There <be> {x:a} for dinner. | Zum Abendessen <geben> es {x:a acc}.
{M} <make> {x:a} for lunch. | {M} <machen> zum Mittagessen {x:a acc}.
? What did {M} make? = x
@dislikes A x
"Yuck! I don't like it," {A} <say>. | "Igitt! Das mag ich nicht", <sagen> {A}.
{A} <push> the plate away. / "I don't want it!" | {A} <schieben> den Teller weg. / "Das will ich nicht!"
"It looks strange," <say> {A}. | "Das sieht seltsam aus", <sagen> {A}.
@one_bite M A
"Just try one bite," {M} <say>. | "Probier nur einen Bissen", <sagen> {M}.
{M} <say>, "How do you know if you don't try?" | {M} <sagen>: "Woher weißt du das, wenn du es nicht probierst?"
? Who told {A:o} to try the food? = M
@tries_bite A
{A} <close> {A:his} eyes and <take> a small bite. | {A} <machen> die Augen zu und <nehmen> einen kleinen Bissen.
{A} <smell> it, and then {A:he} <take> a bite. | {A} <riechen> daran, und dann <nehmen> {A:he} einen Bissen.
@likes_it A x
{A} <be> surprised. / "It's good!" | {A} <sein> überrascht. / "Das schmeckt ja gut!"
"Mmm! Can I have more?" {A} <ask>. | "Mmh! Kann ich mehr haben?", <fragen> {A}.
{A} <eat> it all up. | {A} <essen> alles auf.
@not_eat A
{A} <do> not eat and <go> to bed hungry. | {A} <essen> nichts und <gehen> hungrig ins Bett.
@try_moral A
{A} <like> to try new things. | {A} <probieren> gern neue Dinge.
{A} always <try> new food. | {A} <probieren> immer neues Essen.
The moral of the story is to try new things. | Die Moral der Geschichte ist, neue Dinge auszuprobieren.
@loose_tooth A
{A} <have> a loose tooth. / It <wiggle>. | {A} <haben> einen lockeren Zahn. / Er <wackeln>.
{A:p} tooth <be> loose. | {A:p mn} Zahn <wackeln>.
@tooth_afraid A
{A} <be> a little afraid. | {A} <haben> ein bisschen Angst.
"Will it hurt?" {A} <ask>. | "Tut das weh?", <fragen> {A}.
@tooth_told M A
"It only means that you are growing up," <say> {M}. | "Das heißt nur, dass du groß wirst", <sagen> {M}.
{M} <say>, "A new tooth will come." | {M} <sagen>: "Es kommt ein neuer Zahn."
@tooth_out A x
{A} <bite> into {x:a}, and the tooth <come> out! | {A} <beißen> in {x:a acc}, und der Zahn <fallen> heraus!
{A} <eat> {x:a}. / Pop! The tooth <be> out! | {A} <essen> {x:a acc}. / Plopp! Der Zahn <sein> draußen!
? What did {A} eat when the tooth came out? = x
@tooth_pillow A
{A} <put> the tooth [where: under the pillow]. | {A} <legen> den Zahn unter das Kissen.
? Where did {A} put the tooth? = where
@tooth_coin A y : > A has y
There <be> {y:a} under the pillow! | Unter dem Kissen <liegen> {y:a}!
{A} <find> {y:a} under the pillow. | {A} <finden> {y:a acc} unter dem Kissen.
? What did {A} find under the pillow? = y
@tooth_lost A
But the tooth <fall> in the grass, and {A} <can> not find it. | Aber der Zahn <fallen> ins Gras, und {A} <können> ihn nicht finden.
@told_not A M x
"Do not play ball in the house," <say> {M}. | "Spiel im Haus nicht mit dem Ball", <sagen> {M}.
{M} always <say>, "Be careful with {x}." | {M} <sagen> immer: "Sei vorsichtig mit {x:dat}."
@breaks_house A x : > x is broken
{A} <run> too fast and <bump> into {x}. / {x} <break>. | {A} <rennen> zu schnell und <stoßen> gegen {x:acc}. / {x} <gehen> kaputt.
{A} <throw> a ball. / It <hit> {x}, and {x} <break>. | {A} <werfen> einen Ball. / Er <treffen> {x:acc}, und {x} <gehen> kaputt.
Crash! / {A} <knock> over {x} and {x:they} <break>. | Klirr! / {A} <stoßen> {x:acc} um und {x:they} <gehen> kaputt.
? Who broke {x}? = A
? What did {A} break? = x
@think_lie A
{A} <want> to run away. | {A} <wollen> weglaufen.
{A} <think>, "Nobody saw me." | {A} <denken>: "Niemand hat mich gesehen."
{A} <hide> the pieces under the rug. | {A} <verstecken> die Scherben unter dem Teppich.
@who_did M x
"Who broke {x}?" {M} <ask>. | "Wer hat {x:acc} kaputt gemacht?", <fragen> {M}.
{M} <come> in. / "What happened here?" | {M} <kommen> herein. / "Was ist hier passiert?"
@truth A M x
"It was me. I am sorry," <say> {A}. | "Ich war es. Es tut mir leid", <sagen> {A}.
{A} <tell> the truth. / "I did it." | {A} <sagen> die Wahrheit. / "Ich habe es getan."
{A} <look> down. / "I broke it," {A:he} <say>. | {A} <schauen> zu Boden. / "Ich habe es kaputt gemacht", <sagen> {A:he}.
? Who told the truth? = A
@lie A
"I don't know," {A} <say>. / But that <be> not true. | "Ich weiß es nicht", <sagen> {A}. / Aber das <stimmen> nicht.
"It was the cat," <say> {A}. / But it <be> not the cat. | "Es war die Katze", <sagen> {A}. / Aber die Katze <sein> es nicht.
@truth_good M A
"Thank you for telling the truth," {M} <say>. | "Danke, dass du die Wahrheit gesagt hast", <sagen> {M}.
{M} <be> not angry. / "It was brave to tell me," {M:he} <say>. | {M} <sein> nicht böse. / "Es war mutig, mir das zu sagen", <sagen> {M:he}.
@glue_vase AM x : x is broken > x is fixed
They <fix*> {x} together with glue. | Sie <kleben*> {x:acc} zusammen.
@truth_moral A
{A} <remember> that day and <be> always honest. | {A} <denken> an diesen Tag und <sein> immer ehrlich.
{A} always <tell> the truth. | {A} <sagen> immer die Wahrheit.
{A} <know> that it <be> best to tell the truth. | {A} <wissen>, dass die Wahrheit am besten <sein>.
@messy_room A
{A:p} room <be> a big mess. | {A:p nn} Zimmer <sein> sehr unordentlich.
There <be*> toys all over the floor. | Überall auf dem Boden <liegen*> Spielsachen.
@tidy_please M A
"Please clean up your room," {M} <say>. | "Räum bitte dein Zimmer auf", <sagen> {M}.
{M} <ask> {A:o} to put the toys away. | {M} <bitten> {A:acc}, die Spielsachen wegzuräumen.
? Who asked {A:o} to clean up? = M
@no_tidy A
"I don't want to," {A} <say>. | "Ich will nicht", <sagen> {A}.
{A} <want> to play and not to clean. | {A} <wollen> lieber spielen als aufräumen.
@trip A x
{A} <step> on {y:a} and <fall>. / "Ouch!" | {A} <treten> auf {y:a acc} und <fallen> hin. / "Aua!"
{A} <can> not find {x:of A} in all the mess. | {A} <können> {x:of A acc} in der ganzen Unordnung nicht finden.
@tidy_song A M
{A} and {M} <sing*> a song and <put*> the toys in a box. | {A} und {M} <singen*> ein Lied und <räumen*> die Spielsachen in eine Kiste.
{A} <put> the books on the shelf and the toys in the box. | {A} <stellen> die Bücher ins Regal und <legen> die Spielsachen in die Kiste.
{AM} <make*> a game of it. | {AM} <machen*> ein Spiel daraus.
@tidy_done A
The room <be> clean and {A} <find> {x:of A}! | Das Zimmer <sein> sauber und {A} <finden> {x:of A acc}!
Everything <be> in its place. | Alles <sein> an seinem Platz.
@gets_dirty A
{A} <jump> in the mud and <get> very dirty. | {A} <springen> in den Matsch und <werden> sehr schmutzig.
{A} <play> in the mud all day. / {A:p} face <be> brown. | {A} <spielen> den ganzen Tag im Matsch. / {A:p nn} Gesicht <sein> braun.
@bath_time M A
"Time for a bath," {M} <say>. | "Zeit für ein Bad", <sagen> {M}.
@no_bath A
{A} <do> not like baths and <run> away. | {A} <baden> nicht gern und <laufen> weg.
"No bath!" {A} <shout>. | "Nicht baden!", <rufen> {A}.
@bath_toy M A x
{M} <put> {x:a} in the water. | {M} <legen> {x:a acc} ins Wasser.
{M} <make> a lot of bubbles. / They <be*> big and round. | {M} <machen> viele Seifenblasen. / Sie <sein*> groß und rund.
@bath_fun A
{A} <splash> and <laugh>. | {A} <planschen> und <lachen>.
{A} <be> clean and warm. | {A} <sein> sauber und warm.
@bath_never A
{A} <like> to take a bath. | {A} <baden> gern.
@too_many A x
{A} <eat> one, and then another, and then all of them. | {A} <essen> einen Keks, und dann noch einen, und dann alle.
@dinner_wait M
"Only one before dinner," <say> {M}. | "Nur einen vor dem Essen", <sagen> {M}.
@tummy A
{A:p} tummy <hurt>. | {A} <haben> Bauchweh.
"My tummy hurts," {A} <say>. | "Mein Bauch tut weh", <sagen> {A}.
{A} <feel> bad and <lie> down. | {A} <fühlen> sich schlecht und <legen> sich hin.
@tea M A
{M} <bring> {A:o} [tea: warm tea] and <sit> with {A:o}. | {M} <bringen> {A:dat} warmen Tee und <setzen> sich zu {A:him dat}.
? What did {M} bring {A:o}? = tea
@enough A
{A} <know> when it <be> enough. | {A} <wissen>, wann es genug <sein>.
{A} never <eat> too many cookies again. | {A} <essen> nie wieder zu viele Kekse.
"""
