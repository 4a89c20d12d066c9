// @ts-check
// The dial, the dial to compare with, and the model.

import { el, make, press } from "./dom.js";
import { dial, on, set, state, takesPaint } from "./state.js";

export function startDial() {
  const range = el("t"), number = el("t-number");
  range.addEventListener("input", () => set({ t: Number(range.value) }));
  number.addEventListener("change", () => {
    const t = Number(number.value);
    set({ t: number.value.trim() && t >= 0 && t <= 1 ? t : state.t });
    show();
  });
  const other = el("other-t");
  other.addEventListener("input", () => set({ otherT: Number(other.value) }));
  for (const button of el("against").querySelectorAll("[data-against]")) {
    button.addEventListener("click", () => set({ against: button.dataset.against }));
  }
  const models = el("model");
  models.addEventListener("change", () =>
    set({ model: state.setup?.models.find((model) => model.name === models.value) ?? null }));
  on("setup", () => {
    const setup = /** @type {import("./state.js").Setup} */ (state.setup);
    models.replaceChildren(...setup.models.map(({ name }) => make("option", { value: name, textContent: name })));
    el("model-field").hidden = setup.models.length < 2;
    set({ model: setup.models[0], t: setup.t });
  });
  on("t otherT against model", show);
}

function show() {
  const fixed = state.model?.fixed ?? null, t = dial();
  for (const input of [el("t"), el("t-number")]) {
    input.disabled = fixed !== null;
    input.value = input.type === "number" ? t.toFixed(2) : String(t);
  }
  el("t").setAttribute("aria-valuetext", `${t.toFixed(2)}, ${words(t)}`);
  el("t").style.setProperty("--at", String(t));
  el("t-words").textContent = fixed === null ? words(t) : "This model has one style, and takes no paint.";
  el("paint-panel").inert = !takesPaint();
  if (fixed !== null && state.against === "t") set({ against: "before" });
  el("against").querySelector("[data-against=t]").disabled = fixed !== null;
  press(el("against"), "against", state.against);
  el("other").hidden = state.against !== "t";
  el("other-t").value = String(state.otherT);
  el("other-value").textContent = state.otherT.toFixed(2);
}

/** @param {number} t */
function words(t) {
  if (t <= 0.15) return "Only what the photo shows.";
  if (t <= 0.45) return "Careful: a little texture is added.";
  if (t <= 0.75) return "Balanced: likely texture is added.";
  return "Crisp: fine texture is invented.";
}
