// @ts-check
// Pointers, wheel and keys on a viewer: drag to move, pinch or wheel to zoom, and its slider.

/** @param {import("./viewer.js").Viewer} viewer */
export function listenToGestures(viewer) {
  const { canvas, root } = viewer;
  /** @type {Map<number, [number, number]>} places of the pointers that are down, in device pixels */
  const down = new Map();

  /** @param {PointerEvent | WheelEvent | MouseEvent} event @returns {[number, number]} */
  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    const per = canvas.width / box.width;
    return [(event.clientX - box.left) * per, (event.clientY - box.top) * per];
  };
  const spread = () => {
    const [one, other] = [...down.values()];
    return {
      length: Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1])),
      x: (one[0] + other[0]) / 2, y: (one[1] + other[1]) / 2,
    };
  };
  /** @param {number} x @param {number} y device pixels by which the picture moves */
  const move = (x, y) => {
    const { per } = viewer.place;
    viewer.look(viewer.x - x / per, viewer.y - y / per);
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button || !viewer.photo) return;
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, where(event));
    canvas.focus({ preventScroll: true });
    root.classList.add("dragging");
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) return;
    const now = where(event);
    if (down.size === 2) {
      const old = spread();
      down.set(event.pointerId, now);
      const wide = spread();
      move(wide.x - old.x, wide.y - old.y);
      viewer.zoomTo((viewer.zoom * wide.length) / old.length, wide.x, wide.y);
      return;
    }
    down.set(event.pointerId, now);
    move(now[0] - before[0], now[1] - before[1]);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => {
      down.delete(/** @type {PointerEvent} */ (event).pointerId);
      if (!down.size) root.classList.remove("dragging");
    });
  }
  canvas.addEventListener("dblclick", (event) => {
    viewer.zoomTo(viewer.zoom === 1 ? Math.max(viewer.leastZoom, Math.min(viewer.fitZoom, 4)) : 1, ...where(event));
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !root.contains(document.activeElement)) return; // it scrolls the page
    event.preventDefault();
    viewer.zoomTo(viewer.zoom * 1.0015 ** -event.deltaY, ...where(event));
  }, { passive: false });

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = (event.shiftKey ? 0.5 : 0.1) * canvas.width;
    const keys = {
      ArrowLeft: () => move(step, 0), ArrowRight: () => move(-step, 0),
      ArrowUp: () => move(0, step), ArrowDown: () => move(0, -step),
      "+": () => zoomBy(2), "=": () => zoomBy(2), "-": () => zoomBy(0.5),
      0: () => viewer.zoomTo(viewer.fitZoom), 1: () => viewer.zoomTo(1),
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  const zoomBy = (/** @type {number} */ factor) => viewer.zoomTo(viewer.zoom * factor);
  const acts = {
    in: () => zoomBy(2), out: () => zoomBy(0.5), one: () => viewer.zoomTo(1), fit: () => viewer.zoomTo(viewer.fitZoom),
  };
  for (const button of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-zoom]"))) {
    button.addEventListener("click", () => acts[button.dataset.zoom ?? ""]());
  }
  listenToSplit(viewer);
}

/** @param {import("./viewer.js").Viewer} viewer */
function listenToSplit(viewer) {
  const { handle, canvas } = viewer;
  /** @param {number} split */
  const set = (split) => {
    viewer.split = Math.min(Math.max(split, 0), 1);
    viewer.draw();
  };
  handle.addEventListener("pointerdown", (event) => {
    if (!event.button) handle.setPointerCapture(event.pointerId);
  });
  handle.addEventListener("pointermove", (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = canvas.getBoundingClientRect();
    set((event.clientX - box.left) / box.width);
  });
  handle.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.1 : 0.02;
    const to = { ArrowLeft: viewer.split - step, ArrowRight: viewer.split + step, Home: 0, End: 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    set(to);
  });
}
