/** The list of runs: search, filters and order above, and rows of which only the seen ones exist. */

import { element, oncePerFrame } from "./dom.js";
import { ORDERS, byDataSet, lastPart, shownRuns, titleOf, valuesOf } from "./run_filter.js";
import { shortNumber } from "./series.js";

/** Of every row; `style.css` has the same. */
const ROW_PX = 26;
const ROWS_BEYOND = 6;
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const STATUSES = ["running", "queued", "paused", "stopped", "failed", "finished"];

let lists = 0;

export class RunList {
  /**
   * @param {(name: string, only: boolean) => void} choose called with a run that is to be shown
   *   alone, or added to the shown ones or taken from them
   */
  constructor(choose) {
    this.choose = choose;
    this.runs = [];
    this.shown = [];
    /** What stands below each other: runs, and names of groups. */
    this.lines = [];
    this.rows = new Map();
    this.active = null;
    this.prefix = `ltxv-runs-${(lists += 1)}`;
    this.draw = oncePerFrame(() => this.#draw());
    this.#build();
    this.sizes = new ResizeObserver(this.draw);
    this.sizes.observe(this.list);
  }

  /**
   * Shows runs.
   *
   * @param {Object[]} runs
   * @param {Map<string, string>} colours of the chosen ones, by name
   */
  show(runs, colours) {
    this.runs = runs;
    this.colours = colours;
    options(this.status, "All states", STATUSES.filter((each) => runs.some((run) => run.status === each)));
    options(this.model, "All models", valuesOf(runs, "model"), lastPart);
    this.#filter();
  }

  close() {
    this.sizes.disconnect();
  }

  #build() {
    const filter = () => {
      this.list.scrollTop = 0;
      this.#filter();
    };
    const choice = (label, order) =>
      element("select", { class: "ltxv-select", "aria-label": label, title: label, onchange: filter }, ...order);
    this.search = element("input", {
      type: "search",
      class: "ltxv-search",
      placeholder: "Search runs",
      "aria-label": "Search runs by name",
      on: { input: filter, keydown: (event) => event.stopPropagation() },
    });
    this.order = choice(
      "Order",
      Object.entries(ORDERS).map(([value, label]) => element("option", { value }, label)),
    );
    this.status = choice("State", []);
    this.model = choice("Model", []);
    this.group = choice("Group", [
      element("option", { value: "" }, "No groups"),
      element("option", { value: "data" }, "By data set"),
    ]);
    this.count = element("span", { class: "ltxv-count", role: "status" });
    this.space = element("div", { class: "ltxv-rows", role: "presentation" });
    this.list = element(
      "div",
      {
        class: "ltxv-list",
        role: "listbox",
        tabIndex: 0,
        "aria-label": "Training runs",
        "aria-multiselectable": "true",
        on: { scroll: this.draw, keydown: (event) => this.#key(event), focus: () => this.#focus() },
      },
      this.space,
    );
    this.root = element(
      "div",
      { class: "ltxv-runs" },
      element("div", { class: "ltxv-row ltxv-filters" }, this.search, this.order, this.status, this.model, this.group, this.count),
      this.list,
    );
  }

  #filter() {
    const [text, order] = [this.search.value, this.order.value];
    const found = shownRuns(this.runs, { text, order, status: this.status.value, model: this.model.value });
    this.lines = this.group.value
      ? byDataSet(found).flatMap(({ name, runs }) => [{ group: name, count: runs.length }, ...runs])
      : found;
    this.shown = this.lines.filter((line) => line.name !== undefined);
    const all = this.runs.length;
    this.count.textContent = this.shown.length === all ? `${all} run${all === 1 ? "" : "s"}` : `${this.shown.length} of ${all} runs`;
    this.list.hidden = !all;
    this.draw();
  }

  #draw() {
    const { list, lines, shown } = this;
    this.space.style.height = `${lines.length * ROW_PX}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_PX) - ROWS_BEYOND);
    const end = Math.ceil((list.scrollTop + list.clientHeight) / ROW_PX) + ROWS_BEYOND;
    const before = this.rows;
    this.rows = new Map();
    let position = lines.slice(0, first).filter((line) => line.name !== undefined).length;
    lines.slice(first, end).forEach((line, index) => {
      const key = line.name ?? `group ${line.group}`; // a run's name is that of a folder, with no blanks before it
      const row = before.get(key) ?? this.#row(line);
      before.delete(key);
      this.rows.set(key, row);
      row.draw(line, this.colours.get(line.name) ?? null, line.name === this.active);
      row.place(first + index);
      if (line.name !== undefined) row.number(`${this.prefix}-${(position += 1)}`, position, shown.length);
      if (!row.root.isConnected) this.space.append(row.root);
    });
    for (const row of before.values()) row.root.remove();
    const active = this.rows.get(this.active);
    if (active) list.setAttribute("aria-activedescendant", active.root.id);
    else list.removeAttribute("aria-activedescendant");
  }

  #row(line) {
    if (line.name === undefined) return new GroupRow();
    return new Row(line.name, this.choose, (name) => this.#activate(name));
  }

  #focus() {
    this.active ??= [...this.colours.keys()][0] ?? this.shown[0]?.name ?? null;
    this.draw();
  }

  #activate(name) {
    this.active = name;
    this.draw();
  }

  #key(event) {
    const at = this.shown.findIndex((run) => run.name === this.active);
    const page = Math.max(1, Math.floor(this.list.clientHeight / ROW_PX) - 1);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: Infinity };
    if (event.key in steps) {
      const index = Math.max(0, Math.min(this.shown.length - 1, steps[event.key]));
      this.#activate(this.shown[index]?.name ?? null);
      this.#reveal(this.lines.indexOf(this.shown[index]));
    } else if (event.key === "Enter" && at >= 0) this.choose(this.active, true);
    else if (event.key === " " && at >= 0) this.choose(this.active, false);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #reveal(index) {
    const { list } = this;
    const top = index * ROW_PX;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW_PX > list.scrollTop + list.clientHeight) {
      list.scrollTop = top + ROW_PX - list.clientHeight;
    }
  }
}

/** A run in the list. */
class Row {
  constructor(name, choose, activate) {
    const chosen = (event, only) => {
      event.stopPropagation();
      activate(name);
      choose(name, only);
    };
    // The list itself has the keyboard: Space does what this box does.
    this.check = element("input", {
      type: "checkbox",
      tabIndex: -1,
      title: "Choose for comparison",
      "aria-hidden": "true",
      on: { click: (event) => chosen(event, false) },
    });
    this.dot = element("span", { class: "ltxv-dot" });
    this.loss = element("span", { class: "ltxv-loss", title: "Loss of the last step" });
    this.title = element("span", { class: "ltxv-name" });
    this.status = element("span", { class: "ltxv-status" });
    this.step = element("span", { class: "ltxv-step" });
    this.root = element(
      "div",
      {
        class: "ltxv-run",
        role: "option",
        on: { click: (event) => chosen(event, !(event.ctrlKey || event.metaKey)) },
      },
      this.check,
      this.dot,
      this.title,
      this.loss,
      this.status,
      this.step,
    );
  }

  draw(run, colour, isActive) {
    const isChosen = colour !== null;
    const title = titleOf(run);
    this.title.textContent = title;
    this.check.checked = isChosen;
    this.dot.style.background = colour ?? "transparent";
    this.root.dataset.chosen = isChosen;
    this.root.dataset.active = isActive;
    this.root.setAttribute("aria-selected", isChosen);
    this.status.dataset.status = run.status;
    this.status.textContent = run.status === "queued" && run.position ? `queued, place ${run.position}` : run.status;
    this.loss.textContent = run.loss === null ? "" : shortNumber(run.loss);
    // The name needs the place: who is through shows no numbers of steps.
    this.step.textContent = run.step < run.steps ? `step ${run.step} of ${run.steps}` : "";
    const model = run.model ? `, ${lastPart(run.model)}` : "";
    const line = `${run.status}, step ${run.step} of ${run.steps}`;
    const loss = run.loss === null ? "" : `, loss ${shortNumber(run.loss)}`;
    this.root.setAttribute("aria-label", `${title}, ${line}${loss}`);
    const changed = `changed ${DATE.format(new Date(run.updated))}`;
    const names = title === run.name ? [title] : [title, run.name];
    this.root.title = [...names, `${line}${loss}${model}`, changed, run.note].filter(Boolean).join("\n");
  }

  place(index) {
    this.root.style.transform = `translateY(${index * ROW_PX}px)`;
  }

  number(id, position, count) {
    this.root.id = id;
    this.root.setAttribute("aria-posinset", position);
    this.root.setAttribute("aria-setsize", count);
  }
}

/** The name of a group, above its runs. */
class GroupRow {
  constructor() {
    this.root = element("div", { class: "ltxv-group", role: "presentation" });
  }

  draw({ group, count }) {
    this.root.textContent = this.root.title = `${group}: ${count} ${count === 1 ? "run" : "runs"}`;
  }

  place(index) {
    this.root.style.transform = `translateY(${index * ROW_PX}px)`;
  }
}

/** Puts values into a choice, and keeps what is chosen where it is still there. */
function options(select, all, values, label = (value) => value) {
  const key = JSON.stringify(values);
  if (select.dataset.key === key) return;
  select.dataset.key = key;
  const before = select.value;
  select.replaceChildren(
    element("option", { value: "" }, all),
    ...values.map((value) => element("option", { value }, label(value))),
  );
  select.value = values.includes(before) ? before : "";
}
