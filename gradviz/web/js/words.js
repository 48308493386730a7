// What is said, in the reader's language: texts with places, `{name}`.

/**
 * The language that is asked for, the browser's, or English.
 * @type {(all: State["words"], asked: string) => string}
 */
export const languageOf = (all, asked) =>
  [asked, globalThis.navigator?.language, "en"]
    .map((tag) => (tag ?? "").split("-")[0])
    .find((tag) => tag in all) ?? "en";

/**
 * The parts of a text, with what goes into its places.
 * @template [T=never]
 * @param {string} text
 * @param {Record<string, T | string | number | bigint>} places
 * @returns {(T | string | number | bigint)[]}
 */
export const filled = (text, places) =>
  text.split(/\{(\w+)\}/).map((part, i) => {
    if (i % 2 === 0) return part;
    const place = places[part] ?? "";
    // An element stands in one place only: where a text has it twice, there are two.
    const { cloneNode } = /** @type {any} */ (place);
    return cloneNode ? cloneNode.call(place, true) : place;
  });

/**
 * What a picture says, in other words: those of the whole text, of a sentence with places that it
 * is, or of each of its words.
 * @type {(said: string, words: Record<string, string>) => string}
 */
export function inWords(said, words) {
  if (said in words) return words[said];
  for (const [sentence, own] of Object.entries(words)) {
    const parts = sentence.split(/\{(\w+)\}/);
    if (parts.length < 3) continue;
    const plain = parts.map((part, i) =>
      i % 2 ? "(.+)" : part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"),
    );
    const [, ...found] = new RegExp(`^${plain.join("")}$`).exec(said) ?? [];
    if (!found.length) continue;
    const places = found.map((text, i) => [parts[2 * i + 1], inWords(text, words)]);
    return filled(own, Object.fromEntries(places)).join("");
  }
  return said
    .split(" ")
    .map((word) => words[word] ?? word)
    .join(" ");
}
