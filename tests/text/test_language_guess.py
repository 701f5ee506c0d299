"""The language of a text is guessed by script, words and letters."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llmkit.text.language_guess import guess_languages

SENTENCES = {
    "en": "The old man sat by the window and looked at the rain that was falling on the street.",
    "de": "Der alte Mann saß am Fenster und schaute auf den Regen, der auf die Straße fiel.",
    "fr": "Le vieil homme était assis près de la fenêtre et regardait la pluie qui tombait dans la rue.",
    "es": "El viejo estaba sentado junto a la ventana y miraba la lluvia que caía en la calle.",
    "pt": "O velho estava sentado à janela e olhava para a chuva que não parava de cair na rua.",
    "it": "Il vecchio era seduto alla finestra e guardava la pioggia che cadeva sulla strada.",
    "nl": "De oude man zat bij het raam en keek naar de regen die op de straat viel.",
    "sv": "Den gamle mannen satt vid fönstret och såg på regnet som inte slutade att falla.",
    "fi": "Vanha mies istui ikkunan ääressä ja katsoi sadetta, joka ei ole vielä ohi, kun hän nousi.",
    "pl": "Stary człowiek siedział przy oknie i patrzył na deszcz, który nie przestawał padać.",
    "cs": "Starý muž seděl u okna a díval se na déšť, který nepřestával padat.",
    "hu": "Az öreg ember az ablaknál ült, és nézte az esőt, amely nem akart elállni.",
    "tr": "Yaşlı adam pencerenin yanında oturdu ve sokağa yağan yağmuru izledi, çünkü bu bir gündü.",
    "ru": "Старик сидел у окна и смотрел на дождь, который не переставал идти.",
    "uk": "Старий сидів біля вікна і дивився на дощ, який не переставав іти на вулиці.",
    "bg": "Старецът седеше до прозореца и гледаше дъжда, който не спираше да вали на улицата.",
    "el": "Ο γέρος καθόταν δίπλα στο παράθυρο.",
    "he": "הזקן ישב ליד החלון",
    "ar": "جلس الرجل العجوز على الكرسي ونظر إلى المطر من النافذة",
    "fa": "پیرمرد کنار پنجره نشسته بود و به باران که در خیابان می بارید نگاه می کرد",
    "hi": "बूढ़ा आदमी खिड़की के पास बैठा था और बारिश को देख रहा था",
    "ja": "老人は窓のそばに座って、通りに降る雨を見ていました。",
    "ko": "노인은 창가에 앉아 비를 바라보았다.",
    "zh": "老人坐在窗边，看着街上的雨。",
    "th": "ชายชรานั่งอยู่ข้างหน้าต่าง",
    "vi": "Ông già ngồi bên cửa sổ và nhìn cơn mưa đang rơi trên đường.",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_recognized(code: str) -> None:
    found = guess_languages(SENTENCES[code])
    assert found[0].language == code
    assert 0 < found[0].confidence <= 1
    assert sum(one.confidence for one in found) <= 1.001


@pytest.mark.parametrize("text", ["", "123 !?", "xqzzt", "\U000d9639"])
def test_nothing_is_said_of_what_is_no_language(text: str) -> None:
    assert guess_languages(text) == []


@pytest.mark.skipif("LLMKIT_DATA" not in os.environ, reason="LLMKIT_DATA names no data sets")
@pytest.mark.parametrize(
    ("name", "code"), [("deu_Latn", "de"), ("eng_Latn", "en"), ("fra_Latn", "fr"), ("zho_Hans", "zh")]
)
def test_sentences_of_flores_are_recognized(name: str, code: str) -> None:
    lines = (Path(os.environ["LLMKIT_DATA"]) / "mt/flores200" / f"{name}.dev").read_text().splitlines()[:200]
    right = sum(bool(found) and found[0].language == code for found in map(guess_languages, lines))
    assert right >= 0.98 * len(lines)
