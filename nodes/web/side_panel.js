/** The tab in the side bar: all runs, and of the chosen ones charts, samples, options, LoRA files. */

import { COLOURS } from "./chart.js";
import { CurrentRun } from "./current_run.js";
import { button, element, oncePerFrame, tabs } from "./dom.js";
import { RunList } from "./run_list.js";
import { ChartView } from "./view_chart.js";
import { LoRAView } from "./view_loras.js";
import { OptionsView } from "./view_options.js";
import { SamplesView } from "./view_samples.js";
import { VoiceView } from "./view_voice.js";
import * as rest from "./rest.js";
import { feedOf, forget, onEvent } from "./runs.js";

const VIEWS = [ChartView, SamplesView, OptionsView, LoRAView, VoiceView];
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
    this.#choose(this.chosen);
  }

  close() {
    this.#endOfEvents();
    clearTimeout(this.#timer);
    this.#follow([]);
    this.view?.close?.();
    this.list.close();
    this.root.remove();
  }

  #endOfEvents;
  #timer = null;
  #feeds = [];

  #build(container) {
    this.message = element("div", { class: "ltxv-message", role: "status" });
    this.list = new RunList((name, only) => this.#toggle(name, only));
    this.current = new CurrentRun((name) => this.#deleted(name));
    this.body = element("div", { class: "ltxv-body", role: "tabpanel", tabIndex: 0 });
    this.tabs = tabs("What is shown of the chosen runs", VIEWS, (View) => this.#show(View));
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
      this.list.root,
      this.current.root,
      this.tabs,
      this.body,
    );
    container.append(this.root);
  }

  #mostInteresting() {
    return (this.runs.find((run) => run.status === "running") ?? this.runs[0]).name;
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
    this.body.setAttribute("aria-label", View.title);
    this.body.replaceChildren(this.view.root);
    this.view.choose(this.#chosenRuns());
    this.redraw();
  }

  #take(data) {
    if (data.kind === "StepCompleted") {
      const run = this.runs.find((each) => each.name === data.run);
      if (run) Object.assign(run, { step: data.step, steps: data.steps, loss: data.loss });
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
    const chosen = this.#chosenRuns();
    this.list.show(this.runs, new Map(chosen.map(({ feed, colour }) => [feed.name, colour])));
    const current = this.runs.find((run) => run.name === this.chosen.at(-1)) ?? null;
    this.current.show(current, chosen.at(-1)?.feed ?? null);
    this.view.draw();
  }
}
