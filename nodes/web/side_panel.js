/** The tab in the side bar: all runs, and of the chosen ones charts, samples, options, LoRA files. */

import { actionButtons } from "./actions.js";
import { COLOURS } from "./chart.js";
import { button, element, oncePerFrame } from "./dom.js";
import { ChartView } from "./view_chart.js";
import { LoRAView } from "./view_loras.js";
import { OptionsView } from "./view_options.js";
import { SamplesView } from "./view_samples.js";
import * as rest from "./rest.js";
import { feedOf, forget, onEvent } from "./runs.js";
import { UploadQuestion } from "./upload.js";

const VIEWS = [ChartView, SamplesView, OptionsView, LoRAView];
const LIST_DELAY_MS = 300;
const CHANGES_THE_LIST = ["RunMoved", "RunDeleted", "StepCompleted", "Reconnected"];

/** What ComfyUI's side bar wants. */
export function sidebarTab() {
  let panel = null;
  return {
    id: "ltxv-train",
    icon: "pi pi-chart-line",
    title: "LTXV runs",
    tooltip: "LTXV training runs",
    type: "custom",
    render(container) {
      panel?.close();
      panel = new SidePanel(container);
    },
    destroy() {
      panel?.close();
      panel = null;
    },
  };
}

class SidePanel {
  constructor(container) {
    this.runs = [];
    this.rows = new Map();
    this.chosen = [];
    this.view = null;
    this.redraw = oncePerFrame(() => this.#draw());
    this.#build(container);
    this.#endOfEvents = onEvent((data) => this.#take(data));
    this.#show(ChartView);
    this.load();
  }

  /** Asks for the list of runs. */
  async load() {
    try {
      this.runs = await rest.listRuns();
      this.message.textContent = this.runs.length ? "" : "No run yet: queue a training node.";
    } catch (error) {
      this.message.textContent = error.message;
    }
    const names = this.runs.map((run) => run.name);
    this.chosen = this.chosen.filter((name) => names.includes(name));
    if (!this.chosen.length && names.length) this.chosen = [this.#mostInteresting()];
    this.#listRows();
    this.#choose(this.chosen);
  }

  close() {
    this.#endOfEvents();
    clearTimeout(this.#timer);
    this.#follow([]);
    this.view?.close?.();
    this.root.remove();
  }

  #endOfEvents;
  #timer = null;
  #feeds = [];

  #build(container) {
    this.message = element("div", { class: "ltxv-message" });
    this.list = element("div", { class: "ltxv-list", role: "list" });
    this.tabs = VIEWS.map((View) => button(View.title, View.hint, () => this.#show(View), "ltxv-tab"));
    this.body = element("div", { class: "ltxv-body" });
    this.root = element(
      "div",
      { class: "ltxv ltxv-side" },
      element(
        "div",
        { class: "ltxv-row ltxv-head" },
        element("strong", {}, "LTXV runs"),
        element("span", { class: "ltxv-space" }),
        button("Refresh", "Read the list of runs again", () => this.load()),
      ),
      this.message,
      this.list,
      element("div", { class: "ltxv-row ltxv-tabs" }, ...this.tabs),
      this.body,
    );
    container.append(this.root);
  }

  #mostInteresting() {
    return (this.runs.find((run) => run.status === "running") ?? this.runs[0]).name;
  }

  /** A row stays the same as long as its run is there: it may be asking whether to delete. */
  #listRows() {
    const before = this.rows;
    this.rows = new Map(this.runs.map(({ name }) => [name, before.get(name) ?? this.#row(name)]));
    this.list.replaceChildren(...[...this.rows.values()].map((row) => row.root));
  }

  #row(name) {
    return new Row(name, {
      choose: (only) => this.#toggle(name, only),
      deleted: () => this.#deleted(name),
      say: (line) => (this.message.textContent = line),
    });
  }

  #toggle(name, only) {
    if (only) this.#choose([name]);
    else if (this.chosen.includes(name)) this.#choose(this.chosen.filter((each) => each !== name));
    else this.#choose([...this.chosen, name]);
  }

  #choose(names) {
    this.chosen = names;
    this.#follow(names.map(feedOf));
    this.view.choose(this.#chosenRuns());
    this.redraw();
  }

  #chosenRuns() {
    return this.#feeds.map((feed, index) => ({ feed, colour: COLOURS[index % COLOURS.length] }));
  }

  #follow(feeds) {
    for (const feed of this.#feeds) feed.removeEventListener("change", this.redraw);
    this.#feeds = feeds;
    for (const feed of feeds) feed.addEventListener("change", this.redraw);
  }

  #show(View) {
    if (this.view instanceof View) return;
    this.view?.close?.();
    this.view = new View();
    this.tabs.forEach((tab, index) => tab.setAttribute("aria-pressed", VIEWS[index] === View));
    this.body.replaceChildren(this.view.root);
    this.view.choose(this.#chosenRuns());
    this.redraw();
  }

  #take(data) {
    if (data.kind === "StepCompleted") {
      const run = this.runs.find((each) => each.name === data.run);
      if (run) Object.assign(run, { step: data.step, steps: data.steps });
      this.redraw();
      if (run) return;
    }
    if (!CHANGES_THE_LIST.includes(data.kind)) return;
    // Once for all that happens in this time; steps may come faster than that.
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.load();
    }, LIST_DELAY_MS);
  }

  async #deleted(name) {
    forget(name);
    this.chosen = this.chosen.filter((each) => each !== name);
    await this.load();
  }

  #draw() {
    for (const run of this.runs) {
      const index = this.chosen.indexOf(run.name);
      this.rows.get(run.name)?.draw(run, index < 0 ? null : COLOURS[index % COLOURS.length]);
    }
    this.view.draw();
  }
}

/** A run in the list. */
class Row {
  constructor(name, { choose, deleted, say }) {
    this.name = name;
    this.check = element("input", {
      type: "checkbox",
      title: "Choose for comparison",
      onchange: () => choose(false),
    });
    this.dot = element("span", { class: "ltxv-dot" });
    this.status = element("span", { class: "ltxv-status" });
    this.step = element("span", { class: "ltxv-step" });
    const { buttons, show } = actionButtons(() => name, say);
    this.showActions = show;
    this.remove = deletion(name, deleted, say);
    this.actions = element("div", { class: "ltxv-row ltxv-buttons" }, ...buttons, this.remove);
    this.cause = element("div", { class: "ltxv-message" });
    this.upload = new UploadQuestion();
    this.root = element(
      "div",
      { class: "ltxv-run", role: "listitem" },
      element(
        "div",
        { class: "ltxv-row" },
        this.check,
        this.dot,
        button(name, `Show ${name} alone`, () => choose(true), "ltxv-name"),
        this.status,
        this.step,
      ),
      this.cause,
      this.upload.root,
      this.actions,
    );
  }

  draw(run, colour) {
    this.check.checked = colour !== null;
    this.dot.style.background = colour ?? "transparent";
    this.root.dataset.chosen = colour !== null;
    this.status.dataset.status = run.status;
    this.status.textContent = run.status === "queued" && run.position ? `queued, ${run.position}.` : run.status;
    this.step.textContent = `${run.step} / ${run.steps}`;
    this.cause.textContent = run.cause ? `${run.cause.message}. ${run.cause.advice}` : "";
    this.cause.dataset.error = Boolean(run.cause);
    this.actions.hidden = colour === null;
    if (colour !== null) this.upload.show(run);
    this.showActions(run);
    this.remove.hidden = ["running", "queued"].includes(run.status);
  }
}

/** A button that asks once more before it deletes a run. */
function deletion(name, deleted, say) {
  const root = element("span", { class: "ltxv-row" });
  const ask = () => {
    root.replaceChildren(
      element("span", {}, "Delete its checkpoints, samples and metrics?"),
      button("Delete", `Delete ${name} for good`, remove, "ltxv-danger"),
      button("Keep", "Keep the run", idle),
    );
  };
  const idle = () => {
    root.replaceChildren(button("Delete …", "Delete the run with all its files", ask));
  };
  const remove = async () => {
    try {
      await rest.act(name, "delete");
      await deleted();
    } catch (error) {
      say(error.message);
      idle();
    }
  };
  idle();
  return root;
}
