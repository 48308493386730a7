// What follows from the structure of a graph alone: who reads whom, paths, the ledger of reuse.

import { scalar } from "./numbers.js";

/** @import { Course, Event } from "./course.js" */

/** How many paths are written out. */
export const SHOWN_PATHS = 8;

/**
 * A way from a value to J, edge by edge.
 * @typedef {{value: number, edges: number[]}} Path
 */
/**
 * Such a way while it is built from J down: the edge to `next`, which goes on.
 * @typedef {{value: number, size: number, edge: number, next: Begun | null}} Begun
 */
/**
 * What a target computes, and what it reads from the cache.
 * @typedef {object} LedgerRow
 * @property {number} target
 * @property {number[]} computed
 * @property {number[]} reused
 * @property {number[]} read
 * @property {number[]} edges that are evaluated for it, from the output backwards
 * @property {number} vjps
 * @property {bigint} without what the sum over all its paths would cost
 */
/**
 * All that has happened up to a step.
 * @typedef {object} Past
 * @property {Set<number>} values
 * @property {Map<number, number>} reads how often each cached term was read
 * @property {Set<number>} again terms that a target read which an earlier one had computed
 * @property {Map<number, number[]>} sums the edges whose messages each gradient has
 * @property {Set<number>} sent the edges that have sent their message
 * @property {Event[]} now what happens at this step; of a closed fold, all in it
 * @property {number} part the target that it is for, by its place; -1 without one
 */

/** One more for a key. @type {(all: Map<number, number[]>, key: number, x: number) => void} */
function add(all, key, x) {
  const known = all.get(key);
  if (known) known.push(x);
  else all.set(key, [x]);
}

export class Chain {
  /** @param {Structure} structure */
  constructor(structure) {
    this.structure = structure;
    /** @type {number[][]} edges by which a gradient can come back */
    this.out = structure.nodes.map(() => []);
    /** @type {number[][]} */
    this.into = structure.nodes.map(() => []);
    for (const [e, { v }] of structure.edges.entries()) this.into[v].push(e);
    const reached = new Set([structure.output]);
    for (let v = structure.output; v >= 0; v--) {
      if (!reached.has(v)) continue;
      for (const e of this.into[v]) {
        const { u, carries } = structure.edges[e];
        if (!carries) continue;
        reached.add(u);
        this.out[u].push(e);
      }
    }
    /** @type {number[] | undefined} */
    this.summed = undefined;
    /** @type {{paths: bigint[], lengths: bigint[]} | undefined} */
    this.counted = undefined;
  }

  /** @param {number} target */
  needs(target) {
    /** @type {Set<number>} */
    const found = new Set();
    const pending = [target];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      for (const e of this.out[at]) {
        const { v } = this.structure.edges[e];
        if (found.has(v)) continue;
        found.add(v);
        pending.push(v);
      }
    }
    return found;
  }

  /** Exact numbers of paths, and the total length of all of them. */
  get counts() {
    if (this.counted) return this.counted;
    const { output, nodes, edges } = this.structure;
    const paths = nodes.map(() => 0n);
    const lengths = nodes.map(() => 0n);
    paths[output] = 1n;
    for (let u = output - 1; u >= 0; u--) {
      for (const e of this.out[u]) {
        paths[u] += paths[edges[e].v];
        lengths[u] += lengths[edges[e].v] + paths[edges[e].v];
      }
    }
    this.counted = { paths, lengths };
    return this.counted;
  }

  /**
   * The `k` paths that contribute most. Products of sizes: the best of the best are the best.
   * @param {number} target
   * @param {(Quantity | null)[]} locals
   * @returns {Path[]}
   */
  paths(target, locals, k = SHOWN_PATHS) {
    const { output, edges } = this.structure;
    if (target === output) return [];
    /** @type {Map<number, Begun[]>} */
    const best = new Map([[output, [{ value: 1, size: 1, edge: -1, next: null }]]]);
    const needed = this.needs(target);
    for (let u = output - 1; u >= target; u--) {
      if (u !== target && !needed.has(u)) continue;
      /** @type {Begun[]} */
      const found = [];
      for (const e of this.out[u]) {
        const local = scalar(locals[e]);
        const size = Number.isNaN(local) ? 1 : Math.abs(local);
        for (const next of best.get(edges[e].v) ?? []) {
          found.push({ value: next.value * local, size: next.size * size, edge: e, next });
        }
      }
      best.set(u, found.sort((a, b) => b.size - a.size).slice(0, k));
    }
    return (best.get(target) ?? []).map((path) => {
      const along = [];
      for (let at = path; at.next; at = at.next) along.push(at.edge);
      return { value: path.value, edges: along };
    });
  }

  /**
   * Who computes which upstream term, and who reads it again.
   * @param {number[]} targets
   */
  ledger(targets) {
    /** @type {Set<number>} */
    const cached = new Set();
    /** @type {Set<number>} */
    const evaluated = new Set();
    /** @type {Set<number>} */
    const again = new Set();
    /** @type {Map<number, number[]>} the edges along which each term is read */
    const reads = new Map();
    /** @type {LedgerRow[]} */
    const rows = [];
    const down = (/** @type {Iterable<number>} */ ids) => [...ids].sort((a, b) => b - a);
    for (const target of targets) {
      const needed = this.needs(target);
      const computed = [...needed].filter((v) => !cached.has(v));
      const reused = [...needed].filter((v) => cached.has(v));
      const working = down(cached.has(target) ? computed : [...computed, target]);
      const edges = working.flatMap((u) => this.out[u]).filter((e) => !evaluated.has(e));
      const read = new Set(cached.has(target) ? [target] : []);
      for (const e of edges) {
        const { v } = this.structure.edges[e];
        add(reads, v, e);
        evaluated.add(e);
        if (cached.has(v) && needed.has(v)) read.add(v);
      }
      for (const v of read) again.add(v);
      rows.push({
        target,
        computed: down(computed),
        reused: down(reused),
        read: down(read),
        edges,
        vjps: edges.length,
        without: this.counts.lengths[target],
      });
      for (const v of needed) cached.add(v);
      cached.add(target);
    }
    return { rows, reads, cached: again };
  }

  /**
   * How many messages a gradient is the sum of.
   * @param {number} i
   */
  terms(i) {
    if (!this.summed) {
      this.summed = this.structure.nodes.map(() => 0);
      for (const [kind, e] of this.structure.steps) {
        if (kind === "message") this.summed[this.structure.edges[e].u]++;
      }
    }
    return this.summed[i];
  }

  /**
   * All that has happened up to a step.
   * @param {Course} course
   * @param {number} step
   * @returns {Past}
   */
  until({ events, parts, stops }, step) {
    const { nodes, edges } = this.structure;
    const values = new Set(nodes.flatMap((node, i) => (node.computed ? [] : [i])));
    const reads = new Map();
    const sums = new Map();
    const sent = new Set();
    const again = new Set();
    /** @type {Map<number, number>} the part in which each term was first met */
    const first = new Map();
    for (const [n, [kind, what]] of events.slice(0, step + 1).entries()) {
      if (kind === "value") values.add(what);
      if (kind === "seed") sums.set(what, []);
      if (kind === "cached") again.add(what);
      if (kind !== "message") continue;
      const { u, v } = edges[what];
      reads.set(v, (reads.get(v) ?? 0) + 1);
      add(sums, u, what);
      sent.add(what);
      for (const term of [u, v]) if (!first.has(term)) first.set(term, parts[n]);
      if (first.get(v) !== parts[n]) again.add(v);
    }
    const before = stops[stops.indexOf(step) - 1] ?? -1;
    const now = events.slice(before + 1, step + 1);
    return { values, reads, again, sums, sent, now, part: parts[step] };
  }
}
