(() => {
  for (const gallery of document.querySelectorAll(".gallery")) {
    const tiles = [...gallery.querySelectorAll(".tiles > li")];
    const size = Number(gallery.dataset.size);
    const [count, where] = gallery.querySelectorAll("[role=status]");
    const turn = gallery.querySelector(".turn");
    const [back, on] = turn.querySelectorAll("button");
    const chosen = { set: "", pair: "" };
    let page = 0;

    const show = () => {
      const found = tiles.filter((tile) => Object.entries(chosen).every(([by, value]) => value === "" || tile.dataset[by] === value));
      const pages = Math.max(1, Math.ceil(found.length / size));
      page = Math.max(0, Math.min(pages - 1, page));
      const seen = new Set(found.slice(page * size, (page + 1) * size));
      for (const tile of tiles) tile.hidden = !seen.has(tile);
      count.textContent = found.length === tiles.length ? `${tiles.length} labels` : `${found.length} of ${tiles.length} labels`;
      where.textContent = `Page ${page + 1} of ${pages}`;
      turn.hidden = pages === 1;
      back.disabled = page === 0;
      on.disabled = page === pages - 1;
    };
    for (const select of gallery.querySelectorAll("select")) {
      select.addEventListener("change", () => {
        chosen[select.dataset.by] = select.value;
        page = 0;
        show();
      });
    }
    turn.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      page += Number(button.dataset.step);
      show();
      if (button.disabled) (button === back ? on : back).focus();
      gallery.scrollIntoView({ block: "start" });
    });
    show();
  }
})();
