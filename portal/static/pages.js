"use strict";
/* A part that keeps itself up to date is left alone while somebody is in it with the keyboard, has ticked or typed something there, or reads
   a selection of it; and what was unfolded stays unfolded. */
document.addEventListener("htmx:beforeSwap", (event) => {
  const part = event.detail.target;
  if (!part.hasAttribute || !part.hasAttribute("data-quiet")) {
    return;
  }
  const busy = part.contains(document.activeElement) || part.querySelector("input:checked:not([value=gekozen])") !== null;
  const selection = document.getSelection();
  const reads = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
  if (busy || reads) {
    event.detail.shouldSwap = false;
  }
});
const unfolded = new Set();
document.addEventListener("toggle", (event) => {
  if (event.target.id) {
    unfolded[event.target.open ? "add" : "delete"](event.target.id);
  }
}, true);
document.addEventListener("htmx:afterSettle", () => {
  unfolded.forEach((id) => {
    const details = document.getElementById(id);
    if (details && !details.open) {
      details.open = true;
    }
  });
});
