/** The losses of the chosen runs in one chart. */

import { drawChart } from "./chart.js";
import { CHART_VIEWS } from "./chart_views.js";
import { saveCsv, savePng } from "./chart_files.js";
import { button, element, onPaletteChange, tabs } from "./dom.js";
import { shortNumber } from "./series.js";

export class ChartView {
  static title = "Chart";
  static hint = "Loss, noise levels, data sets, learning rate, memory and time of the chosen runs";

  constructor() {
    this.chosen = [];
    this.look = { ...CHART_VIEWS[0].look, pointer: null };
    this.title = CHART_VIEWS[0].title;
    this.canvas = element("canvas", {
      class: "ltxv-chart ltxv-large",
      role: "img",
      "aria-label": "Loss over steps of the chosen runs",
      on: {
        pointermove: (event) => this.#change({ pointer: event.offsetX }),
        pointerleave: () => this.#change({ pointer: null }),
      },
    });
    this.legend = element("div", { class: "ltxv-legend" });
    this.root = element(
      "div",
      {},
      tabs("Chart", CHART_VIEWS, (view) => this.#showView(view)),
      this.canvas,
      this.legend,
      element(
        "div",
        { class: "ltxv-row ltxv-buttons" },
        button("Save as PNG", "Save this chart as a picture", () => savePng(this.title, this.#lines(), this.#shown())),
        button("Save as CSV", "Save every step of the chosen runs as a table", () => saveCsv(this.#lines())),
      ),
    );
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.canvas);
    this.#endOfPalette = onPaletteChange(() => this.draw());
  }

  choose(chosen) {
    this.chosen = chosen;
  }

  draw() {
    drawChart(this.canvas, this.#lines(), this.#shown());
    this.legend.replaceChildren(
      ...this.chosen.map(({ feed, colour }) => {
        const dot = element("span", { class: "ltxv-dot" });
        dot.style.background = colour;
        const loss = feed.last ? `loss ${shortNumber(feed.last.loss)}` : feed.error;
        return element(
          "div",
          { class: "ltxv-row" },
          dot,
          element("span", { class: "ltxv-name", title: feed.name }, feed.name),
          element("span", {}, loss),
        );
      }),
    );
  }

  close() {
    this.sizes.disconnect();
    this.#endOfPalette();
  }

  #endOfPalette;

  #lines() {
    return this.chosen.map(({ feed, colour }) => ({
      label: feed.name,
      colour,
      columns: feed.columns,
      heldOut: feed.details?.held_out ?? null,
      dataSets: feed.details?.data_sets ?? [],
    }));
  }

  #shown() {
    const steps = Math.max(1, ...this.chosen.map(({ feed }) => feed.details?.steps ?? 1));
    return { ...this.look, steps };
  }

  #showView({ title, look }) {
    this.title = title;
    this.canvas.setAttribute("aria-label", `${title} over steps of the chosen runs`);
    this.#change(look);
  }

  #change(look) {
    Object.assign(this.look, look);
    this.draw();
  }
}
