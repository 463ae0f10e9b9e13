/** Messages of ComfyUI's own at the edge of the page. */

import { app } from "../../scripts/app.js";

const LIFE_MS = 8000;

/** @param {"info"|"warn"|"error"} severity */
export function tell(severity, summary, detail = undefined) {
  app.extensionManager?.toast?.add({ severity, summary, detail, life: LIFE_MS });
}
