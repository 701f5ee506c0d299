"""Table of languages: those of ISO 639-1, and those of the NLLB-200 models.

A line is: ISO 639-1 code or ``-``, ISO 639-3 code, script, names. ``ara=arb`` is a macrolanguage and the
individual language that it means by default. The script (ISO 15924) is the default one; prompts use the
first name.
"""

from __future__ import annotations

TABLE = """
aa aar Latn Afar
ab abk Cyrl Abkhazian/Abkhaz
- ace Latn Acehnese/Achinese
- acm Arab Mesopotamian Arabic/Iraqi Arabic
- acq Arab Ta'izzi-Adeni Arabic
ae ave Avst Avestan
- aeb Arab Tunisian Arabic
af afr Latn Afrikaans
- ajp Arab South Levantine Arabic
ak aka Latn Akan
am amh Ethi Amharic
an arg Latn Aragonese
- apc Arab North Levantine Arabic/Levantine Arabic/Lebanese Arabic/Syrian Arabic
ar ara=arb Arab Arabic/Modern Standard Arabic/Standard Arabic
- ars Arab Najdi Arabic
- ary Arab Moroccan Arabic/Darija
- arz Arab Egyptian Arabic
as asm Beng Assamese
- ast Latn Asturian
av ava Cyrl Avaric/Avar
- awa Deva Awadhi
ay aym=ayr Latn Aymara/Central Aymara
- azb Arab South Azerbaijani
az aze=azj Latn Azerbaijani/North Azerbaijani/Azeri
ba bak Cyrl Bashkir
- ban Latn Balinese
be bel Cyrl Belarusian
- bem Latn Bemba
bg bul Cyrl Bulgarian
- bho Deva Bhojpuri
bi bis Latn Bislama
- bjn Latn Banjar
bm bam Latn Bambara
bn ben Beng Bengali/Bangla
bo bod Tibt Tibetan/Standard Tibetan
br bre Latn Breton
bs bos Latn Bosnian
- bug Latn Buginese
ca cat Latn Catalan/Valencian
ce che Cyrl Chechen
- ceb Latn Cebuano
ch cha Latn Chamorro
- cjk Latn Chokwe
- ckb Arab Central Kurdish/Sorani
co cos Latn Corsican
cr cre Cans Cree
- crh Latn Crimean Tatar
cs ces Latn Czech
cu chu Cyrl Church Slavic/Old Church Slavonic
cv chv Cyrl Chuvash
cy cym Latn Welsh
da dan Latn Danish
de deu Latn German
- din=dik Latn Dinka/Southwestern Dinka
dv div Thaa Dhivehi/Maldivian
- dyu Latn Dyula
dz dzo Tibt Dzongkha
ee ewe Latn Ewe
el ell Grek Greek/Modern Greek
en eng Latn English
eo epo Latn Esperanto
es spa Latn Spanish/Castilian
et est=ekk Latn Estonian
eu eus Latn Basque
fa fas=pes Arab Persian/Western Persian/Farsi
ff ful=fuv Latn Fulah/Fula/Nigerian Fulfulde
fi fin Latn Finnish
fj fij Latn Fijian
fo fao Latn Faroese
- fon Latn Fon
fr fra Latn French
- fur Latn Friulian
fy fry Latn Western Frisian/Frisian
ga gle Latn Irish
gd gla Latn Scottish Gaelic/Gaelic
gl glg Latn Galician
gn grn=gug Latn Guarani
gu guj Gujr Gujarati
gv glv Latn Manx
ha hau Latn Hausa
he heb Hebr Hebrew
hi hin Deva Hindi
- hne Deva Chhattisgarhi
ho hmo Latn Hiri Motu
hr hrv Latn Croatian
ht hat Latn Haitian Creole/Haitian
hu hun Latn Hungarian
hy hye Armn Armenian
hz her Latn Herero
ia ina Latn Interlingua
id ind Latn Indonesian
ie ile Latn Interlingue
ig ibo Latn Igbo
ii iii Yiii Nuosu/Sichuan Yi
ik ipk Latn Inupiaq
- ilo Latn Ilocano/Iloko
io ido Latn Ido
is isl Latn Icelandic
it ita Latn Italian
iu iku Cans Inuktitut
ja jpn Jpan Japanese
jv jav Latn Javanese
ka kat Geor Georgian
- kab Latn Kabyle
- kac Latn Jingpho/Kachin
- kam Latn Kamba
- kbp Latn Kabiyè
- kea Latn Kabuverdianu/Cape Verdean Creole
kg kon Latn Kongo/Kikongo
ki kik Latn Kikuyu/Gikuyu
kj kua Latn Kuanyama
kk kaz Cyrl Kazakh
kl kal Latn Kalaallisut/Greenlandic
km khm Khmr Khmer
- kmb Latn Kimbundu
kn kan Knda Kannada
ko kor Hang Korean
kr kau=knc Latn Kanuri/Central Kanuri
ks kas Arab Kashmiri
ku kur=kmr Latn Kurdish/Northern Kurdish/Kurmanji
kv kom Cyrl Komi
kw cor Latn Cornish
ky kir Cyrl Kyrgyz/Kirghiz
la lat Latn Latin
lb ltz Latn Luxembourgish
lg lug Latn Ganda/Luganda
li lim Latn Limburgish
- lij Latn Ligurian
- lmo Latn Lombard
ln lin Latn Lingala
lo lao Laoo Lao
lt lit Latn Lithuanian
- ltg Latn Latgalian
lu lub Latn Luba-Katanga
- lua Latn Luba-Kasai/Luba-Lulua
- luo Latn Luo/Dholuo
- lus Latn Mizo/Lushai
lv lav=lvs Latn Latvian/Standard Latvian
- mag Deva Magahi
- mai Deva Maithili
mg mlg=plt Latn Malagasy/Plateau Malagasy
mh mah Latn Marshallese
mi mri Latn Maori/Māori
- min Latn Minangkabau
mk mkd Cyrl Macedonian
ml mal Mlym Malayalam
mn mon=khk Cyrl Mongolian/Halh Mongolian
- mni Beng Meitei/Manipuri
- mos Latn Mossi
mr mar Deva Marathi
ms msa=zsm Latn Malay/Standard Malay
mt mlt Latn Maltese
my mya Mymr Burmese/Myanmar
na nau Latn Nauru
nd nde Latn North Ndebele
ne nep=npi Deva Nepali
ng ndo Latn Ndonga
nl nld Latn Dutch/Flemish
nn nno Latn Norwegian Nynorsk/Nynorsk
no nor=nob Latn Norwegian/Norwegian Bokmål/Bokmål/Bokmal
nr nbl Latn South Ndebele
- nso Latn Northern Sotho/Sepedi/Pedi
- nus Latn Nuer
nv nav Latn Navajo
ny nya Latn Nyanja/Chichewa/Chewa
oc oci Latn Occitan
oj oji Cans Ojibwa/Ojibwe
om orm=gaz Latn Oromo/West Central Oromo
or ori=ory Orya Odia/Oriya
os oss Cyrl Ossetian/Ossetic
pa pan Guru Punjabi/Eastern Panjabi/Panjabi
- pag Latn Pangasinan
- pap Latn Papiamento
pi pli Deva Pali
pl pol Latn Polish
- prs Arab Dari
ps pus=pbt Arab Pashto/Southern Pashto
pt por Latn Portuguese
qu que=quy Latn Quechua/Ayacucho Quechua
rm roh Latn Romansh
rn run Latn Rundi/Kirundi
ro ron Latn Romanian/Moldovan
ru rus Cyrl Russian
rw kin Latn Kinyarwanda
sa san Deva Sanskrit
- sat Olck Santali
sc srd Latn Sardinian
- scn Latn Sicilian
sd snd Arab Sindhi
se sme Latn Northern Sami
sg sag Latn Sango
sh hbs Latn Serbo-Croatian
- shn Mymr Shan
si sin Sinh Sinhala/Sinhalese
sk slk Latn Slovak
sl slv Latn Slovenian/Slovene
sm smo Latn Samoan
sn sna Latn Shona
so som Latn Somali
sq sqi=als Latn Albanian/Tosk Albanian
sr srp Cyrl Serbian
ss ssw Latn Swati/Swazi
st sot Latn Southern Sotho/Sesotho
su sun Latn Sundanese
sv swe Latn Swedish
sw swa=swh Latn Swahili
- szl Latn Silesian
ta tam Taml Tamil
- taq Latn Tamasheq
te tel Telu Telugu
tg tgk Cyrl Tajik
th tha Thai Thai
ti tir Ethi Tigrinya
tk tuk Latn Turkmen
tl tgl=fil Latn Tagalog/Filipino
tn tsn Latn Tswana/Setswana
to ton Latn Tongan
- tpi Latn Tok Pisin
tr tur Latn Turkish
ts tso Latn Tsonga
tt tat Cyrl Tatar
- tum Latn Tumbuka
tw twi Latn Twi
ty tah Latn Tahitian
- tzm Tfng Central Atlas Tamazight/Tamazight
ug uig Arab Uyghur/Uighur
uk ukr Cyrl Ukrainian
- umb Latn Umbundu
ur urd Arab Urdu
uz uzb=uzn Latn Uzbek/Northern Uzbek
ve ven Latn Venda
- vec Latn Venetian
vi vie Latn Vietnamese
vo vol Latn Volapük
wa wln Latn Walloon
- war Latn Waray
wo wol Latn Wolof
xh xho Latn Xhosa
yi yid=ydd Hebr Yiddish/Eastern Yiddish
yo yor Latn Yoruba
- yue Hant Cantonese/Yue Chinese
za zha Latn Zhuang
zh zho=cmn Hans Chinese/Mandarin/Mandarin Chinese
zu zul Latn Zulu
"""
