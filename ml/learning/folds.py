"""Which rows are held out together, as SQL over the published rows: it depends on keys and groups, never on order."""

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence

from ml.lake.sql import listed

# Groups are held out by buckets of their hash: a bucket keeps its groups whole, and all buckets fit into a query.
# Looking a fold up in a list took 0.5 s of the 2.6 s for the moments of 10 million rows, joining a table of groups 4 s.
BUCKETS = 1024
# Rows a fold below which chance may leave a fold without any: with more it does in 2 tables of ten million at most.
FEW_ROWS = 20
# Buckets are sampled whole where this many of the largest would fit into a fold's share of the sample.
BUCKETS_A_FOLD = 10


def bucket_sql(*group: str) -> str:
    """The bucket of a row's group, or of its key, from 0 to BUCKETS - 1."""
    return f"cast({hash_sql(*group)} % {BUCKETS} as bigint)"


def assign(sizes: Mapping[int, int], folds: int) -> dict[int, int]:
    """The fold of each bucket, from 0: the largest first, each to the fold with the fewest rows so far. None is empty
    where there are as many buckets.

    The rule of scikit-learn's `GroupKFold`, for groups known by their number of rows.
    """
    lightest = [(0, fold) for fold in range(folds)]
    fold_of = {}
    for bucket in sorted(sizes, key=lambda bucket: (-sizes[bucket], bucket)):
        rows, fold = lightest[0]
        heapq.heapreplace(lightest, (rows + sizes[bucket], fold))
        fold_of[bucket] = fold
    return fold_of


def group_sql(group: str, fold: Mapping[int, int]) -> str:
    """The fold of a row's group, given the fold of each bucket."""
    fold_of_bucket = ", ".join(str(fold.get(bucket, 0)) for bucket in range(BUCKETS))
    return f"(cast([{fold_of_bucket}] as utinyint[]))[1 + {bucket_sql(group)}]"


def random_sql(key: Sequence[str], folds: int, seed: int) -> str:
    """The random fold of a row, from 0 to folds - 1: a seeded hash of its key, the rest by the number of folds.

    Of the smallest type: DuckDB then groups by it in an array, which takes 3.1 s for 10 million rows of moments on
    two threads, where a fold of type integer takes 3.7.
    """
    return f"cast({_hash(key, str(seed))} % {folds} as utinyint)"


def dealt_sql(key: Sequence[str], folds: int, seed: int) -> str:
    """The random fold of a row where the rows are few: dealt out in turn, in the order of the same hash."""
    order = f"order by {_hash(key, str(seed))}, {listed(key)}"
    return f"cast((row_number() over ({order}) - 1) % {folds} as utinyint)"


def hash_sql(*group: str) -> str:
    """The hash of a row's group, of which its bucket is the last digits."""
    return f"hash({listed(group)})"


def few_groups_sql(group: str, fold: Mapping[int, int]) -> str:
    """The fold of a row's group, given the fold of each group's hash."""
    cases = " ".join(f"when {number} then {fold[number]}" for number in sorted(fold))
    return f"cast(case {hash_sql(group)} {cases} end as utinyint)"


def sampled_buckets(sizes: Mapping[int, int], most: int, folds: int, seed: int) -> set[int] | None:
    """Whole buckets of `most` rows or fewer in all, in the order of a seeded hash; None where they are too large.

    Rows of one group resemble each other: a sample of groups shows less variety than one of rows, but keeps the
    variety within a group. Where so few buckets fit that their folds would be uneven, rows are sampled instead.
    """
    if max(sizes.values()) * BUCKETS_A_FOLD * folds > most:
        return None
    chosen, rows = set(), 0
    for bucket in sorted(sizes, key=lambda bucket: _seeded(bucket, seed)):
        if rows + sizes[bucket] <= most:
            chosen.add(bucket)
            rows += sizes[bucket]
    return chosen


def in_buckets_sql(group: str, buckets: Iterable[int]) -> str:
    """Whether a row's group is in one of these buckets."""
    return f"{bucket_sql(group)} in ({', '.join(map(str, sorted(buckets)))})"


def sampled_sql(key: Sequence[str], rows: int, most: int, seed: int) -> str:
    """Whether a row is in a random sample of about `most` of so many rows: another seeded hash of its key."""
    if rows <= most:
        return "true"
    salt = f"{seed}, 'sample'"
    return f"{_hash(key, salt)} < {int(most / rows * 2**64)}"


def _hash(key: Sequence[str], salt: str) -> str:
    # twice: DuckDB joins the hashes of two values by an exclusive or, so that other seeds alone keep rows together
    return f"hash(hash({listed(key)}, {salt}))"


def _seeded(bucket: int, seed: int) -> bytes:
    return hashlib.md5(f"{seed}:{bucket}".encode(), usedforsecurity=False).digest()
