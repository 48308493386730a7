// The page's rooms without a page: a line of JSON asks, {"call": name, "args": [...]}, and a line
// of JSON answers. What JSON lacks travels as text, and so do exact integers.

import { createInterface } from "node:readline";
import { expected, judged, read, terms } from "../../../gradviz/web/js/answers.js";
import { axesOf, flat, fromLists, shapeOf } from "../../../gradviz/web/js/arrays.js";
import { courseOf } from "../../../gradviz/web/js/course.js";
import { numeral } from "../../../gradviz/web/js/formulas.js";
import { FUNCTIONS } from "../../../gradviz/web/js/functions.js";
import { Jacobians } from "../../../gradviz/web/js/jacobian.js";
import { PageModel } from "../../../gradviz/web/js/local.js";
import { scalar, short, wire } from "../../../gradviz/web/js/numbers.js";
import { Machine, numbersOfRun } from "../../../gradviz/web/js/program.js";
import { factored, localLines, message, pathLines } from "../../../gradviz/web/js/rule.js";
import { Session } from "../../../gradviz/web/js/session.js";
import { OF_ARRAYS } from "../../../gradviz/web/js/wholes.js";

const drawing = { svg: "", folded: [], scopes: [], inside: [], closed: {}, frames: {} };
let session = new Session(
  new PageModel({
    drawing,
    structure: { nodes: [{ name: "J" }], edges: [], output: 0, steps: [["given"]] },
    numbers: { messages: [] },
    words: { en: {} },
  }),
);

const CALLS = {
  functions: () => [Object.keys(FUNCTIONS), Object.keys(OF_ARRAYS)],
  short: (...numbers) => numbers.map((x) => short(scalar(x))),
  numerals: (...numbers) => numbers.map((x) => numeral(scalar(x)).tex),
  /** Numbers at other leaves, or where the program would go another way. */
  compute: (structure, ...points) => {
    const machine = new Machine(structure.program);
    return points.map((point) => {
      const given = Object.entries(point).map(([i, x]) => [i, fromLists(x)]);
      const { run, astray } = machine.run({ ...machine.recorded, ...Object.fromEntries(given) });
      return { ...numbersOfRun(run, structure), astray };
    });
  },
  /** All numbers of arrays: of values, gradients, local derivatives, messages. */
  arrays: (structure, ...points) => {
    const machine = new Machine(structure.program);
    const { shown } = structure.program;
    const lists = (x) => (x === undefined || x === null ? null : [shapeOf(x), [...flat(x)]]);
    return points.map((point) => {
      const given = Object.entries(point).map(([i, x]) => [i, fromLists(x)]);
      const { run, astray } = machine.run({ ...machine.recorded, ...Object.fromEntries(given) });
      return {
        astray,
        values: shown.map(([own]) => lists(run.values[own])),
        grads: shown.map(([own]) => lists(run.gradients[own])),
        states: shown.map(([own]) => run.state(own)),
        locals: structure.edges.map(({ v, key }) => lists(run.slope(shown[v], key))),
        messages: structure.edges.map(({ v, key }) => lists(run.message(shown[v], key))),
      };
    });
  },
  /** From here on it is about this graph. */
  open: (state) => {
    session = new Session(new PageModel({ drawing, ...state }));
    return session.nodes.length;
  },
  counts: () => session.chain.counts,
  ledger: (...targets) => session.chain.ledger(targets).rows,
  course: (...targets) => courseOf(session.chain, targets, drawing).events,
  paths: (i, k) => session.chain.paths(i, session.numbers.locals, k),
  formulas: (i) => {
    const paths = session.chain.paths(i, session.numbers.locals);
    const rest = session.chain.counts.paths[i] - BigInt(paths.length);
    const [symbols, numbers] = pathLines(session, i, paths, rest);
    return { symbols, numbers, factored: factored(session, i) };
  },
  read: (text) => read(text),
  /** Of each question of a lesson: what is right, and what is said of a number. */
  expected: () => session.get("lesson").questions.map((q) => expected(session, q)),
  reused: () =>
    session
      .get("lesson")
      .questions.map((q) => (q.kind === "reused" ? terms(session, q).reused : [])),
  judged: (n, given) => judged(session, session.get("lesson").questions[n], given, 0.01),
  /** The Jacobian of each edge by its rows, or why there is none. */
  jacobians: () => {
    const jacobians = new Jacobians(session);
    return session.edges.map(({ v }, e) => {
      try {
        const row = jacobians.edge(e);
        const size = axesOf(session.nodes[v].shape).reduce((all, n) => all * n, 1);
        return Array.from({ length: size }, (_, k) => row(k));
      } catch (error) {
        return error.message;
      }
    });
  },
  edge: (e) => [...localLines(session, e), message(session, e)],
};

function plain(x) {
  if (typeof x === "bigint") return String(x);
  return typeof x === "number" ? wire(x) : x;
}

for await (const line of createInterface({ input: process.stdin })) {
  const { call, args } = JSON.parse(line);
  let answer;
  try {
    answer = { result: CALLS[call](...args) };
  } catch (error) {
    answer = { error: error.stack };
  }
  console.log(JSON.stringify(answer, (_, x) => plain(x)));
}
