// Small charts as SVG.
"use strict";

const styled = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const INK = styled("ink"), SOFT = styled("soft"), LINE = styled("line"), PAPER = styled("paper"), FAINT = "#9aa7b1", BLUE = "#0072B2", ORANGE = "#E69F00", GREEN = "#009E73", RED = "#D55E00", PINK = "#CC79A7";

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) key === "text" ? element.textContent = value : element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// round numbers between two ends
function ticks(low, high, count = 5) {
  const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(f => f * power).find(s => s >= rough * 0.999);
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * step; value += step) found.push(Math.abs(value) < 1e-9 * step ? 0 : value);
  return found;
}

const written = value => Math.abs(value) >= 1e5 ? value.toExponential(0) : `${+value.toPrecision(5)}`;

class Chart {
  constructor({ x, y, xLabel, yLabel, width = 420, height = 220, xTicks, left = 52, bottom = 40 }) {
    Object.assign(this, { x, y, width, height, left, right: 12, top: 14, bottom });
    this.svg = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${yLabel} over ${xLabel}` });
    this.svg.style.maxWidth = `${1.25 * width}px`;
    for (const value of ticks(...y, 4)) {
      this.svg.append(svg("line", { x1: left, x2: width - this.right, y1: this.py(value), y2: this.py(value), stroke: LINE }),
                      label(left - 7, this.py(value) + 4, written(value), "end"));
    }
    for (const [value, text] of xTicks || ticks(...x, 7).map(v => [v, written(v)])) this.svg.append(label(this.px(value), height - bottom + 17, text, "middle"));
    this.svg.append(svg("line", { x1: left, x2: width - this.right, y1: height - bottom, y2: height - bottom, stroke: FAINT }));
    this.svg.append(label(0.5 * (left + width - this.right), height - 5, xLabel, "middle"));
    const side = label(0, 0, yLabel, "middle");
    side.setAttribute("transform", `translate(12 ${0.5 * (this.top + height - bottom)}) rotate(-90)`);
    this.svg.append(side);
  }

  px(value) { return this.left + (value - this.x[0]) / (this.x[1] - this.x[0] || 1) * (this.width - this.left - this.right); }
  py(value) { return this.height - this.bottom - (value - this.y[0]) / (this.y[1] - this.y[0] || 1) * (this.height - this.top - this.bottom); }

  // points [x, y]; a y that is null breaks the line
  line(points, colour, width = 1.8, dash = "") {
    let path = "", open = false;
    for (const [x, y] of points) {
      if (y === null || !Number.isFinite(y)) { open = false; continue; }
      path += `${open ? "L" : "M"}${this.px(x).toFixed(1)} ${this.py(y).toFixed(1)}`;
      open = true;
    }
    this.svg.append(svg("path", { d: path, fill: "none", stroke: colour, "stroke-width": width, "stroke-linejoin": "round", "stroke-dasharray": dash }));
    return this;
  }

  // between [x, low] and [x, high]; broken where one of them is null
  band(rows, colour, opacity = 0.22) {
    let run = [];
    const flush = () => {
      if (run.length > 1) {
        const there = run.map(([x, , high]) => `${this.px(x).toFixed(1)},${this.py(high).toFixed(1)}`);
        const back = run.slice().reverse().map(([x, low]) => `${this.px(x).toFixed(1)},${this.py(low).toFixed(1)}`);
        this.svg.append(svg("polygon", { points: [...there, ...back].join(" "), fill: colour, opacity }));
      }
      run = [];
    };
    for (const row of rows) row[1] === null ? flush() : run.push(row);
    flush();
    return this;
  }

  bars(rows, colour) {
    for (const { x, width, y, title, click } of rows) {
      const bar = svg("rect", { x: this.px(x), width: Math.max(0.5, this.px(x + width) - this.px(x) - 1), y: this.py(y), height: this.py(this.y[0]) - this.py(y), fill: colour });
      bar.append(svg("title", {}, title));
      if (click) { bar.classList.add("clickable"); bar.addEventListener("click", click); }
      this.svg.append(bar);
    }
    return this;
  }

  mark(x, text) {
    this.svg.append(svg("line", { x1: this.px(x), x2: this.px(x), y1: this.top, y2: this.height - this.bottom, stroke: SOFT, "stroke-dasharray": "3 3" }), label(this.px(x), this.top - 3, text, "middle"));
    return this;
  }

  onClick(act) {
    const area = svg("rect", { x: this.left, y: this.top, width: this.width - this.left - this.right, height: this.height - this.top - this.bottom, fill: "transparent", class: "clickable" });
    area.addEventListener("click", event => {
      const box = this.svg.getBoundingClientRect(), scale = this.width / box.width;
      const x = (event.clientX - box.left) * scale;
      act(this.x[0] + (x - this.left) / (this.width - this.left - this.right) * (this.x[1] - this.x[0]));
    });
    this.svg.append(area);
    return this;
  }
}

function download(blob, name) {
  const link = html("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// a chart by itself: what the style sheet of the page says of its texts stands in it
function svgText(chart) {
  const copy = chart.cloneNode(true), [, , width, height] = chart.getAttribute("viewBox").split(" ");
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg"); copy.setAttribute("width", width); copy.setAttribute("height", height);
  copy.prepend(svg("style", {}, `text { font: 12px Arial, sans-serif; fill: ${SOFT} } .title { fill: ${INK}; font-weight: 600 }`), svg("rect", { width: "100%", height: "100%", fill: PAPER }));
  return new XMLSerializer().serializeToString(copy);
}

const PICTURE_SCALE = 3;      // pixels of a PNG to one of the page

function svgToPng(chart, name) {
  const image = new Image(), [, , width, height] = chart.getAttribute("viewBox").split(" ");
  image.addEventListener("load", () => {
    const canvas = html("canvas", { width: PICTURE_SCALE * width, height: PICTURE_SCALE * height });
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob(blob => download(blob, `${name}.png`));
  });
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText(chart))}`;
}

// buttons that save what `picture` gives: an SVG chart as SVG or PNG, a canvas as PNG on the colour of the page
function savers(name, picture) {
  const button = (text, act) => { const made = html("button", { type: "button", class: "quiet save" }, text); made.addEventListener("click", act); return made; };
  const png = button("PNG", () => {
    const drawn = picture();
    if (!(drawn instanceof HTMLCanvasElement)) { svgToPng(drawn, name); return; }
    const canvas = html("canvas", { width: drawn.width, height: drawn.height }), context = canvas.getContext("2d");
    context.fillStyle = PAPER; context.fillRect(0, 0, canvas.width, canvas.height); context.drawImage(drawn, 0, 0);
    canvas.toBlob(blob => download(blob, `${name}.png`));
  });
  const bar = html("span", { class: "savers" }, png);
  if (!(picture() instanceof HTMLCanvasElement)) bar.prepend(button("SVG", () => download(new Blob([svgText(picture())], { type: "image/svg+xml" }), `${name}.svg`)));
  return bar;
}

function label(x, y, text, anchor = "start") { return svg("text", { x, y, "text-anchor": anchor }, text); }

function key(entries) {
  const line = html("div", { class: "key" });
  for (const [text, colour] of entries) {
    const swatch = html("i");
    swatch.style.background = colour;
    line.append(html("span", {}, swatch, text));
  }
  return line;
}

// rows of cells: text, or {number: "1.2"}, or {names: "A:1-5"}, or {swatch: colour, text}
function table(head, rows) {
  const cell = (name, content) => {
    if (content === null || typeof content !== "object") return html(name, {}, `${content ?? ""}`);
    if (content.number !== undefined) return html(name, { class: "number" }, content.number);
    if (content.names !== undefined) return html(name, { class: "names" }, html("span", {}, content.names));
    const swatch = html("i");
    swatch.style.background = content.swatch;
    return html(name, { class: "names" }, html("span", {}, swatch, content.text));
  };
  const body = html("table", {}, html("thead", {}, html("tr", {}, ...head.map(c => cell("th", c)))), html("tbody", {}, ...rows.map(row => html("tr", {}, ...row.map(c => cell("td", c))))));
  return html("div", { class: "wide" }, body);
}

// cividis (Nunez et al. 2018) by a few of its colours: the same lightness to every eye
const RAMP = ["#00224e", "#2a3f6d", "#575d6d", "#7d7c78", "#a59c74", "#d2c060", "#fee838"].map(c => [1, 3, 5].map(i => parseInt(c.slice(i, i + 2), 16)));
function ramp(t) {
  const at = Math.max(0, Math.min(1, t)) * (RAMP.length - 1), i = Math.min(RAMP.length - 2, Math.floor(at));
  const mixed = RAMP[i].map((value, c) => Math.round(value + (RAMP[i + 1][c] - value) * (at - i)));
  return `#${mixed.map(value => value.toString(16).padStart(2, "0")).join("")}`;
}
const RAMP_CSS = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(ramp).join(",")})`;
