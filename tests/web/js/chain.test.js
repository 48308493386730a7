import assert from "node:assert/strict";
import { test } from "node:test";
import { Chain } from "../../../gradviz/web/js/chain.js";
import { courseOf } from "../../../gradviz/web/js/course.js";

/** A graph of these operands: [[], [0, 0], [1, 1]] squares a leaf twice. */
function structure(operands) {
  const edges = operands.flatMap((us, v) =>
    us.map((u, key) => ({ u, v, key, alone: false, carries: true })),
  );
  const nodes = operands.map((us, i) => ({
    name: `v${i}`,
    computed: us.length > 0,
  }));
  const messages = edges.map((_, e) => ["message", e]).reverse();
  const values = operands.flatMap((us, v) => (us.length ? [["value", v]] : []));
  const output = operands.length - 1;
  const steps = [["given"], ...values, ["seed", output], ...messages, ["done"]];
  return { nodes, edges, output, steps };
}
const doubled = (n) => [[], ...Array.from({ length: n }, (_, i) => [i, i])];

test("paths are counted exactly, far beyond what a float holds", () => {
  const { paths, lengths } = new Chain(structure(doubled(200))).counts;
  assert.equal(paths[0], 2n ** 200n);
  assert.equal(lengths[0], 200n * 2n ** 200n);
});

test("of astronomically many paths the largest come first", () => {
  const chain = new Chain(structure(doubled(100)));
  const locals = chain.structure.edges.map(({ key }) => (key ? 1 : 2));
  const [first, second] = chain.paths(0, locals);
  assert.equal(first.value, 2 ** 100);
  assert.equal(second.value, 2 ** 99);
  assert.equal(first.edges.length, 100);
});

test("the first target computes what the second reads from the cache", () => {
  const chain = new Chain(structure([[], [], [0, 1], [2, 2], [3]]));
  const { rows, cached } = chain.ledger([0, 1]);
  assert.deepEqual(rows[0].computed, [4, 3, 2]);
  assert.deepEqual(rows[1].computed, []);
  assert.deepEqual(rows[1].read, [2]);
  assert.deepEqual([...cached], [2]);
  assert.equal(rows[1].vjps, 1);
  assert.equal(rows[1].without, 6n);
});

const whole = { inside: [], closed: {} };

test("a sum grows message by message", () => {
  const chain = new Chain(structure([[], [0, 0]]));
  const course = courseOf(chain, [], whole);
  const steps = chain.structure.steps.map((_, step) => chain.until(course, step).sums.get(0));
  assert.deepEqual(steps, [undefined, undefined, undefined, [1], [1, 0], [1, 0]]);
  assert.equal(chain.terms(0), 2);
});

// Of two leaves (0, 1) their product (2), which two operations read (3, 4), and the result (5).
const shared = () => new Chain(structure([[], [], [0, 1], [2], [2], [3, 4]]));
const ends = (chain, [kind, e]) => {
  const { u, v } = chain.structure.edges[e] ?? {};
  return kind === "message" ? `${v}→${u}` : kind;
};

test("with targets the ledger is played in its order, each message once", () => {
  const chain = shared();
  const { events, parts } = courseOf(chain, [3, 0, 1, 2], whole);
  const backward = events.map((event, n) => [ends(chain, event), parts[n]]).slice(6);
  assert.deepEqual(backward, [
    ["5→3", 0],
    ["5→4", 1],
    ["4→2", 1],
    ["3→2", 1],
    ["2→0", 1],
    ["2→1", 2],
    ["cached", 3],
    ["done", -1],
  ]);
  const past = chain.until(courseOf(chain, [3, 0, 1, 2], whole), 11);
  assert.deepEqual([...past.again], [5, 3, 2]);
  assert.deepEqual(past.sums.get(2).length, chain.terms(2));
});

test("a closed fold is one step of each pass", () => {
  const chain = shared();
  const folded = { inside: [[2, 3, 4]], closed: { 4: "fold" } };
  const { events, stops } = courseOf(chain, [], folded);
  const met = stops.map((stop) => ends(chain, events[stop]));
  assert.deepEqual(met, ["given", "value", "value", "seed", "5→4", "5→3", "2→0", "done"]);
});
