# ruff: noqa: E501 - a line of a table is a line
"""Events that belong to one plot or to one of the small scenes on the way."""

TABLE = """
@lose_home A x H : A has x > x at H, A feels sad
But then {A} <can> not find {x:of A}. | Doch dann <können> {A} {x:of A acc} nicht finden.
{A} <put> {x:of A} down and <forget> where. | {A} <legen> {x:of A acc} hin und <vergessen>, wo.
When {A} <come> back from lunch, {x:of A} <be:x> gone! | Als {A} vom Mittagessen <zurück|kommen>, <sein:x> {x:of A} weg!
? What did {A} lose? = x
@duo_loves V
They <like*> to {V} together. | Sie {V:fin*} gern zusammen {V:rest}.
They <love*> to {V}. | Sie <lieben*> es, {V:zu}.
? What did they like to do? = V
@has_friend
{A:p} best friend <be> {B:name}. | {A} <sein> mit {B:name} eng befreundet.
{A} <have> a friend named {B:name}. | {A} <sein> mit {B:name} befreundet.
{A} and {B:friend A} <play*> together every day. | {A} und {B:friend A} <spielen*> jeden Tag zusammen.
? Who was {A:p} friend? = B
@work_moral
They <learn*> that it <be> good to work together. | Sie <lernen*>, dass es gut <sein>, zusammen zu arbeiten.
The moral of the story is to try again. | Die Moral der Geschichte ist, es noch einmal zu versuchen.
@windy
The wind <be> strong that day. | Der Wind <sein> an diesem Tag stark.
It <be> a windy day. | Es <sein> ein windiger Tag.
@tries_alone A
{A} <try> to climb up, but it <be> too high. | {A} <versuchen> hinaufzuklettern, aber es <sein> zu hoch.
{A} <jump> as high as {A:he} <can>, but it <be> not enough. | {A} <springen>, so hoch {A:he} <können>, aber es <reichen> nicht.
@plans A
{A} <have> a secret plan. | {A} <haben> einen geheimen Plan.
{A} <think> about it all day. | {A} <denken> den ganzen Tag daran.
@give_gift A C x : A has x > C has x
{A} <give> {C:o} {x}. | {A} <geben> {C:dat} {x:acc}.
"This is for you," {A} <say> and <give> {C:o} {x}. | "Das ist für dich", <sagen> {A} und <geben> {C:dat} {x:acc}.
? What did {A} give {C:o}? = x
? Who gave {C:o} {x:a}? = A
@everyone_happy
Everyone <be> happy. | Alle <sein*> glücklich.
@plays_in A H : > A at H
{A} <be> playing at home. | {A} <spielen> zu Hause.
{A} <play> in the living room. | {A} <spielen> im Wohnzimmer.
@wants_out A H : > A at H
{A} <want> to go outside, but {A:he} <can> not. | {A} <wollen> nach draußen, aber es <gehen> nicht.
{A} <sit> at the window and <look> at the rain. | {A} <sitzen> am Fenster und <schauen> in den Regen.
"I want to play outside!" <say> {A}. | "Ich will draußen spielen!", <sagen> {A}.
@rain_idea M V
"Let's {V} at home," {M} <say>. | "Lass uns zu Hause {V}", <sagen> {M}.
{M} <have> an idea. / "We can {V}!" | {M} <haben> eine Idee. / "Wir können {V}!"
? Who had the idea? = M
@both_in A M V
{AM} {V:fin*} all afternoon. | {AM} {V:fin*} den ganzen Nachmittag {V:rest}.
@rain_puddles M
"We can jump in the puddles!" <say> {M}. | "Wir können in die Pfützen springen!", <sagen> {M}.
{M} <say>, "Rain can be fun too." | {M} <sagen>: "Regen kann auch Spaß machen."
@boots A M
They <put*> on boots and <jump*> in all the [where: puddles]. | Sie <ziehen*> Stiefel an und <springen*> in alle Pfützen.
{AM} <put*> on raincoats and <go*> out. / Splash! | {AM} <ziehen*> Regenmäntel an und <gehen*> hinaus. / Platsch!
? What did they jump in? = where
@rain_all_day
But it <rain> all day. | Aber es <regnen> den ganzen Tag.
But the rain <do> not stop. | Aber der Regen <hören> nicht auf.
@friend_hat B y : > B has y
{B} <have> {y:a}. | {B} <haben> {y:a acc}.
{B} <bring> {y:a}. | {B} <bringen> {y:a acc} mit.
@noise A H : > A at H
{A} <hear> a strange noise. / Scratch, scratch! | {A} <hören> ein seltsames Geräusch. / Kratz, kratz!
{A} <hear> a loud noise {Q:in}. | {A} <hören> {Q:in} ein lautes Geräusch.
There <be> a noise in the house. / Bump, bump! | Da <sein> ein Geräusch im Haus. / Rums, rums!
@listens A
{A} <sit> up in bed and <listen>. | {A} <setzen> sich im Bett auf und <lauschen>.
"Who is there?" {A} <ask>. / Nobody <answer>. | "Wer ist da?", <fragen> {A}. / Niemand <antworten>.
@brave_look A
{A} <take> a light and <go> to look. | {A} <nehmen> ein Licht und <gehen> nachsehen.
{A} <be> brave and <look> for the noise. | {A} <sein> mutig und <suchen> nach dem Geräusch.
@noise_was N Q H : > N at Q
{Q:in} <sit> {N:a}. | {Q:in} <sitzen> {N:a}.
It <be> {N:a}, {Q:in}! | Es <sein> {N:a}, {Q:in}!
{A} <look> {Q:in}. / There <be> {N:a}! | {A} <schauen> {Q:in} nach. / Da <sein> {N:a}!
? What made the noise? = N
? Where was {N}? = Q
@feed A N x : > N has x
{N} <be> hungry, so {A} <give> it {x:a}. | {N} <haben> Hunger, und {A} <geben> {N:he dat} {x:a acc}.
{A} <bring> {x:a} for {N}. | {A} <bringen> {x:a acc} für {N:acc}.
? What did {A} give {N}? = x
@noise_gone
But there <be> nothing, and then the noise <come> again. | Aber da <sein> nichts, und dann <kommen> das Geräusch wieder.
@again_turn A B
Then {A} <hide> and {B} <count>. | Dann <verstecken> {A} sich und {B} <zählen>.
"Now I will hide," {A} <say>. | "Jetzt verstecke ich mich", <sagen> {A}.
@no_wait A M H : > A at H
But {A} <do> not want to wait, and {M} <take> {A:o} home. | Aber {A} <wollen> nicht warten, und {M} <bringen> {A:acc} nach Hause.
@comfort_tooth M A
"A new one will grow," {M} <say>. | "Es wächst ein neuer", <sagen> {M}.
@tidy_lost A x
{A} <look> all evening, but {A:he} <can> not find {x:of A}. | {A} <suchen> den ganzen Abend, aber {A:he} <können> {x:of A acc} nicht finden.
@cold_dirty A
{A} <go> to bed dirty and <can> not sleep well. | {A} <gehen> schmutzig ins Bett und <können> nicht gut schlafen.
@cookies_made M
{M} <make> cookies. / The house <smell> sweet. | {M} <backen> Kekse. / Das Haus <riechen> süß.
There <be> a big plate of [what: cookies] on the table. | Auf dem Tisch <stehen> ein großer Teller mit Keksen.
? What was on the table? = what
@truth_cookies A
"I ate all the cookies," {A} <say>. / "I'm sorry." | "Ich habe alle Kekse gegessen", <sagen> {A}. / "Es tut mir leid."
@forgive_cookies M A
"Next time, listen to me," {M} <say> and <smile>. | "Hör nächstes Mal auf mich", <sagen> {M} und <lächeln>.
@too_proud A B
But {A} <be> too proud to say sorry. | Aber {A} <sein> zu stolz, um sich zu entschuldigen.
@comfort_show M A
"You can try again next time," {M} <say>. | "Du kannst es nächstes Mal wieder versuchen", <sagen> {M}.
@has_food A x : > A has x
{M} <give> {A:o} {x:a} for lunch. | {M} <geben> {A:dat} {x:a acc} zum Mittagessen.
{A} <have> {x:a} for lunch. | {A} <haben> {x:a acc} zum Mittagessen.
@hungry_says N
"I am so hungry," <say> {N}. | "Ich habe solchen Hunger", <sagen> {N}.
{N} <look> thin and hungry. | {N} <sehen> dünn und hungrig aus.
{N} <look> at {x} with big eyes. | {N} <schauen> {x:acc} mit großen Augen an.
? Who was hungry? = N
@gives_food A N x : A has x > N has x
{A} <give> {N:o} half of {x}. | {A} <geben> {N:dat} die Hälfte von {x:dat}.
{A} <give> {x} to {N}. | {A} <geben> {N:dat} {x:acc}.
"You can have my {x:bare}," {A} <say> to {N}. | "Du kannst {x:my acc} haben", <sagen> {A} zu {N:dat}.
? What did {A} give {N}? = x
? Who gave food to {N}? = A
@animal_eats N
{N} <eat> it all up. / "Thank you!" | {N} <fressen> alles auf. / "Danke!"
{N} <eat> and <be> happy. | {N} <fressen> und <sein> froh.
@eats_alone A x : A has x
But {A} <eat> {x} alone. | Aber {A} <essen> {x:acc} allein.
@n_sad N
{N} <go> away hungry. | {N} <gehen> hungrig davon.
@counts_animals x
{A} <count> {n} {xs}. | {A} <zählen> {x:count acc}.
{A} <see> {n} {xs}. | {A} <sehen> {x:count acc}.
{n} {xs} <come*> by. | {x:count} <kommen*> vorbei.
? How many {xs} were there? = n
@butterfly A
{A} <run> after a butterfly, but it <be> too fast. | {A} <laufen> einem Schmetterling hinterher, aber er <sein> zu schnell.
A butterfly <land> on {A:p} hand. | Ein Schmetterling <setzen> sich auf {A:p fa} Hand.
@hums A
{A} <sing> a happy song. | {A} <singen> ein fröhliches Lied.
{A} <hum> a little song on the way. | {A} <summen> unterwegs ein kleines Lied.
@picks A x : > A has x
{A} <pick> {x:a}. | {A} <pflücken> {x:a acc}.
{A} <pick> {x:a} for {M:o}. | {A} <pflücken> {x:a acc} für {M:acc}.
? What did {A} pick? = x
@ice_cream A
{M} <buy> {A:o} an ice cream. / It <be> cold and sweet. | {M} <kaufen> {A:dat} ein Eis. / Es <sein> kalt und süß.
@greets C
{C:a} <wave> at {A:o}. / "Good morning!" {C:he} <say>. | {C:a} <winken> {A:dat} zu. / "Guten Morgen!", <sagen> {C:he}.
{A} <say> hello to {C:a}. | {A} <grüßen> {C:a acc}.
? Who did {A} say hello to? = C
@clouds A q
{A} <look> up. / One cloud <look> like {q}. | {A} <schauen> nach oben. / Eine Wolke <sehen> wie {q} aus.
? What did the cloud look like? = q
@puddle A
{A} <jump> over a puddle. | {A} <springen> über eine Pfütze.
{A} <jump> in a puddle. / Splash! | {A} <springen> in eine Pfütze. / Platsch!
@drinks A y
{A} <be> thirsty and <drink> {y:a}. | {A} <haben> Durst und <trinken> {y:a acc}.
? What did {A} drink? = y
@rainbow_seen A
There <be> a [see: rainbow] in the sky. / It <have> many colors. | Am Himmel <sein> ein Regenbogen. / Er <haben> viele Farben.
{A} <see> a [see: rainbow]. / "How pretty!" | {A} <sehen> einen Regenbogen. / "Wie schön!"
? What did {A} see in the sky? = see
@small_animal N
{N:a} <sit> on a stone and <look> at {A:o}. | {N:a} <sitzen> auf einem Stein und <schauen> {A:acc} an.
{A} <see> {N:a} in the grass. / It <be> very small. | {A} <sehen> {N:a acc} im Gras. / {N:he} <sein> sehr klein.
? What animal did {A} see? = N
@small_talk N
"Good day," <say> {N}. / "Where are you going?" | "Guten Tag", <sagen> {N}. / "Wohin gehst du?"
{A} <say> hello, and {N} <go> on its way. | {A} <grüßen>, und {N} <gehen> weiter.
@finds_small A x : > A has x
{A} <find> {x:a} on the way and <put> {x:it} in {A:his} pocket. | {A} <finden> unterwegs {x:a acc} und <stecken> {x:it acc} in die Tasche.
? What did {A} put in {A:his} pocket? = x
@why_broken A x : x is broken > A feels sad
{A} <be> [feel: sad] because [why: {x:of A} <be:x> broken]. | {A} <sein> traurig, weil {x:of A} kaputt <sein:x>.
{A} <start> to cry because [why: {x:of A} <be:x> broken]. | {A} <fangen> an zu weinen, weil {x:of A} kaputt <sein:x>.
? Why <be> {A} sad? = why
@why_stuck N
{A} <feel> sorry for {N:o} because [why: {N:he} <be> stuck]. | {N} <tun> {A:dat} leid, weil {N:he} <fest|sitzen>.
? Why <do> {A} feel sorry for {N:o}? = why
@why_alone A M : > A feels scared
{A} <be> [feel: scared] because [why: {A:he} <can> not see {M:o}]. | {A} <haben> Angst, weil {A:he} {M:acc} nicht sehen <können>.
? Why <be> {A} scared? = why
@why_kite A x
{A} <be> upset because [why: {x:of A} <be:x> up in the tree]. | {A} <sein> unglücklich, weil {x:of A} oben im Baum <hängen:x>.
? Why <be> {A} upset? = why
@why_rain A : > A feels sad
{A} <be> [feel: sad] because [why: it <be> raining]. | {A} <sein> traurig, weil es <regnen>.
{A} <be> bored because [why: {A:he} <can> not play outside]. | {A} <sein> gelangweilt, weil {A:he} nicht draußen spielen <können>.
? Why <be> {A} not happy? = why
@why_dark A : > A feels scared
{A} <be> [feel: scared] because [why: it <be> so dark]. | {A} <haben> Angst, weil es so dunkel <sein>.
? Why <be> {A} scared? = why
@why_way A : > A feels scared
{A} <be> [feel: scared] because [why: {A:he} <do> not know the way home]. | {A} <haben> Angst, weil {A:he} den Weg nach Hause nicht <kennen>.
? Why <be> {A} scared? = why
@why_fell A
{A} <be> angry because [why: {A:he} <have> fallen again]. | {A} <sein> wütend, weil {A:he} wieder hingefallen <sein>.
? Why <be> {A} angry? = why
@why_tummy A
{A:p} tummy <hurt> because [why: {A:he} <have> eaten too many cookies]. | {A} <haben> Bauchweh, weil {A:he} zu viele Kekse gegessen <haben>.
? Why <do> {A:p} tummy hurt? = why
@why_hungry N
{N} <be> sad because [why: {N:he} <have> nothing to eat]. | {N} <sein> traurig, weil {N:he} nichts zu fressen <haben>.
? Why <be> {N} sad? = why
@why_again A B : > A feels happy, B feels happy
They <be*> happy because [why: they <be*> friends again]. | Sie <sein*> glücklich, weil sie wieder {AB:friends} <sein*>.
? Why <be*> {AB} happy? = why
@why_share B A : > B feels sad
{B} <be> sad because [why: {A} <do> not share]. | {B} <sein> traurig, weil {A} nicht <teilen>.
? Why <be> {B} sad? = why
@why_helped C A
{C} <be> happy because [why: {A} <have> helped {C:him}]. | {C} <sein> glücklich, weil {A} {C:he dat} geholfen <haben>.
? Why <be> {C} happy? = why
@why_truth M A
{M} <be> proud because [why: {A} <have> told the truth]. | {M} <sein> stolz, weil {A} die Wahrheit gesagt <haben>.
? Why <be> {M} proud? = why
@why_gift C A
{C} <be> happy because [why: {A} <have> thought of {C:him}]. | {C} <sein> glücklich, weil {A} an {C:he acc} gedacht <haben>.
? Why <be> {C} happy? = why
@why_proud A
{A} <be> [feel: proud] because [why: {A:he} <have> not given up]. | {A} <sein> stolz, weil {A:he} nicht aufgegeben <haben>.
? Why <be> {A} proud? = why
"""
