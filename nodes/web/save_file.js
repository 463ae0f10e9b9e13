/** Gives the browser a file to save. */

import { element } from "./dom.js";

const KEPT_MS = 60_000;

export function saveFile(name, blob) {
  const href = URL.createObjectURL(blob);
  element("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), KEPT_MS);
}
