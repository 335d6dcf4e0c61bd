"""Options of commands made from the settings dataclasses of the library, so that each is written once, where it acts.

A field becomes an option where its metadata has a ``help``; its type and its default are the option's. Further keys:
``min``, ``max``, ``exists``; and ``option``, its name, or its names, where that is not the field's. A truth value has
``--name`` and ``--no-name``; one with an ``option`` of its own is a switch that turns the default over.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from importlib import import_module
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from genmend.workbench.cli.options import not_too_large

__all__ = ["SettingsCommand", "command"]

Function = TypeVar("Function", bound=Callable[..., None])

_OF_TYPER = ("min", "max", "exists")


def command(
    app: typer.Typer,
    *,
    panel: str = "",
    example: str = "",
    before: Mapping[str, str] | None = None,
    texts: Mapping[str, Callable[[str], Any]] | None = None,
    leave_out: Collection[str] = (),
    **settings: str,
) -> Callable[[Function], Function]:
    """Add a function to `app` as a command whose settings are made of options.

    Parameters
    ----------
    panel : str
        Of the list of commands, that it stands in.
    example : str
        What stands at the end of its help.
    before : mapping, optional
        Option (or a field of settings, with all its options) -> the one that it stands before in the help. The others
        stand as the function's parameters do, those of settings where these stand.
    texts : mapping, optional
        Field -> what reads it from a text. Its option is that text; an empty one means None where that is the default.
    leave_out : collection of str
        Fields with a help that are not for the command line.
    **settings : str
        Parameter of the function -> its dataclass as ``module:Class``, imported where the command is run, not before.
    """

    def register(function: Function) -> Function:
        def placeholder() -> None:
            """Stands for the function until it is known which command is run."""

        placeholder.__name__, placeholder.__doc__ = function.__name__, function.__doc__
        placeholder.whole = lambda: _whole(  # type: ignore[attr-defined]
            function, settings, before or {}, texts or {}, leave_out
        )
        app.command(cls=SettingsCommand, rich_help_panel=panel or None, epilog=example or None)(placeholder)
        return function

    return register


class SettingsCommand(TyperCommand):
    """A command that learns its options, and imports the settings they are made from, once they are asked for."""

    @property
    def params(self) -> list[Any]:
        """Every option and argument."""
        build = getattr(self.callback, "whole", None)
        if build is not None:
            app = typer.Typer(add_completion=False)
            app.command(name=self.name)(build())
            whole = typer.main.get_command(app)
            self.callback, self.params = whole.callback, whole.params
        return self._params

    @params.setter
    def params(self, params: list[Any]) -> None:
        self._params = params


@dataclass(frozen=True)
class _Option:
    """An option of a field, which `path` leads to: the function's parameter, what lies between, the field."""

    path: tuple[str, ...]
    annotation: Any
    default: Any
    value: Callable[[Any], Any]  # of the field, by that of the option

    @property
    def parameter(self) -> inspect.Parameter:
        return inspect.Parameter(
            self.path[-1], inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=self.annotation
        )


def _whole(
    function: Callable[..., None],
    settings: Mapping[str, str],
    before: Mapping[str, str],
    texts: Mapping[str, Callable[[str], Any]],
    leave_out: Collection[str],
) -> Callable[..., None]:
    """The function with a parameter for each option in place of its settings."""
    classes = {name: _load(place) for name, place in settings.items()}
    options = {name: list(_options(cls, (name,), texts, leave_out)) for name, cls in classes.items()}
    hints = get_type_hints(function, localns={c.__name__: c for c in classes.values()}, include_extras=True)
    placed: list[tuple[tuple[str, ...], inspect.Parameter]] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in options:
            placed += [(option.path, option.parameter) for option in options[name]]
        else:
            own = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            placed.append(((name,), own))
    for name, other in before.items():
        moved = [entry for entry in placed if name in entry[0]]
        placed = [entry for entry in placed if name not in entry[0]]
        at = next(i for i, (path, _) in enumerate(placed) if other in path)
        placed[at:at] = moved

    def whole(**values: Any) -> None:
        for name, cls in classes.items():
            given = {option.path[1:]: option.value(values.pop(option.path[-1])) for option in options[name]}
            values[name] = _built(cls, given)
        function(**values)

    whole.__doc__ = function.__doc__
    whole.__signature__ = inspect.Signature([parameter for _, parameter in placed])  # type: ignore[attr-defined]
    return whole


def _load(place: str) -> type:
    module, _, name = place.partition(":")
    cls: type = getattr(import_module(module), name)
    return cls


def _options(
    cls: type,
    path: tuple[str, ...],
    texts: Mapping[str, Callable[[str], Any]],
    leave_out: Collection[str],
    defaults: Any = None,
) -> Iterator[_Option]:
    """The options of a dataclass and of those in it, in the order of the fields; `defaults` is an instance of it."""
    hints = get_type_hints(cls)
    for field in fields(cls):
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        here = (*path, field.name)
        if is_dataclass(hints[field.name]):
            yield from _options(hints[field.name], here, texts, leave_out, default)
        elif "help" in field.metadata and field.name not in leave_out:
            yield _option(here, hints[field.name], field.metadata, default, texts.get(field.name))


def _default(field: Any) -> Any:
    """What a field is where nothing is given; `inspect.Parameter.empty` where it has to be."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is MISSING else field.default


def _option(
    path: tuple[str, ...], hint: Any, metadata: Mapping[str, Any], default: Any, read: Callable[[str], Any] | None
) -> _Option:
    option = metadata.get("option", ())
    names = [option] if isinstance(option, str) else list(option)
    kind, optional = _kind(hint)
    given = {key: metadata[key] for key in _OF_TYPER if key in metadata}
    information = typer.Option(
        *names, help=metadata["help"], callback=not_too_large if kind is int and read is None else None, **given
    )
    if read is not None:
        text = default if isinstance(default, str) else ",".join(map(str, default or ()))
        return _Option(path, Annotated[str, information], text, _reader(read, default))
    if kind is bool and names:
        return _Option(path, Annotated[bool, information], False, lambda given: given != default)
    if kind is tuple:
        required = default is inspect.Parameter.empty
        annotation = Annotated[list[str], information] if required else Annotated[list[str] | None, information]
        shown = default if required else None
        return _Option(path, annotation, shown, lambda given: default if given is None else tuple(given))
    return _Option(path, Annotated[kind | None if optional else kind, information], default, lambda given: given)


def _reader(read: Callable[[str], Any], default: Any) -> Callable[[str], Any]:
    return lambda text: None if not text and default is None else read(text)


def _kind(hint: Any) -> tuple[Any, bool]:
    """The type of an option, and whether None is one of its values."""
    optional = False
    if get_origin(hint) in (Union, UnionType):
        inner = [part for part in get_args(hint) if part is not NoneType]
        optional = len(inner) < len(get_args(hint))
        hint = inner[0]
    kind = str if get_origin(hint) is Literal else get_origin(hint) or hint
    return kind, optional


def _built(cls: type, given: Mapping[tuple[str, ...], Any], defaults: Any = None) -> Any:
    """An instance with the values given by the path to their field."""
    hints = get_type_hints(cls)
    values = {path[0]: value for path, value in given.items() if len(path) == 1}
    for field in fields(cls):
        inner = {path[1:]: value for path, value in given.items() if len(path) > 1 and path[0] == field.name}
        if inner:
            default = _default(field) if defaults is None else getattr(defaults, field.name)
            values[field.name] = _built(hints[field.name], inner, default)
    return cls(**values) if defaults is None else replace(defaults, **values)
