// Light or dark: as asked for, else as the host has it.

/** @type {Record<string, boolean>} */
const DARK = { dark: true, light: false };

/**
 * Is the page or the notebook around dark?
 * @returns {boolean}
 */
function hostIsDark() {
  const { body, documentElement: top } = document;
  const jupyter = body.dataset.jpThemeLight;
  if (jupyter === "true" || jupyter === "false") return jupyter === "false";
  const named = top.dataset.theme ?? body.dataset.theme ?? "";
  const classed = `${top.className} ${body.className}`.match(/\b(?:vscode-)?(dark|light)\b/)?.[1];
  return DARK[named] ?? DARK[classed ?? ""] ?? matchMedia("(prefers-color-scheme: dark)").matches;
}

/**
 * @param {HTMLElement} root
 * @param {string} asked
 */
export function paint(root, asked) {
  const next = asked !== "auto" ? asked : hostIsDark() ? "dark" : "light";
  if (root.dataset.theme !== next) root.dataset.theme = next;
}

/**
 * Call whenever the host may have changed; what is returned ends that.
 * @param {() => void} changed
 */
export function watch(changed) {
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", changed);
  const watcher = new MutationObserver(changed);
  for (const host of [document.documentElement, document.body]) {
    watcher.observe(host, { attributes: true });
  }
  return () => {
    media.removeEventListener("change", changed);
    watcher.disconnect();
  };
}
