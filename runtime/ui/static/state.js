// @ts-check
// What the page knows, in one place. Modules set parts of it, and are told when parts change that they asked about.

/**
 * @typedef {{name: string, scale: number, fixed: number | null, preview: number}} Model
 * @typedef {{name: string, description: string}} MapKind
 * @typedef {{version: string, t: number, models: Model[], suggestion: MapKind & {note: string}, maps: MapKind[],
 *   formats: string[], limits: {bytes: number, pixels: number}}} Setup
 * @typedef {{id: string, name: string, format: string, width: number, height: number, bits: number, alpha: boolean,
 *   bytes: number, notes: string[], detail: [number, number], painting: [number, number]}} Facts
 * @typedef {Facts & {overview: ImageBitmap}} Photo
 */

/** @type {{setup: Setup | null, model: Model | null, photo: Photo | null, opening: boolean, t: number, otherT: number,
 *   against: "before" | "t", painting: string, running: boolean}} */
export const state = {
  setup: null,
  model: null,
  photo: null,
  opening: false,
  t: 0.8,
  otherT: 0,
  against: "before",
  painting: "", // names what is painted: equal paintings have equal names; empty where nothing is painted
  running: false,
};

/** @type {{names: string[], tell: () => void}[]} */
const listeners = [];

/** Call a function whenever one of these parts has changed.
 * @param {string} names @param {() => void} tell */
export function on(names, tell) {
  listeners.push({ names: names.split(" "), tell });
}

/** Change parts of the state.
 * @param {Partial<typeof state>} change */
export function set(change) {
  const changed = Object.keys(change).filter((name) => state[name] !== change[name]);
  Object.assign(state, change);
  for (const { names, tell } of listeners) if (names.some((name) => changed.includes(name))) tell();
}

/** The dial's t, or that of a model which has only one. */
export function dial() {
  return state.model?.fixed ?? state.t;
}

/** Whether the painting counts: a model with one style takes none. */
export const takesPaint = () => state.model?.fixed === null;

/** Names what the model is asked for: equal names give equal pixels. */
export function styleKey(t = dial()) {
  return [state.model?.name, t, takesPaint() ? state.painting : ""].join(" ");
}

/** The style in words, for labels of pictures.
 * @param {number} t */
export function shownStyle(t = dial()) {
  return `t ${t.toFixed(2)}${takesPaint() && state.painting ? ", painted" : ""}`;
}
