// The page: what is on the stage, what the map and the charts show, and what they do to each other.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const COLOURS = DATA.colours;
const by = id => document.getElementById(id);
const k = DATA.motions.length;

function nameOf(column) {
  const match = /^([a-z_]+?)_?(\d*)(_sd)?$/.exec(column), [, stem, number, sd] = match || [null, column, "", ""];
  const measure = DATA.measures.find(m => m.column === column.replace(/_sd$/, ""));
  if (measure) return `${sd ? "error of " : ""}${measure.kind} ${measure.of} (${measure.unit === "A" ? "Å" : "°"})`;
  const names = { motion: `motion ${number} (Å)`, sd: `error of motion ${number} (Å)`, pc: `principal axis ${number} (Å)`, umap: `UMAP ${number}`, turn: `turn ${number} (°)`,
                  log_likelihood_gain: "log-likelihood gained", outlier_score: "outlier score", signal: "signal (contrast over its error)", junk: "probability of junk", absent: `probability that set ${number} is absent` };
  return names[stem] || `${stem.replaceAll("_", " ")}${number ? ` ${number}` : ""}`;
}

// ---- the stage ---------------------------------------------------------------------------------------------------------------

const decoder = new Decoder(DATA.molecule, DATA.decoder);
const stage = makeStage(by("viewer"), DATA, decoder);
const comparison = new Comparison(stage, decoder, DATA);
const player = { way: null, time: 0, playing: false, last: 0, place: null };
const moves = DATA.traversals.filter(way => way.name !== "centres");
let map = null;
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

const titleOf = way => way.name === "path" ? "from cluster to cluster" : `motion ${way.name.slice(6)}`;

// where a traversal is at a time from 0 to 1
function placeAt(way, time) {
  const at = time * (way.place.length - 1), i = Math.min(way.place.length - 2, Math.floor(at)), part = at - i;
  return way.place[i].map((value, axis) => value + part * (way.place[i + 1][axis] - value));
}

function columnsAt(place) {
  return Object.fromEntries(place.map((value, axis) => [`motion${axis + 1}`, value]));
}

// of a motion that has a landscape: how many particles are where along it
function populationOf(motion) {
  const landscape = DATA.landscapes.find(each => each.motions.length === 1 && each.motions[0] === motion);
  return landscape && { edges: landscape.edges[0], share: landscape.population };
}

const LEAST_PARTICLES = 0.5;      // of a bin, below which nobody is there: draws of one particle may reach a little further

// whether particles are at a place, as far as the motions tell that have a landscape
function peopled(place) {
  return place.every((value, axis) => {
    const found = populationOf(axis + 1);
    if (!found) return true;
    const bin = found.edges.findIndex((edge, i) => i && value <= edge) - 1;
    return bin >= 0 && value >= found.edges[0] && found.share[bin] * DATA.particles.count >= LEAST_PARTICLES;
  });
}

function showPlace(place, says) {
  const there = peopled(place);
  player.place = place;
  player.title = says.split("   ·   ").at(-1);
  stage.hide([]);
  stage.show(place);
  by("viewer").classList.toggle("nobody", !there);
  by("now").textContent = there ? says : `${says}   ·   no particles here`;
  compared();
  if (map) map.mark({ at: columnsAt(place) });
}

// how far what is shown is from what is laid over it, which is drawn anew where nothing plays
function compared() {
  const says = player.place && comparison.tell(player.place, !player.playing);
  by("apart").hidden = !says;
  by("apart").textContent = says || "";
  if (by("colour").value === "apart") paint("apart");
}

// what can be laid over what is shown
function besides() {
  const select = by("beside"), first = DATA.traversals.find(way => way.name === "motion1"), fixed = [];
  if (first) fixed.push(["the low end of motion 1", first.place[0]], ["the high end of motion 1", first.place.at(-1)]);
  if (DATA.states.length > 1) for (const state of DATA.states) fixed.push([`state ${state.number}`, state.place]);
  select.append(html("option", { value: "" }, "nothing"), html("option", { value: "now" }, "what is shown now"), ...fixed.map(([title], i) => html("option", { value: `${i}` }, title)));
  select.addEventListener("change", () => {
    if (!select.value) comparison.hold(null);
    else if (select.value === "now") comparison.hold(player.place, player.title);
    else comparison.hold(fixed[+select.value][1], fixed[+select.value][0]);
    if (select.value) pause();
    by("colour").value = select.value ? "apart" : by("colour").options[0].value;
    paint(by("colour").value);
    compared();
  });
}

function showTime() {
  const place = placeAt(player.way, player.time);
  const where = place.map((value, axis) => `motion ${axis + 1}: ${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(1)} Å`).slice(0, 3).join(",  ");
  by("step").value = Math.round(1000 * player.time);
  showPlace(place, `${titleOf(player.way)}   ·   ${where}`);
}

function showParticle(index) {
  pause();
  const place = DATA.motions.map((_, axis) => map.column(`motion${axis + 1}`)[index]);
  const errors = DATA.motions.map((_, axis) => map.column(`sd${axis + 1}`)[index]);
  const says = place.map((value, axis) => `motion ${axis + 1}: ${value.toFixed(1)} ± ${errors[axis].toFixed(1)} Å`).slice(0, 3).join(",  ");
  const absent = absentFrom(index);
  player.place = place;
  player.title = `particle ${index}`;
  stage.hide(absent);
  stage.show(place);
  by("viewer").classList.remove("nobody");
  compared();
  by("now").textContent = k ? `particle ${index}   ·   ${says}${toldOf(index)}${absent.length ? `   ·   without ${absent.map(segment => DATA.segments[segment]).join(",")}` : ""}`
                            : `particle ${index}: all particles share this structure`;
}

// what else the fit says of a particle
function toldOf(index) {
  const column = name => DATA.particles.columns[name] ? map.column(name)[index] : NaN, state = column("state"), signal = column("signal"), junk = column("junk");
  return [Number.isFinite(state) ? `state ${state.toFixed(0)}` : "", Number.isFinite(signal) ? `signal ${signal.toFixed(1)}` : "", Number.isFinite(junk) ? `junk ${(100 * junk).toFixed(0)} %` : ""]
    .filter(Boolean).map(text => `   ·   ${text}`).join("");
}

function absentFrom(index) {
  if (!DATA.particles.present) return [];
  const bits = showParticle.bits ||= new Uint8Array(bytesOf(DATA.particles.present)), across = Math.ceil(DATA.segments.length / 8);
  return DATA.segments.map((_, segment) => segment).filter(segment => !(bits[index * across + (segment >> 3)] >> (7 - segment % 8) & 1));
}

function play() {
  if (!player.way) return;
  player.playing = true;
  player.last = 0;
  by("play").textContent = "❚❚";
  requestAnimationFrame(tick);
}

function pause() {
  const was = player.playing;
  player.playing = false;
  by("play").textContent = "▶";
  if (was) compared();
}

const SECONDS = 5;      // there and back
function tick(now) {
  if (!player.playing) return;
  if (!player.last) { player.last = now; player.phase = Math.acos(1 - 2 * player.time) * (player.phase > Math.PI ? -1 : 1); }
  // slow drawing makes coarser steps, not a slower motion, but no leap
  player.phase += Math.min(now - player.last, 250) / 1000 * 2 * Math.PI / SECONDS;
  player.last = now;
  player.time = 0.5 - 0.5 * Math.cos(player.phase);
  player.phase %= 2 * Math.PI;
  const began = performance.now();
  showTime();
  // leave the page as much time as the drawing takes
  setTimeout(() => requestAnimationFrame(tick), Math.max(0, Math.min(400, performance.now() - began - 8)));
}

// the ends of what is played stay on the stage
function haunt() {
  const still = number => DATA.groups.length > 1 && DATA.residues.group[number] === DATA.still;
  if (player.way) stage.haunt([player.way.place[0], player.way.place.at(-1)], residue => !still(residue), residue => groupColour(DATA.residues.group[residue], "groups"));
}

// a strip of how many particles are where, under the slider
function strip() {
  const canvas = by("strip"), way = player.way, motion = way && way.name.startsWith("motion") ? +way.name.slice(6) : 0, found = motion && populationOf(motion);
  canvas.hidden = !found;
  if (!found) return;
  const { edges, share } = found, most = Math.max(...share), from = way.place[0][motion - 1], to = way.place.at(-1)[motion - 1], context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = BLUE;
  for (let pixel = 0; pixel < canvas.width; pixel++) {
    const value = from + (pixel + 0.5) / canvas.width * (to - from), bin = edges.findIndex((edge, i) => i && value <= edge) - 1;
    const height = bin < 0 || share[bin] * DATA.particles.count < LEAST_PARTICLES ? 0 : Math.max(1, share[bin] / most * canvas.height);
    context.fillRect(pixel, canvas.height - height, 1, height);
  }
}

// ---- colours -------------------------------------------------------------------------------------------------------------------

const SHADES = { groups: "parts that move as one", rmsf: "how far it moves", half_set_error: "half-set error", segment: "segments", apart: "how far from the one beside" };

function paint(mode) {
  const { group, segment, columns } = DATA.residues, legend = by("legend");
  legend.replaceChildren();
  if (mode === "groups" || mode === "segment") {
    const of = mode === "groups" ? group : segment;
    stage.colour(of.map(number => groupColour(number, mode)));
    const shown = mode === "groups" ? DATA.groups.map(g => [g.selection, groupColour(g.number - 1, mode)]) : [];
    for (const [text, colour] of shown.slice(0, 8)) { const dot = html("i"); dot.style.background = colour; legend.append(html("span", {}, dot, text.length > 60 ? `${text.slice(0, 58)}…` : text)); }
    return;
  }
  const values = mode === "apart" ? comparison.apart || group.map(() => null) : columns[mode], sorted = values.filter(v => v !== null).sort((a, b) => a - b), high = sorted[Math.floor(0.98 * (sorted.length - 1))] || 1;
  stage.colour(values.map(value => value === null ? "#bbbbbb" : ramp(value / high)));
  const strip = html("span", { class: "ramp" });
  strip.style.background = RAMP_CSS;
  legend.append(html("span", {}, "0", strip, `${high.toFixed(1)} Å ${{ rmsf: "r.m.s. fluctuation", apart: "apart" }[mode] || "between half-sets"}`));
}

// the still part is grey: what has a colour moves; scripts and notebooks have the same colours
function groupColour(number, mode) {
  if (mode !== "groups") return COLOURS[number % COLOURS.length];
  return k && DATA.groupColours[number] || "#a9b4bd";
}

// ---- sections ------------------------------------------------------------------------------------------------------------------

function block(title, says, ...children) {
  const section = html("section", { class: "block" }, html("h2", {}, title), html("p", {}, says), ...children.filter(Boolean));
  by("sections").append(section);
  return section;
}

// charts in it can be saved
function part(title, ...children) {
  const head = html("h3", {}, title), drawn = children.find(child => child instanceof SVGElement) || children.map(child => child instanceof HTMLElement && child.querySelector("svg")).find(Boolean);
  if (drawn) head.append(savers(title.toLowerCase().replace(/\W+/g, "_"), () => drawn));
  return html("div", {}, head, ...children);
}
const pair = (...children) => html("div", { class: "pair" }, ...children.filter(Boolean));

function motionSection() {
  const refused = refusedMotions();
  if (!k && !refused) return;
  const tested = !k || DATA.motions.some(m => m.held_out_gain);
  const rows = DATA.motions.map(m => [`${m.number}`, { number: Math.sqrt(m.variance).toFixed(2) }, { number: `${(100 * m.share).toFixed(1)} %` }, { number: m.median_sd.toFixed(2) },
    ...(tested ? [{ number: m.half_set_agreement.toFixed(3) }, { number: worth(m) }] : [])]);
  const head = ["motion", { number: "r.m.s. (Å)" }, { number: "share of all variance" }, { number: "median error (Å)" }, ...(tested ? [{ number: "half-sets agree" }, { number: "worth to unseen images, half 1 and 2" }] : [])]
    .map(c => typeof c === "string" ? c : c.number);
  block("Motions and their support", tested ? "Each half-set's motions are tried on the images of the other: a motion counts where it makes them likelier (log-likelihood gained a particle, with its standard error). Agreement is 1 where both half-sets find the same motion."
    : "This run was not tested with half-sets.", k ? table(head, rows) : null, refused);
}

// what half-sets were asked about and is in no structure: the unconfirmed ones, and the first that images do not support
function refusedMotions() {
  const first = DATA.tested.find(m => m.verdict === "not supported");
  const shown = DATA.tested.filter(m => m.verdict === "unconfirmed" || m === first);
  if (!shown.length) return null;
  return part("In no structure", table(["motion", "", "because", "half-sets agree", "worth to unseen images, half 1 and 2"], shown.map(m =>
    [`${m.number}`, m.verdict, m.why, { number: m.half_sets_alike.toFixed(3) }, { number: worth(m) }])));
}

const worth = motion => motion.held_out_gain.map((gain, half) => `${gain.toFixed(2)} ± ${motion.held_out_gain_error[half].toFixed(2)}`).join("   ");

function landscapeSection() {
  if (!DATA.landscapes.length) return;
  const single = DATA.landscapes.filter(l => l.motions.length === 1).map(landscapeChart);
  const double = DATA.landscapes.filter(l => l.motions.length === 2).map(landscapeHeat);
  const says = "Minus the logarithm of how many particles are where, in kT from the lowest place, with the standard error of a repeat of the experiment (particles drawn anew, each somewhere in its own posterior). It is a free energy as far as the particles are a fair sample and were frozen as they were. Click to see the structure there.";
  const wells = DATA.basins.length > 1 ? part("Basins", table(["basin", ...DATA.basins[0].place.map((_, i) => `motion ${i + 1} (Å)`), "share", "free energy (kT)", "lowest way out (kT)"],
    DATA.basins.map((b, i) => [`${i + 1}`, ...b.place.map(v => ({ number: v.toFixed(1) })), { number: `${(100 * b.population).toFixed(1)} %` }, { number: `${b.free_energy.toFixed(2)} ± ${b.error.toFixed(2)}` },
      { number: b.barrier === null ? (i ? "none seen" : "deepest") : `${b.barrier.toFixed(1)} ± ${b.barrier_error.toFixed(1)}` }]))) : null;
  const states = DATA.states.length ? part("States of the fit's density", table(["state", "share", ...DATA.states[0].place.map((_, i) => `motion ${i + 1} (Å)`)],
    DATA.states.map(s => [`${s.number}`, { number: `${(100 * s.population).toFixed(1)} ± ${(100 * s.error).toFixed(1)} %` }, ...s.place.map(v => ({ number: v.toFixed(1) }))]))) : null;
  block("Free-energy landscape", says, pair(...double, ...single), pair(wells, states));
}

function goTo(place, says) {
  pause();
  showPlace(place, says);
}

function meanPlace() { return DATA.motions.map((_, axis) => { const way = DATA.traversals.find(w => w.name === `motion${(axis + 1) % k + 1}`); return way ? way.place[0][axis] : 0; }); }

function landscapeChart(landscape) {
  const [edges] = landscape.edges, number = landscape.motions[0], there = landscape.energy.filter(e => e !== null);
  const chart = new Chart({ x: [edges[0], edges.at(-1)], y: [0, Math.min(10, Math.max(2, ...there)) + 0.3], xLabel: `motion ${number} (Å)`, yLabel: "free energy (kT)" });
  const top = chart.y[1], cut = v => Math.min(v, top);
  const points = landscape.energy.map((e, i) => [0.5 * (edges[i] + edges[i + 1]), e === null || e > top ? null : e]);
  chart.band(points.map(([x, e], i) => e === null ? [x, null, null] : [x, Math.max(0, e - landscape.error[i]), cut(e + landscape.error[i])]), BLUE).line(points, BLUE);
  chart.onClick(value => { const place = meanPlace(); place[number - 1] = value; goTo(place, `motion ${number}: ${value.toFixed(1)} Å`); });
  return part(`Along motion ${number}`, chart.svg);
}

function landscapeHeat(landscape) {
  const [ex, ey] = landscape.edges, [nx, ny] = landscape.shape;
  const chart = new Chart({ x: [ex[0], ex.at(-1)], y: [ey[0], ey.at(-1)], xLabel: "motion 1 (Å)", yLabel: "motion 2 (Å)", height: 300 });
  const top = Math.min(8, Math.max(1, ...landscape.energy.filter(e => e !== null)));
  for (let i = 0; i < nx; i++) for (let j = 0; j < ny; j++) {
    const e = landscape.energy[i * ny + j];
    if (e === null) continue;
    const cell = svg("rect", { x: chart.px(ex[i]), width: chart.px(ex[i + 1]) - chart.px(ex[i]) + 0.4, y: chart.py(ey[j + 1]), height: chart.py(ey[j]) - chart.py(ey[j + 1]) + 0.4, fill: ramp(1 - e / top), class: "clickable" });
    cell.append(svg("title", {}, `${e.toFixed(2)} ± ${landscape.error[i * ny + j].toFixed(2)} kT`));
    const place = meanPlace();
    place[0] = 0.5 * (ex[i] + ex[i + 1]); place[1] = 0.5 * (ey[j] + ey[j + 1]);
    cell.addEventListener("click", () => goTo(place, `motion 1: ${place[0].toFixed(1)} Å,  motion 2: ${place[1].toFixed(1)} Å   ·   ${e.toFixed(1)} ± ${landscape.error[i * ny + j].toFixed(1)} kT`));
    chart.svg.append(cell);
  }
  DATA.basins.forEach((basin, i) => {
    if (basin.place.length !== 2 || DATA.basins.length < 2) return;
    const text = label(chart.px(basin.place[0]), chart.py(basin.place[1]) + 5, `${i + 1}`, "middle");
    text.setAttribute("style", `fill:${INK};font-weight:700;font-size:15px;paint-order:stroke;stroke:${PAPER};stroke-width:3px`);
    chart.svg.append(text);
  });
  const strip = html("span", { class: "ramp" });
  strip.style.background = `linear-gradient(90deg, ${[1, 0.75, 0.5, 0.25, 0].map(ramp).join(",")})`;
  return part("Over motions 1 and 2", chart.svg, html("p", { class: "legend" }, html("span", {}, "0", strip, `${top.toFixed(0)} kT and more`)));
}

function residueSection() {
  const { chain, number, group, columns } = DATA.residues, n = chain.length;
  const lines = [["rmsf", `r.m.s. fluctuation${DATA.groups.length > 1 ? `, ${DATA.groups[DATA.still].selection} held still` : ""}`, BLUE], ["half_set_error", "between half-sets", RED], ["posterior_error", "error of one particle", GREEN]].filter(([name]) => columns[name] && columns[name].some(v => v));
  const starts = chain.map((name, i) => i === 0 || name !== chain[i - 1] ? i : -1).filter(i => i >= 0);
  const width = 1120, axis = { x: [0, n], xTicks: residueTicks(chain, number, n), width, left: 46 };
  const figure = html("div", { class: "wide sequence" });
  figure.append(segmentMap(starts, width));
  const high = Math.max(0.1, ...lines.flatMap(([name]) => columns[name].filter(v => v !== null)));
  const chart = new Chart({ ...axis, y: [0, 1.06 * high], xLabel: "residue", yLabel: "Å", height: 220 });
  for (const start of starts.slice(1)) chart.svg.append(svg("line", { x1: chart.px(start), x2: chart.px(start), y1: chart.top, y2: chart.height - chart.bottom, stroke: "#9aa7b1" }));
  for (const [name, , colour] of lines) chart.line(perChain(columns[name], starts, n), colour, 1.5);
  figure.append(chart.svg, key(lines.map(([, text, colour]) => [text, colour])));
  const support = DATA.residues.support || {}, names = Object.keys(support).slice(0, 3);
  if (names.length) {
    const values = names.flatMap(name => support[name].filter(v => v !== null));
    const low = Math.min(0, ...values), top = Math.max(...values);
    const second = new Chart({ ...axis, y: [low, top + 0.05 * (top - low || 1)], xLabel: "residue", yLabel: "support", height: 200 });
    names.forEach((name, i) => second.line(perChain(support[name], starts, n), [BLUE, RED, GREEN][i], 1.5));
    figure.append(html("h3", {}, "What the images say of the base model, residue by residue (support.csv)"), second.svg, key(names.map((name, i) => [name.replaceAll("_", " "), [BLUE, RED, GREEN][i]])));
  }
  const says = k ? "Residues of one colour move as one; ticks are the borders of the segments that the fit moved. Fluctuations are about the mean, conformations superposed on the stillest part; errors are in the frame of the poses." : "Nothing moves: all residues are one part. What is left is how far the half-sets' structures are apart.";
  const turns = DATA.turns.length ? part("Turns", table(["part", "against", "s.d. (°)", "5 to 95 % (°)", "slide (Å)", "hinge"], DATA.turns.map(t => [
    { swatch: groupColour(DATA.groups.findIndex(g => g.selection === t.moving), "groups"), text: t.moving }, { names: t.fixed }, { number: t.sd.toFixed(1) },
    { number: `${t.range[0].toFixed(0)} to ${t.range[1].toFixed(0)}` }, { number: t.slide.toFixed(1) }, { names: t.hinge.slice(0, 6).join(", ") || "–" }]))) : null;
  const together = k && DATA.segments.length > 1 ? part("Which segments move together", correlationMap()) : null;
  block("Along the sequence", says, figure, turns, together);
}

function residueTicks(chain, number, n) {
  const step = Math.max(1, Math.ceil(n / 12 / 10) * 10), found = [];
  let last = -Infinity;
  for (let i = 0; i < n; i++) {
    const first = i === 0 || chain[i] !== chain[i - 1];
    if ((first || parseInt(number[i]) % (step >= 100 ? 100 : step >= 50 ? 50 : 20) === 0) && i - last > n / 16) { found.push([i, `${chain[i] ? `${chain[i]}:` : ""}${number[i]}`]); last = i; }
  }
  return found;
}

function perChain(values, starts, n) {
  const breaks = new Set(starts);
  return values.flatMap((value, i) => breaks.has(i) && i ? [[i, null], [i + 0.5, value]] : [[i + 0.5, value]]);
}

function segmentMap(starts, width) {
  const { chain, group, segment } = DATA.residues, n = chain.length, left = 46, right = width - 12, px = i => left + i / n * (right - left);
  const picture = svg("svg", { viewBox: `0 0 ${width} 46`, role: "img", "aria-label": "segments along the sequence" });
  starts.forEach(start => { const end = starts.find(s => s > start) ?? n; if (px(end) - px(start) > 40) picture.append(label(0.5 * (px(start) + px(end)), 11, chain[start] ? `chain ${chain[start]}` : "", "middle")); });
  for (let i = 0, from = 0; i <= n; i++) {
    if (i < n && (i === from || (chain[i] === chain[from] && group[i] === group[from]))) continue;
    const bar = svg("rect", { x: px(from), y: 18, width: Math.max(0.5, px(i) - px(from) - 0.6), height: 18, fill: groupColour(group[from], "groups"), rx: 2 });
    const g = DATA.groups[group[from]];
    bar.append(svg("title", {}, g ? `part ${g.number}: ${g.selection}` : "one part"));
    picture.append(bar);
    from = i;
  }
  for (let i = 1; i < n; i++) if (chain[i] === chain[i - 1] && segment[i] !== segment[i - 1]) picture.append(svg("line", { x1: px(i), x2: px(i), y1: 36, y2: 42, stroke: SOFT }));
  for (const start of starts.slice(1)) picture.append(svg("line", { x1: px(start), x2: px(start), y1: 15, y2: 42, stroke: INK }));
  return picture;
}

// segments of one group stand beside each other, groups in the order of their first residue
function segmentsByGroup() {
  const group = DATA.segments.map((_, segment) => DATA.residues.group[DATA.residues.segment.indexOf(segment)] ?? Infinity);
  return DATA.segments.map((_, segment) => segment).sort((a, b) => group[a] - group[b] || a - b);
}

function correlationMap() {
  const order = segmentsByGroup(), m = order.map(i => order.map(j => DATA.correlation[i][j])), names = order.map(i => DATA.segments[i]), n = m.length, size = Math.min(26, 420 / n), left = Math.min(230, 16 + 6.6 * Math.max(...names.map(s => Math.min(s.length, 30))));
  const picture = svg("svg", { viewBox: `0 0 ${left + n * size + 20} ${n * size + 30}`, role: "img", "aria-label": "correlation of the segments' motions" });
  picture.style.maxWidth = `${left + n * size + 20}px`;
  m.forEach((row, i) => {
    if (size > 9) picture.append(label(left - 6, (i + 0.5) * size + 4, `${names[i].length > 30 ? `${names[i].slice(0, 29)}…` : names[i]}`, "end"));
    row.forEach((value, j) => {
      // blue together, orange against each other, white apart
      const strength = Math.abs(value), end = value > 0 ? [0, 114, 178] : [213, 94, 0];
      const cell = svg("rect", { x: left + j * size, y: i * size, width: size - 0.7, height: size - 0.7, fill: `rgb(${end.map(c => Math.round(255 + (c - 255) * strength)).join(",")})` });
      cell.append(svg("title", {}, `${names[i]} and ${names[j]}: ${value.toFixed(2)}`));
      picture.append(cell);
    });
  });
  const strip = html("span", { class: "ramp" });
  strip.style.background = "linear-gradient(90deg, #d55e00, #fff, #0072b2)";
  return html("div", {}, picture, html("p", { class: "legend" }, html("span", {}, "−1, against each other", strip, "1, together")));
}

function compositionSection() {
  const found = DATA.composition;
  if (!found) return;
  const rows = found.segments.map(s => [s.selection, { number: `${s.mean_occupancy.toFixed(2)} ± ${s.mean_error.toFixed(2)}` }, s.set ? `set ${s.set}` : "–", { number: `${(100 * s.absent_fraction).toFixed(1)} ± ${(100 * s.absent_fraction_error).toFixed(1)} %` }]);
  block("What is absent, and from how many particles", "Occupancies are means over the particles; segments of one set are absent together, and which particles lack them is in particles.csv.", table(["segment", "mean occupancy", "set", "absent from"], rows));
}

function measureSection() {
  if (!DATA.measures.length) return;
  const charts = DATA.measures.map(measure => {
    const values = DATA.particles.columns[measure.column] ? map.column(measure.column) : null, unit = measure.unit === "A" ? "Å" : "°";
    const says = `${measure.of}: ${measure.mean.toFixed(1)} ${unit}, s.d. ${measure.sd.toFixed(1)}, median error ${measure.error.toFixed(1)}`;
    return part(`${measure.kind[0].toUpperCase()}${measure.kind.slice(1)} ${measure.column.replace(/\D/g, "")}`, html("p", { class: "empty" }, says), values ? histogram(values, `${measure.kind} (${unit})`) : "");
  });
  block("Distances and angles", "Of every particle's structure; single values with errors are in analysis/particles.csv.", pair(...charts));
}

function histogram(values, xLabel) {
  let low = Infinity, high = -Infinity;
  for (const v of values) { low = Math.min(low, v); high = Math.max(high, v); }
  const count = 40, width = (high - low) / count || 1, bins = new Array(count).fill(0);
  for (const v of values) bins[Math.min(count - 1, Math.floor((v - low) / width))]++;
  const chart = new Chart({ x: [low, high], y: [0, 1.05 * Math.max(...bins)], xLabel, yLabel: "particles" });
  return chart.bars(bins.map((y, i) => ({ x: low + i * width, width, y, title: `${y} particles` })), BLUE).svg;
}

function fitSection() {
  const h = DATA.history, names = Object.keys(h);
  const values = (DATA.particles.columns.outlier_score ? map.column("outlier_score") : []), charts = [];
  const step = h.step ? "step" : "epoch";
  if (names.length && h[step]) {
    const halves = [...new Set(h.half || [0])].sort(), rows = half => h[step].map((s, i) => i).filter(i => !h.half || h.half[i] === half);
    const colours = [INK, BLUE, ORANGE], says = half => half ? `half-set ${half}` : "all particles";
    const plot = (column, yLabel) => {
      const there = h[column].filter(v => v !== null);
      if (!there.length) return null;
      const low = Math.min(0, ...there), high = Math.max(...there);
      const chart = new Chart({ x: [Math.min(...h[step]), Math.max(...h[step])], y: [low, high + 0.05 * (high - low || 1)], xLabel: step === "step" ? "pass" : step, yLabel });
      halves.forEach((half, i) => chart.line(rows(half).map(r => [h[step][r], h[column][r]]), colours[half] || COLOURS[i]));
      return html("div", {}, chart.svg, halves.length > 1 ? key(halves.map((half, i) => [says(half), colours[half] || COLOURS[i]])) : "");
    };
    if (h.evidence) charts.push(part("Gain over no motion, a particle", plot("evidence", "log-likelihood")));
    if (h.loss) charts.push(part("Loss", plot("loss", "loss")));
    if (h.variance1 && h.variance1.some(v => v)) {
      const roots = h.variance1.map(v => v === null ? null : Math.sqrt(v));
      h.largest = roots;
      charts.push(part("Widest direction of the latents", plot("largest", "s.d. (Å)")));
    }
  }
  if (values.length) {
    const inside = Float64Array.from(values, v => Math.max(-6, Math.min(12, v)));
    charts.push(part("Outlier scores of the particles", histogram(inside, "outlier score (junk stands out on the right)")));
  }
  block("How the fit went", `Half-sets are fitted apart, then all particles together. Resolution went ${h.resolution ? `from ${h.resolution[0].toFixed(0)} to ${Math.min(...h.resolution.filter(r => r)).toFixed(1)} Å` : "to its end"}.`, pair(...charts));
}

function geometrySection() {
  if (!DATA.geometry) return;
  const shown = value => ({ number: value === null || value === undefined ? "–" : `${+value.toPrecision(4)}` });
  block("Geometry", `Of ${DATA.geometry.structures.toLocaleString("en")} structures beside the base model.`,
    table(["", "base", "median", "worst"], DATA.geometry.rows.map(([says, ...values]) => [{ names: says }, ...values.map(shown)])));
}

// ---- all of it -----------------------------------------------------------------------------------------------------------------

function head() {
  by("name").textContent = DATA.name;
  by("facts").replaceChildren(...Object.entries(DATA.facts).slice(0, 5).flatMap(([name, value], i) => [i ? "  ·  " : "", html("b", {}, value), ` ${name}`]));
  // names of residues are not broken over lines
  by("verdict").append(...DATA.verdict.split(/(\S*:\d[^\s,.]*)/).map((text, i) => i % 2 && text.length < 30 ? html("span", { class: "whole" }, text) : text));
  if (DATA.cautions.length) by("cautions").append(html("h2", {}, "Bear in mind"), html("ul", {}, ...DATA.cautions.map(text => html("li", {}, text))));
  by("made").append(`Made by atomdrgn ${DATA.made.version} from ${DATA.made.structure}: `, html("code", {}, DATA.made.command));
}

function controls() {
  const way = by("way"), colour = by("colour");
  moves.forEach((each, i) => way.append(html("option", { value: i }, titleOf(each))));
  if (!moves.length) { for (const id of ["play", "way", "step"]) by(id).hidden = true; }
  way.addEventListener("change", () => { player.way = moves[way.value]; player.time = 0; haunt(); strip(); if (calm) showTime(); else play(); });
  by("step").addEventListener("input", event => { pause(); player.time = event.target.value / 1000; showTime(); });
  by("play").addEventListener("click", () => player.playing ? pause() : play());
  if (DATA.residual) {
    by("besides").hidden = stage instanceof EmptyStage;
    by("lacks").textContent = `Grey surface: ${DATA.residual.said}`;
    by("surround").addEventListener("change", event => stage.surround(DATA.residual, event.target.checked));
    stage.surround(DATA.residual, true);
  }
  by("home").addEventListener("click", () => stage.home());
  by("picture").addEventListener("click", () => stage.picture(name => `${DATA.name}_${name}.png`));
  by("film").hidden ||= !moves.length || !window.MediaRecorder;
  by("film").addEventListener("click", async () => {
    pause();
    by("film").disabled = true;
    player.filmed = await film(stage.canvas(), time => { player.time = time; showTime(); }, `${DATA.name}_${player.way.name}`, { paper: PAPER });
    by("film").disabled = false;
  });
  besides();
  nameResidues(by("viewer"), comparison);
  // the space bar plays and pauses, wherever nothing else takes it
  document.addEventListener("keydown", event => {
    if (event.key !== " " || event.target !== document.body || !player.way) return;
    event.preventDefault();
    player.playing ? pause() : play();
  });
  const modes = Object.keys(SHADES).filter(mode => mode === "groups" ? DATA.groups.length : mode === "segment" || mode === "apart" || (DATA.residues.columns[mode] || []).some(v => v));
  if (!k) modes.sort((a, b) => (b === "half_set_error") - (a === "half_set_error"));
  for (const mode of modes) colour.append(html("option", { value: mode }, SHADES[mode]));
  colour.addEventListener("change", () => paint(colour.value));
  return modes[0];
}

function start() {
  head();
  const mode = controls();
  const columns = DATA.particles.columns, first = ["motion1", "log_likelihood_gain"].find(name => columns[name]);
  // with one motion: how many particles are where along it
  if (first) map = new ParticleMap(by("map"), DATA.particles, { names: nameOf, x: first, y: columns.motion2 ? "motion2" : "", colour: columns.state ? "state" : "", run: DATA.name, onPick: showParticle });
  player.way = moves[0] || null;
  stage.show((player.way || DATA.traversals[0]).place[0]);
  if (k) { stage.axes(); haunt(); }
  stage.home();
  paint(mode);
  motionSection(); landscapeSection(); residueSection(); compositionSection();
  if (map) { measureSection(); fitSection(); }
  geometrySection();
  strip();
  if (player.way && !calm) play();
  else if (player.way) { pause(); showTime(); }
  else by("now").textContent = "The structure that all particles share.";
}

start();
window.atomdrgn = { data: DATA, decoder, stage, player, comparison, get map() { return map; } };
