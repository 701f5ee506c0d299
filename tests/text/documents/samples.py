"""Small documents of every text format, and translators that return something else than prose."""

from __future__ import annotations

from llmkit.text.documents import Document, Segment, apply_inline, apply_parts
from llmkit.text.documents.segment import Parts

MARKDOWN = """---
title: "A guide"
layout: post
---

Guide to *the* `tool`
=====================

> [!NOTE]
> Read the **whole
> text** of [this page](https://a.example/x "t") or [that one][ref],
> then [ref].

1. First ~~old~~ item\\
   with a second line  \nand a lazy third
   - [x] Done, with a note[^1] and ^[an inline note]
   - [ ] Open: call `f(x)` with {name}, {{ page.title }} and %s

     ```python
     print("not prose")
     ```

| Name \\| key | What it *does* |
|:-----------|---------------:|
| `a`        | Adds two & more &amp; $x^2$ |
 plain | cell

![A picture of a cat](cat.png) ![badge](b.svg)

<details><summary>More <b>text</b></summary>
<p align="center">Inside <img src="x.png" alt="An image" width=3> &nbsp; HTML</p>
</details>

Costs $5 to $10, see me@example.org or <https://b.example>. 2 * 3 * 4 = 24; snake_case stays.

$$
not = prose
$$

[^1]: The note's text
    goes on here.

[ref]: https://c.example "title"
Term\ta tab and  two spaces.\r\nA line after a carriage return.
"""

HTML = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>My &amp; page</title>
<style>p { color: red }</style><script>var a = "<p>no prose</p>";</script></head>
<body class='x'>
<!-- a comment -->
<h1>Hello <em>big</em> world</h1>
<p>Press <kbd>Ctrl</kbd> or <a href="x?a=1&amp;b=2" title="Go there">click
   here</a>,<br>then wait &mdash; 2 < 3 &copy;.
<p translate="no">Not this</p> <span class="notranslate">nor this</span>
<ul><li>One<li>Two <img src=a.png alt="A &quot;cat&quot;"></ul>
<pre>code  block</pre><textarea>field</textarea>
<table><tr><td>Cell</td><td><b>Bold</b></td></tr></table>
Unclosed <b>tag <i>here</b>
</body></html>
"""

SRT = """\ufeff1
00:00:01,000 --> 00:00:02,500
<i>I did not know</i>

2
00:00:02,600 --> 00:00:04,000
<i>that you were
already here.</i>

3
00:00:05,000 --> 00:00:06,000 X1:10
- Hello!
- {\\an8}Bye... ♪

4
00:00:07,000 --> 00:00:08,000
♪ La la la ♪
"""

VTT = """WEBVTT - title

NOTE a comment
that stays

STYLE
::cue { color: red }

intro
00:01.000 --> 00:03.000 align:start
<v Ann>You &amp; I <b>know</b>

00:03.100 --> 00:04.000
<v Ann>each other.

00:05.000 --> 00:06.000
<c.loud>Stop</c> <00:05.500>now!
"""

PO = """# A comment
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

#: a.c:1
#, c-format
msgid "Found %d file in \\"%s\\".\\n"
msgid_plural "Found %d files in \\"%s\\".\\n"
msgstr[0] ""
msgstr[1] ""

msgctxt "menu"
msgid ""
"A long text that goes over "
"two lines, %(name)s."
msgstr ""

msgid "Done"
msgstr "Fertig"

#, fuzzy
msgid "Nearly"
msgstr "Fast"

#~ msgid "Old"
#~ msgstr ""
"""

JSON = """{
  "title": "Hello, {name}!", "count": 3, "url": "https://a.example/b",
  "list": ["One \\u2014\\n two", "snake_case", null, true],
  "@title": {"description": "for translators"},
  "files": "{n, plural, one {# file} other {# files}}"
}
"""

YAML = """# comment
en:
  plain: Hello there # end
  single: 'It''s %{n} files'
  double: "A \\"quoted\\" text\\nand a line"
  literal: |
    First line
      indented line
  folded: >-
    Some text that
    is folded

    and goes on
  flow: [one two, 3, yes, "four five"]
  anchor: &a Some text
  alias: *a
"""

PLAIN = "A heading\n\n  * An item that\r\n    goes on\n> quoted text\n> and more\n\nThe end\twith a tab"

TEXTS = {"md": MARKDOWN, "html": HTML, "srt": SRT, "vtt": VTT, "json": JSON, "yaml": YAML, "txt": PLAIN}

RUBBISH = (
    "lorem *ipsum* _dolor_ [x](y) <b>q</b>",
    "# a `b` | c $d$",
    "12. Q",
    "- zz\n\n- yy",
    "> [!NOTE]\n\n```\ncode",
    "ü \"quoted\" 'single' \\ back",
    "~~~ &amp; <!-- x --> {a: b}",
    "--> 00:00:01,000 --> 00:00:02,000",
    "",
)


def upper(segment: Segment) -> str:
    """The segment in capital letters, its pieces as they are."""
    out, last = [], 0
    for piece in segment.pieces:
        out += [segment.text[last : piece.start].upper(), segment.text[piece.start : piece.end]]
        last = piece.end
    return "".join([*out, segment.text[last:].upper()])


def uppercased(document: Document) -> list[Parts | None]:
    return [apply_inline(segment, upper(segment)).parts for segment in document.segments]


def identical(document: Document) -> list[Parts | None]:
    return [apply_inline(segment, segment.text).parts for segment in document.segments]


def rubbish(document: Document, first: int = 0) -> list[Parts | None]:
    """Each segment replaced by rubbish, by parts where that cannot stand in its place."""
    out = []
    for i, segment in enumerate(document.segments, first):
        text = RUBBISH[i % len(RUBBISH)]
        filled = apply_inline(segment, text)
        if filled.parts is None:
            filled = apply_parts(segment, [text] * len(segment.parts()))
        out.append(filled.parts)
    return out
