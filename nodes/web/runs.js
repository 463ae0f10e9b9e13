/**
 * Runs as this page knows them: the history comes from the server once, what happens afterwards
 * comes with events. Several widgets that show one run share its feed.
 */

import { api } from "../../scripts/api.js";
import { COLUMNS, emptyColumns, flatColumns, rowOf } from "./columns.js";
import { lastAtMost } from "./series.js";
import { amount } from "./units.js";
import * as rest from "./rest.js";

const EVENT = "ltxv_train.progress";
const HISTORY_POINTS = 2000;

const feeds = new Map();
const listeners = new Set();

/** The feed of a run, made when it is first asked for. */
export function feedOf(name) {
  if (!feeds.has(name)) feeds.set(name, new RunFeed(name));
  return feeds.get(name);
}

/** Forgets a run that was deleted. */
export function forget(name) {
  feeds.get(name)?.end();
  feeds.delete(name);
}

/** Calls a function with the data of every event of every run; returns what ends that. */
export function onEvent(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Begins to listen to the server. */
export function listen() {
  api.addEventListener(EVENT, ({ detail }) => {
    if (detail.kind === "RunDeleted") forget(detail.run);
    else feeds.get(detail.run)?.take(detail);
    for (const listener of listeners) listener(detail);
  });
  api.addEventListener("reconnected", () => {
    for (const feed of feeds.values()) feed.load();
    for (const listener of listeners) listener({ kind: "Reconnected", run: null, node: null });
  });
}

/** Tells "change" whenever something of the run is new. */
export class RunFeed extends EventTarget {
  constructor(name) {
    super();
    this.name = name;
    /** As GET /ltxv_train/runs/{name} answers; null until it has. */
    this.details = null;
    /** Columns of equal length. */
    this.columns = emptyColumns();
    /** The newest step, as the server reported it. */
    this.last = null;
    /** What the run does besides steps, for example "sample: 3 of 9". */
    this.activity = "";
    /** Notices that stay true while the run trains, one after another. */
    this.warning = "";
    this.error = "";
    this.load();
  }

  /** Asks the server for everything. */
  load() {
    this.#loading ??= this.#fetchAll().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  /** Takes the data of an event of this run. */
  take(data) {
    if (data.kind === "StepCompleted") this.#takeStep(data);
    else if (data.kind === "Progress") this.activity = `${data.phase}: ${amount(data)}`;
    else if (data.kind === "Notice") this.#takeNotice(data);
    else if (data.kind === "RunMoved") {
      this.activity = this.warning = "";
      if (this.details) Object.assign(this.details, { status: data.status, steps: data.steps });
      this.#refresh();
    } else this.#refresh();
    this.#notify();
  }

  /** Shows nothing any more: a run of this name that is made later has a feed of its own. */
  end() {
    this.details = null;
    this.error = `no run is named ${this.name}`;
    this.#notify();
  }

  #loading = null;
  #refreshing = null;

  #takeNotice({ message, lasting }) {
    if (!lasting) this.activity = message;
    else if (!this.warning.includes(message)) this.warning = `${this.warning}${this.warning && ". "}${message}`;
  }

  #takeStep(data) {
    const { step } = this.columns;
    const last = step.at(-1) ?? 0;
    if (!this.#loading && data.step > last + 1 && this.details) this.load();
    // A run that resumes from a checkpoint repeats steps.
    const kept = lastAtMost(step, data.step - 1) + 1;
    for (const name of COLUMNS) this.columns[name].length = kept;
    const row = rowOf(data);
    for (const name of COLUMNS) this.columns[name].push(row[name]);
    this.last = data;
    this.activity = "";
    if (this.details) {
      this.details.step = data.step;
      this.details.steps = data.steps;
    }
  }

  async #fetchAll() {
    try {
      const [details, history] = await Promise.all([
        rest.runDetails(this.name),
        rest.metrics(this.name, 0, HISTORY_POINTS),
      ]);
      this.details = details;
      const columns = flatColumns(history.columns);
      const fetched = columns.step.at(-1) ?? 0;
      const first = lastAtMost(this.columns.step, fetched) + 1;
      for (const name of COLUMNS) {
        const since = details.status === "running" ? this.columns[name].slice(first) : [];
        this.columns[name] = [...columns[name], ...since];
      }
      if (!this.last || history.last?.step >= this.last.step) this.last = history.last;
      this.error = "";
    } catch (error) {
      this.error = error.message;
    }
    this.#notify();
  }

  /** Asks for state, samples and LoRA files again. */
  async #refresh() {
    if (this.#refreshing) {
      this.#refreshing = "again";
      return;
    }
    this.#refreshing = "once";
    try {
      this.details = await rest.runDetails(this.name);
      this.error = "";
    } catch (error) {
      this.error = error.message;
    }
    const again = this.#refreshing === "again";
    this.#refreshing = null;
    if (again) await this.#refresh();
    this.#notify();
  }

  #notify() {
    this.dispatchEvent(new Event("change"));
  }
}
