/** The server's routes below /ltxv_train; docs/rest.md gives the types of what they answer. */

import { api } from "../../scripts/api.js";

/** The server refused, or could not do it; `message` says why. */
export class RefusedError extends Error {}

const part = encodeURIComponent;

/** The address of a file of the samples of a run, named like "000100/0.mp4". */
export function sampleUrl(run, file) {
  return api.apiURL(`/ltxv_train/runs/${part(run)}/samples/${file.split("/").map(part).join("/")}`);
}

export function loraUrl(run, file) {
  return api.apiURL(`/ltxv_train/runs/${part(run)}/loras/${part(file)}`);
}

export const listRuns = () => get("/ltxv_train/runs");
export const runDetails = (run) => get(`/ltxv_train/runs/${part(run)}`);
export const configuration = (run) => get(`/ltxv_train/runs/${part(run)}/config`);

/** What was measured after a step, in at most so many points. */
export function metrics(run, since, points) {
  return get(`/ltxv_train/runs/${part(run)}/metrics?since=${since}&points=${points}`);
}

/** @param {"pause"|"resume"|"stop"|"sample"|"checkpoint"|"delete"|"publish"} action */
export async function act(run, action, body = {}) {
  const answer = await api.fetchApi(`/ltxv_train/runs/${part(run)}/${action}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return content(answer);
}

/** Used and total memory in bytes of the device that ComfyUI runs on. */
export async function deviceMemory() {
  const { devices } = await get("/system_stats");
  const { vram_total: total, vram_free: free } = devices[0];
  return { used: total - free, total };
}

async function get(path) {
  return content(await api.fetchApi(path, { cache: "no-store" }));
}

async function content(answer) {
  const value = await answer.json().catch(() => null);
  if (!answer.ok) throw new RefusedError(value?.error ?? `the server answered ${answer.status}`);
  return value;
}
