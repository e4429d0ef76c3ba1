// Particles over two of their numbers, or how many are where along one: a click shows one, a lasso collects them.
"use strict";

const HOW_MANY = "";      // in place of a second column: a histogram
const BINS = 60;

class ParticleMap {
  constructor(element, particles, { names, x, y, colour, run, onPick }) {
    this.particles = particles;
    this.columns = {};
    this.names = names;
    this.run = run;
    this.onPick = onPick;
    this.own = new Set(particles.own);      // columns that `atomdrgn select --where` knows without --table
    this.tables = {};
    this.chosen = null;                     // of each particle whether it is chosen
    this.here = null;
    const pick = (value, label, first) => {
      const select = html("select", { "aria-label": label });
      if (first) select.append(html("option", { value: "" }, first));
      for (const name of Object.keys(particles.columns)) select.append(html("option", { value: name }, names(name)));
      select.value = value;
      select.addEventListener("change", () => this.draw());
      return select;
    };
    this.xSelect = pick(x, "horizontal"); this.ySelect = pick(y || HOW_MANY, "vertical", "how many"); this.colourSelect = pick(colour || "", "colour", "one colour");
    this.canvas = html("canvas", { tabindex: "0", "aria-label": "map of the particles: arrow keys go from particle to particle, Escape clears the selection" });
    this.scale = html("p", { class: "legend" });
    const file = html("input", { type: "file", accept: ".csv", hidden: "" }), add = html("button", { type: "button", class: "quiet" }, "add a CSV");
    add.addEventListener("click", () => file.click());
    file.addEventListener("change", () => file.files[0] && file.files[0].text().then(text => this.addTable(file.files[0].name, text)));
    this.said = html("span");
    element.append(html("div", { class: "bar" }, html("label", {}, "→ ", this.xSelect), html("label", {}, "↑ ", this.ySelect), html("label", {}, "● ", this.colourSelect), add, file, savers("particles", () => this.picture())),
                   this.canvas, this.scale, this.selection(), html("p", { class: "hint" }, this.hint(), this.said));
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  hint() {
    const { count, drawn, left } = this.particles, en = n => n.toLocaleString("en");
    return `Click a particle to see its structure. Draw around some to select them: Shift adds, Alt takes away.${drawn < count ? ` ${en(drawn)} of ${en(count)} points are drawn, evenly; a selection takes all particles.` : ""}${left.length ? ` Not on this page, and in the tables of particles: ${left.join(", ")}.` : ""} `;
  }

  // what is chosen, and what to do with it
  selection() {
    const button = (text, act, kind = "") => { const made = html("button", { type: "button", class: kind }, text); made.addEventListener("click", act); return made; };
    this.report = html("b");
    this.title = html("input", { type: "text", value: "selection", "aria-label": "name of the selection", size: "12", spellcheck: "false" });
    this.title.addEventListener("input", () => this.tell());
    this.command = html("code"); this.condition = html("code");
    this.bar = html("div", { class: "chosen" },
      html("div", { class: "row" }, this.report, html("label", {}, "called ", this.title), button("save list", () => this.save()), button("copy list", () => this.copy(this.list())), button("clear", () => this.clear(), "quiet")),
      html("div", { class: "row" }, this.command, button("copy", () => this.copy(this.command.textContent), "quiet")),
      html("div", { class: "row" }, this.condition, button("copy", () => this.copy(this.condition.textContent), "quiet")));
    return this.bar;
  }

  column(name) {
    if (!this.columns[name]) {
      const { low, step, bits, values } = this.particles.columns[name], missing = bits === 8 ? 255 : 65535;
      const steps = bits === 8 ? new Uint8Array(bytesOf(values)) : new Uint16Array(bytesOf(values));
      const column = this.columns[name] = new Float64Array(steps.length);
      for (let i = 0; i < steps.length; i++) column[i] = steps[i] === missing ? NaN : low + step * steps[i];
    }
    return this.columns[name];
  }

  // columns of numbers of the user's own, by a column particle
  addTable(file, text) {
    const [head, ...rows] = text.replace(/^\uFEFF/, "").trim().split(/\r?\n/).map(line => line.split(",").map(cell => cell.trim())), at = head.indexOf("particle");
    if (at < 0) { this.said.textContent = `${file} has no column particle, so it cannot be told whose its rows are.`; return; }
    const added = head.filter((name, i) => i !== at && !(name in this.particles.columns) && rows.some(row => row[i] !== "" && Number.isFinite(+row[i])));
    for (const name of added) {
      const column = this.columns[name] = new Float64Array(this.particles.count).fill(NaN), i = head.indexOf(name);
      for (const row of rows) if (row[i] !== "" && +row[at] >= 0 && +row[at] < column.length) column[+row[at]] = +row[i];
      this.tables[name] = file;
      for (const select of [this.xSelect, this.ySelect, this.colourSelect]) select.append(html("option", { value: name }, name));
    }
    this.said.textContent = added.length ? `Added from ${file}: ${added.join(", ")}.` : `${file} has no new column of numbers.`;
    if (added.length) { this.colourSelect.value = added[0]; this.draw(); }
  }

  draw() {
    const box = this.canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    if (!box.width) return;
    // points are drawn once, on a layer of their own; marks come and go above it
    this.layer = this.painted(box, ratio);
    this.canvas.width = this.layer.width; this.canvas.height = this.layer.height;
    this.canvas.getContext("2d").scale(ratio, ratio);
    this.mark();
    this.tell();
  }

  painted(box, ratio) {
    const layer = html("canvas", { width: Math.round(box.width * ratio), height: Math.round(box.height * ratio) }), context = layer.getContext("2d");
    context.scale(ratio, ratio);
    const x = this.column(this.xSelect.value), ends = values => { let low = Infinity, high = -Infinity; for (const v of values) { if (v < low) low = v; if (v > high) high = v; } const pad = 0.03 * (high - low || 1); return [low - pad, high + pad]; };
    this.xEnds = ends(x);
    this.box = { left: 46, top: 8, width: box.width - 56, height: box.height - 46 };
    this.scale.replaceChildren();
    if (this.ySelect.value === HOW_MANY) this.bars(context, box, x);
    else {
      const y = this.column(this.ySelect.value);
      this.yEnds = ends(y);
      this.axes(context, box);
      this.points(context, x, y);
    }
    return layer;
  }

  px(value) { return this.box.left + (value - this.xEnds[0]) / (this.xEnds[1] - this.xEnds[0]) * this.box.width; }
  py(value) { return this.box.top + this.box.height - (value - this.yEnds[0]) / (this.yEnds[1] - this.yEnds[0]) * this.box.height; }

  axes(context, box) {
    context.font = "11.5px system-ui, sans-serif"; context.fillStyle = SOFT; context.strokeStyle = LINE; context.lineWidth = 1;
    context.textAlign = "center";
    for (const value of ticks(...this.xEnds, 6)) { const p = this.px(value); line(context, p, this.box.top, p, this.box.top + this.box.height); context.fillText(written(value), p, this.box.top + this.box.height + 15); }
    context.textAlign = "right";
    for (const value of ticks(...this.yEnds, 5)) { const p = this.py(value); line(context, this.box.left, p, this.box.left + this.box.width, p); context.fillText(written(value), this.box.left - 6, p + 4); }
    context.textAlign = "center";
    context.fillText(this.names(this.xSelect.value), this.box.left + 0.5 * this.box.width, box.height - 5);
    context.save(); context.translate(11, this.box.top + 0.5 * this.box.height); context.rotate(-0.5 * Math.PI);
    context.fillText(this.ySelect.value === HOW_MANY ? "particles" : this.names(this.ySelect.value), 0, 0); context.restore();
  }

  // how many particles are where, and of the chosen ones
  bars(context, box, x) {
    const all = new Array(BINS).fill(0), chosen = new Array(BINS).fill(0), [low, high] = this.xEnds, width = (high - low) / BINS;
    for (let i = 0; i < x.length; i++) {
      if (!Number.isFinite(x[i])) continue;
      const bin = Math.min(BINS - 1, Math.floor((x[i] - low) / width));
      all[bin]++;
      if (this.chosen && this.chosen[i]) chosen[bin]++;
    }
    this.yEnds = [0, 1.06 * Math.max(1, ...all)];
    this.axes(context, box);
    const bar = (count, bin, colour) => { context.fillStyle = colour; context.fillRect(this.px(low + bin * width), this.py(count), Math.max(1, this.px(low + width) - this.px(low) - 1), this.py(0) - this.py(count)); };
    context.globalAlpha = this.chosen ? 0.35 : 0.9;
    all.forEach((count, bin) => bar(count, bin, BLUE));
    context.globalAlpha = 1;
    chosen.forEach((count, bin) => count && bar(count, bin, RED));
  }

  // what gives points their colour, said below the map
  colouring() {
    const name = this.colourSelect.value;
    if (!name) return () => BLUE;
    const values = this.column(name), different = new Set();
    for (const v of values) { if (Number.isFinite(v)) different.add(Math.round(v * 1e3) / 1e3); if (different.size > 12) break; }
    const kinds = [...different].sort((a, b) => a - b), whole = kinds.length <= 12 && kinds.every(Number.isInteger);
    if (whole) {
      const of = new Map(kinds.map((kind, i) => [kind, DATA.stateColours[(name === "state" || name === "cluster" || name === "basin" ? kind - 1 + DATA.stateColours.length : i) % DATA.stateColours.length]]));
      for (const kind of kinds) { const dot = html("i"); dot.style.background = of.get(kind); this.scale.append(html("span", {}, dot, `${this.names(name)} ${kind}`)); }
      return i => of.get(Math.round(values[i])) || FAINT;
    }
    const sorted = Float64Array.from(values).filter(Number.isFinite).sort(), n = sorted.length - 1, low = sorted[Math.floor(0.02 * n)], high = sorted[Math.floor(0.98 * n)], strip = html("span", { class: "ramp" });
    strip.style.background = RAMP_CSS;
    this.scale.append(html("span", {}, `${this.names(name)}: ${written(+low.toPrecision(3))}`, strip, written(+high.toPrecision(3))));
    return i => Number.isFinite(values[i]) ? ramp((values[i] - low) / (high - low || 1)) : FAINT;
  }

  points(context, x, y) {
    const n = x.length, drawn = Math.min(n, this.particles.drawn), size = drawn > 20000 ? 1.2 : drawn > 3000 ? 1.7 : 2.4, paint = this.colouring();
    const one = (i, grow = 0) => context.fillRect(this.px(x[i]) - size - grow, this.py(y[i]) - size - grow, 2 * (size + grow), 2 * (size + grow));
    const all = act => { for (let j = 0; j < drawn; j++) { const i = drawn < n ? Math.floor(j * n / drawn) : j; if (Number.isFinite(x[i]) && Number.isFinite(y[i])) act(i); } };
    const alpha = this.colourSelect.value ? 0.75 : Math.max(0.12, Math.min(0.7, 900 / drawn));
    // the chosen ones keep their colour, on a dark rim, and the others step back
    context.globalAlpha = this.chosen ? 0.3 * alpha : alpha;
    all(i => { if (!this.chosen || !this.chosen[i]) { context.fillStyle = paint(i); one(i); } });
    if (!this.chosen) { context.globalAlpha = 1; return; }
    context.globalAlpha = 1;
    context.fillStyle = INK;
    all(i => { if (this.chosen[i]) one(i, drawn > 20000 ? 0.5 : 1); });
    all(i => { if (this.chosen[i]) { context.fillStyle = paint(i); one(i); } });
  }

  // where the structure on the stage is: {x, y} in the map's columns, or a particle's index
  mark(here = this.here) {
    this.here = here;
    if (!this.layer) return;
    const context = this.canvas.getContext("2d"), ratio = window.devicePixelRatio || 1;
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.layer, 0, 0, this.layer.width / ratio, this.layer.height / ratio);
    if (this.path && this.path.length > 1) {
      context.beginPath(); this.path.forEach(([px, py], i) => i ? context.lineTo(px, py) : context.moveTo(px, py)); context.closePath();
      context.fillStyle = "rgba(213,94,0,.12)"; context.fill(); context.strokeStyle = RED; context.lineWidth = 1.5; context.stroke();
    }
    if (!here) return;
    const of = name => name === HOW_MANY ? undefined : here.index !== undefined ? this.column(name)[here.index] : here.at[name];
    const x = of(this.xSelect.value), y = of(this.ySelect.value);
    if (x === undefined) return;
    const px = this.px(x);
    context.strokeStyle = INK; context.lineWidth = 2;
    if (y === undefined) { context.globalAlpha = 0.55; line(context, px, this.box.top, px, this.box.top + this.box.height); context.globalAlpha = 1; return; }
    context.beginPath(); context.arc(px, this.py(y), 6, 0, 2 * Math.PI); context.fillStyle = PAPER; context.globalAlpha = 0.75; context.fill(); context.globalAlpha = 1; context.stroke();
  }

  nearest(px, py) {
    const x = this.column(this.xSelect.value), y = this.ySelect.value === HOW_MANY ? null : this.column(this.ySelect.value);
    let best = -1, least = Infinity;
    for (let i = 0; i < x.length; i++) { const d = (this.px(x[i]) - px) ** 2 + (y ? (this.py(y[i]) - py) ** 2 : 0); if (d < least) { least = d; best = i; } }
    return best;
  }

  listen() {
    const at = event => { const box = this.canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    this.canvas.addEventListener("pointerdown", event => { this.path = [at(event)]; this.canvas.setPointerCapture(event.pointerId); });
    this.canvas.addEventListener("pointermove", event => { if (this.path) { this.path.push(at(event)); this.mark(); } });
    this.canvas.addEventListener("pointerup", event => {
      const path = this.path;
      this.path = null;
      if (!path) return;
      const far = Math.max(...path.map(([px, py]) => Math.hypot(px - path[0][0], py - path[0][1])));
      if (far < 5) { const index = this.nearest(...path[0]); if (index >= 0) this.pick(index); }
      else this.select(this.inside(path), event.altKey ? "take away" : event.shiftKey ? "add" : "anew");
    });
    this.canvas.addEventListener("pointercancel", () => { this.path = null; this.mark(); });
    this.canvas.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (event.key === "Escape") this.clear();
      if (!step) return;
      event.preventDefault();
      this.pick(this.beside(step));
    });
  }

  // the particle before or after the one that is shown, along the horizontal axis
  beside(step) {
    const x = this.column(this.xSelect.value), here = this.here && this.here.index;
    let best = -1;
    const from = here === null || here === undefined ? -Infinity * step : x[here];
    for (let i = 0; i < x.length; i++) {
      const ahead = step * (x[i] - from) > 0 || x[i] === from && here !== undefined && step * (i - here) > 0;
      const nearer = best < 0 || step * (x[i] - x[best]) < 0 || x[i] === x[best] && step * (i - best) < 0;
      if (i !== here && ahead && nearer) best = i;
    }
    return best < 0 ? here ?? 0 : best;
  }

  pick(index) {
    this.mark({ index });
    this.onPick(index);
  }

  select(found, how) {
    const chosen = how === "anew" || !this.chosen ? new Uint8Array(this.particles.count) : this.chosen.slice();
    for (const i of found) chosen[i] = how === "take away" ? 0 : 1;
    this.chosen = chosen.includes(1) ? chosen : null;
    this.draw();
  }

  clear() { this.chosen = null; this.draw(); }

  inside(path) {
    const x = this.column(this.xSelect.value), found = [];
    if (this.ySelect.value === HOW_MANY) {
      const ends = path.map(([px]) => px), low = Math.min(...ends), high = Math.max(...ends);
      for (let i = 0; i < x.length; i++) { const px = this.px(x[i]); if (px >= low && px <= high) found.push(i); }
      return found;
    }
    const y = this.column(this.ySelect.value);
    for (let i = 0; i < x.length; i++) {
      const px = this.px(x[i]), py = this.py(y[i]);
      let within = false;
      for (let a = 0, b = path.length - 1; a < path.length; b = a++)
        if (path[a][1] > py !== path[b][1] > py && px < (path[b][0] - path[a][0]) * (py - path[a][1]) / (path[b][1] - path[a][1]) + path[a][0]) within = !within;
      if (within) found.push(i);
    }
    return found;
  }

  numbers() {
    const found = [];
    if (this.chosen) this.chosen.forEach((is, i) => { if (is) found.push(i); });
    return found;
  }

  // one number a line, as `atomdrgn select --particles` reads it
  list() { return this.numbers().map(number => `${number}\n`).join(""); }

  fileName() { return this.title.value.trim().replace(/[^\w.-]+/g, "_") || "selection"; }

  tell() {
    this.bar.classList.toggle("there", this.chosen !== null);
    if (!this.chosen) return;
    const numbers = this.numbers(), name = this.fileName(), run = shellWord(this.run);
    this.report.textContent = `${numbers.length.toLocaleString("en")} particles`;
    this.command.textContent = `atomdrgn select ${run} --particles ${name}.txt --out ${name}.star`;
    this.condition.textContent = this.box_of(numbers, run, name);
  }

  // the box around the chosen particles as a condition, and how many are in it
  box_of(numbers, run, name) {
    const axes = [this.xSelect.value, this.ySelect.value].filter(each => each !== HOW_MANY), terms = [], inside = new Uint8Array(this.particles.count).fill(1), tables = new Set();
    for (const axis of axes) {
      const values = this.column(axis), own = numbers.map(i => values[i]).filter(Number.isFinite);
      if (!own.length) continue;
      let low = Infinity, high = -Infinity;
      for (const v of own) { if (v < low) low = v; if (v > high) high = v; }
      const pad = 1e-3 * (high - low || 1), from = +(low - pad).toPrecision(5), to = +(high + pad).toPrecision(5);
      terms.push(`${axis} >= ${from} and ${axis} <= ${to}`);
      for (let i = 0; i < inside.length; i++) if (!(values[i] >= from && values[i] <= to)) inside[i] = 0;
      if (!this.own.has(axis)) tables.add(this.tables[axis] || `${this.run}/analysis/particles.csv`);
    }
    let count = 0;
    for (const is of inside) count += is;
    const table = [...tables].map(file => ` --table ${shellWord(file)}`).join("");
    return `atomdrgn select ${run} --where "${terms.join(" and ")}"${table} --out ${name}.star   # the box around them: ${count.toLocaleString("en")} particles`;
  }

  save() { download(new Blob([this.list()], { type: "text/plain" }), `${this.fileName()}.txt`); }

  copy(text) {
    const before = this.report.textContent, done = () => { this.report.textContent = `${before}, copied`; };
    if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(text).then(done, () => this.copyByHand(text, done)); return; }
    this.copyByHand(text, done);
  }

  copyByHand(text, done) {
    const area = html("textarea");
    area.value = text;
    document.body.append(area); area.select(); document.execCommand("copy"); area.remove(); done();
  }

  picture() { return this.canvas; }
}

function line(context, x1, y1, x2, y2) { context.beginPath(); context.moveTo(x1, y1); context.lineTo(x2, y2); context.stroke(); }

const shellWord = text => /^[\w./+:@%,-]+$/.test(text) && !text.startsWith("-") ? text : `'${text.replaceAll("'", "'\\''")}'`;
