"""One way to name languages, for every family's codes."""

from __future__ import annotations

import pytest

from llmkit.errors import InputError, OptionError
from llmkit.text.languages import find_language, find_pair, match_code, read_code, same_language

# ISO 639-1 (or -3), ISO 639-3, NLLB-200, M2M100, mBART-50 (`-`: the model does not have it), English name.
GOLDEN = """
af afr afr_Latn af af_ZA Afrikaans
am amh amh_Ethi am - Amharic
ar ara arb_Arab ar ar_AR Arabic
ast ast ast_Latn ast - Asturian
az aze azj_Latn az az_AZ Azerbaijani
ba bak bak_Cyrl ba - Bashkir
be bel bel_Cyrl be - Belarusian
bg bul bul_Cyrl bg - Bulgarian
bn ben ben_Beng bn bn_IN Bengali
br bre - br - Breton
bs bos bos_Latn bs - Bosnian
ca cat cat_Latn ca - Catalan
ceb ceb ceb_Latn ceb - Cebuano
cs ces ces_Latn cs cs_CZ Czech
cy cym cym_Latn cy - Welsh
da dan dan_Latn da - Danish
de deu deu_Latn de de_DE German
el ell ell_Grek el - Greek
en eng eng_Latn en en_XX English
eo epo epo_Latn - - Esperanto
es spa spa_Latn es es_XX Spanish
et est est_Latn et et_EE Estonian
eu eus eus_Latn - - Basque
fa fas pes_Arab fa fa_IR Persian
fi fin fin_Latn fi fi_FI Finnish
fr fra fra_Latn fr fr_XX French
fy fry - fy - Western Frisian
ga gle gle_Latn ga - Irish
gd gla gla_Latn gd - Scottish Gaelic
gl glg glg_Latn gl gl_ES Galician
gu guj guj_Gujr gu gu_IN Gujarati
ha hau hau_Latn ha - Hausa
he heb heb_Hebr he he_IL Hebrew
hi hin hin_Deva hi hi_IN Hindi
hr hrv hrv_Latn hr hr_HR Croatian
ht hat hat_Latn ht - Haitian Creole
hu hun hun_Latn hu - Hungarian
hy hye hye_Armn hy - Armenian
id ind ind_Latn id id_ID Indonesian
ig ibo ibo_Latn ig - Igbo
ilo ilo ilo_Latn ilo - Ilocano
is isl isl_Latn is - Icelandic
it ita ita_Latn it it_IT Italian
ja jpn jpn_Jpan ja ja_XX Japanese
jv jav jav_Latn jv - Javanese
ka kat kat_Geor ka ka_GE Georgian
kk kaz kaz_Cyrl kk kk_KZ Kazakh
km khm khm_Khmr km km_KH Khmer
kn kan kan_Knda kn - Kannada
ko kor kor_Hang ko ko_KR Korean
ku kur kmr_Latn - - Kurdish
ky kir kir_Cyrl - - Kyrgyz
lb ltz ltz_Latn lb - Luxembourgish
lg lug lug_Latn lg - Ganda
ln lin lin_Latn ln - Lingala
lo lao lao_Laoo lo - Lao
lt lit lit_Latn lt lt_LT Lithuanian
lv lav lvs_Latn lv lv_LV Latvian
mg mlg plt_Latn mg - Malagasy
mi mri mri_Latn - - Maori
mk mkd mkd_Cyrl mk mk_MK Macedonian
ml mal mal_Mlym ml ml_IN Malayalam
mn mon khk_Cyrl mn mn_MN Mongolian
mr mar mar_Deva mr mr_IN Marathi
ms msa zsm_Latn ms - Malay
mt mlt mlt_Latn - - Maltese
my mya mya_Mymr my my_MM Burmese
ne nep npi_Deva ne ne_NP Nepali
nl nld nld_Latn nl nl_XX Dutch
nn nno nno_Latn - - Norwegian Nynorsk
no nor nob_Latn no - Norwegian
ny nya nya_Latn - - Nyanja
oc oci oci_Latn oc - Occitan
om orm gaz_Latn - - Oromo
or ori ory_Orya or - Odia
pa pan pan_Guru pa - Punjabi
pl pol pol_Latn pl pl_PL Polish
ps pus pbt_Arab ps ps_AF Pashto
pt por por_Latn pt pt_XX Portuguese
qu que quy_Latn - - Quechua
ro ron ron_Latn ro ro_RO Romanian
ru rus rus_Cyrl ru ru_RU Russian
rw kin kin_Latn - - Kinyarwanda
sd snd snd_Arab sd - Sindhi
si sin sin_Sinh si si_LK Sinhala
sk slk slk_Latn sk - Slovak
sl slv slv_Latn sl sl_SI Slovenian
sm smo smo_Latn - - Samoan
sn sna sna_Latn - - Shona
so som som_Latn so - Somali
sq sqi als_Latn sq - Albanian
sr srp srp_Cyrl sr - Serbian
st sot sot_Latn - - Southern Sotho
su sun sun_Latn su - Sundanese
sv swe swe_Latn sv sv_SE Swedish
sw swa swh_Latn sw sw_KE Swahili
ta tam tam_Taml ta ta_IN Tamil
te tel tel_Telu - te_IN Telugu
tg tgk tgk_Cyrl - - Tajik
th tha tha_Thai th th_TH Thai
ti tir tir_Ethi - - Tigrinya
tk tuk tuk_Latn - - Turkmen
tl tgl tgl_Latn tl tl_XX Tagalog
tr tur tur_Latn tr tr_TR Turkish
tt tat tat_Cyrl - - Tatar
ug uig uig_Arab - - Uyghur
uk ukr ukr_Cyrl uk uk_UA Ukrainian
ur urd urd_Arab ur ur_PK Urdu
uz uzb uzn_Latn uz - Uzbek
vi vie vie_Latn vi vi_VN Vietnamese
wo wol wol_Latn wo - Wolof
xh xho xho_Latn xh xh_ZA Xhosa
yi yid ydd_Hebr yi - Yiddish
yo yor yor_Latn yo - Yoruba
yue yue yue_Hant - - Cantonese
zh zho zho_Hans zh zh_CN Chinese
zu zul zul_Latn zu - Zulu
"""
ROWS = [line.split(" ", 5) for line in GOLDEN.strip().splitlines()]


def codes_of(family: str) -> list[str]:
    """The codes that a family's tokenizer has in the installed transformers."""
    if family == "nllb":
        from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as NLLB

        return list(NLLB)
    if family == "m2m100":
        from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES as M2M100

        return list(M2M100["m2m100"])
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES as MBART

    return list(MBART)


FAMILIES = ("nllb", "m2m100", "mbart")


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_each_way_to_name_a_language_finds_each_family_s_code(row: list[str]) -> None:
    short, code, *own, name = row
    for family, expected in zip(FAMILIES, own, strict=True):
        for said in (short, short.upper(), code, name, name.lower(), expected):
            if said == "-":
                continue
            language = find_language(said, "target")
            assert language.name == name
            if expected == "-":
                with pytest.raises(InputError, match="does not know"):
                    match_code(language, codes_of(family), said="target", model="m")
            else:
                match = match_code(language, codes_of(family), said="target", model="m")
                assert (match.code, match.exact) == (expected, True)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_code_of_a_family_finds_itself_and_has_a_name(family: str) -> None:
    codes = codes_of(family)
    for code in codes:
        language = find_language(code, "target")
        assert language.name is not None
        assert match_code(language, codes, said="target", model="m").code == code


@pytest.mark.parametrize(
    ("said", "tag", "label"),
    [
        ("de", "de", "German"),
        ("GER", "de", "German"),
        (">>deu<<", "de", "German"),
        ("<2de>", "de", "German"),
        ("__de__", "de", "German"),
        ("zh-Hant", "zh-Hant", "Traditional Chinese"),
        ("zho_Hans", "zh-Hans", "Simplified Chinese"),
        ("Chinese (Traditional)", "zh-Hant", "Traditional Chinese"),
        ("zh-TW", "zh-TW", "Chinese (zh-TW)"),
        ("zh-yue", "yue", "Cantonese"),
        ("pt_br", "pt-BR", "Portuguese (pt-BR)"),
        ("Brazilian Portuguese", "pt-BR", "Portuguese (pt-BR)"),
        ("es-419", "es-419", "Spanish (es-419)"),
        ("sr-Latn", "sr-Latn", "Serbian (Latin script)"),
        ("iw", "he", "Hebrew"),
        ("Farsi", "fa", "Persian"),
        ("nb", "no", "Norwegian"),
        ("cmn", "zh", "Chinese"),
        ("en_XX", "en", "English"),
        ("Bokmål", "no", "Norwegian"),
    ],
)
def test_tags_and_names(said: str, tag: str, label: str) -> None:
    language = find_language(said, "target")
    assert (language.tag, language.label) == (tag, label)


@pytest.mark.parametrize(
    ("said", "codes", "code", "exact"),
    [
        ("zh", ["zho_Hant", "zho_Hans", "yue_Hant"], "zho_Hans", True),
        ("zh-TW", ["zho_Hant", "zho_Hans", "yue_Hant"], "zho_Hant", True),
        ("zh-HK", ["zh", "yue"], "zh", False),
        ("pt", ["pt_BR", "pt"], "pt", True),
        ("pt-BR", ["pt_BR", "pt"], "pt_BR", True),
        ("pt-BR", ["pt_PT", "pt"], "pt", False),
        ("fr", [">>fr_CA<<", ">>fr_FR<<", ">>fr_BE<<"], ">>fr_FR<<", True),
        ("no", [">>nno<<", ">>nob<<"], ">>nob<<", True),
        ("ace", ["ace_Arab", "ace_Latn"], "ace_Latn", True),
        ("ace-Arab", ["ace_Arab", "ace_Latn"], "ace_Arab", True),
        ("sat", ["sat_Beng"], "sat_Beng", True),
        ("tyv", ["rus_Cyrl", "tyv_Cyrl"], "tyv_Cyrl", True),
    ],
)
def test_scripts_and_regions(said: str, codes: list[str], code: str, exact: bool) -> None:
    match = match_code(find_language(said, "target"), codes, said="target", model="m")
    assert (match.code, match.exact) == (code, exact)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("Germn", "`target` Germn: no such language; the nearest are de (German)"),
        ("xx", "no such language; give a code"),
        ("", "no such language"),
        ("de-german", "no such language"),
        ("Klingon", "no such language"),
    ],
)
def test_no_such_language(said: str, message: str) -> None:
    with pytest.raises(OptionError) as raised:
        find_language(said, "target")
    assert raised.value.option == "target"
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("said", "family", "message"),
    [
        ("zh-Hant", "mbart", "`target` x: m does not know Traditional Chinese; the nearest it has are zh_CN"),
        ("sr-Latn", "nllb", "the nearest it has are srp_Cyrl"),
        ("jap", "nllb", "m does not know jap; the nearest it has are jpn_Jpan"),
        ("nn", "m2m100", "the nearest it has are no"),
        ("ckb", "m2m100", "it has 100 others"),
    ],
)
def test_a_language_that_the_model_lacks(said: str, family: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        match_code(find_language(said, "target"), codes_of(family), said="target=x", model="m")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("de", "German", True),
        ("de", "de-AT", True),
        ("zh", "zh-CN", True),
        ("zh-Hans", "zh-Hant", False),
        ("pt-PT", "pt-BR", False),
        ("no", "nn", False),
        ("ar", "arz", False),
    ],
)
def test_the_same_language_twice(one: str, other: str, same: bool) -> None:
    assert same_language(find_language(one, ""), find_language(other, "")) is same
    if same:
        with pytest.raises(OptionError, match=f"{one} and target={other} ") as raised:
            find_pair(one, other)
        assert raised.value.option == "source"


def test_what_is_no_code() -> None:
    assert [read_code(text) for text in ("ROMANCE", "de_DE_x", "translate", "12", "")] == [None] * 5
