// @ts-check
// Small helpers for elements.

/** The element with this id.
 * @param {string} id @returns {any} */
export function el(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element ${id}`);
  return found;
}

/** Show a sentence at the place that it concerns; an empty one takes it away.
 * @param {string} id @param {string} text */
export function say(id, text) {
  const place = el(id);
  place.textContent = text;
  place.hidden = !text;
}

/** Show an error at the place that it concerns, and make sure that this place is in sight.
 * @param {string} id @param {unknown} error */
export function complain(id, error) {
  say(id, /** @type {Error} */ (error).message);
  reveal(el(id));
}

/** A new element.
 * @param {string} tag @param {Record<string, any>} [given] @param {...(Node | string)} children @returns {any} */
export function make(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Mark one button of a group as the pressed one.
 * @param {HTMLElement} group @param {string} name the data attribute @param {string} value */
export function press(group, name, value) {
  for (const button of group.querySelectorAll(`[data-${name}]`)) {
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset[name] === value));
  }
}

/** @param {number} bytes */
export function shownBytes(bytes) {
  return bytes < 1e5 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

/** @param {number} seconds */
export function shownTime(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** Scroll something into view, calmly where that is wanted.
 * @param {Element} element @param {ScrollLogicalPosition} block */
export function reveal(element, block = "nearest") {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block, behavior: still ? "auto" : "smooth" });
}
