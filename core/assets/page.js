"use strict";
(() => {
  // text of the page's data only ever becomes text nodes: nothing here parses HTML
  const make = (name, text = "", attributes = {}) => {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };

  const sortKey = (cell) => (cell.dataset.sort ?? cell.textContent).trim();
  const missing = (key) => key === "" || key === "–";
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  for (const table of document.querySelectorAll("table")) {
    table.tHead?.addEventListener("click", (event) => {
      const heading = event.target.closest("button")?.closest("th");
      if (!heading) return;
      const falling = heading.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
      heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const place = heading.cellIndex;
      const rows = [...table.tBodies[0].rows].map((row) => [sortKey(row.cells[place]), row]);
      rows.sort(([a], [b]) =>
        missing(a) || missing(b) ? missing(a) - missing(b) : (falling ? -1 : 1) * compare(a, b));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  }

  for (const box of document.querySelectorAll(".table[data-filter]")) {
    const rows = [...box.querySelector("tbody").rows];
    const status = box.querySelector("[role=status]");
    box.querySelector("input[type=search]").addEventListener("input", (event) => {
      const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
    });
  }

  const shown = (chart, place) => !chart.querySelector(`svg [data-series="${place}"]`)?.hasAttribute("hidden");
  const readings = (chart, data, at) => data.series
    .filter((series) => shown(chart, series.place) && series.values[at] !== null)
    .map((series) => [series.name, series.values[at]]);

  const follow = (chart, data) => {
    const plot = chart.querySelector(".plot");
    const svg = plot.querySelector("svg");
    const cursor = svg.querySelector(".reading");
    const readout = chart.querySelector(".readout");
    let now = data.at.length - 1;
    const show = (at) => {
      now = Math.max(0, Math.min(data.at.length - 1, at));
      cursor.removeAttribute("hidden");
      cursor.setAttribute("x1", data.at[now]);
      cursor.setAttribute("x2", data.at[now]);
      const found = readings(chart, data, now);
      const head = `${data.axis} ${data.labels[now]}`.trim();
      readout.replaceChildren(make("b", `${head}:`), ...found.flatMap(([name, value]) => [" ", make("span", `${name} ${value}`)]));
      plot.setAttribute("aria-valuenow", now);
      plot.setAttribute("aria-valuetext", `${head}: ` + found.map(([name, value]) => `${name} ${value}`).join(", "));
    };
    for (const [key, value] of Object.entries({
      role: "slider", tabindex: "0", "aria-label": `${data.title}; arrow keys read values`,
      "aria-valuemin": 0, "aria-valuemax": data.at.length - 1, "aria-valuenow": now,
      "aria-valuetext": `${data.axis} ${data.labels[now]}`.trim(),
    })) plot.setAttribute(key, value);
    plot.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
      const ends = { Home: 0, End: data.at.length - 1 };
      if (event.key in steps) show(cursor.hasAttribute("hidden") ? now : now + steps[event.key]);
      else if (event.key in ends) show(ends[event.key]);
      else return;
      event.preventDefault();
    });
    const point = (event) => {
      const bounds = svg.getBoundingClientRect();
      const x = (event.clientX - bounds.left) * svg.viewBox.baseVal.width / bounds.width;
      const gaps = data.at.map((place) => Math.abs(place - x));
      show(gaps.indexOf(Math.min(...gaps)));
    };
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
    chart.addEventListener("toggled", () => cursor.hasAttribute("hidden") || show(now));
  };

  const listValues = (chart, data) => {
    const details = chart.querySelector("details");
    details?.addEventListener("toggle", () => {
      if (!details.open || details.querySelector("table")) return;
      const table = make("table");
      const head = table.createTHead().insertRow();
      head.append(make("th", data.axis, { scope: "col" }));
      for (const series of data.series) head.append(make("th", series.name, { scope: "col", class: "number" }));
      const body = table.createTBody();
      data.labels.forEach((label, at) => {
        const row = body.insertRow();
        row.append(make("th", label, { scope: "row" }));
        for (const series of data.series) row.append(make("td", series.values[at] ?? "–", { class: "number" }));
      });
      const box = make("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": data.title });
      box.append(table);
      details.append(box);
    });
  };

  for (const chart of document.querySelectorAll(".chart")) {
    const stored = chart.querySelector("script[type='application/json']");
    if (!stored) continue;
    const data = JSON.parse(stored.textContent);
    follow(chart, data);
    listValues(chart, data);
  }

  for (const group of document.querySelectorAll(".charts")) {
    group.querySelector(".legend")?.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const on = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", on);
      for (const drawn of group.querySelectorAll(`svg [data-series="${button.dataset.toggles}"]`)) {
        drawn.toggleAttribute("hidden", !on);
      }
      for (const chart of group.querySelectorAll(".chart")) chart.dispatchEvent(new Event("toggled"));
    });
  }

  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    target?.scrollIntoView();
  };
  addEventListener("hashchange", open);
  if (location.hash) open();
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("main details:not(.chart details)")) details.open = true;
  });
})();
