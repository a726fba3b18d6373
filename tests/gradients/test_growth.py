import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnoise as jn
from jaxnoise._streaming import examples_on
from jaxnoise.gradients import growth_ratio
from jaxnoise.gradients._growth import _mean_squares

pytestmark = pytest.mark.usefixtures("strict_promotion")


def flat(gradients):
    """(n, number of parameters) in float64."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(gradients)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def slow_ratio(gradients_at, trajectory, solution):
    """r_t from all gradients, (n, P) at each iterate."""
    at_solution = gradients_at(solution)
    change, gradient, ratios = 0.0, 0.0, []
    for iterate in trajectory:
        gradients = gradients_at(iterate)
        change += np.mean(np.sum((gradients - at_solution) ** 2, axis=1))
        gradient += np.sum(gradients.mean(0) ** 2)
        ratios.append(change / gradient)
    return ratios


@pytest.fixture(scope="module")
def walk(dense):
    """A solution and four iterates away from it."""
    _, params, _ = dense
    rng = np.random.default_rng(5)

    def away(size):
        return jax.tree.map(lambda w: w + np.float32(size * rng.normal(size=w.shape)), params)

    return params, [away(size) for size in (2.0, 1.0, 0.5, 0.1)]


def stacked(iterates):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *iterates)


@pytest.mark.parametrize("chunk_size", [None, 5])
def test_slow_twin(dense, walk, by_loop, chunk_size):
    loss_fn, _, data = dense
    solution, iterates = walk
    ratios = growth_ratio(loss_fn, iterates, solution, data, chunk_size=chunk_size)
    assert (ratios.shape, ratios.dtype) == ((4,), jnp.float32)
    expected = slow_ratio(lambda w: flat(by_loop(loss_fn, w, data)), iterates, solution)
    np.testing.assert_allclose(ratios, expected, rtol=1e-5)


def test_close_to_the_solution(dense, by_loop):
    """Here ‖g‖² + ‖g_*‖² − 2⟨g, g_*⟩ cancels: hardly a digit of it would be right in float32."""
    loss_fn, solution, data = dense
    rng = np.random.default_rng(6)
    near = jax.tree.map(lambda w: w + np.float32(1e-5 * rng.normal(size=w.shape)), solution)
    ratio = growth_ratio(loss_fn, [near], solution, data)
    expected = slow_ratio(lambda w: flat(by_loop(loss_fn, w, data)), [near], solution)
    assert expected[0] < 1e-6
    np.testing.assert_allclose(ratio, expected, rtol=2e-2)


@pytest.mark.parametrize("form", ["stacked", "tuple", "generator", "values", "double precision"])
def test_forms_of_the_trajectory(dense, walk, form):
    loss_fn, _, data = dense
    solution, iterates = walk
    trajectory = {
        "stacked": stacked(iterates),
        "tuple": tuple(iterates),
        "generator": (w for w in iterates),
        "values": dict(enumerate(iterates)).values(),
        "double precision": jax.tree.map(np.float64, stacked(iterates)),
    }[form]
    expected = growth_ratio(loss_fn, iterates, solution, data)
    ratios = growth_ratio(loss_fn, trajectory, solution, data)
    np.testing.assert_array_equal(ratios, expected)


def quadratic(w, batch):
    return 0.5 * jnp.sum(batch["a"] * (w - batch["c"]) ** 2, axis=1)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 999), spread=st.floats(0, 3))
def test_at_least_one_where_the_gradient_vanishes_at_the_solution(seed, spread):
    rng = np.random.default_rng(seed)
    a, c = rng.uniform(0.1, 1, size=(6, 3)), spread * rng.normal(size=(6, 3))
    solution = (a * c).sum(0) / a.sum(0)
    trajectory = solution + rng.normal(size=(4, 3))
    data = jax.tree.map(np.float32, {"a": a, "c": c})
    ratios = growth_ratio(quadratic, *map(np.float32, (trajectory, solution)), data)
    assert np.all(ratios >= 1 - 1e-5)
    change = a * (trajectory - solution)[:, None]
    expected = np.sum(change**2, (1, 2)).cumsum() / np.sum(change.mean(1) ** 2, 1).cumsum() / 6
    np.testing.assert_allclose(ratios, expected, rtol=1e-4)


def test_no_gradient_so_far():
    """Opposite curvatures: F is flat, f_1 and f_2 are not."""
    data = {"a": np.float32([[1], [-1]]), "c": np.zeros((2, 1), np.float32)}
    trajectory = np.float32([[0], [0], [2]])
    ratios = growth_ratio(quadratic, trajectory, np.zeros(1, np.float32), data)
    np.testing.assert_array_equal(ratios, [np.nan, np.nan, np.inf])


def test_no_iterate_stays_on_the_device():
    seen = []

    def load():
        for scale in range(4):
            seen.append(sum(x.shape == (1009,) for x in jax.live_arrays()))
            yield np.full(1009, scale + 1, np.float32)

    data = {"x": np.ones((2, 1009), np.float32)}
    growth_ratio(lambda w, batch: batch["x"] @ w**2, load(), np.zeros(1009, np.float32), data)
    assert seen == [seen[0]] * 4


def test_memory_does_not_grow_with_the_examples(dense):
    loss_fn, params, _ = dense
    loss_fn = jax.tree_util.Partial(loss_fn)

    def temporaries(n):
        examples = examples_on({"x": np.ones((n, 3), np.float32)}, None)
        inputs = (loss_fn, params, params, examples, 16)
        return _mean_squares.lower(*inputs).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(16 * 64) <= temporaries(16 * 4)


def test_another_trajectory_compiles_nothing_anew(dense, walk, compilations):
    loss_fn, _, data = dense
    solution, iterates = walk
    growth_ratio(loss_fn, iterates, solution, data)
    doubled = jax.tree.map(lambda x: 2 * x, (iterates, solution, data))
    assert compilations(lambda: growth_ratio(loss_fn, *doubled)) == 0


def test_under_jit(dense, walk):
    loss_fn, _, data = dense
    solution, iterates = walk
    compiled = jax.jit(lambda w: growth_ratio(loss_fn, w, solution, data))
    expected = growth_ratio(loss_fn, iterates, solution, data)
    np.testing.assert_allclose(compiled(stacked(iterates)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda iterates: [], "trajectory is empty"),
        (lambda iterates: iter([]), "trajectory is empty"),
        (lambda iterates: jax.tree.map(lambda x: x[:0], stacked(iterates)), "trajectory holds no"),
        (
            lambda iterates: [iterates[0], {"w": iterates[1]["w"]}],
            "iterate 1 of the trajectory must be a pytree of the same structure as solution",
        ),
        (
            lambda iterates: {"w": stacked(iterates)["w"]},
            "iterate 0 of the trajectory must be a pytree of the same structure as solution",
        ),
        (
            lambda iterates: [jax.tree.map(lambda x: x[:1], iterates[0])],
            r"iterate 0 of the trajectory has a leaf of shape \(1,\) where solution has \(2,\)",
        ),
        (
            lambda iterates: [iterates[0], jax.tree.map(lambda x: x + np.inf, iterates[1])],
            "gradients at iterate 1 of the trajectory or at the solution are not finite",
        ),
    ],
)
def test_wrong_trajectories(dense, walk, change, message):
    loss_fn, _, data = dense
    solution, iterates = walk
    with pytest.raises(ValueError, match=message):
        growth_ratio(loss_fn, change(iterates), solution, data)


def test_no_trajectory(dense):
    loss_fn, params, data = dense
    with pytest.raises(TypeError, match=r"trajectory must be a pytree like solution.*NoneType"):
        growth_ratio(loss_fn, None, params, data)


def test_coupled_examples_are_refused(dense):
    _, params, data = dense
    with pytest.raises(ValueError, match="loss_fn couples the examples"):
        growth_ratio(lambda w, b: (b["x"] - b["x"].mean(0)) @ w["w"][:, 0], [params], params, data)


@pytest.mark.slow
def test_network_through_the_seam_to_flax(drawn_network, by_loop):
    options = {"in_channels": 1, "image_size": 8}
    networks = [drawn_network(jn.models.SmallCNN, seed, **options) for seed in range(3)]
    (solution, loss_fn), *others = [jn.models.split(m, jn.losses.cross_entropy) for m in networks]
    rng = np.random.default_rng(0)
    data = {"image": rng.normal(size=(5, 8, 8, 1)).astype(np.float32), "label": np.arange(5)}
    iterates = [params for params, _ in others]
    ratios = growth_ratio(loss_fn, iterates, solution, data, chunk_size=2)
    expected = slow_ratio(lambda w: flat(by_loop(loss_fn, w, data)), iterates, solution)
    np.testing.assert_allclose(ratios, expected, rtol=1e-4)
