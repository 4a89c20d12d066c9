// @ts-check
// Puts the page together.

import { getSetup } from "./api.js";
import { brushKeys, hasBrush, hideTint, showSteps, startBrush } from "./brush.js";
import { el, say } from "./dom.js";
import { startDial } from "./dial.js";
import { showLayers, startLayers } from "./layers.js";
import { redo, resetPainting, startPainting, undo } from "./paint.js";
import { startPhoto } from "./photo.js";
import { startPreview } from "./preview.js";
import { startRuns } from "./run.js";
import { on, set, state } from "./state.js";

on("photo", resetPainting); // first: the others ask for the new photo's painting
const preview = startPreview();
const result = startRuns();
startPainting(() => {
  showSteps();
  showLayers();
});
startPhoto(preview, hasBrush);
startDial();
startBrush();
startLayers();
listenToKeys();
try {
  set({ setup: await getSetup() });
  document.body.dataset.ready = "yes";
} catch (error) {
  say("welcome-error", /** @type {Error} */ (error).message);
}

function listenToKeys() {
  const holds = {
    h: hideTint,
    o: (/** @type {boolean} */ held) => [preview, result].forEach((viewer) => viewer.showOnlyLeft(held)),
  };
  addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (!state.photo || target.closest?.("input[type=number], select, dialog")) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey) {
      if (key !== "z" && key !== "y") return;
      event.preventDefault();
      return key === "y" || event.shiftKey ? redo() : undo();
    }
    if (event.altKey) return;
    if (key in holds) return holds[key](true);
    brushKeys[key]?.();
  });
  addEventListener("keyup", (event) => holds[event.key.toLowerCase()]?.(false));
  addEventListener("blur", () => Object.values(holds).forEach((release) => release(false)));
  const hold = el("hide-tint");
  for (const [event, held] of /** @type {[string, boolean][]} */ ([
    ["pointerdown", true], ["pointerup", false], ["pointerleave", false], ["pointercancel", false]])) {
    hold.addEventListener(event, () => hideTint(held));
  }
  hold.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => event.key === " " && hideTint(true));
  hold.addEventListener("keyup", () => hideTint(false));
  el("help-button").addEventListener("click", () => {
    el("help").showModal();
    el("help").scrollTop = 0; // on a small screen, the focus on the button at its end has scrolled it there
  });
  el("help-close").addEventListener("click", () => el("help").close());
}
