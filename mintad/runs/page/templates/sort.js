// A click on a column's head sorts the table by it.
for (const head of document.querySelectorAll("thead th")) {
  head.addEventListener("click", () => {
    const table = head.closest("table"), column = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    const value = (row) => {
      const cell = row.cells[column].textContent.replace(/,/g, ""), number = parseFloat(cell);
      return isNaN(number) ? cell : number;
    };
    for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const x = value(a), y = value(b);
      const order = typeof x === typeof y ? (x < y ? -1 : x > y ? 1 : 0) : typeof x === "number" ? -1 : 1;
      return order * (up ? 1 : -1);
    });
    table.tBodies[0].append(...rows);
  });
}
