# ruff: noqa: E501 - a line of a table is a line
"""Events of animals, plants and weather."""

TABLE = """
@hears_cry A N P : A at P > N at P
{A} <hear> a small voice. / It <be> {N:a}. | {A} <hören> eine leise Stimme. / Es <sein> {N:a}.
{A} <hear> a sound. / {A:he} <look> up and <see> {N:a}. | {A} <hören> ein Geräusch. / {A:he} <schauen> hoch und <sehen> {N:a acc}.
{A} <see> {N:a}. | {A} <sehen> {N:a acc}.
? What animal did {A} see? = N
@stuck N T P : > N at P, N is stuck
{N} <be> stuck [where: in a tall tree]. | {N} <sitzen> auf einem hohen Baum fest.
{N} <be> [where: high up in a tree] and <can> not get down. | {N} <sitzen> hoch oben in einem Baum und <können> nicht herunter.
"Help! I can't get down!" <say> {N}. / {N} <be> [where: in a tree]. | "Hilfe! Ich komme nicht herunter!", <sagen> {N}. / {N} <sitzen> in einem Baum.
? Where was {N} stuck? = where
@tries_reach A N : N is stuck
{A} <try> to climb up, but the branch <be> too high. | {A} <versuchen> hinaufzuklettern, aber der Ast <sein> zu hoch.
{A} <jump> and <jump>, but {A:he} <can> not reach {N:o}. | {A} <springen> immer wieder, aber {A:he} <kommen> nicht an {N:acc} heran.
{A} <be> too small to reach {N:o}. | {A} <sein> zu klein, um an {N:acc} heranzukommen.
@gets_help A M P : > M at P
{A} <run> to get {M:o}. | {A} <laufen> los, um {M:acc} zu holen.
{A} <call> {M:o} for help. | {A} <rufen> {M:acc} zu Hilfe.
{A} <ask> {M:o} to help. | {A} <bitten> {M:acc} um Hilfe.
? Who did {A} call for help? = M
@rescue M N x : N is stuck > N is free
{M} <bring> {x:a} and <take> {N} down. | {M} <bringen> {x:a acc} und <holen> {N:acc} herunter.
{M} <get> {x:a} and <help> {N:o} down. | {M} <holen> {x:a acc} und <helfen> {N:dat} herunter.
With {x:a}, {M} <help> {N:o} get down. | Mit {x:a dat} <helfen> {M} {N:dat} herunter.
? What did {M} use to help {N:o}? = x
? Who helped {N:o} down? = M
@runs_off N : N is stuck > N is free
Then {N} <jump> down by itself and <run> away. | Dann <springen> {N} von allein herunter und <laufen> weg.
{N} <be> so scared that {N:he} <jump> and <run> away. | {N} <haben> solche Angst, dass {N:he} <springen> und <weg|laufen>.
@animal_safe N
{N} <be> safe now. | {N} <sein> jetzt in Sicherheit.
{N} <be> safe and happy. | {N} <sein> sicher und froh.
@animal_thanks N A
"Thank you for saving me!" <say> {N}. | "Danke, dass du mich gerettet hast!", <sagen> {N}.
{N} <look> at {A:o} with happy eyes. | {N} <schauen> {A:acc} mit frohen Augen an.
"Thank you, {A:voc}," <say> {N}. / "You are my friend." | "Danke, {A:voc}", <sagen> {N}. / "Du bist lieb."
@animal_friend A N
{A} and {N:name} <be*> friends. | {A} und {N:name} <sein*> Freunde.
{A} and {N:name} often <play*> together. | {A} und {N:name} <spielen*> oft zusammen.
{N} often <come> to visit {A:o}. | {N} <besuchen> {A:acc} oft.
@hurt_wing A N P : A at P > N at P, N is hurt
{A} <see> {N:a} on the ground. / It <have> a hurt [what: wing]. | {A} <sehen> {N:a acc} auf dem Boden. / {N:he} <haben> einen verletzten Flügel.
{A} <find> {N:a}. / {N} <can> not fly because [why: its [what: wing] <be> hurt]. | {A} <finden> {N:a acc}. / {N} <können> nicht fliegen, denn {N:his mn} Flügel <sein> verletzt.
? What was hurt? = what
? Why could {N} not fly? = why
@carry_home A N x H : N is hurt > A at H, N at H
{A} <put> {N} in {x:a} and <take> {N:o} home. | {A} <setzen> {N:acc} in {x:a acc} und <nehmen> {N:he acc} mit nach Hause.
{A} <carry> {N} home in {x:a}. | {A} <tragen> {N:acc} in {x:a dat} nach Hause.
? What did {A} carry {N} home in? = x
@heals A N M : N is hurt > N is well
{A} <give> {N} water and food. / Day by day, {N} <get> stronger. | {A} <geben> {N:dat} Wasser und Futter. / Tag für Tag <werden> {N} stärker.
{A} and {M} <take*> good care of {N}. / After [long: a week], the wing <be> well again. | {A} und {M} <kümmern*> sich gut um {N:acc}. / Nach einer Woche <sein> der Flügel wieder gesund.
{M} <put> a soft bandage on the wing. / {A} <feed> {N:o} every day. | {M} <legen> einen weichen Verband um den Flügel. / {A} <füttern> {N:acc} jeden Tag.
? How long did it take until the wing was well? = long
@flies_free A N : N is well
{A} <open> {A:his} hands, and {N} <fly> up into the sky. | {A} <öffnen> die Hände, und {N} <fliegen> in den Himmel hinauf.
{N} <flap> its wings and <fly> away. | {N} <schlagen> mit den Flügeln und <fliegen> davon.
@waves_bye A N
"Goodbye, little friend!" {A} <say>. | "Auf Wiedersehen, kleiner Freund!", <sagen> {A}.
{A} <wave> goodbye. | {A} <winken> zum Abschied.
{A} <be> a little sad, but also happy. | {A} <sein> ein bisschen traurig, aber auch froh.
@sings_back N A
{N} <come> back and <sing> a song at {A:p} window. | {N} <kommen> zurück und <singen> an {A:p nd} Fenster ein Lied.
@has_seed A x M : > A has seed
{M} <give> {A:o} a little seed. | {M} <geben> {A:dat} einen kleinen Samen.
{A} <find> a tiny seed. | {A} <finden> einen winzigen Samen.
@plants_seed A P : A has seed > A at P, not A has seed
{A} <dig> a hole {P:in} and <put> the seed in. | {A} <graben> {P:in} ein Loch und <legen> den Samen hinein.
{A} <plant> the seed {P:in}. | {A} <pflanzen> {P:in} den Samen.
? Where did {A} plant the seed? = P
@waters A
{A} carefully <water> the little seed. | {A} <gießen> den kleinen Samen sorgfältig.
{A} <give> it water and <wait>. | {A} <gießen> die Erde und <warten>.
{A} <water> it every day. | {A} <gießen> die Erde jeden Tag.
Every morning, {A} <look> at the ground. / But nothing <happen>. | Jeden Morgen <schauen> {A} auf die Erde. / Aber nichts <geschehen>.
@impatient A
"Why does it not grow?" {A} <ask>. | "Warum wächst es nicht?", <fragen> {A}.
{A} <get> sad because [why: nothing <come> up]. | {A} <werden> traurig, weil nichts <wachsen>.
? Why <do> {A} get sad? = why
@wait_says M A
"You must be patient," {M} <say>. | "Du musst Geduld haben", <sagen> {M}.
"Good things take time," <say> {M}. | "Gute Dinge brauchen Zeit", <sagen> {M}.
{M} <say>, "Give it water, sun and love." | {M} <sagen>: "Gib ihm Wasser, Sonne und Liebe."
@sprout A
{A} <see> something small and green. | {A} <sehen> etwas Kleines und Grünes.
{A} <see> a tiny green leaf. | {A} <sehen> ein winziges grünes Blatt.
@grown x A : > A has x
It <grow> and <grow> until it <be> {x:a}. | Es <wachsen> und <wachsen>, bis es {x:a} <sein>.
After many days, {A} <have> {x:a}. | Nach vielen Tagen <haben> {A} {x:a acc}.
It <become> {x:a}. | Es <werden> {x:a}.
? What grew from the seed? = x
@not_grown A
But {A} <forget> to water it, and it <do> not grow. | Aber {A} <vergessen> das Gießen, und es <wachsen> nichts.
But it <be> too dry, and nothing <grow>. | Aber es <sein> zu trocken, und nichts <wachsen>.
@patient_moral A
{A} <learn> to be patient. | {A} <lernen>, geduldig zu sein.
The moral of the story is that good things take time. | Die Moral der Geschichte ist: Gute Dinge brauchen Zeit.
@storm_comes
Black clouds <come*>, and it <begin> to rain. | Schwarze Wolken <kommen*>, und es <beginnen> zu regnen.
The sky <get> dark and the wind <blow> hard. | Der Himmel <werden> dunkel und der Wind <blasen> stark.
There <be> a big [what: storm]. / The thunder <go> boom! | Es <geben> ein großes Gewitter. / Der Donner <machen> bumm!
It <start> to rain, and the thunder <be> very loud. | Es <fangen> an zu regnen, und der Donner <sein> sehr laut.
@hides A Q : > A at Q
{A} <be> scared because [why: the thunder <be> so loud], and {A:he} <hide> {Q:in}. | {A} <haben> Angst, weil der Donner so laut <sein>, und {A:he} <verstecken> sich {Q:in}.
? Why was {A} scared? = why
{A} <hide> {Q:in}. | {A} <verstecken> sich {Q:in}.
{A} <be> so scared that {A:he} <hide> {Q:in}. | {A} <haben> solche Angst, dass {A:he} sich {Q:in} <verstecken>.
? Where did {A} hide? = Q
@comfort M A
{M} <say>, "Everything will be okay." | {M} <sagen>: "Alles wird gut."
"You are safe with me," {M} <reply>. | "Bei mir bist du sicher", <antworten> {M}.
"It is only a noise," {M} <say>. / "It can't hurt you." | "Das ist nur ein Geräusch", <sagen> {M}. / "Es tut dir nichts."
"Don't be afraid, I am here," <say> {M}. | "Hab keine Angst, ich bin da", <sagen> {M}.
{M} <hold> {A:o} tight. | {M} <halten> {A:acc} fest.
{M} <sing> a soft song for {A:o}. | {M} <singen> ein leises Lied für {A:acc}.
? Who was with {A:o}? = M
@storm_game M A
{AM} <count*> the seconds between the light and the boom. | {AM} <zählen*> die Sekunden zwischen Blitz und Donner.
{AM} <tell*> funny stories until the storm <be> over. | {AM} <erzählen*> lustige Geschichten, bis das Gewitter vorbei <sein>.
{AM} <drink*> warm milk and <wait*>. | {AM} <trinken*> warme Milch und <warten*>.
@storm_over
The storm <stop>, and the sun <come> out again. | Das Gewitter <hören> auf, und die Sonne <kommen> wieder heraus.
The rain <stop>. / There <be> a beautiful [see: rainbow] in the sky. | Der Regen <hören> auf. / Am Himmel <sein> ein schöner Regenbogen.
? What was in the sky after the rain? = see
@storm_stays
The storm <go> on all night. | Das Gewitter <dauern> die ganze Nacht.
@not_afraid A
{A} <feel> much stronger now. | {A} <fühlen> sich jetzt viel stärker.
{A} <be> not afraid anymore. | {A} <haben> keine Angst mehr.
{A} <feel> brave. | {A} <fühlen> sich mutig.
{A} <know> that there <be> nothing to fear. | {A} <wissen>, dass es nichts zu fürchten <geben>.
@dark_room A H : > A at H
It <be> dark in {A:p} room. | In {A:p nd} Zimmer <sein> es dunkel.
{A} <lie> in bed, but it <be> very dark. | {A} <liegen> im Bett, aber es <sein> sehr dunkel.
@sees_shape A q
{A} <see> a big shadow on the wall. / It <look> like {q}. | {A} <sehen> einen großen Schatten an der Wand. / Er <sehen> wie {q} aus.
There <be> a strange shadow. / {A} <think> it <be> {q}. | Da <sein> ein seltsamer Schatten. / {A} <glauben>, es <sein> {q}.
? What did the shadow look like? = q
@calls A M H : > M at H
"{M:voc}! I'm scared!" {A} <shout>. | "{M:voc}! Ich habe Angst!", <rufen> {A}.
{A} <call> {M:o}. | {A} <rufen> {M:acc}.
@light_on M x r
{M} <turn> on the light. / It <be> only {r}! | {M} <machen> das Licht an. / Es <sein> nur {r}!
{M} <come> with a light. / The shadow <be> only {r}. | {M} <kommen> mit einem Licht. / Der Schatten <sein> nur {r}.
? What was the shadow really? = r
@night_light M A x : > A has x
{M} <give> {A:o} {x:a}. | {M} <geben> {A:dat} {x:a acc}.
{M} <put> {x:a} next to {A:p} bed. | {M} <stellen> {x:a acc} neben {A:p na} Bett.
? What did {M} give {A:o}? = x
@sleeps A
{A} <close> {A:his} eyes and <fall> asleep. | {A} <machen> die Augen zu und <schlafen> ein.
{A} <sleep> all night. | {A} <schlafen> die ganze Nacht.
@cannot_sleep A
But {A} <can> not sleep and <lie> awake all night. | Aber {A} <können> nicht schlafen und <liegen> die ganze Nacht wach.
@runs_away_window N
{N} <be> gone in the morning. / The window <be> open. | {N} <sein> am Morgen weg. / Das Fenster <sein> offen.
@nobody_came A
But nobody <hear> {A:o}. | Aber niemand <hören> {A:acc}.
@laughs_at_it A M
{A} and {M} <laugh*>. | {A} und {M} <lachen*>.
{A} <start> to laugh. | {A} <fangen> an zu lachen.
"How silly!" {A} <laugh>. | "Wie albern!", <lachen> {A}.
"""
