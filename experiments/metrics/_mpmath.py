"""log I_v and log K_v to 25 digits with mpmath, at any order: integrals along the path of steepest
descent through the saddle t = asinh(v / x), and mpmath's own series where it is quick.
"""

DPS = 30


def log_k(v, x):
    """log of (1/2) int exp(-x cosh t + v t) dt, by the trapezoidal rule, halved until it stands."""
    import mpmath as mp

    with mp.workdps(DPS):
        v, x = mp.mpf(v), mp.mpf(x)
        t0, s = mp.asinh(v / x), mp.sqrt(v * v + x * x)
        exponent = lambda t: -x * mp.cosh(t0 + t) + v * t + s
        ends = []
        for side in (-1, 1):
            end = side / mp.sqrt(1 + s)
            while exponent(end) > -(DPS + 6) * mp.log(10):
                end *= mp.mpf(1.3)
            ends.append(end)
        n, last = 100, None
        while True:
            h = (ends[1] - ends[0]) / n
            total = h * mp.fsum(mp.exp(exponent(ends[0] + j * h)) for j in range(n + 1))
            if last is not None and abs(total - last) < total * mp.mpf(10) ** -25:
                return v * t0 - s + mp.log(total / 2)
            n, last = 2 * n, total


def log_i(v, x):
    """log I_v(x): mpmath's series, or Schläfli's contour through the saddle where it is slow."""
    import mpmath as mp

    with mp.workdps(DPS):
        v, x = mp.mpf(v), mp.mpf(x)
        if max(v, x) < 3e3 or x < 1e3:
            return mp.log(mp.besseli(v, x))
        t0, s = mp.asinh(v / x), mp.sqrt(v * v + x * x)
        inner = lambda u: mp.exp(s * (mp.cos(u) - 1)) * mp.cos(v * (mp.sin(u) - u))
        end = 2 * mp.asin(mp.sqrt(DPS * mp.log(10) / (2 * s)))  # what lies beyond is below 1e-30
        return s - v * t0 + mp.log(mp.quad(inner, mp.linspace(0, end, 7)) / mp.pi)
