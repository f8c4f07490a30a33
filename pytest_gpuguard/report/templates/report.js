"use strict";
// Filter, sort, zoom and copy: the page says everything without this.
(() => {
  const SHOWN = 300; // rows in the document at once: what keeps a table of twenty thousand quick
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const late = table.closest(".late");
  const heads = [...table.tHead.rows[0].cells];
  const box = document.querySelector(".filter");
  const input = box.querySelector("input");
  const said = box.querySelector("output");
  let rows = [...body.rows].map((row) => ({ row, text: null, cells: null }));
  let order = rows;
  let wanted = [];
  let column = -1;
  let falling = false;
  let more = null;
  let touched = false;

  const cells = (entry) => (entry.cells ??= [...entry.row.cells].map((cell) => cell.textContent.trim()));
  const text = (entry) => (entry.text ??= cells(entry).join(" ").toLowerCase());

  function show(count = SHOWN) {
    touched = true;
    const found = wanted.length ? order.filter((entry) => wanted.every((word) => text(entry).includes(word))) : order;
    body.replaceChildren(...found.slice(0, count).map((entry) => entry.row));
    said.textContent = found.length === rows.length ? `${rows.length} tests` : `${found.length} of ${rows.length} tests`;
    more?.remove();
    more = null;
    if (found.length > count) {
      more = document.createElement("p");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${found.length - count} more`;
      button.addEventListener("click", () => show(count + 1000));
      more.append(button);
      late.after(more);
    }
  }

  function sort(index) {
    falling = column === index ? !falling : heads[index].dataset.sort === "number";
    column = index;
    const number = heads[index].dataset.sort === "number";
    const key = (entry) => (number ? parseFloat(cells(entry)[index]) || 0 : cells(entry)[index] ?? "");
    const sign = falling ? -1 : 1;
    const keyed = rows.map((entry) => [key(entry), entry]);
    keyed.sort((a, b) => (a[0] < b[0] ? -sign : a[0] > b[0] ? sign : 0));
    order = keyed.map((pair) => pair[1]);
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[index].setAttribute("aria-sort", falling ? "descending" : "ascending");
    show();
  }

  heads.forEach((head, index) => {
    head.classList.add("sortable");
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(index));
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(index); });
  });
  input.addEventListener("input", () => {
    wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    show();
  });
  box.hidden = false;
  said.textContent = `${rows.length} tests`;
  // While nobody waits, texts are read and surplus rows taken out, in small parts: neither the opening of a
  // large page nor the first filter need do it all at once.
  const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 20));
  let read = 0;
  const ahead = () => {
    const end = Math.min(read + 400, rows.length);
    for (; read < end; read += 1) {
      text(rows[read]);
      if (!touched && read >= SHOWN) rows[read].row.remove();
    }
    if (read < rows.length) idle(ahead);
    else if (!touched) show();
  };
  idle(ahead);

  // A bar leads to the row of its test, wherever that is by now; a closed part that holds the target opens.
  function follow() {
    const id = location.hash.slice(1);
    if (!id) return;
    const entry = rows.find((candidate) => candidate.row.id === id);
    if (entry) {
      if (!entry.row.isConnected) body.prepend(entry.row);
      body.querySelectorAll(".found").forEach((row) => row.classList.remove("found"));
      entry.row.classList.add("found");
      entry.row.scrollIntoView({ block: "center" });
      return;
    }
    for (let node = document.getElementById(id); node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  }
  addEventListener("hashchange", follow);
  follow();

  const picture = document.querySelector("svg.timeline");
  const buttons = document.querySelector(".zoom");
  if (picture && buttons) {
    let zoom = 1;
    buttons.hidden = false;
    buttons.addEventListener("click", (event) => {
      const factor = event.target.dataset?.zoom;
      if (factor === undefined) return;
      zoom = Number(factor) ? Math.min(64, Math.max(1, zoom * Number(factor))) : 1;
      const frame = picture.parentElement;
      const middle = (frame.scrollLeft + frame.clientWidth / 2) / frame.scrollWidth;
      picture.setAttribute("width", `${100 * zoom}%`);
      frame.scrollLeft = middle * frame.scrollWidth - frame.clientWidth / 2;
    });
  }

  document.querySelectorAll("pre.copy").forEach((pre) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "copy";
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(pre);
      try { await navigator.clipboard.writeText(pre.textContent); button.textContent = "copied"; }
      catch { button.textContent = "selected: copy it"; }
    });
    pre.before(button);
  });
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((part) => { part.open = true; });
    body.replaceChildren(...order.map((entry) => entry.row));
  });
  addEventListener("afterprint", () => { closed.forEach((part) => { part.open = false; }); show(); });
})();
