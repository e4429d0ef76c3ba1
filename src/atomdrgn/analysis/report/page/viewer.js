// The moving structure: 3Dmol draws it, the decoder says where its atoms are.
"use strict";

const OTHER = "#8a5a9e";      // of a structure that is laid over: no part and no state has it

class Stage {
  constructor(element, data, decoder) {
    this.element = element;
    this.data = data;
    this.decoder = decoder;
    const molecule = data.molecule;
    this.residue = new Uint32Array(bytesOf(molecule.residue));
    this.viewer = $3Dmol.createViewer(element, { backgroundColor: PAPER, antialias: true, cartoonQuality: qualityFor(this.residue.length) });
    this.model = this.viewer.addModel();
    const order = orderInStretch(molecule.stretch);
    const atoms = molecule.names.map((name, index) => {
      const residue = this.residue[index];
      return { elem: molecule.elements[index], atom: name, resn: molecule.kinds[residue], chain: data.residues.chain[residue] || "A",
               resi: order[residue], reschain: molecule.stretch[residue], rescode: `${order[residue]}`, ss: molecule.fold[residue],
               hetflag: false, bonds: [], bondOrder: [], x: 0, y: 0, z: 0, index, serial: index, mine: index };
    });
    this.described = atoms;
    this.model.addAtoms(atoms);
    this.atoms = this.model.selectedAtoms({});
    this.model.addFrame(this.atoms);
    this.hidden = new Set();
    this.colours = this.residue.length ? data.residues.group.map(() => "#888888") : [];
    this.ghosts = [];
    this.besides = null;
    this.corners = [];
  }

  // the density that the base model lacks, as a surface about the structure; nothing where it is not wanted
  surround(residual, wanted) {
    if (this.besides) this.viewer.removeShape(this.besides);
    this.besides = null;
    this.corners = [];
    if (wanted) {
      const [x, y, z] = residual.size, [ox, oy, oz] = residual.first, unit = residual.voxel;
      const volume = { size: { x, y, z }, unit: { x: unit, y: unit, z: unit }, origin: { x: ox, y: oy, z: oz }, matrix: null, data: new Uint8Array(bytesOf(residual.values)) };
      this.besides = this.viewer.addIsosurface(volume, { isoval: residual.level, color: FAINT, opacity: 0.45, smoothness: 3 });
      this.corners = [0, 1].flatMap(i => [0, 1].flatMap(j => [0, 1].map(l => [ox + i * (x - 1) * unit, oy + j * (y - 1) * unit, oz + l * (z - 1) * unit])));
    }
    this.viewer.render();
  }

  restyle() {
    const ribbon = this.data.molecule.ribbon;
    const colorfunc = atom => this.colours[this.residue[atom.mine]];
    const cartoon = ribbon ? { colorfunc, arrows: true, thickness: 0.55 } : { colorfunc, style: "trace", thickness: 0.6 };
    this.model.setStyle({}, { cartoon });
    if (this.hidden.size) this.model.setStyle({ predicate: atom => this.hidden.has(this.data.residues.segment[this.residue[atom.mine]]) }, {});
    this.model.setFrame(0);
  }

  colour(colours) {
    this.colours = colours;
    this.restyle();
    this.viewer.render();
  }

  // parts that are absent are not drawn
  hide(segments) {
    const wanted = new Set(segments);
    if (wanted.size === this.hidden.size && [...wanted].every(segment => this.hidden.has(segment))) return;
    this.hidden = wanted;
    this.restyle();
  }

  show(place) {
    const xyz = this.decoder.positions(place);
    for (let i = 0; i < this.atoms.length; i++) {
      const atom = this.atoms[i], n = 3 * atom.mine;
      atom.x = xyz[n]; atom.y = xyz[n + 1]; atom.z = xyz[n + 2];
    }
    this.model.setFrame(0);
    this.viewer.render();
  }

  // the ends of what is played, as thin traces of the parts that move, behind the moving structure
  haunt(places, moving, colourOf) {
    for (const ghost of this.ghosts) this.viewer.removeModel(ghost);
    const trace = this.described.filter(atom => (atom.atom === "CA" || atom.atom === "P") && moving(this.residue[atom.mine]));
    this.ghosts = places.map(place => {
      const xyz = this.decoder.positions(place), model = this.viewer.addModel();
      model.addAtoms(trace.map((atom, index) => ({ ...atom, index, serial: index, x: xyz[3 * atom.mine], y: xyz[3 * atom.mine + 1], z: xyz[3 * atom.mine + 2] })));
      model.setStyle({}, { cartoon: { style: "trace", thickness: 0.28, opacity: 0.38, colorfunc: atom => colourOf(this.residue[atom.mine]) } });
      return model;
    });
  }

  // another structure, pale, behind the one that moves; null takes it away
  beside(xyz) {
    if (this.other) this.viewer.removeModel(this.other);
    this.other = null;
    if (xyz) {
      this.other = this.viewer.addModel();
      this.other.addAtoms(this.described.map((atom, index) => ({ ...atom, index, x: xyz[3 * index], y: xyz[3 * index + 1], z: xyz[3 * index + 2] })));
      const look = this.data.molecule.ribbon ? { arrows: true, thickness: 0.4 } : { style: "trace", thickness: 0.5 };
      this.other.setStyle({}, { cartoon: { ...look, color: OTHER, opacity: 0.55 } });
    }
    this.viewer.render();
  }

  // where drawn atoms are
  atomsAt(numbers) {
    if (!this.byNumber) { this.byNumber = []; for (const atom of this.atoms) this.byNumber[atom.mine] = atom; }
    return numbers.map(number => this.byNumber[number]);
  }

  // in the coordinates of the window
  onScreen(atoms) {
    const seen = this.viewer.modelToScreen(atoms);
    return seen.map(point => ({ x: point.x - window.scrollX, y: point.y - window.scrollY }));
  }

  canvas() { return this.element.querySelector("canvas"); }

  // the view in which motions are in the plane of the screen, and everything on it
  home() {
    const view = this.viewer.getView(), box = this.element.getBoundingClientRect();
    view.splice(4, 4, ...quaternionOfMatrix(this.data.view));
    this.viewer.setView(view);
    this.viewer.zoomTo();
    const points = [this.model, ...this.ghosts].flatMap(model => model.selectedAtoms({}).map(atom => [atom.x, atom.y, atom.z])).concat(this.corners);
    const sides = this.data.view.map(direction => extent(points, direction)), span = sides.map(side => side.high - side.low);
    const centre = [0, 1, 2].map(axis => sides.reduce((sum, side, row) => sum + this.data.view[row][axis] * 0.5 * (side.low + side.high), 0));
    view.splice(0, 4, ...centre.map(value => -value), this.viewer.getView()[3]);
    this.viewer.setView(view);
    // how long 1 A is on the screen, in the plane through the middle
    const seen = this.viewer.modelToScreen([{ x: centre[0], y: centre[1], z: centre[2] }, { x: centre[0] + this.data.view[0][0], y: centre[1] + this.data.view[0][1], z: centre[2] + this.data.view[0][2] }]);
    const perAngstrom = Math.hypot(seen[1].x - seen[0].x, seen[1].y - seen[0].y);
    this.viewer.zoom(0.88 * Math.min(box.width / (span[0] * perAngstrom), box.height / (span[1] * perAngstrom)));
    this.viewer.render();
  }

  // what is on the stage, as PNG
  picture(nameOf) {
    this.viewer.render();
    fetchless(this.viewer.pngURI(), nameOf("structure"));
  }

  // where parts turn
  axes() {
    const points = this.atoms.map(atom => [atom.x, atom.y, atom.z]);
    const size = Math.max(...this.data.view.map(direction => extent(points, direction)).map(side => side.high - side.low));
    for (const turn of this.data.turns) {
      if (!turn.point || turn.range[1] - turn.range[0] < 10) continue;
      const half = 0.2 * size, end = sign => Object.fromEntries(["x", "y", "z"].map((name, i) => [name, turn.point[i] + sign * half * turn.axis[i]]));
      this.viewer.addCylinder({ start: end(-1), end: end(1), radius: 0.0035 * size, color: INK, fromCap: 2, toCap: 2 });
    }
  }
}

// a stage on which nothing is drawn, where the browser cannot: all else on the page is as it would be
class EmptyStage {
  constructor(element) {
    element.replaceChildren(html("p", { class: "empty" }, "The structure cannot be drawn: this browser offers no WebGL, or has switched it off. Everything else on this page is complete, and the structures are in the folder analysis beside it."));
    by("home").hidden = by("picture").hidden = by("film").hidden = by("besides").hidden = true;
  }

  picture() {}
  beside() {}
  atomsAt() { return []; }
  onScreen() { return []; }
  canvas() { return null; }
  colour() {}
  hide() {}
  show() {}
  haunt() {}
  surround() {}
  home() {}
  axes() {}
}

function makeStage(element, data, decoder) {
  try {
    const probe = document.createElement("canvas");
    return probe.getContext("webgl2") || probe.getContext("webgl") ? new Stage(element, data, decoder) : new EmptyStage(element);
  } catch (error) {      // of a browser or of the library that finds itself without WebGL
    console.warn("nothing is drawn:", error);
    return new EmptyStage(element);
  }
}

// saves an image that is given as data: no request is made for it
function fetchless(uri, name) { download(new Blob([bytesOf(uri.split(",")[1])], { type: "image/png" }), name); }

// of ribbons: how many points across; the larger the molecule, the coarser
const qualityFor = atoms => atoms < 3200 ? 6 : atoms < 9000 ? 4 : 3;

// from the lowest to the highest of points along a direction
function extent(points, direction) {
  let low = Infinity, high = -Infinity;
  for (const point of points) {
    const at = point[0] * direction[0] + point[1] * direction[1] + point[2] * direction[2];
    if (at < low) low = at;
    if (at > high) high = at;
  }
  return { low, high };
}

// residues of an unbroken stretch follow each other, those of different ones never do
function orderInStretch(stretch) {
  let number = 0;
  return stretch.map((which, i) => number += i > 0 && which !== stretch[i - 1] ? 10 : 1);
}

// (x, y, z, w) of a rotation matrix given by its rows
function quaternionOfMatrix(m) {
  const rows = [[1 + m[0][0] - m[1][1] - m[2][2], m[0][1] + m[1][0], m[0][2] + m[2][0], m[2][1] - m[1][2]],
                [m[0][1] + m[1][0], 1 - m[0][0] + m[1][1] - m[2][2], m[1][2] + m[2][1], m[0][2] - m[2][0]],
                [m[0][2] + m[2][0], m[1][2] + m[2][1], 1 - m[0][0] - m[1][1] + m[2][2], m[1][0] - m[0][1]],
                [m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1], 1 + m[0][0] + m[1][1] + m[2][2]]];
  const largest = [0, 1, 2, 3].reduce((best, i) => rows[i][i] > rows[best][best] ? i : best, 0);
  const n = Math.hypot(...rows[largest]);
  return rows[largest].map(value => value / n);
}
