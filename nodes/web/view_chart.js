/** The losses of the chosen runs in one chart. */

import { CHART_VIEWS, drawChart } from "./chart.js";
import { element, onPaletteChange, tabs } from "./dom.js";
import { shortNumber } from "./series.js";

export class ChartView {
  static title = "Chart";
  static hint = "Loss of the chosen runs";

  constructor() {
    this.chosen = [];
    this.look = { ...CHART_VIEWS[0].look, pointer: null };
    this.canvas = element("canvas", {
      class: "ltxv-chart ltxv-large",
      role: "img",
      "aria-label": "Loss over steps",
      on: {
        pointermove: (event) => this.#change({ pointer: event.offsetX }),
        pointerleave: () => this.#change({ pointer: null }),
      },
    });
    this.legend = element("div", { class: "ltxv-legend" });
    this.root = element(
      "div",
      {},
      tabs("Chart", CHART_VIEWS, ({ look }) => this.#change(look)),
      this.canvas,
      this.legend,
    );
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.canvas);
    this.#endOfPalette = onPaletteChange(() => this.draw());
  }

  choose(chosen) {
    this.chosen = chosen;
  }

  draw() {
    const lines = this.chosen.map(({ feed, colour }) => ({
      label: feed.name,
      colour,
      columns: feed.columns,
    }));
    const steps = Math.max(1, ...this.chosen.map(({ feed }) => feed.details?.steps ?? 1));
    drawChart(this.canvas, lines, { ...this.look, steps });
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

  #change(look) {
    Object.assign(this.look, look);
    this.draw();
  }
}
