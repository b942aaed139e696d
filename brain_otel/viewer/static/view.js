"use strict";

// Live: the server says that the data have changed; the parts of the page that show data are fetched and exchanged.
const state = document.getElementById("live-state");
let isWaiting = false;
let isStale = false;

function say(kind, text) {
  state.className = kind;
  state.textContent = text;
}

function follow() {
  const stream = new EventSource("/live");
  stream.addEventListener("open", () => {
    say("on", "live");
    schedule(); // what came before the stream was open
  });
  stream.addEventListener("error", () => say("off", "not connected"));
  stream.addEventListener("change", schedule);
}

function schedule() {
  isStale = true;
  if (isWaiting || document.hidden) return;
  isWaiting = true;
  setTimeout(refresh, 300);
}

async function refresh() {
  try {
    if (isInUse()) return;
    isStale = false;
    const answer = await fetch(location.href);
    if (!answer.ok || isInUse()) return;
    exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    isStale = true; // the stream says that the server is away, and opens again
  } finally {
    isWaiting = false;
    if (isStale) setTimeout(schedule, 500);
  }
}

function isInUse() {
  const chosen = getSelection();
  return chosen !== null && !chosen.isCollapsed;
}

function exchange(fresh) {
  const anchor = topRow();
  const focused = keyOf(document.activeElement);
  const opened = new Map([...document.querySelectorAll("[data-live] details[id]")].map((each) => [each.id, each.open]));
  for (const part of document.querySelectorAll("[data-live]")) {
    const replacement = fresh.getElementById(part.id);
    if (replacement === null || replacement.innerHTML === part.innerHTML) continue;
    for (const each of replacement.querySelectorAll("details[id]")) {
      if (opened.has(each.id)) each.open = opened.get(each.id);
    }
    part.replaceChildren(...replacement.childNodes);
  }
  if (focused) [...document.querySelectorAll("[data-live] .row")].find((each) => keyOf(each) === focused)?.focus({ preventScroll: true });
  if (anchor) {
    const row = document.querySelector(`[data-key="${CSS.escape(anchor.key)}"]`);
    if (row) scrollBy(0, row.getBoundingClientRect().top - anchor.top);
  }
}

// What is read stays where it is: the first row in sight is remembered, unless the page is at its top.
function topRow() {
  if (scrollY === 0) return null;
  for (const row of document.querySelectorAll("[data-key]")) {
    const { top } = row.getBoundingClientRect();
    if (top >= 0) return { key: row.dataset.key, top };
  }
  return null;
}

function keyOf(element) {
  return element?.closest("[data-live]") ? element.getAttribute("href") ?? element.parentElement.id : null;
}

// Times are relative.
const UNITS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [Infinity, 86400, "d"]];

function tick() {
  for (const each of document.querySelectorAll("time[datetime]")) {
    const seconds = Math.max(0, (Date.now() - Date.parse(each.dateTime)) / 1000);
    const [, unit, name] = UNITS.find(([below]) => seconds < below);
    const text = `${Math.floor(seconds / unit)} ${name} ago`;
    if (each.textContent !== text) each.textContent = text;
  }
}

async function copy() {
  const button = document.getElementById("copy");
  const answer = await fetch(button.dataset.markdown);
  await navigator.clipboard.writeText(await answer.text());
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy as Markdown"), 1500);
}

// Keys.
let isGoing = false;

function move(step) {
  const rows = [...document.querySelectorAll("main .row")].filter((each) => each.checkVisibility());
  if (rows.length === 0) return;
  const place = rows.indexOf(document.activeElement);
  const next = rows[place < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(place + step, 0), rows.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  g: () => (isGoing = true),
  c: copy,
  "/": () => document.querySelector("#filters input:not([type=hidden]), #filters select").focus(),
  "?": () => document.getElementById("help").showModal(),
  "[": () => document.getElementById("older")?.click(),
  "]": () => document.getElementById("newer")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (isGoing) {
    isGoing = false;
    document.querySelector(`nav [data-go="${CSS.escape(event.key)}"]`)?.click();
    return;
  }
  if (event.key in KEYS) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

const filters = document.getElementById("filters");
filters.addEventListener("change", () => filters.requestSubmit());
filters.addEventListener("submit", () => {
  for (const field of filters.elements) if (field.name && field.value === "") field.disabled = true; // a short address
});
document.getElementById("copy").addEventListener("click", copy);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && isStale) schedule();
});
setInterval(tick, 5000);
follow();
