// Search the rows of a table or the cards of a gallery, and sort the cards.
for (const figure of document.querySelectorAll(".find")) {
  const body = figure.querySelector("tbody, .cards");
  const items = [...body.children];
  const [search, order, turn] = figure.querySelectorAll(".tools input, .tools select, .tools button");
  const count = figure.querySelector(".tools output");
  const value = (item) => {
    const cell = item.querySelectorAll("dd")[order.value];
    return cell.dataset.value === undefined ? cell.textContent.trim().toLowerCase() : Number(cell.dataset.value);
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? b - a : String(a) < String(b) ? -1 : 1);
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) item.hidden = !words.every((word) => item.textContent.toLowerCase().includes(word));
    count.textContent = `${items.filter((item) => !item.hidden).length} of ${items.length}`;
  };
  const sort = (reverse) => {
    if (order.value === "") return;
    const keyed = items.map((item) => [value(item), item]);
    const known = keyed.filter(([key]) => !Number.isNaN(key)).sort((a, b) => compare(a[0], b[0]));
    if (reverse) known.reverse();
    body.append(...known.map(([, item]) => item), ...keyed.filter(([key]) => Number.isNaN(key)).map(([, item]) => item));
  };
  let reversed = false;
  search.addEventListener("input", show);
  order?.addEventListener("change", () => sort((reversed = false)));
  turn?.addEventListener("click", () => sort((reversed = !reversed)));
  figure.querySelector(".tools").hidden = false;
  show();
}
