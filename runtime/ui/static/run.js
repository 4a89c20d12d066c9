// @ts-check
// Upscaling the whole photo: the button that shows how far it is, and the result.

import { fileOf, getBefore, getResult, getRun, startRun, stopRun } from "./api.js";
import { complain, el, make, reveal, say, shownBytes, shownTime } from "./dom.js";
import { painting } from "./paint.js";
import { keptPlace } from "./photo.js";
import { dial, on, set, shownStyle, state, styleKey } from "./state.js";
import { Viewer } from "./viewer.js";

/** @typedef {{id: string, photo: import("./state.js").Photo, key: string, label: string, scale: number,
 *   format: string}} Made */

const ASK_EVERY = 250; // milliseconds
const button = el("run"), halt = el("stop"), section = el("result-section");
/** @type {Made | null} the result that is shown */
let made = null;
/** @type {Made | null} the one before, of the same photo */
let earlier = null;
let current = ""; // the run in progress
let against = "before";
/** @type {Viewer} */
let viewer;

const isEarlier = () => against === "earlier" && earlier !== null;
/** @typedef {import("./patches.js").Part} Part */
const left = {
  key: () => (isEarlier() ? `earlier ${earlier?.id}` : "before"),
  label: () => (isEarlier() ? earlier?.label ?? "" : "Original"),
  /** @param {Part} part @param {number} level @param {AbortSignal} signal */
  load: (part, level, signal) =>
    isEarlier() && earlier ? getResult(earlier.id, part, level, signal)
      : getBefore(made?.photo.id ?? "", part, (made?.scale ?? 1) / 2 ** level, signal),
};
const right = {
  key: () => made?.id ?? "",
  label: () => made?.label ?? "",
  /** @param {Part} part @param {number} level @param {AbortSignal} signal */
  load: (part, level, signal) => getResult(made?.id ?? "", part, level, signal),
};

/** @returns {Viewer} */
export function startRuns() {
  viewer = new Viewer(el("result"), [left, right], { margin: 0.2, fail: (error) => say("result-error", error) });
  button.addEventListener("click", run);
  halt.addEventListener("click", stop);
  for (const each of el("result-against").querySelectorAll("[data-against]")) {
    each.addEventListener("click", () => {
      against = each.dataset.against;
      showAgainst();
      viewer.update();
    });
  }
  on("setup", () => {
    const same = make("option", { value: "", textContent: "As the photo" });
    const names = (state.setup?.formats ?? []).map((name) =>
      make("option", { value: name, textContent: name === "jpg" ? "JPEG" : name === "webp" ? "WebP" : name.toUpperCase() }));
    el("format").replaceChildren(same, ...names);
  });
  el("format").addEventListener("change", showStale);
  on("photo", forget);
  on("photo opening model running", showButton);
  on("t painting model", showStale);
  addEventListener("pagehide", () => current && void stopRun(current).catch(() => {}));
  return viewer;
}

async function run() {
  const { photo, model } = state;
  if (state.running || state.opening || !photo || !model) return;
  const label = shownStyle();
  const format = el("format").value;
  const asked = { photo, key: styleKey(), label, scale: model.scale, format };
  say("run-error", "");
  set({ running: true });
  reveal(button);
  try {
    let report = await startRun(photo.id, model.name, dial(), await painting(), format);
    current = report.id;
    while (["waiting", "running", "finishing"].includes(report.state)) {
      if (state.photo !== photo) return void (await stopRun(current));
      showProgress(report);
      await new Promise((done) => setTimeout(done, ASK_EVERY));
      report = await getRun(current);
    }
    if (report.state === "failed") throw new Error(`${report.error.replace(/[.]?$/, ".")}`);
    if (report.state === "done" && state.photo === photo) show({ ...asked, id: current }, report);
  } catch (error) {
    if (state.photo === photo) complain("run-error", error);
  } finally {
    current = "";
    set({ running: false });
  }
}

async function stop() {
  if (!current) return;
  halt.disabled = true;
  try {
    await stopRun(current);
  } catch (error) {
    complain("run-error", error);
  }
}

function showButton() {
  const { photo, opening, running, model } = state;
  button.disabled = !photo || opening;
  button.setAttribute("aria-disabled", String(running));
  button.classList.toggle("running", running);
  halt.hidden = !running;
  halt.disabled = false;
  if (running) return;
  document.title = "FxSR";
  el("run-status").textContent = "";
  button.style.setProperty("--done", "0");
  el("run-label").textContent = opening ? "Opening …" : `Upscale ${model?.scale ?? ""}×${isStale() ? " again" : ""}`;
  el("run-size").textContent =
    photo && model ? `${photo.width * model.scale} × ${photo.height * model.scale} pixels` : "";
}

/** @param {any} report */
function showProgress(report) {
  const share = report.total ? report.done / report.total : 0;
  const left = report.left === null ? "" : ` · ${shownTime(report.left)} left`;
  const texts = {
    waiting: "Waiting for its turn …", finishing: "Finishing …",
    running: report.done ? `${Math.floor(100 * share)} %${left}` : "Starting …",
  };
  button.style.setProperty("--done", String(share));
  el("run-label").textContent = texts[report.state];
  document.title = report.state === "running" ? `${Math.floor(100 * share)} % – FxSR` : "FxSR";
  const tenth = Math.floor(10 * share) * 10; // read aloud, but not too often
  const spoken = report.state === "running" ? `${tenth} percent done` : texts[report.state];
  if (el("run-status").textContent !== spoken) el("run-status").textContent = spoken;
}

/** @param {Made} next @param {any} report */
function show(next, report) {
  const { result, seconds } = report;
  earlier = made && made.photo === next.photo && made.scale === next.scale && result.levels ? made : null;
  if (!earlier) against = "before";
  made = next;
  section.hidden = false;
  el("result-facts").textContent = [
    `${result.width} × ${result.height}`, ...(result.bytes === null ? [] : [shownBytes(result.bytes)]),
    shownTime(seconds),
  ].join(" · ");
  el("result-notes").replaceChildren(...result.notes.map((/** @type {string} */ note) => make("li", { textContent: note })));
  const link = el("download");
  link.href = fileOf(next.id);
  link.download = result.name;
  el("download-name").textContent = result.name;
  el("result").hidden = !result.levels;
  el("not-shown").hidden = Boolean(result.levels);
  showAgainst();
  showStale();
  viewer.open(result.levels ? next.photo : null, next.scale, result.levels || 1);
  const { x, y } = keptPlace();
  viewer.zoom = 1;
  viewer.look(x, y);
  reveal(section, "start");
}

function showAgainst() {
  const group = el("result-against");
  for (const each of group.querySelectorAll("[data-against]")) {
    each.setAttribute("aria-pressed", String(each.dataset.against === against));
  }
  group.hidden = !earlier; // there is nothing to choose
}

/** Say so where the result is not what the dial and the brush would give now. */
function showStale() {
  const stale = isStale();
  el("stale").hidden = !stale;
  if (made) el("stale-text").textContent = `Made with ${made.label}. The settings have changed since.`;
  showButton();
}

const isStale = () => made !== null && (made.key !== styleKey() || made.format !== el("format").value);

function forget() {
  made = earlier = null;
  against = "before";
  section.hidden = true;
  viewer.open(null, 1);
  say("run-error", "");
  say("result-error", "");
}
