"""Both corpora in one sequence; the service that plants them, and its test, know a case by its number."""

from tests.privacy.corpora import LookAlike, Secret
from tests.privacy.corpora import look_alikes as harmless
from tests.privacy.corpora import secrets as planted

REMOVED = {text for text, _ in (*planted.REMOVED, *harmless.REMOVED)}

EVERY: tuple[Secret | LookAlike, ...] = (*planted.SECRETS, *harmless.LOOK_ALIKES)

CASES = tuple(case for case in EVERY if str(case.text) not in REMOVED)
