"""Our named tuples are those of ``typing``, made without its work."""

import copy
import pickle
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brain_otel.runtime import named_tuple


class Ours(named_tuple.NamedTuple):
    """A point."""

    x: int
    y: "int | None" = None
    tags: tuple[str, ...] = ()

    def total(self) -> int:
        return self.x + (self.y or 0)


class Theirs(typing.NamedTuple):
    """A point."""

    x: int
    y: "int | None" = None
    tags: tuple[str, ...] = ()

    def total(self) -> int:
        return self.x + (self.y or 0)


def fresh() -> Any:
    """Return a class of ours of which there is no object yet."""

    class Ours(named_tuple.NamedTuple):
        x: int
        y: int | None = None
        tags: tuple[str, ...] = ()

        def total(self) -> int:
            return self.x + (self.y or 0)

    return Ours


USES: dict[str, Callable[[Any], Any]] = {
    "positions": lambda kind: kind(1, 2, ("a",)),
    "names": lambda kind: kind(x=1, tags=("a",)),
    "both": lambda kind: kind(1, y=2),
    "fields": lambda kind: (kind._fields, kind._field_defaults, kind.__match_args__, kind.__slots__),
    "items": lambda kind: [*kind(1, 2), kind(1, 2)[1], kind(1, 2).y],
    "method": lambda kind: kind(1, 2).total(),
    "replaced": lambda kind: kind(1)._replace(y=3),
    "made": lambda kind: kind._make([1, 2, 3]),
    "mapping": lambda kind: kind(1)._asdict(),
    "text": lambda kind: repr(kind(1, 2)).partition("(")[2],
    "equal": lambda kind: (kind(1) == (1, None, ()), hash(kind(1)) == hash((1, None, ()))),
    "copied": lambda kind: copy.deepcopy(kind(1, 2)),
    "no field missing": lambda kind: kind(),
    "no field twice": lambda kind: kind(1, x=1),
    "no field more": lambda kind: kind(1, 2, 3, 4),
    "no other name": lambda kind: kind(1, z=1),
    "no other name replaced": lambda kind: kind(1)._replace(z=1),
    "no item missing": lambda kind: kind._make([1]),
    "no change": lambda kind: setattr(kind(1), "x", 2),
    "no other attribute": lambda kind: setattr(kind(1), "z", 2),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_class_of_ours_behaves_like_one_of_typing(use: Callable[[Any], Any]) -> None:
    """With its first objects, and with later ones, whose constructor is compiled."""

    def outcome(kind: Any) -> Any:
        try:
            return use(kind)
        except Exception as error:
            return type(error), str(error).replace("Ours", "Theirs")

    first, later = fresh(), fresh()
    for _ in range(named_tuple.MAPPED + 1):
        later(1)
    assert outcome(first) == outcome(first) == outcome(later) == outcome(Theirs)


def test_an_object_survives_pickle() -> None:
    copied = pickle.loads(pickle.dumps(Ours(1, 2)))
    assert copied == Ours(1, 2)
    assert type(copied) is Ours


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="typing's own are used there")
def test_no_constructor_is_compiled_for_the_first_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """To compile one takes as long as to make 16 objects without it."""
    compiled = []
    compile_ = named_tuple._compile

    def counted(*args: Any, **options: Any) -> Any:
        compiled.append(args)
        return compile_(*args, **options)

    monkeypatch.setattr(named_tuple, "_compile", counted)
    kind = fresh()
    counts = []
    for _ in range(named_tuple.MAPPED + 2):
        kind(1)
        counts.append(len(compiled))
    assert counts == [*[0] * named_tuple.MAPPED, 1, 1]


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="typing's own are used there")
def test_a_field_is_read_without_a_call() -> None:
    """The private descriptor of ``namedtuple`` reads it."""
    assert type(vars(Ours)["x"]) is type(vars(Theirs)["x"])


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="typing's own are used there")
def test_fields_are_read_without_the_private_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("collections._tuplegetter")
    module: Any = type(sys)("copy_of_named_tuple")
    exec(Path(named_tuple.__file__).read_text(), vars(module))

    class Point(module.NamedTuple):  # type: ignore[misc]
        x: int
        y: int = 2

    assert (Point(1).x, Point(1).y) == (1, 2)
