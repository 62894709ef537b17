"""Finds unlearning methods by name or file. No torch: Snakemake imports this.

A name is a file in `methods/`; a text that ends in `.py` is a user's own file. `find` imports
only the module of that method. So a trajectory depends on the file of its own method and on no
other one.
"""

import dataclasses
import importlib
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from excise.errors import InputError
from excise.unlearning import methods
from excise.unlearning.axes import COLUMNS, SHORT
from excise.unlearning.method import Needs

FOLDER = Path(methods.__file__).parent
NAME = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"
AXIS = re.compile(r"[a-z]+(_[a-z]+)*")


@dataclass(frozen=True)
class Method:
    """An unlearning method, as its file defines it (`excise.unlearning.method`)."""

    name: str
    file: Path
    label: str
    forget_reduction: str
    Settings: type
    loss: Callable
    needs: Callable[[Any], Needs]
    check: Callable[[Any, Mapping[str, Any]], None] | None = None
    prepare: Callable | None = None
    checkpoint: Callable | None = None

    @property
    def axes(self) -> dict[str, str]:
        """Hyperparameter → short name in the names of trajectories, in the order of `Settings`."""
        fields = dataclasses.fields(self.Settings)
        return {field.name: SHORT.get(field.name, field.name) for field in fields}

    def keeps_finetuned(self, settings: Any) -> bool:
        """Whether a job holds a copy of the finetuned adapter beside the trained one."""
        return bool(self.needs(settings).finetuned) or self.checkpoint is not None


def names() -> list[str]:
    """Names of the methods in `methods/`, sorted; nothing is imported."""
    return sorted(file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_"))


def is_file(method: str) -> bool:
    """Whether a method is a user's own file and not the name of one in `methods/`."""
    return method.endswith(".py")


def find(method: str) -> Method:
    """The method of this name, or in this file.

    Raises:
        InputError: there is none, or the file is not a method. The message is one line.
    """
    if is_file(method):
        path = Path(method)
        try:
            return _own(path, path.stat().st_mtime_ns)
        except OSError as error:
            raise InputError(f"{method}: cannot read ({error.strerror})") from error
    if method not in names():
        listed = ", ".join(names())
        raise InputError(f"method {method!r}: allowed: one of {listed}, or a file my_method.py")
    module = importlib.import_module(f"{methods.__name__}.{method}")
    return _described(module, method, FOLDER / f"{method}.py")


@cache
def _own(path: Path, _changed: int) -> Method:
    """A user's own file, executed once for each version of it."""
    if not re.fullmatch(NAME, path.stem):
        raise InputError(
            f"{path}: the file's name is the method's name; allowed: small letters, digits and "
            "single underscores, such as my_method.py"
        )
    if path.stem in names():
        raise InputError(f"{path}: {path.stem} is a method of Excise; allowed: another file name")
    module = ModuleType(f"excise_own_method_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses and type hints look it up there
    try:
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        exec(code, module.__dict__)
    except SyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: not Python ({error.msg})") from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        line = [frame.lineno for frame in frames if frame.filename == str(path)][-1:]
        place = ":".join(map(str, [path, *line]))
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{place}: the file cannot be imported ({reason})") from error
    return _described(module, path.stem, path)


def _described(module: ModuleType, name: str, path: Path) -> Method:
    """The method of a module, checked."""
    settings = getattr(module, "Settings", None)
    if not (isinstance(settings, type) and dataclasses.is_dataclass(settings)):
        raise InputError(f"{path}: Settings: missing; needed: a frozen dataclass of numbers")
    if not settings.__dataclass_params__.frozen:
        raise InputError(f"{path}: Settings: not frozen; needed: @dataclass(frozen=True)")
    if not callable(getattr(module, "loss", None)):
        raise InputError(f"{path}: loss: missing; needed: a function loss(step, settings)")
    reduction = getattr(module, "FORGET_REDUCTION", None)
    if not isinstance(reduction, str):
        raise InputError(
            f'{path}: FORGET_REDUCTION: missing; needed: a text such as "token mean" or '
            '"sequence sum"'
        )
    for optional in ("needs", "check", "prepare", "checkpoint"):
        if not callable(getattr(module, optional, len)):
            raise InputError(f"{path}: {optional}: not a function")
    method = Method(
        name=name,
        file=path,
        label=str(getattr(module, "LABEL", name.upper())),
        forget_reduction=reduction,
        Settings=settings,
        loss=module.loss,
        needs=getattr(module, "needs", lambda _settings: Needs()),
        check=getattr(module, "check", None),
        prepare=getattr(module, "prepare", None),
        checkpoint=getattr(module, "checkpoint", None),
    )
    _check_axes(method)
    return method


def _check_axes(method: Method) -> None:
    """Check that names of trajectories, made from the hyperparameters, can be read back."""
    hints = get_type_hints(method.Settings)
    place = f"{method.file}: Settings"
    if "learning_rate" not in hints:
        raise InputError(
            f"{place}.learning_rate: missing; needed: learning_rate() of the interface"
        )
    for field, axis in method.axes.items():
        if hints[field] not in (int, float):
            raise InputError(f"{place}.{field}: found {hints[field]}; allowed: int or float")
        if not AXIS.fullmatch(axis):
            raise InputError(
                f"{place}.{field}: found {axis!r}; allowed: small letters and single underscores"
            )
        if field in COLUMNS:
            raise InputError(
                f"{place}.{field}: found the short name of {COLUMNS[field]}; allowed: another name"
            )
