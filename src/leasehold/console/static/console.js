// The console's script (passkeys.js asks for passkeys). Pages work without it: it counts down, keeps what is shown up to date, and listens to keys.
// Text becomes markup in one place only, and only what this server has escaped comes there (Trusted Types: leasehold).

const markup = globalThis.trustedTypes
  ? globalThis.trustedTypes.createPolicy("leasehold", { createHTML: (text) => text })
  : { createHTML: (text) => text };

const main = () => document.getElementById("main");

// Countdowns run on the monotonic clock from the seconds that the server gave: the browser's own time plays no part.

let shownAt = performance.now();
let hasRunOut = false;

const clockText = (seconds) =>
  `${String(Math.floor(seconds / 60)).padStart(2, "0")}m${String(seconds % 60).padStart(2, "0")}s`;

function countDown() {
  const passed = (performance.now() - shownAt) / 1000;
  for (const time of document.querySelectorAll("time[data-left]")) {
    const given = Number(time.dataset.left);
    const left = Math.max(0, Math.ceil(given - passed));
    time.textContent = clockText(left);
    time.classList.toggle("soon", left < 60);
    if (left === 0 && given > 0 && !hasRunOut) {
      hasRunOut = true;
      refresh();
    }
  }
}

// An approval counts some time after the card was shown or has changed. The server holds to it; this says so.

let waiting = 0;

function holdApproval() {
  clearTimeout(waiting);
  const form = document.querySelector("form[data-decide]");
  const approve = form?.querySelector("input[value=approve]");
  if (!approve) return;
  approve.disabled = true;
  waiting = setTimeout(() => { approve.disabled = false; }, Number(form.dataset.wait));
}

// Live pages: the server says that something changed, and the page is fetched again as it would be loaded.

async function refresh() {
  const place = main().dataset.page ?? location.href;
  const answer = await fetch(place, { headers: { Accept: "text/html" }, cache: "no-store" }).catch(() => null);
  if (!answer) return; // the server is away; the stream tells when it is back
  if (answer.redirected) {
    location.reload();
    return;
  }
  const fresh = new DOMParser().parseFromString(markup.createHTML(await answer.text()), "text/html");
  const found = fresh.getElementById("main");
  if (found) show(fresh, found);
}

function show(fresh, found) {
  const before = new Set([...document.querySelectorAll("[data-news]")].map((row) => row.dataset.news));
  const kept = keep();
  main().replaceChildren(...found.childNodes);
  main().dataset.shown = found.dataset.shown ?? "";
  const tabs = fresh.getElementById("tabs");
  if (tabs) document.getElementById("tabs").replaceChildren(...tabs.childNodes);
  const glass = fresh.getElementById("glass");
  if (glass) document.getElementById("glass").replaceChildren(...glass.childNodes);
  shownAt = performance.now();
  hasRunOut = false;
  kept();
  holdApproval();
  countDown();
  announce([...document.querySelectorAll("[data-news]")].filter((row) => !before.has(row.dataset.news)));
}

// What the person had typed, checked and focused stays; a verdict does not: the card is another one now.
function keep() {
  const typed = [...main().querySelectorAll("input[name=reason]")].map((field) => field.value);
  const checked = new Set([...main().querySelectorAll("input[type=checkbox]:checked")].map((box) => box.value));
  const focused = document.activeElement;
  const [name, value, href] = [focused?.name, focused?.value, focused?.getAttribute?.("href")];
  return () => {
    main().querySelectorAll("input[name=reason]").forEach((field, index) => { field.value = typed[index] ?? ""; });
    main().querySelectorAll("input[type=checkbox]").forEach((box) => { box.checked = checked.has(box.value) && !box.disabled; });
    const again = [...main().querySelectorAll("a[href], input, button")].find((element) =>
      href ? element.getAttribute("href") === href : name && element.name === name && (name === "reason" || element.value === value));
    again?.focus({ preventScroll: true });
  };
}

function announce(rows) {
  if (!rows.length) return;
  const words = rows.map((row) => row.querySelector(".headline")?.textContent.trim()).join("; ");
  document.getElementById("news").textContent = `New: ${words}`;
}

function listen() {
  const place = main()?.dataset.events;
  if (!place) return;
  const events = new EventSource(place);
  events.addEventListener("changed", (event) => {
    if (event.data !== main().dataset.shown) refresh();
  });
  events.addEventListener("over", async () => {
    events.close();
    await refresh();
    setTimeout(listen, 3000);
  });
}

// Keys: j and k move along the rows, d, a and e choose on a card. Never while something is being typed.

function isTyping(target) {
  return target.matches?.("input:not([type=radio], [type=checkbox]), textarea, select");
}

function move(step) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? (step > 0 ? 0 : rows.length - 1) : at + step))];
  next.querySelector("a")?.focus();
}

function choose(key) {
  const chosen = document.querySelector(`[data-key="${key}"]`);
  if (!chosen || chosen.disabled) return;
  if (chosen.matches("a")) {
    chosen.click();
    return;
  }
  chosen.checked = true;
  chosen.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (["d", "a", "e"].includes(event.key)) choose(event.key);
  else return;
  event.preventDefault();
});

// A form that changes something is sent once.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});

// A page that comes back from the browser's memory is not what the server says now.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

holdApproval();
countDown();
setInterval(countDown, 500);
listen();
