"""What an installed wheel has to do, with no more than its own dependencies: the compiled engine gives the definition.

Run by `cibuildwheel` where each wheel was built, and by a test on the wheel of this machine: python try_wheel.py.
"""

import numpy as np

import genmend
from genmend.manifold import prdc
from genmend.manifold.engine.screens import choose_engine
from genmend.manifold.metrics.definition import prdc_by_definition

real, generated = np.random.default_rng(0).normal(size=(2, 300, 32)).astype(np.float32)
engine = choose_engine()
assert engine.name == "native", f"the compiled engine is not in this wheel: {engine}"
found, wanted = prdc(real, generated, k=5)[5], prdc_by_definition(real, generated, k=5)
for name in ("precision", "recall", "density", "coverage"):
    assert np.isclose(getattr(found, name), wanted[name], rtol=0, atol=1e-12), (name, found, wanted[name])
print(f"genmend {genmend.__version__} of {genmend.__file__}: {engine}")
