// Before anything is drawn: the colours that were chosen last time, where the browser keeps such things for a file.
"use strict";

try {
  const kept = localStorage.getItem("cpt-report-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
} catch {
  // Not kept: the system's colours.
}
