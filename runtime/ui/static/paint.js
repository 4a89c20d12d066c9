// @ts-check
// What is painted: strokes, layers below them, and every step back. Shows it as a tint on the photo.

import { beginStroke, compose, copyPlanes, emptyPlanes, nameOf, pack, strokeTo } from "./planes.js";
import { el } from "./dom.js";
import { set, state, takesPaint } from "./state.js";

/** @typedef {import("./planes.js").Planes} Planes */
/** @typedef {{strokes: Planes, layers: Map<string, Uint8Array>}} Step */

const FAITHFUL = [40, 110, 235], CRISP = [240, 110, 30], OPACITY = 0.55, STEPS = 20;

const canvas = /** @type {HTMLCanvasElement} */ (el("tint"));
const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
let strokes = emptyPlanes(0, 0), all = emptyPlanes(0, 0);
/** @type {Map<string, Uint8Array>} */
let layers = new Map();
/** @type {Step[]} */
let past = [];
/** @type {Step[]} */
let future = [];
/** @type {ImageData | null} */
let shown = null;
/** @type {import("./planes.js").Stroke | null} */
let stroke = null;
/** @type {Promise<Blob> | null} */
let packed = null;
/** @type {() => void} */
let tell = () => {};

/** @param {() => void} changed called whenever layers or steps changed */
export function startPainting(changed) {
  tell = changed;
}

/** Begin with nothing painted, over a photo. */
export function resetPainting() {
  const [width, height] = state.photo?.painting ?? [0, 0];
  canvas.width = width;
  canvas.height = height;
  strokes = emptyPlanes(width, height);
  all = emptyPlanes(width, height);
  layers = new Map();
  past = [];
  future = [];
  stroke = null;
  shown = width && height ? context.createImageData(width, height) : null;
  commit();
}

export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;
export const isPainted = () => state.painting !== "";
export const hasLayer = (/** @type {string} */ name) => layers.has(name);
export const paintingSide = () => Math.max(strokes.width, strokes.height);

/** The painting as the server takes it; null if nothing is painted, or the model takes no paint. */
export async function painting() {
  if (!state.painting || !takesPaint()) return null;
  packed ??= pack(all);
  return packed;
}

/** @param {{t: number, erase: boolean, radius: number, softness: number}} brush `radius` in pixels of the painting
 * @param {number} x @param {number} y shares of width and height @param {number} strength */
export function begin(brush, x, y, strength) {
  remember();
  stroke = beginStroke(strokes, brush, [x * strokes.width, y * strokes.height]);
  proceed(x, y, strength);
}

/** @param {number} x @param {number} y @param {number} strength */
export function proceed(x, y, strength) {
  if (!stroke) return;
  const box = strokeTo(strokes, stroke, [x * strokes.width, y * strokes.height], strength);
  if (box) draw(box);
}

export function end() {
  if (!stroke) return;
  stroke = null;
  commit();
}

export const isPaintingNow = () => stroke !== null;

/** Put a layer below the strokes, or take it away.
 * @param {string} name @param {Uint8Array | null} plane */
export function setLayer(name, plane) {
  remember();
  layers = new Map(layers);
  if (plane) layers.set(name, plane);
  else layers.delete(name);
  commit();
}

/** Replace everything by a style map.
 * @param {Uint8Array} plane */
export function paintMap(plane) {
  remember();
  layers = new Map();
  strokes.style.set(plane);
  strokes.cover.fill(255);
  commit();
}

export function clear() {
  if (!isPainted()) return;
  remember();
  layers = new Map();
  strokes.cover.fill(0);
  commit();
}

export function undo() {
  swap(past, future);
}

export function redo() {
  swap(future, past);
}

/** @param {Step[]} from @param {Step[]} to */
function swap(from, to) {
  const step = from.pop();
  if (!step || stroke) return;
  to.push({ strokes, layers });
  ({ strokes, layers } = step);
  commit();
}

function remember() {
  past.push({ strokes: copyPlanes(strokes), layers });
  if (past.length > STEPS) past.shift();
  future = [];
}

function commit() {
  draw({ left: 0, top: 0, right: strokes.width, bottom: strokes.height });
  packed = null;
  set({ painting: nameOf(all) });
  tell();
}

/** @param {import("./planes.js").Box} box */
function draw(box) {
  if (!shown) return;
  compose(strokes, [...layers.values()], box, all);
  const { data, width } = shown;
  for (let y = box.top; y < box.bottom; y++) {
    for (let x = box.left, at = y * width + box.left; x < box.right; x++, at++) {
      const s = all.style[at] / 255;
      for (let c = 0; c < 3; c++) data[4 * at + c] = FAITHFUL[c] + s * (CRISP[c] - FAITHFUL[c]);
      data[4 * at + 3] = all.cover[at] * OPACITY;
    }
  }
  context.putImageData(shown, 0, 0, box.left, box.top, box.right - box.left, box.bottom - box.top);
}
