// @ts-check
// Arithmetic of paintings: two planes of bytes, the style (255 is t = 1), and how far it covers the dial's t.

/** @typedef {{width: number, height: number, style: Uint8ClampedArray, cover: Uint8ClampedArray}} Planes */
/** @typedef {{t: number, erase: boolean, radius: number, softness: number, mask: Float32Array, before: Planes,
 *   at: [number, number]}} Stroke `mask` is the strongest dab at each pixel, `before` the planes as they were */
/** @typedef {{left: number, top: number, right: number, bottom: number}} Box */

/** @param {number} width @param {number} height @returns {Planes} */
export function emptyPlanes(width, height) {
  const bytes = width * height;
  return { width, height, style: new Uint8ClampedArray(bytes), cover: new Uint8ClampedArray(bytes) };
}

/** @param {Planes} planes @returns {Planes} */
export function copyPlanes(planes) {
  return { ...planes, style: planes.style.slice(), cover: planes.cover.slice() };
}

/** @param {Planes} planes @param {{t: number, erase: boolean, radius: number, softness: number}} brush
 * @param {[number, number]} at @returns {Stroke} */
export function beginStroke(planes, brush, at) {
  return { ...brush, at, mask: new Float32Array(planes.width * planes.height), before: copyPlanes(planes) };
}

/** One dab. Of all dabs of a stroke the strongest counts at each pixel: a stroke over itself does not add up.
 * @param {Planes} planes @param {Stroke} stroke @param {number} x @param {number} y @param {number} strength 0 to 1
 * @returns {Box | null} what has changed */
function dab(planes, stroke, x, y, strength) {
  const { radius, before, mask } = stroke;
  const inner = radius * (1 - stroke.softness);
  const left = Math.max(0, Math.floor(x - radius)), right = Math.min(planes.width, Math.ceil(x + radius) + 1);
  const top = Math.max(0, Math.floor(y - radius)), bottom = Math.min(planes.height, Math.ceil(y + radius) + 1);
  if (left >= right || top >= bottom) return null;
  for (let row = top; row < bottom; row++) {
    for (let column = left, at = row * planes.width + left; column < right; column++, at++) {
      const far = Math.hypot(column + 0.5 - x, row + 0.5 - y);
      if (far > radius) continue;
      const rise = far <= inner ? 1 : (radius - far) / (radius - inner);
      const now = strength * rise * rise * (3 - 2 * rise);
      if (now <= mask[at]) continue;
      mask[at] = now;
      const covered = before.cover[at] / 255;
      if (stroke.erase) {
        planes.cover[at] = 255 * covered * (1 - now);
        continue;
      }
      const after = now + covered * (1 - now);
      planes.style[at] = (255 * now * stroke.t + (1 - now) * covered * before.style[at]) / after;
      planes.cover[at] = 255 * after;
    }
  }
  return { left, top, right, bottom };
}

/** Continue a stroke to a place.
 * @param {Planes} planes @param {Stroke} stroke @param {[number, number]} to @param {number} strength
 * @returns {Box | null} what has changed */
export function strokeTo(planes, stroke, to, strength) {
  const [x, y] = stroke.at;
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - x, to[1] - y) / (stroke.radius / 4 + 0.5)));
  /** @type {Box | null} */
  let changed = null;
  for (let step = 1; step <= steps; step++) {
    const box = dab(planes, stroke, x + ((to[0] - x) * step) / steps, y + ((to[1] - y) * step) / steps, strength);
    if (box) {
      changed = changed && {
        left: Math.min(changed.left, box.left), top: Math.min(changed.top, box.top),
        right: Math.max(changed.right, box.right), bottom: Math.max(changed.bottom, box.bottom),
      } || box;
    }
  }
  stroke.at = to;
  return changed;
}

/** Lay strokes over layers. A layer lets a share of the dial's t through at each pixel, and of several layers the
 * smallest share counts: it is paint of t = 0 that covers the rest.
 * @param {Planes} strokes @param {Uint8Array[]} layers @param {Box} box where @param {Planes} into */
export function compose(strokes, layers, box, into) {
  for (let row = box.top; row < box.bottom; row++) {
    const end = row * strokes.width + box.right;
    for (let at = row * strokes.width + box.left; at < end; at++) {
      let share = 255;
      for (const layer of layers) if (layer[at] < share) share = layer[at];
      const cover = strokes.cover[at];
      if (share === 255) {
        into.cover[at] = cover;
        into.style[at] = strokes.style[at];
        continue;
      }
      const all = 255 - ((255 - cover) * share) / 255;
      into.cover[at] = all;
      into.style[at] = all ? (strokes.style[at] * cover) / all : 0;
    }
  }
}

/** A name for what is painted; empty where nothing is.
 * @param {Planes} planes */
export function nameOf(planes) {
  if (!planes.cover.some((cover) => cover > 0)) return "";
  let hash = 0x811c9dc5;
  for (let at = 0; at < planes.cover.length; at++) {
    if (!planes.cover[at]) continue;
    hash = Math.imul(hash ^ at, 0x01000193);
    hash = Math.imul(hash ^ (planes.cover[at] << 8) ^ planes.style[at], 0x01000193);
  }
  return (hash >>> 0).toString(36);
}

/** Both planes, deflated, as the server takes them.
 * @param {Planes} planes */
export async function pack(planes) {
  const both = new Uint8Array(2 * planes.style.length);
  both.set(planes.style);
  both.set(planes.cover, planes.style.length);
  const stream = new Blob([both]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Response(stream).blob();
}
