// What a page does without Python: it answers the requests of gradviz.js by itself.
//
// A program of scalar operations travels as data, the formulas of its operations' rows (see
// gradviz/web/payload.py), and is interpreted here: the content-security policy allows no code but
// this file's, and no operation has to be written twice.

import { App, scalar } from "./gradviz.js";

// What JSON lacks travels as text.
const wire = (x) => (Number.isFinite(x) ? x : Number.isNaN(x) ? "NaN" : x > 0 ? "inf" : "-inf");

// --- a program of scalar operations, computed here ---------------------------------------------------

const FUNCTIONS = {
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b,
  // 1**x and x**0 are 1 in IEEE 754 and NumPy, whatever x is; not so in JavaScript.
  "**": (a, b) => (a === 1 || (a === -1 && !Number.isFinite(b) && !Number.isNaN(b)) ? 1 : a ** b),
  "%": (a, b) => { const r = a % b; return r !== 0 && r < 0 !== b < 0 ? r + b : r; },
  "//": (a, b) => {
    const quotient = b ? (a - FUNCTIONS["%"](a, b)) / b : a / b, low = Math.floor(quotient);
    return quotient - low > 0.5 ? low + 1 : low;
  },
  neg: (a) => -a,
  "<": (a, b) => +(a < b), "<=": (a, b) => +(a <= b), ">": (a, b) => +(a > b),
  ">=": (a, b) => +(a >= b), "==": (a, b) => +(a === b), "!=": (a, b) => +(a !== b),
  "&": (...all) => +all.every(Boolean), where: (a, b, c) => (a ? b : c),
  abs: Math.abs, sign: Math.sign, sqrt: Math.sqrt, cbrt: Math.cbrt, exp: Math.exp,
  exp2: (a) => 2 ** a, expm1: Math.expm1, log: Math.log, log2: Math.log2, log10: Math.log10,
  log1p: Math.log1p, sin: Math.sin, cos: Math.cos, tan: Math.tan, arcsin: Math.asin,
  arccos: Math.acos, arctan: Math.atan, arctan2: Math.atan2, hypot: Math.hypot, sinh: Math.sinh,
  cosh: Math.cosh, tanh: Math.tanh, arcsinh: Math.asinh, arccosh: Math.acosh, arctanh: Math.atanh,
  maximum: Math.max, minimum: Math.min, floor: Math.floor, ceil: Math.ceil, trunc: Math.trunc,
  clip: (a, b, c) => Math.min(Math.max(a, b), c), fmod: (a, b) => a % b,
  isnan: (a) => +Number.isNaN(a), isfinite: (a) => +Number.isFinite(a),
  copysign: (a, b) => (b < 0 || Object.is(b, -0) ? -Math.abs(a) : Math.abs(a)),
  logaddexp: (a, b) => a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b))),
};

function evaluate(tree, names) {
  if (typeof tree === "number") return tree;
  if (typeof tree === "string") return names[tree];
  return FUNCTIONS[tree[0]](...tree.slice(1).map((part) => evaluate(part, names)));
}

/** Both passes of a program for new leaf values (by shown node): what Python's `numbers` returns. */
function compute(story, leaves) {
  const { rows, nodes, constants, output, shown } = story.program;
  const varying = new Set(story.program.varying);
  const values = [];
  shown.forEach(([own], i) => { if (i in leaves) values[own] = leaves[i]; });
  const names = (v) => {
    const [a, b, c] = nodes[v][1].map((u) => values[u]);
    return { a, b, c, v: values[v] };
  };
  nodes.forEach(([name], v) => {
    if (name) values[v] = evaluate(rows[name].value, names(v));
    else if (v in constants) values[v] = scalar(constants[v]);
  });
  const local = (v, key) => {
    const rule = rows[nodes[v][0]].locals[key];
    return rule === null ? null : evaluate(rule, names(v));
  };

  const gradients = [], messages = new Map();
  if (varying.has(output)) gradients[output] = 1;
  for (let v = output; v >= 0; v--) {
    if (gradients[v] === undefined || !nodes[v][0]) continue;
    nodes[v][1].forEach((u, key) => {
      const slope = varying.has(u) ? local(v, key) : null;
      if (slope === null) return;
      const message = gradients[v] * slope;
      messages.set(`${v} ${key}`, message);
      gradients[u] = gradients[u] === undefined ? message : gradients[u] + message;
    });
  }

  // A zero that is only too small a product: computed again from an upstream term of size 1.
  const lost = new Map();
  for (let v = output; v >= 0; v--) {
    const upstream = gradients[v] || lost.get(v);
    if (!upstream || !Number.isFinite(upstream) || !nodes[v][0]) continue;
    nodes[v][1].forEach((u, key) => {
      if (messages.get(`${v} ${key}`) !== 0 || gradients[u]) return;
      const again = Math.sign(upstream) * local(v, key);
      if (again) lost.set(u, (lost.get(u) ?? 0) + again);
    });
  }
  const state = (v) => {
    const g = gradients[v];
    if (g === undefined) return varying.has(v) ? "disconnected" : "not computed";
    if (!Number.isFinite(g)) return "non-finite";
    if (g === 0) return lost.has(v) ? "underflown" : "zero";
    return Math.abs(g) < 2.2250738585072014e-308 ? "underflown" : "number";
  };

  // One shown value may stand for several operations: what passes back through them is summed.
  const pull = ([own, steps, outside], key, seed) => {
    if (steps.length === 1 && outside.length === nodes[own][1].length) {
      const slope = local(own, key);
      return slope === null ? null : seed * slope;
    }
    const got = new Map([[own, seed]]);
    for (const v of [...steps].reverse()) {
      if (!got.has(v)) continue;
      nodes[v][1].forEach((u, k) => {
        if (u !== outside[key] && !steps.includes(u)) return;
        const slope = local(v, k);
        if (slope !== null) got.set(u, got.has(u) ? got.get(u) + got.get(v) * slope : got.get(v) * slope);
      });
    }
    return got.get(outside[key]) ?? null;
  };
  const orNull = (x) => (x === null || x === undefined ? null : wire(x));
  return {
    values: shown.map(([own]) => wire(values[own])),
    grads: shown.map(([own]) => orNull(gradients[own])),
    states: shown.map(([own]) => state(own)),
    locals: story.edges.map(({ v, key }) => orNull(pull(shown[v], key, 1))),
    messages: story.edges.map(({ v, key }) => {
      const g = gradients[shown[v][0]];
      return g === undefined || !varying.has(shown[v][2][key]) ? null : orNull(pull(shown[v], key, g));
    }),
    trouble: "",
  };
}

/** Answers the requests of a page as the kernel answers those of a widget. */
class Local {
  constructor(model) {
    this.model = model;
    this.begin();
  }

  get story() { return this.model.get("story"); }

  leaves() {
    const { values } = this.model.get("numbers");
    return Object.fromEntries(
      this.story.nodes.flatMap((node, i) => (node.leaf ? [[i, scalar(values[i])]] : [])),
    );
  }

  begin() { this.past = [this.leaves()]; }

  loss(numbers = this.model.get("numbers")) { return numbers.values[this.story.output]; }

  show(leaves) {
    const numbers = compute(this.story, leaves);
    this.model.set("numbers", numbers);
    return numbers;
  }

  async answer(request) {
    let trouble = "";
    try {
      await this[request.kind](request);
    } catch (error) {
      trouble = String(error.message ?? error);
    }
    this.model.set("answer", { serial: request.serial, trouble });
  }

  set({ values }) {
    const { nodes, program, refusal } = this.story;
    if (!program) throw new Error(refusal);
    const leaves = this.leaves();
    for (const [name, value] of Object.entries(values)) leaves[nodes.findIndex((n) => n.id === name)] = value;
    const numbers = this.show(leaves);
    this.begin();
    this.model.set("history", [this.loss(numbers)]);
    this.model.set("at", 0);
  }

  train({ steps, rate }) {
    let numbers = this.model.get("numbers");
    // From the point that is shown: what came after it is forgotten.
    this.past = this.past.slice(0, this.model.get("at") + 1);
    const history = this.model.get("history").slice(0, this.past.length);
    if (!history.length) history.push(this.loss(numbers));
    for (let n = 0; n < steps; n++) {
      const leaves = { ...this.past.at(-1) };
      for (const i of this.story.moving) leaves[i] -= rate * (scalar(numbers.grads[i] ?? 0));
      numbers = compute(this.story, leaves);
      this.past.push(leaves);
      history.push(this.loss(numbers));
    }
    this.model.set("numbers", numbers);
    this.model.set("history", history);
    this.model.set("at", history.length - 1);
  }

  at({ index }) {
    if (!this.past[index]) return;
    this.show(this.past[index]);
    this.model.set("at", index);
  }

  async fold({ folded }) {
    this.drawings ??= await unpacked(this.model.get("drawings"));
    const wanted = [...folded].sort().join("\n");
    const found = this.drawings.find((drawing) => drawing.folded.join("\n") === wanted);
    if (!found) throw new Error("this file does not bring that arrangement along");
    this.model.set("drawing", found);
    this.model.set("folded", found.folded);
  }
}

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** A page's model: anywidget's interface, with no Python behind it. */
class PageModel {
  constructor(state) {
    this.state = { step: 1e9, selected: [], targets: [], history: [], at: 0, rate: 0.5, answer: {},
      language: "", theme: "auto", ...state };
    this.listeners = new Map();
    this.local = new Local(this);
  }
  get(name) { return this.state[name]; }
  set(name, value) {
    this.state[name] = value;
    for (const listener of this.listeners.get(`change:${name}`) ?? []) listener();
  }
  save_changes() {}
  on(event, listener) { this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]); }
  off(event, listener) {
    this.listeners.set(event, (this.listeners.get(event) ?? []).filter((l) => l !== listener));
  }
  send(request) { if (request.kind) this.local.answer(request); }
}

/** The page: the state is in the document itself. */
export function openPage() {
  const state = JSON.parse(document.querySelector('script[type="application/json"]').textContent);
  const model = new PageModel(state);
  const el = document.querySelector("main");
  new App(model, el);
  // The page is the graph's alone: its keys work wherever the focus is not.
  document.addEventListener("keydown", (event) => {
    if (event.target !== document.body) return;
    const copy = new KeyboardEvent("keydown", event);
    if (!el.firstChild.dispatchEvent(copy)) event.preventDefault();
  });
  globalThis.gradviz = model; // for the curious, at the console
}

export { FUNCTIONS, compute };
