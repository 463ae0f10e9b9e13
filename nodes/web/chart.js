/** Draws curves of one or more runs on a canvas. */

import { lastAtMost, shortNumber, ticks, valueRange, wholeRange } from "./series.js";

/** Readable on dark and on light ground. */
export const COLOURS = ["#3b97d3", "#e08a3c", "#45a876", "#c062c6", "#d9534f", "#8583d6"];

const FONT_PX = 11;
const MARGIN = { left: 54, right: 10, top: 8, bottom: 20 };

/**
 * @typedef {Object} Line
 * @property {string} label
 * @property {string} colour
 * @property {Object<string, (number|null)[]>} columns see `columns.js`
 * @property {Object|null} heldOut see GET /ltxv_train/runs/{name}; likewise `data_sets`
 * @property {string[]} dataSets
 *
 * @typedef {import("./chart_views.js").Look & {steps: number, pointer: number|null}} Shown
 *   with the right edge, and the x of the mouse in pixels of the page
 */

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Line[]} lines
 * @param {Shown} look
 */
export function drawChart(canvas, lines, look) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height) return;
  const sharpness = 1.5 * (window.devicePixelRatio || 1); // nodes are also seen enlarged
  canvas.width = Math.round(width * sharpness);
  canvas.height = Math.round(height * sharpness);
  const context = canvas.getContext("2d");
  context.scale(sharpness, sharpness);
  paintChart(context, themeOf(canvas), { left: 0, top: 0, width, height }, lines, look);
}

/** Draws into a part of a picture. */
export function paintChart(context, theme, { left, top, width, height }, lines, look) {
  context.font = `${FONT_PX}px sans-serif`;
  const right = MARGIN.right + (look.showsRate ? 44 : 0);
  const plot = new Plot(context, theme, {
    left: left + MARGIN.left,
    top: top + MARGIN.top,
    width: width - MARGIN.left - right,
    height: height - MARGIN.top - MARGIN.bottom,
  });
  plot.draw(lines, look);
}

/** The colours of ComfyUI's palette, as an element has them. */
export function themeOf(shown) {
  const style = getComputedStyle(shown);
  return {
    text: style.color,
    grid: style.getPropertyValue("--ltxv-grid").trim() || "#8884",
    ground: style.getPropertyValue("--ltxv-ground").trim() || "#222",
  };
}

class Plot {
  constructor(context, theme, area) {
    this.context = context;
    this.theme = theme;
    this.area = area;
  }

  draw(lines, look) {
    this.look = look;
    this.steps = Math.max(1, look.steps);
    this.isLog = look.isLog;
    const curves = lines.map((line) => look.curves(line, lines.length === 1, COLOURS));
    const all = curves.flat();
    this.#setRange(all.filter(({ isAverage }) => !isAverage).flatMap(({ values }) => values));
    this.#grid();
    this.#inside(() => {
      curves.forEach((each, index) => each.forEach((curve) => this.#draw(lines[index].columns, curve)));
      curves.flat().forEach((curve) => this.#mark(curve));
    });
    if (look.showsRate) this.#rates(lines);
    const rows = look.pointer === null ? 0 : this.#readout(lines, look);
    if (!all.some(({ values }) => values.some((value) => value !== null))) this.#say("Not recorded");
    else if (lines.length) this.#legend(curves[0].filter(({ name }) => name), Math.max(rows, lines.length));
  }

  #setRange(values) {
    if (this.look.isWhole) [this.low, this.high] = wholeRange(values);
    else if (!this.look.fromZero) [this.low, this.high] = valueRange(values, this.isLog);
    else {
      const most = values.reduce((high, value) => Math.max(high, value ?? 0), 0);
      [this.low, this.high] = [0, 1.05 * most || 1];
    }
  }

  /** A ring around a step of a curve. */
  #mark({ steps, values, colour, marked }) {
    if (marked === undefined) return;
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.beginPath();
    context.arc(this.x(marked), this.y(values[steps.indexOf(marked)]), 5, 0, 2 * Math.PI);
    context.stroke();
  }

  #draw(columns, { steps = columns.step, values, colour, width, dash = [], isRaw = false }) {
    const { context } = this;
    if (isRaw) this.#band({ columns, colour }, 0.35);
    else {
      context.setLineDash(dash);
      this.#curve(steps, values, colour, width);
      context.setLineDash([]);
    }
  }

  /** Names of the curves of a run, at the chart's right edge below the values of the mouse. */
  #legend(curves, offset) {
    const { context, area, theme } = this;
    context.textAlign = "left";
    context.textBaseline = "top";
    curves.forEach(({ name, colour, dash = [] }, index) => {
      const top = area.top + 2 + (offset + index) * (FONT_PX + 3);
      const left = area.left + area.width - 28 - context.measureText(name).width;
      context.fillStyle = theme.ground;
      context.fillRect(left - 3, top - 1, 28 + context.measureText(name).width, FONT_PX + 3);
      context.strokeStyle = context.fillStyle = colour;
      context.lineWidth = 2;
      context.setLineDash(dash);
      this.#stroke([[left, top + FONT_PX / 2], [left + 16, top + FONT_PX / 2]]);
      context.setLineDash([]);
      context.fillText(name, left + 21, top);
    });
  }

  #say(text) {
    const { context, area, theme } = this;
    context.fillStyle = theme.text;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, area.left + area.width / 2, area.top + area.height / 2);
  }

  x(step) {
    return this.area.left + (this.area.width * step) / this.steps;
  }

  y(value) {
    const [low, high, at] = this.isLog
      ? [Math.log(this.low), Math.log(this.high), Math.log(Math.max(value, 1e-30))]
      : [this.low, this.high, value];
    return this.area.top + this.area.height * (1 - (at - low) / (high - low));
  }

  #grid() {
    const { context, theme, area } = this;
    context.strokeStyle = theme.grid;
    context.fillStyle = theme.text;
    context.lineWidth = 1;
    context.textAlign = "right";
    context.textBaseline = "middle";
    const unit = this.look.base === 10 ? 1 : this.look.base ** Math.floor(Math.log(this.high) / Math.log(this.look.base));
    const count = Math.max(3, area.height / 30);
    for (const value of ticks(this.low / unit, this.high / unit, count, this.isLog).map((each) => each * unit)) {
      const y = Math.round(this.y(value)) + 0.5;
      this.#stroke([[area.left, y], [area.left + area.width, y]]);
      context.fillText(this.look.label(value), area.left - 5, y);
    }
    context.textBaseline = "top";
    const below = area.top + area.height + 5;
    context.textAlign = "center";
    for (const step of ticks(0, this.steps, Math.max(2, area.width / 80))) {
      if (!Number.isInteger(step)) continue;
      const half = context.measureText(String(step)).width / 2;
      const edge = area.left + area.width + MARGIN.right - half;
      context.fillText(String(step), Math.min(this.x(step), edge), below);
    }
  }

  /** From the lowest to the highest loss at every pixel; for single steps it is the raw line. */
  #band({ columns, colour }, alpha) {
    const { context } = this;
    context.save();
    context.globalAlpha = alpha;
    this.#curve(columns.step, columns.loss, colour, 1);
    context.fillStyle = colour;
    for (let i = 0; i < columns.step.length; i += 1) {
      const [low, high] = [columns.loss_low[i], columns.loss_high[i]];
      if (low !== null && high > low) {
        const top = this.y(high);
        context.fillRect(this.x(columns.step[i]) - 0.5, top, 1, Math.max(1, this.y(low) - top));
      }
    }
    context.restore();
  }

  #curve(steps, values, colour, width, y = (value) => this.y(value)) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    let isDown = false;
    values.forEach((value, index) => {
      if (value === null || value === undefined) isDown = false;
      else if (isDown) context.lineTo(this.x(steps[index]), y(value));
      else {
        context.moveTo(this.x(steps[index]), y(value));
        isDown = true;
      }
    });
    context.stroke();
    if (values.length === 1 && isDown) {
      context.fillStyle = colour;
      context.fillRect(this.x(steps[0]) - 1.5, y(values[0]) - 1.5, 3, 3);
    }
  }

  #rates(lines) {
    const { context, area, theme } = this;
    const rates = lines.flatMap(({ columns }) => columns.learning_rate);
    const high = rates.reduce((most, rate) => Math.max(most, rate), 1e-12);
    const y = (value) => area.top + area.height * (1 - value / (high * 1.05));
    context.save();
    context.setLineDash([4, 3]);
    for (const { columns, colour } of lines) {
      this.#curve(columns.step, columns.learning_rate, colour, 1.2, y);
    }
    context.restore();
    context.fillStyle = theme.text;
    context.textAlign = "left";
    context.textBaseline = "middle";
    for (const value of [0, high / 2, high]) {
      context.fillText(shortNumber(value), area.left + area.width + 5, y(value));
    }
  }

  /** The values below the mouse. Returns how many rows they take. */
  #readout(lines, look) {
    const { context, area, theme } = this;
    const share = (look.pointer - area.left) / area.width;
    if (share < 0 || share > 1) return 0;
    const step = Math.round(share * this.steps);
    const texts = lines.flatMap((line) => {
      const { columns, label, colour } = line;
      const steps = look.stepsOf(line);
      const at = Math.max(0, lastAtMost(steps, step));
      if (!steps.length) return [];
      const name = lines.length > 1 ? `${label}: ` : "";
      const text = `${name}step ${steps[at]}, ${look.read(columns, at, line)}`;
      return this.#wrapped(text, area.width - 8).map((row) => [row, colour]);
    });
    const x = Math.round(this.x(step)) + 0.5;
    context.strokeStyle = theme.text;
    context.lineWidth = 0.5;
    this.#stroke([[x, area.top], [x, area.top + area.height]]);
    context.textAlign = "right";
    context.textBaseline = "top";
    texts.forEach(([text, colour], index) => {
      const top = area.top + 2 + index * (FONT_PX + 3);
      const width = context.measureText(text).width;
      const edge = area.left + area.width - 4;
      context.fillStyle = theme.ground;
      context.fillRect(edge - width - 3, top - 1, width + 6, FONT_PX + 3);
      context.fillStyle = colour;
      context.fillText(text, edge, top);
    });
    return texts.length;
  }

  /** A text in rows that fit, broken behind commas. */
  #wrapped(text, width) {
    const rows = [];
    for (const part of text.split(/(?<=,) /)) {
      const longer = rows.length ? `${rows.at(-1)} ${part}` : part;
      if (rows.length && this.context.measureText(longer).width <= width) rows[rows.length - 1] = longer;
      else rows.push(part);
    }
    return rows;
  }

  #inside(draw) {
    const { context, area } = this;
    context.save();
    context.beginPath();
    context.rect(area.left, area.top - 1, area.width + 1, area.height + 2);
    context.clip();
    draw();
    context.restore();
  }

  #stroke(points) {
    this.context.beginPath();
    points.forEach(([x, y], index) => {
      if (index) this.context.lineTo(x, y);
      else this.context.moveTo(x, y);
    });
    this.context.stroke();
  }
}
