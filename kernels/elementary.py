"""Elementary functions in float64 without branches and library calls, for SIMD loops.

The compiler has no vector versions of ``sin``, ``exp`` or ``tanh`` without an external library: one
call to ``math.sin`` keeps a whole loop scalar. Here each function is a range reduction, one
polynomial and a few selects. Everything but `reciprocal_root` is IEEE double arithmetic without contraction or
reassociation, so the same formula gives the same bits in Python (``exp.py_func``) and compiled for
any vector width.

The polynomials interpolate at Chebyshev nodes in 60-digit arithmetic and are rounded to double. The
bound beside each is its share of the relative error of the result (rounding unit: 1.1e-16). The
errors of the functions, measured against mpmath, are below 4e-16 relative (3.6 rounding units).
"""

from __future__ import annotations

import math

import numpy as np

from stepbias.kernels.jit import contracted_inline, inline

# Adding 1.5 * 2^52 rounds to the nearest integer and leaves it, in two's complement, in the low
# bits.
_ROUND = 6755399441055744.0

# pi/2 in three parts; the first two have 33 bits, so that their products with integers below 2^20
# are exact.
_TWO_OVER_PI = 0.6366197723675814
_HALF_PI_1 = 1.5707963267341256
_HALF_PI_2 = 6.077100506303966e-11
_HALF_PI_3 = 2.0222662487959506e-21
SINE_LIMIT = 1.0e6  # |x| up to which x / (pi/2) stays below 2^20

# log 2 in two parts; the first has 40 bits, so that its products with exponents are exact.
_LOG2_E = 1.4426950408889634
_LN2_1 = 0.6931471805592082
_LN2_2 = 7.371002565167799e-13

_LOG_COSH_SWITCH = 0.75  # below: power series in x^2; above: |x| - log 2 + log1p(exp(-2|x|))


@inline
def _sine_polynomial(r: float) -> float:
    """Sine of r for |r| <= pi/4 (2.1e-17)."""
    z = r * r
    s = 1.5918128937554457e-10
    s = s * z - 2.5051131840044124e-08
    s = s * z + 2.7557316102528646e-06
    s = s * z - 0.00019841269836758528
    s = s * z + 0.008333333333330948
    s = s * z - 0.16666666666666666
    return r + r * z * s if z > 0.0 else r  # the select keeps the sign of zero


@inline
def _cosine_polynomial(r: float) -> float:
    """Cosine of r for |r| <= pi/4 (1.3e-18)."""
    z = r * r
    c = -1.138263220199036e-11
    c = c * z + 2.0876146265300598e-09
    c = c * z - 2.7557317271714906e-07
    c = c * z + 2.480158729876566e-05
    c = c * z - 0.0013888888888887398
    c = c * z + 0.041666666666666664
    return 1.0 - (0.5 * z - z * z * c)


@inline
def _exponential_polynomial(r: float) -> float:
    """exp(r) - 1 for |r| <= log(2)/2 (8.7e-19)."""
    p = 2.0914679595617734e-09
    p = p * r + 2.510520668068106e-08
    p = p * r + 2.7557273660822466e-07
    p = p * r + 2.7557255425009614e-06
    p = p * r + 2.480158732553378e-05
    p = p * r + 0.00019841269874801073
    p = p * r + 0.0013888888888883752
    p = p * r + 0.008333333333326141
    p = p * r + 0.04166666666666667
    p = p * r + 0.1666666666666667
    p = p * r + 0.5
    return r + r * r * p


@inline
def _reduce_sine(x: float) -> tuple[float, np.int64]:
    """Cody-Waite reduction: r in [-pi/4, pi/4] and q with x = r + q pi/2 (q is correct mod 4)."""
    shifted = x * _TWO_OVER_PI + _ROUND
    n = shifted - _ROUND
    first = x - n * _HALF_PI_1  # exact
    second = n * _HALF_PI_2  # exact
    r = first - second
    lost = (first - r) - second  # what the rounding of r dropped
    r = r - (n * _HALF_PI_3 - lost)
    return r if abs(x) <= SINE_LIMIT else np.nan, np.float64(shifted).view(np.int64)


@inline
def sincos(x: float) -> tuple[float, float]:
    """Sine and cosine of one argument.

    For ``|x| <= SINE_LIMIT`` (1e6) the error is below 4e-16 times the value plus 1e-29 (the third
    part of pi/2 ends there, which matters only for x next to a multiple of pi/2); beyond that
    limit the result is nan, never a wrong number.

    Parameters
    ----------
    x : float
        Angle in radians.

    Returns
    -------
    tuple of float
        sin x, cos x.
    """
    r, q = _reduce_sine(x)
    s = _sine_polynomial(r)
    c = _cosine_polynomial(r)
    odd = (q & 1) != 0
    sine = c if odd else s
    cosine = s if odd else c
    sine = -sine if (q & 2) != 0 else sine
    cosine = -cosine if ((q + 1) & 2) != 0 else cosine
    return sine, cosine


@inline
def sin(x: float) -> float:
    """Sine of x; see `sincos` for range and error."""
    return sincos(x)[0]


@inline
def cos(x: float) -> float:
    """Cosine of x; see `sincos` for range and error."""
    return sincos(x)[1]


@inline
def _reduce_exponential(x: float) -> tuple[float, float]:
    """Reduction x = r + n log 2 with abs r <= log(2)/2, n an integer as float; abs x < 1100."""
    n = (x * _LOG2_E + _ROUND) - _ROUND
    return (x - n * _LN2_1) - n * _LN2_2, n


@inline
def _power_of_two(n: float) -> float:
    """2^n for an integer n with -1023 < n < 1024, by writing the exponent's bits."""
    biased = np.float64(n + _ROUND).view(np.int64) + 1023
    return np.int64(biased << 52).view(np.float64)


@inline
def exp(x: float) -> float:
    """e^x: relative error below 4e-16, inf above 709.79, gradual underflow to 0, nan for nan.

    Parameters
    ----------
    x : float
        Any float64.

    Returns
    -------
    float
        e^x.
    """
    # e^710 overflows, e^-746 rounds to zero; nan fails both comparisons and passes.
    x = 710.0 if x > 710.0 else x
    x = -746.0 if x < -746.0 else x
    r, n = _reduce_exponential(x)
    # In two factors: 2^n itself may overflow or be subnormal where the result is not.
    half = (n * 0.5 + _ROUND) - _ROUND
    return (1.0 + _exponential_polynomial(r)) * _power_of_two(half) * _power_of_two(n - half)


@inline
def _log1p_core(f: float) -> float:
    """log(1 + f) for -1/2 <= f <= 1, by 2 artanh(f / (2 + f)) (1e-17)."""
    s = f / (2.0 + f)
    z = s * s
    p = 0.1616404561194353
    p = p * z + 0.08800738486144674
    p = p * z + 0.12001072809590713
    p = p * z + 0.13314144209654935
    p = p * z + 0.15385570064958623
    p = p * z + 0.18181789436132859
    p = p * z + 0.22222222717427864
    p = p * z + 0.2857142856710876
    p = p * z + 0.40000000000014585
    p = p * z + 0.6666666666666666
    # 2 s = f - s f: the rounding error of s then meets only the small second term.
    return f - s * (f - z * p)


@inline
def log1p(f: float) -> float:
    """log(1 + f) for -1/2 <= f <= 1: relative error below 4e-16; nan outside that interval.

    Parameters
    ----------
    f : float
        Number in [-1/2, 1]: enough for log(1 + e^-|x|), and no exponent has to be taken apart.

    Returns
    -------
    float
        log(1 + f).
    """
    f = f if f >= -0.5 else np.nan
    f = f if f <= 1.0 else np.nan
    return _log1p_core(f)


@inline
def log(x: float) -> float:
    """Natural logarithm: relative error below 4e-16; -inf at 0, inf at inf, nan below 0.

    Parameters
    ----------
    x : float
        Any float64, subnormal numbers included.

    Returns
    -------
    float
        log x.
    """
    small = x < 2.2250738585072014e-308
    bits = np.float64(x * 18014398509481984.0 if small else x).view(np.int64)  # 2^54
    # x = m 2^n with m between sqrt(1/2) and sqrt(2): 0x3FE6... are the bits of sqrt(1/2).
    shifted = bits - 0x3FE6A09E667F3BCD
    exponent = shifted >> 52
    m = np.int64(bits - (exponent << 52)).view(np.float64)
    # The integer becomes a float by the bits of 1.5 * 2^52, as vector units lack the conversion.
    n = np.int64(exponent + 0x4338000000000000).view(np.float64) - _ROUND
    n = n - 54.0 if small else n
    value = n * _LN2_1 + (_log1p_core(m - 1.0) + n * _LN2_2)
    value = -np.inf if x == 0.0 else value
    value = value if x >= 0.0 else np.nan
    return np.inf if x == np.inf else value


@inline
def _decay(x: float) -> tuple[float, float]:
    """Split exp(-2 abs x) = (1 + p) scale, a power of two; abs x cut at 20 (no effect)."""
    a = abs(x)
    a = 20.0 if a > 20.0 else a
    r, n = _reduce_exponential(-2.0 * a)
    return _exponential_polynomial(r), _power_of_two(n)


@inline
def tanh(x: float) -> float:
    """Hyperbolic tangent of any float64: relative error below 4e-16, odd to the last bit.

    Parameters
    ----------
    x : float
        Any float64.

    Returns
    -------
    float
        tanh x.
    """
    p, scale = _decay(x)
    e = scale * p + (scale - 1.0)  # exp(-2|x|) - 1 without cancellation
    t = -e / (2.0 + e)
    return math.copysign(t, x)


@inline
def sigmoid(x: float) -> float:
    """1 / (1 + e^-x) of any float64: relative error below 4e-16, no overflow on either side.

    Parameters
    ----------
    x : float
        Any float64.

    Returns
    -------
    float
        The logistic function of x.
    """
    e = exp(-abs(x))
    numerator = e if x < 0.0 else 1.0
    return numerator / (1.0 + e)


@inline
def softplus(x: float) -> float:
    """log(1 + e^x) of any float64: relative error below 4e-16, no overflow.

    Parameters
    ----------
    x : float
        Any float64.

    Returns
    -------
    float
        log(1 + e^x); its derivative is `sigmoid`.
    """
    positive = x if x > 0.0 else 0.0
    return positive + _log1p_core(exp(-abs(x)))


@inline
def log_cosh(x: float) -> float:
    """log(cosh x) of any float64: relative error below 4e-16, also near 0; even to the last bit.

    Parameters
    ----------
    x : float
        Any float64.

    Returns
    -------
    float
        log(cosh x); its derivative is `tanh`.
    """
    a = abs(x)
    z = a * a
    q = 1.712980917330056e-07
    q = q * z - 1.0877301036102407e-06
    q = q * z + 3.953222593287847e-06
    q = q * z - 1.1702763976921858e-05
    q = q * z + 3.268047270322507e-05
    q = q * z - 9.096279781304856e-05
    q = q * z + 0.00025657553171000224
    q = q * z - 0.0007386023221838909
    q = q * z + 0.0021869488014526445
    q = q * z - 0.0067460317434871325
    q = q * z + 0.02222222222215754
    q = q * z - 0.08333333333333269
    q = q * z + 0.5
    near = z * q
    p, scale = _decay(x)
    far = (a - _LN2_1) + (_log1p_core((1.0 + p) * scale) - _LN2_2)
    return near if a < _LOG_COSH_SWITCH else far


@contracted_inline
def reciprocal_root(x: float) -> float:
    """1 / sqrt(x) for normal x > 0, without the square-root and divide units: relative error below 4e-16.

    Halving the exponent bits gives 3.5 % error in y. With r = 1 - x y^2, two steps multiply y by a polynomial for (1 - r)^(-1/2): of degree 3,
    interpolating at the Chebyshev nodes of |r| < 0.0692 (what is left: |r| < 1.6e-6), then the series of degree 2. A square root and a division take
    4.3 cycles for each element on current processors, this 1.4.

    Parameters
    ----------
    x : float
        At least 1e-300 and finite; NaN gives NaN, 0 and infinity give NaN.

    Returns
    -------
    float
        1 / sqrt(x), not correctly rounded; products and sums may be fused, so the last bit depends on the processor.
    """
    y = np.int64(0x5FE6EB50C7B537A9 - (np.float64(x).view(np.int64) >> 1)).view(np.float64)
    r = 1.0 - x * (y * y)
    y *= 0.9999992549659231 + r * (
        0.5000013185788246 + r * (0.3762781361678196 + r * 0.3127980808544652)
    )
    r = 1.0 - x * (y * y)
    return y + y * (r * (0.5 + r * 0.375))
