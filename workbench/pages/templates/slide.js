// Before and after over each other: the slider says how much of the first is seen.
for (const figure of document.querySelectorAll(".slide")) {
  const input = figure.querySelector("input");
  const show = () => figure.style.setProperty("--seen", `${input.value}%`);
  input.addEventListener("input", show);
  figure.classList.add("over");
  figure.querySelector(".tools").hidden = false;
  show();
}
