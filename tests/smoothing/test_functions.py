import math

import jax
import numpy as np
import pytest

from jaxnoise.smoothing import functions
from jaxnoise.smoothing._waves import cosine, sine

pytestmark = pytest.mark.usefixtures("strict_promotion")


def levy(x):
    w = [1 + (v - 1) / 4 for v in x]
    inner = sum((v - 1) ** 2 * (1 + 10 * math.sin(math.pi * v + 1) ** 2) for v in w[:-1])
    last = (w[-1] - 1) ** 2 * (1 + math.sin(2 * math.pi * w[-1]) ** 2)
    return math.sin(math.pi * w[0]) ** 2 + inner + last


def ackley(x):
    d = len(x)
    root = math.sqrt(sum(v**2 for v in x) / d)
    waves = sum(math.cos(2 * math.pi * v) for v in x) / d
    return -20 * math.exp(-0.2 * root) - math.exp(waves) + 20 + math.e


def drop_wave(x):
    squares = sum(v**2 for v in x)
    return -(1 + math.cos(12 * math.sqrt(squares))) / (0.5 * squares + 2)


def griewank(x):
    waves = math.prod(math.cos(v / math.sqrt(i + 1)) for i, v in enumerate(x))
    return sum(v**2 for v in x) / 4000 - waves + 1


SLOW = {
    "rastrigin": lambda x: sum(v**2 - 10 * math.cos(2 * math.pi * v) + 10 for v in x),
    "ackley": ackley,
    "drop_wave": drop_wave,
    "griewank": griewank,
    "styblinski_tang": lambda x: sum(v**4 - 16 * v**2 + 5 * v for v in x) / 2,
    "levy": levy,
    "multi_well": lambda x: sum(v**2 / 10 + math.sin(3 * v) for v in x),
}


@pytest.mark.parametrize("name", functions.PROBLEMS)
def test_values_and_global_minima(name):
    problem, d = functions.PROBLEMS[name], 3
    assert problem.function is getattr(functions, name)
    points = np.random.default_rng(0).uniform(problem.lower, problem.upper, size=(300, d))
    lowest = problem.minimizer(d)

    @jax.jit
    def known(points, lowest):
        return problem.function(points), *jax.value_and_grad(problem.function)(lowest)

    found, value, slope = known(*map(np.float32, (points, lowest)))
    expected = [SLOW[name](x) for x in points]
    np.testing.assert_allclose(found, expected, rtol=3e-5, atol=3e-4)
    np.testing.assert_allclose(value, problem.minimum(d), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(slope, 0, atol=1e-4)
    np.testing.assert_allclose(SLOW[name](lowest), problem.minimum(d), atol=1e-9)
    near = lowest + 0.01 * points / problem.upper
    assert min(*expected, *map(SLOW[name], near)) > problem.minimum(d)


@pytest.mark.parametrize("name", functions.PROBLEMS)
def test_gradients_are_those_of_double_precision(name, x64):
    x = np.random.default_rng(1).uniform(-3, 3, size=3)
    gradients = jax.jit(
        lambda *points: [jax.grad(functions.PROBLEMS[name].function)(x) for x in points]
    )
    double, single = gradients(x, x.astype(np.float32))
    steps = 1e-6 * np.eye(3)
    expected = [(SLOW[name](x + step) - SLOW[name](x - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(double, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(single, expected, rtol=1e-4, atol=1e-4)


def test_a_number_is_a_point_of_one_dimension():
    value = functions.rastrigin(0.5)
    assert value.shape == ()
    assert value == functions.rastrigin([0.5]) == 20.25


def test_waves_are_those_of_numpy():
    x = np.concatenate([np.linspace(-40, 40, 10001), [0.0, 1e-8, -1e-30, 600.0]])
    x = x.astype(np.float32)
    bound = 2e-7 * (1 + abs(x.astype(np.float64)))
    waves = jax.jit(lambda x: (cosine(x), sine(x), jax.grad(jax.grad(sine))(x[0])))
    cosines, sines, second = waves(x)
    assert (abs(cosines - np.cos(x.astype(np.float64))) <= bound).all()
    assert (abs(sines - np.sin(x.astype(np.float64))) <= bound).all()
    np.testing.assert_allclose(sines[-3:-1], x[-3:-1], rtol=1e-6)
    np.testing.assert_allclose(second, -sines[0], rtol=1e-5)


@pytest.mark.parametrize("distribution", ["ball", "gaussian"])
def test_smoothed_rastrigin_is_the_mean_over_shifts(distribution):
    x, delta, rng = np.array([0.2, -0.4]), 1.0, np.random.default_rng(0)
    normal = rng.normal(size=(200_000, 2))
    if distribution == "ball":
        radius = np.sqrt(rng.uniform(size=(len(normal), 1)))
        u = normal / np.linalg.norm(normal, axis=1, keepdims=True) * radius
    else:
        u = normal / np.sqrt(2)
    values = functions.rastrigin((x - delta * u).astype(np.float32))
    found = functions.rastrigin_smoothed(x, delta, distribution)
    assert abs(found - np.mean(values)) < 4.5 * np.std(values) / np.sqrt(len(u))
    np.testing.assert_allclose(
        functions.rastrigin_smoothed(x, 0.0, distribution), functions.rastrigin(x), rtol=1e-6
    )
