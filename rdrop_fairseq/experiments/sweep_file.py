"""Reading a sweep (``configs/sweeps/NAME.yaml``): which settings of a configuration are compared, with which seeds.

    training:    flags of fairseq-train for all cells, in place of the configuration's; may be left out
    seeds:       a number or a list of them, for families that have none of their own; 1 if left out
    families:    by name, each with flags of fairseq-train; variant: baseline or rdrop, which is the default; seeds

A list of values makes a cell of each, and several lists one of each combination. The cells of a family differ in these
values alone, and are named by them.
"""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import yaml

from rdrop_fairseq.common.command_line import NAME
from rdrop_fairseq.common.errors import UserError
from rdrop_fairseq.experiments.configuration import (
    VARIANTS,
    Setting,
    closest,
    entries_of,
    place_of,
    read_nodes,
    setting_of,
)

SECTIONS = ("training", "seeds", "families")
_NO_FLAGS = ("variant", "seeds")


@dataclass(frozen=True)
class Cell:
    """One setting, trained with each of its seeds; flags of fairseq are not checked yet (:mod:`.fairseq_parsers`)."""

    family: str
    variant: str
    """``"baseline"`` or ``"rdrop"``."""
    common: Tuple[Setting, ...]
    """Flags of fairseq-train of all cells."""
    settings: Tuple[Setting, ...]
    """Those of its own: the family's, with one value of each list."""
    swept: Tuple[Setting, ...]
    """Those of its own that the family has several values of."""
    seeds: Tuple[int, ...]

    @property
    def name(self) -> str:
        """The family, and the values that tell the cell from others of it."""
        return self.name_without()

    def name_without(self, flag: str = "") -> str:
        """The same without the value of a flag."""
        words = [self.family, *(word for it in self.swept if it.flag != flag for word in it.words)]
        return re.sub(r"--(?:rdrop-)?|[^\w .,+-]", "", " ".join(words))

    @property
    def runs(self) -> Dict[str, int]:
        """The seed of each run by its name, which is that of its folder."""
        return {f"{self.name} seed {seed}": seed for seed in self.seeds}


def read_sweep(path: Path) -> List[Cell]:
    """Read a sweep.

    Raises:
        UserError: the file is missing or no YAML; a section, family, flag, value or seed is unknown, missing or there
            twice; two cells have one name; or none is a baseline. The message names the file, and the line if it can.
    """
    sections = _nodes(path, read_nodes(path, SECTIONS), "the sweep")
    for name in sections:
        if name not in SECTIONS:
            suggestion = closest(name, SECTIONS) or f"the sections are {', '.join(SECTIONS)}"
            raise UserError(f"{path}: unknown section {name}; {suggestion}")
    if "families" not in sections:
        raise UserError(f"{path}: the section families is missing; add it")
    common: List[Setting] = []
    for values in _grid(path, *sections["training"]) if "training" in sections else ():
        common += values
        if len(values) > 1:
            raise UserError(f"{values[0].place}: {values[0].flag} has a list in training; put it into a family")
    cells: List[Cell] = []
    for name, (key, node) in _nodes(path, sections["families"][1], "the section families").items():
        if not NAME.fullmatch(name):
            raise UserError(
                f"{place_of(path, key)}: the name {name!r} must begin with a letter or digit and hold only letters, "
                "digits, spaces and _.,+()-; choose another name"
            )
        own = _nodes(path, node, f"the family {name}")
        variant = own["variant"][1].value if "variant" in own else "rdrop"
        if variant not in VARIANTS:
            raise UserError(f"{place_of(path, own['variant'][0])}: no variant {variant}; give {' or '.join(VARIANTS)}")
        seeds = _seeds(path, own if "seeds" in own else sections)
        grid = _grid(path, key, node, without=_NO_FLAGS)
        for settings in itertools.product(*grid):
            swept = tuple(setting for setting, values in zip(settings, grid) if len(values) > 1)
            cells.append(Cell(name, variant, tuple(common), settings, swept, seeds))
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: two settings have the name {name}; give every value once")
    if not any(cell.variant == "baseline" for cell in cells):
        raise UserError(f"{path}: no family is a baseline, which the others are compared with; add variant: baseline")
    return cells


def _nodes(path: Path, node: yaml.Node, what: str) -> Dict[str, Tuple[yaml.ScalarNode, yaml.Node]]:
    """The entries of a mapping, which messages call ``what``."""
    nodes: Dict[str, Tuple[yaml.ScalarNode, yaml.Node]] = {}
    for key, value in entries_of(node, f"{path}: {what}"):
        if key.value in nodes:
            raise UserError(f"{place_of(path, key)}: {key.value} is there twice; leave one out")
        nodes[key.value] = key, value
    return nodes


def _grid(path: Path, key: yaml.ScalarNode, node: yaml.Node, without: Sequence[str] = ()) -> List[List[Setting]]:
    """For each flag its values, one or more."""
    grid = []
    for flag, value in _nodes(path, node, key.value).values():
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not items:
            raise UserError(f"{place_of(path, flag)}: the list of {flag.value} is empty; give its values")
        if flag.value not in without:
            grid.append([setting_of(flag, item, place_of(path, flag)) for item in items])
    return grid


def _seeds(path: Path, nodes: Dict[str, Tuple[yaml.ScalarNode, yaml.Node]]) -> Tuple[int, ...]:
    if "seeds" not in nodes:
        return (1,)
    key, node = nodes["seeds"]
    texts = [str(item.value) for item in (node.value if isinstance(node, yaml.SequenceNode) else [node])]
    if not texts or any(not re.fullmatch(r"\d{1,9}", text) or texts.count(text) > 1 for text in texts):
        raise UserError(f"{place_of(path, key)}: seeds: {', '.join(texts)}; give whole numbers, each once")
    return tuple(map(int, texts))
