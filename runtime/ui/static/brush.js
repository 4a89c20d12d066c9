// @ts-check
// The brush: its tools and sliders, and strokes with mouse, pen, finger and keys.

import { begin, canRedo, canUndo, clear, end, isPainted, isPaintingNow, paintingSide, proceed, redo, undo } from "./paint.js";
import { el, press } from "./dom.js";
import { keep, keptPlace } from "./photo.js";
import { on, state, takesPaint } from "./state.js";

/** @typedef {"" | "faithful" | "crisp" | "erase"} Tool */

const surface = el("surface"), outline = el("outline"), tint = el("tint"), tools = el("tools");
const sliders = { size: el("brush-size"), strength: el("brush-strength"), softness: el("brush-softness") };
/** @type {Tool} */
let tool = "";
/** @type {Tool} */
let lastTool = "faithful";

export const hasBrush = () => tool !== "";

export function startBrush() {
  for (const button of tools.querySelectorAll("[data-tool]")) {
    button.addEventListener("click", () => choose(tool === button.dataset.tool ? "" : button.dataset.tool));
  }
  for (const slider of Object.values(sliders)) slider.addEventListener("input", showSliders);
  el("undo").addEventListener("click", undo);
  el("redo").addEventListener("click", redo);
  el("clear").addEventListener("click", clear);
  el("show-tint").addEventListener("change", showTint);
  on("photo model", () => {
    choose("");
    showTint();
  });
  listenToStrokes();
  showSliders();
  showSteps();
}

/** @param {Tool} wanted */
function choose(wanted) {
  tool = state.photo && takesPaint() ? wanted : "";
  if (tool) lastTool = tool;
  press(tools, "tool", tool);
  surface.classList.toggle("painting", tool !== "");
  el("photo-panel").classList.toggle("painting", tool !== "");
  outline.dataset.tool = tool;
  if (!tool) outline.hidden = true;
  el("brush-settings").classList.toggle("idle", tool === "");
}

function showSliders() {
  el("size-value").textContent = `${sliders.size.value} %`;
  el("strength-value").textContent = `${sliders.strength.value} %`;
  el("softness-value").textContent = `${sliders.softness.value} %`;
  const across = `${(Number(sliders.size.value) / 100) * Math.max(surface.clientWidth, surface.clientHeight)}px`;
  outline.style.width = outline.style.height = across;
}

/** Show which steps there are. */
export function showSteps() {
  el("undo").disabled = !canUndo();
  el("redo").disabled = !canRedo();
  el("clear").disabled = !isPainted();
  el("save-map").disabled = !state.photo;
}

function showTint() {
  tint.classList.toggle("off", !el("show-tint").checked || !takesPaint());
}

/** Hide the tint while a key or button is held.
 * @param {boolean} held */
export function hideTint(held) {
  tint.classList.toggle("held", held);
}

/** @param {"size" | "strength"} name @param {number} steps */
function adjust(name, steps) {
  const slider = sliders[name];
  const value = Number(slider.value);
  slider.value = String(Math.round(name === "size" ? value * 1.12 ** steps + Math.sign(steps) : value + 5 * steps));
  showSliders();
}

const brush = () => ({
  t: tool === "crisp" ? 1 : 0,
  erase: tool === "erase",
  radius: Math.max(1, (Number(sliders.size.value) / 200) * paintingSide()),
  softness: Number(sliders.softness.value) / 100,
});

/** How strongly a pointer paints: pens by their pressure.
 * @param {PointerEvent} event */
const strengthOf = (event) =>
  (Number(sliders.strength.value) / 100) * (event.pointerType === "pen" && event.pressure > 0 ? event.pressure : 1);

/** @param {PointerEvent} event @returns {[number, number]} */
function shareOf(event) {
  const box = surface.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

function listenToStrokes() {
  let pointer = -1;
  surface.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    if (event.button || !hasBrush() || isPaintingNow()) return;
    pointer = event.pointerId;
    surface.setPointerCapture(pointer);
    begin(brush(), ...shareOf(event), strengthOf(event));
    follow(event);
  });
  surface.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    follow(event);
    if (!isPaintingNow() || event.pointerId !== pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) proceed(...shareOf(each), strengthOf(each));
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    surface.addEventListener(kind, (/** @type {PointerEvent} */ event) => {
      if (!isPaintingNow() || event.pointerId !== pointer) return;
      end();
      const [x, y] = shareOf(event);
      if (state.photo) keep({ x: x * state.photo.width, y: y * state.photo.height }); // look at what was painted
      if (event.pointerType === "touch") outline.hidden = true;
    });
  }
  surface.addEventListener("pointerleave", () => (outline.hidden = true));
  surface.addEventListener("wheel", (/** @type {WheelEvent} */ event) => {
    if (!hasBrush() || event.ctrlKey) return;
    event.preventDefault();
    const turn = event.deltaY || event.deltaX; // with Shift, some systems turn the wheel sideways
    adjust(event.shiftKey ? "strength" : "size", -Math.sign(turn));
  }, { passive: false });
  surface.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (!hasBrush() || !state.photo || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    const { x, y } = keptPlace();
    begin(brush(), x / state.photo.width, y / state.photo.height, Number(sliders.strength.value) / 100);
    end();
  });
}

/** Move the outline to the pointer.
 * @param {PointerEvent} event */
function follow(event) {
  outline.hidden = !hasBrush();
  const [x, y] = shareOf(event);
  outline.style.left = `${100 * x}%`;
  outline.style.top = `${100 * y}%`;
  showSliders(); // the photo may have another size by now
}

/** @type {Record<string, () => void>} */
export const brushKeys = {
  b: () => choose(tool ? "" : lastTool),
  f: () => choose("faithful"),
  c: () => choose("crisp"),
  e: () => choose("erase"),
  Escape: () => choose(""),
  "[": () => adjust("size", -1),
  "]": () => adjust("size", 1),
  "{": () => adjust("strength", -1),
  "}": () => adjust("strength", 1),
};
