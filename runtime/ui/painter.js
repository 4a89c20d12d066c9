// The painter: a photo, and over it a painting of two planes, the style and how far it covers the dial's.
// To Python goes `value`: {width, height, planes, look}; from there come `photo`, `given` and `window`.
const find = (selector) => element.querySelector(selector);
const image = find("img"), canvas = find("canvas"), frame = find(".look"), empty = find(".empty");
const context = canvas.getContext("2d");
const FAITHFUL = [64, 132, 240], PERCEPTUAL = [240, 128, 48], OPACITY = 0.6, STEPS = 20;
let width = 0, height = 0, style, cover, shown, history = [], stroke = null, mode = "paint", look = [0.5, 0.5];

const brush = (name) => Number(find(`[data-brush=${name}]`).value);
for (const slider of element.querySelectorAll("[data-brush]")) {
  const show = () => { slider.nextElementSibling.textContent = slider.value; };
  slider.addEventListener("input", show);
  show();
}
for (const button of element.querySelectorAll("[data-mode]")) {
  button.addEventListener("click", () => {
    mode = button.dataset.mode;
    for (const other of element.querySelectorAll("[data-mode]")) other.setAttribute("aria-pressed", other === button);
  });
}

function draw(left, top, right, bottom) {
  for (let y = top; y < bottom; y++) {
    for (let x = left, at = y * width + left; x < right; x++, at++) {
      const s = style[at] / 255;
      for (let c = 0; c < 3; c++) shown.data[4 * at + c] = FAITHFUL[c] + s * (PERCEPTUAL[c] - FAITHFUL[c]);
      shown.data[4 * at + 3] = cover[at] * OPACITY;
    }
  }
  context.putImageData(shown, 0, 0, left, top, right - left, bottom - top);
}

function place() {
  const [w, h] = props.window || [0, 0];
  frame.hidden = !width || !w;
  frame.style.width = `${100 * w}%`;
  frame.style.height = `${100 * h}%`;
  frame.style.left = `${100 * Math.min(Math.max(look[0] - w / 2, 0), 1 - w)}%`;
  frame.style.top = `${100 * Math.min(Math.max(look[1] - h / 2, 0), 1 - h)}%`;
}

// One dab: of all dabs of a stroke the strongest counts, so that a stroke over itself does not add up.
function dab(x, y) {
  const radius = stroke.radius, inner = radius * (1 - stroke.feather);
  const left = Math.max(0, Math.floor(x - radius)), right = Math.min(width, Math.ceil(x + radius) + 1);
  const top = Math.max(0, Math.floor(y - radius)), bottom = Math.min(height, Math.ceil(y + radius) + 1);
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const far = Math.hypot(column + 0.5 - x, row + 0.5 - y);
      if (far > radius) continue;
      const rise = far <= inner ? 1 : (radius - far) / (radius - inner);
      const strength = rise * rise * (3 - 2 * rise), at = row * width + column;
      if (strength <= stroke.mask[at]) continue;
      stroke.mask[at] = strength;
      const before = stroke.cover[at] / 255;
      if (stroke.erase) { cover[at] = 255 * before * (1 - strength); continue; }
      const after = before + strength * (1 - before);
      style[at] = (255 * strength * stroke.t + (1 - strength) * before * stroke.style[at]) / after;
      cover[at] = 255 * after;
    }
  }
  if (left < right && top < bottom) draw(left, top, right, bottom);
}

function line(to) {
  const [x, y] = stroke.at, steps = Math.max(1, Math.ceil(Math.hypot(to[0] - x, to[1] - y) / (stroke.radius / 4 + 0.5)));
  for (let i = 1; i <= steps; i++) dab(x + (to[0] - x) * i / steps, y + (to[1] - y) * i / steps);
  stroke.at = to;
}

function remember() {
  history.push([style.slice(), cover.slice()]);
  if (history.length > STEPS) history.shift();
}

const where = (event) => {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
};
canvas.addEventListener("pointerdown", (event) => {
  if (!width || event.button) return;
  canvas.setPointerCapture(event.pointerId);
  const [x, y] = where(event);
  if (mode === "look") { look = [x, y]; place(); send(); return; }
  remember();
  const radius = Math.max(1, brush("size") / 200 * Math.max(width, height));
  stroke = { at: [x * width, y * height], radius, feather: brush("feather"), t: brush("t"), erase: mode === "erase",
    mask: new Float32Array(width * height), style: style.slice(), cover: cover.slice() };
  dab(...stroke.at);
});
canvas.addEventListener("pointermove", (event) => {
  if (!stroke) return;
  const [x, y] = where(event);
  line([x * width, y * height]);
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => { if (stroke) { stroke = null; send(); } });
}
find("[data-do=undo]").addEventListener("click", () => {
  if (!history.length) return;
  [style, cover] = history.pop();
  draw(0, 0, width, height);
  send();
});
find("[data-do=clear]").addEventListener("click", () => {
  if (!width) return;
  remember();
  cover.fill(0);
  draw(0, 0, width, height);
  send();
});

async function through(stream, bytes) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}
async function pack() {
  const both = new Uint8Array(2 * width * height);
  both.set(style);
  both.set(cover, width * height);
  const bytes = await through(new CompressionStream("deflate"), both);
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}
async function send() {
  const planes = cover.some((c) => c) ? await pack() : "";
  props.value = { width, height, planes, look };
  trigger("change");
}

function begin() {
  width = canvas.width = image.naturalWidth;
  height = canvas.height = image.naturalHeight;
  style = new Uint8ClampedArray(width * height);
  cover = new Uint8ClampedArray(width * height);
  shown = context.createImageData(width, height);
  history = [];
  look = [0.5, 0.5];
  empty.hidden = true;
  place();
  send();
}
function forget() {
  image.removeAttribute("src");
  width = height = canvas.width = canvas.height = 0;
  style = cover = new Uint8ClampedArray(0);
  history = [];
  empty.hidden = false;
  place();
  send();
}
image.addEventListener("load", begin);
watch("photo", () => {
  if (props.photo) image.src = props.photo; else if (image.hasAttribute("src")) forget();  // it may not have loaded yet
});
watch("window", place);
watch("given", async () => {
  if (!props.given || props.given.width !== width || props.given.height !== height) return;
  const bytes = Uint8Array.from(atob(props.given.planes), (c) => c.charCodeAt(0));
  const both = await through(new DecompressionStream("deflate"), bytes);
  remember();
  style = new Uint8ClampedArray(both.slice(0, width * height));
  cover = new Uint8ClampedArray(both.slice(width * height));
  draw(0, 0, width, height);
  send();
});
