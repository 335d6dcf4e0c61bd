"""What `import genmend.activations` gives, and what it does not bring along."""

import subprocess
import sys
from types import ModuleType

from genmend import activations


def test_all_lists_every_public_name_once_and_in_order():
    assert sorted(set(activations.__all__)) == activations.__all__
    assert {name for name in dir(activations) if name in activations.__all__} == set(activations.__all__)
    assert [name for name in activations.__all__ if isinstance(getattr(activations, name), ModuleType)] == []


def test_importing_and_attaching_do_not_import_dynamo():
    script = (
        "import sys, torch, genmend.activations as a; net = torch.nn.Sequential(torch.nn.Identity());"
        "x = torch.ones(1, 1)\n"
        "with a.edited(net, a.ScaleUnits('0', [0], 2.0)), a.record(net, ['0']) as outputs: net(x)\n"
        "sys.exit('torch._dynamo' in sys.modules or outputs['0'].item() != 2)"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
