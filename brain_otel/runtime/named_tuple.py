"""``typing.NamedTuple`` without what it does at import: a class takes 10 us instead of 150, and set-up makes 50.

The original checks each annotation, and compiles a constructor for each class, although most processes make no object
of most classes, and few of their settings. Here a class compiles it after its first :data:`MAPPED` objects.
"""

import collections
import sys
from operator import itemgetter
from typing import TYPE_CHECKING, Any

_compile: Any = collections.namedtuple  # noqa: PYI024 - whose classes have no annotations

_getter: Any = getattr(collections, "_tuplegetter", lambda index, doc: property(itemgetter(index), doc=doc))
"""Makes the descriptor of a position. Private: the classes of ``namedtuple`` have it, and it costs no call."""

_GETTERS = tuple(_getter(index, None) for index in range(24))
"""The descriptor of each position, which classes can share; no class has more fields."""

MAPPED = 16
"""Objects that a class makes before it compiles its constructor; each takes as long as ten with the constructor."""

_UNEXPECTED = TypeError if sys.version_info >= (3, 13) else ValueError
"""``_replace`` raises it for a name that is no field."""


class _Record(tuple[Any, ...]):
    """The base of all classes. Its methods are those that ``collections.namedtuple`` documents."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()
    _field_defaults: dict[str, Any] = {}  # noqa: RUF012 - nobody changes it
    _mapped = 0

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make the first :data:`MAPPED` objects from mappings; then compile the constructor of this class."""
        fields = cls._fields
        given = cls._field_defaults | dict(zip(fields, args, strict=False)) | kwargs
        is_named_once = len(args) <= len(fields) and kwargs.keys().isdisjoint(fields[: len(args)])
        if cls._mapped < MAPPED and is_named_once and given.keys() == set(fields):
            cls._mapped += 1
            return tuple.__new__(cls, [given[name] for name in fields])
        cls.__new__ = _compile(cls.__name__, fields, defaults=cls._field_defaults.values()).__new__  # type: ignore[method-assign]
        return cls.__new__(cls, *args, **kwargs)

    @classmethod
    def _make(cls, items: Any) -> Any:
        made = tuple.__new__(cls, items)
        if len(made) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
        return made

    def _replace(self, /, **changed: Any) -> Any:
        made = self._make(map(changed.pop, self._fields, self))
        if changed:
            raise _UNEXPECTED(f"Got unexpected field names: {list(changed)!r}")
        return made

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({fields})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)


class _NamedTupleMeta(type):
    """Makes plain classes: an instance check of a class with a metaclass takes twice as long."""

    def __new__(cls, name: str, bases: tuple[type, ...], scope: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(cls, name, bases, scope)
        fields = tuple(scope.get("__annotations__", ()))
        defaults = {field: scope[field] for field in fields if field in scope}
        own = {"__slots__": (), "__match_args__": fields, "_fields": fields, "_field_defaults": defaults}
        getters = {field: _GETTERS[index] for index, field in enumerate(fields)}
        return type(name, (_Record,), {**scope, **own, **getters})


if TYPE_CHECKING or sys.version_info >= (3, 14):  # which evaluates annotations late, and has no mapping of them here
    from typing import NamedTuple as NamedTuple
else:

    class NamedTuple(metaclass=_NamedTupleMeta):
        """The base of a class of named tuples, to type checkers ``typing.NamedTuple`` itself."""
