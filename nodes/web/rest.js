/** The server's routes below /ltxv_train; docs/rest.md gives the types of what they answer. */

import { api } from "../../scripts/api.js";

/** The server refused, or could not do it; `message` says why. */
export class RefusedError extends Error {}

const part = encodeURIComponent;

/** The address of a file of the samples of a run, named like "000100/000.mp4". */
export function sampleUrl(run, file) {
  return api.apiURL(`/ltxv_train/runs/${part(run)}/samples/${file.split("/").map(part).join("/")}`);
}

export function loraUrl(run, file) {
  return api.apiURL(`/ltxv_train/runs/${part(run)}/loras/${part(file)}`);
}

/** The address of a run's page, to be shared. */
export const reportUrl = (run) => api.apiURL(`/ltxv_train/runs/${part(run)}/report`);

/** The address of the picture of what was heard; another one each time that somebody has listened. */
export const voicePictureUrl = (run, mark) => api.apiURL(`/ltxv_train/runs/${part(run)}/voice/picture?of=${part(mark)}`);

/** What was found of a run's sound, and listening to it. */
export const voice = (run) => get(`/ltxv_train/runs/${part(run)}/voice`);
export const listen = (run) => post(`/ltxv_train/runs/${part(run)}/voice`, {});

export const listRuns = () => get("/ltxv_train/runs");
export const runDetails = (run) => get(`/ltxv_train/runs/${part(run)}`);
export const configuration = (run) => get(`/ltxv_train/runs/${part(run)}/config`);

/** What was measured after a step, in at most so many points; of every step where no number is given. */
export function metrics(run, since, points = null) {
  const most = points === null ? "" : `&points=${points}`;
  return get(`/ltxv_train/runs/${part(run)}/metrics?since=${since}${most}`);
}

/** @param {"pause"|"resume"|"stop"|"sample"|"checkpoint"|"name"|"delete"|"publish"|"upload"} action */
export const act = (run, action, body = {}) => post(`/ltxv_train/runs/${part(run)}/${action}`, body);

/** The nodes of a YAML configuration, given as a file's path or as text. */
export const nodesOfConfiguration = (given) => post("/ltxv_train/config/nodes", given);

/** What presets of target modules take, of a rank and a model as widgets name it. */
export function loraLayers(run, file) {
  return get(`/ltxv_train/runs/${part(run)}/loras/${part(file)}/layers`);
}

export const targetPresets = (given) => post("/ltxv_train/lora/presets", given);

/** The upload that a run asks for. */
export const upload = (run) => get(`/ltxv_train/runs/${part(run)}/upload`);

/** What graphs may do on this machine; the other two change it and answer the same. */
export const permissions = () => get("/ltxv_train/permissions");
export const allow = (grants) => post("/ltxv_train/permissions/allow", grants);
export const removePermission = (grants) => post("/ltxv_train/permissions/remove", grants);

/** What memory the device that ComfyUI runs on computes in, and used and total bytes of it. */
export async function deviceMemory() {
  const { devices } = await get("/system_stats");
  const { type, vram_total: total, vram_free: free } = devices[0];
  return { kind: type === "cpu" ? "RAM" : "VRAM", used: total - free, total };
}

async function post(path, body) {
  const answer = await api.fetchApi(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  return content(answer);
}

async function get(path) {
  return content(await api.fetchApi(path, { cache: "no-store" }));
}

async function content(answer) {
  const value = await answer.json().catch(() => null);
  if (!answer.ok) throw new RefusedError(value?.error ?? `the server answered ${answer.status}`);
  return value;
}
