"""The benchmarks' own limits: a product that this CPU is slow at is measured on few rows, and its rate is the same."""

import machine
import pytest


@pytest.mark.parametrize(("rate", "most_rows"), [(1.0, 256), (1e6, 2048)])
def test_a_slow_product_is_measured_on_fewer_rows(rate, most_rows, monkeypatch):
    """Without instructions for int8, 2,048 rows took minutes."""
    asked = []

    def fake(routine, rows, width):
        asked.append(rows)
        return 2 * rows**2 * width / 1e9 / rate

    monkeypatch.setattr(machine, "_product", fake)
    monkeypatch.setattr(machine, "_fastest", lambda seconds: machine.Seconds(seconds, seconds))
    assert machine.product_rate("int8 torch", 2048, 2048) == pytest.approx((rate, rate))
    assert max(asked) <= most_rows
