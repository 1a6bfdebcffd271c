"""Stand-ins for modules that other libraries import and that tcc has no use for: imported when someone asks."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class Late(ModuleType):
    """A module that is imported when one of its attributes is asked for.

    ``importlib.util.LazyLoader`` does not do here: the next import statement already makes its modules load.
    """

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = importlib.import_module(self.__name__)
        vars(self).update(vars(module))
        return getattr(module, name)


def import_late(*names: str) -> None:
    """Have modules imported late that nobody has imported yet."""
    for name in names:
        sys.modules.setdefault(name, Late(name))
