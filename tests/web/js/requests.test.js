import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { Requests } from "../../../gradviz/web/js/requests.js";

function started(post) {
  const posted = [];
  const events = [];
  const requests = new Requests(
    post ?? ((message) => message.kind && posted.push(message)),
    (serial) => events.push(`settled ${serial}`),
    () => events.push("gone"),
  );
  return { posted, events, requests };
}
const set = (values) => ({ kind: "set", values });

test("two requests are under way; of those that wait the newest wins, with all that was set", () => {
  const { posted, requests } = started();
  requests.ask(set({ w: 1 }));
  requests.ask(set({ w: 2 }));
  requests.ask(set({ w: 3 }));
  requests.ask(set({ w: 4, b: 1 }));
  requests.ask(set({ w: 5 }));
  assert.equal(posted.length, 2);
  requests.answered(posted[0].serial, () => {});
  assert.deepEqual(posted[2].values, { w: 5, b: 1 });
  requests.forget();
});

test("steps of training are all taken", () => {
  const { posted, requests } = started();
  for (let n = 0; n < 4; n++) requests.ask({ kind: "train", steps: 1, rate: 0.1 });
  for (let n = 0; n < 4; n++) requests.answered(posted[n].serial, () => {});
  assert.equal(posted.length, 4);
  requests.forget();
});

test("an answer to another view's request is not ours", () => {
  const { posted, requests } = started();
  requests.ask(set({ w: 1 }));
  let heard = 0;
  requests.answered("somebody.1", () => heard++);
  assert.equal(heard, 0);
  requests.answered(posted[0].serial, () => heard++);
  assert.equal(heard, 1);
  requests.forget();
});

test("a kernel that cannot be reached is said to be gone, and the next request tries again", () => {
  let reachable = false;
  const { events, requests } = started(() => {
    if (!reachable) throw new Error("closed");
  });
  requests.ask(set({ w: 1 }));
  assert.deepEqual(events, ["gone"]);
  reachable = true;
  requests.ask(set({ w: 2 }));
  assert.deepEqual(events, ["gone"]);
  assert.equal(requests.flying.size, 1);
  requests.forget();
});

test("who does not answer is reminded by empty messages", async () => {
  const messages = [];
  const { requests } = started((message) => messages.push(message));
  requests.ask(set({ w: 1 }));
  while (messages.length < 3) await wait(10);
  assert.deepEqual(messages.slice(1, 3), [{}, {}]);
  requests.forget();
});

test("after the last answer it is told that all has settled", async () => {
  const { posted, events, requests } = started();
  requests.ask(set({ w: 1 }));
  requests.answered(posted[0].serial, () => {});
  while (!events.length) await wait(10);
  assert.deepEqual(events, [`settled ${posted[0].serial}`]);
});
