"""The chat page in a headless Chromium: what a person does with it, a hostile answer, and axe's rules."""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

URL = os.environ["LLMKIT_URL"] + "/"
KEY = os.environ["OPENAI_API_KEY"]
SCHEMA = {
    "type": "object",
    "properties": {"pet": {"enum": ["dog", "cat"]}},
    "required": ["pet"],
    "additionalProperties": False,
}
HOSTILE = (
    "<script>window.hacked = 1</script>\n\n<img src=x onerror='window.hacked = 2'>\n\n"
    "[a link](javascript:window.hacked=3) ![a picture](https://example.org/told.png)\n\n"
    "<iframe src='/'></iframe><style>body { display: none }</style>\n\n"
    + "| a | b |\n|---|---|\n"
    + "| <svg onload='window.hacked = 4'> | cell |\n" * 1000
    + "\n```js\nlet a = '</code><script>window.hacked = 5</script>';\n```\n\n"
    + "word " * 10_000
    + "x" * 20_000
)
problems: list[str] = []


def open_page(browser: Browser, **context: object) -> Page:
    """A new browser profile, with the page open and the key given."""
    page = browser.new_context(
        **{"viewport": {"width": 1200, "height": 800}, "locale": "en-US", **context}
    ).new_page()
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on(
        "console",
        lambda one: problems.append(one.text) if one.type == "error" and "401" not in one.text else None,
    )
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(URL)
    page.fill("#key-text", "not the key")
    page.click("#key button")
    expect(page.locator("#key-refused")).to_be_visible()
    page.fill("#key-text", KEY)
    page.keyboard.press("Enter")
    expect(page.locator("body[data-ready]")).to_have_count(1)
    return page


def choose(page: Page, **values: object) -> None:
    page.click("#settings summary")
    for name, value in values.items():
        page.locator(f"#{name}").set_checked(value) if isinstance(value, bool) else page.fill(
            f"#{name}", str(value)
        )
    page.click("#settings summary")


def ask(page: Page, text: str, *, wait: bool = True) -> None:
    page.fill("#text", text)
    page.keyboard.press("Enter")
    if wait:
        finished(page)


def finished(page: Page) -> None:
    expect(page.locator("#send")).to_be_visible(timeout=60_000)
    expect(page.locator("#messages")).to_have_attribute("aria-busy", "false")


def answer(page: Page) -> str:
    return page.locator("article.assistant .body").last.inner_text()


def chat(browser: Browser) -> None:
    page = open_page(browser)
    choose(page, max_tokens=40, seed=7, system="You are kind.", logprobs=True)
    ask(page, "Write a story about a dog.")
    first = answer(page)
    assert len(first) > 40
    expect(page.locator(".facts").last).to_contain_text(re.compile(r"40 tokens, [\d.]+ tokens/s · seed 7"))
    page.click("button[data-word=regenerate]")
    finished(page)
    assert answer(page) == first  # the same seed
    page.click("button[data-word=tokens]")
    tokens = page.locator(".token")
    assert tokens.count() > 20
    assert "".join(tokens.all_text_contents()).split() == first.split()
    tokens.nth(3).hover()
    assert page.locator("#alternatives div").count() >= 5
    page.locator(".tokens").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#alternatives")).to_be_visible()
    page.click("button[data-word=continue]")
    finished(page)
    assert answer(page).startswith(first.rstrip())
    assert len(answer(page)) > len(first) + 40
    ask(page, "Now about a cat.")
    page.reload()
    expect(page.locator("article")).to_have_count(4)
    page.click("#new")
    expect(page.locator("article")).to_have_count(0)
    page.context.close()


def stop(browser: Browser) -> None:
    page = open_page(browser)
    choose(page, max_tokens=450)
    ask(page, "Write a long story.", wait=False)
    expect(page.locator("article.assistant .body")).to_contain_text(re.compile(r"\w{3}"), timeout=60_000)
    page.keyboard.press("Escape")
    finished(page)
    expect(page.locator("#status")).to_have_text("Stopped.")
    assert 0 < len(answer(page)) < 1500
    page.context.close()


def edit(browser: Browser) -> None:
    page = open_page(browser)
    choose(page, max_tokens=10, seed=1)
    ask(page, "Write a story about a dog.")
    page.locator("article.assistant button[data-word=edit]").click()
    page.fill("article textarea", "Once there was a **bird**.")
    page.click("button[data-word=save]")
    expect(page.locator("article.assistant strong")).to_have_text("bird")
    page.locator("article.user button[data-word=edit]").click()
    page.fill("article textarea", "Write a story about a cat.")
    page.click("button[data-word=saveSend]")
    finished(page)
    expect(page.locator("article")).to_have_count(2)
    expect(page.locator("article.user .body")).to_have_text("Write a story about a cat.")
    assert "bird" not in answer(page)
    page.context.close()


def export_and_import(browser: Browser, folder: Path) -> None:
    page = open_page(browser)
    choose(page, max_tokens=10)
    ask(page, "Write a story about a <b>dog</b>.")
    text = answer(page)
    with page.expect_download() as found:
        page.click("#export")
    file = folder / "conversations.json"
    found.value.save_as(file)
    page.click("#conversations button:not(.open)")
    expect(page.locator("#conversations li")).to_have_count(0)
    page.context.close()
    page = open_page(browser)
    page.set_input_files("#import-file", file)
    expect(page.locator("#status")).to_have_text("Imported conversations: 1")
    page.click("#conversations .open")
    assert answer(page) == text
    bad = folder / "bad.json"
    for content in ("[]", "{", '{"format": "llmkit-conversations", "conversations": [{"id": 1}]}'):
        bad.write_text(content)
        page.set_input_files("#import-file", bad)
        expect(page.locator("#status.error")).to_be_visible()
    page.context.close()


def schema(browser: Browser) -> None:
    page = open_page(browser)
    choose(page, schema="[1")
    ask(page, "A pet, please.")
    expect(page.locator("#status")).to_contain_text("not a JSON object")
    choose(page, schema=json.dumps(SCHEMA))
    ask(page, "A pet, please.")
    assert json.loads(answer(page))["pet"] in ("dog", "cat")
    page.context.close()


def tasks(browser: Browser) -> None:
    page = open_page(browser)
    page.click("#tab-translate")
    expect(page.locator("#from")).to_have_value("en")
    page.fill("#source-text", "Good morning.")
    page.click("#translate-form button[type=submit]")
    expect(page.locator("#target-text")).to_have_value(re.compile("Morgen"), timeout=60_000)
    page.keyboard.press("Escape")
    page.click("#tab-summarize")
    page.check("#extractive")
    page.fill("#max-words", "12")
    page.fill(
        "#long-text",
        "The ship left the harbor at dawn. It carried grain. The crew sang. A storm came at noon.",
    )
    page.click("#summarize-form button[type=submit]")
    expect(page.locator("#summary-text")).to_contain_text(re.compile(r"\w+ \w+"), timeout=60_000)
    page.focus("#tab-summarize")
    page.keyboard.press("ArrowRight")
    page.fill("#context", "Anna lives in Paris. She has a dog named Rex.")
    page.fill("#question", "Where does Anna live?")
    page.keyboard.press("Enter")
    expect(page.locator("#answer-text, #questions-status.error").first).to_contain_text(
        re.compile(r"\w"), timeout=60_000
    )
    page.select_option("#language", "zh")
    expect(page.locator("#tab-chat")).to_have_text("对话")
    page.context.close()


def hostile(browser: Browser) -> None:
    page = open_page(browser, viewport={"width": 390, "height": 844})
    pieces = [HOSTILE[i : i + 400] for i in range(0, len(HOSTILE), 400)]
    chunks = [{"choices": [{"index": 0, "delta": {"content": one}, "finish_reason": None}]} for one in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    body = "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + "data: [DONE]\n\n"
    page.route(
        "**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body)
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ask(page, "Be evil.")
    expect(page.locator("article.assistant tbody tr")).to_have_count(1000)
    assert page.evaluate("window.hacked") is None
    for selector in (
        "script",
        "img",
        "iframe",
        "style",
        "svg",
        "[onerror]",
        "[onload]",
        "a[href^=javascript]",
    ):
        assert page.locator(f"article {selector}").count() == 0, selector
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not [one for one in asked if "example.org" in one]
    page.click("#show-list")
    page.click("#new")
    expect(page.locator("#text")).to_be_focused()  # after the list is drawn
    page.context.close()


def rules(browser: Browser) -> None:
    """Find what axe calls serious or critical, in every tab, in both colors, wide and narrow."""
    found: list[str] = []

    def check(page: Page, where: str) -> None:
        response = Axe().run(page).response
        assert len(response["passes"]) > 20, where  # it ran
        for one in response["violations"]:
            if one["impact"] in ("serious", "critical"):
                found.append(f"{where}: {one['id']}: {[node['html'][:100] for node in one['nodes'][:3]]}")

    for color, width in (("light", 1200), ("dark", 1200), ("light", 390), ("dark", 390)):
        page = open_page(browser, color_scheme=color, viewport={"width": width, "height": 800})
        where = f"{color} {width}"
        choose(page, max_tokens=30, logprobs=True)
        ask(page, "Write a story.")
        ask(page, "Then?")
        page.locator("article.assistant button[data-word=tokens]").first.click()
        page.locator(".token").nth(2).hover()
        check(page, f"{where} tokens")
        page.locator("article.user button[data-word=edit]").first.click()
        page.click("#settings summary")
        check(page, f"{where} settings")
        for tab in ("translate", "summarize", "questions"):
            page.click(f"#tab-{tab}")
            check(page, f"{where} {tab}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.context.close()
    assert found == [], "\n".join(found)


def main() -> None:
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=os.environ["LLMKIT_CHROMIUM"])
        for run in (chat, stop, edit, schema, tasks, hostile, rules):
            print(run.__name__, file=sys.stderr)
            run(browser)
        export_and_import(browser, Path(folder))
        browser.close()
    assert problems == [], problems
    print("done")


main()
