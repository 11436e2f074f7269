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

/* A select or checkbox that says so sends its form at once; without scripts its button does. */
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-at-once]");
  if (form) {
    form.requestSubmit();
  }
});
