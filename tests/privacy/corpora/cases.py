"""The corpora in one sequence; the service that plants them, and its test, know a case by its number."""

from tests.privacy.corpora import LookAlike, Secret, ferry, ferry_look_alikes, harbour, tram, tram_look_alikes
from tests.privacy.corpora import look_alikes as harmless
from tests.privacy.corpora import secrets as planted
from tests.privacy.corpora.clinic import CLINIC
from tests.privacy.corpora.later import LATER_LOOK_ALIKES, LATER_SECRETS

_REMOVED = (planted, harmless, ferry, ferry_look_alikes, tram, tram_look_alikes, harbour)
REMOVED = {text for corpus in _REMOVED for text, _ in corpus.REMOVED}

EVERY: tuple[Secret | LookAlike, ...] = (
    *planted.SECRETS,
    *LATER_SECRETS,
    *CLINIC,
    *ferry.FERRY,
    *tram.TRAM,
    *harbour.HARBOUR,
    *harmless.LOOK_ALIKES,
    *LATER_LOOK_ALIKES,
    *ferry_look_alikes.FERRY_LOOK_ALIKES,
    *tram_look_alikes.TRAM_LOOK_ALIKES,
    *harbour.HARBOUR_LOOK_ALIKES,
)

CASES = tuple(case for case in EVERY if str(case.text) not in REMOVED)
