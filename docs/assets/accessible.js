// Tables that the theme lets scroll can be scrolled with the keyboard, too.
"use strict";
window.addEventListener("load", () => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap")) table.tabIndex = 0;
});
