// Keys, live parts and the list of keys. Every page works without this script.
"use strict";

const LIVE_MS = 1500;
const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];

// ---------------------------------------------------------------- live parts

function keepLive(part) {
  const lost = one("#lost");
  let version = part.dataset.live;
  async function look() {
    if (document.visibilityState === "visible") {
      try {
        const headers = { "X-Live": "1", "If-None-Match": `"${version.replaceAll('"', "")}"` };
        const answer = await fetch(location.href, { headers, cache: "no-store" });
        lost.hidden = true;
        if (answer.status === 200) {
          version = answer.headers.get("ETag");
          replace(part, await answer.text());
        }
      } catch {
        lost.hidden = false;
      }
    }
    setTimeout(look, LIVE_MS);
  }
  setTimeout(look, LIVE_MS);
}

function replace(part, html) {
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  const open = [...part.querySelectorAll("details")].map((details) => details.open);
  part.innerHTML = html; // escaped by the server that this page came from
  part.querySelectorAll("details").forEach((details, n) => { details.open = Boolean(open[n]); });
  if (focused) part.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

// ---------------------------------------------------------------- keys

function go(by) {
  const rounds = all(".round");
  if (!rounds.length) return;
  const at = rounds.findIndex((round) => `#${round.id}` === location.hash);
  const next = rounds[at < 0 ? (by > 0 ? 0 : rounds.length - 1) : Math.min(Math.max(at + by, 0), rounds.length - 1)];
  history.replaceState(null, "", `#${next.id}`);
  next.tabIndex = -1;
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "start" });
}

const follow = (selector) => () => one(selector)?.click();
const press = (verdict) => follow(`.review button[value="${verdict}"]`);

function reasoning() {
  const blocks = all(".said > .reasoning");
  const open = blocks.some((block) => !block.open);
  blocks.forEach((block) => { block.open = open; });
}

const KEYS = {
  j: () => go(1),
  k: () => go(-1),
  J: follow('a[rel="next"]'),
  K: follow('a[rel="prev"]'),
  n: follow('a[data-key="n"]'),
  a: press("accept"),
  r: press("reject"),
  f: press("flag"),
  c: () => one(".review textarea")?.focus(),
  o: reasoning,
  "/": () => (one('input[type="search"]') ? one('input[type="search"]').focus() : location.assign("/search")),
  "?": () => one("#keys").showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=radio]), textarea, select");
  if (event.key === "Escape" && typing) typing.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey || one("dialog[open]") || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
});

// ---------------------------------------------------------------- anchors

function reveal() {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.matches("details")) target.open = true;
  for (let around = target.closest("details"); around; around = around.parentElement.closest("details")) around.open = true;
  target.scrollIntoView({ block: "center" });
}

all("[data-live]").forEach(keepLive);
one("#keys-button").hidden = false;
one("#keys-button").addEventListener("click", KEYS["?"]);
addEventListener("hashchange", reveal);
if (!location.hash.startsWith("#r")) reveal();
