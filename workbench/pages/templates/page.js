// Copy the line that makes the page again; open what is closed before it is printed.
for (const button of document.querySelectorAll(".again button")) {
  const line = button.parentElement.querySelector("code");
  button.hidden = false;
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(line); // where copying is not allowed, it is one key away
    await navigator.clipboard?.writeText(line.textContent).then(() => (button.textContent = "Copied"), () => {});
  });
}
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open]):not(.unprinted)")) {
    details.open = true;
    details.dataset.closed = "";
  }
});
addEventListener("afterprint", () => {
  for (const details of document.querySelectorAll("details[data-closed]")) {
    details.open = false;
    delete details.dataset.closed;
  }
});
