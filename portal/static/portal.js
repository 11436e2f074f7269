"use strict";
/* What htmx leaves to us. Every page can be read without any of this. */

/* An answer that is no success still is a page of ours, with the reason on it. */
document.addEventListener("htmx:beforeSwap", (event) => {
  const status = event.detail.xhr.status;
  if (status === 401) {
    window.location.reload();
  } else if (status === 422) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});

/* A part of a page that refreshes itself says so: that is nobody who works, and the session may end. */
document.addEventListener("htmx:configRequest", (event) => {
  const cause = event.detail.triggeringEvent;
  if (cause && cause.type.startsWith("sse:") && event.detail.elt.hasAttribute("data-quiet")) {
    event.detail.headers["X-Koppelpunt-Quiet"] = "1";
  }
});

/* A select or checkbox that says so sends its form at once; without scripts its button does. */
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-at-once]");
  if (form) {
    form.requestSubmit();
  }
});
