import statistics

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

import jaxnoise as jn
from jaxnoise._streaming import Examples
from jaxnoise.gradients import Normality, noise_projections, normality
from jaxnoise.gradients._distribution import _anderson_darling_p_value, _slopes

pytestmark = pytest.mark.usefixtures("strict_promotion")


def new_key():
    return jax.random.key(0)


def flat(gradients):
    """(n, number of parameters) in float64."""
    leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(gradients)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def linear(w, batch):
    """A loss whose gradients are the examples themselves, the leaves of w one after another."""
    return batch["x"] @ jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(w)])


def directions(key, params, num):
    """(K, d) the v_k: with the gradients ±e_j, whose mean is zero, the projections are theirs."""
    d = sum(leaf.size for leaf in jax.tree.leaves(params))
    x = np.concatenate([np.eye(d), -np.eye(d)]).astype(np.float32)
    return np.asarray(noise_projections(key, linear, params, {"x": x}, num), np.float64)[:d].T


# Projections


@pytest.mark.parametrize("chunk_size", [None, 5])
def test_slow_twin(dense, by_loop, chunk_size):
    loss_fn, params, data = dense
    projections = noise_projections(new_key(), loss_fn, params, data, 11, chunk_size=chunk_size)
    assert (projections.shape, projections.dtype) == ((9, 11), jnp.float32)
    gradients = flat(by_loop(loss_fn, params, data))
    expected = (gradients - gradients.mean(0)) @ directions(new_key(), params, 11).T
    np.testing.assert_allclose(projections, expected, atol=2e-6 * np.abs(gradients).max())
    np.testing.assert_allclose(np.mean(projections, axis=0), 0, atol=1e-6)


@pytest.mark.slow
def test_stored_networks(stored, by_loop):
    """One of dense layers, one of convolutions."""
    params = jax.tree.map(np.float32, stored.params)
    data = {name: value[:6] for name, value in stored.data.items()}
    projections = noise_projections(new_key(), stored.loss_fn, params, data, 3, chunk_size=4)
    gradients = flat(by_loop(stored.loss_fn, params, data))
    expected = (gradients - gradients.mean(0)) @ directions(new_key(), params, 3).T
    np.testing.assert_allclose(projections, expected, atol=2e-6 * np.abs(gradients).max())


def test_directions_are_uniform_on_the_unit_sphere():
    v = directions(
        new_key(), {"a": np.zeros(2, np.float32), "b": np.zeros((3, 2), np.float32)}, 4000
    )
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(v.mean(0), 0, atol=4 * np.sqrt(1 / 8 / 4000))
    np.testing.assert_allclose(8 * v.T @ v / 4000, np.eye(8), atol=0.1)
    np.testing.assert_allclose(np.mean(v**4), 3 / (8 * 10), rtol=0.05)
    assert np.abs(v[:-1] @ v[-1]).max() < 0.98


def test_nearly_alike_examples():
    """The noise is a thousandth of the gradient."""
    noise = np.random.default_rng(0).normal(size=(16, 8))
    x = (1 + 1e-3 * noise).astype(np.float32)
    params = np.zeros(8, np.float32)
    projections = noise_projections(new_key(), linear, params, {"x": x}, 11)
    wide = np.asarray(x, np.float64)
    expected = (wide - wide.mean(0)) @ directions(new_key(), params, 11).T
    np.testing.assert_allclose(projections, expected, atol=1e-6)


def test_another_checkpoint_and_key_compile_nothing_anew(dense, compilations):
    loss_fn, params, data = dense
    noise_projections(new_key(), loss_fn, params, data, 11)
    key, doubled = jax.random.key(1), jax.tree.map(lambda x: 2 * x, (params, data))
    assert compilations(lambda: noise_projections(key, loss_fn, *doubled, 11)) == 0


def test_under_jit(dense):
    loss_fn, params, data = dense
    compiled = jax.jit(lambda key, w: noise_projections(key, loss_fn, w, data, 11))
    expected = noise_projections(new_key(), loss_fn, params, data, 11)
    np.testing.assert_allclose(compiled(new_key(), params), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"key": jax.random.PRNGKey(0)}, TypeError, "key must be a typed key: use jax.random.key"),
        ({"key": jax.random.split(new_key())}, ValueError, r"key must be a single key, got \(2,\)"),
        ({"num_projections": 0}, ValueError, "num_projections must be at least 1, got 0"),
        ({"chunk_size": 0}, ValueError, "chunk_size must be a positive number"),
        ({"data": {"x": np.ones((1, 3), np.float32)}}, ValueError, "at least two examples"),
        (
            {"data": {"x": np.float32([[1, 1, 1], [0, np.inf, 0]])}},
            ValueError,
            "gradient of example 1 is not finite",
        ),
    ],
)
def test_wrong_arguments(changed, error, message):
    given = {"key": new_key(), "params": np.ones(3, np.float32), "num_projections": 1}
    given |= {"loss_fn": linear, "data": {"x": np.eye(3, dtype=np.float32)}}
    with pytest.raises(error, match=message):
        noise_projections(**(given | changed))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["FeedForward", "SmallCNN"])
def test_networks_through_the_seam_to_flax(drawn_network, by_loop, name):
    model = drawn_network(getattr(jn.models, name), in_channels=1, image_size=8)
    params, loss_fn = jn.models.split(model, jn.losses.cross_entropy)
    rng = np.random.default_rng(0)
    data = {"image": rng.normal(size=(5, 8, 8, 1)).astype(np.float32), "label": np.arange(5)}
    projections = noise_projections(new_key(), loss_fn, params, data, 2)
    gradients = np.float32(flat(by_loop(loss_fn, params, data)))
    expected = noise_projections(new_key(), linear, params, {"x": gradients}, 2)
    np.testing.assert_allclose(projections, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_memory_does_not_grow_with_the_examples_or_directions():
    params = {"w": jnp.ones((100, 300)), "b": jnp.ones(300)}

    def loss_fn(params, batch):
        return jnp.sum(jnp.tanh(batch["x"] @ params["w"] + params["b"]), axis=1)

    def temporaries(n, num):
        inputs = (Partial(loss_fn), params, Examples({"x": jnp.ones((n, 100))}, n), 16)
        keys = jax.random.split(new_key(), num)
        program = _slopes.lower(keys, *inputs).compile()
        return program.memory_analysis().temp_size_in_bytes - 2 * 4 * n * num  # less the result

    assert temporaries(16 * 64, 16) <= 1.1 * temporaries(16 * 4, 16)
    assert temporaries(16 * 4, 64) <= 1.1 * temporaries(16 * 4, 16)


@pytest.mark.slow
def test_noise_of_a_batch_looks_more_normal_than_that_of_an_example():
    rng = np.random.default_rng(0)
    x = rng.exponential(size=(20_000, 8)).astype(np.float32)
    one = normality(noise_projections(new_key(), linear, jnp.ones(8), {"x": x}, 10))
    batches = {"x": x.reshape(-1, 20, 8).mean(1)}
    mean = normality(noise_projections(new_key(), linear, jnp.ones(8), batches, 10))
    assert np.all(mean.excess_kurtosis < one.excess_kurtosis)
    assert np.all(mean.p_value > one.p_value)


# Statistics of normality


def slow_normality(sample):
    """One column, number by number."""
    n, mean = len(sample), statistics.fmean(sample)
    spread, normal = statistics.pstdev(sample), statistics.NormalDist()
    z = sorted((x - mean) / spread for x in sample)
    unbiased = [(x - mean) / statistics.stdev(sample) for x in sorted(sample)]
    cdf = [normal.cdf(x) for x in unbiased]
    survival = [normal.cdf(-x) for x in reversed(unbiased)]
    logs = np.log(cdf) + np.log(survival)
    sizes = sorted(map(abs, z), reverse=True)
    k = int(n**0.5)
    return (
        sum(x**3 for x in z) / n,
        sum(x**4 for x in z) / n - 3,
        -n - sum((2 * i + 1) * log for i, log in enumerate(logs)) / n,
        k / sum(np.log(size / sizes[k]) for size in sizes[:k]),
    )


def shared(result):
    return np.stack(
        [result.skewness, result.excess_kurtosis, result.anderson_darling, result.tail_index]
    )


@pytest.mark.parametrize("n", [8, 9, 150])
def test_statistics_by_hand(n):
    rng = np.random.default_rng(n)
    samples = np.stack([rng.normal(size=n), rng.exponential(size=n), 5 + 0.1 * rng.random(n)], 1)
    result = normality(samples)
    expected = np.transpose([slow_normality(list(column)) for column in samples.T])
    np.testing.assert_allclose(shared(result), expected, rtol=1e-9, atol=1e-12)
    single = normality(samples[:, 0])
    np.testing.assert_allclose(shared(single)[:, 0], shared(result)[:, 0], rtol=1e-12)


def test_moments_of_scipy():
    from scipy import stats

    samples = np.random.default_rng(0).gamma(2.0, size=(100, 3))
    result = normality(samples)
    np.testing.assert_allclose(result.skewness, stats.skew(samples), rtol=1e-12)
    np.testing.assert_allclose(result.excess_kurtosis, stats.kurtosis(samples), rtol=1e-12)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), scale=st.floats(-1e6, 1e6), shift=st.floats(-1e6, 1e6))
def test_units_do_not_matter(seed, scale, shift):
    assume(abs(scale) > 1e-3 * max(1, abs(shift)))
    sample = np.random.default_rng(seed).standard_t(4, size=40)
    one, other = shared(normality(sample)), shared(normality(scale * sample + shift))
    one[0] *= np.sign(scale)
    np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_tiny_and_huge_values(scale):
    sample = np.random.default_rng(0).normal(size=40)
    one, other = normality(sample), normality(scale * sample)
    np.testing.assert_allclose(shared(other), shared(one), rtol=1e-9)


@pytest.mark.parametrize(
    ("critical", "level"), [(0.631, 0.1), (0.752, 0.05), (0.873, 0.025), (1.035, 0.01)]
)
def test_critical_values_of_the_tables(critical, level):
    p = _anderson_darling_p_value(np.array([critical]), 10**9)
    np.testing.assert_allclose(p, level, rtol=0.03)


def test_p_values_fall_with_the_statistic():
    p = _anderson_darling_p_value(np.linspace(0.02, 500, 50_000), 100)
    assert np.all(np.diff(p) <= 0)
    assert 0 < p[-1] < p[0] <= 1


@pytest.mark.parametrize("n", [10, 100])
def test_normal_samples_have_uniform_p_values(n):
    """Up to one half; beyond, the fit is rough for small samples."""
    p = normality(np.random.default_rng(1).normal(size=(n, 4000))).p_value
    for level in (0.01, 0.05, 0.2, 0.5):
        spread = np.sqrt(level * (1 - level) / 4000)
        np.testing.assert_allclose(np.mean(p <= level), level, atol=4 * spread + 0.02 * level)


def test_normal_samples():
    result = normality(np.random.default_rng(0).normal(size=(10_000, 50)))
    np.testing.assert_allclose(result.skewness, 0, atol=4 * np.sqrt(6 / 10_000))
    np.testing.assert_allclose(result.excess_kurtosis, 0, atol=4 * np.sqrt(24 / 10_000))
    np.testing.assert_allclose(np.mean(result.tail_index), 9, rtol=0.05)


@pytest.mark.parametrize("alpha", [1.5, 3.0])
def test_tail_index_of_power_laws(alpha):
    rng = np.random.default_rng(0)
    sizes, signs = rng.pareto(alpha, size=(40_000, 20)) + 1, rng.choice([-1, 1], (40_000, 20))
    result = normality(sizes * signs)
    np.testing.assert_allclose(np.mean(result.tail_index), alpha, rtol=0.05)
    assert np.all(result.p_value < 1e-20)


def test_extreme_tails():
    sign = np.tile([1.0, -1.0], 8)
    spikes = np.where(np.arange(16) < 2, sign, 0)
    result = normality(np.stack([sign, spikes], axis=1))
    assert result.tail_index[0] == np.inf
    assert result.tail_index[1] < 0.01


def test_results_are_saved_and_loaded(tmp_path):
    result = normality(np.random.default_rng(0).normal(size=(20, 3)))
    result.save(tmp_path / "normality.npz")
    loaded = Normality.load(tmp_path / "normality.npz")
    jax.tree.map(np.testing.assert_array_equal, loaded, result)


@pytest.mark.parametrize(
    ("projections", "message"),
    [
        (np.arange(7.0), "at least 8 examples, got 7"),
        (np.zeros((0, 2)), r"shape \(n, K\) or \(n,\), got \(0, 2\)"),
        (np.zeros((9, 2, 2)), r"got \(9, 2, 2\)"),
        (1.0, r"got \(\)"),
        (np.stack([np.arange(9.0), np.full(9, 0.1)], axis=1), "constant in column 1"),
        (np.full(9, np.nan), "not finite"),
    ],
)
def test_wrong_samples(projections, message):
    with pytest.raises(ValueError, match=message):
        normality(projections)
