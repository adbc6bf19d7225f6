"""Public names of stepbias, loaded when they are first used.

``import stepbias`` imports no numerical library; ``stepbias.Loss`` and the others load their rooms
on first access.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

# public name -> the room that defines it
_HOME = {
    "Loss": "stepbias.kernels.loss",
    "Adam": "stepbias.theory.optimizers",
    "RMSProp": "stepbias.theory.optimizers",
    "Optimizer": "stepbias.theory.optimizer",
    "GradientDescent": "stepbias.theory.shipped",
    "HeavyBall": "stepbias.theory.shipped",
    "Nesterov": "stepbias.theory.shipped",
    "AdamW": "stepbias.theory.shipped",
    "NAdam": "stepbias.theory.shipped",
    "SmoothLion": "stepbias.theory.shipped",
    "SmoothSignum": "stepbias.theory.shipped",
    "sqrt": "stepbias.theory.tracing",
    "exp": "stepbias.theory.tracing",
    "log": "stepbias.theory.tracing",
    "tanh": "stepbias.theory.tracing",
    "modified_equation": "stepbias.kernels.modified_equation",
    "from_torch": "stepbias.theory.optimizers",
    "from_optax": "stepbias.theory.optimizers",
    "Cyclic": "stepbias.theory.schedules",
    "Reshuffled": "stepbias.theory.schedules",
    "IID": "stepbias.theory.schedules",
    "iterate": "stepbias.kernels.trajectories",
    "flow": "stepbias.kernels.trajectories",
    "vector_field": "stepbias.kernels.trajectories",
    "memory_terms": "stepbias.kernels.trajectories",
    "global_error": "stepbias.kernels.trajectories",
    "measure_order": "stepbias.verify.orders",
    "fit_order": "stepbias.verify.fit",
    "leading_coefficient": "stepbias.verify.coefficient",
    "claims": "stepbias.verify.registry",
    "run_claims": "stepbias.verify.runner",
}
# public name -> a whole room
_ROOM = {"strategies": "stepbias.verify.strategies", "testing": "stepbias.verify.testing"}

__all__ = [  # noqa: RUF022 (in the order of a reader's first use)
    "Loss",
    "Adam",
    "RMSProp",
    "Optimizer",
    "GradientDescent",
    "HeavyBall",
    "Nesterov",
    "AdamW",
    "NAdam",
    "SmoothLion",
    "SmoothSignum",
    "sqrt",
    "exp",
    "log",
    "tanh",
    "modified_equation",
    "from_torch",
    "from_optax",
    "Cyclic",
    "Reshuffled",
    "IID",
    "iterate",
    "flow",
    "vector_field",
    "memory_terms",
    "global_error",
    "measure_order",
    "fit_order",
    "leading_coefficient",
    "claims",
    "run_claims",
    "strategies",
    "testing",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    elif name in _ROOM:
        value = import_module(_ROOM[name])
    elif name == "__version__":
        from importlib.metadata import version  # 20 ms: only for those who ask

        value = version("stepbias")
    else:
        raise AttributeError(f"module 'stepbias' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
