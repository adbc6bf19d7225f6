"""The optimizers' parameters, and their translation from Optax and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stepbias.theory.optimizers import Adam, RMSProp, from_optax, from_torch, require_family


def test_defaults_are_the_contract_s() -> None:
    a, r = Adam(), RMSProp()
    assert (a.beta, a.rho, a.eps, a.eps_root, a.bias_correction) == (0.9, 0.999, 1e-8, 0.0, True)
    assert (r.beta, r.rho, r.eps, r.eps_root, r.bias_correction) == (0.0, 0.99, 1e-8, 0.0, False)


def test_parameters_may_be_one_per_problem() -> None:
    optimizer = Adam(
        beta=np.array([0.0, 0.5]), eps=np.array([0.0, 1.0]), eps_root=np.array([1.0, 0.0])
    )
    assert np.shape(optimizer.beta) == (2,)
    assert require_family(optimizer) is optimizer


BAD: list[tuple[str, Any, type]] = [
    (name, value, error)
    for name in ("beta", "rho")
    for value, error in (
        (1.0, ValueError),
        (-0.1, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        (np.array([0.5, 1.0]), ValueError),
        ("0.9", TypeError),
        (None, TypeError),
        (True, TypeError),
        (0.5j, TypeError),
    )
] + [
    (name, value, error)
    for name in ("eps", "eps_root")
    for value, error in (
        (-1e-8, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        (np.array([1.0, -1.0]), ValueError),
        ("1", TypeError),
        (None, TypeError),
    )
]


@pytest.mark.parametrize("kind", [Adam, RMSProp])
@pytest.mark.parametrize(("name", "value", "error"), BAD)
def test_bad_parameters_are_refused(kind: Any, name: str, value: Any, error: type) -> None:
    if kind is RMSProp and name == "beta":
        pytest.skip("RMSProp has no beta")
    with pytest.raises(error) as caught:
        kind(**{name: value})
    message = str(caught.value)
    assert message.startswith(f"{name} = {value!r}")
    assert "accepted: a number in [0, " in message


@pytest.mark.parametrize("kind", [Adam, RMSProp])
def test_parameters_have_at_most_one_axis(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"rho has shape \(2, 2\); accepted"):
        kind(rho=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"rho = \[\[0.1\], \[0.1, 0.2\]\] has rows of unequal"):
        kind(rho=[[0.1], [0.1, 0.2]])
    with pytest.raises(ValueError, match=r"eps has shape \(2,\), eps_root \(3,\); accepted"):
        kind(eps=np.ones(2), eps_root=np.ones(3))


@pytest.mark.parametrize("kind", [Adam, RMSProp])
@pytest.mark.parametrize("eps", [0.0, np.array([1e-3, 0.0])])
def test_a_denominator_without_epsilon_is_refused(kind: Any, eps: Any) -> None:
    with pytest.raises(ValueError, match=r"(?s)eps = .* and eps_root = 0.0 are both 0; accepted"):
        kind(eps=eps, eps_root=0.0)


@pytest.mark.parametrize("value", [1, None, "yes", np.array([True, False])])
def test_bias_correction_is_a_truth_value(value: Any) -> None:
    with pytest.raises(TypeError, match=r"bias_correction = .*accepted: True or False"):
        Adam(bias_correction=value)


@pytest.mark.parametrize("value", [None, 3, "adam", Adam])
def test_strangers_to_the_family_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"optimizer = .*accepted: an Adam or an RMSProp"):
        require_family(value)


def settings(optimizer: Any) -> tuple[Any, ...]:
    names = ("beta", "rho", "eps", "eps_root", "bias_correction")
    return (type(optimizer), *(getattr(optimizer, name) for name in names))


# Optax -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("adam", {}, (Adam, 0.9, 0.999, 1e-8, 0.0, True)),
        ("adam", {"learning_rate": 1.0, "b1": 0.5, "b2": 0.7}, (Adam, 0.5, 0.7, 1e-8, 0.0, True)),
        ("adam", {"eps": 0.0, "eps_root": 1e-3}, (Adam, 0.9, 0.999, 0.0, 1e-3, True)),
        ("adam", {"nesterov": False, "mu_dtype": None}, (Adam, 0.9, 0.999, 1e-8, 0.0, True)),
        ("rmsprop", {}, (RMSProp, 0.0, 0.9, 0.0, 1e-8, False)),
        ("rmsprop", {"decay": 0.7, "eps": 1e-3}, (RMSProp, 0.0, 0.7, 0.0, 1e-3, False)),
        ("rmsprop", {"eps_in_sqrt": False}, (RMSProp, 0.0, 0.9, 1e-8, 0.0, False)),
        ("rmsprop", {"bias_correction": True}, (Adam, 0.0, 0.9, 0.0, 1e-8, True)),
        (
            "rmsprop",
            {"momentum": None, "centered": False, "nesterov": False, "initial_scale": 0.0},
            (RMSProp, 0.0, 0.9, 0.0, 1e-8, False),
        ),
    ],
)
def test_optax_is_translated(name: str, options: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert settings(from_optax(name, **options)) == expected


@pytest.mark.parametrize(
    ("name", "options", "error", "words"),
    [
        ("adam", {"nesterov": True}, ValueError, "nesterov = True; accepted for optax.adam: b1"),
        ("adam", {"mu_dtype": "bfloat16"}, ValueError, "mu_dtype = 'bfloat16'; accepted for"),
        ("adam", {"beta1": 0.0}, ValueError, "beta1 = 0.0; accepted for optax.adam: b1, b2"),
        ("adam", {"decay": None}, ValueError, "decay = None; accepted for optax.adam"),
        ("adam", {"b1": 1.0}, ValueError, "b1 = 1.0; accepted: a number in [0, 1)"),
        ("adam", {"b2": "x"}, TypeError, "b2 = 'x' has type str; accepted"),
        ("adam", {"eps": -1.0}, ValueError, "eps = -1.0; accepted"),
        ("rmsprop", {"momentum": 0.9}, ValueError, "momentum = 0.9; accepted for optax.rmsprop"),
        ("rmsprop", {"centered": True}, ValueError, "centered = True; accepted for optax.rmsprop"),
        ("rmsprop", {"initial_scale": 1.0}, ValueError, "initial_scale = 1.0; accepted for"),
        ("rmsprop", {"decay": 1.5}, ValueError, "decay = 1.5; accepted: a number in [0, 1)"),
        ("rmsprop", {"eps": "x"}, TypeError, "eps = 'x' has type str; accepted"),
        ("rmsprop", {"eps_in_sqrt": 1}, TypeError, "eps_in_sqrt = 1; accepted: True or False"),
        ("adamw", {}, ValueError, "name = 'adamw'; accepted: 'adam', 'rmsprop'"),
        (["adam"], {}, ValueError, "name = ['adam']; accepted: 'adam', 'rmsprop'"),
    ],
)
def test_what_optax_does_differently_is_refused(
    name: Any, options: dict[str, Any], error: type, words: str
) -> None:
    with pytest.raises(error) as caught:
        from_optax(name, **options)
    assert words in str(caught.value)


def test_optax_s_own_defaults_are_ours() -> None:
    optax = pytest.importorskip(
        "optax", reason="optax is not installed (pip install stepbias[network])"
    )
    import inspect

    for name in ("adam", "rmsprop"):
        defaults = {
            key: value.default
            for key, value in inspect.signature(getattr(optax, name)).parameters.items()
            if value.default is not inspect.Parameter.empty
        }
        # Unknown options would be refused, different defaults would show.
        assert settings(from_optax(name, **defaults)) == settings(from_optax(name))


# PyTorch -----------------------------------------------------------------------------------------


def torch_like(kind: str, *groups: dict[str, Any]) -> Any:
    """An object with the name and the groups of a PyTorch optimizer."""
    return type(kind, (), {"param_groups": list(groups)})()


ADAM = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
ADAM |= {"maximize": False, "foreach": None, "capturable": False, "fused": None}
RMSPROP = {"lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "weight_decay": 0, "momentum": 0}
RMSPROP |= {"centered": False, "maximize": False}


def test_torch_is_translated() -> None:
    adam = from_torch(torch_like("Adam", ADAM | {"betas": (0.5, 0.7), "eps": 1e-4}))
    assert settings(adam) == (Adam, 0.5, 0.7, 1e-4, 0.0, True)
    rmsprop = from_torch(torch_like("RMSprop", RMSPROP | {"alpha": 0.6}))
    assert settings(rmsprop) == (RMSProp, 0.0, 0.6, 1e-8, 0.0, False)
    assert settings(from_torch(torch_like("Adam", ADAM, ADAM | {"lr": 1.0}))) == settings(Adam())


@pytest.mark.parametrize(
    ("kind", "base", "option", "value"),
    [
        ("Adam", ADAM, "weight_decay", 0.1),
        ("Adam", ADAM, "amsgrad", True),
        ("Adam", ADAM, "maximize", True),
        ("RMSprop", RMSPROP, "momentum", 0.9),
        ("RMSprop", RMSPROP, "centered", True),
        ("RMSprop", RMSPROP, "weight_decay", 1e-4),
    ],
)
def test_what_torch_does_differently_is_refused(
    kind: str, base: dict[str, Any], option: str, value: Any
) -> None:
    for groups in ([base | {option: value}], [base, base | {option: value}]):
        with pytest.raises(
            ValueError, match=f"{option} = {value!r}; accepted: {option} switched off"
        ):
            from_torch(torch_like(kind, *groups))


def test_groups_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"param_groups use different settings .*accepted: equal"):
        from_torch(torch_like("Adam", ADAM, ADAM | {"eps": 1e-4}))


@pytest.mark.parametrize(
    "value", [3, None, torch_like("SGD", {"lr": 1.0}), torch_like("AdamW", ADAM)]
)
def test_other_classes_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"optimizer = .*accepted: torch\.optim\.Adam or torch"):
        from_torch(value)


def test_torch_itself_is_translated() -> None:
    torch = pytest.importorskip(
        "torch", reason="torch is not installed (pip install stepbias[torch])"
    )
    weights = [torch.zeros(1, requires_grad=True)]
    assert settings(from_torch(torch.optim.Adam(weights))) == settings(Adam())
    assert settings(from_torch(torch.optim.RMSprop(weights))) == settings(RMSProp())
    with pytest.raises(TypeError, match="AdamW"):
        from_torch(torch.optim.AdamW(weights))


def test_parameters_are_kept_as_they_were_checked() -> None:
    beta = np.array([0.5, 0.9])
    adam, rmsprop = Adam(beta=beta), RMSProp(rho=beta)
    beta[0] = 1.5
    assert adam.beta[0] == 0.5  # type: ignore[index]
    assert rmsprop.rho[0] == 0.5  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        adam.beta[0] = 1.5  # type: ignore[index]
