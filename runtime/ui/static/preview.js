// @ts-check
// The preview: a part of the photo, upscaled with what the dial and the painting say.

import { getBefore, getPreview } from "./api.js";
import { el, say } from "./dom.js";
import { painting } from "./paint.js";
import { showFrame } from "./photo.js";
import { dial, on, shownStyle, state, styleKey } from "./state.js";
import { Viewer } from "./viewer.js";

/** @typedef {import("./patches.js").Part} Part */

/** The part at one t. @param {() => number} t @returns {(part: Part, level: number, signal: AbortSignal) => Promise<Blob>} */
const upscaled = (t) => async (part, level, signal) => {
  const { photo, model } = /** @type {{photo: import("./state.js").Photo, model: import("./state.js").Model}} */ (state);
  return getPreview(photo.id, model.name, t(), await painting(), part, signal);
};
const otherOf = upscaled(() => state.otherT);

const left = {
  key: () => (state.against === "t" ? styleKey(state.otherT) : "before"),
  label: () => (state.against === "t" ? shownStyle(state.otherT) : "Original"),
  /** @param {Part} part @param {number} level @param {AbortSignal} signal */
  load: (part, level, signal) =>
    state.against === "t" ? otherOf(part, level, signal)
      : getBefore(state.photo?.id ?? "", part, state.model?.scale ?? 1, signal),
};
const right = { key: () => styleKey(), label: () => shownStyle(), load: upscaled(dial) };

/** @returns {Viewer} */
export function startPreview() {
  const viewer = new Viewer(el("preview"), [left, right], {
    limit: () => state.model?.preview ?? 65536,
    onLook: showFrame,
    fail: (error) => say("preview-error", error),
  });
  on("photo model", () => {
    say("preview-error", "");
    viewer.open(state.photo, state.model?.scale ?? 1);
  });
  on("t otherT against painting", () => viewer.update());
  return viewer;
}
