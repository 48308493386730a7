// The headings of frames, when edges have moved.

import { set } from "./elements.js";
import { tracedBy } from "./routes.js";
import { all, shift, sides } from "./things.js";

/** Headings come to where no edge runs through them. @param {SVGGElement} panel */
export function seat(panel) {
  const ways = all(panel, "g.arrow path").map((line) => tracedBy(line.getAttribute("d") ?? ""));
  const frames = all(panel, ".group").map(sides);
  for (const title of all(panel, "g.group-title")) {
    const [left, top, right, bottom] = sides(title);
    const frame = frames.find(([x, y, z]) => x < left && right < z && top - y > 0 && top - y < 6);
    if (!frame) continue;
    const crossed = ways
      .flatMap((way) => way.slice(1).map((point, n) => [way[n], point]))
      .filter(([[, a], [, b]]) => Math.min(a, b) < bottom && Math.max(a, b) > top)
      .map(([[a], [b]]) => [Math.min(a, b) - 3, Math.max(a, b) + 3])
      .sort(([a], [b]) => a - b);
    if (!crossed.some(([a, b]) => a < right && b > left)) continue;
    const whole = title.textContent?.trim() ?? "";
    const [text, ...others] = all(title, "text");
    const forms = [whole, /^.*? · [A-Z]\w*/.exec(whole)?.[0], whole.split(" · ")[0]];
    for (const said of others.length ? [whole] : forms) {
      if (!said) continue;
      const wide = ((right - left) * said.length) / whole.length;
      let at = frame[0] + 8;
      for (const [a, b] of [...crossed, [frame[2] - 4, frame[2]]]) {
        if (a - at >= wide) break;
        at = Math.max(at, b);
      }
      if (at >= frame[2]) continue; // no place
      shift(title, [at - left, 0]);
      if (said !== whole) {
        text.textContent = said;
        set(text, { textLength: wide - 8 });
        set(all(title, "rect")[0], { width: wide });
      }
      break;
    }
  }
}
