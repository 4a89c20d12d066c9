// @ts-check
// The server's routes. Errors carry one sentence for the user.

/** @param {string} path @param {RequestInit} [options] @returns {Promise<Response>} */
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Error("The server does not answer; is fxsr ui still running?");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new Error(sentence(problem.detail ?? `The server answered ${answer.status}.`));
}

/** A message of the server as a sentence; names of files, which it may begin with, stay as they are.
 * @param {string} text */
function sentence(text) {
  const begun = /^[a-z]+[ ,]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** @param {Record<string, string | number>} fields */
const query = (fields) => new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)]));

/** @typedef {{x: number, y: number, w: number, h: number}} Part in pixels of the photo */

/** @returns {Promise<import("./state.js").Setup>} */
export const getSetup = async () => (await ask("api/setup")).json();

/** @param {Blob} file @param {string} name @returns {Promise<import("./state.js").Facts>} */
export const openPhoto = async (file, name) =>
  (await ask(`api/photos?${query({ name })}`, { method: "POST", body: file })).json();

/** @param {string} photo */
export const getOverview = async (photo) => (await ask(`api/photos/${photo}/overview`)).blob();

/** @param {string} photo @param {Part} part @param {number} factor @param {AbortSignal} signal */
export const getBefore = async (photo, part, factor, signal) =>
  (await ask(`api/photos/${photo}/before?${query({ ...part, factor })}`, { signal })).blob();

/** @param {string} photo @param {string} model @param {number} t @param {BodyInit | null} painting @param {Part} part
 * @param {AbortSignal} signal */
export const getPreview = async (photo, model, t, painting, part, signal) => {
  const options = { method: "POST", body: painting, signal };
  return (await ask(`api/photos/${photo}/preview?${query({ model, t, ...part })}`, options)).blob();
};

/** @param {string} photo @param {string} kind */
export const makeMap = async (photo, kind) =>
  new Uint8Array(await (await ask(`api/photos/${photo}/maps/${encodeURIComponent(kind)}`)).arrayBuffer());

/** @param {string} photo @param {File} file */
export const readMap = async (photo, file) => {
  const options = { method: "POST", body: file };
  const answer = await ask(`api/photos/${photo}/read-map?${query({ name: file.name })}`, options);
  return new Uint8Array(await answer.arrayBuffer());
};

/** @param {string} photo @param {number} t @param {BodyInit | null} painting */
export const saveMap = async (photo, t, painting) =>
  (await ask(`api/photos/${photo}/save-map?${query({ t })}`, { method: "POST", body: painting })).blob();

/** @param {string} photo @param {string} model @param {number} t @param {BodyInit | null} painting
 * @param {string} format empty: the photo's own */
export const startRun = async (photo, model, t, painting, format) => {
  const fields = query({ model, t, ...(format && { format }) });
  return (await ask(`api/photos/${photo}/runs?${fields}`, { method: "POST", body: painting })).json();
};

/** @param {string} run */
export const getRun = async (run) => (await ask(`api/runs/${run}`)).json();

/** @param {string} run */
export const stopRun = async (run) => (await ask(`api/runs/${run}/stop`, { method: "POST", keepalive: true })).json();

/** @param {string} run @param {Part} part @param {number} level @param {AbortSignal} signal */
export const getResult = async (run, part, level, signal) =>
  (await ask(`api/runs/${run}/part?${query({ ...part, level })}`, { signal })).blob();

/** @param {string} run */
export const fileOf = (run) => `api/runs/${run}/file`;
