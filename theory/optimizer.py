"""Optimizers given by their update rule alone."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stepbias.theory.checks import real

if TYPE_CHECKING:
    from stepbias.theory.rule import UpdateRule
    from stepbias.theory.tracing import Trace

Floats = NDArray[np.float64]
Parameter = float | Floats

# Agreement of the trace with the function: SymPy collects terms, which moves roundings; a hidden branch moves far more.
_AGREEMENT = 1e-8
_RESERVED = (
    "name", "rule", "update", "initial", "decay", "parameter_names", "values", "settings", "take", "define",
)  # fmt: skip


class Optimizer:
    """An optimizer that is known by its component-wise rule theta <- theta - h direction; build one with :meth:`define`.

    Attributes
    ----------
    name : str
        Of the rule.
    parameter_names : tuple of str
        Every parameter is an attribute too.
    rule : UpdateRule
        The traced rule.
    update : callable
        The user's function.
    initial : tuple of float
        Initial values of the states.
    """

    name: str
    rule: UpdateRule
    update: Callable[..., Any]
    initial: tuple[float, ...]
    parameter_names: tuple[str, ...]
    values: dict[str, Parameter]
    _options: dict[str, str]
    _frozen: ClassVar[bool] = False

    @staticmethod
    def define(update: Callable[..., Any], state: Sequence[float], **parameters: Any) -> Optimizer:
        """An optimizer from a function that does one step on one component.

        Parameters
        ----------
        update : function (g, state, n, theta, q) -> (direction, new_state)
            g: the gradient's component; state: a tuple of numbers; n = 0, 1, ...: the step; theta: the parameter; q: ``q.name`` are the parameters. The
            optimizer does theta <- theta - h direction. It is run once on symbols: use + - * / ** and ``stepbias.sqrt``, ``exp``, ``log``, ``tanh``.
        state : tuple of float
            Initial values; new_state has the same length.
        **parameters : float or (B,) array
            One value, or one for each of B problems.

        Returns
        -------
        Optimizer

        Raises
        ------
        TypeError
            The rule compares an argument, or takes its absolute value, maximum or sign.
        ValueError
            The rule is not a function of its arguments alone (the trace and the function differ at random points), is not finite, or amplifies its own memory.

        Warns
        -----
        UserWarning
            The memory does not decay (AdaGrad's sum, Nesterov's k / (k + 3)): the theory does not cover it.

        References
        ----------
        The field is the memoryless equation of Cattaneo and Shigida, "How Memory in Optimization Algorithms Implicitly Modifies the Loss", with the
        discretization term of backward error analysis.

        Examples
        --------
        >>> heavy_ball = Optimizer.define(
        ...     lambda g, state, n, theta, q: (q.beta * state[0] + g, (q.beta * state[0] + g,)),
        ...     state=(0.0,),
        ...     beta=0.9,
        ... )
        >>> heavy_ball.beta, heavy_ball.decay
        (0.9, 0.9)
        """
        if not callable(update) or not _takes_five(update):
            raise TypeError(f"update = {update!r}; accepted: a function (g, state, n, theta, q)")
        made = object.__new__(Optimizer)
        made._fill(getattr(update, "__name__", type(update).__name__), update, state, parameters)
        return made

    def _fill(
        self,
        name: str,
        update: Callable[..., Any],
        state: Sequence[float],
        parameters: dict[str, Any],
        options: dict[str, str] | None = None,
    ) -> None:
        """Check, trace and freeze."""
        # SymPy: only for those who define a rule
        from stepbias.theory.rule import UNDAMPED, grows, undamped

        values = {key: _owned(key, value) for key, value in parameters.items()}
        counts = {key: np.size(value) for key, value in values.items() if np.ndim(value)}
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"parameters are given for {counts} problems; accepted: one number of problems B"
            )
        initial = _initial(state)
        names = tuple(values)
        rule = _traced(update, initial, names)
        given = {
            "name": name, "update": update, "initial": initial, "values": values,
            "parameter_names": names, "rule": rule, "_options": options or {},
        }  # fmt: skip
        self.__dict__.update({**given, **values, **(options or {})})
        self.__dict__["_frozen"] = True
        _compare(update, rule, values)
        slowest = float(np.max(self.decay))  # over all problems; a NaN counts
        if grows(slowest):
            raise ValueError(
                f"{self!r}: a change of the state grows by a factor {slowest:.6g} a step; accepted: rules whose memory decays"
            )
        if undamped(slowest):
            warnings.warn(f"{self!r}: {UNDAMPED}", UserWarning, stacklevel=3)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._frozen:
            raise AttributeError(f"{name} cannot be set: optimizers do not change")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        listed = ", ".join(
            f"{key}={value!r}" if np.ndim(value) == 0 else f"{key}=<{np.size(value)} values>"
            for key, value in self.settings.items()
        )
        return f"{self.name}({listed})"

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A parameter."""

    @property
    def settings(self) -> dict[str, Any]:
        """Parameters and options, as the constructor of a shipped optimizer takes them."""
        return {**self.values, **self._options}

    @property
    def decay(self) -> Parameter:
        """Factor by which the slowest memory shrinks in a late step; one per problem where the parameters are."""
        counts = {np.size(v) for v in self.values.values() if np.ndim(v)}
        if not counts:
            return self.rule.decay(at(self.values, 0))
        rows = np.array(
            [[at(self.values, k)[n] for n in self.parameter_names] for k in range(max(counts))]
        )
        distinct, index = np.unique(rows, axis=0, return_inverse=True)
        found = [
            self.rule.decay(dict(zip(self.parameter_names, row, strict=True))) for row in distinct
        ]
        return np.array(found)[index.reshape(-1)]

    def take(self, rows: NDArray[np.int64]) -> Optimizer:
        """The optimizer of the problems ``rows``: entries of parameters that are given per problem."""
        values = {
            name: value if np.ndim(value) == 0 else np.asarray(value)[rows]
            for name, value in self.values.items()
        }
        made: Optimizer = object.__new__(type(self))
        made.__dict__.update(self.__dict__, **values)
        made.__dict__["values"] = values
        return made


def at(values: dict[str, Parameter], problem: int) -> dict[str, float]:
    """The parameters of one problem."""
    return {k: float(v if np.ndim(v) == 0 else np.asarray(v)[problem]) for k, v in values.items()}


def _owned(name: str, value: Any) -> Parameter:
    """A float, or a read-only copy: the caller's array may change after the check."""
    if name in _RESERVED or name.startswith("_"):
        raise ValueError(
            f"parameter {name!r}: this name is taken; accepted: other names than {', '.join(_RESERVED)}"
        )
    if not name.isidentifier():
        raise ValueError(f"parameter {name!r}: accepted: names that q.name can have")
    array = real(name, value, "a finite number, or one per problem")
    if array.ndim > 1 or array.size == 0:
        raise ValueError(
            f"{name} has shape {array.shape}; accepted: a finite number, or one per problem"
        )
    if array.ndim == 0:
        return float(array)
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _initial(state: Any) -> tuple[float, ...]:
    accepted = "a tuple of finite initial values, () for none"
    if isinstance(state, str) or not isinstance(state, Sequence | np.ndarray):
        raise TypeError(f"state = {state!r}; accepted: {accepted}")
    values = real("state", list(state), accepted) if len(state) else np.empty(0)
    if values.ndim != 1:
        raise ValueError(f"state = {state!r}; accepted: {accepted}")
    return tuple(float(x) for x in values)


def _takes_five(update: Callable[..., Any]) -> bool:
    try:
        inspect.signature(update).bind(*range(5))
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


def _traced(
    update: Callable[..., Any], initial: tuple[float, ...], names: tuple[str, ...]
) -> UpdateRule:
    """The rule of a function: traced anew every time, as what it refers to may have changed, and known again by its expressions."""
    from stepbias.theory.tracing import trace

    return _rule(trace(update, len(initial), names), initial, names)


@lru_cache(maxsize=256)
def _rule(trace: Trace, initial: tuple[float, ...], names: tuple[str, ...]) -> UpdateRule:
    from stepbias.theory.rule import UpdateRule

    return UpdateRule(trace, initial, names)


def _some(values: dict[str, Parameter]) -> list[int]:
    """First, middle and last problem, and those with the smallest and the largest value of every parameter."""
    given = [np.asarray(v) for v in values.values() if np.ndim(v)]
    count = max((len(v) for v in given), default=1)
    ends = {int(k) for v in given for k in (np.argmin(v), np.argmax(v))}
    return sorted({0, count // 2, count - 1} | ends)


def _numbers(update: Callable[..., Any], arguments: tuple[Any, ...], count: int) -> list[float]:
    """Direction and new states as floats; NaN where Python's arithmetic has no real number for them."""
    from stepbias.theory.tracing import outputs

    try:
        found = outputs(update, arguments, count)
    except ArithmeticError:
        return [float("nan")] * (count + 1)
    return [float("nan") if isinstance(x, complex) else float(x) for x in found]


def _compare(update: Callable[..., Any], rule: UpdateRule, values: dict[str, Parameter]) -> None:
    """``ValueError`` where the trace and the function differ along random runs."""
    from stepbias.theory.tracing import Parameters

    count, traced = len(rule.initial), rule.function
    rng = np.random.Generator(np.random.Philox(key=20))
    for problem in _some(values):
        given = at(values, problem)
        q = Parameters(given)
        for scale in (0.0, 1e-2, 1.0, 30.0):  # 0: a gradient may vanish, and so may a parameter
            state = rule.initial
            for n in (0, 1, 2, 3, 4, 5, 17, 1000):
                g, theta = (float(x) for x in scale * rng.normal(size=2))
                where = f"g = {g:.4g}, state = {state}, n = {n}, theta = {theta:.4g}, {given}"
                with np.errstate(all="ignore"):
                    found = _numbers(update, (g, state, n, theta, q), count)
                    if not all(np.isfinite(found)):
                        raise ValueError(
                            f"update gives {found} at {where}; accepted: a rule that is finite and real for every g and theta"
                        )
                    expected = [
                        float(x) for x in traced(g, *state, float(n), theta, *given.values())
                    ]
                gaps = np.abs(np.subtract(found, expected))
                if not np.all(gaps <= _AGREEMENT * (1.0 + np.abs(found))):
                    raise ValueError(
                        f"update gives {found}, its trace {expected} at {where}; accepted: a function of its arguments alone, without branches"
                    )
                state = tuple(found[1:])
