"""How the races of `gradient_noise` read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .._measured import (
    Claim,
    Ratio,
    Result,
    Table,
    fastest,
    megabytes,
    number,
    over,
    quotient,
    times_of,
)

OURS, PLAIN, TORCH_PLAIN = "jaxnoise", "plain gradient", "PyTorch gradient"
PEERS = ("torch.func", "BackPACK", "Opacus, ghost", "Opacus, samples")
MEMORY = {"n": 1, "2n": 2, "4n": 4}

# What is asked: target on CPU and on GPU.
ASKED = {"norms": (1.3, 1.2), "norms and mean": (2.1, 1.8), "profile": (2.7, 2.4)}


def tables(results: Sequence[Result]) -> Iterator[Table]:
    rows = []
    for network, asked, result in _races(results):
        best = fastest(result, OURS, PEERS)
        rows.append(
            (
                network,
                asked,
                over(result, OURS, PLAIN),
                ASKED[asked][0],
                *(_median(over(result, peer, TORCH_PLAIN)) for peer in PEERS),
                best and f"{_inverse(result, best[0])}, {best[0]}",
            )
        )
    heads = ("network", "asked", "jaxnoise", "target, CPU", *PEERS)
    yield Table(
        (*heads, "fastest peer, time over jaxnoise's"),
        rows,
        "Columns of jaxnoise are over a plain gradient in JAX, those of a peer over a plain "
        "gradient in PyTorch:",
    )
    rows = []
    for result in results:
        network, kind, *size = result["case"].split(", ")
        if kind == "memory":
            memory = (megabytes(result, name) for name in MEMORY)
            n = size[0].removeprefix("n = ")
            rows.append((network, n, *memory, _median(over(result, "4n", "n"))))
    heads = ("network", "n", "peak MB at n", "at 2n", "at 4n")
    yield Table(
        (*heads, "time per n at 4n over that at n"),
        rows,
        "Peak memory of the profile, as the data grow:",
    )


def claims(results: Sequence[Result]) -> Iterator[Claim]:
    for network, asked, result in _races(results):
        case = f"{network}, {asked}"
        yield Claim(case, PLAIN, over(result, OURS, PLAIN), *ASKED[asked])
        best = fastest(result, OURS, PEERS)
        if best:
            yield Claim(case, "fastest peer", best[1], 1, 1 / 2, best[0])


def _races(results: Sequence[Result]) -> Iterator[tuple[str, str, Result]]:
    """(network, what is asked, result) of all but the races over growing data."""
    for result in results:
        network, _, asked = result["case"].split(", ")
        if asked in ASKED:
            yield network, asked, result


def _median(ratio: Ratio | None) -> str:
    return number(ratio.median) if ratio else ""


def _inverse(result: Result, peer: str) -> Ratio:
    return quotient(times_of(result, peer), times_of(result, OURS))
