"use strict";
(() => {
  // names only ever become text nodes: nothing here parses HTML
  const { classes, keys } = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const buttons = [...document.querySelectorAll("[data-class]")];
  let state = null;
  let busy = false;

  const show = () => {
    const { item, done, total, left } = state;
    by("progress").textContent = `${done} of ${total} labels reviewed, ${left} left in this session`;
    document.querySelector("progress").value = total ? done / total : 0;
    by("item").hidden = item === null;
    by("end").hidden = item !== null;
    by("undo").disabled = by("undo-last").disabled = !state.undo;
    if (item === null) return;
    const picture = by("picture");
    picture.hidden = by("gone").hidden = true;
    picture.src = `picture/${item.row}`;
    by("label").textContent = classes[item.label];
    by("belief").textContent = item.suggested === null ? ""
      : item.suggested === item.label ? `believed too, quality ${item.score.toFixed(3)}`
      : `believed ${classes[item.suggested]}, quality ${item.score.toFixed(3)}`;
    buttons.forEach((button, place) => {
      button.classList.toggle("given", place === item.label);
      button.classList.toggle("believed", place === item.suggested && place !== item.label);
    });
    by("opinions").replaceChildren(...item.opinions.map(([name, label]) => {
      const [row, term, said] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      term.textContent = name;
      said.textContent = label === null ? "–" : classes[label];
      row.append(term, said);
      return row;
    }));
    by("sample").textContent = `${item.id} (${item.split})`;
  };

  const ask = async (place, body) => {
    if (busy) return;
    busy = true;
    try {
      const answer = await fetch(place, body === undefined ? {} : {
        method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
      });
      if (answer.ok) {
        state = await answer.json();
        by("trouble").hidden = true;
      } else {
        by("trouble").textContent = await answer.text();
        by("trouble").hidden = false;
        if (answer.status === 409) state = await (await fetch("state")).json();
      }
    } catch {
      by("trouble").textContent = "The server does not answer. What was decided before is written; start 'noisyfer review' again.";
      by("trouble").hidden = false;
    } finally {
      busy = false;
    }
    if (state) show();
  };
  const decide = (decision, given = null) => {
    if (state?.item) ask("decide", { row: state.item.row, decision, class: given });
  };
  const undo = () => state?.undo && ask("undo", {});

  by("picture").addEventListener("load", () => { by("picture").hidden = false; });
  by("picture").addEventListener("error", () => { by("gone").hidden = false; });
  by("accept").addEventListener("click", () => decide("accept"));
  by("skip").addEventListener("click", () => decide("skip"));
  by("undo").addEventListener("click", undo);
  by("undo-last").addEventListener("click", undo);
  buttons.forEach((button, place) => button.addEventListener("click", () => decide("change", place)));
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
    const key = event.key.toLowerCase();
    const focused = document.activeElement?.tagName === "BUTTON";
    if (key === "enter" && !focused) decide("accept");
    else if (key === "s") decide("skip");
    else if (key === "u") undo();
    else if (keys.includes(key) && key !== "") decide("change", keys.indexOf(key));
    else return;
    event.preventDefault();
  });
  addEventListener("click", (event) => event.detail && document.activeElement?.blur());
  ask("state");
})();
