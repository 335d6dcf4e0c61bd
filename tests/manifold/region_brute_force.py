"""Independent float64 oracle of `NormalRegion`: loops over groups and vectors, no code of the package."""

import numpy as np
from manifold_brute_force import distances, radii


class SlowRegion:
    """Balls of each group; `cut` radii are at most the smallest radius with a share `quantile` at or below it."""

    def __init__(self, x, groups, k, quantile=1.0, closed=True, min_size=None):
        self.within = np.less_equal if closed else np.less
        self.empty = (lambda r: r < 0) if closed else (lambda r: r <= 0)
        self.rows, self.centers, self.radii, self.cut = {}, {}, {}, {}
        for group in dict.fromkeys(groups):
            rows = np.array([row for row, own in enumerate(groups) if own == group])
            if len(rows) < (k + 1 if min_size is None else min_size):
                continue
            r = radii(x[rows], k)
            longest = min(value for value in r if (r <= value).sum() >= quantile * len(r))
            self.rows[group], self.centers[group] = rows, np.asarray(x, dtype=np.float64)[rows]
            self.radii[group], self.cut[group] = r, np.minimum(r, longest)

    def table(self, y, groups):
        """(query, group, distances to its vectors, radii) of every query whose group has a reference."""
        for q, group in enumerate(groups):
            if group in self.rows:
                yield q, group, distances(y[q : q + 1], self.centers[group])[0], self.cut[group]

    def states(self, y, groups):
        found = np.full(len(y), -1)
        for q, _, table, r in self.table(y, groups):
            found[q] = self.within(table, r).any()
        return found

    def scores(self, y, groups):
        found = np.full(len(y), np.nan)
        for q, _, table, r in self.table(y, groups):
            with np.errstate(divide="ignore", invalid="ignore"):
                found[q] = np.where(table == 0, 0, table / r).min()
        return found

    def nearest(self, y, groups, n):
        """(m, n) distances and fitted rows, of equal distances the first row."""
        far, found = np.full((len(y), n), np.nan), np.full((len(y), n), -1)
        for q, group, table, _ in self.table(y, groups):
            for place, j in enumerate(sorted(range(len(table)), key=lambda j, t=table: (t[j], j))[:n]):
                far[q, place], found[q, place] = table[j], self.rows[group][j]
        return far, found

    def moves(self, y, groups):
        """(m,) least distance - radius over all balls with a point in them where outside, else 0; and that ball."""
        gaps, balls, outside = np.zeros(len(y)), np.full(len(y), -1), self.states(y, groups) == 0
        for q, group, table, r in self.table(y, groups):
            gap = np.where(self.empty(r), np.inf, table - r)
            if outside[q] and np.isfinite(gap).any():
                gaps[q], balls[q] = gap.min(), self.rows[group][gap.argmin()]
        return gaps, balls
