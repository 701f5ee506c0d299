# ruff: noqa: E501 - a line of a table is a line
"""Events among people: neighbours, quarrels, markets, picnics, help, wishes, lost children, shows."""

TABLE = """
@new_house
A new family <move> into the house next door. | Eine neue Familie <ziehen> ins Nachbarhaus ein.
There <be*> new neighbors next door. | Nebenan <sein*> neue Nachbarn.
@sees_new A B
{A} <see> a {kb} at the window. / {B:he} <look> lonely. | {A} <sehen> {B:kind acc} am Fenster. / {B:he} <sehen> einsam aus.
There <be> a {kb} in the yard. / {B:he} <be> all alone. | Im Hof <sein> {B:kind}. / {B:he} <sein> ganz allein.
@shy_first A B
{A} <be> shy and <do> not know what to say. | {A} <sein> schüchtern und <finden> keine Worte.
{A} <hide> behind {A:his} mom. | {A} <verstecken> sich hinter {A:his fd} Mama.
@hello A B
"Hello, my name is {A:name}. What is your name?" {A} <say>. | "Hallo, ich heiße {A:name}. Wie heißt du?", <sagen> {A}.
{A} <wave> and <say>, "Hi! I'm {A:name}." | {A} <winken> und <sagen>: "Hallo! Ich bin {A:name}."
@my_name B
"I am {B:name}," <say> the {kb}. | "Ich bin {B:name}", <sagen> {B:kind_the}.
"My name is {B:name}," the {kb} <say> with a smile. | "Ich heiße {B:name}", <sagen> {B:kind_the} mit einem Lächeln.
? What was the name of the new {kb}? = B
@invites A B
"Do you want to play with me?" {A} <ask>. | "Willst du mit mir spielen?", <fragen> {A}.
"Do you want to be my friend?" <ask> {A}. | "Willst du mit mir befreundet sein?", <fragen> {A}.
@yes B
"Yes, please!" <say> {B}. | "Ja, gern!", <sagen> {B}.
{B} <nod> and <smile>. | {B} <nicken> und <lächeln>.
"Yes! I would love to!" {B} <say>. | "Ja! Sehr gern!", <sagen> {B}.
@no_hello A B
But {A} <do> not say hello and <run> away. / The {kb} <be> sad. | Aber {A} <grüßen> nicht und <laufen> weg. / {B:kind_the} <sein> traurig.
@brings_food A x B : > B has x
{A} <bring> {x:a} for {B:o}. | {A} <bringen> {x:a acc} für {B:acc}.
{M} <bake> {x:a}, and {A} <give> {x:it} to {B:o}. | {M} <backen> {x:a acc}, und {A} <geben> {x:it acc} {B:dat}.
? What did {A} bring? = x
@fight A B x
They <find*> {x:a}, and both <want*> it. / They <pull*> and <pull*>. | Sie <finden*> {x:a acc}, und beide <wollen*> {x:it acc}. / Sie <ziehen*> und <ziehen*>.
There <be> {x:a}. / "It's mine!" {A} <say>. / "No, it's mine!" <say> {B}. | Da <sein> {x:a}. / "Das gehört mir!", <sagen> {A}. / "Nein, mir!", <sagen> {B}.
{AB} both <want*> to play with {x:a}. / They <start*> to fight. | {AB} <wollen*> beide mit {x:a dat} spielen. / Sie <fangen*> an zu streiten.
? What did they fight about? = x
@mean_words A B
"You are not my friend anymore!" {A} <shout>. | "Ich bin nicht mehr mit dir befreundet!", <rufen> {A}.
{A} <say> mean words to {B:o}. | {A} <sagen> gemeine Worte zu {B:dat}.
@apart A B H : > A at H
{A} <go> home angry. | {A} <gehen> wütend nach Hause.
{A} <walk> home and <do> not look back. | {A} <gehen> nach Hause und <drehen> sich nicht um.
@alone A
{A} <sit> in {A:his} room. / It <be> very quiet. | {A} <sitzen> in {A:his nd} Zimmer. / Es <sein> sehr still.
{A} <miss> {B:o}. | {A} <vermissen> {B:acc}.
Playing alone <be> no fun. | Allein zu spielen <machen> keinen Spaß.
@advice M A
"Friends fight sometimes, but they can make up," {M} <say>. | "Freunde streiten manchmal, aber sie können sich wieder vertragen", <sagen> {M}.
{M} <say>, "Tell {B:o} how you feel." | {M} <sagen>: "Sag {B:dat}, wie du dich fühlst."
"Why don't you say sorry?" <ask> {M}. | "Warum entschuldigst du dich nicht?", <fragen> {M}.
? Who told {A:o} to make up? = M
@goes_to A B P : > A at P, B at P
{A} <go> to {B:p} house. | {A} <gehen> zu {B:dat}.
{A} <go> back to {B:o}. | {A} <gehen> zurück zu {B:dat}.
@make_up A B
{AB} <hug*>. | {AB} <umarmen*> sich.
They <shake*> hands and <smile*>. | Sie <geben*> sich die Hand und <lächeln*>.
@list_buy M x n
"We need {n} {xs}," {M} <say>. | "Wir brauchen {x:count acc}", <sagen> {M}.
{M} <want> to buy {n} {xs}. | {M} <wollen> {x:count acc} kaufen.
{M} <say>, "Let's get {n} {xs}." | {M} <sagen>: "Lass uns {x:count acc} holen."
? How many {xs} did {M} want to buy? = n
@buys M x n : > M has x
{M} <buy> the {xs} and <put> them in a bag. | {M} <kaufen> {x:acc} und <legen> alles in eine Tasche.
@market_full
There <be*> so many things to see. | Es <geben> so viel zu sehen.
There <be*> fruits, flowers and fish. | Es <geben> Obst, Blumen und Fisch.
It <be> loud and colorful there. | Es <sein> dort laut und bunt.
@wants_buy A y
{A} <see> {y:a}. / "Can I have it, please?" {A:he} <ask>. | {A} <sehen> {y:a acc}. / "Darf ich das bitte haben?", <fragen> {A:he}.
{A} <want> {y:a} very much. | {A} <wollen> unbedingt {y:a acc}.
? What did {A} want? = y
@lets_go_hand A M
{A} <let> go of {M:p} hand and <run> to look. | {A} <lassen> {M:p fa} Hand los und <laufen> hin.
@lost_self A
Suddenly, {A} <can> not see {M:o}. | Plötzlich <können> {A} {M:acc} nicht sehen.
When {A:he} <look> around, {M} <be> gone. | Als {A:he} sich <um|sehen>, <sein> {M} weg.
@lady_helps C A
{C:a} <see> {A:o}. / "Are you lost?" {C:he} <ask>. | {C:a} <sehen> {A:acc}. / "Hast du dich verlaufen?", <fragen> {C:he}.
? Who asked {A:o} if {A:he} <be> lost? = C
@stay_still C
"Stay here and we will wait together," {C} <say>. | "Bleib hier, wir warten zusammen", <sagen> {C}.
"Let's find your family," <say> {C}. | "Lass uns deine Familie suchen", <sagen> {C}.
@reunited M A C P : > M at P
{M} <come> running and <hug> {A:o}. | {M} <kommen> angelaufen und <umarmen> {A:acc}.
"There you are!" {M} <say> and <hold> {A:o} tight. | "Da bist du ja!", <sagen> {M} und <drücken> {A:acc} fest.
? Who found {A:o} in the end? = M
@hold_hand A
{A} always <hold> {M:p} hand. | {A} <halten> immer {M:p fa} Hand.
{A} never <run> away again. | {A} <laufen> nie wieder weg.
@scold M A
"You must not run away," {M} <say>. | "Du darfst nicht weglaufen", <sagen> {M}.
@picnic_pack A x y
They <pack*> [packed: {x:a} and {y:a}] in a basket. | Sie <packen*> {x:a acc} und {y:a acc} in einen Korb.
In the basket <be*> [packed: {x:a} and {y:a}]. | Im Korb <sein*> {x:a} und {y:a}.
? What was in the basket? = packed
@picnic_sit
They <sit*> on a big blanket. | Sie <sitzen*> auf einer großen Decke.
They <put*> a blanket under a tree. | Sie <legen*> eine Decke unter einen Baum.
@ants_come x
A long line of [who: ants] <come> to eat {x}. | Eine lange Reihe Ameisen <kommen>, um {x:acc} zu essen.
Many [who: ants] <crawl*> over {x}. | Viele Ameisen <krabbeln*> über {x:acc}.
? Who wanted to eat {x}? = who
@angry_ants A
"Go away! It's our food!" {A} <shout>. | "Geht weg! Das ist unser Essen!", <rufen> {A}.
{A} <be> angry and <want> to stop them. | {A} <sein> wütend und <wollen> sie aufhalten.
@ants_hungry M
"They are only hungry," {M} <say>. | "Sie haben nur Hunger", <sagen> {M}.
"They are so small and need so little," <say> {M}. | "Sie sind so klein und brauchen so wenig", <sagen> {M}.
@crumbs A
{A} <put> some crumbs on the grass for them. | {A} <legen> ein paar Krümel für sie ins Gras.
{A} <give> them a little piece. | {A} <geben> ihnen ein kleines Stück.
@ants_happy
The ants <take*> the food home. | Die Ameisen <bringen*> das Essen nach Hause.
The ants <walk*> away in a long line. | Die Ameisen <ziehen*> in einer langen Reihe davon.
@picnic_over
They <have*> to go home with nothing. | Sie <müssen*> ohne etwas nach Hause gehen.
It <start> to rain, and they <run*> home. | Es <beginnen> zu regnen, und sie <laufen*> nach Hause.
@heavy C x
{C:a} <carry> {x:a}. / {x:they} <be:x> too heavy. | {C:a} <tragen> {x:a acc}. / {x:they} <sein:x> zu schwer.
{A} <see> {C:a} with {x:a}. / {C:he} <look> tired. | {A} <sehen> {C:a acc} mit {x:a dat}. / {C:he} <sehen> müde aus.
? What did {C} carry? = x
@can_help A C
"Can I help you?" {A} <ask>. | "Kann ich dir helfen?", <fragen> {A}.
{A} <want> to help {C:o}. | {A} <wollen> {C:dat} helfen.
@carry_together A C x
{A} and {C} <carry*> {x} together. | {A} und {C} <tragen*> {x:acc} zusammen.
{A} <take> one side and {C} <take> the other. | {A} <nehmen> die eine Seite und {C} <nehmen> die andere.
? Who helped {C} carry {x}? = A
@walks_past A C
But {A} <want> to play and <walk> past. | Aber {A} <wollen> spielen und <gehen> vorbei.
@help_moral A
{A} <realize> that helping others <be> a wonderful thing. | {A} <merken>, dass Helfen etwas Wunderbares <sein>.
{A} <know> that helping <make> everyone happy. | {A} <wissen>, dass Helfen alle glücklich <machen>.
It <feel> good to help. | Es <tun> gut zu helfen.
The moral of the story is that it is good to help others. | Die Moral der Geschichte ist, dass es gut ist, anderen zu helfen.
@glows x A : A has x
{x} <start:x> to shine. / "I can give you one wish," a voice <say>. | {x} <beginnen:x> zu leuchten. / "Du hast einen Wunsch frei", <sagen> eine Stimme.
{x} <say>, "I am magic. Make a wish!" | {x} <sagen>: "Ich bin magisch. Wünsch dir etwas!"
@wish_big A w
"I wish for {w}!" {A} <say>. | "Ich wünsche mir {v}!", <sagen> {A}.
{A} <think> for a while. / "I want {w}!" | {A} <überlegen> eine Weile. / "Ich will {v}!"
? What did {A} wish for? = w
@poof w
Poof! / There <be> {w}. | Puff! / Da <sein> {w}.
In a moment, {A} <have> {w}. | In einem Augenblick <haben> {A} {v}.
@too_much A
But it <be> too much. / {A} <do> not know where to put it all. | Aber es <sein> zu viel. / {A} <wissen> nicht, wohin damit.
But there <be> nobody to share it with. | Aber es <sein> niemand da, um zu teilen.
@wish_back A
"I wish everything was as before," {A} <say>. | "Ich wünsche mir, dass alles wie früher ist", <sagen> {A}.
@gone_again x
In a moment, everything <be> as before. | In einem Augenblick <sein> alles wie früher.
@wish_share A
{A} <share> it with all {A:his} friends. | {A} <teilen> es mit all {A:his pd} Freunden.
{A} <invite> everyone, and they <have*> a big party. | {A} <laden> alle ein, und sie <feiern*> ein großes Fest.
@wish_moral A
{A} <know> that friends <be*> better than magic. | {A} <wissen>, dass Freunde besser <sein*> als Zauberei.
{A} <learn> to be happy with what {A:he} <have>. | {A} <lernen>, zufrieden zu sein.
@wish_wasted x A
But nothing <happen>. / {x} <be> just {x:a}. | Aber nichts <geschehen>. / Es <sein> nur {x:a}.
@wander A P : > A at P
{A} <walk> too far and <get> lost {P:in}. | {A} <gehen> zu weit und <verlaufen> sich {P:in}.
{A} <follow> a butterfly {P:to} and <can> not find the way back. | {A} <folgen> einem Schmetterling {P:to} und <finden> den Weg zurück nicht mehr.
? Where did {A} get lost? = P
@asks_way A N
"Can you show me the way home?" {A} <ask> {N:o}. | "Kannst du mir den Weg nach Hause zeigen?", <fragen> {A} {N:acc}.
@shows_way N A
"Follow me!" <say> {N}. | "Folge mir!", <sagen> {N}.
{N} <show> {A:o} the way. | {N} <zeigen> {A:dat} den Weg.
? Who showed {A:o} the way? = N
@waits_home M A H : > A at H, M at H
{M} <be> waiting at the door. / "I was so worried!" {M:he} <say>. | {M} <warten> an der Tür. / "Ich habe mir solche Sorgen gemacht!", <sagen> {M:he}.
@night_alone A
It <get> dark and cold, and {A} <wait> for a long time. | Es <werden> dunkel und kalt, und {A} <warten> lange.
@found_late M A P : > M at P
{M} <come> with a light and <take> {A:o} home. | {M} <kommen> mit einem Licht und <bringen> {A:acc} nach Hause.
@promise A
"I will never go so far again," {A} <say>. | "Ich gehe nie wieder so weit weg", <sagen> {A}.
{A} <promise> to stay near the house. | {A} <versprechen>, in der Nähe des Hauses zu bleiben.
@show_coming A t
There <be> a show at school. / {A} <have> to {V}. | In der Schule <geben> es eine Aufführung. / {A} <müssen> {V}.
{A} <want> to {V} for everyone. | {A} <wollen> für alle {V}.
@shy_stage A
So many people <look*> at {A:o}. | So viele Leute <schauen*> {A:acc} an.
{A:p} legs <shake*>. | {A:p pn} Beine <zittern*>.
{A} <can> not say a word. | {A} <können> kein Wort sagen.
@friend_claps B A
{B} <smile> at {A:o} and <clap>. | {B} <lächeln> {A:dat} zu und <klatschen>.
"You can do it!" {B} <say> softly. | "Du schaffst das!", <sagen> {B} leise.
? Who smiled at {A:o}? = B
@does_show A V
{A} <take> a deep breath and <start>. | {A} <holen> tief Luft und <fangen> an.
@all_clap A
Everyone <clap> and <cheer>. | Alle <klatschen*> und <jubeln*>.
All the people <stand*> up and <clap*>. | Alle Leute <stehen*> auf und <klatschen*>.
@runs_stage A
{A} <run> away and <hide>. | {A} <laufen> weg und <verstecken> sich.
@brave_moral A
{A} <be> not shy anymore. | {A} <sein> nicht mehr schüchtern.
{A} <know> that being brave <mean> trying even when you are scared. | {A} <wissen>, dass Mut <heißen>, es trotz Angst zu versuchen.
"""
