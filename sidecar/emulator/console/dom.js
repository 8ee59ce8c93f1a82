// Elements. Text is set as text alone: what a caller sent never becomes markup.

export const byId = (id) => document.getElementById(id);

export function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

// Replaces the children only when the content has changed, so that focus and selection survive a poll.
export function fill(target, key, make) {
  const now = JSON.stringify(key);
  if (target.dataset.shown === now) return;
  target.dataset.shown = now;
  target.replaceChildren(...make());
}

export function table(target, caption, columns, rows) {
  fill(target, rows, () => {
    if (rows.length === 0) return [];
    const cell = (text, column) => el("td", { class: column.number ? "number" : null }, text ?? "");
    return [
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, ...columns.map((each) => el("th", { scope: "col", class: each.number ? "number" : null }, each.title)))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...columns.map((each, index) => cell(row[index], each))))),
    ];
  });
}

export const short = (text, length = 8) => (text && text.length > length + 2 ? `${text.slice(0, length)}…` : (text ?? ""));
export const clockTime = (instant) => (instant ?? "").slice(11, 19);
export const dayTime = (instant) => (instant ?? "").slice(0, 16).replace("T", " ");
