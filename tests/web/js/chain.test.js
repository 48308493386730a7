import assert from "node:assert/strict";
import { test } from "node:test";
import { Chain } from "../../../gradviz/web/js/chain.js";

/** A graph of these operands: [[], [0, 0], [1, 1]] squares a leaf twice. */
function story(operands) {
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
  const { paths, lengths } = new Chain(story(doubled(200))).counts;
  assert.equal(paths[0], 2n ** 200n);
  assert.equal(lengths[0], 200n * 2n ** 200n);
});

test("of astronomically many paths the largest come first", () => {
  const chain = new Chain(story(doubled(100)));
  const locals = chain.story.edges.map(({ key }) => (key ? 1 : 2));
  const [first, second] = chain.paths(0, locals);
  assert.equal(first.value, 2 ** 100);
  assert.equal(second.value, 2 ** 99);
  assert.equal(first.edges.length, 100);
});

test("the first target computes what the second reads from the cache", () => {
  const chain = new Chain(story([[], [], [0, 1], [2, 2], [3]]));
  const { rows, cached } = chain.ledger([0, 1]);
  assert.deepEqual(rows[0].computed, [4, 3, 2]);
  assert.deepEqual(rows[1].computed, []);
  assert.deepEqual(rows[1].read, [2]);
  assert.deepEqual([...cached], [2]);
  assert.equal(rows[1].vjps, 1);
  assert.equal(rows[1].without, 6n);
});

test("a sum grows message by message", () => {
  const chain = new Chain(story([[], [0, 0]]));
  const steps = chain.story.steps.map((_, step) => chain.until(step, [3, 4]).sums.get(0));
  assert.deepEqual(steps.slice(3), [
    { total: 4, terms: 1 },
    { total: 7, terms: 2 },
    { total: 7, terms: 2 },
  ]);
  assert.equal(chain.terms(0), 2);
});
