"""Masks one-time codes in the sentences of short messages and mails: ``Your code is 918273``.

A code stands behind or before what it is called. ``Your order code is ...`` and ``exit code is ...`` name others.
"""

from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

_DIGITS = r"(?:\d{3}[ -]\d{3,4}|[A-Z]{1,2}-\d{4,8}|\d{4,8})(?![\w.-]?\d)"
_CODE = r"(?:code|código|codigo|codice|kod|pin|otp|passcode|password)"
_YOURS = (
    r"(?:your|dein|deine|ihr|ihre|votre|ton|tu|su|seu|o seu|il tuo|il suo|je|uw|jouw|the"
    r"|my|mein|meine|mon|ma|mi|meu|o meu|il mio|mijn)"
)
_KIND = (
    r"(?i:(?:verification|confirmation|security|log[- ]?in|sign[- ]?in|access|authentication|auth|2fa|mfa|otp|sms"
    r"|temporary|one[- ]time|recovery|backup|activation|pairing|two[- ]factor|new|single[- ]use|personal|secret)[ ])"
)
_BRAND = (
    r"(?!(?i:zip|post|area|error|exit|status|country|order|booking|promo|discount|coupon|voucher|reference|tracking|qr"
    r"|gift)\w{0,12}+\b)[A-Z]\w{1,24}"
)
_IS = r"(?:[ ](?:is|ist|lautet|est|es|é|è|to|now)(?:[ ]now)?:?[ ]{1,2}|[ ]?:[ ]{0,2}|[ ][-–—][ ])"  # noqa: RUF001  dashes
_AFTER_NAME = expression(
    rf"(\b(?i:{_YOURS})[ ](?:{_KIND}{{0,2}}(?:{_BRAND}[ ]{_KIND}{{0,2}})?)(?i:{_CODE}){_IS})(?:{_DIGITS})"
    rf"|(\b(?i:(?:bestätigungs|sicherheits|zugangs|einmal|verificatie|toegangs)code|code de (?:vérification|sécurité"
    r"|confirmation)|código de (?:verificación|seguridad|verificação|segurança)|codice di (?:verifica|sicurezza)"
    rf"|verification code|security code|one[- ]time code|one[- ]time password|otp){_IS[:-1]}|[ ]))(?:{_DIGITS})"
)
_BEFORE_NAME = expression(
    rf"(?<![\w.-]){_DIGITS}(?=[ ](?i:is|ist|est|es|é|è)[ ](?i:{_YOURS})[ ](?:{_BRAND}[ ]){{0,2}}{_KIND}{{0,2}}"
    r"(?i:(?:code|código|codice|pin|otp|passcode|bestätigungscode|sicherheitscode|verificatiecode)\b))"
)
_TO_USE = expression(
    rf"(\b(?i:use|enter|type|insert)[ ](?i:(?:the[ ])?(?:{_KIND}?)code[ ])?){_DIGITS}"
    r"(?=[ ](?:to|as|for|in)[ ](?:(?:your|the|a)[ ])?"
    r"(?:sign|log|verify|confirm|complete|authenticate|access|reset|finish|verification|code|activate))"
)
_JUDGED = (
    r"(?:[ ](?:is|was|were|has|have|ist|war|wurde|est|es|é|è))?(?:[ ](?:been|not|nicht|pas|no))?[ ]"
    r"(?:rejected|invalid|wrong|incorrect|expired|accepted|denied|declined|refused|failed|used|entered|verified|valid"
    r"|abgelehnt|falsch|ungültig|abgelaufen|korrekt|akzeptiert|refusée?|invalide|rechazad[oa]|incorrect[oa]|rifiutat[oa])\b"
)
_JUDGING = r"(?:wrong|invalid|incorrect|bad|expired|entered|typed|falsche[rns]?|ungültige[rns]?|eingegebene[rns]?)"
_NUMBERED_NAME = (
    r"(?:pin|t?otp|mfa|2fa|cvv2?|cvc2?|passcode|(?:sms|mfa|2fa|security|verification|log-?in|sign-?in)[ -]code)"
)
_REJECTED = expression(
    rf"(?i)(?<![\w.-])(?:({_NUMBERED_NAME}(?:[ ]code)?[ ])(?:\d{{3}}[ -]\d{{3}}|\d{{3,8}})(?={_JUDGED})"
    rf"|({_JUDGING}[ ]{_NUMBERED_NAME}(?:[ ]code)?[ ])(?:\d{{3}}[ -]\d{{3}}|\d{{3,8}})(?![\w.-]?\d))"
)
"""A code that someone gave, and what became of it: ``PIN 482917 abgelehnt``; ``pin 4 of the chip`` is none."""

_THREE_DIGITS = expression(r"\d{3}")


def mask_one_time_codes(text: str) -> str:
    """Mask the codes that ``text`` tells its reader to use."""
    if _THREE_DIGITS.search(text) is None:
        return text
    text = _AFTER_NAME.sub(lambda found: f"{found[1] or found[2]}{FILTERED}", text)
    text = _BEFORE_NAME.sub(FILTERED, text)
    text = _REJECTED.sub(lambda found: f"{found[1] or found[2]}{FILTERED}", text)
    return _TO_USE.sub(rf"\1{FILTERED}", text)
