import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnoise import smoothing
from jaxnoise.smoothing import descent

STARTS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def new_key():
    return jax.random.key(5)


def f(x):
    return jnp.sum(jnp.cos(2 * x)) + x @ x / 2 + x[0] * x[1]


def slope(x):
    return -2 * np.sin(2 * x) + x + np.array([x[1], x[0], 0 * x[0]])


def slow_descent(x, learning_rate, num_steps, noise=None):
    path, x = [], x.astype(np.float64)
    for t in range(num_steps):
        x = x - learning_rate * (slope(x) + (0 if noise is None else noise[t]))
        path.append(x)
    return np.stack(path)


def test_descent_from_many_starts_is_that_from_each():
    options = {"learning_rate": 0.1, "num_steps": 12, "record_every": 4}
    found = descent(f, STARTS, vectorized=True, chunk_size=3, **options)
    paths = np.stack([slow_descent(x, 0.1, 12) for x in STARTS])
    np.testing.assert_allclose(found.trajectory, paths[:, 3::4], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.point, found.trajectory[:, -1])
    values = [[f(x) for x in path] for path in found.trajectory]
    np.testing.assert_allclose(found.trajectory_values, values, rtol=1e-4)
    np.testing.assert_array_equal(found.value, found.trajectory_values[:, -1])
    alone = descent(f, STARTS[0], learning_rate=0.1, num_steps=12)
    np.testing.assert_allclose(alone.point, found.point[0], rtol=1e-5)
    assert alone.trajectory is None


def test_noise_is_drawn_for_each_start_and_step():
    options = {"learning_rate": 0.1, "num_steps": 3, "noise_std": 2.0}
    found = descent(f, STARTS, key=new_key(), vectorized=True, **options)
    for key, start, point in zip(jax.random.split(new_key(), 7), STARTS, found.point, strict=True):
        noise = [jax.random.normal(jax.random.fold_in(key, t), (3,)) for t in range(3)]
        noise = 2 / np.sqrt(3) * np.asarray(noise, np.float64)
        np.testing.assert_allclose(point, slow_descent(start, 0.1, 3, noise)[-1], rtol=1e-4)
    alone = descent(f, STARTS[0], key=jax.random.split(new_key(), 7)[0], **options)
    np.testing.assert_allclose(alone.point, found.point[0], rtol=1e-5)


def test_noise_smooths_by_the_learning_rate_times_its_std():
    """The mean of y_1 = y_0 − ηω_0 − η∇f(y_0 − ηω_0) is y_0 − η∇f̂_δ(y_0) with δ = ηs."""
    rate, std, n = 0.3, 4.0, 40_000
    start = np.array([0.4, -1.0], np.float32)

    def waves(x):
        return jnp.sum(jnp.cos(x))

    starts = np.tile(start, (n, 1))
    options = {"learning_rate": rate, "noise_std": std, "vectorized": True}
    found = descent(waves, starts, num_steps=2, key=new_key(), **options).point
    before = start - rate * jax.grad(waves)(start)
    smooth = jax.grad(lambda x: smoothing.smoothed_cosines(x, rate * std, 1, 1, "gaussian"))
    expected = before - rate * smooth(before)
    error = np.std(found, axis=0) / np.sqrt(n)
    assert (abs(np.mean(found, axis=0) - expected) < 4.5 * error).all()
    assert (abs(before - rate * jax.grad(waves)(before) - expected) > 10 * error).any()


def test_optimizers_and_trees():
    start = {"a": jnp.ones((2, 2)), "b": jnp.array(3.0)}

    def g(x):
        return jnp.sum(x["a"] ** 2) + x["b"] ** 2

    found = descent(g, start, learning_rate=0.1, num_steps=5, optimizer=optax.adam)
    transformation = optax.adam(0.1)
    x, state = start, transformation.init(start)
    for _ in range(5):
        updates, state = transformation.update(jax.grad(g)(x), state)
        x = optax.apply_updates(x, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found.point, x)


def test_other_numbers_compile_nothing_anew(compilations):
    def run(starts, rate, noise, key):
        return descent(
            f, starts, learning_rate=rate, num_steps=2, noise_std=noise, key=key, vectorized=True
        )

    other = 2 * STARTS, 0.2, 0.5, jax.random.key(8)
    run(STARTS, 0.1, 1.0, new_key())
    assert compilations(lambda: run(*other)) == 0
    rates = jnp.array([0.1, 0.2])
    swept = jax.vmap(lambda rate: descent(f, STARTS[0], learning_rate=rate, num_steps=2))(rates)
    assert swept.point.shape == (2, 3)


def test_results_are_saved(tmp_path):
    found = descent(f, STARTS[0], learning_rate=0.1, num_steps=2)
    found.save(tmp_path / "end.npz")
    loaded = smoothing.Descent.load(tmp_path / "end.npz")
    np.testing.assert_array_equal(loaded.point, found.point)
    assert loaded.trajectory is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be a positive number"),
        ({"learning_rate": jnp.ones(2)}, ValueError, "learning_rate must be a single number"),
        ({"num_steps": 0}, ValueError, "num_steps must be at least 1"),
        ({"record_every": 3}, ValueError, r"record_every must divide num_steps \(4\) evenly"),
        ({"noise_std": 1.0}, ValueError, "key is needed for noise"),
        (
            {"noise_std": -1.0, "key": new_key()},
            ValueError,
            "noise_std must be finite and not negative",
        ),
        ({"noise_std": 1.0, "key": 3}, TypeError, "key must be a typed key"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be a positive number"),
        ({"start": jnp.ones(3, int)}, TypeError, "start must hold real floating arrays alone"),
        ({"f": lambda x: x}, ValueError, "give vectorized=True where start holds many starts"),
        ({"f": lambda x: x, "vectorized": True}, ValueError, "f must give a single number"),
        ({"start": jnp.ones(()), "vectorized": True}, ValueError, "has no example axis"),
    ],
)
def test_wrong_arguments(options, error, message):
    arguments = {"f": jnp.sum, "start": STARTS, "learning_rate": 0.1, "num_steps": 4}
    with pytest.raises(error, match=message):
        descent(**{**arguments, **options})
