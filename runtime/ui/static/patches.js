// @ts-check
// Pieces of one side of a comparison, as they come from the server.

/**
 * @typedef {import("./api.js").Part} Part
 * @typedef {Part & {level: number, key: string, bitmap: ImageBitmap}} Patch
 * @typedef {{key: () => string, load: (part: Part, level: number, signal: AbortSignal) => Promise<Blob>}} Source
 */

const KEPT = 16;

/** @param {Part} outer @param {Part} inner */
const covers = (outer, inner) =>
  outer.x <= inner.x && outer.y <= inner.y &&
  outer.x + outer.w >= inner.x + inner.w && outer.y + outer.h >= inner.y + inner.h;

export class Patches {
  /** @param {Source} source @param {() => void} changed @param {(error: string) => void} failed */
  constructor(source, changed, failed) {
    this.source = source;
    this.changed = changed;
    this.failed = failed;
    /** @type {Patch[]} the one that came last is last */
    this.kept = [];
    /** @type {{controller: AbortController, key: string, part: Part, level: number} | null} */
    this.pending = null;
  }

  get busy() {
    return this.pending !== null;
  }

  /** Forget everything. */
  clear() {
    this.cancel();
    for (const patch of this.kept) patch.bitmap.close();
    this.kept = [];
  }

  cancel() {
    this.pending?.controller.abort();
    this.pending = null;
  }

  /** Whether a part is here as it should be.
   * @param {Part} part @param {number} level */
  has(part, level) {
    const key = this.source.key();
    return this.kept.some((patch) => patch.key === key && patch.level <= level && covers(patch, part));
  }

  /** Patches in the order in which they are to be drawn: those of another style first.
   * @returns {Patch[]} */
  inOrder() {
    const key = this.source.key();
    const rank = (/** @type {Patch} */ patch) => (patch.key === key ? 100 - patch.level : -1);
    return [...this.kept].sort((one, other) => rank(one) - rank(other));
  }

  /** Ask for a part, unless it is here or on its way.
   * @param {Part} part what is needed @param {Part} asked what is asked for if it is not here @param {number} level */
  async want(part, asked, level) {
    const key = this.source.key();
    if (this.has(part, level)) {
      this.cancel();
      return;
    }
    const { pending } = this;
    if (pending && pending.key === key && pending.level <= level && covers(pending.part, part)) return;
    this.cancel();
    const controller = new AbortController();
    const mine = (this.pending = { controller, key, part: asked, level });
    try {
      const blob = await this.source.load(asked, level, controller.signal);
      const bitmap = await createImageBitmap(blob);
      if (this.pending !== mine) return bitmap.close();
      this.pending = null;
      this.add({ ...asked, level, key, bitmap });
      this.failed("");
    } catch (error) {
      if (this.pending !== mine) return;
      this.pending = null;
      this.failed(/** @type {Error} */ (error).message);
    }
    this.changed();
  }

  /** @param {Patch} patch */
  add(patch) {
    const stale = this.kept.filter((each) => each.key !== patch.key);
    const current = this.kept.filter((each) => each.key === patch.key);
    for (const each of stale) each.bitmap.close(); // they were shown until now
    this.kept = [...current, patch];
    while (this.kept.length > KEPT) this.kept.shift()?.bitmap.close();
  }
}
