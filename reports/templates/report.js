"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const make = (tag, properties = {}, children = []) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const columns = new Map(data.columns.map((column) => [column.name, column]));
  document.documentElement.classList.add("script");

  // ---- charts: one view each; the cut under the pointer is a signal of all ----
  const views = {};
  const embed = async (place) => {
    const name = place.dataset.chart;
    const result = await vegaEmbed(place.querySelector(".live"), data.specs[name], {
      ast: true, renderer: "svg", actions: false, tooltip: false, defaultStyle: false, mode: "vega-lite",
    });
    views[name] = result.view;
    place.classList.add("drawn");
  };

  const showCut = (i) => {
    for (const [name, view] of Object.entries(views)) {
      if (name !== "front" && name !== "trade") view.signal("at", i).runAsync();
    }
    const cut = data.cuts[i];
    const facts = data.main.map((name) => {
      const column = columns.get(name);
      const spread = column.interval[i] ? ` (${column.interval[i]})` : "";
      return `${column.label} ${column.text[i]}${spread}`;
    });
    const marks = cut.marks.length ? ` [${cut.marks.join(", ")}]` : "";
    byId("at-says").replaceChildren(make("b", { textContent: `${i} ${cut.name}${marks}` }), ` ${facts.join(" · ")}`);
  };

  const followPointer = () => {
    const figure = byId("cuts-figure"), slider = byId("at");
    let wanted = null;
    figure.addEventListener("pointermove", (event) => {
      const place = event.target.closest(".chart");
      const view = place && views[place.dataset.chart];
      if (!view) return;
      const [left] = view.origin();
      const x = event.clientX - place.querySelector("svg").getBoundingClientRect().left - left;
      const i = Math.min(data.cuts.length - 1, Math.max(0, Math.round(view.scale("x").invert(x))));
      if (wanted === i) return;
      wanted = i;
      requestAnimationFrame(() => { slider.value = wanted; showCut(wanted); });
    });
    slider.addEventListener("input", () => showCut(Number(slider.value)));
    showCut(Number(slider.value));
  };

  // ---- plans ----
  const showPlan = (k) => {
    const plan = data.plans[k];
    byId("pick").value = String(k);
    const facts = make("dl", { className: "facts" });
    for (const [label, value] of [...plan.facts, ["budgets", plan.budgets]]) {
      facts.append(make("dt", { textContent: label }), make("dd", { textContent: value }));
    }
    byId("picked").replaceChildren(make("p", {}, [make("b", { textContent: plan.name }), ` (${plan.role})`]), facts);
    if (views.front) views.front.signal("picked", k).runAsync();
  };

  // ---- the table ----
  const state = { by: null, up: true, shown: new Set(data.main) };
  const listed = () => {
    const wanted = byId("filter").value.trim().toLowerCase();
    const every = byId("every").checked || wanted;
    let rows = every ? data.cuts.map((_, i) => i) : [...data.brief];
    if (wanted) rows = rows.filter((i) => data.cuts[i].name.toLowerCase().includes(wanted));
    if (state.by) {
      const key = state.by === "name" ? (i) => data.cuts[i].name : (i) => columns.get(state.by).values[i];
      const sign = state.up ? 1 : -1;
      rows.sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (x < y ? -1 : x > y ? 1 : a - b);
      });
    } else if (!state.up) rows.reverse();
    return rows;
  };

  const header = (label, small, key) => {
    const active = state.by === key;
    const button = make("button", { type: "button", textContent: label });
    button.append(make("span", { className: "arrow", textContent: active ? (state.up ? " ↑" : " ↓") : "" }));
    button.addEventListener("click", () => {
      state.up = active ? !state.up : true;
      state.by = key;
      drawTable();
      byId("table").querySelector(`th[data-key="${CSS.escape(String(key))}"] button`).focus();
    });
    const cell = make("th", { scope: "col", className: key === "name" ? "text" : "" }, [button]);
    cell.dataset.key = String(key);
    if (active) cell.setAttribute("aria-sort", state.up ? "ascending" : "descending");
    if (small) cell.append(make("span", { className: "source", textContent: small }));
    return cell;
  };

  const bodyCell = (column, i) => {
    const cell = make("td", { className: column.why[i] ? "num absent" : "num", textContent: column.text[i] });
    if (column.why[i]) cell.title = column.why[i];
    if (column.interval[i]) cell.append(make("span", { className: "spread", textContent: column.interval[i] }));
    return cell;
  };

  const drawTable = () => {
    const shown = data.columns.filter((column) => state.shown.has(column.name));
    const head = make("tr", {}, [
      header("#", "", null), header("cut", "the activation, one input", "name"),
      ...shown.map((column) => header(column.label, column.source, column.name)),
    ]);
    const rows = listed();
    const body = rows.map((i) => {
      const cut = data.cuts[i];
      const name = make("th", { scope: "row", className: "text name" }, [make("code", { textContent: cut.name }), " "]);
      for (const mark of cut.marks) name.append(make("span", { className: `mark ${mark}`, textContent: mark }));
      name.append(make("span", { className: "shape", textContent: cut.crosses }));
      return make("tr", { className: cut.marks.join(" ") }, [
        make("td", { textContent: String(i) }), name, ...shown.map((column) => bodyCell(column, i)),
      ]);
    });
    byId("table").replaceChildren(make("thead", {}, [head]), make("tbody", {}, body));
    byId("shown").textContent = `${rows.length} of ${data.cuts.length} cuts, ${shown.length} of ${data.columns.length} columns.`;
  };

  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const csv = () => {
    const ends = (name, i) => {
      const column = columns.get(name);
      if (!column) return [data.csv.flags[name][i], data.csv.flags[name][i], data.csv.flags[name][i]];
      return [column.values[i], column.low[i], column.high[i]];
    };
    const lines = [[...data.csv.fixed, ...data.csv.columns.flatMap((column) => column.heads)]];
    data.cuts.forEach((cut, i) => {
      const numbers = data.csv.columns.flatMap((column) => ends(column.name, i));
      lines.push([...cut.csv, ...numbers.map((value) => (value === null ? "" : String(value)))]);
    });
    return lines.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
  };
  const download = () => {
    const link = make("a", { href: URL.createObjectURL(new Blob([csv()], { type: "text/csv" })), download: "cuts.csv" });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  const tools = () => {
    for (const column of data.columns) {
      const box = make("input", { type: "checkbox", checked: state.shown.has(column.name) });
      box.addEventListener("change", () => {
        if (box.checked) state.shown.add(column.name);
        else state.shown.delete(column.name);
        drawTable();
      });
      byId("columns").append(make("label", { title: column.meaning }, [box, ` ${column.label}`]));
    }
    byId("filter").addEventListener("input", drawTable);
    byId("every").addEventListener("change", drawTable);
    byId("download").addEventListener("click", download);
    drawTable();
  };

  // ---- pictures of further cuts: made when they are asked for ----
  for (const rest of document.querySelectorAll("details.rest")) {
    rest.addEventListener("toggle", () => {
      const held = rest.querySelector("template");
      if (held) held.replaceWith(held.content);
    });
  }

  tools();
  if (byId("pick")) {
    byId("pick").addEventListener("change", () => showPlan(Number(byId("pick").value)));
    showPlan(0);
  }
  Promise.all([...document.querySelectorAll(".chart")].map(embed)).then(() => {
    if (byId("at")) followPointer();
    if (views.front) {
      views.front.addEventListener("click", (_, item) => {
        if (item && item.datum && Number.isInteger(item.datum.k)) showPlan(item.datum.k);
      });
      showPlan(Number(byId("pick").value));
    }
    document.documentElement.classList.add("ready");
  });
})();
