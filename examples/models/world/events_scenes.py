# ruff: noqa: E501 - a line of a table is a line
"""Events of the small plots that may happen within any other: favours, meetings, play on the way, thoughts, dreams."""

TABLE = """
@sees_trouble A N
On the way, {A} <see> {N:a}. / It <look> sad. | Unterwegs <sehen> {A} {N:a acc}. / {N:he} <sehen> traurig aus.
"Please help me," <say> {N:a}. | "Bitte hilf mir", <sagen> {N:a}.
{N:a} <sit> by the path and <cry>. | {N:a} <sitzen> am Weg und <weinen>.
? Who needed help? = N
@asks_matter A N
"What is the matter?" {A} <ask>. | "Was hast du?", <fragen> {A}.
"Why are you so sad?" <ask> {A}. | "Warum bist du so traurig?", <fragen> {A}.
{A} <stop> and <ask>, "Can I help you?" | {A} <bleiben> stehen und <fragen>: "Kann ich dir helfen?"
@trouble_home N
"I can't find my way home," {N} <say>. | "Ich finde den Weg nach Hause nicht", <sagen> {N}.
"I am lost," <say> {N}. / "I want to go home." | "Ich habe mich verlaufen", <sagen> {N}. / "Ich will nach Hause."
@walks_home_n A N
{A} <walk> with {N:o} until they <see*> its home. | {A} <gehen> mit {N:dat}, bis sie {N:his na} Zuhause <sehen*>.
{A} <show> {N:o} the way. | {A} <zeigen> {N:dat} den Weg.
? Who showed {N} the way home? = A
@trouble_thirsty N
"I am so thirsty," {N} <say>. | "Ich habe solchen Durst", <sagen> {N}.
@gives_water A N
{A} <bring> some water in {A:his} hands. | {A} <bringen> etwas Wasser in den Händen.
{A} <get> a cup of water, and {N} <drink> it all. | {A} <holen> eine Tasse Wasser, und {N} <trinken> alles aus.
@trouble_fell N
"I fell out of my nest," {N} <say>. | "Ich bin aus dem Nest gefallen", <sagen> {N}.
@back_to_nest A N
{A} <lift> {N:o} up and <put> {N:him} back. | {A} <heben> {N:acc} hoch und <setzen> {N:he acc} zurück.
? Who put {N} back in the nest? = A
@trouble_legs N
{N} <lie> on its back and <can> not get up. | {N} <liegen> auf dem Rücken und <können> nicht aufstehen.
@turns_over A N
{A} <turn> {N:o} over with one finger. | {A} <drehen> {N:acc} mit einem Finger um.
{A} <take> a leaf and <help> {N:o} up. | {A} <nehmen> ein Blatt und <helfen> {N:dat} auf.
@trouble_cold N
"I am so cold," {N} <say>. | "Mir ist so kalt", <sagen> {N}.
@warms A N
{A} <put> some dry leaves around {N:o}. | {A} <legen> trockene Blätter um {N:acc}.
{A} <hold> {N:o} in {A:his} warm hands. | {A} <halten> {N:acc} in den warmen Händen.
@n_thanks N A
"Thank you! You are so kind," <say> {N}. | "Danke! Du bist so lieb", <sagen> {N}.
{N} <thank> {A:o} and <smile>. | {N} <danken> {A:dat} und <lächeln>.
"I will not forget you," {N} <say>. | "Ich vergesse dich nicht", <sagen> {N}.
? Who thanked {A:o}? = N
@goes_on A
{A} <wave> and <go> on {A:his} way. | {A} <winken> und <gehen> weiter.
{A} <feel> good and <walk> on. | {A} <fühlen> sich gut und <gehen> weiter.
@plays_tag A N
{A} and {N:name} <play*> tag for a while. | {A} und {N:name} <spielen*> eine Weile Fangen.
{A} <run> after {N:o}, and then {N} <run> after {A:o}. | {A} <laufen> {N:dat} nach, und dann <laufen> {N} {A:dat} nach.
@says_play N A
"Do you want to play?" <ask> {N}. | "Willst du spielen?", <fragen> {N}.
{N} <say>, "Let's play together!" | {N} <sagen>: "Lass uns zusammen spielen!"
@must_go A N
"I have to go now," {A} <say>. / "See you soon!" | "Ich muss jetzt gehen", <sagen> {A}. / "Bis bald!"
"That was fun!" {A} <say> and <wave> goodbye. | "Das hat Spaß gemacht!", <sagen> {A} und <winken> zum Abschied.
@shower
A little rain <fall>. | Ein kleiner Regen <fallen>.
Some drops of rain <fall*> from the sky. | Ein paar Regentropfen <fallen*> vom Himmel.
@under_tree A
{A} <stand> under a big tree until it <stop>. | {A} <stehen> unter einem großen Baum, bis der Regen <auf|hören>.
{A} <hold> a big leaf over {A:his} head. | {A} <halten> ein großes Blatt über {A:his na} Kopf.
@sniff A
The air <smell> fresh and clean. | Die Luft <riechen> frisch und sauber.
@tells_all A M
At home, {A} <tell> {M:o} all about it. | Zu Hause <erzählen> {A} {M:dat} alles.
{A} <run> home and <tell> {M:o} everything. | {A} <laufen> nach Hause und <erzählen> {M:dat} alles.
"Guess what happened!" {A} <say> to {M:o}. | "Rate mal, was passiert ist!", <sagen> {A} zu {M:dat}.
? Who did {A} tell about it? = M
@listens_m M A
"You had a big adventure!" {M} <say>. | "Du hast ein großes Abenteuer erlebt!", <sagen> {M}.
{M} <want> to hear everything. | {M} <wollen> alles hören.
{M} <listen> and <smile>. | {M} <hören> zu und <lächeln>.
"What a day!" {M} <say> and <laugh>. | "Was für ein Tag!", <sagen> {M} und <lachen>.
"I am so glad," {M} <say>. | "Das freut mich sehr", <sagen> {M}.
@dinner M y
Then they <eat*> {y:a} for dinner. | Dann <essen*> sie {y:a acc} zum Abendessen.
For dinner, {M} <make> {y:a}. | Zum Abendessen <machen> {M} {y:a acc}.
? What did they have for dinner? = y
@bedtime A M
At night, {M} <read> {A:o} a story and <kiss> {A:o} good night. | Am Abend <lesen> {M} {A:dat} eine Geschichte vor und <geben> {A:him dat} einen Gutenachtkuss.
At bedtime, {M} <sing> a soft song for {A:o}. | Zur Schlafenszeit <singen> {M} ein leises Lied für {A:acc}.
{M} <turn> off the light and <say>, "Sweet dreams." | {M} <machen> das Licht aus und <sagen>: "Träum schön."
"Good night, {A:voc}," <say> {M}. / "I love you." | "Gute Nacht, {A:voc}", <sagen> {M}. / "Ich hab dich lieb."
@love_back A
"I love you too," {A} <say>. | "Ich hab dich auch lieb", <sagen> {A}.
@breakfast A x M
One morning, {A} <eat> {x:a} and <get> ready. | Eines Morgens <essen> {A} {x:a acc} und <machen> sich fertig.
One day, {A} <wake> up early and <eat> {x:a} for breakfast. | Eines Tages <wachen> {A} früh auf und <essen> {x:a acc} zum Frühstück.
? What did {A} eat for breakfast? = x
@dresses A y : > A has y
It <be> a cold day, so {A} <put> on {y:a}. | Es <sein> ein kalter Tag, und {A} <ziehen> {y:a acc} an.
One day, {A} <put> on {y:a} and <go> out. | Eines Tages <ziehen> {A} {y:a acc} an und <gehen> hinaus.
? What did {A} put on? = y
@have_fun M A
"Have fun and be careful," {M} <say>. | "Viel Spaß und sei vorsichtig", <sagen> {M}.
"Don't go too far," <say> {M}. | "Geh nicht zu weit weg", <sagen> {M}.
{M} <kiss> {A:o} and <wave> goodbye. | {M} <küssen> {A:acc} und <winken> zum Abschied.
@i_will A
"I will be careful," {A} <say>. | "Ich passe auf", <sagen> {A}.
"Yes, {M:voc}!" {A} <say>. | "Ja, {M:voc}!", <sagen> {A}.
@no_know A
{A} <need> help. | {A} <brauchen> Hilfe.
"I don't understand," {A} <say>. | "Das verstehe ich nicht", <sagen> {A}.
"Can anyone hear me?" {A} <ask>. | "Hört mich jemand?", <fragen> {A}.
{A} <wish> someone <be> there. | {A} <wünschen> sich jemanden herbei.
{A} <want> to talk to someone. | {A} <wollen> mit jemandem reden.
It <seem> that nothing <can> help. | Es <scheinen>, als ob nichts helfen könnte.
"What can I do?" {A} <think>. | "Was kann ich tun?", <denken> {A}.
"This is not good," {A} <say> softly. | "Das ist nicht gut", <sagen> {A} leise.
{A} <look> around, but nobody <be> there. | {A} <sehen> sich um, aber niemand <sein> da.
"Oh no!" {A} <cry>. | "Oh nein!", <rufen> {A}.
"Oh dear!" <say> {A}. / "What now?" | "O je!", <sagen> {A}. / "Was nun?"
@deep_breath A
{A} <take> a deep breath. | {A} <holen> tief Luft.
{A} <try> to be brave. | {A} <versuchen>, mutig zu sein.
{A} <close> {A:his} eyes for a moment. | {A} <schließen> einen Moment die Augen.
"It will be okay," {A} <think>. | "Alles wird gut", <denken> {A}.
@relieved A
It <be> a big relief. | Das <sein> eine große Erleichterung.
{A} <take> a deep breath and <smile>. | {A} <atmen> tief durch und <lächeln>.
"Yay!" {A} <cheer>. | "Juhu!", <jubeln> {A}.
{A} <do> not feel bad any longer. | {A} <fühlen> sich nicht mehr schlecht.
At last, everything <be> fine. | Endlich <sein> alles gut.
{A} <be> so relieved. | {A} <sein> so erleichtert.
{A} <feel> much better. | {A} <fühlen> sich viel besser.
What a surprise! | Was für eine Überraschung!
"Hooray!" {A} <shout>. | "Hurra!", <rufen> {A}.
"Wow! That is amazing!" <say> {A}. | "Wow! Das ist toll!", <sagen> {A}.
@agrees A
"Are you sure?" {A} <ask>. / "Yes!" | "Bist du sicher?", <fragen> {A}. / "Ja!"
"Okay, let's go!" {A} <say>. | "Gut, los geht's!", <sagen> {A}.
"Yes, please!" <say> {A}. | "Ja, bitte!", <sagen> {A}.
{A} <nod> and <wipe> {A:his} eyes. | {A} <nicken> und <wischen> sich die Augen.
"Really? That would be great," {A} <say>. | "Wirklich? Das wäre toll", <sagen> {A}.
{A} <agree>. | {A} <sein> einverstanden.
{A} <feel> a little better. | {A} <fühlen> sich ein bisschen besser.
@says_love A
"I love you, {M:voc}," {A} <say>. | "Ich hab dich lieb, {M:voc}", <sagen> {A}.
"Thank you, {M:voc}," {A} <reply> with a smile. | "Danke, {M:voc}", <antworten> {A} mit einem Lächeln.
{A} <smile> back. | {A} <lächeln> zurück.
@again A
{A} <hope> for many more adventures. | {A} <hoffen> auf viele weitere Abenteuer.
{A} <look> forward to the next adventure. | {A} <freuen> sich auf das nächste Abenteuer.
The next day, {A} <want> to do it all again. | Am nächsten Tag <wollen> {A} alles noch einmal machen.
"Can we do it again tomorrow?" {A} <ask>. | "Können wir das morgen wieder machen?", <fragen> {A}.
{A} never <forget> that day. | {A} <vergessen> diesen Tag nie.
{A} often <think> about that day. | {A} <denken> oft an diesen Tag.
{A} <can> not wait for the next day. | {A} <können> den nächsten Tag kaum erwarten.
It <be> a day to remember. | Es <sein> ein unvergesslicher Tag.
@sad_after A
The next day, everything <be> a little better. | Am nächsten Tag <sein> alles ein bisschen besser.
{A} <hope> for a better day. | {A} <hoffen> auf einen besseren Tag.
{A} <do> not want to talk about it. | {A} <wollen> nicht darüber reden.
{A} <learn> something that day. | {A} <lernen> an diesem Tag etwas.
@moon A
The moon <be> round and bright, and {A} <look> at the stars. | Der Mond <sein> rund und hell, und {A} <schauen> die Sterne an.
That night, the stars <be*> very bright. / {A} <look> up and <smile>. | In dieser Nacht <sein*> die Sterne sehr hell. / {A} <schauen> hoch und <lächeln>.
When the sun <go> down, {A} <be> tired. | Als die Sonne <unter|gehen>, <sein> {A} müde.
@in_bed A
In bed, {A} <think> about the day. | Im Bett <denken> {A} an den Tag.
Soon, {A} <be> fast asleep. | Bald <schlafen> {A} tief und fest.
@eats_dinner M y
For dinner, they <have*> {y:a}. | Zum Abendessen <geben> es {y:a acc}.
{M} <make> {y:a}, and they all <eat*> together. | {M} <machen> {y:a acc}, und alle <essen*> zusammen.
At home, {M} <be> waiting with {y:a}. | Zu Hause <warten> {M} mit {y:a dat}.
? What did they have for dinner? = y
"""
