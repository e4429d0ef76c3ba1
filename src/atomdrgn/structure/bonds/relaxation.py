"""The local geometry of a bent molecule, made as good as the base model's.

Bonds, angles, peptides and contacts are put right.
"""

from threading import Lock
from typing import Any

import gemmi
import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree
from torch import Tensor

from ...errors import InputError, MissingPackageError
from ..atoms import Structure
from .bonding import SHORTEST, Bonding, find_bonds, same_site
from .internal_coordinates import angle, distance, off_plane, torsion

# Standard deviations, in units of which the strain is half a square, and the energy kT at 300 K.
# Narrower than those of a warm molecule: what a hinge is off goes into torsions that are free, not
# into bonds and angles.
BOND_SIGMA = 0.02  # A
STEP_SIGMA = 0.1  # A: between trace atoms alone
ANGLE_SIGMA = 2.0  # degrees
SHAPE_SIGMA = 3.0  # degrees: impropers and torsions of rings
OMEGA_SIGMA = 1.5  # degrees
CONTACT_SIGMA = 0.03  # A nearer than allowed
TETHER_SIGMA = 1.0  # A, each atom, from where the fit put it

# What bending adds must not make a peptide or a contact worse than in the base model: a little is
# taken off first.
FLATTER = 0.1  # of what a peptide is off its plane
ROOM = 0.02  # A between atoms that are nearer in the base model than their radii

# Nearest distance of atoms that are not bonded: the sum of these, A. Van der Waals radii less 0.2:
# an atom of oxygen and one of nitrogen come to 2.7, two of carbon to 3.0.
CONTACT_RADIUS = {"C": 1.5, "N": 1.35, "O": 1.32, "H": 1.0, "S": 1.6, "P": 1.6}
OTHER_RADIUS = 1.4  # ions stand near to what holds them
NO_CONTACT = -10.0  # A: the radius of an atom that is absent
STRAIGHT = 0.05  # sine of an angle below which a torsion over it says nothing
MOST_STEPS = 500
# A: a declared bond that is off by more is pulled again, from where it has come to
OPEN = 0.02
LESS = 0.8  # of what it was off before: as long as pulling helps so much
# degrees: where a bond is open in the base model its angles say little; those of
# any atom are within these
SMALLEST_ANGLE, LARGEST_ANGLE = 100.0, 130.0
TOLERANCE = 10.0  # kJ/mol/nm, r.m.s. force
KT = 2.494  # kJ/mol
NM = 0.1  # nm in an A


class Relaxation:
    """Relaxed positions of one molecule's atoms, with the local geometry of the base model.

    They are near to given ones.

    The restraints come from the base model itself, so that any chemistry is taken as it is:
    ligands, nucleic acids, missing atoms, alternative locations, hydrogens or none. Bonds, angles,
    impropers, rings and peptides keep the base model's values; phi, psi and the torsions of side
    chains are free; atoms that are not bonded stay as far apart as their radii want, or as they are
    in the base model where that is nearer; each atom is tethered to where it was put. All of it is
    set up once: only tethers and positions change from one conformation to the next. Where tethers
    keep a bond open that the file declares, they are moved to where the atoms have come to, until
    it is closed. The same positions give the same bits, whatever was relaxed before and on however
    many threads; each thread that calls has a context of its own.

    Parameters
    ----------
    structure : Structure
        The base model.
    bonding : Bonding, optional
        Its bonds, where they are known already.

    Raises
    ------
    MissingPackageError
        OpenMM is not installed.

    References
    ----------
    Eastman et al., OpenMM 8 (2024). The minimiser is its L-BFGS, on its CPU platform.

    Examples
    --------
    >>> from atomdrgn import read_structure
    >>> structure = read_structure("model.pdb")
    >>> relax = Relaxation(structure)
    >>> (relax(structure.position) - structure.position).norm(dim=1).max().item() < 1.0
    True
    """

    def __init__(self, structure: Structure, bonding: Bonding | None = None) -> None:
        self._openmm = _import_openmm()
        bonding = find_bonds(structure) if bonding is None else bonding
        position = structure.position.double().numpy()
        self._name = structure.name
        self._system = self._openmm.System()
        for _ in range(len(structure)):
            self._system.addParticle(12.0)  # an atom of mass 0 would not move
        self._contact_parameters = _contact_parameters(structure)
        self._contacts, close = _contacts(
            self._openmm, structure, bonding, self._contact_parameters
        )
        self._tether = _tether(self._openmm, position)
        for force in (
            *_local_forces(self._openmm, bonding, position),
            self._contacts,
            close,
            self._tether,
        ):
            self._system.addForce(force)
        self._declared, self._length = (
            bonding.bonds[bonding.declared],
            bonding.lengths[bonding.declared],
        )
        self._elsewhere = position * NM + 10.0
        self._lock = Lock()
        self._waiting: list[tuple[Any, np.ndarray]] = []

    def __call__(
        self, position: Float[Tensor, "atom 3"], present: Bool[np.ndarray, "atom"] | None = None
    ) -> Float[Tensor, "atom 3"]:
        """Relaxed positions, A.

        Parameters
        ----------
        position : (atom, 3)
            Where the fit put the atoms, A.
        present : (atom,) bool, optional
            Atoms that are absent from the particle push away only what they touch in the base
            model; by default all are there.

        Raises
        ------
        InputError
            The strain of these positions is not a number.
        """
        target = position.double().numpy() * NM
        present = np.ones(len(target), dtype=bool) if present is None else present
        with self._lock:
            context, known = self._waiting.pop() if self._waiting else self._new_context()
            self._tell(context, target, known=known, present=present)
        try:
            # lists of neighbours are kept while nothing moves far: from elsewhere, they are made
            # anew for each conformation
            context.setPositions(self._elsewhere)
            context.getState(getEnergy=True)
            context.setPositions(target)
            found, before = self._minimised(context), np.inf
            while OPEN < (off := self._farthest_off(found, present)) < LESS * before:
                before = off
                self._move_tethers(context, found * NM)
                found = self._minimised(context)
        except self._openmm.OpenMMException as error:
            raise InputError(
                f"{self._name}: a conformation cannot be relaxed ({str(error).partition('.')[0]}); "
                "look for atoms that lie on each other in the base model, or leave relaxation out"
            ) from error
        self._waiting.append((context, present))
        return torch.from_numpy(found).to(position.dtype)

    def _minimised(self, context: Any) -> np.ndarray:
        self._openmm.LocalEnergyMinimizer.minimize(context, TOLERANCE, MOST_STEPS)
        return context.getState(getPositions=True).getPositions(asNumpy=True)._value / NM

    def _farthest_off(self, position: np.ndarray, present: np.ndarray) -> float:
        """By how much a declared bond is off its length at most, A."""
        off = np.abs(distance(position, self._declared) - self._length)
        return off[present[self._declared].all(1)].max(initial=0.0)

    def _move_tethers(self, context: Any, target: np.ndarray) -> None:
        with self._lock:
            self._tell_tethers(context, target)

    def _tell_tethers(self, context: Any, target: np.ndarray) -> None:
        for atom, place in enumerate(target.tolist()):
            self._tether.setParticleParameters(atom, atom, place)
        self._tether.updateParametersInContext(context)

    def _tell(
        self, context: Any, target: np.ndarray, *, known: np.ndarray, present: np.ndarray
    ) -> None:
        self._tell_tethers(context, target)
        if not np.array_equal(known, present):
            for atom, (radius, *others) in enumerate(self._contact_parameters):
                self._contacts.setParticleParameters(
                    atom, [radius if present[atom] else NO_CONTACT * NM, *others]
                )
            self._contacts.updateParametersInContext(context)

    def _new_context(self) -> tuple[Any, np.ndarray]:
        """A context and the atoms that it knows as present."""
        platform = self._openmm.Platform.getPlatformByName("CPU")
        settings = {"Threads": "1", "DeterministicForces": "true"}
        for atom, parameters in enumerate(self._contact_parameters):
            self._contacts.setParticleParameters(atom, parameters)
        context = self._openmm.Context(
            self._system, self._openmm.VerletIntegrator(0.001), platform, settings
        )
        return context, np.ones(len(self._contact_parameters), dtype=bool)


def _import_openmm() -> Any:
    try:
        import openmm
    except ImportError as error:
        raise MissingPackageError(
            "structures are relaxed with OpenMM, which is not installed; install it with: pip "
            "install 'atomdrgn[relax]'"
        ) from error
    return openmm


def _local_forces(openmm: Any, bonding: Bonding, position: np.ndarray) -> tuple[Any, Any, Any]:
    bonds = openmm.HarmonicBondForce()
    for pairs, lengths, sigma in (
        (bonding.bonds, bonding.lengths, BOND_SIGMA),
        (bonding.steps, distance(position, bonding.steps), STEP_SIGMA),
    ):
        stiffness = KT / (sigma * NM) ** 2
        for pair, length in zip(pairs.tolist(), (lengths * NM).tolist(), strict=True):
            bonds.addBond(*pair, length, stiffness)
    angles, stiffness = openmm.HarmonicAngleForce(), KT / np.radians(ANGLE_SIGMA) ** 2
    for triple, size in zip(
        bonding.angles.tolist(), _rest_angles(bonding, position).tolist(), strict=True
    ):
        angles.addAngle(*triple, size, stiffness)
    torsions = openmm.PeriodicTorsionForce()
    shape = np.concatenate([bonding.impropers, bonding.rings])
    omega = torsion(position, bonding.omega)
    flatter = omega - FLATTER * off_plane(omega)
    for rows, rest, sigma in (
        (shape, torsion(position, shape), SHAPE_SIGMA),
        (bonding.omega, flatter, OMEGA_SIGMA),
    ):
        stiffness, bent = KT / np.radians(sigma) ** 2, _bent(position, rows)
        for row, size in zip(rows[bent].tolist(), rest[bent].tolist(), strict=True):
            # stiffness (1 - cos): near the rest a spring
            torsions.addTorsion(*row, 1, size + np.pi, stiffness)
    return bonds, angles, torsions


def _rest_angles(bonding: Bonding, position: np.ndarray) -> np.ndarray:
    """The base model's angles, mended where a bond is open there.

    Those are the ones that are nearest to them and that atoms have.
    """
    size = angle(position, bonding.angles)
    opened = np.abs(distance(position, bonding.bonds) - bonding.lengths) > OPEN
    if not opened.any():
        return size
    opened = {tuple(pair) for pair in bonding.bonds[opened].tolist()}
    across = np.array(
        [
            tuple(sorted((i, j))) in opened or tuple(sorted((j, k))) in opened
            for i, j, k in bonding.angles.tolist()
        ]
    )
    usual = np.clip(size, np.radians(SMALLEST_ANGLE), np.radians(LARGEST_ANGLE))
    return np.where(across, usual, size)


def _bent(position: np.ndarray, rows: np.ndarray) -> np.ndarray:
    sine = np.sin([angle(position, rows[:, :3]), angle(position, rows[:, 1:])])
    return np.all(sine > STRAIGHT, axis=0)


def _contact_parameters(structure: Structure) -> list[list[float]]:
    """For each atom its radius, nm, and its alternative location where there are any.

    It is the number of its own, 0 for all of them.

    0 stands for all of them.
    """
    radius = [
        CONTACT_RADIUS.get(gemmi.Element(int(number)).name, OTHER_RADIUS) * NM
        for number in structure.element
    ]
    if not (structure.altloc != "").any():
        return [[size] for size in radius]
    names = ["", *np.unique(structure.altloc[structure.altloc != ""])]
    return [
        [size, float(names.index(name))]
        for size, name in zip(radius, structure.altloc.tolist(), strict=True)
    ]


def _contacts(
    openmm: Any, structure: Structure, bonding: Bonding, parameters: list[list[float]]
) -> tuple[Any, Any]:
    """Repulsion of atoms nearer than their radii, or than they are in the base model.

    The second force is for those that are nearer there than their radii.
    """
    stiffness = KT / (CONTACT_SIGMA * NM) ** 2
    names = ["radius", "altloc"][: len(parameters[0])]
    together = "*step(0.5-abs(altloc1*altloc2*(altloc1-altloc2)))" if "altloc" in names else ""
    contacts = openmm.CustomNonbondedForce(f"0.5*{stiffness}*max(0,radius1+radius2-r)^2{together}")
    for name in names:
        contacts.addPerParticleParameter(name)
    for values in parameters:
        contacts.addParticle(values)
    radius = np.array([values[0] for values in parameters]) / NM
    contacts.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffNonPeriodic)
    contacts.setCutoffDistance(2 * radius.max() * NM)

    close = openmm.CustomBondForce(f"0.5*{stiffness}*max(0,nearest-r)^2")
    close.addPerBondParameter("nearest")
    position = structure.position.double().numpy()
    pairs = cKDTree(position).query_pairs(2 * radius.max(), output_type="ndarray").reshape(-1, 2)
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    length = distance(position, pairs)
    touching = length < radius[pairs].sum(1)
    pairs, length = pairs[touching], length[touching]
    bonded = {tuple(pair) for pair in bonding.near_pairs().tolist()}
    # one site twice, in the same place even, has no direction to be pushed in
    apart = same_site(structure.altloc, *pairs.T) & (length > SHORTEST)
    for pair, nearest, repelled in zip(
        pairs.tolist(), length.tolist(), apart.tolist(), strict=True
    ):
        if tuple(pair) not in bonded:
            contacts.addExclusion(*pair)
            if repelled:
                close.addBond(*pair, [min(nearest + ROOM, radius[pair].sum()) * NM])
    for pair in sorted(bonded):
        contacts.addExclusion(*pair)
    return contacts, close


def _tether(openmm: Any, position: np.ndarray) -> Any:
    tether = openmm.CustomExternalForce(
        f"0.5*{KT / (TETHER_SIGMA * NM) ** 2}*((x-x0)^2+(y-y0)^2+(z-z0)^2)"
    )
    for name in ("x0", "y0", "z0"):
        tether.addPerParticleParameter(name)
    for atom, place in enumerate((position * NM).tolist()):
        tether.addParticle(atom, place)
    return tether
