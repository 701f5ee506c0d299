# ruff: noqa: E501 - a line of a table is a line
"""Events that many stories share: beginnings, journeys, feelings, talk, thanks, endings."""

TABLE = """
@begin_named
6* Once upon a time, there was {A:a} named {A:name}. | Es war einmal {A:a} namens {A:name}.
2* Once upon a time, there was {A:a} called {A:name}. | Es war einmal {A:a} namens {A:name}.
3* Once upon a time there was {A:a} named {A:name}. | Es war einmal {A:a} namens {A:name}.
Once there was {A:a} named {A:name}. | Es gab einmal {A:a acc} namens {A:name}.
Once there was {A:a} called {A:name}. | Es gab einmal {A:a acc} namens {A:name}.
Once upon a time, there lived {A:a} named {A:name}. | Es lebte einmal {A:a} namens {A:name}.
2* Once upon a time, there was {A:a}. / {A:his} name <be> {A:name}. | Es war einmal {A:a}. / {A:his mn} Name <sein> {A:name}.
{A:name} <be> {A:a}. | {A:name} <sein> {A:a}.
Once upon a time, in a small town, there was {A:a} named {A:name}. | Es war einmal in einer kleinen Stadt {A:a} namens {A:name}.
In a little house by a hill lived {A:a} named {A:name}. | In einem kleinen Haus an einem Hügel lebte {A:a} namens {A:name}.
? What was the name of the {k}? = A
@begin_plain
4* Once upon a time, there was {A:a}. | Es war einmal {A:a}.
2* Once there was {A:a}. | Es gab einmal {A:a acc}.
Once upon a time there lived {A:a}. | Es lebte einmal {A:a}.
@begin_duo
3* {AB:name} <be*> friends. | {AB:name} <sein*> {AB:friends}.
2* {AB:name} <be*> best friends. | {AB:name} <sein*> beste {AB:friends}.
Once upon a time there were two friends, {AB:name}. | Es waren einmal zwei {AB:friends}, {AB:name}.
Once upon a time, there were two friends named {AB:name}. | Es waren einmal zwei {AB:friends} namens {AB:name}.
{AB:name} <like*> to play together. | {AB:name} <spielen*> gern zusammen.
? Who was {A:name}'s friend? = B
@age
{A} <be> three years old. | {A} <sein> drei Jahre alt.
{A} <be> only four years old. | {A} <sein> erst vier Jahre alt.
{A} <be> five years old. | {A} <sein> fünf Jahre alt.
@loves V
{A:p} dream <be> to {V} every day. | {A:p mn} Traum <sein> es, jeden Tag {V:zu}.
Nothing <make> {A:o} happier than to {V}. | Nichts <machen> {A:acc} glücklicher, als {V:zu}.
{A} always <want> to {V}. | {A} <wollen> immer {V}.
{A:p} favorite thing to do <be> to {V}. | Am liebsten {V:fin} {A} {V:rest}.
{A} really <enjoy> {V:ing}. | {A} {V:fin} wirklich gern {V:rest}.
What {A} <like> best <be> to {V}. | Am meisten <lieben> {A} es, {V:zu}.
4* {A} <love> to {V}. | {A} <lieben> es, {V:zu}.
2* {A} <like> to {V}. | {A} {V:fin} gern {V:rest}.
{A} <like> {V:ing} very much. | {A} {V:fin} sehr gern {V:rest}.
More than anything, {A} <love> to {V}. | Am allerliebsten {V:fin} {A} {V:rest}.
? What did {A} love to do? = V
@two_loves V W
{A} <love> to {V} and {W}. | {A} {V:fin} gern {V:rest} und {W:fin} gern {W:rest}.
@trait t
Everybody <say> that {A} <be> a {t} {k}. | Alle <sagen*>, dass {A} {t} <sein>.
{A} <be> a really {t} {k}. | {A} <sein> wirklich sehr {t}.
All the other children <think*> that {A} <be> {t}. | Alle anderen Kinder <finden*>, dass {A} {t} <sein>.
{A} <be> very {t}. | {A} <sein> sehr {t}.
{A} <be> {t} and always <want> to learn. | {A} <sein> {t} und <wollen> immer etwas lernen.
Everyone <know> that {A} <be> {t}. | Alle <wissen*>, dass {A} {t} <sein>.
{A} <be> a very {t} {k}. | {A} <sein> sehr {t}.
@lives P
{A} <have> a nice little home {P:in}. | {A} <haben> {P:in} ein schönes kleines Zuhause.
{A} <live> {P:in}. | {A} <leben> {P:in}.
{A} <live> in a small house {P:in}. | {A} <wohnen> in einem kleinen Haus {P:in}.
{A} <live> {P:in} with {A:his} family. | {A} <leben> {P:in} mit {A:his fd} Familie.
@owns A x : > A has x
2* {A} <have> {x:a}. | {A} <haben> {x:a acc}.
{A} <have> {x:a} and <love> {x:it} very much. | {A} <haben> {x:a acc} und <lieben> {x:it acc} sehr.
{A} <have> {x:a}. / It <be> {A:his} favorite thing in the world. | {A} <haben> {x:a acc}. / Das <sein> {A:his nn} Lieblingsding auf der ganzen Welt.
{A:p} grandma gave {A:him} {x:a}. / {A} <take> {x:it} everywhere. | {A:p fn} Oma schenkte {A:him dat} {x:a acc}. / {A} <nehmen> {x:it acc} überallhin mit.
? What did {A} have? = x
@carries A x P : A has x > A at P
{A} <decide> to take {x:of A} {P:to}. | {A} <beschließen>, {x:of A acc} {P:to} mitzunehmen.
{A} <take> {x:of A} {P:to}. | {A} <nehmen> {x:of A acc} {P:to} mit.
{A} <go> {P:to} with {x:of A}. | {A} <gehen> mit {x:of A dat} {P:to}.
{A} <be> {P:in} with {x:of A}. | {A} <sein> mit {x:of A dat} {P:in}.
{A} <go> {P:to} to play with {x:of A}. | {A} <gehen> {P:to}, um mit {x:of A dat} zu spielen.
? Where did {A} take {x}? = P
@goes A P : > A at P
{A} <want> to see something different and <go> {P:to}. | {A} <wollen> etwas anderes sehen und <gehen> {P:to}.
{A} <be> walking {P:to}. | {A} <gehen> gerade {P:to}.
{A} <can> not wait to go {P:to}. / Soon, {A:he} <be> there. | {A} <wollen> unbedingt {P:to}. / Bald <sein> {A:he} dort.
{A} <ask> {A:his} parents and <go> {P:to}. | {A} <fragen> {A:his pa} Eltern und <gehen> {P:to}.
{A} <decide> to go {P:to}. | {A} <beschließen>, {P:to} zu gehen.
{A} <leave> the house and <go> {P:to}. | {A} <verlassen> das Haus und <gehen> {P:to}.
{A} <arrive> {P:in}. | {A} <kommen> {P:in} an.
4* {A} <go> {P:to}. | {A} <gehen> {P:to}.
2* {A} <walk> {P:to}. | {A} <gehen> {P:to}.
{A} <run> {P:to}. | {A} <laufen> {P:to}.
{A} <want> to play {P:in}. | {A} <wollen> {P:in} spielen.
{A} <be> playing {P:in}. | {A} <spielen> {P:in}.
? Where did {A} go? = P
@goes_with A M P : > A at P, M at P
{A} and {M} <be*> {P:in}. | {A} und {M} <sein*> {P:in}.
{M} <ask>, "Do you want to come with me?" / They <go*> {P:to}. | {M} <fragen>: "Willst du mitkommen?" / Sie <gehen*> {P:to}.
{A} and {M} <decide*> to go {P:to}. | {A} und {M} <beschließen*>, {P:to} zu gehen.
{A} <go> on an adventure with {M:o}. / They <arrive*> {P:in}. | {A} <machen> mit {M:dat} einen Ausflug. / Sie <kommen*> {P:in} an.
3* {A} <go> {P:to} with {M:o}. | {A} <gehen> mit {M:dat} {P:to}.
{A} and {M} <go*> {P:to}. | {A} und {M} <gehen*> {P:to}.
{M} <take> {A:o} {P:to}. | {M} <nehmen> {A:acc} {P:to} mit.
{A} and {M} <walk*> {P:to} together. | {A} und {M} <gehen*> zusammen {P:to}.
? Who went {P:to} with {A:o}? = M
? Where did {A} go with {M:o}? = P
@both_go A B P : > A at P, B at P
{AB} <decide*> to go {P:to}. | {AB} <beschließen*>, {P:to} zu gehen.
{AB} <meet*> {P:in}. | {AB} <treffen*> sich {P:in}.
2* {AB} <go*> {P:to}. | {AB} <gehen*> {P:to}.
{AB} <be*> playing {P:in}. | {AB} <spielen*> {P:in}.
{AB} <run*> {P:to}. | {AB} <laufen*> {P:to}.
{AB} <want*> to play {P:in}. | {AB} <wollen*> {P:in} spielen.
? Where did {AB} go? = P
@home A H : > A at H
3* {A} <go> home. | {A} <gehen> nach Hause.
2* {A} <run> home. | {A} <laufen> nach Hause.
{A} <walk> home slowly. | {A} <gehen> langsam nach Hause.
@sun
There <be*> no clouds in the sky. | Am Himmel <sein*> keine Wolken.
The grass <be> green and the flowers <be*> bright. | Das Gras <sein> grün und die Blumen <leuchten*>.
The sun <be> shining and the sky <be> blue. | Die Sonne <scheinen> und der Himmel <sein> blau.
It <be> a warm and sunny day. | Es <sein> ein warmer und sonniger Tag.
The sun <be> bright and warm. | Die Sonne <sein> hell und warm.
The birds <be*> singing in the trees. | Die Vögel <singen*> in den Bäumen.
The wind <be> soft and the air <smell> sweet. | Der Wind <sein> sanft und die Luft <riechen> süß.
It <be> a beautiful day. | Es <sein> ein schöner Tag.
@rain
It <be> [weather: raining] outside. | Draußen <regnen> es.
The sky <be> [weather: gray] and it <rain> all morning. | Der Himmel <sein> grau und es <regnen> den ganzen Morgen.
The [weather: rain] <fall> on the roof. | Der Regen <fallen> auf das Dach.
? What was the weather like? = weather
@sees_animal N
Nearby, {A} <see> {N:a}. | Ganz in der Nähe <sehen> {A} {N:a acc}.
{A} <hear> a sound and <turn> around. / It <be> {N:a}. | {A} <hören> ein Geräusch und <drehen> sich um. / Es <sein> {N:a}.
{N:a} <look> at {A:o} from behind a tree. | {N:a} <schauen> {A:acc} hinter einem Baum hervor an.
{A} <look> closer and <see> {N:a}. | {A} <schauen> genauer hin und <sehen> {N:a acc}.
{N:a} <hop> through the grass. | {N:a} <hüpfen> durch das Gras.
{A} <see> {N:a}. | {A} <sehen> {N:a acc}.
On the way, {A} <see> {N:a}. | Unterwegs <sehen> {A} {N:a acc}.
{A} <look> up and <see> {N:a}. | {A} <schauen> hoch und <sehen> {N:a acc}.
? What animal did {A} see? = N
@meets N
{A} <meet> {N:a}. | {A} <treffen> {N:a acc}.
On the way, {A} <meet> {N:a}. | Unterwegs <treffen> {A} {N:a acc}.
{N:a} <come> by. | {N:a} <kommen> vorbei.
? Who did {A} meet? = N
@happy A : > A feels happy
{A} <be> [feel: happier] than ever. | {A} <sein> glücklicher als je zuvor.
{A} <can> not stop smiling. | {A} <können> nicht aufhören zu lächeln.
{A} <smile> from ear to ear. | {A} <strahlen> von einem Ohr zum anderen.
{A} <jump> for joy. | {A} <springen> vor Freude.
It <be> the happiest day of {A:p} life. | Es <sein> der glücklichste Tag in {A:p nd} Leben.
{A} <be> filled with joy. | {A} <sein> voller Freude.
{A} <have> the biggest smile on {A:his} face. | {A} <strahlen> über das ganze Gesicht.
{A} <feel> so special. | {A} <fühlen> sich ganz besonders.
{A} <be> so [feel: glad]. | {A} <sein> so froh.
{A} <feel> really [feel: happy]. | {A} <fühlen> sich wirklich glücklich.
3* {A} <be> very [feel: happy]. | {A} <sein> sehr glücklich.
2* {A} <be> so [feel: happy]! | {A} <sein> so glücklich!
{A} <smile>. | {A} <lächeln>.
{A} <smile> and <jump> up and down. | {A} <lächeln> und <hüpfen> auf und ab.
{A} <feel> [feel: happy] inside. | {A} <sein> innerlich glücklich.
{A} <laugh> and <clap> {A:his} hands. | {A} <lachen> und <klatschen> in die Hände.
@excited A : > A feels excited
{A} <be> filled with excitement. | {A} <sein> voller Aufregung.
{A:p} eyes <be*> big and bright. | {A:p pn} Augen <sein*> groß und hell.
"Wow!" <say> {A}. / It <be> amazing. | "Wow!", <sagen> {A}. / Es <sein> erstaunlich.
3* {A} <be> so [feel: excited]. | {A} <sein> so aufgeregt.
{A} <be> very [feel: excited]. | {A} <sein> sehr aufgeregt.
{A} <be> so [feel: excited]! | {A} <sein> so aufgeregt!
{A} <can> not wait. | {A} <können> es kaum erwarten.
@sad A : > A feels sad
{A} <sit> down and <put> {A:his} head in {A:his} hands. | {A} <setzen> sich hin und <legen> den Kopf in die Hände.
{A:p} heart <be> heavy. | {A:p nn} Herz <sein> schwer.
{A} <begin> to cry. | {A} <beginnen> zu weinen.
{A} <feel> very [feel: upset]. | {A} <sein> ganz unglücklich.
{A} <be> so [feel: upset] that {A:he} <can> not speak. | {A} <sein> so unglücklich, dass {A:he} nicht sprechen <können>.
3* {A} <be> very [feel: sad]. | {A} <sein> sehr traurig.
2* {A} <be> [feel: sad]. | {A} <sein> traurig.
{A} <start> to cry. | {A} <fangen> an zu weinen.
{A} <feel> [feel: sad] and alone. | {A} <fühlen> sich traurig und allein.
{A} <be> so [feel: sad] that {A:he} <start> to cry. | {A} <sein> so traurig, dass {A:he} zu weinen <an|fangen>.
Tears <run*> down {A:p} face. | Tränen <laufen*> über {A:p na} Gesicht.
@scared A : > A feels scared
{A} <want> to cry, but {A:he} <stay> still. | {A} <wollen> weinen, aber {A:he} <bleiben> still.
It <seem> very scary to {A:o}. | Es <kommen> {A:dat} sehr unheimlich vor.
{A} <feel> [feel: scared] and <want> to go home. | {A} <haben> Angst und <wollen> nach Hause.
{A} <start> to shake. | {A} <fangen> an zu zittern.
2* {A} <be> [feel: scared]. | {A} <haben> Angst.
{A} <be> very [feel: scared]. | {A} <haben> große Angst.
{A} <be> [feel: afraid] and <do> not know what to do. | {A} <haben> Angst und <wissen> nicht, was zu tun <sein>.
{A:p} heart <beat> very fast. | {A:p nn} Herz <schlagen> sehr schnell.
@proud A : > A feels proud
{A} <stand> tall and <smile>. | {A} <stehen> aufrecht da und <lächeln>.
2* {A} <be> very [feel: proud]. | {A} <sein> sehr stolz.
{A} <feel> [feel: proud]. | {A} <sein> stolz.
{A} <be> so [feel: proud] of {A:self}! | {A} <sein> so stolz auf sich!
@thinks A
"What should I do?" {A} <think>. | "Was soll ich tun?", <denken> {A}.
{A} <be> not sure what to do. | {A} <sein> nicht sicher, was zu tun <sein>.
"Maybe I can do something," {A} <think>. | "Vielleicht kann ich etwas tun", <denken> {A}.
{A} <wonder> what to do. | {A} <fragen> sich, was zu tun <sein>.
{A} <want> to do the right thing. | {A} <wollen> das Richtige tun.
{A} <think> and <think>. | {A} <überlegen> und <überlegen>.
{A} <think> for a moment. | {A} <überlegen> einen Moment.
{A} <do> not know what to do. | {A} <wissen> keinen Rat.
@idea A
"I know what we can do!" <say> {A}. | "Ich weiß, was wir tun können!", <sagen> {A}.
After a few minutes, {A} <have> a great idea. | Nach ein paar Minuten <haben> {A} eine großartige Idee.
Eventually, {A} <come> up with a plan. | Schließlich <haben> {A} einen Plan.
Then {A} <remember> something. | Dann <fallen> {A:dat} etwas ein.
Suddenly, {A} <realize> what to do. | Plötzlich <wissen> {A} die Lösung.
2* {A} <have> an idea. | {A} <haben> eine Idee.
{A} <have> a good idea. | {A} <haben> eine gute Idee.
{A:p} eyes <get*> big. / "I have an idea!" {A:he} <say>. | {A:p pn} Augen <werden*> groß. / "Ich habe eine Idee!", <sagen> {A:he}.
@asks_wrong A M
"What is the matter, {A:voc}?" {M} <ask>. | "Was hast du denn, {A:voc}?", <fragen> {M}.
"What is wrong?" {M} <ask>. | "Was ist los?", <fragen> {M}.
"Why are you sad?" <ask> {M}. | "Warum bist du traurig?", <fragen> {M}.
{M} <see> that {A} <be> sad. / "What happened?" {M:he} <ask>. | {M} <sehen>, dass {A} traurig <sein>. / "Was ist passiert?", <fragen> {M:he}.
{M} <ask>, "What's wrong, {A:voc}?" | {M} <fragen>: "Was ist los, {A:voc}?"
"Why are you crying?" {M} <ask>. | "Warum weinst du?", <fragen> {M}.
@offers M
"Someone has to help you, and that is me," {M} <say>. | "Jemand muss dir helfen, und das bin ich", <sagen> {M}.
{M} <think> about it and <say>, "We can do it together!" | {M} <überlegen> und <sagen>: "Zusammen schaffen wir es!"
"Of course, my dear," {M} <say>. | "Natürlich, mein Schatz", <sagen> {M}.
"Everything will be all right," {M} <say> with a kind voice. | "Alles wird gut", <sagen> {M} mit freundlicher Stimme.
"Don't be sad. We can do this," {M} <say>. | "Sei nicht traurig. Wir schaffen das", <sagen> {M}.
{M} <reply>, "Of course I will help you!" | {M} <antworten>: "Natürlich helfe ich dir!"
{M} <think> of something. / "Let's try it together." | {M:dat} <fallen> etwas ein. / "Lass es uns zusammen versuchen."
2* "Don't worry, I will help you," {M} <say>. | "Keine Sorge, ich helfe dir", <sagen> {M}.
"I can help you," <say> {M}. | "Ich kann dir helfen", <sagen> {M}.
"Let's do it together," {M} <say>. | "Lass es uns zusammen machen", <sagen> {M}.
{M} <smile> and <say>, "I will help you." | {M} <lächeln> und <sagen>: "Ich helfe dir."
"Do not cry," {M} <say>. / "We will find a way." | "Weine nicht", <sagen> {M}. / "Wir finden einen Weg."
? Who wanted to help {A:o}? = M
@thanks A M
"Thank you for everything," {A} <say> with a big smile. | "Danke für alles", <sagen> {A} mit einem breiten Lächeln.
{A} <be> very thankful for the help. | {A} <sein> sehr dankbar für die Hilfe.
"Thank you! You are the best!" {A} <say>. | "Danke! Du bist großartig!", <sagen> {A}.
{A} <be> so grateful and <say>, "Thank you!" | {A} <sein> so dankbar und <sagen>: "Danke!"
3* "Thank you, {M:voc}!" {A} <say>. | "Danke, {M:voc}!", <sagen> {A}.
{A} <thank> {M:o}. | {A} <danken> {M:dat}.
{A} <say>, "Thank you so much!" | {A} <sagen>: "Vielen Dank!"
{A} <give> {M:o} a big hug. | {A} <umarmen> {M:acc} fest.
"Thank you for helping me," <say> {A}. | "Danke, dass du mir geholfen hast", <sagen> {A}.
? Who did {A} thank? = M
@welcome M
"You're welcome," {M} <say>. | "Gern geschehen", <sagen> {M}.
{M} <smile> and <say>, "You are welcome." | {M} <lächeln> und <sagen>: "Gern geschehen."
{M} <smile>. | {M} <lächeln>.
@hug A M
{M} <put> {M:his} arms around {A:o}. | {M} <legen> die Arme um {A:acc}.
{M} <take> {A:p} hand and <smile>. | {M} <nehmen> {A:p fa} Hand und <lächeln>.
{A} and {M} <hug*> for a long time. | {A} und {M} <umarmen*> sich lange.
{A} <hug> {M:o}. | {A} <umarmen> {M:acc}.
{M} <hug> {A:o}. | {M} <umarmen> {A:acc}.
{M} <give> {A:o} a big hug. | {M} <umarmen> {A:acc} ganz fest.
{M} <hug> {A:o} and <smile>. | {M} <umarmen> {A:acc} und <lächeln>.
@both_happy A B : > A feels happy, B feels happy
{AB} <feel*> so happy. | {AB} <fühlen*> sich so glücklich.
{AB} <smile*> and <enjoy*> the day together. | {AB} <lächeln*> und <genießen*> den Tag zusammen.
2* {AB} <be*> happy. | {AB} <sein*> glücklich.
{AB} <be*> very happy. | {AB} <sein*> sehr glücklich.
{AB} <smile*> and <hug*>. | {AB} <lächeln*> und <umarmen*> sich.
{AB} <laugh*> and <play*> all day. | {AB} <lachen*> und <spielen*> den ganzen Tag.
@both_play A B
After a long day, their parents <call*> them home. | Nach einem langen Tag <rufen*> ihre Eltern sie nach Hause.
{AB} <run*>, <jump*> and <laugh*> like never before. | {AB} <laufen*>, <springen*> und <lachen*> wie nie zuvor.
{AB} <be*> having so much fun together. | {AB} <haben*> zusammen so viel Spaß.
{AB} <forget*> all their troubles. | {AB} <vergessen*> all ihre Sorgen.
{AB} <laugh*> and <play*> until it <be> time to go home. | {AB} <lachen*> und <spielen*>, bis es Zeit zum Heimgehen <sein>.
{AB} <enjoy*> the rest of the day. | {AB} <genießen*> den Rest des Tages.
{AB} <play*> together all day. | {AB} <spielen*> den ganzen Tag zusammen.
{AB} <have*> a lot of fun. | {AB} <haben*> viel Spaß.
{AB} <play*> until the sun <go> down. | {AB} <spielen*>, bis die Sonne <unter|gehen>.
{AB} <play*> many games and <laugh*> a lot. | {AB} <spielen*> viele Spiele und <lachen*> viel.
@friends A B
{AB} <be*> friends forever. | {AB} <bleiben*> für immer {AB:friends}.
{AB} always <help*> each other. | {AB} <helfen*> einander immer.
{AB} <be*> best friends. | {AB} <sein*> beste {AB:friends}.
{AB} <become*> good friends. | {AB} <werden*> gute {AB:friends}.
{AB} <play*> together every day. | {AB} <spielen*> jeden Tag zusammen.
@praise A M
"You should be proud of yourself," {M} <say>. | "Du kannst stolz auf dich sein", <sagen> {M}.
"You did the right thing," <say> {M}. | "Du hast das Richtige getan", <sagen> {M}.
"What a clever {k} you are!" {M} <say>. | "Wie klug du bist!", <sagen> {M}.
"You are a wonderful {k}," {M} <say>. | "Du bist wunderbar", <sagen> {M}.
{M} <be> pleased with {A:o}. | {M} <sein> zufrieden mit {A:dat}.
"I am proud of you," {M} <say>. | "Ich bin stolz auf dich", <sagen> {M}.
{M} <smile> and <say>, "You did a great job!" | {M} <lächeln> und <sagen>: "Das hast du toll gemacht!"
"Well done, {A:voc}!" <say> {M}. | "Gut gemacht, {A:voc}!", <sagen> {M}.
{M} <be> very proud of {A:o}. | {M} <sein> sehr stolz auf {A:acc}.
"You are so brave and kind," {M} <say>. | "Du bist so mutig und lieb", <sagen> {M}.
@the_end
The end. | Ende.
@best_day
It <be> such a magical day. | Es <sein> ein zauberhafter Tag.
It <be> a perfect day. | Es <sein> ein perfekter Tag.
It <be> the best adventure ever! | Es <sein> das schönste Abenteuer überhaupt!
It <be> the best day ever! | Es <sein> der schönste Tag überhaupt!
It <be> a wonderful day. | Es <sein> ein wunderbarer Tag.
It <be> so much fun! | Es <machen> so viel Spaß!
@ever_after
And they all lived happily ever after. | Und sie lebten alle glücklich bis an ihr Ende.
@sleepy A
{A} <fall> asleep with a smile. | {A} <schlafen> mit einem Lächeln ein.
{A} <be> tired but happy. | {A} <sein> müde, aber glücklich.
{A} <dream> about it. | {A} <träumen> davon.
@sad_end A
{A} <go> to bed sad. | {A} <gehen> traurig ins Bett.
{A} <be> still sad. | {A} <sein> noch immer traurig.
It <be> a sad day for {A:o}. | Es <sein> ein trauriger Tag für {A:acc}.
{A} <wish> it had been a better day. | {A} <wünschen> sich einen besseren Tag.
@hungry_snack A y
{A} <be> hungry, so {A:he} <eat> {y:a}. | {A} <haben> Hunger und <essen> deshalb {y:a acc}.
{A} <stop> to eat {y:a}. / It <be> very tasty. | {A} <halten> an, um {y:a acc} zu essen. / Das <schmecken> sehr gut.
? What did {A} eat? = y
@friend_comes B P : > B at P
{B:name} <ask>, "Can I join you?" | {B:name} <fragen>: "Darf ich mitmachen?"
{A} <hear> someone calling. / It <be> {B:friend A}. | {A} <hören> jemanden rufen. / Es <sein> {B:friend A}.
{B:name} <come> to play with {A:o}. | {B:name} <kommen>, um mit {A:dat} zu spielen.
{B:name} <come> by. | {B:name} <kommen> vorbei.
{A} <see> {B:friend A} there. | {A} <sehen> dort {B:friend A acc}.
{B:friend A} <come> over. | {B:friend A} <kommen> dazu.
? Who came to play with {A:o}? = B
@animal_does
{A} <do> not move, so as not to scare it. | {A} <bewegen> sich nicht, um niemanden zu erschrecken.
"How cute!" {A} <say>. | "Wie süß!", <sagen> {A}.
{A} <like> all animals. | {A} <mögen> alle Tiere.
It <be> very cute. | Das <sein> sehr niedlich.
"Hello!" <say> {A}. | "Hallo!", <sagen> {A}.
{A} <wave> and <smile>. | {A} <winken> und <lächeln>.
{A} <watch> it for a while. | {A} <schauen> eine Weile zu.
@honest_moral
The moral of the story is to always be honest. | Die Moral der Geschichte ist, immer ehrlich zu sein.
It <be> good to be honest. | Es <sein> gut, ehrlich zu sein.
@arrives B P : > B at P
{B} <walk> towards {A:o}. | {B} <gehen> auf {A:acc} zu.
{B} <come> closer. | {B} <kommen> näher.
{B} <come> over. | {B} <kommen> herbei.
{B} <hear> {A:o} and <come> quickly. | {B} <hören> {A:acc} und <kommen> schnell.
{B} <be> near and <come> to help. | {B} <sein> in der Nähe und <kommen> zu Hilfe.
{B} <see> {A:o} and <run> over. | {B} <sehen> {A:acc} und <laufen> herbei.
@plays_home A x H : A has x > A at H
{A} <play> with {x:of A} at home. | {A} <spielen> zu Hause mit {x:of A dat}.
{A} <be> at home with {x:of A}. | {A} <sein> mit {x:of A dat} zu Hause.
? What did {A} play with at home? = x
"""
