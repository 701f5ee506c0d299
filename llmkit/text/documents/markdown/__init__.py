"""Markdown: CommonMark with tables, strikethrough, footnotes, math, front matter and HTML inside."""
