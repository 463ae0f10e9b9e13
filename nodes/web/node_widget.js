/** What a training node shows of its run: numbers, the loss, the latest sample, and buttons. */

import { app } from "../../scripts/app.js";
import { actionButtons, SAID_MS } from "./actions.js";
import { COLOURS, drawChart } from "./chart.js";
import { CHART_VIEWS } from "./chart_views.js";
import { stageText } from "./columns.js";
import { button, element, oncePerFrame, onPaletteChange, tabs, zoomCanvasByWheel } from "./dom.js";
import { watchMemory } from "./memory.js";
import { forgetRun, rememberedRun, rememberRun } from "./node_runs.js";
import { readPrompts } from "./read_prompts.js";
import { sampleUrl } from "./rest.js";
import { feedOf } from "./runs.js";
import { openSamples } from "./sample_viewer.js";
import { sampleGrid } from "./samples.js";
import { shortNumber } from "./series.js";
import { bytes, duration } from "./units.js";
import { UploadQuestion } from "./upload.js";

const WIDGET = "ltxv_train_panel";
const SPEED_STEPS = 20;
const HEIGHT_PX = { empty: 34, chart: 240, sample: 90, upload: 120 };
const WIDTH_PX = 360;

export class NodeWidget {
  /** @param {LGraphNode} node that is being made */
  constructor(node) {
    this.node = node;
    this.feed = null;
    this.look = { ...CHART_VIEWS[0].look, pointer: null };
    this.sampleIndex = 0;
    this.said = null;
    this.#build();
    this.redraw = oncePerFrame(() => this.#draw());
    this.#addTo(node);
    this.sizes = new ResizeObserver(this.redraw);
    this.sizes.observe(this.canvas);
    this.#endOfPalette = onPaletteChange(this.redraw);
    zoomCanvasByWheel(this.root, () => app.canvas);
  }

  /** Shows the run that this node showed before the page was loaded. */
  restore() {
    const run = rememberedRun(this.node);
    if (run) this.follow(run);
  }

  /** Shows a run from now on. */
  follow(run) {
    if (this.feed?.name === run) return;
    this.feed?.removeEventListener("change", this.redraw);
    this.feed = feedOf(run);
    this.feed.addEventListener("change", this.redraw);
    this.sampleIndex = 0;
    this.said = null;
    rememberRun(this.node, run);
    this.redraw();
  }

  /** Lets go of everything: the node is taken off the canvas. */
  close() {
    this.feed?.removeEventListener("change", this.redraw);
    this.#watchMemory(false);
    this.sizes.disconnect();
    this.#endOfPalette();
  }

  /** Says a line until the run moves on; one that is no error goes by itself. */
  say(line, isError) {
    const said = { line, isError, status: this.feed?.details?.status };
    this.said = said;
    if (!isError) setTimeout(() => this.said === said && this.say("", true), SAID_MS);
    this.redraw();
  }

  #endOfPalette;
  #endOfWatch = null;
  #height = HEIGHT_PX.empty;

  #build() {
    const text = (name) => element("span", { class: `ltxv-${name}` });
    this.parts = Object.fromEntries(
      ["status", "name", "step", "loss", "eta", "speed", "memory"].map((name) => [name, text(name)]),
    );
    this.bar = element("div", { class: "ltxv-bar-done" });
    this.canvas = element("canvas", {
      class: "ltxv-chart",
      role: "img",
      "aria-label": "Loss over steps",
      on: {
        pointermove: (event) => this.#point(event),
        pointerleave: () => this.#point(null),
      },
    });
    this.video = element("video", {
      class: "ltxv-video",
      muted: true,
      loop: true,
      autoplay: true,
      playsInline: true,
      controls: false,
    });
    this.nextSample = button("", "Show the next sample of this step", () => {
      this.sampleIndex += 1;
      this.redraw();
    });
    const opener = button("", "Open large", () => this.#openSamples(), "ltxv-cell");
    opener.setAttribute("aria-label", "Open the sample large");
    opener.append(this.video);
    this.sample = element("div", { class: "ltxv-sample" }, opener, this.nextSample);
    this.message = element("div", { class: "ltxv-message" });
    this.upload = new UploadQuestion(() => this.redraw());
    const { buttons, show } = actionButtons(
      () => this.feed.name,
      (line, isError) => this.say(line, isError),
    );
    this.showActions = show;
    const { status, name, step, loss, eta, speed, memory } = this.parts;
    this.full = element(
      "div",
      { class: "ltxv-full" },
      element("div", { class: "ltxv-row" }, status, name, step),
      element("div", { class: "ltxv-bar" }, this.bar),
      element("div", { class: "ltxv-row ltxv-numbers" }, loss, eta, speed, memory),
      this.upload.root,
      tabs("Chart", CHART_VIEWS, ({ look }) => this.#change(look)),
      this.canvas,
      element(
        "div",
        { class: "ltxv-lower" },
        this.sample,
        element(
          "div",
          { class: "ltxv-beside" },
          element(
            "div",
            { class: "ltxv-row ltxv-buttons" },
            ...buttons,
          ),
          this.message,
        ),
      ),
    );
    this.empty = element("div", { class: "ltxv-empty" }, "The loss shows here once it trains.");
    this.root = element("div", { class: "ltxv ltxv-node" }, this.empty, this.full);
  }

  #addTo(node) {
    const widget = node.addDOMWidget(WIDGET, WIDGET, this.root, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => this.#height,
      getValue: () => "",
      setValue: () => {},
    });
    widget.serialize = false;
  }

  #change(look) {
    Object.assign(this.look, look);
    this.redraw();
  }

  #point(event) {
    // The node may be seen enlarged or small: from the screen's pixels to the page's.
    const box = this.canvas.getBoundingClientRect();
    const scale = box.width / this.canvas.clientWidth || 1;
    this.#change({ pointer: event && (event.clientX - box.left) / scale });
  }

  #draw() {
    const feed = this.feed;
    const details = feed?.details ?? null;
    this.#fit(details);
    this.full.hidden = !details;
    this.empty.hidden = Boolean(details);
    this.#watchMemory(details?.status === "running" && this.root.isConnected);
    if (!details) {
      this.empty.textContent = feed?.error || "The loss shows here once it trains.";
      if (feed?.error.startsWith("no run")) this.#unfollow();
      return;
    }
    this.#drawNumbers(details);
    this.showActions(details);
    this.upload.show(details);
    this.#drawMessage(details);
    this.#drawSample(details);
    const line = { label: feed.name, colour: COLOURS[0], columns: feed.columns };
    drawChart(this.canvas, [line], { ...this.look, steps: details.steps });
  }

  #drawNumbers({ name, status, step, steps, position }) {
    const { last, columns } = this.feed;
    const isRunning = status === "running";
    this.parts.status.textContent = status === "queued" && position ? `queued, place ${position}` : status;
    this.parts.status.dataset.status = status;
    this.parts.name.textContent = name;
    this.parts.name.title = name;
    this.parts.step.textContent = `step ${step} of ${steps}${stageText(last)}`;
    this.bar.style.width = `${Math.min(100, (100 * step) / Math.max(1, steps))}%`;
    const seconds = columns.step_seconds.slice(-SPEED_STEPS).filter((value) => value !== null);
    const perStep = seconds.reduce((sum, value) => sum + value, 0) / seconds.length;
    this.parts.loss.textContent = last ? `loss ${shortNumber(last.loss)}` : "";
    this.parts.eta.textContent = isRunning && last ? `${duration(last.eta_seconds)} left` : "";
    this.parts.speed.textContent = seconds.length ? speedText(perStep) : "";
    this.parts.memory.hidden = !isRunning;
  }

  #drawMessage({ status, cause }) {
    const problem = status === "failed" && cause ? `${cause.message}. ${cause.advice}` : this.feed.error;
    const said = this.said?.status === status ? this.said : null;
    this.message.textContent = problem || said?.line || this.feed.activity || this.feed.warning;
    this.message.dataset.error = Boolean(problem || (said?.line && said.isError));
    // The question of the upload says the same, with buttons.
    this.message.hidden = !problem && !said?.line && !this.upload.root.hidden;
  }

  #drawSample({ samples }) {
    const latest = samples.findLast((each) => each.videos.length);
    this.sample.hidden = !latest;
    if (!latest) return;
    const index = this.sampleIndex % latest.videos.length;
    const url = sampleUrl(this.feed.name, latest.videos[index]);
    if (this.video.dataset.url !== url) {
      this.video.dataset.url = url;
      this.video.src = url;
      this.video.play().catch(() => {});
    }
    const of = latest.videos.length > 1 ? `, ${index + 1} of ${latest.videos.length}` : "";
    this.nextSample.textContent = `step ${latest.step}${of}`;
    this.nextSample.disabled = latest.videos.length < 2;
  }

  async #openSamples() {
    const { name } = this.feed;
    const prompts = await readPrompts(name);
    const { samples, loras } = this.feed.details;
    const grid = sampleGrid([{ name, colour: COLOURS[0], samples, prompts }]);
    const latest = samples.findLast((each) => each.videos.length);
    const place = { row: this.sampleIndex % latest.videos.length, step: latest.step };
    openSamples(grid, place, () => loras);
  }

  /** Makes the node as large as what there is to show needs it. */
  #fit(details) {
    const hasSample = details?.samples.some((each) => each.videos.length);
    const height = details
      ? HEIGHT_PX.chart +
        (hasSample ? HEIGHT_PX.sample : 0) +
        (this.upload.root.hidden ? 0 : HEIGHT_PX.upload)
      : HEIGHT_PX.empty;
    if (height === this.#height) return;
    this.#height = height;
    const { node } = this;
    const [width, least] = [Math.max(node.size[0], WIDTH_PX), node.computeSize()[1]];
    node.setSize([width, Math.max(node.size[1], least)]);
    node.setDirtyCanvas(true, true);
  }

  #watchMemory(isOn) {
    if (isOn && !this.#endOfWatch) {
      this.#endOfWatch = watchMemory(({ kind, used, total }) => {
        this.parts.memory.textContent = `${kind} ${bytes(used)} of ${bytes(total)}`;
      });
    } else if (!isOn && this.#endOfWatch) {
      this.#endOfWatch();
      this.#endOfWatch = null;
    }
  }

  #unfollow() {
    this.feed.removeEventListener("change", this.redraw);
    this.feed = null;
    forgetRun(this.node);
    this.redraw();
  }
}

function speedText(secondsPerStep) {
  return secondsPerStep < 1
    ? `${shortNumber(1 / secondsPerStep)} steps/s`
    : `${shortNumber(secondsPerStep)} s/step`;
}
