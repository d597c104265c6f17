// Keeps the live part of a page from being replaced under a reader's hands, and lets the reader stop it.
(function () {
  "use strict";
  const told = document.getElementById("live-state");
  if (!told || !told.dataset.live) return;

  const key = "warren-live";
  let stopped = window.sessionStorage.getItem(key) === "off";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  const text = document.createElement("span");
  told.append(text, " ", button);

  function say(words) {
    text.textContent = words;
    button.textContent = stopped ? "Resume live updates" : "Stop live updates";
  }

  button.addEventListener("click", function () {
    stopped = !stopped;
    window.sessionStorage.setItem(key, stopped ? "off" : "on");
    say(stopped ? "Not updated." : "Live.");
  });

  function inUse(region) {
    const selection = window.getSelection();
    return (
      region.contains(document.activeElement) ||
      region.querySelector("details[open], :active") !== null ||
      (selection !== null && !selection.isCollapsed && region.contains(selection.anchorNode))
    );
  }

  document.addEventListener("htmx:beforeRequest", function (event) {
    if (stopped || document.hidden || inUse(event.target)) event.preventDefault();
  });
  document.addEventListener("htmx:afterSwap", function () {
    say("Updated " + new Date().toISOString().slice(11, 19) + ".");
  });
  ["htmx:sendError", "htmx:timeout"].forEach(function (name) {
    document.addEventListener(name, function () {
      say("The server does not answer; what is shown is old.");
    });
  });
  say(stopped ? "Not updated." : "Live.");
})();
