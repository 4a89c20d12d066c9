// @ts-check
// Compares two pictures of a photo under one slider, at true device pixels. Coordinates are those of the photo.

import { Patches } from "./patches.js";
import { listenToGestures } from "./gestures.js";
import { reveal } from "./dom.js";

/** @typedef {import("./patches.js").Source & {label: () => string}} Side */

const MOST_ASKED = 12e6; // pixels of one answer; the server refuses more than 16 million
const MOST_ZOOM = 16;
const REST = 140; // milliseconds without a change before the server is asked
const SQUARE = 8; // CSS pixels of a square of the checkerboard

export class Viewer {
  /** @param {HTMLElement} root @param {[Side, Side]} sides left and right
   * @param {{limit?: () => number, onLook?: () => void, margin?: number, fail: (error: string) => void}} options
   *   `limit`: largest number of the photo's pixels in one request */
  constructor(root, sides, options) {
    this.root = root;
    this.sides = sides;
    this.options = options;
    this.canvas = /** @type {HTMLCanvasElement} */ (root.querySelector("canvas"));
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    this.handle = /** @type {HTMLElement} */ (root.querySelector(".split"));
    this.badges = /** @type {HTMLElement[]} */ ([...root.querySelectorAll(".badge")]);
    this.patches = sides.map((side) => new Patches(side, () => this.draw(), (error) => options.fail(error)));
    this.split = 0.5;
    this.zoom = 1; // device pixels per pixel of the result
    this.x = this.y = 0; // the place in the middle
    this.scale = 1; // the result's pixels per pixel of the photo
    this.levels = 1;
    this.onlyLeft = false;
    /** @type {import("./state.js").Photo | null} */
    this.photo = null;
    this.timer = 0;
    this.frame = 0;
    new ResizeObserver(() => this.resize()).observe(/** @type {Element} */ (this.canvas.parentElement));
    addEventListener("resize", () => this.resize()); // the window may have moved to another screen
    listenToGestures(this);
  }

  /** Show a photo.
   * @param {import("./state.js").Photo | null} photo @param {number} scale @param {number} levels */
  open(photo, scale, levels = 1) {
    for (const patches of this.patches) patches.clear();
    this.photo = photo;
    this.scale = scale;
    this.levels = levels;
    this.root.classList.toggle("has-alpha", Boolean(photo?.alpha));
    this.update();
  }

  /** Look at a place, given in pixels of the photo.
   * @param {number} x @param {number} y */
  look(x, y) {
    if (!this.photo) return;
    this.x = x;
    this.y = y;
    this.update();
  }

  /** @param {number} zoom @param {number} [atX] a point on the canvas that stays where it is, in device pixels
   * @param {number} [atY] */
  zoomTo(zoom, atX = this.canvas.width / 2, atY = this.canvas.height / 2) {
    const old = this.zoom * this.scale;
    this.zoom = Math.min(Math.max(zoom, this.leastZoom), MOST_ZOOM);
    const now = this.zoom * this.scale;
    this.x += (atX - this.canvas.width / 2) * (1 / old - 1 / now);
    this.y += (atY - this.canvas.height / 2) * (1 / old - 1 / now);
    this.update();
  }

  get fitZoom() {
    if (!this.photo) return 1;
    return Math.min(
      this.canvas.width / (this.photo.width * this.scale), this.canvas.height / (this.photo.height * this.scale));
  }

  get leastZoom() {
    const limit = this.options.limit?.();
    const least = limit ? Math.sqrt((this.canvas.width * this.canvas.height) / limit) / this.scale : 0;
    return Math.min(1, Math.max(this.fitZoom, least));
  }

  /** The part of the photo that is in sight, in fractions of its pixels. */
  get sight() {
    if (!this.photo || !this.canvas.width) return null;
    const { left, top, per } = this.place;
    const x = Math.max(0, -left / per), y = Math.max(0, -top / per);
    const right = Math.min(this.photo.width, (this.canvas.width - left) / per);
    const bottom = Math.min(this.photo.height, (this.canvas.height - top) / per);
    return { x, y, w: right - x, h: bottom - y };
  }

  /** Where the photo's corner lies on the canvas, in whole device pixels, and the device pixels per photo pixel. */
  get place() {
    const per = this.zoom * this.scale;
    return {
      left: Math.round(this.canvas.width / 2 - this.x * per), top: Math.round(this.canvas.height / 2 - this.y * per),
      per,
    };
  }

  /** Give the canvas whole device pixels, and exactly their size: otherwise the browser would blur it. */
  resize() {
    const { clientWidth, clientHeight } = /** @type {Element} */ (this.canvas.parentElement);
    const width = Math.floor(clientWidth * devicePixelRatio), height = Math.floor(clientHeight * devicePixelRatio);
    this.canvas.style.width = `${width / devicePixelRatio}px`;
    this.canvas.style.height = `${height / devicePixelRatio}px`;
    if (width === this.canvas.width && height === this.canvas.height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.paint(); // a resized canvas is empty, and would flicker until the next frame
    this.update();
  }

  /** Draw, and ask for what is missing once nothing changes any more. */
  update() {
    this.keepInside();
    this.draw();
    this.options.onLook?.();
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.request(), REST);
  }

  keepInside() {
    if (!this.photo) return;
    const per = this.zoom * this.scale;
    const inside = (/** @type {number} */ at, /** @type {number} */ side, /** @type {number} */ seen) =>
      seen >= side ? side / 2 : Math.min(Math.max(at, seen / 2), side - seen / 2);
    this.x = inside(this.x, this.photo.width, this.canvas.width / per);
    this.y = inside(this.y, this.photo.height, this.canvas.height / per);
  }

  request() {
    this.timer = 0;
    const seen = this.sight;
    if (!this.photo || !seen || seen.w <= 0 || seen.h <= 0 || !this.canvas.clientWidth) return this.settle();
    let level = Math.min(this.levels - 1, Math.max(0, Math.floor(Math.log2(1 / this.zoom))));
    const part = this.wholePixels(seen, level, 0);
    let asked = this.wholePixels(seen, level, this.options.margin ?? 0);
    const size = () => asked.w * asked.h * (this.scale / 2 ** level) ** 2;
    if (size() > MOST_ASKED) asked = part;
    while (size() > MOST_ASKED && level < this.levels - 1) level++;
    this.sides.forEach((_, side) => {
      if (side === 0 || !this.onlyLeft) void this.patches[side].want(part, asked, level);
    });
    this.settle();
  }

  /** @param {{x: number, y: number, w: number, h: number}} seen @param {number} level
   * @param {number} margin as a share of the size @returns {import("./patches.js").Part} */
  wholePixels(seen, level, margin) {
    const { width, height } = /** @type {import("./state.js").Photo} */ (this.photo);
    const step = Math.max(1, Math.round(2 ** level / this.scale));
    const axis = (/** @type {number} */ from, /** @type {number} */ length, /** @type {number} */ most) => {
      const start = Math.max(0, Math.floor((from - margin * length) / step) * step);
      return [start, Math.min(most, Math.ceil((from + length * (1 + margin)) / step) * step) - start];
    };
    let [x, w] = axis(seen.x, seen.w, width);
    let [y, h] = axis(seen.y, seen.h, height);
    const limit = this.options.limit?.();
    if (limit && w * h > limit) { // only its middle
      const share = Math.sqrt(limit / (w * h));
      const [w2, h2] = [Math.max(1, Math.floor(w * share)), Math.max(1, Math.floor(h * share))];
      [x, y, w, h] = [x + ((w - w2) >> 1), y + ((h - h2) >> 1), w2, h2];
    }
    return { x, y, w, h };
  }

  /** Tell the page, and those who can't see it, how far the picture is. */
  settle() {
    const waiting = this.timer !== 0 || this.frame !== 0 || this.patches.some((patches) => patches.busy);
    this.root.dataset.state = waiting ? "waiting" : "ready";
    this.canvas.setAttribute("aria-busy", String(waiting));
  }

  draw() {
    this.showWords();
    this.root.dataset.state = "waiting";
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.paint();
        this.settle();
      });
    }
  }

  /** Show what the labels, the slider and the zoom say; only the picture waits for the next frame. */
  showWords() {
    this.handle.style.left = `${100 * this.split}%`;
    this.handle.setAttribute("aria-valuenow", String(Math.round(100 * this.split)));
    this.badges.forEach((badge, side) => {
      badge.textContent = this.sides[side].label();
      badge.classList.toggle("faint", side === 1 && this.onlyLeft);
    });
    const percent = this.root.querySelector(".percent");
    if (percent) percent.textContent = `${Math.round(100 * this.zoom)} %`;
  }

  paint() {
    const { canvas, context } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.photo) return;
    const middle = this.onlyLeft ? canvas.width : Math.round(this.split * canvas.width);
    this.paintSide(0, 0, middle);
    this.paintSide(1, middle, canvas.width);
  }

  /** @param {number} side @param {number} from @param {number} to columns of the canvas */
  paintSide(side, from, to) {
    if (to <= from) return;
    const { context } = this;
    const photo = /** @type {import("./state.js").Photo} */ (this.photo);
    const { left, top, per } = this.place;
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, this.canvas.height);
    context.clip();
    context.imageSmoothingQuality = "high";
    const box = [left, top, Math.round(photo.width * per), Math.round(photo.height * per)];
    this.paintPicture(photo.overview, box, true);
    for (const patch of this.patches[side].inOrder()) {
      const [x, y] = [Math.round(left + patch.x * per), Math.round(top + patch.y * per)];
      const box = [x, y, Math.round(left + (patch.x + patch.w) * per) - x, Math.round(top + (patch.y + patch.h) * per) - y];
      this.paintPicture(patch.bitmap, box, box[2] < patch.bitmap.width);
    }
    context.restore();
  }

  /** @param {ImageBitmap} picture @param {number[]} box @param {boolean} smooth */
  paintPicture(picture, [x, y, width, height], smooth) {
    const { context } = this;
    if (this.photo?.alpha) {
      context.save();
      context.beginPath();
      context.rect(x, y, width, height);
      context.clip();
      this.paintCheckerboard(Math.max(x, 0), Math.max(y, 0), x + width, y + height);
      context.restore();
    }
    context.imageSmoothingEnabled = smooth;
    context.drawImage(picture, x, y, width, height);
  }

  /** @param {number} left @param {number} top @param {number} right @param {number} bottom */
  paintCheckerboard(left, top, right, bottom) {
    const { context } = this;
    const side = Math.round(SQUARE * devicePixelRatio);
    const style = getComputedStyle(this.root);
    context.fillStyle = style.getPropertyValue("--square-light");
    context.fillRect(left, top, right - left, bottom - top);
    context.fillStyle = style.getPropertyValue("--square-dark");
    for (let row = Math.floor(top / side); row * side < Math.min(bottom, this.canvas.height); row++) {
      for (let column = Math.floor(left / side); column * side < Math.min(right, this.canvas.width); column++) {
        if ((row + column) % 2) context.fillRect(column * side, row * side, side, side);
      }
    }
  }

  /** Look at the left side alone, while a key is held.
   * @param {boolean} only */
  showOnlyLeft(only) {
    if (this.onlyLeft === only) return;
    this.onlyLeft = only;
    this.root.classList.toggle("only-left", only);
    this.draw();
  }

  reveal() {
    reveal(this.root);
  }
}
