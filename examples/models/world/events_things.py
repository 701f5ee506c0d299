# ruff: noqa: E501 - a line of a table is a line
"""Events about things: losing and finding, sharing, breaking and mending, wishing and giving."""

TABLE = """
@lose A x P : A has x > x at P, A feels sad
{A} <run> and <jump> and <do> not see that {x:of A} <be:x> gone. | {A} <laufen> und <springen> und <merken> nicht, dass {x:of A} weg <sein:x>.
But then {A} <can> not find {x:of A}. | Doch dann <können> {A} {x:of A acc} nicht finden.
{A} <lose> {x:of A} {P:in}. | {A} <verlieren> {x:of A acc} {P:in}.
When {A} <look> around, {x:of A} <be:x> gone! | Als {A} sich <um|sehen>, <sein:x> {x:of A} weg!
? What did {A} lose? = x
@cries_lost A x
{A} <be> sad because [why: {x:of A} <be:x> gone]. | {A} <sein> traurig, weil {x:of A} weg <sein:x>.
"I can't believe it! My {x:bare} is lost!" {A} <say>. | "Ich glaube es nicht! {x:my} ist weg!", <sagen> {A}.
? Why was {A} sad? = why
"Oh no! Where <be:x> my {x:bare}?" {A} <say>. | "Oh nein! Wo ist {x:my}?", <sagen> {A}.
"I can't find my {x:bare}!" {A} <cry>. | "Ich kann {x:my acc} nicht finden!", <rufen> {A}.
"My {x:bare} is gone!" <say> {A}. | "{x:my} ist weg!", <sagen> {A}.
"I lost my {x:bare}," {A} <say> with tears in {A:his} eyes. | "Ich habe {x:my acc} verloren", <sagen> {A} mit Tränen in den Augen.
@search A x Q R
{A} carefully <look> {Q:in} and then {R:in}. | {A} <schauen> sorgfältig {Q:in} nach und dann {R:in}.
{A} <look> {Q:in}, but {x:the} <be:x> not there. / {A} <look> {R:in}, but {x:they} <be:x> not there either. | {A} <suchen> {Q:in}, aber {x} <sein:x> nicht dort. / {A} <suchen> {R:in}, aber auch dort <sein:x> {x:they} nicht.
{A} <look> everywhere. / {A:he} <look> {Q:in} and {R:in}. | {A} <suchen> überall. / {A:he} <suchen> {Q:in} und {R:in}.
{A} <search> and <search>, {Q:in} and {R:in}. | {A} <suchen> und <suchen>, {Q:in} und {R:in}.
First {A} <look> {Q:in}. / Then {A:he} <look> {R:in}. | Zuerst <suchen> {A} {Q:in}. / Dann <suchen> {A:he} {R:in}.
? Where did {A} look first? = Q
@search_help A B x
{AB} <continue*> to look for {x} together. | {AB} <suchen*> gemeinsam weiter nach {x:dat}.
{AB} <look*> for {x} together. | {AB} <suchen*> zusammen nach {x:dat}.
{B} <help> {A:o} look for {x}. | {B} <helfen> {A:dat} beim Suchen.
{B} <start> to look for {x} too. | {B} <suchen> auch nach {x:dat}.
? Who helped {A:o} look for {x}? = B
@find A x Q : > A has x, A feels happy
{A} <walk> closer. / There <be:x> {x:of A}, {Q:in}! | {A} <gehen> näher heran. / Da <sein:x> {x:of A}, {Q:in}!
{A} <find> {x} {Q:in}. | {A} <finden> {x:acc} {Q:in}.
There {x:they} <be:x>, {Q:in}! / {A} <pick> {x:it} up. | Da <sein:x> {x:they}, {Q:in}! / {A} <heben> {x:it acc} auf.
{A} <see> something {Q:in}. / It <be> {x:of A}! | {A} <sehen> etwas {Q:in}. / Es <sein> {x:of A}!
{A} <look> {Q:in} and <see> {x:of A}. | {A} <schauen> {Q:in} nach und <sehen> {x:of A acc}.
? Where did {A} find {x}? = Q
? Who found {x}? = A
@find_for B A x Q : > B has x
{B} <look> {Q:in} and <find> {x}. | {B} <schauen> {Q:in} nach und <finden> {x:acc}.
"Look! It's {Q:in}!" {B} <say>. | "Schau! Da {Q:in}!", <sagen> {B}.
{B} <see> {x} {Q:in}. | {B} <sehen> {x:acc} {Q:in}.
"I found it!" {B} <shout>. / {x} <be:x> {Q:in}. | "Ich habe etwas gefunden!", <rufen> {B}. / {x} <sein:x> {Q:in}.
? Where was {x}? = Q
? Who found {x}? = B
@give B A x : B has x > A has x
{B} <give> {x} to {A:o}. | {B} <geben> {A:dat} {x:acc}.
{B} <give> {A:o} {x}. | {B} <geben> {A:dat} {x:acc}.
"Here you are," {B} <say> and <give> {A:o} {x}. | "Hier, bitte", <sagen> {B} und <geben> {A:dat} {x:acc}.
? Who gave {x} to {A:o}? = B
? What did {B} give {A:o}? = x
@not_found A x
They <look*> until it <be> dark, but they <do*> not find {x}. | Sie <suchen*>, bis es dunkel <sein>, aber sie <finden*> {x:acc} nicht.
But {x} <be:x> nowhere to be found. | Aber {x} <sein:x> nirgends zu finden.
{A} <look> all day, but {A:he} <do> not find {x}. | {A} <suchen> den ganzen Tag, aber {A:he} <finden> {x:acc} nicht.
@careful_since A x
{A} <be> always careful with {A:his} toys. | {A} <passen> immer gut auf {A:his pa} Spielsachen auf.
{A} <take> good care of {A:his} things. | {A} <passen> gut auf {A:his pa} Sachen auf.
{A} always <put> {A:his} things away. | {A} <räumen> {A:his pa} Sachen immer auf.
@moral_help
The moral of the story is to help each other. | Die Moral der Geschichte ist, einander zu helfen.
It <be> good to have a friend who <help>. | Es <sein> gut, einen Freund zu haben, der <helfen>.
@wants_play B A x : A has x > B wants x
"Can I play with your {x:bare}?" {B} <ask>. | "Darf ich mit {x:your dat} spielen?", <fragen> {B}.
{B} <want> to play with {x} too. | {B} <wollen> auch mit {x:dat} spielen.
{B} <see> {x:of A} and <say>, "I want to play too!" | {B} <sehen> {x:of A acc} und <sagen>: "Ich will auch spielen!"
? Who wanted to play with {x}? = B
@refuse A B x : A has x
{A} <grab> {x} and <hold> {x:it} close. | {A} <greifen> nach {x:dat} und <halten> {x:it acc} fest.
"No! It's mine!" {A} <say> and <hold> {x} tight. | "Nein! Das gehört mir!", <sagen> {A} und <halten> {x:acc} fest.
{A} <shake> {A:his} head. / "No, it's my {x:bare}!" {A:he} <say>. | {A} <schütteln> den Kopf. / "Nein, das ist {x:my}!", <sagen> {A:he}.
But {A} <do> not want to share. | Aber {A} <wollen> nicht teilen.
"No, you can't have it," {A} <say>. | "Nein, das bekommst du nicht", <sagen> {A}.
? Who did not want to share? = A
@b_sad B : > B feels sad
{B} <be> sad and <walk> away. | {B} <sein> traurig und <gehen> weg.
{B} <look> down and <say> nothing. | {B} <schauen> zu Boden und <sagen> nichts.
{B} <start> to cry. | {B} <fangen> an zu weinen.
{B} <sit> down alone and <cry>. | {B} <setzen> sich allein hin und <weinen>.
@bored_alone A x
{A} <realize> that it <be> no fun to play alone. | {A} <merken>, dass es allein keinen Spaß <machen>.
{A} <play> alone, but it <be> not much fun. | {A} <spielen> allein, aber das <machen> nicht viel Spaß.
Playing alone <be> boring. | Allein zu spielen, <sein> langweilig.
{A} <look> at {x} and <feel> bad. | {A} <sehen> {x:acc} an und <haben> ein schlechtes Gewissen.
@adult_share M A B
{M} <say>, "{A:voc}, it is nice to share with your friends." | {M} <sagen>: "{A:voc}, es ist schön, mit seinen Freunden zu teilen."
"Sharing is caring," {M} <say>. / "You can take turns." | "Teilen macht Freude", <sagen> {M}. / "Ihr könnt euch abwechseln."
"If you share, you will both have fun," <say> {M}. | "Wenn ihr teilt, habt ihr beide Spaß", <sagen> {M}.
? Who told {A:o} to share? = M
@sorry A B : > A feels sorry
"I'm sorry, {B:voc}," {A} <say>. | "Es tut mir leid, {B:voc}", <sagen> {A}.
{A} <go> to {B:o} and <say>, "I am sorry." | {A} <gehen> zu {B:dat} und <sagen>: "Es tut mir leid."
{A} <say> sorry to {B:o}. | {A} <entschuldigen> sich bei {B:dat}.
? Who said sorry? = A
@forgive B A
"It's okay," {B} <say>. | "Schon gut", <sagen> {B}.
{B} <smile>. / "That's okay, {A:voc}," {B:he} <say>. | {B} <lächeln>. / "Schon gut, {A:voc}", <sagen> {B:he}.
{B} <forgive> {A:o}. | {B} <verzeihen> {A:dat}.
"I am not mad," <say> {B}. / "You are my friend." | "Ich bin nicht böse", <sagen> {B}. / "Du gehörst zu meinen Freunden."
@share A B x : A has x
"Let's play with {x} together," <say> {A}. | "Lass uns zusammen mit {x:dat} spielen", <sagen> {A}.
{A} <let> {B:o} play with {x}. | {A} <lassen> {B:acc} mit {x:dat} spielen.
"You can play with my {x:bare}," {A} <say>. | "Du darfst mit {x:my dat} spielen", <sagen> {A}.
{AB} <take*> turns with {x}. | {AB} <spielen*> abwechselnd mit {x:dat}.
? What did {A} share? = x
@learn_share A
{A} <realize> how important it <be> to share. | {A} <merken>, wie wichtig Teilen <sein>.
{A} <learn> an important lesson: sharing <be> better. | {A} <lernen> etwas Wichtiges: Teilen <sein> besser.
{A} <learn> that sharing <be> fun. | {A} <lernen>, dass Teilen Spaß <machen>.
{A} <know> that it <be> good to share. | {A} <wissen>, dass es gut <sein> zu teilen.
The moral of the story is that sharing is more fun than playing alone. | Die Moral der Geschichte ist: Teilen macht mehr Spaß, als allein zu spielen.
@always_share A
{A} always <share> {A:his} toys. | {A} <teilen> immer {A:his pa} Spielsachen.
{A} <share> everything with {B:o}. | {A} <teilen> alles mit {B:dat}.
@no_share_end A B : > A feels lonely
{B} <go> home, and {A} <have> nobody to play with. | {B} <gehen> nach Hause, und {A} <haben> niemanden zum Spielen.
{B} <find> other friends, and {A} <be> alone. | {B} <finden> andere Freunde, und {A} <sein> allein.
@break A x y : A has x > x is broken
{A} <play> too wild, and {x} <break> into two pieces. | {A} <spielen> zu wild, und {x} <brechen> in zwei Teile.
{A} <fall>, and {x} <break>. | {A} <fallen> hin, und {x} <gehen> kaputt.
Oh no! / {A} <drop> {x}, and {x:they} <break>. | Oh nein! / {A} <lassen> {x:acc} fallen, und {x:they} <gehen> kaputt.
With a loud crack, {x} <break>. | Mit einem lauten Knacks <gehen> {x} kaputt.
? What broke? = x
@try_fix A x : x is broken
{A} <try> to fix {x}, but it <be> too hard. | {A} <versuchen>, {x:acc} zu reparieren, aber es <sein> zu schwer.
{A} <try> and <try>, but {A:he} <can> not fix {x:it}. | {A} <versuchen> es immer wieder, aber {A:he} <können> {x:it acc} nicht reparieren.
@asks_fix A M x : x is broken
"Can you fix my {x:bare}?" {A} <ask> {M:o}. | "Kannst du {x:my acc} reparieren?", <fragen> {A} {M:acc}.
{A} <show> {M:o} the broken {x:bare}. / "Please help me," {A:he} <say>. | {A} <zeigen> {M:dat}, dass {x} kaputt <sein>. / "Bitte hilf mir", <sagen> {A:he}.
? Who did {A} ask for help? = M
@fixes M A x t : x is broken > x is fixed
{M} <take> {t} and <fix> {x}. | {M} <nehmen> {t} und <reparieren> {x:acc}.
{M} <fix> {x} with {t}. | {M} <reparieren> {x:acc} mit {u}.
{AM} <work*> all afternoon with {t} until {x} <be:x> fixed. | {AM} <arbeiten*> den ganzen Nachmittag mit {u}, bis {x} wieder heil <sein:x>.
? Who fixed {x}? = M
? What did {M} fix {x} with? = t
@as_new A x : x is fixed
{x} <be:x> as good as new. | {x} <sein:x> wieder wie neu.
{x} <look:x> even better than before. | {x} <sehen:x> noch besser aus als vorher.
@cannot_fix M A x : x is broken
{M} <shake> {M:his} head. / "I am sorry, I can't fix it," {M:he} <say>. | {M} <schütteln> den Kopf. / "Es tut mir leid, das kann ich nicht reparieren", <sagen> {M:he}.
But {x} <be:x> too broken, and nobody <can> fix {x:it}. | Aber {x} <sein:x> zu kaputt, und niemand <können> {x:it acc} reparieren.
@remember A x
{A} <miss> {x} very much. | {A} <vermissen> {x:acc} sehr.
{A} <think> about {x} for a long time. | {A} <denken> noch lange an {x:acc}.
@finds_thing A x P : A at P > A has x
{A} <notice> {x:a} {P:in} and <pick> {x:it} up. | {A} <bemerken> {P:in} {x:a acc} und <heben> {x:it acc} auf.
There <be> something on the ground. / {A} <walk> closer. / It <be> {x:a}! {A} <take> {x:it}. | Da <liegen> etwas auf dem Boden. / {A} <gehen> näher heran. / Es <sein> {x:a}! {A} <nehmen> {x:it acc}.
{A} <find> {x:a} {P:in}. | {A} <finden> {P:in} {x:a acc}.
{A} <see> something on the ground. / It <be> {x:a}. / {A:he} <pick> {x:it} up. | {A} <sehen> etwas auf dem Boden. / Es <sein> {x:a}. / {A:he} <heben> {x:it acc} auf.
{A} <see> {x:a} {P:in} and <pick> {x:it} up. | {A} <sehen> {P:in} {x:a acc} und <heben> {x:it acc} auf.
? What did {A} find? = x
? Where did {A} find {x}? = P
@owner_sad C x
{C:a} <come> by. / {C:he} <look> worried. | {C:a} <kommen> vorbei. / {C:he} <sehen> besorgt aus.
{A} <see> {C:a}. / {C:he} <be> looking for something. | {A} <sehen> {C:a acc}. / {C:he} <suchen> etwas.
@asks_seen C A x
"Have you seen {x:a}?" {C} <ask>. / "I lost it this morning." | "Hast du {x:a acc} gesehen?", <fragen> {C}. / "Ich habe so etwas heute Morgen verloren."
"I have lost {x:a}," {C} <say>. / "I can't find it anywhere." | "Ich habe {x:a acc} verloren", <sagen> {C}. / "Ich kann nichts finden."
? What had {C} lost? = x
@wants_keep A x : A has x > A wants x
"It is so special," {A} <think>. | "So etwas Besonderes", <denken> {A}.
{A} <want> to keep {x}. | {A} <wollen> {x:acc} behalten.
{A} <like> {x} very much and <do> not want to give {x:it} away. | {A} <mögen> {x:acc} sehr und <wollen> {x:it acc} nicht hergeben.
@tells_found A C x : A has x
"I found it {P:in}," {A} <say>. | "Ich habe das {P:in} gefunden", <sagen> {A}.
"Is this yours?" {A} <ask>. | "Gehört das dir?", <fragen> {A}.
@reward C A y : > A has y
{C} <be> so happy that {C:he} <give> {A:o} {y:a}. | {C} <sein> so glücklich, dass {C:he} {A:dat} {y:a acc} <schenken>.
"You are very honest," {C} <say> and <give> {A:o} {y:a}. | "Du bist sehr ehrlich", <sagen> {C} und <schenken> {A:dat} {y:a acc}.
? What did {C} give {A:o}? = y
@keeps A x C : A has x
{A} <say> nothing and <hide> {x}. | {A} <sagen> nichts und <verstecken> {x:acc}.
@bad_feeling A : > A feels sad
But {A} <do> not feel good about it. | Aber {A} <fühlen> sich nicht gut dabei.
That night {A} <can> not sleep. | In dieser Nacht <können> {A} nicht schlafen.
"""
