"""Families of generators: a module each, and the layouts of the public checkpoints that it takes."""

from genmend.gans.families.biggan_deep import LAYOUT as _BIGGAN_DEEP
from genmend.gans.families.dcgan import LAYOUT as _DCGAN
from genmend.gans.families.genforce import PGGAN, STYLEGAN2
from genmend.gans.families.layout import Layout, LayoutError
from genmend.gans.families.progan import DISSECTION, ZOO
from genmend.gans.families.stylegan2_layouts import NVIDIA, ROSINALITY

__all__ = ["LAYOUTS", "Layout", "LayoutError"]

LAYOUTS: dict[str, Layout] = {
    layout.name: layout for layout in (_DCGAN, DISSECTION, ZOO, PGGAN, NVIDIA, ROSINALITY, STYLEGAN2, _BIGGAN_DEEP)
}
