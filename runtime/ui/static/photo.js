// @ts-check
// The photo: opening it, its facts, and which place of it the preview shows.

import { getOverview, openPhoto } from "./api.js";
import { complain, el, say, shownBytes } from "./dom.js";
import { on, set, state } from "./state.js";

/** @typedef {{x: number, y: number}} Place in pixels of the photo */

const surface = el("surface"), image = el("photo-image"), frame = el("frame");
let opened = 0; // counts, so that an answer that comes too late is dropped
/** @type {Place} */
let kept = { x: 0, y: 0 };
let hovering = false, dragging = false;
/** @type {import("./viewer.js").Viewer | null} */
let preview = null;
/** @type {() => boolean} */
let hasBrush = () => false;

/** @param {import("./viewer.js").Viewer} viewer @param {() => boolean} brush whether a press paints */
export function startPhoto(viewer, brush) {
  preview = viewer;
  hasBrush = brush;
  listenForFiles();
  listenToPlaces();
  on("photo opening", showState);
  showState();
}

/** @param {Blob} file @param {string} name */
export async function open(file, name) {
  const number = ++opened;
  const most = state.setup?.limits.bytes ?? Infinity;
  say("photo-error", "");
  if (file.size > most) return fail(`${name} has ${shownBytes(file.size)}; a photo may have ${shownBytes(most)}.`);
  set({ opening: true });
  el("opening-name").textContent = `Opening ${name} …`;
  try {
    const facts = await openPhoto(file, name);
    const picture = await getOverview(facts.id);
    const overview = await createImageBitmap(picture);
    if (number !== opened) return;
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(picture);
    image.alt = `The photo ${facts.name}`;
    kept = { x: facts.detail[0] * facts.width, y: facts.detail[1] * facts.height };
    hovering = false;
    set({ photo: { ...facts, overview }, opening: false });
    keep(kept);
  } catch (error) {
    if (number !== opened) return;
    set({ opening: false });
    fail(/** @type {Error} */ (error).message);
  }
}

/** @param {string} sentence */
function fail(sentence) {
  complain(state.photo ? "photo-error" : "welcome-error", new Error(sentence));
}

function showState() {
  const { photo, opening } = state;
  document.body.dataset.photo = photo ? "open" : "none";
  document.body.classList.toggle("opening", opening);
  el("opening").hidden = !opening;
  say("welcome-error", "");
  if (!photo) return;
  document.body.style.setProperty("--ratio", String(photo.width / photo.height));
  surface.classList.toggle("checkered", photo.alpha);
  el("photo-name").textContent = photo.name;
  el("photo-facts").textContent = [
    `${photo.width} × ${photo.height}`, photo.format.toUpperCase().replace("JPG", "JPEG").replace("TIF", "TIFF"),
    ...(photo.bits > 8 ? [`${photo.bits} bit`] : []), ...(photo.alpha ? ["transparency"] : []), shownBytes(photo.bytes),
  ].join(" · ");
  el("photo-notes").replaceChildren(...photo.notes.map((note) => {
    const line = document.createElement("li");
    line.textContent = note;
    return line;
  }));
}

function listenForFiles() {
  for (const input of document.querySelectorAll("input.photo-file")) {
    input.addEventListener("change", () => {
      const [file] = /** @type {HTMLInputElement} */ (input).files ?? [];
      if (file) void open(file, file.name);
      /** @type {HTMLInputElement} */ (input).value = ""; // the same file may be chosen again
    });
  }
  el("sample").addEventListener("click", async () => {
    const answer = await fetch("page/sample.webp");
    void open(await answer.blob(), "sample.webp");
  });
  let inside = 0; // dragenter and dragleave come for every element
  const mark = (/** @type {number} */ count) => {
    inside = count;
    document.body.classList.toggle("dropping", inside > 0);
  };
  const carriesFile = (/** @type {DragEvent} */ event) => Boolean(event.dataTransfer?.types.includes("Files"));
  addEventListener("dragenter", (event) => carriesFile(event) && mark(inside + 1));
  addEventListener("dragleave", (event) => carriesFile(event) && mark(Math.max(0, inside - 1)));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    mark(0);
    const [file] = event.dataTransfer?.files ?? [];
    if (file) void open(file, file.name);
    else if (event.dataTransfer?.types.length) fail("Only files can be dropped here.");
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) void open(file, file.name);
  });
}

/** Where a pointer is.
 * @param {PointerEvent} event @returns {Place} */
function placeOf(event) {
  const box = surface.getBoundingClientRect();
  const { width, height } = /** @type {import("./state.js").Photo} */ (state.photo);
  return { x: ((event.clientX - box.left) / box.width) * width, y: ((event.clientY - box.top) / box.height) * height };
}

/** Let the preview stay at a place.
 * @param {Place} place */
export function keep(place) {
  kept = place;
  preview?.look(place.x, place.y);
}

function listenToPlaces() {
  surface.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
    if (event.button || !state.photo || hasBrush()) return;
    surface.setPointerCapture(event.pointerId);
    dragging = true;
    keep(placeOf(event));
  });
  surface.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => {
    if (!state.photo) return;
    if (dragging) return keep(placeOf(event));
    if (event.pointerType === "touch" || event.buttons) return;
    hovering = true;
    const { x, y } = placeOf(event);
    preview?.look(x, y);
  });
  for (const end of ["pointerup", "pointercancel"]) surface.addEventListener(end, () => (dragging = false));
  surface.addEventListener("pointerleave", () => {
    if (!hovering || dragging) return;
    hovering = false;
    keep(kept);
  });
  surface.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = (event.shiftKey ? 0.1 : 0.02) * Math.max(state.photo?.width ?? 0, state.photo?.height ?? 0);
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way || !state.photo || !preview) return;
    event.preventDefault();
    keep({ x: preview.x + way[0] * step, y: preview.y + way[1] * step });
    kept = { x: preview.x, y: preview.y };
  });
}

/** The preview looks elsewhere: move the frame, and keep the place, unless it only follows the pointer. */
export function showFrame() {
  const seen = preview?.sight, { photo } = state;
  frame.hidden = !seen || !photo;
  if (!seen || !photo || !preview) return;
  if (!hovering) kept = { x: preview.x, y: preview.y };
  frame.style.left = `${(100 * seen.x) / photo.width}%`;
  frame.style.top = `${(100 * seen.y) / photo.height}%`;
  frame.style.width = `${(100 * seen.w) / photo.width}%`;
  frame.style.height = `${(100 * seen.h) / photo.height}%`;
}

/** The place that the preview stays at. */
export const keptPlace = () => kept;
