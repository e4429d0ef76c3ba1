// What is seen of a structure beside another one: the other laid over it, how far residues are apart, the residue under the pointer, a film.
"use strict";

const NEAR = 9;      // pixels from the pointer within which a residue is named
const FILM_SECONDS = 5, FILM_RATE = 25, FILM_HEAD = 1000;      // seconds, pictures a second, bytes that are more than a head

class Comparison {
  constructor(stage, decoder, data) {
    this.stage = stage;
    this.decoder = decoder;
    this.data = data;
    this.held = null;                       // {title, xyz}: the structure that others are laid over
    // one atom a residue: where residues are
    this.trace = data.residues.chain.map(() => -1);
    const residue = new Uint32Array(bytesOf(data.molecule.residue));
    data.molecule.names.forEach((name, atom) => { const at = residue[atom]; if (this.trace[at] < 0 || name === "CA" || name === "P") this.trace[at] = atom; });
    const still = data.residues.group.map((group, i) => [group, i]).filter(([group]) => data.groups.length > 1 && group === data.still).map(([, i]) => i);
    this.fixed = still.length > 2 ? still : this.trace.map((_, i) => i);
  }

  name(residue) { return `${this.data.residues.chain[residue]}:${this.data.residues.number[residue]}`; }

  hold(place, title) {
    this.held = place && { title, xyz: this.decoder.positions(place) };
    if (!place) this.stage.beside(null);
  }

  // the held structure laid over that of a place on the part that stands still, and how far each residue is from it, A
  to(place) {
    const xyz = this.decoder.positions(place), held = this.held.xyz, at = (points, residue) => { const n = 3 * this.trace[residue]; return [points[n], points[n + 1], points[n + 2]]; };
    const { rotation, from, onto } = laidOver(this.fixed.map(i => at(held, i)), this.fixed.map(i => at(xyz, i)));
    const moved = new Float64Array(held.length);
    for (let n = 0; n < held.length; n += 3) {
      const arm = [held[n] - from[0], held[n + 1] - from[1], held[n + 2] - from[2]];
      for (let i = 0; i < 3; i++) moved[n + i] = onto[i] + rotation[3 * i] * arm[0] + rotation[3 * i + 1] * arm[1] + rotation[3 * i + 2] * arm[2];
    }
    const apart = this.trace.map((_, residue) => { const a = at(xyz, residue), b = at(moved, residue); return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]); });
    return { moved, apart };
  }

  // in words, with the structure drawn where `drawn`; null where nothing is held
  tell(place, drawn) {
    if (!this.held) { this.apart = null; return null; }
    const { moved, apart } = this.to(place);
    this.apart = apart;
    if (drawn) this.stage.beside(moved);
    const far = apart.reduce((best, value, i) => value > apart[best] ? i : best, 0), rms = Math.sqrt(apart.reduce((sum, value) => sum + value * value, 0) / apart.length);
    return `${rms.toFixed(1)} Å r.m.s. from ${this.held.title}, at most ${apart[far].toFixed(1)} Å (${this.name(far)})`;
  }

  // of the residue that is nearest to a place on the screen, and in front; null where none is near
  under(x, y) {
    const atoms = this.stage.atomsAt(this.trace), seen = this.stage.onScreen(atoms);
    let best = -1, least = NEAR * NEAR;
    seen.forEach((point, residue) => { const d = (point.x - x) ** 2 + (point.y - y) ** 2; if (d < least) { least = d; best = residue; } });
    if (best < 0) return null;
    const { columns, group } = this.data.residues, says = [`${this.name(best)} ${this.data.molecule.kinds[best]}`];
    if (this.data.groups.length > 1) says.push(`part ${group[best] + 1}`);
    if (columns.rmsf && columns.rmsf[best] !== null) says.push(`moves ${columns.rmsf[best].toFixed(1)} Å r.m.s.`);
    if (columns.half_set_error && columns.half_set_error[best] !== null) says.push(`between half-sets ${columns.half_set_error[best].toFixed(1)} Å`);
    if (this.apart) says.push(`${this.apart[best].toFixed(1)} Å from ${this.held.title}`);
    return says.join(" · ");
  }
}

// a tip beside the pointer that names the residue under it
function nameResidues(element, comparison) {
  const tip = html("div", { class: "tip", hidden: "" });
  element.append(tip);
  let waiting = false;
  element.addEventListener("pointermove", event => {
    if (event.buttons || waiting) { if (event.buttons) tip.hidden = true; return; }
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const box = element.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top, says = comparison.under(event.clientX, event.clientY);
      tip.hidden = !says;
      if (!says) return;
      tip.textContent = says;
      tip.style.left = `${Math.max(0, Math.min(x + 14, box.width - tip.offsetWidth - 4))}px`;
      tip.style.top = `${y > box.height - 80 ? y - tip.offsetHeight - 8 : y + 16}px`;
    });
  });
  element.addEventListener("pointerleave", () => { tip.hidden = true; });
}

// a film of what `show` draws at times from 0 to 1 and back, as a video of the browser's own making
async function film(canvas, show, name, { seconds = FILM_SECONDS, paper } = {}) {
  const type = ["video/webm;codecs=vp9", "video/webm", "video/mp4"].find(each => MediaRecorder.isTypeSupported(each));
  const copy = html("canvas", { class: "filmed", width: canvas.width - canvas.width % 2, height: canvas.height - canvas.height % 2 }), context = copy.getContext("2d");
  canvas.parentElement.append(copy);      // a browser films what it shows
  const stream = copy.captureStream(0), recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 8e6 }), parts = [], pause = ms => new Promise(resolve => setTimeout(resolve, ms));
  recorder.addEventListener("dataavailable", event => parts.push(event.data));
  const ended = new Promise(resolve => recorder.addEventListener("stop", resolve));
  const draw = async part => {
    show(0.5 - 0.5 * Math.cos(2 * Math.PI * part));
    context.fillStyle = paper; context.fillRect(0, 0, copy.width, copy.height);
    context.drawImage(canvas, 0, 0);
    stream.getVideoTracks()[0].requestFrame();
    await pause(1000 / FILM_RATE);
  };
  recorder.start(200);
  // what writes the film takes its time to begin: until then the first picture stands
  const patience = performance.now() + 10000;
  while (parts.every(part => part.size < FILM_HEAD) && performance.now() < patience) await draw(0);
  for (let part = 0, began = performance.now(); part < 1;) {
    part = Math.min(1, (performance.now() - began) / (1000 * seconds));
    await draw(part);
  }
  recorder.stop();
  await ended;
  copy.remove();
  const blob = new Blob(parts, { type: type.split(";")[0] });
  download(blob, `${name}.${blob.type.split("/")[1]}`);
  return blob;
}

// the rotation about one centre, and the other centre, that lay points over others with least squares (Horn 1987): the quaternion is the eigenvector of the largest eigenvalue, by powers of a shifted matrix
function laidOver(points, others) {
  const middle = of => [0, 1, 2].map(i => of.reduce((sum, point) => sum + point[i], 0) / of.length), from = middle(points), onto = middle(others);
  const s = Array.from({ length: 9 }, (_, n) => points.reduce((sum, point, i) => sum + (point[Math.floor(n / 3)] - from[Math.floor(n / 3)]) * (others[i][n % 3] - onto[n % 3]), 0));
  const [xx, xy, xz, yx, yy, yz, zx, zy, zz] = s;
  let m = [[xx + yy + zz, yz - zy, zx - xz, xy - yx], [yz - zy, xx - yy - zz, xy + yx, zx + xz], [zx - xz, xy + yx, yy - xx - zz, yz + zy], [xy - yx, zx + xz, yz + zy, zz - xx - yy]];
  const size = Math.max(...m.map(row => row.reduce((sum, value) => sum + Math.abs(value), 0))) || 1;
  m = m.map((row, i) => row.map((value, j) => value / size + (i === j ? 1 : 0)));
  for (let power = 0; power < 12; power++) {      // the 4096th power: only that eigenvector is left
    const square = m.map(row => [0, 1, 2, 3].map(j => row.reduce((sum, value, l) => sum + value * m[l][j], 0))), largest = Math.max(...square.flat().map(Math.abs));
    m = square.map(row => row.map(value => value / largest));
  }
  const column = [0, 1, 2, 3].reduce((best, j) => m[j][j] > m[best][best] ? j : best, 0);
  return { rotation: matrixOfQuaternion(m.map(row => row[column])), from, onto };
}
