"""The public ``Loss``: m mini-batch losses on R^p, one problem or an ensemble of B."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepbias.kernels.oracle import Source
from stepbias.kernels.selection import SelectedSource
from stepbias.theory import checks

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_LANES = 32  # points evaluated in one call


class Loss:
    """Mini-batch losses E_0 .. E_{m-1} on R^p with exact gradients and Hessian-vector products.

    Build one with :meth:`random`, :meth:`sinusoids`, :meth:`from_data`, :meth:`from_sympy`, :meth:`from_functions` or :meth:`bilinear`.

    In every method below ``theta`` is ``(p,)``, or ``(N, p)`` for N points at once (for an ensemble N = B and row k belongs to problem k; a single ``(p,)``
    is used for all problems). Results gain the same leading axis.

    Attributes
    ----------
    dim : int
        p.
    batches : int
        m.
    problems : int or None
        B for an ensemble, None for a single loss.
    source : Source
        What the kernels read.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.dim = int(source.dim)
        self.batches = int(source.batches)
        self.problems = source.problems
        self._packed: tuple[tuple[int, ...], tuple[Integers, Floats]] | None = None

    # construction ---------------------------------------------------------------------------------

    @classmethod
    def families(cls) -> tuple[str, ...]:
        """Names that :meth:`random` accepts."""
        from stepbias.kernels.families import FAMILIES

        return tuple(FAMILIES)

    @classmethod
    def random(
        cls, family: str, dim: int, batches: int = 1, problems: int | None = None, seed: int = 0
    ) -> Loss:
        """Random losses of a family; problem k depends on (family, dim, batches, seed, k) only.

        Parameters
        ----------
        family : str
            One of :meth:`families`.
        dim : int
            p >= 1.
        batches : int
            m >= 1.
        problems : int or None
            B >= 1 for an ensemble; None for a single loss, which is problem 0 of every ensemble.
        seed : int
            0 <= seed < 2^63.

        Raises
        ------
        ValueError, TypeError
            Unknown family (the nearest name is suggested) or a number out of range.
        """
        from stepbias.kernels.families import random_source

        return cls(random_source(family, dim, batches, problems, seed))

    @classmethod
    def sinusoids(cls, amplitude: Any, frequency: Any, phase: Any) -> Loss:
        """E_b(theta) = sum_i amplitude[b, i] sin(frequency[i] . theta + phase[b, i]).

        Parameters
        ----------
        amplitude : (m, q) array
        frequency : (q, p) array
        phase : (m, q) array
            Each may carry a leading B, the number of problems; arrays without it are shared by all problems.

        Raises
        ------
        ValueError
            Shapes that do not fit, or numbers that are not finite.
        """
        from stepbias.kernels.families import sinusoid_source

        return cls(sinusoid_source(amplitude, frequency, phase))

    @classmethod
    def bilinear(cls, x: float = 2.0, y: float = 1.5) -> Loss:
        """(y - theta_1 theta_2 x)^2 / 2, the two-parameter example of Cattaneo, Klusowski, Shigida, "On the Implicit Bias of Adam"."""
        from stepbias.kernels.bilinear import BilinearSource

        return cls(BilinearSource(x, y))

    @classmethod
    def from_data(
        cls, model: str, X: Any, y: Any, batches: int | Sequence[Any] = 1, l2: float = 0.0
    ) -> Loss:
        """Mean loss of a linear model on the rows of each batch.

        Parameters
        ----------
        model : {"logistic", "least-squares", "log-cosh"}
            log(1 + exp(-s x . theta)) with labels s = -1, 1 (or y = 0, 1); (x . theta - y)^2 / 2; log cosh(x . theta - y).
        X : (N, p) array
        y : (N,) array
        batches : int or list of index arrays
            A number m: m runs of consecutive rows whose sizes differ by at most one.
        l2 : float
            Adds l2/2 |theta|^2 to every batch.

        Raises
        ------
        ValueError, TypeError
            Unknown model, shapes that do not fit, labels of more than two kinds, empty batches, rows out of range, negative l2.
        """
        from stepbias.kernels.data_loss import data_source

        return cls(data_source(model, X, y, batches, l2))

    @classmethod
    def from_sympy(cls, expressions: Any, symbols: Any) -> Loss:
        """Losses from SymPy expressions; gradients and Hessians are derived and compiled.

        Parameters
        ----------
        expressions : expression, string, or a sequence of them
            One per mini-batch.
        symbols : sequence of symbols or names, or one string "x y z"
            The components of theta, in order.

        Warns
        -----
        UserWarning
            A function without four bounded derivatives (Abs, Max, Piecewise, ...): the theorems assume them.

        Raises
        ------
        ValueError
            Symbols that are not listed, or expressions that are not real scalar functions.
        """
        from stepbias.kernels.symbolic_loss import symbolic_source

        return cls(symbolic_source(expressions, symbols))

    @classmethod
    def from_functions(
        cls,
        gradient: Callable[..., Any],
        hessian: Callable[..., Any] | None = None,
        *,
        hvp: Callable[..., Any] | None = None,
        value: Callable[..., Any] | None = None,
        dim: int,
        batches: int,
        data: tuple[Any, ...] = (),
    ) -> Loss:
        """Losses from the user's own functions, compiled by Numba.

        Parameters
        ----------
        gradient : function (b, theta, data, out) -> None
            Writes the gradient of batch b into ``out`` (p,), which is zero at the call. ``theta`` is (p,) and must not be changed.
        hessian : function (b, theta, data, out) -> None
            Writes the Hessian into ``out`` (p, p), zero at the call.
        hvp : function (b, theta, v, data, out) -> None
            Writes the Hessian times ``v`` into ``out`` (p,), zero at the call. One of ``hessian`` and ``hvp`` is needed; ``hvp`` is preferred.
        value : function (b, theta, data) -> float
            Optional; :meth:`value` raises without it.
        dim, batches : int
        data : tuple of NumPy arrays
            Passed to every call, as arguments of the compiled code.

        Raises
        ------
        ValueError
            No Hessian, or a function that does not compile or gives numbers that are not finite at a test point; the message names the function.
        """
        from stepbias.kernels.user_loss import user_source

        return cls(user_source(gradient, hessian, hvp, value, dim, batches, data))

    def select(self, indices: Any) -> Loss:
        """The sub-ensemble of the problems ``indices``, in this order.

        Parameters
        ----------
        indices : int array (K,), or one int for a single loss

        Raises
        ------
        ValueError
            For a single loss, or an index out of range.
        """
        if self.problems is None:
            raise ValueError("select: this loss is a single problem; accepted: an ensemble")
        chosen = np.asarray(indices)
        if chosen.ndim > 1 or chosen.size == 0 or chosen.dtype.kind not in "iu":
            raise ValueError(
                f"indices = {indices!r}; accepted: one integer or a non-empty one-dimensional integer array"
            )
        if chosen.min() < 0 or chosen.max() >= self.problems:
            raise ValueError(
                f"indices run from {chosen.min()} to {chosen.max()}; accepted: 0 to {self.problems - 1}"
            )
        return Loss(SelectedSource(self.source, chosen.astype(np.int64)))

    # evaluation -----------------------------------------------------------------------------------

    def value(self, b: int, theta: Any) -> Any:
        """E_b(theta): float, or ``(N,)``."""
        from stepbias.kernels import evaluate

        def block(points: Floats, ints: Integers, reals: Floats, work: Floats) -> Floats:
            out = np.empty(points.shape[1])
            evaluate.value(self.source.oracle.value, batch, points, ints, reals, work, out)
            return out

        batch = self._batch(b)
        if not getattr(self.source, "has_value", True):
            raise ValueError(
                "value: this loss was built without a value function; accepted: Loss.from_functions(..., value=f)"
            )
        result = self._evaluate(theta, block)
        return float(result) if result.ndim == 0 else result

    def gradient(self, b: int, theta: Any) -> Floats:
        """Gradient of E_b: ``(p,)`` or ``(N, p)``."""
        from stepbias.kernels import evaluate

        def block(points: Floats, ints: Integers, reals: Floats, work: Floats) -> Floats:
            out = np.empty_like(points)
            evaluate.gradient(self.source.oracle.gradient, batch, points, ints, reals, work, out)
            return out

        batch = self._batch(b)
        return self._evaluate(theta, block)

    def hvp(self, b: int, theta: Any, v: Any) -> Floats:
        """Hessian of E_b times v: ``(p,)`` or ``(N, p)``; v has the shape of theta, or is one ``(p,)`` for all points."""
        batch = self._batch(b)
        vector = checks.real("v", v)
        points = np.asarray(theta, dtype=np.float64)
        if vector.ndim == 0 or vector.shape[-1] != self.dim or vector.ndim > 2:
            raise ValueError(
                f"v has shape {vector.shape}; accepted: ({self.dim},) or that of theta"
            )
        if vector.ndim == 2 and points.ndim == 1:
            theta = np.broadcast_to(points, vector.shape)
        elif vector.ndim == 2 and vector.shape != points.shape:
            raise ValueError(
                f"v has shape {vector.shape}, theta {points.shape}; accepted: equal shapes"
            )
        return self._evaluate(theta, self._product_block(batch), vector)

    def hessian(self, b: int, theta: Any) -> Floats:
        """Hessian of E_b: ``(p, p)`` or ``(N, p, p)``."""
        block = self._product_block(self._batch(b))
        columns = [self._evaluate(theta, block, unit) for unit in np.eye(self.dim)]
        return np.stack(columns, axis=-1)

    def bounds(self, lower: Any, upper: Any) -> tuple[Any, Any, Any, Any] | None:
        """M_1 .. M_4: bounds on all partial derivatives of order 1 .. 4 over a box, for all batches.

        Parameters
        ----------
        lower, upper : float, (p,) or (B, p)
            Corners of the box, lower <= upper.

        Returns
        -------
        tuple of four floats (arrays (B,) for an ensemble), or None where the loss has no such bounds.
        """
        ends = []
        for name, value in (("lower", lower), ("upper", upper)):
            end = checks.real(name, value)
            accepted = [(), (self.dim,)] + (
                [] if self.problems is None else [(self.problems, self.dim)]
            )
            if end.shape not in accepted:
                raise ValueError(
                    f"{name} has shape {end.shape}; accepted: {', '.join(map(str, accepted))}"
                )
            ends.append(np.broadcast_to(end, (self.dim,)) if end.ndim == 0 else end)
        if np.any(ends[0] > ends[1]):
            raise ValueError("lower exceeds upper in some component; accepted: lower <= upper")
        return self.source.bounds(ends[0], ends[1])

    def describe(self) -> str:
        """The law or the origin of the loss, one or two sentences."""
        return self.source.describe()

    def __repr__(self) -> str:
        count = "" if self.problems is None else f", problems={self.problems}"
        return f"<Loss dim={self.dim}, batches={self.batches}{count}: {self.describe()}>"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": None}

    # blocks ---------------------------------------------------------------------------------------

    def _batch(self, b: Any) -> int:
        return checks.whole("b", b, 0, self.batches - 1)

    def _product_block(self, batch: int) -> Callable[..., Floats]:
        from stepbias.kernels import evaluate

        def block(
            points: Floats, ints: Integers, reals: Floats, work: Floats, vector: Floats
        ) -> Floats:
            shape = (self.batches, *points.shape)
            first, second, out_first, out_second = np.zeros((4, *shape))
            first[batch] = vector
            oracle = self.source.oracle
            evaluate.gradients(oracle.gradients, points, ints, reals, work, out_first)
            evaluate.products(
                oracle.products, points, ints, reals, work, first, second, out_first, out_second
            )
            return out_first[batch]

        return block

    def _evaluate(
        self, theta: Any, block: Callable[..., Floats], vector: Floats | None = None
    ) -> Floats:
        """Cut the points into blocks of lanes, call ``block`` on each, and put the lanes first again."""
        points = checks.real("theta", theta)
        accepted = f"({self.dim},) or ({self.problems or 'N'}, {self.dim})"
        if points.ndim not in (1, 2) or points.shape[-1] != self.dim:
            raise ValueError(f"theta has shape {points.shape}; accepted: {accepted}")
        if self.problems is not None:
            if points.ndim == 2 and len(points) != self.problems:
                raise ValueError(f"theta has shape {points.shape}; accepted: {accepted}")
            points = np.broadcast_to(points, (self.problems, self.dim))
        alone = points.ndim == 1
        rows = np.atleast_2d(points)
        if len(rows) == 0:
            raise ValueError(
                f"theta has shape {rows.shape}; accepted: {accepted} with at least one point"
            )
        results = []
        for start in range(0, len(rows), _LANES):
            lanes = np.array(rows[start : start + _LANES].T, order="C")
            extra = []
            if vector is not None:
                rest = vector if vector.ndim == 1 else vector[start : start + _LANES]
                extra.append(np.broadcast_to(rest, lanes.T.shape).T)
            out = block(lanes, *self._pack(start, lanes.shape[1]), *extra)
            results.append(np.moveaxis(out, -1, 0))
        joined = np.concatenate(results)
        return np.asarray(joined[0] if alone else joined)

    def pack(self, indices: Integers) -> tuple[Integers, Floats]:
        """Packed data of the lanes ``indices``; a single loss is the same problem in every lane."""
        return self.source.pack(np.zeros_like(indices) if self.problems is None else indices)

    def _pack(self, start: int, lanes: int) -> tuple[Integers, Floats, Floats]:
        """Data of a block, and fresh scratch; the last data are kept, since a single loss asks for the same ones again and again."""
        key = (start if self.problems is not None else 0, lanes)
        kept = self._packed  # read once: another thread may replace it
        if kept is None or kept[0] != key:
            kept = self._packed = (key, self.pack(np.arange(start, start + lanes)))
        return (*kept[1], np.zeros(max(1, self.source.work_size(lanes))))
