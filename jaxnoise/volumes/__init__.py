"""Volumes: nuclei drawn and rendered, networks applied by windows, components, files."""

from ._colors import color_labels as color_labels
from ._components import label_components as label_components
from ._components import remove_small_components as remove_small_components
from ._ellipsoids import random_ellipsoids as random_ellipsoids
from ._files import read_volume as read_volume
from ._files import write_volume as write_volume
from ._render import render as render
from ._window import sliding_window as sliding_window
