/** The options of a run; of several runs, those that differ. */

import { element } from "./dom.js";
import { configuration } from "./rest.js";
import { differences } from "./series.js";

export class OptionsView {
  static title = "Options";
  static hint = "Configuration, or the difference between runs";

  constructor() {
    this.root = element("div", { class: "ltxv-options" });
  }

  async choose(chosen) {
    const asked = (this.asked = {});
    const names = chosen.map(({ feed }) => feed.name);
    let table;
    try {
      const found = await Promise.all(names.map(configuration));
      table = this.#table(
        chosen,
        found.map(({ options }) => options),
      );
    } catch (error) {
      table = element("div", { class: "ltxv-message" }, error.message);
    }
    if (asked === this.asked) this.root.replaceChildren(table);
  }

  draw() {}

  #table(chosen, options) {
    const isAlone = options.length < 2;
    const rows = isAlone
      ? Object.entries(options[0] ?? {}).map(([name, value]) => [name, [value]])
      : differences(options);
    if (!rows.length) {
      return element("div", {}, isAlone ? "No run is chosen." : "These runs have the same options.");
    }
    const heads = chosen.map(({ feed, colour }) => {
      const head = element("th", { title: feed.name }, feed.name);
      head.style.borderBottomColor = colour;
      return head;
    });
    return element(
      "table",
      {},
      element("thead", {}, element("tr", {}, element("th", {}, "option"), ...heads)),
      element(
        "tbody",
        {},
        ...rows.map(([name, values]) =>
          element("tr", {}, element("td", {}, ...breakable(name)), ...values.map(cell)),
        ),
      ),
    );
  }
}

function cell(value) {
  const text = value === null || value === undefined ? "" : value;
  return element("td", {}, typeof text === "object" ? JSON.stringify(text) : String(text));
}

/** A long name may break after a dot or an underscore. */
function breakable(name) {
  return name.split(/(?<=[._])/).flatMap((part) => [part, element("wbr")]);
}
