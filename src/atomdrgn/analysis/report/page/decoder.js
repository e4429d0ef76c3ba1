// From places along the motions to coordinates: the decoder of the fit, the same as in Python.
"use strict";

function bytesOf(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes.buffer;
}
const pointsOf = packed => Float64Array.from(new Int16Array(bytesOf(packed.xyz)), value => value * packed.unit);

class Decoder {
  constructor(molecule, surface) {
    this.surface = surface;
    this.centroid = molecule.centroid;
    this.beads = pointsOf(molecule.beads);
    this.atoms = pointsOf(molecule.atoms);
    this.bead = new Uint32Array(bytesOf(molecule.bead));
    this.ends = new Uint32Array(bytesOf(molecule.ends));
    this.segment = new Uint16Array(bytesOf(molecule.segment));
    this.weight = new Float32Array(bytesOf(molecule.weight));
    this.flexing = surface.flexing && { offset: pointsOf(surface.flexing.offset), turn: pointsOf(surface.flexing.turn) };
  }

  // 1, each place, and each product of two
  features(place) {
    const x = this.surface.scale.map((unit, k) => place[k] / unit);
    const features = [1, ...x];
    for (let i = 0; i < x.length; i++) for (let j = i; j < x.length; j++) features.push(x[i] * x[j]);
    return features;
  }

  // the features times the rows of coefficients
  latent(place) {
    const { coefficient } = this.surface;
    return summed(this.features(place), coefficient[0].length, (row, n) => coefficient[row][n]);
  }

  // of each segment a quaternion (w, x, y, z), its matrix and where its centroid goes
  motion(place) {
    const latent = this.latent(place), { free, radius } = this.surface;
    const motion = this.centroid.map(c => ({ quaternion: [1, 0, 0, 0], matrix: [1, 0, 0, 0, 1, 0, 0, 0, 1], place: c.slice() }));
    free.forEach((segment, n) => {
      const speed = latent.slice(6 * n, 6 * n + 3);
      const vector = Array.from(latent.slice(6 * n + 3, 6 * n + 6), value => value / radius[segment]);
      const shift = screwShift(vector, speed), quaternion = quaternionOfVector(vector);
      motion[segment] = { quaternion, matrix: matrixOfQuaternion(quaternion), place: this.centroid[segment].map((c, i) => c + shift[i]) };
    });
    return motion;
  }

  // coordinates (x, y, z of each drawn atom), A: each goes with its bead and turns about it
  positions(place) {
    const motion = this.motion(place), count = this.beads.length / 3;
    const moved = new Float64Array(this.beads.length), turns = new Float64Array(9 * count);
    for (let bead = 0, entry = 0; bead < count; bead++) {
      const own = this.beads.subarray(3 * bead, 3 * bead + 3);
      const mean = [0, 0, 0, 0];
      let largest = entry;
      for (let e = entry; e < this.ends[bead]; e++) if (this.weight[e] > this.weight[largest]) largest = e;
      const reference = motion[this.segment[largest]].quaternion;
      let total = 0;
      for (let e = entry; e < this.ends[bead]; e++) total += this.weight[e];
      for (; entry < this.ends[bead]; entry++) {
        const part = motion[this.segment[entry]], share = this.weight[entry] / total, c = this.centroid[this.segment[entry]];
        const arm = [own[0] - c[0], own[1] - c[1], own[2] - c[2]];
        for (let i = 0; i < 3; i++)
          moved[3 * bead + i] += share * (part.matrix[3 * i] * arm[0] + part.matrix[3 * i + 1] * arm[1] + part.matrix[3 * i + 2] * arm[2] + part.place[i]);
        const q = part.quaternion;
        const side = q[0] * reference[0] + q[1] * reference[1] + q[2] * reference[2] + q[3] * reference[3] < 0 ? -share : share;
        for (let i = 0; i < 4; i++) mean[i] += side * q[i];
      }
      turns.set(matrixOfQuaternion(mean), 9 * bead);
    }
    if (this.flexing) this.flex(place, moved, turns);
    const out = new Float64Array(this.atoms.length);
    for (let atom = 0; atom < this.bead.length; atom++) {
      const b = this.bead[atom], m = 9 * b;
      const dx = this.atoms[3 * atom] - this.beads[3 * b], dy = this.atoms[3 * atom + 1] - this.beads[3 * b + 1], dz = this.atoms[3 * atom + 2] - this.beads[3 * b + 2];
      for (let i = 0; i < 3; i++) out[3 * atom + i] = moved[3 * b + i] + turns[m + 3 * i] * dx + turns[m + 3 * i + 1] * dy + turns[m + 3 * i + 2] * dz;
    }
    return out;
  }

  // what beads do within their segments: `moved` and `turns` of each bead change in place
  flex(place, moved, turns) {
    const features = this.features(place), size = this.beads.length;
    const [offset, turn] = [this.flexing.offset, this.flexing.turn].map(all => summed(features, size, (row, n) => all[row * size + n]));
    for (let bead = 0; bead < size / 3; bead++) {
      const rotation = turns.slice(9 * bead, 9 * bead + 9), own = matrixOfQuaternion(quaternionOfVector(turn.slice(3 * bead, 3 * bead + 3)));
      for (let i = 0; i < 3; i++) {
        moved[3 * bead + i] += [0, 1, 2].reduce((sum, j) => sum + rotation[3 * i + j] * offset[3 * bead + j], 0);
        for (let k = 0; k < 3; k++) turns[9 * bead + 3 * i + k] = [0, 1, 2].reduce((sum, j) => sum + rotation[3 * i + j] * own[3 * j + k], 0);
      }
    }
  }
}

// features times rows, of which `at` gives number n
function summed(features, size, at) {
  const out = new Float64Array(size);
  features.forEach((feature, row) => { for (let n = 0; n < size; n++) out[n] += feature * at(row, n); });
  return out;
}

function quaternionOfVector(v) {
  const angle = Math.hypot(...v), half = 0.5 * angle, s = angle < 1e-6 ? 0.5 : Math.sin(half) / angle;
  return [Math.cos(half), s * v[0], s * v[1], s * v[2]];
}

function matrixOfQuaternion(q) {
  const n = Math.hypot(...q), [w, x, y, z] = q.map(value => value / n);
  return [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
          2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
          2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)];
}

// where the exponential of a twist takes a centroid: the left Jacobian of its rotation vector, times its speed
function screwShift(v, speed) {
  const angle2 = v[0] * v[0] + v[1] * v[1] + v[2] * v[2], angle = Math.sqrt(angle2);
  const first = angle2 < 1e-6 ? 0.5 : (1 - Math.cos(angle)) / angle2, second = angle2 < 1e-6 ? 1 / 6 : (angle - Math.sin(angle)) / (angle2 * angle);
  const once = crossed(v, speed), twice = crossed(v, once);
  return [0, 1, 2].map(i => speed[i] + first * once[i] + second * twice[i]);
}

const crossed = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
