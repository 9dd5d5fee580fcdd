"""HTML from parts: plain text is escaped, always; only :class:`Html` is taken as it is."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

from lsmi.report.gallery import Picture


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | Html


def safe(content: Content) -> Html:
    """Escaped, unless it is HTML.

    >>> safe("<b>"), safe(Html("<b>"))
    ('&lt;b&gt;', '<b>')
    """
    return content if isinstance(content, Html) else Html(html.escape(content, quote=True))


def joined(parts: Iterable[Content], between: str = "\n") -> Html:
    """Parts one after the other."""
    return Html(between.join(safe(part) for part in parts))


def tag(name: str, content: Content | Iterable[Content] = "", **attributes: str) -> Html:
    """An element; ``class_`` is the attribute ``class``.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'
    """
    inner = safe(content) if isinstance(content, str) else joined(content, "")
    written = "".join(
        f' {key.rstrip("_")}="{html.escape(value, quote=True)}"'
        for key, value in attributes.items()
    )
    return Html(f"<{name}{written}>{inner}</{name}>")


def paragraphs(texts: Iterable[Content], **attributes: str) -> Html:
    """A paragraph each."""
    return joined(tag("p", text, **attributes) for text in texts)


def bullets(items: Sequence[Content]) -> Html:
    """A list; nothing where there are no items."""
    return tag("ul", [tag("li", item) for item in items]) if items else Html("")


def table(
    head: Sequence[Content],
    rows: Sequence[Sequence[Content]],
    *,
    caption: Content = "",
    names: int = 1,
    class_: str = "",
) -> Html:
    """A table that scrolls sideways by itself on a narrow screen.

    Args:
        head: a cell a column.
        rows: as many cells each.
        caption: what the table shows.
        names: the first columns that hold words, not numbers.
        class_: looks, from the style sheet.
    """
    top = tag("thead", tag("tr", [_head(cell, k < names) for k, cell in enumerate(head)]))
    body = tag(
        "tbody", [tag("tr", [_cell(row, k, names) for k in range(len(row))]) for row in rows]
    )
    above = tag("caption", caption) if caption else Html("")
    attributes = {"class_": class_} if class_ else {}
    return tag("div", tag("table", [above, top, body], **attributes), class_="scroll")


def _head(content: Content, word: bool) -> Html:
    return tag("th", content, scope="col", **({"class_": "word"} if word else {}))


def _cell(row: Sequence[Content], column: int, names: int) -> Html:
    if column == 0 and names:
        return tag("th", row[column], scope="row")
    return tag("td", row[column], **({"class_": "word"} if column < names else {}))


def figure(picture: Picture) -> Html:
    """A picture, inside the page, with its caption."""
    data = base64.b64encode(picture.data).decode("ascii")
    image = Html(
        f'<img src="data:image/png;base64,{data}" alt="{html.escape(picture.alt, quote=True)}">'
    )
    parts = [tag("div", image, class_="scroll"), tag("figcaption", picture.caption)]
    return tag("figure", parts)


def details(summary: Content, content: Content, *, shown: bool = False) -> Html:
    """A part that folds away."""
    opened = " open" if shown else ""
    return Html(f"<details{opened}>{tag('summary', summary)}{safe(content)}</details>")


def link(target: str, text: Content) -> Html:
    """A link to a part of the same page."""
    return tag("a", text, href=f"#{target}")


def heading(level: int, text: Content, anchor: str = "") -> Html:
    """A heading, with a name to link to."""
    return tag(f"h{level}", text, **({"id": anchor} if anchor else {}))


def document(title: str, style: str, body: Content) -> str:
    """The whole page; it may load nothing, from nowhere."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{safe(body)}\n</body>\n</html>\n"
    )
