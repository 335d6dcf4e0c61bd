// Sort a table by a column: a click on its head, or Enter on it; once more turns it round, a third time undoes it.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const given = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? cell.textContent.trim().toLowerCase() : Number(cell.dataset.value);
  };
  const known = (key) => key !== "\u2013" && !Number.isNaN(key);
  const order = (column, reversed) => {
    const keyed = given.map((row) => [value(row, column), row]);
    const sorted = keyed.filter(([key]) => known(key)).sort(([a], [b]) =>
      typeof a === "number" && typeof b === "number" ? b - a : String(a).localeCompare(String(b), "en", { numeric: true }));
    if (reversed) sorted.reverse();
    return [...sorted, ...keyed.filter(([key]) => !known(key))].map(([, row]) => row);
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    head.addEventListener("click", () => {
      const next = { ascending: "none", descending: "ascending" }[head.ariaSort] ?? "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      if (next !== "none") head.ariaSort = next;
      body.append(...(next === "none" ? given : order(column, next === "ascending")));
    });
  });
}
