"""Find points that are close to each other without comparing all with all."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse import coo_array, csc_array

from ..progress import progress_bar

CELL = 256  # points per cell, on average
PROBES = 24  # cells that a query is compared with; benchmarks/near_copies.py measures what that misses
REGION = 16  # cells per region, on average
CANDIDATES = 1024  # cells that are looked at for one region
ROWS = 4096  # points that are put into cells at a time
VALUES = 2**22  # distances that are computed at a time; they take 16 MB


def close_pairs(queries: np.ndarray, points: np.ndarray, distance: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of a query and a point at most `distance` apart, in pieces: numbers of queries, and as many of points.

    `queries` is float32 M×D and `points` is float32 N×D. Points chosen at random are the centres of cells. Each point
    belongs to the cell with the nearest centre, and a query is compared with the points of the `PROBES` nearest cells.
    This is an inverted file index (Sivic and Zisserman, «Video Google», 2003), as faiss and others have it. A few pairs
    may be missed, but none is wrong. The same input gives the same pairs.
    """
    # Crowded regions get as many random centres as they need. So no centres have to be trained.
    count = max(1, len(points) // CELL)
    centres = points[np.sort(np.random.default_rng(0).choice(len(points), count, replace=False))]
    inside = _cells(points, centres, 1)
    visiting = _cells(queries, centres, PROBES)
    # One product of matrices gives -|q - p|²/2 = q·p - |q|²/2 - |p|²/2 for all.
    queries = np.column_stack([queries, -_half_squares(queries), np.ones(len(queries), np.float32)])
    points = np.column_stack([points, np.ones(len(points), np.float32), -_half_squares(points)])
    with progress_bar("Comparing images", count, "cell", delay=2) as bar:
        for cell in range(count):
            members, visitors = _column(inside, cell), _column(visiting, cell)
            step = max(1, VALUES // max(1, len(members)))
            for start in range(0, len(visitors), step):
                some = visitors[start : start + step]
                rows, columns = np.nonzero(queries[some] @ points[members].T >= -(distance**2) / 2)
                yield some[rows], members[columns]
            bar.update()


def _cells(points: np.ndarray, centres: np.ndarray, probes: int) -> csc_array:
    """Whether each centre is among the `probes` that are nearest to each point: sparse bool, N×centres.

    A point is not compared with all centres, but with the `CANDIDATES` nearest to the middle of the region that it is
    in. So time grows with the number of points, and hardly faster. Middles of regions are every `REGION`th centre.
    """
    middles = centres[::REGION]
    rows, columns = [], []
    with progress_bar("Putting images into cells", len(points), "image", delay=2) as bar:
        nearest = [_distances(points[start : start + ROWS], middles).argmin(axis=1) for start in _starts(points)]
        region_of = np.concatenate(nearest)
        for region, middle in enumerate(middles):
            inside = np.flatnonzero(region_of == region)
            candidates = np.argsort(_distances(middle[np.newaxis], centres)[0], kind="stable")[:CANDIDATES]
            for start in _starts(inside):
                some = inside[start : start + ROWS]
                distances = _distances(points[some], centres[candidates])
                last = min(probes, len(candidates)) - 1
                row, column = np.nonzero(distances <= np.partition(distances, last, axis=1)[:, last : last + 1])
                rows.append(some[row].astype(np.int32))
                columns.append(candidates[column].astype(np.int32))
                bar.update(len(some))
    places = np.concatenate(rows), np.concatenate(columns)
    return coo_array((np.ones(len(places[0]), bool), places), shape=(len(points), len(centres))).tocsc()


def _starts(rows: np.ndarray) -> range:
    return range(0, len(rows), ROWS)


def _distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Half the squared distance of each point to each centre, up to a number that is the same for all centres."""
    return _half_squares(centres) - points @ centres.T


def _half_squares(points: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", points, points) / 2


def _column(matrix: csc_array, number: int) -> np.ndarray:
    """The rows in which a column has an entry."""
    return matrix.indices[matrix.indptr[number] : matrix.indptr[number + 1]]
