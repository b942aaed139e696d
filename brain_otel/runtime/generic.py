"""``typing.Generic`` and ``typing.Protocol`` without their work at import, which takes 40 to 90 us a class.

To type checkers they are the originals. While code runs, a class of either is a plain one, and ``Class[Item]`` is the
class itself.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Generic as Generic
    from typing import Protocol as Protocol
else:

    class Generic:
        """The base of a generic class."""

        __slots__ = ()

        def __class_getitem__(cls, parameters: Any) -> Any:
            return cls

    class Protocol(Generic):
        """The base of a class that only type checkers use."""

        __slots__ = ()
