"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  document.documentElement.classList.add("script");

  const embed = async (place) => {
    await vegaEmbed(place.querySelector(".live"), data.specs[place.dataset.chart], {
      ast: true, renderer: "svg", actions: false, tooltip: false, defaultStyle: false, mode: "vega-lite",
    });
    place.classList.add("drawn");
  };

  // ---- the table sorts by its headers; what was not measured stands last ----
  const table = document.getElementById("several");
  const heads = [...table.tHead.rows[0].cells];
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    if (!("value" in cell.dataset)) return cell.textContent;
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const sort = (column) => {
    const up = heads[column].getAttribute("aria-sort") !== "ascending";
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [keyOf(a, column), keyOf(b, column)];
      if (x === null || y === null) return (x === null) - (y === null);
      return (up ? 1 : -1) * (x < y ? -1 : x > y ? 1 : 0);
    });
    table.tBodies[0].append(...rows);
    heads.forEach((head, i) => {
      if (i === column) head.setAttribute("aria-sort", up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
      head.querySelector(".arrow").textContent = i === column ? (up ? " ↑" : " ↓") : "";
    });
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes, Object.assign(document.createElement("span"), { className: "arrow" }));
    button.addEventListener("click", () => sort(column));
    head.replaceChildren(button);
  });

  Promise.all([...document.querySelectorAll(".chart")].map(embed)).then(() => {
    document.documentElement.classList.add("ready");
  });
})();
