// @ts-check
// Style maps: the suggested layer and others that are made from the photo, maps from files, and saving.

import { makeMap, readMap, saveMap } from "./api.js";
import { complain, el, make, say } from "./dom.js";
import { hasLayer, painting, paintMap, setLayer } from "./paint.js";
import { dial, on, state } from "./state.js";

/** @type {Map<string, Uint8Array>} maps that were made of this photo */
let made = new Map();
let suggested = ""; // the name of the suggested layer

export function startLayers() {
  on("setup", () => {
    const setup = /** @type {import("./state.js").Setup} */ (state.setup);
    suggested = setup.suggestion.name;
    el("suggest").dataset.layer = suggested;
    say("suggestion-note", setup.suggestion.note);
    el("layers").replaceChildren(...setup.maps.map(chip));
    showLayers();
  });
  on("photo", () => {
    made = new Map();
    say("map-error", "");
    showLayers();
  });
  on("model", showLayers);
  el("suggest").addEventListener("click", () => toggle(suggested, el("suggest")));
  el("load-map").addEventListener("change", load);
  el("save-map").addEventListener("click", save);
}

/** @param {import("./state.js").MapKind} kind */
function chip({ name, description }) {
  const button = make("button", { type: "button", className: "chip", title: description, textContent: name });
  button.dataset.layer = name;
  button.setAttribute("aria-label", `${name}: ${description}`);
  button.addEventListener("click", () => toggle(name, button));
  return button;
}

/** @param {string} name @param {HTMLButtonElement} button */
async function toggle(name, button) {
  const { photo } = state;
  if (!photo || button.classList.contains("busy")) return;
  say("map-error", "");
  if (hasLayer(name)) return setLayer(name, null);
  button.classList.add("busy");
  showLayers();
  try {
    const plane = made.get(name) ?? (await makeMap(photo.id, name));
    if (state.photo !== photo) return;
    made.set(name, plane);
    setLayer(name, plane);
  } catch (error) {
    if (state.photo === photo) complain("map-error", error);
  } finally {
    button.classList.remove("busy");
    showLayers();
  }
}

/** Show which layers are on. */
export function showLayers() {
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (el("layers").querySelectorAll("[data-layer]"))) {
    button.setAttribute("aria-pressed", String(hasLayer(button.dataset.layer ?? "")));
  }
  const applied = hasLayer(suggested), button = el("suggest");
  el("suggestion-title").textContent = applied ? "Applied." : "Suggested.";
  el("suggestion-text").textContent = applied
    ? "Where the photo is tinted blue, the result stays closer to it." : state.setup?.suggestion.description ?? "";
  button.textContent = button.classList.contains("busy") ? "Looking at it …" : applied ? "Remove" : "Apply";
}

async function load() {
  const input = /** @type {HTMLInputElement} */ (el("load-map"));
  const { photo } = state, [file] = input.files ?? [];
  input.value = "";
  if (!photo || !file) return;
  say("map-error", "");
  try {
    const plane = await readMap(photo.id, file);
    if (state.photo === photo) paintMap(plane);
  } catch (error) {
    complain("map-error", error);
  }
}

async function save() {
  const { photo } = state;
  if (!photo) return;
  say("map-error", "");
  try {
    const file = await saveMap(photo.id, dial(), await painting());
    const url = URL.createObjectURL(file);
    make("a", { href: url, download: `${photo.name.replace(/\.[^.]*$/, "")}_t.png` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  } catch (error) {
    complain("map-error", error);
  }
}
