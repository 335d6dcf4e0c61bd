// Zoom a drawing and move it about: by its buttons, by wheel with Ctrl or by pinching, and by dragging.
for (const figure of document.querySelectorAll(".zoom")) {
  const svg = figure.querySelector("svg");
  const [left, top, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  let box = [left, top, width, height];
  const show = () => {
    svg.setAttribute("viewBox", box.join(" "));
    // A finger that moves up or down scrolls the page, unless there is more of the drawing there.
    svg.style.touchAction = box[3] < 0.99 * height ? "none" : "pan-y pinch-zoom";
  };
  // Where the whole would be too small to be read, its end comes first, as large as its frame is high.
  const begin = () => {
    const scale = Math.min(svg.clientHeight / height, 1);
    const seen = svg.clientWidth / scale;
    box = svg.clientWidth && svg.clientWidth < 0.5 * width ? [left + width - seen, top, seen, height] : box;
    show();
  };
  begin();
  figure.closest("details:not([open])")?.addEventListener("toggle", begin, { once: true });
  const zoom = (factor, x = box[0] + box[2] / 2, y = box[1] + box[3] / 2) => {
    if (box[2] * factor > 2 * width || box[2] * factor < width / 60) return;
    box = [x - (x - box[0]) * factor, y - (y - box[1]) * factor, box[2] * factor, box[3] * factor];
    show();
  };
  const place = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [point.x, point.y];
  };
  const [nearer, farther, whole] = figure.querySelectorAll("button");
  nearer.addEventListener("click", () => zoom(0.7));
  farther.addEventListener("click", () => zoom(1 / 0.7));
  whole.addEventListener("click", () => {
    box = [left, top, width, height];
    show();
  });
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 0.85 : 1 / 0.85, ...place(event));
  }, { passive: false });
  let held = null;
  svg.addEventListener("pointerdown", (event) => {
    held = place(event);
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (held === null) return;
    const [x, y] = place(event);
    box[0] += held[0] - x;
    box[1] += held[1] - y;
    show();
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => (held = null));
  figure.querySelector(".tools").hidden = false;
}
