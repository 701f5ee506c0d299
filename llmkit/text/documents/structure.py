"""The structure of documents, determined without the code that splits them into segments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from llmkit.errors import InputError
from llmkit.text.documents.document import decode


def structure_of(data: bytes | str, format: str, declared: str | None) -> list[str]:
    """Return the structure of a document; see `skeleton`."""
    if format in {"docx", "odt", "epub"}:
        from llmkit.text.documents.packages.read import package_structure

        assert isinstance(data, bytes)
        return package_structure(data, format)
    text = (data if isinstance(data, str) else decode(data, declared)[0]).removeprefix("\ufeff")
    if format == "md":
        return markdown_structure(text)
    if format == "html":
        from llmkit.text.documents.markup.html import html_structure

        return html_structure(text, xml=text.lstrip().startswith("<?xml"))
    if format in {"srt", "vtt"}:
        return _subtitles(text)
    if format == "po":
        return _messages(text)
    if format == "json":
        return list(_values(json.loads(text), ""))
    if format == "yaml":
        return _yaml(text)
    return [re.sub(r"\S.*\S|\S", "text", line) for line in re.split(r"(?<=\n)", text) if not line.strip()]


def markdown_structure(text: str) -> list[str]:
    """Blocks in order, with code, and for each block of text its inline markup."""
    from llmkit.text.documents.markdown.parser import inline_tokens, parser
    from llmkit.text.documents.markdown.writer import inline_structure
    from llmkit.text.documents.markup.html import html_structure

    env: dict[str, Any] = {}
    found: list[str] = []
    for token in parser().parse(text, env):
        if token.type == "inline":
            inline = inline_structure(inline_tokens(token.content, env))
            found += sorted(f"{name} x{times}" for name, times in inline.items())
        elif token.type == "html_block":
            found += html_structure(token.content)
        elif token.type == "front_matter":
            found += ["front matter", *re.findall(r"(?m)^[\w-]+(?=:)", token.content)]
        else:
            detail = token.content or ""
            found.append(f"{token.type} {token.tag} {token.markup} {token.info} {token.attrs or ''} {detail}")
    found += [f"{label}: {link['href']}" for label, link in env.get("references", {}).items()]
    return found


_TIME = re.compile(r"[ \t]*(?:\d+:)?\d+:\d+[,.]\d+[ \t]*-->.*")


def _subtitles(text: str) -> list[str]:
    """Lines with times, the line before each (a number or a name), and the tags of each cue."""
    lines = re.split(r"\r\n|\r|\n", text)
    found: list[str] = []
    texts: list[str] = []
    for i, line in enumerate(lines):
        if _TIME.match(line):
            found += sorted(re.findall(r"</?[A-Za-z][^<>]*>|\{\\[^{}]*\}|♪", " ".join(texts)))
            named = i and (i < 2 or not lines[i - 2].strip() or lines[i - 1].strip().isdigit())
            found += [lines[i - 1] if named else "", line]
            texts = []
        else:
            texts.append(line)
    return [*found, *sorted(re.findall(r"</?[A-Za-z][^<>]*>|♪", " ".join(texts)))]


def _messages(text: str) -> list[str]:
    """All lines but translations."""
    found, inside = [], False
    for line in text.splitlines():
        if re.match(r"msgstr", line):
            found.append(line.split('"')[0])
            inside = True
        elif not (inside and line.lstrip().startswith('"')):
            inside = False
            found.append(line)
    return found


def _values(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield f"{path} object"
        for key, inner in value.items():
            yield from _values(inner, f"{path}.{key}")
    elif isinstance(value, list):
        yield f"{path} list {len(value)}"
        for i, inner in enumerate(value):
            yield from _values(inner, f"{path}.{i}")
    else:
        yield f"{path} text" if isinstance(value, str) else f"{path} {value!r}"


def _yaml(text: str) -> list[str]:
    import yaml

    resolver = yaml.resolver.Resolver()
    found = []
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            name = type(event).__name__
            if isinstance(event, yaml.ScalarEvent):
                tag = event.tag or resolver.resolve(yaml.ScalarNode, event.value, event.implicit)
                name += " text" if tag.endswith(":str") else f" {event.value}"
            found.append(name)
    except yaml.YAMLError as error:
        raise InputError(f"the document is not YAML: {error}") from error
    return found
