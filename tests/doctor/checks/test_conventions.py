"""The doctor warns if HTTP or database spans have old attribute names."""

import pytest

from brain_otel.doctor.checks.conventions import OPT_IN, check_conventions
from tests.doctor.command import Findings


@pytest.mark.parametrize("opt_in", ["http/dup", "database", "http", "http,database/dup", "http,database,rpc/dup"])
def test_a_choice_that_keeps_old_names_is_a_warning(opt_in: str) -> None:
    """Old names for one of the two signals, or both names at once."""
    Findings(check_conventions({OPT_IN: opt_in})).warning("Mixed semantic conventions")


@pytest.mark.parametrize("opt_in", ["", "database,http", "database,http,rpc", " http , database "])
def test_stable_names_are_ok(opt_in: str) -> None:
    """Nothing is chosen, or what brain_otel would choose."""
    (finding,) = check_conventions({OPT_IN: opt_in})
    assert finding.level == "ok"
