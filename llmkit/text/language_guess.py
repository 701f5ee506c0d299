"""Guess the language of a text by its script, its most frequent words and its letters.

It supports the languages of the tables below, and needs no model. It is meant for sentences; a single word is
often not enough.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

# Scripts (the first word of a character's Unicode name) of one language each.
_SCRIPTS = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh",
    "GREEK": "el",
    "HEBREW": "he",
    "THAI": "th",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
    "BENGALI": "bn",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "KHMER": "km",
    "LAO": "lo",
    "MYANMAR": "my",
    "SINHALA": "si",
    "ETHIOPIC": "am",
    "TIBETAN": "bo",
}
# Frequent words of languages that share a script, and letters that only some of them have.
_WORDS = {
    "en": "a i the of and to in is was that it for on with as are this be by at from have not he his you "
    "they we an which were has their but will can all its or more when who been one had would",
    "de": "der die und das den von zu ist mit im für auf sich nicht ein eine des dem auch es an als "
    "werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum war "
    "haben nur oder aber ich wir",
    "fr": "le la les de des et un une du dans en est que qui pour par sur au avec il ne pas plus ce se "
    "sont aux cette ont été son sa ses mais ou leur elle nous vous je comme être on fait à",
    "es": "el la los las de y que en un una del por con para es se no al su más como lo fue son pero sus "
    "ha o este esta también entre desde cuando muy sin sobre hay ya todo está yo",
    "pt": "o os as de e que em um uma do da dos das para com por não se no na mais como foi são ao mas à "
    "pelo pela também seu sua ou é ser tem nos nas quando muito eu você isso está",
    "it": "il lo la i gli le di e che un una in per con non è si del della dei delle al alla da dal nel "
    "nella sono come anche più ha ma questo questa o su suo sua essere stato ho",
    "nl": "de het een van en in is dat op te zijn voor met niet die aan er om ook als bij door uit maar "
    "naar dan ze werd wordt hij ik was heeft hebben deze dit over kan worden nog of je",
    "sv": "och att det i en som på är av för med den till inte har de ett om var han men sig från så kan "
    "jag vi också eller när vid efter skulle många under mycket detta",
    "da": "og at det i en som på er af for med den til ikke har de et om var han men sig fra så kan jeg "
    "vi også eller når ved efter skulle mange meget dette blev være hvor",
    "nb": "og at det i en som på er av for med den til ikke har de et om var han men seg fra så kan jeg "
    "vi også eller når ved etter skulle mange mye dette ble være hvor",
    "fi": "ja on ei se että oli ovat mutta kun hän joka myös tai niin kuin ole jos voi olla sen siitä "
    "mukaan ne jotka vain kanssa hänen vuonna noin minä sitä tämä ennen",
    "et": "ja on ei see et oli kui ka mis ta aga oma nad või kes siis selle mida olid seda ning kuid "
    "välja pärast",
    "pl": "i w na z się nie że do jest to o jak po ale przez od za by oraz był które dla jego tym może są "
    "czy tak został przed jednak ten tego jej",
    "cs": "a v se na že je s z do o to jako ale by si byl po k za i od nebo jsou které který jeho také "
    "podle pro při jsem aby více však když",
    "sk": "a v sa na že je s z do o to ako ale by si bol po k za aj od alebo sú ktoré ktorý jeho tiež "
    "podľa pre pri som aby viac však keď",
    "sl": "in v je na se da so za z ki ne pa tudi kot po iz bi od ali pri s še bil ni ter lahko med do",
    "hr": "i u je na se da su za od s ne koji kao a o iz to bi ili po što ali koja bio nije koje te već samo",
    "ro": "și în de la a că cu pe un o nu din este pentru sau care mai au fost prin fi se al ale lui dar "
    "ca sunt după acest această sa îi",
    "hu": "a az és hogy nem is egy volt van de meg ez csak mint el ha már vagy azt még lehet ki után "
    "amely kell között amikor ezt fel lesz",
    "tr": "ve bir bu da de için ile olarak çok daha olan gibi en ne kadar sonra ancak olduğu o var "
    "tarafından ise her ya değil bunun iki",
    "id": "yang dan di untuk dengan dari pada ini itu dalam tidak adalah oleh akan ke sebagai juga atau "
    "telah ada mereka bisa lebih dapat saat karena bahwa",
    "ca": "el la els les de i que en un una per amb del al és no es més va com dels però són ha seva seu "
    "aquest aquesta també ser o ho molt",
    "vi": "và của là có được trong cho không với một các những người này đã từ khi đến để ở như tại cũng "
    "về nhưng",
    "lt": "ir yra kad su iš į buvo kaip tai bet ar jo dėl nuo po jau gali labai taip per už arba",
    "lv": "un ir ka ar no uz bija kā tas bet vai par pēc to arī viņš lai gan kas tika pie",
    "eo": "la kaj de en estas al kun por ne li mi ke sed pri kiel oni estis ĝi pli el ili aŭ",
    "sw": "na ya wa kwa ni katika za la kuwa hii cha kama watu yake huo lakini pia moja au hiyo",
    "ru": "и в не на что с он как это по но из у за от его к для был так же бы было только или она они",
    "uk": "і в не на що з він як це та але у за від його до для був так або було вона вони є й із також про",
    "bg": "и в на да се за от не с че са по това като е до или беше който към има той може също през",
    "sr": "и у на је да се су за од са не који као а о из то би или по што али која био није које",
    "mk": "и во на да се за од не со дека што по ова како е до или беше кој има тоа може исто",
    "ar": "في من على أن إلى التي عن مع هذا هذه كان الذي لا ما أو قد كانت بين بعد ذلك ولا وقد هو هي",
    "fa": "و در به از که این را با است برای آن یک خود می تا شد بود بر هم نیز او ها های شده",
    "ur": "کے میں کی ہے اور سے کا کو اس نے پر یہ ہیں کہ بھی تھا نہیں ایک جو لیے ہو",
    "hi": "के में की है और से का को इस ने पर यह हैं कि भी था नहीं एक जो लिए हो करने",
    "mr": "आणि आहे या च्या हे ते की एक नाही होते होता त्या मध्ये आहेत तर करण्यात झाला",
    "ne": "र को मा छ यो पनि ले का गर्न छन् हो भने एक लागि थियो गरेको तथा",
}
_LETTERS = {
    "de": "ßäöü",
    "fr": "êëîïûœç",
    "es": "ñ¿¡",
    "pt": "ãõ",
    "sv": "äö",
    "da": "æø",
    "nb": "æø",
    "fi": "äö",
    "et": "õäöü",
    "pl": "łąęśżźćń",
    "cs": "řěů",
    "sk": "ľĺŕôä",
    "sl": "čšž",
    "hr": "đćčšž",
    "ro": "șțăâ",
    "hu": "őű",
    "tr": "ğışİ",
    "ca": "·çïò",
    "vi": "ơưđạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ",
    "lt": "ėįųž",
    "lv": "āēīūņļķģ",
    "eo": "ĉĝĥĵŝŭ",
    "ru": "ыэё",
    "uk": "іїєґ",
    "bg": "ъ",
    "sr": "јђћџљњ",
    "mk": "јѓќѕ",
    "fa": "پچژگی",
    "ur": "ٹڈڑںےہ",
    "mr": "ळ",
}
_TABLE = {code: frozenset(words.split()) for code, words in _WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+")
_CHARACTERS = 5000


@dataclass(frozen=True)
class Guess:
    """A language that a text may be in.

    Attributes:
        language: ISO 639-1 code.
        confidence: 0 to 1.
    """

    language: str
    confidence: float


def guess_languages(text: str) -> list[Guess]:
    """Return the languages that a text may be in, the most likely first; empty for a text without letters.

    Args:
        text: of it the first 5,000 characters are read.
    """
    text = unicodedata.normalize("NFC", text[:_CHARACTERS]).casefold()
    scripts = Counter(unicodedata.name(one, "?").split()[0].split("-")[0] for one in text if one.isalpha())
    if not scripts:
        return []
    letters = sum(scripts.values())
    if scripts["HIRAGANA"] + scripts["KATAKANA"] > 0.05 * letters:
        return [Guess("ja", 1.0)]
    if scripts["CJK"] > 0.2 * letters:  # a character is a word or half of one
        return [Guess("zh", min(1.0, 3 * scripts["CJK"] / letters))]
    script, count = scripts.most_common(1)[0]
    if script in _SCRIPTS:
        return [Guess(_SCRIPTS[script], count / letters)]
    words = _WORD.findall(text)
    points = {code: _points(words, text, code) for code in _TABLE}
    total = sum(points.values())
    if not total:
        return []
    # The square sharpens the lead of a language that explains most of the words.
    squares = {code: value**2 for code, value in points.items() if value}
    whole = sum(squares.values())
    ordered = sorted(squares, key=lambda code: (-squares[code], code))
    return [Guess(code, squares[code] / whole) for code in ordered[:5]]


def _points(words: list[str], text: str, code: str) -> float:
    known = sum(1 for word in words if word in _TABLE[code])
    own = sum(text.count(letter) for letter in _LETTERS.get(code, ""))
    return known + 0.5 * own
