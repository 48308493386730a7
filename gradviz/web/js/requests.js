// Asking the other half of the model: two requests at a time, and of those that wait the newest
// wins.

const NUDGE = 20; // ms until a kernel that does not answer is reminded
const PATIENCE = 5000; // ms until it is said to be gone
const NEWEST = new Set(["set", "at", "fold"]); // of these the newest wins; of others all count
const SETTLE = 200; // ms without a request until Python is told that the view has settled

export class Requests {
  /**
   * @param {(message: object) => void} post
   * @param {(serial: string) => void} settled
   * @param {() => void} gone
   */
  constructor(post, settled, gone) {
    this.post = post;
    this.settled = settled;
    this.gone = gone;
    this.id = Math.random().toString(36).slice(2); // a widget may be shown twice
    this.serial = 0;
    /** @type {ViewRequest[]} */
    this.queue = [];
    this.flying = new Set();
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.waiting = undefined;
  }

  /** @param {ViewRequest} request */
  ask(request) {
    const last = this.queue.at(-1);
    if (last?.kind === request.kind && NEWEST.has(request.kind)) {
      const values = last.kind === "set" &&
        request.kind === "set" && {
          values: { ...last.values, ...request.values },
        };
      Object.assign(last, request, values);
    } else this.queue.push(request);
    this.next();
  }

  next() {
    if (this.flying.size > 1 || !this.queue.length) return;
    const serial = `${this.id}.${++this.serial}`;
    this.flying.add(serial);
    this.send({ ...this.queue.shift(), serial });
  }

  /**
   * Until the answer comes, an empty message now and then: Jupyter's server keeps a small answer
   * back until the browser has acknowledged what came before it, for which browsers take some
   * 40 ms, unless they have something to send.
   * @param {object} message
   */
  send(message, patience = NUDGE) {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(
      () => (3 * patience > PATIENCE ? this.lost() : this.send({}, 1.5 * patience)),
      patience,
    );
    try {
      this.post(message);
    } catch {
      this.lost();
    }
  }

  /**
   * Is this answer ours? Then the next request goes.
   * @param {string | undefined} serial
   * @param {() => void} heard
   */
  answered(serial, heard) {
    if (!serial?.startsWith(this.id)) return; // another view asked
    this.flying.delete(serial);
    if (!this.flying.size) {
      // marimo runs again what reads the widget where a trait is put
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => this.settled(serial), SETTLE);
    }
    heard();
    this.next();
  }

  /** Nobody answers: what is shown stays usable, and the next request tries again. */
  lost() {
    this.forget();
    this.gone();
  }

  forget() {
    clearTimeout(this.waiting);
    this.flying.clear();
    this.queue = [];
  }
}
