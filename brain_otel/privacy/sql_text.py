"""Masks the literals of SQL within another text, such as a log message: where a statement begins, and its values.

Words of SQL are words of English too, so a statement is recognized by two of its words in the order of its grammar:
``select a, b from``, and not ``select one of``.
"""

import re

from brain_otel.privacy.sql import quoted_literals
from brain_otel.runtime.lazy_regex import expression

_NAME = r"[\w.\"`$\[\]]{1,128}+"
_ITEM = rf"(?:{_NAME}|\*|'[^'\n]{{0,128}}+')(?:\([^()'\n]{{0,128}}+\))?(?: as {_NAME})?"
_BEGINNINGS = (
    # a space stands for one to eight spaces, ¤ for none to eight
    rf"(?:insert|replace) (?:(?:low_priority|delayed|high_priority|ignore|overwrite|or \w{{1,16}}) ){{0,3}}"
    rf"(?:into (?:table )?)?{_NAME}¤(?:\(|(?:values?|select|set|default|as|with|\w{{1,64}}¤\()\b)",
    rf"delete (?:(?:low_priority|quick|ignore) ){{0,2}}from (?:only )?{_NAME} (?:(?:as )?\w{{1,64}} )?"
    r"(?:where|using|limit|order|returning)\b",
    rf"update (?:(?:low_priority|ignore|only|or \w{{1,16}}) ){{0,3}}{_NAME}(?: as)?(?: {_NAME})?? "
    rf"(?:set (?:{_NAME}¤=|\()|(?:join|inner|left|cross|straight_join)\b)",
    rf"select(?: (?:distinct|all|top \d{{1,9}}))? {_ITEM}(?:¤,¤{_ITEM}){{0,63}} (?:from|into)\b",
    r"select(?=')",
    rf"with (?:recursive )?{_NAME}¤(?:\([^()'\n]{{0,256}}\)¤)?as (?:(?:not )?materialized )?\(",
    rf"merge (?:into )?{_NAME} (?:(?:as )?{_NAME} )?using\b",
    r"(?:create|alter) (?:user|role|login|server|database|subscription|secret|credential)\b",
    r"set password\b",
    r"identified (?:with|by|as)\b",
    r"pragma \w{1,64}¤[=(]",
    r"attach (?:database )?(?=['\"])",
    rf"call {_NAME}\(",
    rf"where {_NAME}¤(?:[=<>]|(?:not )?(?:like|ilike|in|between)\b)",
)
"""How statements and clauses with values begin, in capitals or not."""

_STATEMENT = expression(
    "|".join(
        (
            rf"\b(?i:{'|'.join(_BEGINNINGS)})".replace(" ", r"\s{1,8}").replace("¤", r"\s{0,8}"),
            r"\b(?:SELECT|GRANT|EXEC(?:UTE)?|COPY|VALUES|WHERE)(?=[\s'\"(*])",
            r"(?:^|[\n(;:\"])\s{0,8}select(?=\s{0,8}')",
        )
    )
)
_VERBS = expression(
    r"p(?:date|lace|ragma)|w(?:ith|here)|call|copy|merge|delete|insert|create|alter|grant|exec|attach|lect|lues|pass|fied"
)
"""Parts of the words of which one begins each statement, in small letters."""

_BEFORE_A_VALUE = expression(
    r"(?:[=<>(,~|]|\b(?:like|ilike|regexp|rlike|in|between|and|or|then|else|when|values?|select|password|by|as|key"
    r"|set\s[\w.]{1,64}\sto|connection|credentials|interval|date|timestamp|return|default|exec(?:ute)?\s[\w.]{1,64}))\s*+[a-z_0-9&]{0,12}$"
    r"|\bselect$",
    re.IGNORECASE,
)
_NEAR = 80
"""Characters before a literal that tell whether it is a value."""


def mask_sql_in_text(text: str) -> str:
    """Mask the quoted literals of the statements in ``text``, where they stand as values."""
    if _VERBS.search(text.lower()) is None or (statement := _STATEMENT.search(text)) is None:
        return text
    start = statement.start()
    is_quoted = text[start - 1 : start] == '"'  # a double quote ends the statement
    parts: list[str] = []
    done = 0
    for begin, end in quoted_literals(text, start):
        if is_quoted and text[begin] == '"':
            continue
        if _BEFORE_A_VALUE.search(text[max(done, begin - _NEAR) : begin] or "("):
            parts += [text[done:begin], "?"]
            done = end
    return "".join([*parts, text[done:]])
