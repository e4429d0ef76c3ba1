// Particles as points over two of their numbers: a click shows one, a lasso collects them.
"use strict";

class ParticleMap {
  constructor(element, particles, { names, x, y, colour, onPick }) {
    this.particles = particles;
    this.columns = {};
    this.names = names;
    this.onPick = onPick;
    this.number = particles.number ? new Uint32Array(bytesOf(particles.number)) : null;
    this.chosen = null;
    this.here = null;
    const options = Object.keys(particles.columns);
    const pick = (value, label) => {
      const select = html("select", { "aria-label": label }, ...options.map(name => html("option", { value: name }, names(name))));
      select.value = value;
      select.addEventListener("change", () => this.draw());
      return select;
    };
    this.xSelect = pick(x, "horizontal"); this.ySelect = pick(y, "vertical"); this.colourSelect = pick(colour, "colour");
    this.colourSelect.prepend(html("option", { value: "" }, "density"));
    this.colourSelect.value = colour || "";
    this.canvas = html("canvas", { tabindex: "0", "aria-label": "map of the particles" });
    this.report = html("span");
    const save = html("button", { type: "button" }, "save list"), copy = html("button", { type: "button" }, "copy"), clear = html("button", { type: "button", class: "quiet" }, "clear");
    this.bar = html("div", { class: "chosen" }, this.report, save, copy, clear);
    element.append(html("div", { class: "bar" }, html("label", {}, "→ ", this.xSelect), html("label", {}, "↑ ", this.ySelect), html("label", {}, "● ", this.colourSelect)), this.canvas, this.bar,
                   html("p", { class: "hint" }, `Each point is a particle${particles.shown < particles.count ? ` (${particles.shown.toLocaleString("en")} of ${particles.count.toLocaleString("en")}, evenly)` : ""}. Click one to see its structure; draw around some to list them for `, html("code", {}, "atomdrgn select --particles"), "."));
    save.addEventListener("click", () => this.save());
    copy.addEventListener("click", () => this.copy());
    clear.addEventListener("click", () => { this.chosen = null; this.draw(); });
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  column(name) {
    if (!this.columns[name]) {
      const { low, step, values } = this.particles.columns[name];
      this.columns[name] = Float64Array.from(new Uint16Array(bytesOf(values)), value => value === 65535 ? NaN : low + step * value);
    }
    return this.columns[name];
  }

  // the number that the run gives a particle, and what it is called
  particle(index) { return this.number ? this.number[index] : index; }

  draw() {
    const box = this.canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    if (!box.width) return;
    // points are drawn once, on a layer of their own; marks come and go above it
    this.layer = html("canvas", { width: Math.round(box.width * ratio), height: Math.round(box.height * ratio) });
    this.canvas.width = this.layer.width; this.canvas.height = this.layer.height;
    this.canvas.getContext("2d").scale(ratio, ratio);
    const context = this.layer.getContext("2d");
    context.scale(ratio, ratio);
    const x = this.column(this.xSelect.value), y = this.column(this.ySelect.value);
    const ends = values => { let low = Infinity, high = -Infinity; for (const v of values) { if (v < low) low = v; if (v > high) high = v; } const pad = 0.03 * (high - low || 1); return [low - pad, high + pad]; };
    this.xEnds = ends(x); this.yEnds = ends(y);
    this.box = { left: 46, top: 8, width: box.width - 56, height: box.height - 46 };
    this.axes(context, box);
    this.points(context, x, y);
    this.mark();
    this.bar.classList.toggle("there", this.chosen !== null);
    if (this.chosen) this.report.textContent = `${this.chosen.length.toLocaleString("en")} particles`;
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
    context.fillText(this.names(this.ySelect.value), 0, 0); context.restore();
  }

  points(context, x, y) {
    const name = this.colourSelect.value, n = x.length;
    const size = n > 20000 ? 1.2 : n > 3000 ? 1.7 : 2.4, chosen = this.chosen ? new Set(this.chosen) : null;
    let paint = () => BLUE;
    if (name) {
      const values = this.column(name), different = new Set(values);
      const whole = [...different].every(v => Number.isInteger(Math.round(v * 1e3) / 1e3)) && different.size <= 12;
      if (whole) paint = i => COLOURS[(Math.round(values[i]) - 1 + COLOURS.length) % COLOURS.length];
      else { const sorted = Float64Array.from(values).sort(), low = sorted[Math.floor(0.02 * n)], high = sorted[Math.floor(0.98 * n)]; paint = i => ramp((values[i] - low) / (high - low || 1)); }
    }
    context.globalAlpha = name ? 0.75 : Math.max(0.12, Math.min(0.7, 900 / n));
    for (let i = 0; i < n; i++) {
      if (!Number.isFinite(x[i]) || !Number.isFinite(y[i])) continue;
      context.fillStyle = chosen && chosen.has(i) ? RED : paint(i);
      context.fillRect(this.px(x[i]) - size, this.py(y[i]) - size, 2 * size, 2 * size);
    }
    context.globalAlpha = 1;
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
    const at = here.index !== undefined ? { x: this.column(this.xSelect.value)[here.index], y: this.column(this.ySelect.value)[here.index] }
                                        : { x: here.at[this.xSelect.value], y: here.at[this.ySelect.value] };
    if (at.x === undefined) return;
    const px = this.px(at.x);
    context.strokeStyle = INK; context.lineWidth = 2;
    if (at.y === undefined) { context.globalAlpha = 0.55; line(context, px, this.box.top, px, this.box.top + this.box.height); context.globalAlpha = 1; return; }
    context.beginPath(); context.arc(px, this.py(at.y), 6, 0, 2 * Math.PI); context.fillStyle = "#fff"; context.globalAlpha = 0.75; context.fill(); context.globalAlpha = 1; context.stroke();
  }

  nearest(px, py) {
    const x = this.column(this.xSelect.value), y = this.column(this.ySelect.value);
    let best = -1, least = Infinity;
    for (let i = 0; i < x.length; i++) { const d = (this.px(x[i]) - px) ** 2 + (this.py(y[i]) - py) ** 2; if (d < least) { least = d; best = i; } }
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
      else { this.chosen = this.inside(path); this.draw(); }
    });
    this.canvas.addEventListener("pointercancel", () => { this.path = null; this.mark(); });
  }

  pick(index) {
    this.mark({ index });
    this.onPick(index);
  }

  inside(path) {
    const x = this.column(this.xSelect.value), y = this.column(this.ySelect.value), found = [];
    for (let i = 0; i < x.length; i++) {
      const px = this.px(x[i]), py = this.py(y[i]);
      let within = false;
      for (let a = 0, b = path.length - 1; a < path.length; b = a++)
        if (path[a][1] > py !== path[b][1] > py && px < (path[b][0] - path[a][0]) * (py - path[a][1]) / (path[b][1] - path[a][1]) + path[a][0]) within = !within;
      if (within) found.push(i);
    }
    return found;
  }

  // one number a line, as `atomdrgn select --particles` reads it
  list() { return (this.chosen || []).map(index => `${this.particle(index)}\n`).join(""); }

  save() {
    const link = html("a", { href: URL.createObjectURL(new Blob([this.list()], { type: "text/plain" })), download: "particles.txt" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  copy() {
    const done = () => { this.report.textContent = `${this.chosen.length.toLocaleString("en")} particles, copied`; };
    if (navigator.clipboard && window.isSecureContext) { navigator.clipboard.writeText(this.list()).then(done, () => this.copyByHand(done)); return; }
    this.copyByHand(done);
  }

  copyByHand(done) {
    const area = html("textarea");
    area.value = this.list();
    document.body.append(area); area.select(); document.execCommand("copy"); area.remove(); done();
  }
}

function line(context, x1, y1, x2, y2) { context.beginPath(); context.moveTo(x1, y1); context.lineTo(x2, y2); context.stroke(); }
