"""Masks the columns of tables whose first row names a secret: CSV, tabs, and tables drawn with bars."""

from brain_otel.privacy.labels import is_label_name, is_value_name
from brain_otel.privacy.names import NameCheck, is_fact
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

_HEADER = expression(
    r"(?m)^[ \t]*+[|\"']?[ ]*+\w[\w .\"'-]{0,63}"
    r"(?:[ ]*+([,;\t|])[ ]*+[\w.\"'-][\w .\"'-]{0,63}){1,63}+[ ]*+\|?[ \t]*+\r?\n"
)
_CELLS = {
    separator: expression(
        rf"[ ]*+(?P<cell>\"(?:[^\"]++|\"\")*+\"(?=[ ]*+(?:[{separator}\r\n]|\Z))|[^{separator}\n]*+)"
        rf"(?P<gap>[ \r]*+(?:[{separator}]|\n|\Z))"
    )
    for separator in (",", ";", "\t", "|")
}
_RULE = expression(r"[ \t|:+=-]++\r?(?:\n|\Z)")
"""A line that draws a table."""

_MOST_WORDS = 3
"""Words of a column's name, one after a comma and a space; more are a sentence."""


def mask_tables(text: str, is_sensitive: NameCheck) -> str:
    """Mask the columns with a sensitive name of the tables in ``text``."""
    parts: list[str] = []
    done = position = 0
    while (header := _HEADER.search(text, position)) is not None:
        position = header.end()
        separator = header[1]
        names = [name.strip(" \"'|\r\n\t") for name in header[0].strip().strip("|").split(separator)]
        most_words = 1 if ", " in header[0] else _MOST_WORDS
        labels = [place for place, name in enumerate(names) if is_label_name(name)]
        has_pairs = len(labels) == 1 and any(map(is_value_name, names))
        is_table = all(len(name.split()) <= most_words for name in names) and (
            has_pairs or any(map(is_sensitive, names))
        )
        rule = _RULE.match(text, position)
        is_drawn = rule is not None and "-" in rule[0]
        while (is_table or is_drawn) and position < len(text):
            if (rule := _RULE.match(text, position)) is not None:
                position = rule.end()
                continue
            cells, end = _row(text, position, separator, len(names))
            if len(cells) != len(names):
                break
            label = text[slice(*cells[labels[0]])].strip("\"'") if has_pairs else ""
            for (start, stop), column in zip(cells, names, strict=True):
                value = text[start:stop]
                name = label if label and is_value_name(column) else column
                if is_table and value and value != FILTERED and is_sensitive(name) and not is_fact(name, value):
                    parts += [text[done:start], FILTERED]
                    done = stop
            position = end
    return "".join([*parts, text[done:]]) if parts else text


def _row(text: str, start: int, separator: str, most: int) -> tuple[list[tuple[int, int]], int]:
    """The places of the cells of the row at ``start``, and where the next row begins."""
    if separator == "|":
        start += len(text[start : start + 64]) - len(text[start : start + 64].lstrip(" \t"))
        start += text.startswith("|", start)
    cells: list[tuple[int, int]] = []
    while (cell := _CELLS[separator].match(text, start)) is not None and len(cells) <= most + 1:
        start = cell.end()
        if separator != "|" or cell["cell"] or cell["gap"].endswith("|"):
            cells.append((cell.start("cell"), cell.start("cell") + len(cell["cell"].rstrip())))
        if "|" not in cell["gap"] and (separator == "|" or separator not in cell["gap"]):
            break
    return cells, start
