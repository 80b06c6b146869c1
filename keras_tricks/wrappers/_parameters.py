"""The arguments of `build` as parameters of an estimator.

scikit-learn reads parameters off the constructor's signature and would lose those in
`**build_arguments`.
"""

import copy
import difflib
import inspect
from typing import Any

import keras
from sklearn.base import BaseEstimator, clone

from keras_tricks.wrappers import _mlp

PREFIX = "build__"
OPTIMIZER = "optimizer__"
# What a build may ask for by name and nobody gives as a parameter.
OFFERED = ("meta", "seed")
# What scikit-learn itself keeps on an estimator beside its parameters.
_KEPT = ("_metadata_request", "_sklearn_output_config", "_skl_callbacks")


class BuildParameters(BaseEstimator):
    """An estimator whose parameters are those of its constructor and of `build`."""

    build: Any
    _build_arguments: dict[str, Any]

    def _set_build_arguments(self, arguments: dict[str, Any]) -> None:
        self._check_twice(arguments)
        named = {self._short(name): value for name, value in arguments.items()}
        self._build_arguments = named

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Also those that a subclass hands on in its `**arguments`."""
        names: set[str] = set()
        for kind in cls.__mro__:
            if issubclass(kind, BuildParameters) and "__init__" in vars(kind):
                own: Any = BaseEstimator._get_param_names
                names.update(own.__func__(kind))
                taken = inspect.signature(vars(kind)["__init__"]).parameters.values()
                if all(p.kind is not p.VAR_KEYWORD for p in taken):
                    break
        return sorted(names)

    def _check_twice(self, arguments: dict[str, Any]) -> None:
        for name, value in arguments.items():
            short = self._short(name)
            if short != name and short in arguments:
                other = arguments[short]
                # What `get_params` gives may be set again.
                if other is not value and other != value:
                    raise ValueError(
                        f"`{short}` must be given once. Received: {short}={other!r} "
                        f"and {name}={value!r}"
                    )

    def __getattr__(self, name: str) -> Any:
        # Not attributes of their own: scikit-learn forbids a constructor to set others
        # than those that its signature names.
        arguments = vars(self).get("_build_arguments", {})
        if name in arguments:
            return arguments[name]
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        arguments = vars(self).get("_build_arguments", {})
        if name in arguments:
            arguments[name] = value
        else:
            super().__setattr__(name, value)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the parameters; with `deep` also what `build` has as defaults.

        A clone takes only those that were given, so that another `build` does not
        meet the defaults of the one before.
        """
        params: dict[str, Any] = super().get_params(deep) | self._build_arguments
        if deep:
            own = self._get_param_names()
            for name, default in self._defaults().items():
                if name not in own:
                    params.setdefault(name, default)
                    params[PREFIX + name] = params[name]
                else:
                    params.setdefault(PREFIX + name, default)
        return params

    def set_params(self, **params: Any) -> Any:
        """Sets parameters by name, arguments of `build` as `units` or `build__units`.

        Raises:
            ValueError: If neither the estimator nor `build` has such a parameter.
        """
        self._check_twice(params)
        build = params.get("build", self.build)
        own = self._get_param_names()
        for name in params:
            if name not in own and self._short(name) not in self._build_arguments:
                self._check_name(name, build)
        for name, value in params.items():
            if name in own:
                setattr(self, name, value)
            else:
                self._build_arguments[self._short(name)] = value
        return self

    def _short(self, name: str) -> str:
        """`units` for `build__units`, unless the estimator has such a parameter."""
        short = name.removeprefix(PREFIX)
        return name if short in self._get_param_names() else short

    def _check_name(self, name: str, build: Any) -> None:
        short = name.removeprefix(PREFIX)
        if name.startswith(OPTIMIZER):
            return
        parameters = signature(build)
        named = [n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
        if len(named) < len(parameters) or (short in named and short not in OFFERED):
            return
        own = [*self._get_param_names(), "optimizer__learning_rate"]
        choices = sorted({*own, *named} - {*OFFERED})
        near = difflib.get_close_matches(short, choices, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: "
            f"{choices!r}.{hint}"
        )

    def _defaults(self) -> dict[str, Any]:
        return {
            name: parameter.default
            for name, parameter in signature(self.build).items()
            if parameter.default is not parameter.empty and name not in OFFERED
        }

    def _of_build(self) -> dict[str, Any]:
        """The arguments for the call of `build`, by its own names.

        Raises:
            ValueError: If `build` does not know one of them.
        """
        given = {}
        for name, value in self._build_arguments.items():
            if not name.startswith(OPTIMIZER):
                self._check_name(name, self.build)
                given[name.removeprefix(PREFIX)] = value
        return given

    def _of_optimizer(self) -> dict[str, Any]:
        return {
            name.removeprefix(OPTIMIZER): value
            for name, value in self._build_arguments.items()
            if name.startswith(OPTIMIZER)
        }

    def __sklearn_clone__(self) -> Any:
        # A model is cloned anew by each `fit` and never changed, so it can be shared;
        # a copy would be a whole save and load.
        # So can the optimizer, which knows more than its configuration says.
        params = {
            name: value if self._is_shared(name, value) else clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
        }
        twin = type(self)(**params)
        for name in _KEPT:
            if name in vars(self):
                setattr(twin, name, copy.copy(vars(self)[name]))
        return twin

    @staticmethod
    def _is_shared(name: str, value: Any) -> bool:
        if isinstance(value, keras.optimizers.Optimizer):
            return name == "optimizer"
        return isinstance(value, keras.Model)


def signature(build: Any) -> dict[str, inspect.Parameter]:
    """The parameters that can be given to `build` by name."""
    build = _mlp.build if build is None else build
    if isinstance(build, keras.Model) or not callable(build):
        return {}
    try:
        parameters = inspect.signature(build).parameters
    except ValueError:
        return {}
    hidden = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    return {name: p for name, p in parameters.items() if p.kind not in hidden}
