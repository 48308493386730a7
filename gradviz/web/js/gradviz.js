// A computational graph, alive: step through both passes, ask any value, change any leaf.
//
// One plain module for the self-contained page and the Jupyter widget, by anywidget's contract.
// In a notebook the model's other half is Python; in a page alone.js stands in for it.
//
// Labels come from users' code: they only ever become text nodes and attribute values. What is
// parsed as markup is the picture alone, whose labels Python has escaped.

const SVG = "http://www.w3.org/2000/svg";
const MATHML = "http://www.w3.org/1998/Math/MathML";
const SHOWN_PATHS = 8;
const NUDGE = 20, PATIENCE = 5000; // ms until a kernel that does not answer is reminded, said to be gone
const SETTLE = 200; // ms without a request until Python is told that the view has settled
const PACE = 1300; // ms between steps while playing

// --- elements ---

const isThere = (x) => (x ?? false) !== false;
// Notebook 7 sees keys before any listener here does, and asks what has the focus to let them be.
const OURS = { "data-lm-suppress-shortcuts": "true" };
const FOCUSED = new Set(["button", "input", "select", "summary", "textarea"]);
function element(namespace, tag, attributes, children) {
  const made = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  if (FOCUSED.has(tag)) set(made, OURS);
  set(made, attributes);
  made.append(...children.flat(Infinity).filter(isThere));
  return made;
}
/** Give an element other children; what is the same stays, with its layout and its focus. */
function fill(target, ...children) {
  const next = [...html("div", {}, children).childNodes], old = [...target.childNodes];
  if (next.length !== old.length) return target.replaceChildren(...next);
  old.forEach((child, i) => {
    if (child.isEqualNode(next[i])) return;
    // A button that says something else does something else.
    const alike = child.nodeName !== "BUTTON" && child.cloneNode().isEqualNode(next[i].cloneNode());
    if (alike) fill(child, ...next[i].childNodes);
    else child.replaceWith(next[i]);
  });
}
function set(target, attributes) {
  for (const [name, value] of Object.entries(attributes).filter(([, value]) => isThere(value))) {
    if (name.startsWith("on")) target.addEventListener(name.slice(2), value);
    else target.setAttribute(name, value === true ? "" : value);
  }
}
const html = (tag, attributes, ...children) => element("", tag, attributes, children);
const svg = (tag, attributes, ...children) => element(SVG, tag, attributes, children);

const hint = (...children) => html("p", { class: "hint" }, children);
const button = (label, title, onclick, more = {}) =>
  html("button", { type: "button", title, "aria-label": title, onclick, ...more }, label);

// --- numbers ---

// What JSON lacks (NaN, infinities) travels as text; an array travels as what is shown of it.
const isNumber = (q) => typeof q === "number" || typeof q === "string";
const finite = Number.isFinite;
const scalar = (q) =>
  typeof q === "string" ? Number(q.replace("inf", "Infinity")) : typeof q === "number" ? q : NaN;

/** As Python's format(x, ".5g"): [mantissa, exponent or ""]. */
function digitsOf(x, digits) {
  if (isNaN(x)) return ["nan", ""];
  if (!finite(x)) return [x > 0 ? "inf" : "-inf", ""];
  const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);
  const [mantissa, exponent] = x.toExponential(digits - 1).split("e");
  if (x === 0) return [Object.is(x, -0) ? "-0" : "0", ""];
  if (exponent >= -4 && exponent < digits) return [trim(x.toPrecision(digits)), ""];
  return [trim(mantissa), String(Number(exponent))];
}
const toggled = (list, x) => (list.includes(x) ? list.filter((y) => y !== x) : [...list, x]);
const minus = (text) => text.replaceAll("-", "−");
const raised = (text) => [...text].map((c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c])).join("");
function short(x, digits = 5) {
  const [mantissa, exponent] = digitsOf(x, digits);
  return minus(mantissa) + (exponent && `×10${raised(exponent)}`);
}
/** All cells that a card shows of a quantity. */
const cells = (q) => (q === null ? [""] : isNumber(q) ? [short(scalar(q))] : q.cells.map(minus));
const full = (q) =>
  q === null ? "" : isNumber(q) ? minus(String(scalar(q))) : minus(q.full);
const norm = (q) => (q === null ? 0 : isNumber(q) ? Math.abs(scalar(q)) : scalar(q.norm));

// --- formulas: nested lists -> MathML, LaTeX ---

const MATH = new Set(
  "math mrow mi mn mo mtext mfrac msup msub msubsup msqrt mroot mover munder".split(" "),
);

function mathml(tree) {
  if (typeof tree === "string") return document.createTextNode(tree);
  const [tag, ...children] = tree;
  if (!MATH.has(tag)) throw new Error(`no MathML element: ${tag}`);
  return element(MATHML, tag, { form: tag === "mo" && "+=".includes(children[0]) && "infix" }, children.map(mathml));
}
const formula = (tree, display = "inline") => element(MATHML, "math", { display }, [mathml(tree)]);
const lines = (trees) => trees.map((tree) => formula(tree, "block"));

const row = (...parts) => ["mrow", ...parts];
const op = (text) => ["mo", text];
const fraction = (a, b) => ["mfrac", row(op("∂"), a), row(op("∂"), b)];
const lowered = (n) => [...String(n)].map((c) => "₀₁₂₃₄₅₆₇₈₉"[c]).join("");
const fenced = (tree) => row(op("("), tree, op(")"));
function joined(parts, operator) {
  return row(...parts.flatMap((part, i) => (i ? [op(operator), part] : [part])));
}
/** What nobody would read to its end, cut in the middle. */
const few = (items, gap) => (items.length > 12 ? [...items.slice(0, 5), gap, ...items.slice(-5)] : items);
/** A number; where a factor is negative it stands in parentheses. */
function numeral(x, factor = false) {
  const [mantissa, exponent] = digitsOf(x, 6);
  const plain = ["mn", mantissa.replace("-", "").replace("inf", "∞")];
  const size = exponent
    ? row(plain, op("×"), ["msup", ["mn", "10"], ["mn", minus(exponent)]])
    : plain;
  const whole = mantissa.startsWith("-") ? row(op("−"), size) : size;
  return factor && mantissa.startsWith("-") ? fenced(whole) : whole;
}
const amount = (q, factor = false) =>
  isNumber(q) ? numeral(scalar(q), factor) : ["mtext", cells(q).join(" … ")];

const escapeTex = (text) =>
  text.replace(/[\\{}$&#%_^~]/g, (c) =>
    ({ "\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}" })[c] ?? `\\${c}`);

/** The same formula for a paper; `tex` has the commands of symbols. */
function latex({ localName: tag, textContent: text, children }, tex) {
  if (tag === "mtext") return `\\text{${escapeTex(text)}}`;
  if (tag === "mi" || tag === "mn" || tag === "mo") {
    if (text in tex) return `\\${tex[text]} `;
    if (text === "−") return "-";
    if (text === "=") return "\0="; // where lines may be aligned
    return tag === "mi" && text.length > 1 ? `\\mathit{${escapeTex(text)}}` : escapeTex(text);
  }
  const parts = [...children].map((child) => latex(child, tex)), [a, b, c] = parts;
  switch (tag) {
    case "mfrac": return `\\frac{${a}}{${b}}`;
    case "msup": return `{${a}}^{${b}}`;
    case "msub": return `${a}_{${b}}`;
    case "msubsup": return `${a}_{${b}}^{${c}}`;
    case "msqrt": return `\\sqrt{${parts.join("")}}`;
    case "mover": return `\\bar{${a}}`;
    case "munder": return children[1].textContent === "⏟" ? `\\underbrace{${a}}` : `${a}_{${b}}`;
    default: return parts.join("");
  }
}

// --- the chain rule on the graph ---

/** What follows from the structure alone: who reads whom, paths, the ledger of reuse. */
class Chain {
  constructor(story) {
    this.story = story;
    this.out = story.nodes.map(() => []); // edges by which a gradient can come back
    const reached = new Set([story.output]);
    for (let v = story.output; v >= 0; v--) {
      story.edges.forEach((edge, e) => {
        if (edge.v !== v || !reached.has(v) || !(edge.derivative || edge.vjp)) return;
        reached.add(edge.u);
        this.out[edge.u].push(e);
      });
    }
    this.into = story.nodes.map(() => []);
    story.edges.forEach((edge, e) => this.into[edge.v].push(e));
  }

  needs(target) {
    const found = new Set(), pending = [target];
    while (pending.length) {
      for (const e of this.out[pending.pop()]) {
        const { v } = this.story.edges[e];
        if (!found.has(v)) { found.add(v); pending.push(v); }
      }
    }
    return found;
  }

  /** Exact numbers of paths, and the total length of all of them. */
  get counts() {
    if (this.counted) return this.counted;
    const { output, nodes, edges } = this.story;
    const paths = nodes.map(() => 0n), lengths = nodes.map(() => 0n);
    paths[output] = 1n;
    for (let u = output - 1; u >= 0; u--) {
      for (const e of this.out[u]) {
        paths[u] += paths[edges[e].v];
        lengths[u] += lengths[edges[e].v] + paths[edges[e].v];
      }
    }
    return (this.counted = { paths, lengths });
  }

  /** The `k` paths that contribute most. Products of sizes: the best of the best are the best. */
  paths(target, locals, k = SHOWN_PATHS) {
    const best = new Map([[this.story.output, [{ value: 1, size: 1, edge: -1, next: null }]]]);
    const needed = this.needs(target);
    for (let u = this.story.output - 1; u >= target; u--) {
      if (u !== target && !needed.has(u)) continue;
      const found = [];
      for (const e of this.out[u]) {
        const local = scalar(locals[e]), size = isNaN(local) ? 1 : Math.abs(local);
        for (const next of best.get(this.story.edges[e].v) ?? []) {
          found.push({ value: next.value * local, size: next.size * size, edge: e, next });
        }
      }
      best.set(u, found.sort((a, b) => b.size - a.size).slice(0, k));
    }
    return (target === this.story.output ? [] : best.get(target) ?? []).map((path) => {
      const edges = [];
      for (let at = path; at.next; at = at.next) edges.push(at.edge);
      return { value: path.value, edges };
    });
  }

  /** Who computes which upstream term, and who reads it again. */
  ledger(targets) {
    const cached = new Set(), evaluated = new Set(), again = new Set(), reads = new Map(), rows = [];
    for (const target of targets) {
      const needed = this.needs(target);
      const computed = [...needed].filter((v) => !cached.has(v));
      const reused = [...needed].filter((v) => cached.has(v));
      const working = cached.has(target) ? computed : [...computed, target];
      const edges = working.flatMap((u) => this.out[u]).filter((e) => !evaluated.has(e));
      const read = new Set(cached.has(target) ? [target] : []);
      for (const e of edges) {
        const { v } = this.story.edges[e];
        reads.set(v, [...(reads.get(v) ?? []), e]);
        evaluated.add(e);
        if (cached.has(v) && needed.has(v)) read.add(v);
      }
      read.forEach((v) => again.add(v));
      const down = (ids) => [...ids].sort((a, b) => b - a);
      rows.push({ target, computed: down(computed), reused: down(reused), read: down(read),
        vjps: edges.length, without: this.counts.lengths[target] });
      needed.forEach((v) => cached.add(v));
      cached.add(target);
    }
    return { rows, reads, cached: again };
  }

  /** How many messages a gradient is the sum of. */
  terms(i) {
    this.sums ??= this.story.steps.reduce((sums, [kind, e]) => {
      if (kind === "message") sums[this.story.edges[e].u]++;
      return sums;
    }, this.story.nodes.map(() => 0));
    return this.sums[i];
  }

  /** All that has happened up to a step. */
  until(step, messages) {
    const { steps, nodes, edges } = this.story;
    const values = new Set(nodes.flatMap((node, i) => (node.expression ? [] : [i])));
    const reads = new Map(), sums = new Map(), seeded = new Set();
    for (const [kind, what] of steps.slice(0, step + 1)) {
      if (kind === "value") values.add(what);
      if (kind === "seed") { sums.set(what, { total: 1, terms: 0 }); seeded.add(what); }
      if (kind === "message") {
        const { u, v } = edges[what];
        reads.set(v, (reads.get(v) ?? 0) + 1);
        const before = sums.get(u);
        const message = scalar(messages[what]);
        sums.set(u, { total: before ? before.total + message : message, terms: (before?.terms ?? 0) + 1 });
      }
    }
    return { values, reads, sums, now: steps[Math.min(step, steps.length - 1)] };
  }
}

// --- the picture ---

const WIDTHS = { "−": 0.584, "×": 0.584, ".": 0.278, ",": 0.278, " ": 0.278, "[": 0.278, "]": 0.278 };
const width = (text) =>
  [...text].reduce((sum, c) => sum + (WIDTHS[c] ?? ("⁰¹²³⁴⁵⁶⁷⁸⁹⁻".includes(c) ? 0.36 : 0.556)), 0);

/** The SVG that Python laid out: only texts and classes change here, never positions. */
class Picture {
  constructor(stage) {
    this.stage = stage;
    this.zoom = null;
  }

  load({ svg: source, inside }, words) {
    const parsed = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
    parsed.querySelectorAll("script, style, foreignObject, image, a, use").forEach((e) => e.remove());
    this.root = document.importNode(parsed, true);
    this.size = [this.root.viewBox.baseVal.width, this.root.viewBox.baseVal.height];
    set(this.root, { role: "group", width: "100%", height: "100%" });
    this.root.querySelector(":scope > rect")?.remove(); // the stage is the ground
    this.inside = inside;
    this.nodes = new Map();
    this.arrows = new Map();
    this.slots = new Map();
    for (const group of this.root.querySelectorAll("g.node")) {
      const i = +group.dataset.node.slice(1);
      this.nodes.set(i, group);
      this.collect(`node ${i}`, group);
    }
    for (const group of this.root.querySelectorAll("g.arrow, g.pill")) {
      const e = +group.dataset.key;
      if (e < 0) continue;
      this.arrows.set(e, [...(this.arrows.get(e) ?? []), group]);
      this.collect(`edge ${e}`, group);
      if (group.classList.contains("arrow")) {
        // A thin line is hard to hit: a wide one that cannot be seen lies over it.
        const line = group.querySelector("path");
        group.append(svg("path", { d: line.getAttribute("d"), class: "hit" }));
      }
    }
    this.groups = [...this.nodes.values(), ...[...this.arrows.values()].flat()];
    for (const text of this.root.querySelectorAll('g.node text[font-size="9.5"]')) { // small print
      const said = text.textContent, own = said.split(" ").map((word) => words[word] ?? word).join(" ");
      if (own === said) continue;
      if (!/^(value|gradient)$/.test(said)) { // at the right end of its line
        set(text, { x: +text.getAttribute("x") + +text.getAttribute("textLength"), "text-anchor": "end" });
      }
      text.removeAttribute("textLength");
      text.textContent = own;
    }
    this.over = svg("g", { class: "over" });
    this.root.querySelector("g.panel").append(this.over);
    this.stage.querySelector("svg")?.remove();
    this.stage.prepend(this.root);
    this.stage.style.aspectRatio = this.size.join(" / ");
    this.fit();
  }

  collect(owner, group) {
    for (const slot of group.querySelectorAll("[data-slot]")) {
      const [kind, place] = slot.dataset.slot.split(" ");
      const first = slot.querySelector("text");
      const anchor = { start: "start", middle: "middle" }[place] ?? "end";
      const text = svg("text", { x: slot.dataset.x, y: first.getAttribute("y"),
        "font-size": first.getAttribute("font-size"), "text-anchor": anchor });
      slot.replaceChildren(text);
      const key = `${owner} ${kind}`;
      this.slots.set(key, [ // the last column stands first
        { text, room: +slot.dataset.room, size: +first.getAttribute("font-size") },
        ...(this.slots.get(key) ?? [])]);
    }
  }

  /** Put texts into the cells of a card; a text wider than its room is squeezed into it. */
  write(owner, kind, texts, words = false) {
    const slots = this.slots.get(`${owner} ${kind}`);
    if (!slots) return;
    const fitted = texts.length === slots.length ? texts
      : [...Array(slots.length - 1).fill(""), texts.join(" … ")];
    slots.forEach(({ text, room, size }, i) => {
      if (text.textContent !== fitted[i]) text.textContent = fitted[i];
      text.classList.toggle("words", words);
      if (width(fitted[i]) * size * (words ? 0.9 : 1) > room) {
        set(text, { textLength: room, lengthAdjust: "spacingAndGlyphs" });
      } else text.removeAttribute("textLength");
    });
  }

  /** The box of a value: its own, or the folded one that it is in. */
  box(i) { return this.nodes.get(i) ?? this.nodes.get(this.inside[i]); }

  /** Give groups their classes: `marks` maps a class to nodes and edges. Most stay as they are. */
  mark(marks) {
    const wanted = new Map();
    const add = (group, name) => group && wanted.set(group, `${wanted.get(group) ?? ""} is-${name}`);
    for (const [name, { nodes = [], edges = [] }] of Object.entries(marks)) {
      for (const i of nodes) add(this.box(i), name);
      for (const e of edges) this.arrows.get(e)?.forEach((group) => add(group, name));
    }
    for (const group of this.groups) {
      const next = `${group.classList[0]}${wanted.get(group) ?? ""}`;
      if (group.getAttribute("class") !== next) group.setAttribute("class", next);
    }
  }

  badges(texts) {
    this.over.replaceChildren();
    for (const [i, { text, tone }] of texts) {
      const rect = this.box(i)?.querySelector("rect");
      if (!rect) continue;
      const [x, y, w] = ["x", "y", "width"].map((name) => +rect.getAttribute(name));
      const wide = width(text) * 11 + 14;
      this.over.append(svg("g", { class: `badge ${tone}` },
        svg("rect", { x: x + w - wide + 8, y: y - 9, width: wide, height: 18, rx: 9 }),
        svg("text", { x: x + w - wide / 2 + 8, y: y + 4, "text-anchor": "middle", "font-size": 11,
          "font-weight": 700 }, text)));
    }
  }

  /** A dot runs along an edge, from the reader back to the operand. */
  send(e) {
    cancelAnimationFrame(this.running);
    const line = this.arrows.get(e)?.find((g) => g.classList.contains("arrow"))?.querySelector("path");
    if (!line || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const length = line.getTotalLength(), start = performance.now();
    const dot = svg("circle", { class: "dot", r: 6 });
    this.over.append(dot);
    const move = (now) => {
      const done = Math.min((now - start) / 700, 1);
      const { x, y } = line.getPointAtLength(length * (1 - done));
      set(dot, { cx: x, cy: y });
      if (done < 1) this.running = requestAnimationFrame(move);
      else dot.remove();
    };
    move(start);
  }

  look(x, y, w, h) {
    this.view = [x, y, w, h];
    this.root.setAttribute("viewBox", this.view.map((n) => n.toFixed(2)).join(" "));
  }
  fit() { this.look(0, 0, ...this.size); }
  scale(factor, at = [0.5, 0.5]) {
    const [x, y, w, h] = this.view;
    const wide = Math.min(Math.max(w / factor, 120), this.size[0] * 3), high = (h * wide) / w;
    this.look(x + (w - wide) * at[0], y + (h - high) * at[1], wide, high);
  }
  pan(dx, dy) {
    const scale = 1 / this.root.getScreenCTM().a;
    const [x, y, w, h] = this.view;
    this.look(x - dx * scale, y - dy * scale, w, h);
  }
  /** Bring a box into view. */
  show(i) {
    const [box, stage] = [this.box(i), this.stage].map((e) => e.getBoundingClientRect());
    if (box.left < stage.left || box.right > stage.right || box.top < stage.top || box.bottom > stage.bottom) {
      this.pan(stage.x + (stage.width - box.width) / 2 - box.x, stage.y + (stage.height - box.height) / 2 - box.y);
    }
  }

  /** The current view as a picture of its own: what style sheets do is written into it. */
  copy() {
    const clone = this.root.cloneNode(true);
    const properties = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-style",
      "font-family", "display"];
    const originals = this.root.querySelectorAll("*");
    clone.querySelectorAll("*").forEach((made, i) => {
      const style = getComputedStyle(originals[i]);
      for (const name of properties) {
        const value = style.getPropertyValue(name);
        if (value && value !== "normal" && !(name === "display" && value !== "none")) made.setAttribute(name, value);
      }
    });
    const [x, y, w, h] = this.view;
    set(clone, { width: Math.round(w), height: Math.round(h) });
    const ground = getComputedStyle(this.stage).backgroundColor;
    clone.insertBefore(svg("rect", { x, y, width: w, height: h, fill: ground }), clone.firstChild);
    return new Blob([new XMLSerializer().serializeToString(clone)], { type: "image/svg+xml" });
  }
}

/** Everything the pointer does from here on until it is lifted. */
function follow(target, { pointerId }, move, end) {
  const up = () => {
    target.removeEventListener("pointermove", move);
    end();
  };
  target.setPointerCapture(pointerId);
  target.addEventListener("pointermove", move);
  target.addEventListener("lostpointercapture", up, { once: true });
}

function download(blob, name) {
  const link = html("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

async function rasterized(blob) {
  const image = new Image();
  const url = URL.createObjectURL(blob);
  image.src = url;
  await image.decode();
  const canvas = html("canvas", { width: image.width * 2, height: image.height * 2 });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(url);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// --- the application ---

class App {
  constructor(model, el) {
    this.model = model;
    this.id = Math.random().toString(36).slice(2); // a widget may be shown twice
    this.serial = 0;
    this.queue = [];
    this.flying = new Set();
    this.cleanup = [];
    this.el = el;
    // A click anywhere brings the keyboard here, and no key goes on to the notebook around, where x
    // cuts the cell; the browser's own keys need no listener.
    this.root = html("div", { class: "gradviz-app", role: "region", tabindex: "-1", ...OURS,
      onkeydown: (event) => event.stopPropagation() });
    el.append(this.root);
    this.theme();
    this.build();
    // A program that took another branch has another story, which is built as a whole.
    const redraw = () => { if (this.get("story") === this.story) this.soon(); };
    const build = () => this.keeping(() => this.build());
    for (const name of ["numbers", "step", "selected", "targets", "history", "at"]) this.on(name, redraw);
    for (const name of ["story", "language"]) this.on(name, build);
    this.on("theme", () => this.paint());
    this.on("drawing", () => {
      if (this.get("story") !== this.story) return;
      this.picture.load(this.get("drawing"), this.words.picture);
      this.wire();
      this.foldButtons();
      this.refresh();
    });
    this.on("answer", () => this.answered());
  }

  on(name, listener) {
    this.model.on(`change:${name}`, listener);
    this.cleanup.push(() => this.model.off(`change:${name}`, listener));
  }
  close() {
    this.stop();
    this.forget();
    this.cleanup.forEach((undo) => undo());
    this.root.remove();
  }
  get(name) { return this.model.get(name); }
  put(name, value) {
    this.model.set(name, value);
    try { this.model.save_changes(); } catch { /* no kernel: the view keeps its own state */ }
  }

  // Words

  get language() {
    const all = this.get("words");
    const asked = [this.get("language"), navigator.language, "en"];
    return asked.map((tag) => (tag ?? "").split("-")[0]).find((tag) => tag in all) ?? "en";
  }
  /** What is said: a text with places, `{name}`, for texts and elements. */
  say(key, places = {}) {
    const text = this.words[key] ?? key;
    return text.split(/\{(\w+)\}/).map((part, i) => (i % 2 ? places[part] ?? "" : part));
  }
  t(key, places) { return this.say(key, places).join(""); }
  ordinal(n) { return this.words.ordinals[n - 1] ?? this.t("nth", { n }); }

  // Theme: the host's

  theme() {
    const media = matchMedia("(prefers-color-scheme: dark)");
    const paint = () => this.paint();
    media.addEventListener("change", paint);
    const watcher = new MutationObserver(paint);
    for (const host of [document.documentElement, document.body]) {
      watcher.observe(host, { attributes: true });
    }
    this.cleanup.push(() => { media.removeEventListener("change", paint); watcher.disconnect(); });
    this.paint();
  }
  paint() {
    const { body, documentElement: top } = document, asked = this.get("theme"), modes = { dark: true, light: false };
    const dark = { true: false, false: true }[body.dataset.jpThemeLight]
      ?? modes[top.dataset.theme ?? body.dataset.theme]
      ?? modes[`${top.className} ${body.className}`.match(/\b(?:vscode-)?(dark|light)\b/)?.[1]]
      ?? matchMedia("(prefers-color-scheme: dark)").matches;
    const next = asked !== "auto" ? asked : dark ? "dark" : "light";
    if (this.root.dataset.theme !== next) this.root.dataset.theme = next;
  }

  // The frame

  build() {
    this.stop();
    this.problem = "";
    this.story = this.get("story");
    const { nodes, edges, output, steps } = this.story;
    Object.assign(this, { nodes, edges, output, loss: nodes[output].name, last: steps.length - 1 });
    this.chain = new Chain(this.story);
    this.words = this.get("words")[this.language];
    const t = (key) => this.t(key);
    this.root.lang = this.language;
    this.root.setAttribute("aria-label", this.t("app", { title: this.story.title }));

    const names = `gradviz-names-${this.id}`, file = this.story.title.replace(/[^\p{L}\p{N}]+/gu, "-") || "graph";
    this.search = html("input", { type: "search", list: names, placeholder: t("search"),
      "aria-label": t("search"), onchange: () => this.find(this.search.value) });
    this.folds = html("span", { class: "folds", role: "group", "aria-label": t("fold") });
    const languages = html("select", { "aria-label": t("language"),
      onchange: (event) => this.put("language", event.target.value) },
      Object.entries(this.get("words")).map(([value, { name }]) =>
        html("option", { value, selected: value === this.language }, name)));
    const bar = html("header", {},
      html("strong", { class: "title" }, this.story.title),
      this.search,
      html("datalist", { id: names }, this.nodes.map(({ name }) => html("option", { value: name }))),
      this.folds,
      html("span", { class: "tools", role: "group", "aria-label": t("view") },
        button("−", t("smaller"), () => this.picture.scale(1 / 1.25)),
        button("+", t("larger"), () => this.picture.scale(1.25)),
        button(t("fit"), t("fitAll"), () => this.picture.fit()),
        button("SVG", t("saveSvg"), () => download(this.picture.copy(), `${file}.svg`)),
        button("PNG", t("savePng"), async () => download(await rasterized(this.picture.copy()), `${file}.png`))),
      languages);

    this.notice = html("div", { class: "notice", role: "status", hidden: true });
    this.tip = html("div", { class: "tip", role: "tooltip", hidden: true });
    this.stage = html("div", { class: "stage" }, this.tip);
    [this.asked, this.field, this.answers] = ["asked", "field", "answers"].map((name) => html("div", { class: name }));
    this.reuse = html("section", { class: "reuse" });
    this.training = html("section", { class: "training" });
    const panel = html("aside", { "aria-label": t("panel") },
      html("section", {}, this.asked, this.field, this.answers), this.reuse, this.training);

    this.slider = html("input", { type: "range", min: 0, max: this.last, step: 1, "aria-label": t("step"),
      oninput: () => { this.stop(); this.go(+this.slider.value); } });
    this.player = button("▶", t("play"), () => this.play(), { class: "play" });
    this.counter = html("output", { class: "counter" });
    const jump = (label, key, to) => button(label, t(key), () => { this.stop(); this.go(to()); });
    const transport = html("div", { class: "transport" },
      jump("⇤", "first", () => 0), jump("←", "previous", () => this.step - 1), this.player,
      jump("→", "next", () => this.step + 1), jump("⇥", "last", () => this.last),
      this.slider, this.counter);
    this.told = html("div", { class: "told", "aria-live": "polite" });

    this.root.replaceChildren(bar, this.notice,
      html("div", { class: "body" },
        html("div", { class: "left" }, this.stage, transport, this.told), panel));
    this.root.onkeydown = (event) => this.key(event);
    this.buildTraining();
    this.picture = new Picture(this.stage);
    this.picture.load(this.get("drawing"), this.words.picture);
    this.wire();
    this.foldButtons();
    this.refresh();
  }

  foldButtons() {
    const { folded, scopes } = this.get("drawing");
    fill(this.folds, scopes.map((scope) => {
      const shut = folded.includes(scope);
      return button(`${shut ? "▸" : "▾"} ${scope}`, this.t(shut ? "unfold" : "foldOne", { scope }),
        () => this.fold(scope), { "aria-pressed": String(shut), class: "fold" });
    }));
  }
  fold(scope) {
    this.ask({ kind: "fold", folded: toggled(this.get("drawing").folded, scope) });
  }

  /** Say what is wrong: with what was just asked for, else with the numbers that are shown. */
  warn(text) {
    this.problem = text;
    const { trouble, values } = this.get("numbers"), loss = values[this.output];
    const lost = isNumber(loss) && !finite(scalar(loss))
      && this.t("nonFinite", { name: this.loss, value: short(scalar(loss)) });
    this.notice.textContent = text || trouble || lost || "";
    this.notice.hidden = !this.notice.textContent;
  }

  // Asking the other half of the model: two requests at a time, and of those that wait the newest
  // wins.

  ask(request) {
    const last = this.queue.at(-1), newer = last?.kind === request.kind && request.kind !== "train";
    if (newer) Object.assign(last, request, { values: { ...last.values, ...request.values } });
    else this.queue.push(request);
    this.next();
  }
  next() {
    if (this.flying.size > 1 || !this.queue.length) return;
    const serial = `${this.id}.${++this.serial}`;
    this.flying.add(serial);
    this.send({ ...this.queue.shift(), serial });
  }
  /** Until the answer comes, an empty message now and then: Jupyter's server keeps a small answer
      back until the browser has acknowledged what came before it, for which browsers take some
      40 ms, unless they have something to send. */
  send(message, patience = NUDGE) {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(
      () => (3 * patience > PATIENCE ? this.gone() : this.send({}, 1.5 * patience)), patience);
    try { this.model.send(message); } catch { this.gone(); }
  }
  answered() {
    const { serial, trouble } = this.get("answer");
    if (!serial?.startsWith(this.id)) return; // another view asked
    this.flying.delete(serial);
    if (!this.flying.size) { // marimo runs again what reads the widget where a trait is put
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => this.put("settled", serial), SETTLE);
    }
    this.warn(trouble);
    this.next();
  }
  /** Nobody answers: what is shown stays usable, and the next request tries again. */
  gone() {
    this.forget();
    this.warn(this.t("gone"));
  }
  forget() {
    clearTimeout(this.waiting);
    this.flying.clear();
    this.queue = [];
  }

  // Steps

  get step() { return Math.min(Math.max(this.get("step"), 0), this.last); }
  get done() { return this.step === this.last; }
  go(step) {
    const next = Math.min(Math.max(step, 0), this.last);
    if (next !== this.step) this.put("step", next);
  }
  play() {
    if (this.timer) return this.stop();
    if (this.done) this.go(0);
    this.timer = setInterval(() => {
      this.go(this.step + 1);
      if (this.done) this.stop();
    }, PACE);
    this.playing("❚❚", "pause");
  }
  stop() {
    clearInterval(this.timer);
    this.timer = null;
    if (this.player) this.playing("▶", "play");
  }
  playing(sign, key) {
    this.player.textContent = sign;
    set(this.player, { title: this.t(key), "aria-label": this.t(key) });
  }

  // Drawing the state

  /** Several changes of one moment are drawn at once. */
  soon() {
    if (!this.due) queueMicrotask(() => { this.due = false; this.keeping(() => this.refresh()); });
    this.due = true;
  }
  /** What had the focus may be drawn anew: the keyboard stays here, not with the notebook around. */
  keeping(draw) {
    const within = () => this.root.contains(this.root.getRootNode().activeElement);
    const had = within();
    draw();
    if (had && !within()) this.root.focus({ preventScroll: true });
  }
  refresh() {
    this.numbers = this.get("numbers");
    const past = (this.past = this.chain.until(this.step, this.numbers.messages));
    this.writeNumbers(past);
    this.markAll(past);
    this.tell(past);
    this.showAsked();
    this.showReuse();
    this.showTraining();
    this.warn(this.problem);
  }

  writeNumbers({ values, sums }) {
    const { nodes, edges, picture, numbers } = this;
    for (const [i, group] of picture.nodes) {
      const known = values.has(i);
      picture.write(`node ${i}`, "value", known ? cells(numbers.values[i]) : [""]);
      const [gradient, words] = this.gradient(i, sums);
      picture.write(`node ${i}`, "gradient", gradient, words);
      const { name } = nodes[i];
      const label = `${name} = ${known ? cells(numbers.values[i]).join(", ") : "?"}${
        gradient.join("") && `; ∂${this.loss}/∂${name}: ${gradient.join(", ")}`}`;
      group.setAttribute("aria-label", label);
    }
    for (const e of picture.arrows.keys()) {
      const q = numbers.locals[e], message = numbers.messages[e];
      const said = q !== null ? (isNumber(q) ? short(scalar(q), 4) : minus(q.short))
        : message === null || !this.done ? "" : `‖·‖ ${short(norm(message), 3)}`;
      picture.write(`edge ${e}`, "local", [values.has(edges[e].v) ? said : ""]);
    }
  }

  /** What the gradient's row says, and whether in words. */
  gradient(i, sums) {
    const state = this.numbers.states[i], grad = this.numbers.grads[i];
    if (!this.done) {
      const sum = sums.get(i);
      if (!sum) return [[""], false];
      if (sum.terms < this.chain.terms(i)) { // a running sum is no gradient yet
        return [[isNumber(grad) && sum.terms ? `${short(sum.total)} + …` : "…"], false];
      }
    }
    if (state === "number") return [cells(grad), false];
    const extra = state === "non-finite" && isNumber(grad) ? `${short(scalar(grad))} ` : "";
    return [[extra + this.t(`state ${state}`, { name: this.loss })], true];
  }

  markAll({ values, reads, now }) {
    const { nodes, edges } = this;
    const all = nodes.map((_, i) => i), marks = {}, badges = new Map();
    const others = (some) => { const used = new Set(some); return edges.flatMap((_, e) => (used.has(e) ? [] : [e])); };
    if (!this.done) {
      marks.future = { nodes: all.filter((i) => !values.has(i)),
        edges: edges.flatMap(({ v }, e) => (values.has(v) ? [] : [e])) };
      const [kind, what] = now;
      if (kind === "value") marks.now = { nodes: [what], edges: this.chain.into[what] };
      if (kind === "seed") marks.now = { nodes: [what] };
      if (kind === "message") {
        const { u, v } = edges[what];
        marks.lit = { edges: [what] };
        marks.read = { nodes: [v] };
        marks.now = { nodes: [u] };
      }
      for (const [v, k] of reads) {
        if (k > 1 || (kind === "message" && edges[what].v === v)) {
          badges.set(v, { text: `×${k}`, tone: kind === "message" && edges[what].v === v ? "strong" : "" });
        }
      }
      if (kind === "message" && this.sent !== this.step) this.pending = what;
      this.sent = this.step;
    } else {
      this.sent = null;
      const targets = this.targets();
      if (targets.length) {
        const { rows, reads: read, cached } = this.chain.ledger(targets);
        const computed = new Set(rows.flatMap((r) => r.computed));
        const used = new Set([...computed, ...targets, ...cached]);
        const reading = [...read].filter(([v]) => cached.has(v)).flatMap(([, es]) => es);
        const computing = [...read].filter(([v]) => !cached.has(v)).flatMap(([, es]) => es);
        marks.unneeded = { nodes: all.filter((i) => !used.has(i)),
          edges: others([...reading, ...computing]) };
        marks.computed = { nodes: [...computed].filter((i) => !cached.has(i)), edges: computing };
        marks.cached = { nodes: [...cached] };
        marks.reads = { edges: reading };
        marks.target = { nodes: targets };
        for (const v of cached) if (read.has(v)) badges.set(v, { text: `×${read.get(v).length}`, tone: "strong" });
      }
      if (this.path) {
        marks.path = { nodes: [edges[this.path[0]].u, ...this.path.map((e) => edges[e].v)], edges: this.path };
        marks.unneeded = { nodes: all.filter((i) => !marks.path.nodes.includes(i)),
          edges: others(this.path) };
      }
    }
    const selection = this.selection();
    marks.selected = { nodes: selection.flatMap((s) => s.node ?? []), edges: selection.flatMap((s) => s.edge ?? []) };
    this.picture.mark(marks);
    this.picture.badges(badges);
    if (this.pending !== undefined) this.picture.send(this.pending);
    this.pending = undefined;
    this.picture.nodes.forEach((group, i) => group.setAttribute("aria-pressed", marks.selected.nodes.includes(i)));
  }

  // The line under the graph

  d(i) { return fraction(this.nodes[this.output].label, this.nodes[i].label); }
  /** A local derivative: ∂v/∂u, or ∂₁v where u reaches v in another way too. */
  partial(e) {
    const { u, v, key, alone } = this.edges[e], label = this.nodes[v].label;
    return alone ? row(["msub", ["mi", "∂"], ["mn", String(key + 1)]], label) : fraction(label, this.nodes[u].label);
  }
  /** What ∂₁v means, where some of the edges are written so. */
  held(...shown) {
    return [...new Set(shown)].filter((e) => this.edges[e].alone).slice(0, SHOWN_PATHS).map((e) =>
      html("p", { class: "hint held" }, this.say("held", { d: formula(this.partial(e)), n: this.edges[e].key + 1,
        u: formula(this.nodes[this.edges[e].u].label) })));
  }

  /** What an edge sends back, as a formula with its numbers. */
  message(e) {
    const { numbers } = this, { v, derivative, vjp } = this.edges[e];
    const message = numbers.messages[e], local = numbers.locals[e];
    return isNumber(message) && isNumber(local)
      ? row(this.d(v), op("·"), this.partial(e), op("="), amount(numbers.grads[v]), op("·"), amount(local, true),
          op("="), amount(message))
      : row(vjp ?? row(this.d(v), op("⊙"), derivative), op("="), amount(message));
  }

  tell({ reads, sums, now: [kind, what] }) {
    const { nodes, edges, numbers } = this, { steps } = this.story;
    const forward = steps.filter(([k]) => k === "value").length;
    const backward = steps.filter(([k]) => k === "message").length;
    const name = (i) => formula(nodes[i].label);
    const [asked] = this.selection();
    let words = [], trees = [], place = "", held = [];
    if (kind === "given") {
      words = this.say("given");
      place = this.t("atForward", { n: 0, m: forward });
    } else if (kind === "value") {
      words = this.say("value", { v: name(what), n: nodes[what].name });
      trees = [row(nodes[what].label, op("="), nodes[what].expression, op("="), amount(numbers.values[what]))];
      place = this.t("atForward", { n: this.step, m: forward });
    } else if (kind === "seed") {
      words = this.say("seed", { d: formula(this.d(what)), v: name(what) });
      trees = [row(this.d(what), op("="), ["mn", "1"])];
      place = this.t("atBackward", { n: 0, m: backward });
    } else if (kind === "message") {
      const { u, v } = edges[what];
      const k = reads.get(v), terms = this.chain.terms(u), had = sums.get(u).terms;
      words = [...this.say(k === 1 ? "readFirst" : "readAgain",
        { d: formula(this.d(v)), k: this.ordinal(k) }), " ",
        ...this.say(terms === 1 ? "whole" : had === terms ? "sumLast" : "sum",
          { u: formula(this.d(u)), n: had, m: terms })];
      trees = [this.message(what)];
      held = this.held(what);
      if (terms > 1 && isNumber(numbers.messages[what])) {
        trees.push(row(this.d(u), op("="), numeral(sums.get(u).total),
          ...(had < terms ? [op("+"), op("…")] : [])));
      }
      place = this.t("atBackward", { n: this.step - forward - 1, m: backward });
    } else {
      words = this.say("done");
      place = this.t("atEnd");
      if (asked?.node !== undefined && this.hasChain(asked.node)) { // the answer, where everybody looks
        const count = this.chain.counts.paths[asked.node], paths = this.chain.paths(asked.node, numbers.locals, 2);
        words = [];
        trees = this.lines(asked.node, paths, count - BigInt(paths.length)).map((parts) => row(...parts));
        held = this.held(...paths.flatMap((path) => path.edges));
      }
    }
    this.slider.value = this.step;
    this.slider.setAttribute("aria-valuetext", place);
    this.counter.textContent = place;
    fill(this.told, words.length > 0 && html("p", {}, words), lines(trees), held);
  }

  // Selecting

  index(id) { return this.nodes.findIndex((node) => node.id === id); }
  targets() { return this.get("targets").map((id) => this.index(id)).filter((i) => i >= 0); }
  edgeName(e, said = "id") {
    const { edges, nodes } = this;
    const { u, v, key } = edges[e];
    const twins = edges.filter((other) => other.u === u && other.v === v);
    return `${nodes[u][said]}→${nodes[v][said]}${twins.length > 1 ? `#${key}` : ""}`;
  }
  /** What the trait `selected` names: nodes, and edges as "u→v". */
  selection() {
    return this.get("selected").flatMap((name) => {
      const node = this.index(name);
      if (node >= 0) return [{ node }];
      const edge = this.edges.findIndex((_, e) => this.edgeName(e) === name);
      return edge >= 0 ? [{ edge }] : [];
    });
  }
  select(name) {
    this.path = null;
    this.put("selected", name ? [name] : []);
  }
  toggleTarget(i) {
    if (!this.done) this.go(this.last);
    this.put("targets", toggled(this.get("targets"), this.nodes[i].id));
  }
  find(text) {
    const name = text.trim(), names = this.nodes.map((node) => node.name), exact = names.indexOf(name);
    const near = exact < 0 ? names.findIndex((other) => other.includes(name)) : exact;
    this.warn(near < 0 ? this.t("notFound", { name }) : "");
    if (!name || near < 0) return;
    this.select(this.nodes[near].id);
    this.picture.show(near);
  }

  // Pointer and keyboard

  wire() {
    const { nodes, picture } = this;
    const focus = picture.nodes.has(this.focus) ? this.focus : [...picture.nodes.keys()][0];
    for (const [i, group] of picture.nodes) {
      const enter = () => this.hover({ node: i }, group), leave = () => this.hover(null);
      set(group, {
        ...OURS, role: "button", tabindex: i === focus ? "0" : "-1",
        onclick: (event) => {
          if (this.dragged) return;
          if (event.shiftKey || event.ctrlKey || event.metaKey) this.toggleTarget(i);
          else this.select(nodes[i].id);
        },
        onkeydown: (event) => this.nodeKey(event, i),
        onfocus: enter, onblur: leave, onpointerenter: enter, onpointerleave: leave,
      });
      if (nodes[i].leaf) {
        for (const { text } of picture.slots.get(`node ${i} value`) ?? []) {
          text.classList.add("draggable");
          text.addEventListener("pointerdown", (event) => this.drag(event, i));
        }
      }
    }
    for (const [e, groups] of picture.arrows) {
      for (const group of groups) {
        set(group, { onclick: () => this.select(this.edgeName(e)),
          onpointerenter: () => this.hover({ edge: e }, group), onpointerleave: () => this.hover(null) });
      }
    }
    const root = picture.root;
    root.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("g.node, g.pill, .hit")) return;
      let [x, y] = [event.clientX, event.clientY], moved = 0;
      const move = (e) => {
        moved += Math.abs(e.clientX - x) + Math.abs(e.clientY - y);
        picture.pan(e.clientX - x, e.clientY - y);
        [x, y] = [e.clientX, e.clientY];
      };
      follow(root, event, move, () => { if (moved < 4) this.select(null); });
    });
    root.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return; // plain scrolling belongs to the host
      event.preventDefault();
      const box = root.getBoundingClientRect();
      picture.scale(Math.exp(-event.deltaY / 300),
        [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
    }, { passive: false });
  }

  key(event) {
    const typing = event.target.closest("input:not([type=range]), select, textarea");
    if (typing) {
      if (event.key !== "Enter" || typing.tagName === "SELECT") return;
      event.preventDefault();
      typing.dispatchEvent(new Event("change"));
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const zoom = { "+": 1.25, "=": 1.25, "-": 0.8 }[event.key];
    const onButton = event.target.closest("button, summary");
    if (event.key === " " && !onButton && !event.target.closest("g.node")) this.play();
    else if (event.key === ",") { this.stop(); this.go(this.step - 1); }
    else if (event.key === ".") { this.stop(); this.go(this.step + 1); }
    else if (zoom) this.picture.scale(zoom);
    else if (event.key === "0") this.picture.fit();
    else if (event.key === "/") this.search.focus();
    else if (event.key === "Escape") this.select(null);
    else return;
    event.preventDefault();
  }
  nodeKey(event, i) {
    const { edges } = this;
    const shown = [...this.picture.nodes.keys()].sort((a, b) => a - b);
    const at = shown.indexOf(i);
    const to = {
      ArrowLeft: edges[this.chain.into[i][0]]?.u, ArrowRight: edges.find(({ u }) => u === i)?.v,
      ArrowUp: shown[at - 1], ArrowDown: shown[at + 1],
    }[event.key];
    if (event.key === "Enter" || event.key === " ") this.select(this.nodes[i].id);
    else if (event.key === "t") this.toggleTarget(i);
    else if (to !== undefined) {
      const group = this.picture.box(to);
      this.picture.nodes.forEach((g) => g.setAttribute("tabindex", "-1"));
      group.setAttribute("tabindex", "0");
      this.focus = to;
      this.picture.show(to);
      group.focus();
    } else if (!event.key.startsWith("Arrow")) return;
    event.preventDefault();
    event.stopPropagation();
  }

  hover(what, group) {
    this.tip.hidden = !what;
    if (!what) return;
    const { nodes, edges, numbers } = this, { node: i, edge: e } = what;
    const lines = i !== undefined ? [
      `${nodes[i].name} = ${full(numbers.values[i])}`,
      `∂${this.loss}/∂${nodes[i].name}: ${this.gradientInFull(i)}`,
      [this.t(`kind ${nodes[i].kind}`), nodes[i].shape, nodes[i].dtype].filter(Boolean).join(" · "),
      nodes[i].source,
    ] : [
      (edges[e].derivative || edges[e].vjp) && `${this.slope(e)} = ${full(numbers.locals[e]) || this.t("linear")}`,
      numbers.messages[e] !== null && `${this.t("message")}: ${full(numbers.messages[e])}`,
    ];
    fill(this.tip, lines.filter(Boolean).map((line) => html("div", {}, line)));
    const box = group.getBoundingClientRect(), stage = this.stage.getBoundingClientRect();
    const { offsetWidth: wide, offsetHeight: high } = this.tip;
    const left = Math.max(Math.min(box.left - stage.left, stage.width - wide - 8), 4);
    const below = box.bottom - stage.top + 6, above = box.top - stage.top - high - 6;
    const top = Math.max(below + high > stage.height ? above : below, 2);
    Object.assign(this.tip.style, { left: `${left}px`, top: `${top}px` });
  }
  slope(e) {
    const { nodes, edges } = this, { u, v, key, alone } = edges[e];
    return alone ? `∂${lowered(key + 1)}${nodes[v].name}` : `∂${nodes[v].name}/∂${nodes[u].name}`;
  }
  gradientInFull(i) {
    const state = this.numbers.states[i];
    const said = state === "number" ? "" : this.t(`state ${state}`, { name: this.loss });
    return [said, state === "number" || state === "non-finite" ? full(this.numbers.grads[i]) : ""].filter(Boolean).join(" ");
  }

  // Poking

  get editable() { return Boolean(this.get("kernel") || this.story.program); }
  /** Why a leaf cannot be changed here; "" where it can. */
  refusal() {
    return this.editable ? "" : this.t("noKernel", { why: this.story.refusal });
  }
  change(i, value) { this.ask({ kind: "set", values: { [this.nodes[i].id]: value } }); }

  drag(event, i) {
    const start = scalar(this.numbers.values[i]);
    if (event.button || !finite(start)) return;
    if (!this.editable) return this.warn(this.refusal());
    const text = event.target;
    const unit = 10 ** Math.floor(Math.log10(Math.abs(start) || 0.1)) / 50;
    let moved = false;
    const move = (e) => {
      const dx = e.clientX - event.clientX;
      if (!moved && Math.abs(dx) < 3) return;
      moved = this.dragged = true;
      this.change(i, Number((start + dx * unit).toPrecision(6)));
    };
    event.stopPropagation();
    follow(text, event, move, () => setTimeout(() => { this.dragged = false; }));
  }

  type(i, input) {
    const q = this.numbers.values[i], text = input.value.trim().replaceAll("−", "-");
    let value = NaN;
    if (isNumber(q)) value = text === "" ? NaN : Number(text);
    else {
      try { value = JSON.parse(text); } catch { /* said below */ }
    }
    const fits = isNumber(q) ? finite(value) : Array.isArray(value);
    input.setAttribute("aria-invalid", String(!fits));
    if (!fits) return this.warn(this.t(isNumber(q) ? "noNumber" : "noArray", { text: input.value }));
    this.warn("");
    if (value !== scalar(q)) this.change(i, value);
  }

  // Asking

  showAsked() {
    const [what] = this.selection();
    const open = this.answers.querySelector("details")?.open ?? false;
    const [head, rest] = what?.node !== undefined ? this.aboutNode(what.node, open)
      : [what ? this.aboutEdge(what.edge) : hint(this.t("hint"))];
    fill(this.asked, head);
    fill(this.answers, rest);
    this.showField(this.nodes[what?.node]?.leaf ? what.node : null);
  }

  copyButton() {
    return button("LaTeX", this.t("copyLatex"), ({ target }) => {
      const lines = [...target.parentNode.querySelectorAll("math")].map((math) =>
        latex(math, this.story.tex).replace("\0", "&").replaceAll("\0", ""));
      const text = `\\begin{aligned}\n${lines.join(" \\\\\n")}\n\\end{aligned}`;
      const area = html("textarea", {}, text); // an old way, which needs no permission
      this.root.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      target.textContent = "✓ LaTeX";
      setTimeout(() => { target.textContent = "LaTeX"; }, 1200);
    }, { class: "copy" });
  }

  link(key, name, id = name) { return button(name, this.t(key, { name }), () => this.select(id)); }

  aboutNode(i, open) {
    const { nodes, numbers } = this, node = nodes[i];
    const facts = [["valueOf", full(numbers.values[i]), "f-value"],
      ["gradientOf", this.gradientInFull(i), "f-gradient"], ["source", node.source, "code"]];
    const edges = [...this.chain.into[i], ...this.edges.flatMap(({ u }, e) => (u === i ? [e] : []))];
    return [[
      html("h3", {}, formula(node.label), " ",
        html("small", {}, [this.t(`kind ${node.kind}`), node.shape].filter(Boolean).join(" ")),
        button(this.t(this.get("targets").includes(node.id) ? "targetOff" : "targetOn"),
          this.t("targetTitle"), () => this.toggleTarget(i))),
      html("dl", {}, facts.filter(([, text]) => text).map(([key, text, style]) =>
        [html("dt", {}, this.t(key)), html("dd", { class: style }, text)])),
    ], [
      node.expression && html("div", { class: "formulas" }, lines([row(node.label, op("="), node.expression)])),
      this.hasChain(i) && this.chainRule(i, open),
      edges.length > 0 && html("p", { class: "edges" }, this.t("edges"), " ",
        edges.map((e) => this.link("askEdge", this.edgeName(e, "name"), this.edgeName(e)))),
    ]];
  }

  /** A leaf's number, to type or to drag. The field stays while somebody is in it. */
  showField(i) {
    const key = `${i} ${this.language} ${this.editable}`;
    if (i !== null && this.fieldKey !== key) fill(this.field, this.fieldOf(i));
    this.fieldKey = key;
    this.field.hidden = i === null;
    if (i === null) return;
    const q = this.numbers.values[i], text = isNumber(q) ? String(scalar(q)) : q.full;
    for (const input of this.field.querySelectorAll("input")) {
      if (input !== document.activeElement) input.value = text;
    }
  }
  fieldOf(i) {
    const q = this.numbers.values[i], { name } = this.nodes[i], label = this.t("change", { name });
    if (!this.editable) return hint(this.refusal());
    const input = html("input", { type: "text", inputmode: "decimal", "aria-label": label, spellcheck: "false",
      onchange: () => this.type(i, input) });
    const x = scalar(q), reach = Math.max(2 * Math.abs(x), 1);
    return [html("label", {}, `${name} = `), input,
      finite(x) && html("input", { type: "range", min: x - reach, max: x + reach, step: reach / 200,
        "aria-label": label, oninput: (event) => this.change(i, Number(Number(event.target.value).toPrecision(6))) }),
      !this.get("kernel") && hint(this.t("byFormulas"))];
  }

  /** ∂J/∂u over all paths: a line per path in symbols, one in numbers, the result. */
  lines(i, paths, rest) {
    const { edges, output, numbers, chain } = this, grad = numbers.grads[i];
    // What the targets before this one have computed is marked as reused.
    const targets = this.targets(), before = targets.includes(i) ? targets.slice(0, targets.indexOf(i)) : targets;
    const cached = new Set(before.flatMap((t) => [...chain.needs(t), t]));
    const times = (factors) => joined(few(factors, op("…")), "·");
    const product = (path) => {
      const factors = path.map((e) => this.partial(e)).reverse();
      const known = path.findIndex((e) => cached.has(edges[e].v) && edges[e].v !== output);
      const n = known < 0 ? 0 : path.length - known - 1; // so many factors make that upstream term
      const mark = n && ["munder", ["munder", times(factors.slice(0, n)), op("⏟")], ["mtext", this.t("reused")]];
      return times(n ? [mark, ...factors.slice(n)] : factors);
    };
    const sum = (term) => paths.map(({ edges: path }, n) => row(op(n ? "+" : "="), term(path)));
    const symbols = sum(product);
    symbols[0] = row(this.d(i), symbols[0]);
    if (rest > 0n) symbols.push(row(op("+"), ["mtext", this.t("morePaths", { n: rest })]));
    const numeric = rest <= 0n && paths.every((path) => path.edges.every((e) => isNumber(numbers.locals[e])));
    const factors = (path) => times(path.map((e) => amount(numbers.locals[e], true)).reverse());
    const result = row(op("="), amount(grad));
    return [symbols, [...(numeric ? sum(factors) : []), result]];
  }
  hasChain(i) { return i !== this.output && this.chain.out[i].length > 0 && this.numbers.grads[i] !== null; }

  chainRule(i, open) {
    const { nodes, edges, numbers, chain } = this;
    const count = chain.counts.paths[i], paths = chain.paths(i, numbers.locals);
    const written = this.lines(i, paths, count - BigInt(paths.length)).flat(), factored = this.factored(i);
    const total = numbers.grads.reduce((sum, q, j) => sum + (nodes[j].wrt ? norm(q) ** 2 : 0), 0);
    const list = paths.map((path) => {
      const names = [edges[path.edges[0]].u, ...path.edges.map((e) => edges[e].v)].map((v) => nodes[v].name), name = few(names, "…").join(" → ");
      const show = (edges) => { this.path = edges; this.markAll(this.past); };
      return html("li", {}, button(name + (isNaN(path.value) ? "" : `: ${short(path.value)}`),
        this.t("showPath", { name }), () => { this.go(this.last); show(path.edges); },
        { onpointerenter: () => show(path.edges), onpointerleave: () => show(null), onblur: () => show(null) }));
    });
    const formulas = (trees) => html("div", { class: "formulas" }, this.copyButton(), lines(trees));
    return [
      html("h4", {}, this.t("chainRule")), formulas(written),
      this.held(...paths.flatMap((path) => few(path.edges, [])).flat()),
      html("details", { open }, html("summary", {}, this.t("factored")), formulas(factored)),
      html("h4", {}, this.t(count === 1n ? "onePath" : "paths", { n: count })),
      html("ol", { class: "paths" }, list),
      nodes[i].wrt && total > 0 && html("p", { class: "share" },
        this.t("share", { p: short((norm(numbers.grads[i]) ** 2 / total) * 100, 3), name: this.loss })),
    ];
  }

  /** Each upstream term once, from J down to the value. */
  factored(i) {
    const { nodes, edges, output, numbers } = this;
    const needed = [...this.chain.needs(i), i].filter((v) => v !== output).sort((a, b) => b - a);
    return needed.slice(0, 30).map((u) => {
      const terms = this.chain.out[u].map((e) => {
        const { v, derivative, vjp } = edges[e];
        return vjp ?? (v === output ? derivative : row(this.d(v), op("·"), this.tight(derivative)));
      });
      return row(this.d(u), op("="), joined(terms, "+"), ...(isNumber(numbers.grads[u]) ? [op("="), amount(numbers.grads[u])] : []));
    });
  }
  /** A sum, or what begins with a sign, needs parentheses as a factor. */
  tight(tree) {
    const signs = tree[0] === "mrow" && tree.slice(1).some((part) => part[0] === "mo" && "+−".includes(part[1]));
    return signs ? fenced(tree) : tree;
  }

  aboutEdge(e) {
    const { nodes, edges, numbers } = this, { u, v, derivative, vjp } = edges[e];
    const local = numbers.locals[e], message = numbers.messages[e];
    const trees = derivative || vjp ? [row(this.partial(e), op("="), derivative ?? ["mtext", this.t("linear")],
      ...(derivative && local !== null ? [op("="), amount(local)] : []))] : [];
    if (message !== null) trees.push(this.message(e));
    const share = (scalar(message) / scalar(numbers.grads[u])) * 100;
    return [
      html("h3", {}, formula(nodes[u].label), " → ", formula(nodes[v].label), " ", html("small", {}, this.t("edge"))),
      trees.length > 0 && [html("div", { class: "formulas" }, this.copyButton(), lines(trees)), this.held(e)],
      message === null && hint(this.t("noMessage")),
      finite(share) && html("p", {}, this.say("edgeShare", { p: short(share, 3), d: formula(this.d(u)) })),
      html("p", { class: "edges" }, [u, v].map((i) => this.link("askNode", nodes[i].name, nodes[i].id))),
    ];
  }

  // The ledger of reuse

  showReuse() {
    const targets = this.targets();
    this.reuse.hidden = !targets.length;
    if (!targets.length) return;
    const { rows } = this.chain.ledger(targets);
    const terms = (ids) => (ids.length ? ids.map((i) => formula(this.d(i))) : [this.t("nothing")]);
    const sum = (pick) => rows.reduce((total, r) => total + BigInt(pick(r)), 0n);
    fill(this.reuse,
      html("h3", {}, this.t("reuse"), " ", button(this.t("clear"), this.t("clearTitle"), () => this.put("targets", []))),
      html("div", { class: "scroll" }, html("table", {},
        html("thead", {}, html("tr", {}, ["target", "computes", "reuses", "reads", "vjps"].map((key) =>
          html("th", { scope: "col" }, this.t(key))))),
        html("tbody", {}, rows.map((r) => html("tr", { "data-target": this.nodes[r.target].name },
          html("th", { scope: "row" }, formula(this.d(r.target))),
          html("td", { class: "c-computed" }, terms(r.computed)),
          html("td", {}, terms(r.reused)),
          html("td", { class: "c-cached" }, terms(r.read)),
          html("td", {}, `${r.vjps} / ${r.without}`)))),
        html("tfoot", {}, html("tr", {}, html("th", { scope: "row", colspan: 4 }, this.t("together")),
          html("td", {}, `${sum((r) => r.vjps)} / ${sum((r) => r.without)}`))))),
      hint(this.t("vjpsHint")), html("p", { class: "key" },
        Object.entries(this.words.key).map(([role, text]) => html("span", { class: `k-${role}` }, text))));
  }

  // Training

  buildTraining() {
    const t = (key) => this.t(key);
    this.rate = html("input", { type: "text", inputmode: "decimal", size: 6, "aria-label": t("rate"),
      value: String(this.get("rate")) });
    this.plot = svg("svg", { class: "plot", viewBox: "0 0 300 120", role: "img" });
    this.scrubber = html("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": t("scrub"),
      oninput: () => this.ask({ kind: "at", index: +this.scrubber.value }) });
    this.losses = html("output", { class: "counter" });
    const why = this.refusal();
    fill(this.training, html("h3", {}, t("train")), why ? hint(why) : [
      html("p", {}, html("label", {}, "η = ", this.rate), " ",
        ...[1, 10, 100].map((n) => button(this.t("steps", { n }), this.t("stepsTitle", { n }), () => this.train(n)))),
      this.plot, html("div", { class: "scrub" }, this.scrubber, this.losses)]);
  }
  train(steps) {
    const rate = Number(this.rate.value.trim() || NaN);
    this.rate.setAttribute("aria-invalid", String(!finite(rate)));
    if (!finite(rate)) return this.warn(this.t("noNumber", { text: this.rate.value }));
    this.put("rate", rate);
    this.ask({ kind: "train", steps, rate });
  }
  showTraining() {
    const history = this.get("history").map(scalar), at = this.get("at");
    const name = this.loss;
    if (document.activeElement !== this.rate) this.rate.value = String(this.get("rate"));
    this.scrubber.max = Math.max(history.length - 1, 0);
    this.scrubber.value = at;
    this.scrubber.disabled = history.length < 2;
    this.losses.textContent = history.length > 1
      ? this.t("atStep", { n: at, name, value: short(history[at]) }) : "";
    const known = history.filter(finite);
    this.plot.toggleAttribute("hidden", known.length < 2);
    if (known.length < 2) return;
    const low = Math.min(0, ...known), high = Math.max(...known);
    const x = (n) => 44 + (248 * n) / (history.length - 1);
    const y = (loss) => 104 - (92 * (loss - low)) / (high - low || 1);
    const points = history.map((loss, n) => (finite(loss) ? `${x(n).toFixed(1)},${y(loss).toFixed(1)}` : "")).join(" ");
    const label = (text, px, py, anchor) => svg("text", { x: px, y: py, "text-anchor": anchor, class: "f-soft" }, text);
    this.plot.setAttribute("aria-label", this.t("plotted", { name, first: short(history[0]), last: short(history.at(-1)), n: history.length - 1 }));
    fill(this.plot,
      svg("path", { d: "M44 8V104H296", class: "axis" }),
      label(short(high, 3), 40, 14, "end"), label(short(low, 3), 40, 106, "end"),
      label("0", 44, 117, "start"), label(String(history.length - 1), 296, 117, "end"),
      label(name, 296, 14, "end"),
      svg("polyline", { points, class: "curve" }),
      finite(history[at]) && svg("circle", { cx: x(at), cy: y(history[at]), r: 4, class: "here" }));
  }
}

// --- the way in ---

/** anywidget's contract: show the model in `el`; what is returned undoes it. */
function render({ model, el }) {
  const app = new App(model, el);
  return () => app.close();
}

export { App, scalar, short };
export default { render };
